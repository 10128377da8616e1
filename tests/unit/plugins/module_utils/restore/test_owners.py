"""Owners of restored files, by name."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

import pytest
from helpers.trees import needs_root, written

from ansible_collections.altbackup.core.plugins.module_utils.restore.owners import Renumbering, apply_names, renumber
from ansible_collections.altbackup.core.plugins.module_utils.system.names import Directory, Names

USERS = {"alice": 1001, "bob": 1002, "root": 0}
GROUPS = {"staff": 50, "root": 0}


class Here(Directory):
    """A node with users and groups of its own."""

    def __init__(self, names: str = "", numbers: str = "") -> None:
        self._lacking = names, numbers

    def names(self, users: Iterable[int], groups: Iterable[int]) -> Names:
        uids, gids = ({number: name for name, number in known.items()} for known in (USERS, GROUPS))
        return Names(
            {uid: uids[uid] for uid in users if uid in uids},
            {gid: gids[gid] for gid in groups if gid in gids},
            self._lacking[0],
        )

    def numbers(self, users: Iterable[str], groups: Iterable[str]) -> tuple[dict[str, int], dict[str, int], str]:
        return (
            {user: USERS[user] for user in users if user in USERS},
            {group: GROUPS[group] for group in groups if group in GROUPS},
            self._lacking[1],
        )


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (Names(), Renumbering()),
        (Names({1001: "alice", 0: "root"}, {50: "staff"}), Renumbering()),
        (Names({1002: "alice", 1001: "bob"}, {20: "staff"}), Renumbering({1002: 1001, 1001: 1002}, {20: 50})),
        (Names({5: "nobody here"}, {6: "none"}), Renumbering(unknown=Names({5: "nobody here"}, {6: "none"}))),
        (Names({1002: "carol"}), Renumbering(unknown=Names({1002: "carol"}))),
    ],
)
def test_a_number_becomes_that_of_its_name_here(names: Names, expected: Renumbering) -> None:
    assert renumber(names, Here()) == expected


def test_several_numbers_of_one_name_stay_where_this_node_has_the_same() -> None:
    class Twins(Here):
        def names(self, users: Iterable[int], groups: Iterable[int]) -> Names:
            return Names(dict.fromkeys(users, "alice"))

    assert renumber(Names({1001: "alice", 2001: "alice"}), Twins()) == Renumbering()


@pytest.mark.parametrize("lacking", [("no answer", ""), ("", "no answer")])
def test_where_not_all_is_answered_numbers_stay_and_that_is_told(lacking: tuple[str, str]) -> None:
    found = renumber(Names({1002: "alice"}), Here(*lacking))
    assert (found.is_needed, found.notes()) == (
        False,
        ["no answer: owners have the numbers that they had in the backup"],
    )


def test_one_note_tells_the_names_that_are_not_known() -> None:
    unknown = Names({number: f"u{number}" for number in range(7)}, {9: "g"})
    shown = "user u0 (0), user u1 (1), user u2 (2), user u3 (3), user u4 (4) and 3 more"
    assert Renumbering(unknown=unknown).notes() == [
        f"not known on this host, so by their numbers in the backup: {shown}"
    ]
    assert Renumbering(unknown=unknown).notes(users=[3], groups=[]) == [
        "not known on this host, so by its number in the backup: user u3 (3)"
    ]
    assert Renumbering(unknown=unknown).notes(users=[], groups=[10]) == []


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files unpacked with the numbers of their archive: 1002 is alice there, 1001 bob."""
    top = tmp_path / "thing"
    (top / "sub").mkdir(parents=True)
    for name in ("one", "two", "sub/three"):
        (top / name).write_text(name)
    os.link(top / "one", top / "sub" / "twin")
    os.symlink("/etc/passwd", top / "link")
    owners = {
        "": (1002, 20),
        "sub": (1001, 0),
        "one": (1002, 20),
        "two": (1001, 7),
        "sub/three": (0, 0),
        "link": (1002, 20),
    }
    for name, (uid, gid) in owners.items():
        os.chown(top / name, uid, gid, follow_symlinks=False)
    (top / "one").chmod(0o4755)
    (top / "two").chmod(0o640)
    return top


def owners_of(top: Path) -> dict[str, tuple[int, int]]:
    """Return {path: (uid, gid)} of a folder and all below it."""
    found = {path: path.lstat() for path in (top, *top.rglob("*"))}
    return {os.path.relpath(path, top): (status.st_uid, status.st_gid) for path, status in found.items()}


@pytest.mark.root
@needs_root
def test_numbers_that_are_exchanged_are_exchanged_once_in_every_file(tree: Path) -> None:
    before = written("/etc/passwd")
    renumbering = Renumbering({1002: 1001, 1001: 1002}, {20: 50}, Names({5: "gone"}, {7: "other", 8: "gone"}))
    descriptor = os.open(tree.parent, os.O_RDONLY)
    try:
        notes = apply_names(descriptor, b"thing", renumbering)
    finally:
        os.close(descriptor)
    assert owners_of(tree) == {
        ".": (1001, 50),
        "sub": (1002, 0),
        "one": (1001, 50),
        "sub/twin": (1001, 50),
        "two": (1002, 7),
        "sub/three": (0, 0),
        "link": (1001, 50),
    }
    assert stat.S_IMODE((tree / "one").stat().st_mode) == 0o4755
    assert stat.S_IMODE((tree / "two").stat().st_mode) == 0o640
    assert notes == ["not known on this host, so by its number in the backup: group other (7)"]
    assert written("/etc/passwd") == before


@pytest.mark.root
@needs_root
def test_one_file_is_given_its_owner(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    os.chown(tmp_path / "file", 1002, 20)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        assert apply_names(descriptor, b"file", Renumbering({1002: 1001})) == []
    finally:
        os.close(descriptor)
    assert (tmp_path / "file").stat().st_uid == 1001
