"""What a member of an archive may be: each rule by itself, at its limits."""

from __future__ import annotations

import re
import stat
import tarfile
from typing import Any

import pytest
from helpers.hostile import TOP, block, folder, member, padded, stream

from ansible_collections.altbackup.core.plugins.module_utils.archive.headers import Headers
from ansible_collections.altbackup.core.plugins.module_utils.archive.rules import (
    Contents,
    LeftOut,
    Limits,
    Rules,
    TooLarge,
    WriteChecker,
    require_same,
    stored_bytes,
)
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import Hostile
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline

LINK = member(f"{TOP}/link", kind=tarfile.SYMTYPE, link="/etc")[0]
PIPE = member(f"{TOP}/pipe", kind=tarfile.FIFOTYPE)[0]


def plain(path: str, **attributes: Any) -> tarfile.TarInfo:
    """Return a file below the top folder, with some attributes of its own."""
    info = member(f"{TOP}/{path}")[0]
    for name, value in attributes.items():
        setattr(info, name, value)
    return info


def judge(*members: tarfile.TarInfo, limits: Limits = Limits(1 << 20), **options: Any) -> Contents:  # noqa: B008 (frozen)
    """Judge members behind their top folder, and return what they hold."""
    contents = Contents()
    given = {"special": True, "below": (), **options}
    rules = Rules("x.tar", TOP, limits, Deadline(60), contents=contents, **given)
    for one in (folder()[0], *members):
        rules.check(one)
    return contents


def judged(entries: list[tuple[str, int]]) -> None:
    """Judge names and modes as a dump does."""
    WriteChecker("item git 'thing'", TOP, Deadline(60)).check_names([(name.encode(), mode) for name, mode in entries])


FOLDER, PLAIN, LINK_MODE, FIFO = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o644, stat.S_IFLNK | 0o777, stat.S_IFIFO | 0o644


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([(TOP, FOLDER), (f"{TOP}/lfs", LINK_MODE), (f"{TOP}/lfs/a", PLAIN)], "'thing/lfs/a' would be written through"),
        ([(TOP, FOLDER), (f"{TOP}/lfs", LINK_MODE), (f"{TOP}/lfs", FOLDER)], "'thing/lfs' would be written through"),
        ([(TOP, LINK_MODE)], "'thing' stands in the place of the top folder"),
        ([(TOP, FOLDER), (f"{TOP}/../x", PLAIN)], r"'thing/../x' its name '.*' leads out by \.\."),
        ([(TOP, FOLDER), ("other/x", PLAIN)], "'other/x' its name '.*' is not in the top folder"),
        ([(TOP, FOLDER), *((f"{TOP}/{number}", FIFO) for number in range(1001))], "'thing/1000' is a named pipe"),
    ],
)
def test_what_no_restore_would_unpack_is_not_dumped(entries: list[tuple[str, int]], said: str) -> None:
    with pytest.raises(Hostile, match=rf"item git 'thing': member {said}.*; no restore would unpack it"):
        judged(entries)


def test_what_a_restore_unpacks_with_an_option_is_dumped() -> None:
    judged(
        [
            (TOP, FOLDER),
            (f"{TOP}/link", LINK_MODE),
            (f"{TOP}/fifo", FIFO),
            (f"{TOP}/\udcff".encode("utf-8", "surrogateescape").decode("latin-1"), PLAIN),
        ]
    )


@pytest.mark.parametrize(
    ("members", "said"),
    [
        pytest.param([plain("a", size=-1)], "'thing/a' has less than no bytes", id="a size below 0"),
        pytest.param([plain("a", type=b"Z")], "is of the unknown type", id="a type that nobody knows"),
        pytest.param([folder(f"{TOP}/d")[0], plain("d/../x")], "leads out by ..", id="up again"),
        pytest.param([plain("a\0b")], "its name holds a NUL byte", id="a NUL byte"),
        pytest.param([LINK, plain("link/x")], "through a symbolic link of the archive, 'thing/link'", id="a link"),
        pytest.param([LINK, LINK], "through a symbolic link of the archive", id="a link twice"),
        pytest.param([LINK, plain("link")], "through a symbolic link of the archive", id="in the place of a link"),
        pytest.param([LINK, plain("./link/x")], "through a symbolic link of the archive", id="a dot in a path"),
        pytest.param([LINK, plain("/link//x")], "through a symbolic link of the archive", id="empty parts of a path"),
        pytest.param([PIPE, plain("pipe/x")], "stands where the archive has a device", id="below a pipe"),
        pytest.param([plain("a", type=tarfile.LNKTYPE, linkname=f"{TOP}/b")], "has not", id="a link to nothing"),
        pytest.param(
            [plain("d", type=tarfile.DIRTYPE, size=1)], "is no file, but has 1 byte", id="a folder with bytes"
        ),
    ],
)
def test_a_member_that_is_not_to_be_unpacked_is_named(members: list[tarfile.TarInfo], said: str) -> None:
    with pytest.raises(Hostile, match=f"^x.tar: member .*{re.escape(said)}.*; nothing was unpacked$"):
        judge(*members)


