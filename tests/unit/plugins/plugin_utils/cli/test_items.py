"""The item that a person means by a part of its name, and an inventory's facts on items."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.items import (
    Site,
    find_item,
    is_whole,
    named_items,
    read_site,
    split_item,
)

KNOWN = [
    "dayabay/folders/svnsetup",
    "dayabay/git/group%2Fproject",
    "dayabay/svn/dybsvn",
    "dayabay/svn/dybsvn-old",
    "dayabay/tracs/dybsvn",
    "lingao/git/toolbox",
    "lingao/svn/toysvn",
]


def test_members_of_a_set_are_items_too() -> None:
    member = {"kind": "git", "name": "forge", "path": "/srv/git"}
    wanted = {"kind": "set", "name": "forge", "members": [member, "folders/data"]}
    hosts = {"dayabay": {"altbackup_items": [wanted]}}
    site = read_site({"_meta": {"hostvars": hosts}, "sources": {"hosts": ["dayabay"]}})
    assert site.items == {"dayabay/git/forge": "/srv/git", "dayabay/sets/forge": ""}
    assert split_item(find_item("sets/forge", site.items)) == ("dayabay", "set", "forge")


@pytest.mark.parametrize(
    ("text", "item"),
    [
        ("dayabay/svn/dybsvn", "dayabay/svn/dybsvn"),
        ("svn/dybsvn", "dayabay/svn/dybsvn"),
        ("svnsetup", "dayabay/folders/svnsetup"),
        ("dybsvn-old", "dayabay/svn/dybsvn-old"),
        ("setup", "dayabay/folders/svnsetup"),
        ("tracs", "dayabay/tracs/dybsvn"),
        ("ling/svn", "lingao/svn/toysvn"),
        ("lingao/toolbox", "lingao/git/toolbox"),
        ("trac/dyb", "dayabay/tracs/dybsvn"),
        ("project", "dayabay/git/group%2Fproject"),
    ],
)
def test_a_part_that_only_one_item_has_is_enough(text: str, item: str) -> None:
    assert find_item(text, KNOWN) == item


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("dybsvn", "'dybsvn' may be 2 items: dayabay/svn/dybsvn, dayabay/tracs/dybsvn. Write more of it"),
        ("dayabay/dybsvn", "may be 2 items: dayabay/svn/dybsvn, dayabay/tracs/dybsvn"),
        ("to", "may be 2 items: lingao/git/toolbox, lingao/svn/toysvn"),
        ("dybsvm", "is no item, did you mean 'dybsvn'?"),
        ("svn/dayabay", "is no item"),
        ("to\x1b[31m", r"'to\x1b[31m' is no item"),
    ],
)
def test_what_several_items_have_names_them(text: str, why: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        find_item(text, KNOWN)
    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("text", "count"),
    [("dayabay/svn/dybsvn", 1), ("dybsvn", 2), ("svn/", 3), ("dayabay/dyb", 3), ("dayabay/setup", 1), ("xyz", 0)],
)
def test_parts_of_a_name_mean_all_that_have_it_unless_some_are_called_just_so(text: str, count: int) -> None:
    assert len(named_items(text, KNOWN)) == count


def test_where_many_are_known_not_all_of_them_are_named() -> None:
    with pytest.raises(InvalidInput, match="200 are known: altbackup list shows them"):
        find_item("zzz", [f"s/svn/{number}" for number in range(200)])


INVENTORY: dict[str, Any] = {
    "_meta": {
        "hostvars": {
            "dayabay": {
                "altbackup_timezone": "Asia/Taipei",
                "altbackup_items": [
                    {"kind": "svn", "name": "dybsvn", "path": "/home/scm/svn/dybsvn", "former_names": ["old"]},
                    {"kind": "folder", "name": "setup", "path": "{{ etc }}/setup"},
                ],
                "altbackup_retired": {"git/gone": "2026/11/23"},
            },
            "lingao": {"altbackup_items": [], "altbackup_discover": {"git": "/srv/git"}},
            "other": {"altbackup_items": "{{ shared }}", "altbackup_include_controller": True},
        }
    },
    "all": {"children": ["ungrouped", "sources", "targets"]},
    "sources": {"children": ["taipei"], "hosts": ["lingao"]},
    "taipei": {"hosts": ["dayabay", "other"], "children": ["sources"]},
    "targets": {"hosts": ["cms01"]},
}


def test_an_inventory_tells_items_and_which_sources_may_have_more() -> None:
    assert read_site(INVENTORY) == Site(
        items={
            "dayabay/svn/dybsvn": "/home/scm/svn/dybsvn",
            "dayabay/svn/old": "",
            "dayabay/folders/setup": "",
            "dayabay/git/gone": "",
            "other/folders/altbackup-controller": "",
        },
        kinds={"dayabay/svn/dybsvn": "svn", "dayabay/svn/old": "svn", "dayabay/folders/setup": "folder"},
        folders={"lingao/git": "/srv/git"},
        unknown=("lingao", "other"),
        sources=("lingao", "dayabay", "other"),
        targets=("cms01",),
        hosts=("lingao", "dayabay", "other", "cms01"),
        timezone="Asia/Taipei",
    )


@pytest.mark.parametrize(
    ("items", "item", "path"),
    [
        ([], "lingao/git/group%2Fproject", "/srv/git/group/project"),
        ([{"kind": "git", "name": "toolbox", "path": "/home/toolbox"}], "lingao/git/toolbox", "/home/toolbox"),
        ([{"kind": "git", "name": "toolbox", "path": "/home/toolbox"}], "lingao/git/other", "/srv/git/other"),
        ([], "lingao/tracs/toolbox", ""),
        ([], "lingao/svn/toolbox", ""),
        ("{{ shared }}", "lingao/git/toolbox", ""),
        ([{"kind": "git", "name": "{{ shared }}", "path": "/home/toolbox"}], "lingao/git/toolbox", ""),
    ],
)
def test_an_item_that_is_discovered_has_a_path_where_no_other_can_be_meant(items: Any, item: str, path: str) -> None:
    values = {"altbackup_items": items, "altbackup_discover": {"git": "/srv/git", "trac": "{{ tracs }}"}}
    site = read_site({"_meta": {"hostvars": {"lingao": values}}, "sources": {"hosts": ["lingao"]}})
    assert site.unknown == ("lingao",)
    assert site.path_of(item) == path


@pytest.mark.parametrize(
    "broken", [{}, {"sources": None}, {"sources": {"hosts": ["a"]}, "_meta": {"hostvars": {"a": []}}}]
)
def test_an_inventory_that_tells_nothing_has_no_items(broken: dict[str, Any]) -> None:
    assert read_site(broken).items == {}


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("dayabay/svn/new", True),
        ("dayabay/git/group%2Fproject", True),
        ("cms01/svn/new", False),
        ("dayabay/tarballs/new", False),
        ("dayabay/svn/", False),
        ("dayabay/svn/a/b", False),
        ("svn/dybsvn", False),
    ],
)
def test_a_whole_name_is_taken_as_it_is(text: str, whole: bool) -> None:
    assert is_whole(text, read_site(INVENTORY)) is whole


def test_an_item_has_source_kind_and_name() -> None:
    assert split_item("dayabay/tracs/dybsvn") == ("dayabay", "trac", "dybsvn")
