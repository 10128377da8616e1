"""GNU tar's own list of an archive: every name is read back, and differences from the judged members are reported."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from helpers.hostile import BODY, END, FILE, GOOD, block, padded
from helpers.trees import ODD_NAMES, make_odd_tree, needs_root

from ansible_collections.altbackup.core.plugins.module_utils.archive.headers import Header, Headers
from ansible_collections.altbackup.core.plugins.module_utils.archive.listing import (
    list_command,
    open_listing,
    parse_line,
)
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import Hostile, ToolFailed
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline


def compare(content: bytes, judged: list[Header] | None = None) -> None:
    """Compare tar's list of an archive with judged members, by default those in its headers."""
    headers = Headers()
    headers.feed(content)
    deadline = Deadline(60)
    with open_listing("thing.tar", list_command(), deadline) as listing:
        for start in range(0, len(content), 4096):
            listing.feed(content[start : start + 4096])
        for header in headers.found if judged is None else judged:
            listing.expect(header)
        listing.finish(deadline)


@needs_root
@pytest.mark.parametrize("form", ["gnu", "posix"])
def test_odd_names_types_and_links_are_what_tar_sees(tmp_path: Path, form: str) -> None:
    odd = make_odd_tree(tmp_path / "thing")
    for name in (b'"', b'a" -> "b', b"\\", b'\\"', b"a link to b", b"\x00\x01"[1:] * 3, bytes(range(128, 240))):
        (odd / "x").mkdir(exist_ok=True)
        Path(str(odd / "x"), name.decode("utf-8", "surrogateescape")).symlink_to(name)
    made = subprocess.run(["tar", "-c", f"--format={form}", "-C", tmp_path, "thing"], capture_output=True, check=True)
    compare(made.stdout)
    headers = Headers()
    headers.feed(made.stdout)
    assert len(headers.found) > len(ODD_NAMES)


@pytest.mark.parametrize(
    "other",
    [
        Header(b"thing/other", b"0", len(BODY)),
        Header(GOOD.encode(), b"5", 0),
        Header(GOOD.encode(), b"0", 3),
        Header(GOOD.encode(), b"2", len(BODY), b"x"),
    ],
)
def test_another_member_is_told(other: Header) -> None:
    with pytest.raises(Hostile, match=r"this node's tar sees another member than '.*': -rw-r--r-- .*thing/ok"):
        compare(FILE + END, [other])


def test_members_that_only_one_sees_are_told() -> None:
    same = Header(GOOD.encode(), b"0", len(BODY))
    with pytest.raises(Hostile, match="tar sees more members than there are"):
        compare(FILE * 2 + END, [same])
    with pytest.raises(Hostile, match="tar sees no such member"):
        compare(FILE + END, [same, same])


def test_a_link_that_leads_elsewhere_is_told() -> None:
    link = block("thing/link", b"2", link="there")
    compare(link + END, [Header(b"thing/link", b"2", 0, b"there")])
    with pytest.raises(Hostile, match="another member"):
        compare(link + END, [Header(b"thing/link", b"2", 0, b"elsewhere")])


def test_what_tar_cannot_read_is_told() -> None:
    with pytest.raises(ToolFailed, match=r"listing thing.tar: tar failed with exit code 2"):
        compare(padded(b"no archive"), [])


def test_lines_that_tell_of_no_member_are_none() -> None:
    assert parse_line(b'drwxr-xr-x 0/0 0 2026-11-28 12:47:34 "a"x\n') is None
    assert parse_line(b'crw-r--r-- 0/0             1,3 2026-11-28 12:47:34.1 "d/n"\n') == (b"c", 0, b"d/n", b"")