@pytest.mark.parametrize(
    "members",
    [
        pytest.param([], id="the top folder alone"),
        pytest.param([plain("a"), plain("a")], id="a file twice"),
        pytest.param([LINK, plain("linked")], id="a name that begins as that of a link"),
        pytest.param([plain("a"), plain("b", type=tarfile.LNKTYPE, linkname=f"{TOP}/a")], id="a hard link"),
        pytest.param([LINK, plain("b", type=tarfile.LNKTYPE, linkname=f"{TOP}/link")], id="a hard link of a link"),
        pytest.param([plain("..x"), plain("x.."), plain("...")], id="names with dots"),
        pytest.param([plain("a\udcff\n")], id="a name of any bytes"),
    ],
)
def test_a_member_that_a_dump_makes_passes(members: list[tarfile.TarInfo]) -> None:
    judge(*members)


BLOCK, INODE = 4096, 512
TOP_FOLDER = INODE + BLOCK


@pytest.mark.parametrize(
    ("attributes", "needed"),
    [
        ({}, INODE),
        ({"size": 1}, INODE + BLOCK),
        ({"size": BLOCK}, INODE + BLOCK),
        ({"size": BLOCK + 1}, INODE + 2 * BLOCK),
        ({"type": tarfile.DIRTYPE}, INODE + BLOCK),
        ({"type": tarfile.SYMTYPE, "linkname": "x"}, INODE),
        ({"size": 100 * BLOCK, "sparse": []}, INODE),
        ({"size": 100 * BLOCK, "sparse": [(0, 1), (99 * BLOCK, BLOCK)]}, INODE + 2 * BLOCK),
        ({"size": 100 * BLOCK, "sparse": [(BLOCK - 1, 2)]}, INODE + 2 * BLOCK),
        ({"size": 100 * BLOCK, "sparse": [(100 * BLOCK, 0)]}, INODE),
    ],
)
def test_an_archive_may_need_as_much_of_a_disk_as_there_is(attributes: dict[str, Any], needed: int) -> None:
    one = plain("a", **attributes)
    assert judge(one, limits=Limits(TOP_FOLDER + needed)).stored == TOP_FOLDER + needed
    with pytest.raises(TooLarge, match=r"exceeds the limit of .* for what the archive needs on a disk"):
        judge(one, limits=Limits(TOP_FOLDER + needed - 1))


@pytest.mark.parametrize(("sizes", "passes"), [([60, 40], True), ([60, 41], False), ([101], False), ([], True)])
def test_holes_of_all_files_count_together(sizes: list[int], passes: bool) -> None:
    members = [plain(str(number), size=size + 5, sparse=[(0, 5)]) for number, size in enumerate(sizes)]
    limits = Limits(1 << 20, holes=100)
    if passes:
        judge(*members, limits=limits)
        return
    with pytest.raises(Hostile, match="exceeds the limit of 100 bytes for holes"):
        judge(*members, limits=limits)


@pytest.mark.parametrize(("entries", "passes"), [(3, True), (2, False)])
def test_entries_are_counted_with_the_top_folder(entries: int, passes: bool) -> None:
    members = [plain("a"), plain("b")]
    if passes:
        judge(*members, limits=Limits(1 << 20, entries))
        return
    with pytest.raises(Hostile, match="'thing/b' is one of more than 2 entries"):
        judge(*members, limits=Limits(1 << 20, entries))


@pytest.mark.parametrize(("special", "number", "passes"), [(True, 1000, True), (True, 1001, False), (False, 1, False)])
def test_devices_and_pipes_are_taken_where_they_are_allowed_up_to_a_thousand(
    special: bool, number: int, passes: bool
) -> None:
    members = [plain(str(count), type=tarfile.FIFOTYPE) for count in range(number)]
    if passes:
        assert len(judge(*members, limits=Limits(1 << 30), special=special).special) == number
        return
    with pytest.raises(Hostile, match=f"'thing/{number - 1}' is a named pipe"):
        judge(*members, limits=Limits(1 << 30), special=special)


