"""Orders of restores: what is read from what a module was given, and what is refused before anything is done."""

from __future__ import annotations

import os
import re
from typing import Any

import pytest
from helpers.orders import DIFFERENTIAL, FULL, order

from ansible_collections.altbackup.core.plugins.module_utils.restore.order import (
    owner_of,
    remembered_of,
    suffixes_beside,
    tools_for,
)
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput


def test_an_order_knows_the_top_folder_and_the_member_that_is_wanted() -> None:
    given = order(
        tarballs=[FULL, DIFFERENTIAL], member="dybsvn-12/db/100%25", origin={"item": "svn/dybsvn", "source": "dayabay"}
    )
    assert (given.top, given.member_path) == ("dybsvn-12", "dybsvn-12/db/100%")
    assert given.title.startswith("dybsvn-12/db/100%25 of svn/dybsvn of dayabay, ")


def test_a_name_that_would_steer_a_terminal_is_shown_in_one_line() -> None:
    assert order(member="dybsvn-12/a\nb\x1b[2J").title.startswith("dybsvn-12/a\\nb\\x1b[2J of ")


@pytest.mark.parametrize(("replace", "aside"), [("refuse", ""), ("move_aside", "/home/scm/svn/dybsvn.20130511-090000")])
def test_what_stands_there_is_moved_aside_only_if_that_is_said(replace: str, aside: str) -> None:
    assert order(replace=replace).aside == aside


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"destination": ""}, "destination '' is not a plain absolute path"),
        ({"destination": "relative"}, "is not a plain absolute path"),
        ({"destination": "/x/../y"}, "is not a plain absolute path"),
        ({"destination": "/x/"}, "is not a plain absolute path"),
        ({"destination": "/"}, "is not a plain absolute path"),
        ({"destination": "//"}, "is not a plain absolute path"),
        ({"destination": "//x"}, "is not a plain absolute path"),
        ({"destination": "/x\0y"}, r"destination '/x\x00y' is not a plain absolute path"),
        ({"kind": "svm"}, "unknown kind 'svm', did you mean 'svn'?"),
        ({"live_items": [{"kind": "svm", "path": "/x"}]}, "unknown kind 'svm', did you mean 'svn'?"),
        ({"live_items": [{"kind": "svn"}]}, "live_items: {'kind': 'svn'} has no kind and path"),
        ({"stamp": "now"}, "stamp 'now' is not a date and time"),
        ({"tarballs": []}, "a restore takes one tarball, or a full one and its differential"),
        ({"tarballs": [FULL] * 3}, "a restore takes one tarball, or a full one and its differential"),
        ({"tarballs": [{**FULL, "relpath": "../x"}]}, "is not <category>/<name>/"),
        ({"tarballs": [{}]}, "'' is not <category>/<name>/"),
        ({"tarballs": [{"relpath": FULL["relpath"]}]}, "dybsvn-12.tar.zst: '' is not a digest of ''"),
        ({"tarballs": [{**FULL, "dig": "0" * 63}]}, "is not a digest of 'sha256'"),
        ({"tarballs": [{**FULL, "dig": "X" * 64}]}, "is not a digest of 'sha256'"),
        ({"tarballs": [{**FULL, "alg": "crc"}]}, "is not a digest of 'crc', one of "),
        ({"tarballs": [{**FULL, "size": "x"}]}, "size 'x' is not a number of bytes"),
        ({"tarballs": [{**FULL, "size": -1}]}, "size '-1' is not a number of bytes"),
        ({"tarballs": [{**FULL, "size": float("inf")}]}, "size 'inf' is not a number of bytes"),
        ({"mode": "rwx"}, "mode 'rwx' is not one in octal digits, like 0640"),
        ({"mode": "99"}, "mode '99' is not one"),
        ({"mode": "-1"}, "mode '-1' is not one"),
        ({"mode": "100644"}, "mode '100644' is not one"),
        ({"selinux": "a\0b"}, "it holds a NUL byte"),
    ],
)
def test_bad_input_is_told(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(reason)):
        order(**values)


