"""Members of tarballs: what a full one and its differential bring back together, without unpacking either."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from helpers.hostile import TOP, compressed, folder, member, stream

from ansible_collections.altbackup.core.plugins.module_utils.archive import members as room
from ansible_collections.altbackup.core.plugins.module_utils.archive.members import (
    FILE,
    FOLDER,
    HARD_LINK,
    LINK,
    Member,
    read_members,
)
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError, Hostile, ToolFailed
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline


def read(*tarballs: Path, top: str = TOP, digested: bool = False) -> list[Member]:
    """Return the members that tarballs bring back."""
    found: list[Member] = []
    paths = [str(path) for path in tarballs]
    read_members(paths, top, found.append, deadline=Deadline(60, "reading"), digested=digested)
    return found


def as_members(words: str) -> dict[str, Member]:
    """Return members by their paths: `a/` is a folder, `a` a file, `a@` a link."""
    types = {"/": FOLDER, "@": LINK}
    found = {}
    for word in words.split():
        path = word.rstrip("/@.")
        found[path] = Member(path, types.get(word[-1], FILE), 0, 0, 0o644, "", "", "")
    return found


@pytest.mark.parametrize(
    ("before", "after", "names", "left"),
    [
        pytest.param("", "", {}, "", id="nothing"),
        pytest.param("./ a b", "./", {"": "a b"}, " a b", id="nothing changed"),
        pytest.param("./ a b", "./", {"": "a"}, " a", id="one is gone"),
        pytest.param("./ a b", "./", {"": ""}, "", id="all is gone"),
        pytest.param("./ a", "./ a", {"": "a"}, " a", id="one changed"),
        pytest.param("./ b", "./ a", {"": "a b"}, " a b", id="one is new, in the order of paths"),
        pytest.param("./ d/ d/a", "./ d/", {"": "d", "d": "a"}, " d d/a", id="in a folder"),
        pytest.param("./ d/ d/a d/e/ d/e/f", "./", {"": ""}, "", id="a folder is gone with all below it"),
        pytest.param("./ d/ d/a", "./ d", {"": "d"}, " d", id="a folder became a file"),
        pytest.param("./ d/ d/a", "./ d@", {"": "d"}, " d", id="a folder became a link"),
        pytest.param("./ d", "./ d/ d/a", {"": "d", "d": "a"}, " d d/a", id="a file became a folder"),
        pytest.param("./ d/ d/a", "./ d/", {"": "d"}, " d d/a", id="a folder without a list lost nothing"),
        pytest.param("./ d/ d/a", "./", {"": "d"}, " d d/a", id="a folder that the differential has not"),
        pytest.param("./ ab/ ab/c", "./ a/", {"": "a", "a": ""}, " a", id="a name is no other one's beginning"),
    ],
)
def test_what_a_pair_brings_back_is_told_by_the_lists_of_the_differential(
    before: str, after: str, names: dict[str, str], left: str
) -> None:
    lists = {path: frozenset(text.split()) for path, text in names.items()}
    found = room._put_together(as_members(before), as_members(after), lists)
    assert " ".join(one.path for one in found) == left


def test_a_pair_tells_of_a_member_what_its_differential_says(tmp_path: Path) -> None:
    full = compressed(tmp_path / "thing.tar", stream([folder(), member(f"{TOP}/a", b"old"), member(f"{TOP}/b", b"b")]))
    new = [folder(GNU__dumpdir="Ya\0Nb\0\0"), member(f"{TOP}/a", b"newer")]
    found = read(full, compressed(tmp_path / "thing.diff.tar", stream(new)))
    assert [(one.path, one.size, one.dumpdir) for one in found] == [("", 0, None), ("a", 5, None), ("b", 1, None)]


def test_paths_that_are_deeper_than_calls_may_be_are_told() -> None:
    deep = "/".join(["d"] * 1300)
    after = as_members(" ".join("/".join(["d"] * number) + "/" for number in range(1, 1301)))
    found = [one.path for one in room._put_together(as_members(f"{deep}/f"), after, {})]
    assert found[-1] == f"{deep}/f"


@pytest.mark.parametrize(
    ("held", "names"),
    [
        ("", set()),
        ("\0", set()),
        ("Ya\0Nb\0Dc\0\0", {"a", "b", "c"}),
        ("Ya b\0Y\udcff\0\0", {"a b", "\udcff"}),
        ("YR\0YT\0\0", {"R", "T"}),
    ],
)
def test_names_in_a_folder_are_those_of_its_list(held: str, names: set[str]) -> None:
    assert room._names_in(held, "x.tar") == names


@pytest.mark.parametrize("held", ["Rold\0Tnew\0\0", "Ya\0Rold\0Tnew\0\0", "X\0\0"])
def test_a_differential_that_renames_is_not_guessed_at(held: str) -> None:
    with pytest.raises(AltbackupError, match=r"x.tar renames folders, which only a restore follows"):
        room._names_in(held, "x.tar")


def test_members_are_told_as_their_headers_have_them(tmp_path: Path) -> None:
    plain = member(f"{TOP}/a", b"12345", mode=0o4755)
    plain[0].uid, plain[0].gname, plain[0].mtime = 7, "staff", -5
    others = [
        member(f"{TOP}/hard", kind=tarfile.LNKTYPE, link=f"{TOP}/a"),
        member(f"{TOP}/link", kind=tarfile.SYMTYPE, link="/etc"),
        member(f"{TOP}/null", kind=tarfile.CHRTYPE),
        member(f"{TOP}/pipe", kind=tarfile.FIFOTYPE),
    ]
    found = read(compressed(tmp_path / "thing.tar", stream([folder(), plain, *others])))
    assert [(one.path, one.type) for one in found] == [
        ("", FOLDER),
        ("a", FILE),
        ("hard", HARD_LINK),
        ("link", LINK),
        ("null", "device"),
        ("pipe", "pipe"),
    ]
    told = found[1]
    assert (told.size, told.mode, told.owner, told.group, told.mtime) == (5, 0o4755, "7", "staff", 0)
    assert (found[2].target, found[3].target) == (f"{TOP}/a", "/etc")


def test_each_digest_is_of_its_own_file(tmp_path: Path) -> None:
    files = [member(f"{TOP}/{name}", content) for name, content in (("a", b"1"), ("b", b""), ("c", b"1"))]
    path = compressed(tmp_path / "thing.tar", stream([folder(), *files]))
    top, a, b, c = read(path, digested=True)
    assert (top.digest, len(a.digest)) == (b"", 32)
    assert a.digest == c.digest != b.digest
    assert [one.digest for one in read(path)] == [b""] * 4


def test_more_members_than_memory_holds_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST_IN_MEMORY", 2)
    full = compressed(tmp_path / "thing.tar", stream([folder(), member(f"{TOP}/a"), member(f"{TOP}/b")]))
    diff = compressed(tmp_path / "thing.diff.tar", stream([folder(GNU__dumpdir="Na\0Nb\0\0")]))
    assert len(read(full)) == 3  # of one alone none is held
    with pytest.raises(AltbackupError, match=r"thing.tar has more than 2 entries, which are too many to hold"):
        read(full, diff)


def test_what_no_restore_would_unpack_and_what_is_damaged_is_told(tmp_path: Path) -> None:
    with pytest.raises(Hostile, match="leads out by"):
        read(compressed(tmp_path / "thing.tar", stream([folder(), member(f"{TOP}/../x", b"x")])))
    whole = stream([folder(), member(f"{TOP}/a", bytes(9000))])
    with pytest.raises(ToolFailed, match="is damaged"):
        read(compressed(tmp_path / "thing.tar", whole[:5000]))


def test_a_differential_may_not_lead_through_a_link_of_its_full_tarball(tmp_path: Path) -> None:
    full = [folder(), member(f"{TOP}/link", kind=tarfile.SYMTYPE, link="/etc")]
    diff = [folder(GNU__dumpdir="Nlink\0\0"), member(f"{TOP}/link/passwd", b"x")]
    with pytest.raises(Hostile, match="through a symbolic link of its full tarball"):
        read(compressed(tmp_path / "thing.tar", stream(full)), compressed(tmp_path / "thing.diff.tar", stream(diff)))