@pytest.mark.parametrize(
    ("wanted", "alone", "found", "stored"),
    [
        ("", True, "", TOP_FOLDER * 2 + INODE * 2),
        (TOP, True, "something", TOP_FOLDER * 2 + INODE * 2),
        (f"{TOP}/d", True, "something", TOP_FOLDER + INODE),
        (f"{TOP}/d", False, "something", TOP_FOLDER * 2 + INODE * 2),
        (f"{TOP}/d/a", True, "something", INODE),
        (f"{TOP}/pipe", True, "a named pipe", INODE),
        (f"{TOP}/none", True, "", 0),
        (f"{TOP}/pi", True, "", 0),
    ],
)
def test_what_is_wanted_is_told_with_the_room_that_it_takes(wanted: str, alone: bool, found: str, stored: int) -> None:
    contents = judge(folder(f"{TOP}/d")[0], plain("d/a"), PIPE, wanted=wanted, alone=alone)
    assert (contents.found, contents.stored) == (found, stored)


@pytest.mark.parametrize(
    ("one", "size"),
    [
        (plain("a", size=5), 5),
        (plain("a", size=5, type=tarfile.DIRTYPE), 0),
        (plain("a", size=5, type=tarfile.LNKTYPE), 0),
        (plain("a", size=500, sparse=[(0, 3), (400, 4)]), 7),
        (plain("a", size=500, sparse=[]), 0),
    ],
)
def test_what_follows_a_header_is_the_content_without_its_holes(one: tarfile.TarInfo, size: int) -> None:
    assert stored_bytes(one) == size


CAPABILITY = {"SCHILY.xattr.security.capability": "x"}


@pytest.mark.parametrize(
    ("members", "notes"),
    [
        ([], []),
        ([(plain("a", mode=0o755), "")], []),
        ([(plain("a", mode=0o2755, type=tarfile.DIRTYPE), "")], []),
        ([(plain("a", mode=0o4755), "")], ["left out setuid or setgid bits of thing/a, with which"]),
        ([(plain("a", mode=0o2755), ""), (plain("b", mode=0o4755), "")], ["of thing/a and 1 more, with which"]),
        ([(plain("a", pax_headers=CAPABILITY), "")], ["left out file capabilities of thing/a, with which"]),
        ([(PIPE, "a named pipe")], ["left out the named pipe thing/pipe: special_modes: true brings it back"]),
        (
            [(PIPE, "a named pipe")] * 3,
            ["left out the named pipe thing/pipe and 2 more: special_modes: true brings them"],
        ),
        (
            [(PIPE, "a named pipe"), (plain("null"), "a device")],
            ["the named pipe thing/pipe: ", "the device thing/null: "],
        ),
    ],
)
def test_what_only_comes_if_it_is_asked_for_is_noted(
    members: list[tuple[tarfile.TarInfo, str]], notes: list[str]
) -> None:
    one, other = LeftOut(), LeftOut()
    for info, special in members[:1]:
        one.add_member(info, special)
    for info, special in members[1:]:
        other.add_member(info, special)
    one.add(other)
    found = one.notes()
    assert len(found) == len(notes) and all(part in note for part, note in zip(notes, found, strict=True))


def headers_of(content: bytes) -> Headers:
    """Return the headers of an archive as they stand there."""
    headers = Headers()
    headers.feed(content)
    return headers


def test_a_member_is_what_its_headers_say_and_an_end_is_an_end() -> None:
    headers = headers_of(stream([folder(), member(f"{TOP}/a", b"12345")]))
    assert require_same("x.tar", headers, folder()[0]).kind == b"5"
    assert require_same("x.tar", headers, plain("a", size=5)).size == 5
    assert require_same("x.tar", headers, None).name == b""


@pytest.mark.parametrize(
    "one",
    [
        None,
        plain("b", size=5),
        plain("a", size=4),
        plain("a", size=5, type=tarfile.SYMTYPE),
        plain("a", size=5, sparse=[(0, 5)]),
    ],
)
def test_a_member_that_is_read_in_two_ways_is_refused(one: tarfile.TarInfo | None) -> None:
    headers = headers_of(block(f"{TOP}/a", size=5) + padded(b"12345") + bytes(1024))
    with pytest.raises(Hostile, match=r"member 'thing/.' is read in two ways; nothing was unpacked"):
        require_same("x.tar", headers, one)