@pytest.mark.parametrize(
    "member", ["../x", "/etc/passwd", "other/x", "dybsvn-12//x", "dybsvn-12/%2e%2e/x", "dybsvn-12/%00"]
)
def test_a_member_outside_of_the_top_folder_is_refused(member: str) -> None:
    with pytest.raises(InvalidInput, match="not a path inside the tarball"):
        assert order(member=member).member_path


@pytest.mark.parametrize(
    ("owner", "group", "numbers"),
    [
        ("", "", (-1, -1)),
        ("root", "root", (0, 0)),
        ("0", "", (0, -1)),
        ("", "50", (-1, 50)),
        ("4294967294", "1", (4294967294, 1)),
    ],
)
def test_owners_are_numbers_or_names_that_this_node_knows(owner: str, group: str, numbers: tuple[int, int]) -> None:
    assert owner_of(order(owner=owner, group=group)) == numbers


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nobody-of-that-name", "'nobody-of-that-name' is not known on this node"),
        ("-1", "'-1' is not known on this node"),
        ("٣", "'٣' is not known on this node"),
        ("a\0b", r"'a\x00b' is not known on this node"),
        ("4294967295", "4294967295 is no number that an owner can have"),
        ("4294967296", "4294967296 is no number that an owner can have"),
        ("9999999999", "9999999999 is no number that an owner can have"),
        ("99999999999", "'99999999999' is not known on this node"),
    ],
)
def test_an_owner_that_nobody_can_be_is_told(name: str, reason: str) -> None:
    for what in ("owner", "group"):
        with pytest.raises(InvalidInput, match=re.escape(f"{what} {reason}")):
            owner_of(order(**{what: name}))


@pytest.mark.parametrize(
    ("values", "same"),
    [
        ({}, True),
        ({"member": ""}, True),
        ({"consent": True}, True),
        ({"replace": "move_aside"}, True),
        ({"base": "/backup"}, True),
        ({"numeric": False}, True),
        ({"numeric": True}, False),
        ({"special_modes": True}, False),
        ({"mode": "0750"}, False),
        ({"selinux": "x"}, False),
        ({"group": "0"}, False),
        ({"kind": "git"}, False),
        ({"tarballs": [{**FULL, "dig": "1" * 64}]}, False),
        ({"tarballs": [FULL, DIFFERENTIAL]}, False),
        ({"member": "./db"}, False),
        ({"origin": {"source": "dayabay"}}, False),
        ({"origin": {"when": "today"}}, True),
    ],
)
def test_what_makes_an_order_another_one_is_remembered(values: dict[str, Any], same: bool) -> None:
    assert (remembered_of(order(**values)) == remembered_of(order())) is same


@pytest.mark.parametrize(
    ("values", "tools"),
    [
        ({}, {"tar", "zstd", "svnadmin"}),
        ({"member": "./db"}, {"tar", "zstd"}),
        ({"kind": "folder", "tarballs": [{**FULL, "relpath": FULL["relpath"][:-4]}]}, {"tar"}),
        ({"kind": "folder", "tarballs": [{**FULL, "relpath": f"{FULL['relpath'][:-3]}gz"}]}, {"tar", "gzip"}),
    ],
)
def test_the_programs_of_an_order_are_those_of_its_kind_and_compression(
    values: dict[str, Any], tools: set[str]
) -> None:
    found = set(tools_for(order(**values)))
    assert found & {"tar", "zstd", "gzip", "svnadmin"} == tools


@pytest.mark.parametrize(
    ("values", "beside"),
    [
        ({"kind": "folder"}, False),
        ({"kind": "svn"}, False),
        ({"kind": "sqlite"}, True),
        ({"kind": "folder", "member": "./x"}, True),
    ],
)
def test_nothing_that_a_database_would_read_may_stand_beside_one(values: dict[str, Any], beside: bool) -> None:
    assert ("-wal" in suffixes_beside(order(**values))) is beside


def test_an_order_for_a_tree_of_this_node_says_so() -> None:
    given = order(
        base="/backup", live_items=[{"kind": "svn", "path": "/x", "name": "x"}], live_discover={"git": "/srv"}
    )
    assert (given.base, given.live_items, given.live_discover) == (
        "/backup",
        ({"kind": "svn", "path": "/x"},),
        {"git": "/srv"},
    )
    assert os.path.basename(given.archives[0].filename) == "dybsvn-12.tar.zst"
