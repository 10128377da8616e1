"""What a target knows by itself of a source that is to come: what is kept comes back, and what is no such thing is refused."""

from __future__ import annotations

import base64
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from helpers.trees import NOBODY, marked, needs_root

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError, InvalidInput
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import Tree, open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.watching import (
    MAIL,
    PINGS,
    PROGRAM,
    last_check,
    leave_watched,
    note_check,
    parse_watched,
    read_watched,
    silence,
    sources_of,
    watched_path,
)

NOW = 1_800_000_000.0
HOUR, DAY = 3600.0, 86400.0
LEFT: dict[str, Any] = {
    "source": "dayabay",
    "target": "cms01",
    "items": ["svn/dybsvn"],
    "max_age": 36 * HOUR,
    "timezone": "UTC",
    "written": NOW,
    "since": NOW - DAY,
    "pause_until": 0.0,
    "mail": {},
    "pings": {},
}
GIVEN = {"source": "dayabay", "target": "cms01", "items": ["svn/dybsvn"], "max_age": 36 * HOUR, "timezone": "UTC"}


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """The tree of a source on a target."""
    return open_tree(str(marked(tmp_path / "copies") / "dayabay"))


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"items": []},
        {"max_age": 60},
        {"max_age": 10 * 366 * DAY},
        {"pause_until": 99_999_999_999},
        {"target": 5},
        {"source": "ä b"},
        {"mail": {"to": "a@example.org", "port": 25}},
        {"stamp": "x" * 2000},
        {"anything": "else"},
    ],
)
def test_what_a_run_leaves_is_taken(more: dict[str, Any]) -> None:
    found = parse_watched({**LEFT, **more})
    assert (set(found.mail), set(found.pings)) == (set(MAIL), set(PINGS))
    assert len(found.items) == len({**LEFT, **more}["items"])


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"items": None}, "its items are no list of category/name"),
        ({"items": "svn/x"}, "its items are no list"),
        ({"items": ["svn"]}, "its items are no list"),
        ({"items": ["svn/x/y"]}, "its items are no list"),
        ({"items": ["../x"]}, "its items are no list"),
        ({"items": ["svn/.."]}, "its items are no list"),
        ({"items": ["svn/"]}, "its items are no list"),
        ({"items": ["svn/a\0"]}, "its items are no list"),
        ({"items": [5]}, "its items are no list"),
        ({"items": ["a/b"] * 100_001}, "its items are no list"),
        ({"source": ""}, "its source is no name"),
        ({"source": "a/b"}, "its source is no name"),
        ({"source": ".."}, "its source is no name"),
        ({"source": None}, "a text in it is none of one line"),
        ({"source": True}, "a text in it is none of one line"),
        ({"target": ["x"]}, "a text in it is none of one line"),
        ({"stamp": "x" * 2001}, "a text in it is none of one line"),
        ({"stamp": "a\nb"}, "a text in it is none of one line"),
        ({"mail": {"to": "a\n"}}, "a text in it is none of one line"),
        ({"mail": {"to": "a\rBcc: b"}}, "a text in it is none of one line"),
        ({"mail": {"to": "a\u2028b"}}, "a text in it is none of one line"),
        ({"mail": {"password": "a\0"}}, "a text in it is none of one line"),
        ({"pings": {"ping_url": 1.5}}, "a text in it is none of one line"),
        ({"mail": None}, "it is not what a run writes"),
        ({"pings": []}, "it is not what a run writes"),
        ({"max_age": 59}, "its max_age is no time from a minute to ten years"),
        ({"max_age": 0}, "its max_age is no time"),
        ({"max_age": 10 * 366 * DAY + 1}, "its max_age is no time"),
        ({"max_age": "36h"}, "its max_age is no number of seconds"),
        ({"max_age": True}, "its max_age is no number of seconds"),
        ({"max_age": float("nan")}, "its max_age is no number of seconds"),
        ({"max_age": float("inf")}, "its max_age is no number of seconds"),
        ({"written": -1}, "its written is no number of seconds"),
        ({"since": 1e11}, "its since is no number of seconds"),
        ({"pause_until": None}, "its pause_until is no number of seconds"),
    ],
)
def test_what_no_run_leaves_is_refused(more: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        parse_watched({**LEFT, **more})


@pytest.mark.parametrize("value", [None, [], "x", 5, {}, {"items": []}, [LEFT]])
def test_what_is_no_mapping_of_all_that_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInput, match="it is not what a run writes"):
        parse_watched(value)


def test_what_is_left_comes_back_with_its_secrets_and_for_this_user_alone(tree: Tree) -> None:
    mail = {"to": "a@example.org", "host": "mail", "port": "25"}
    leave_watched(tree, {**GIVEN, "mail": mail}, {"password": "secret", "ping_url": "https://x", "other": 1}, "")
    found = read_watched(watched_path(tree))
    assert (found.source, found.items, found.since) == ("dayabay", ("svn/dybsvn",), found.written)
    assert (found.mail["password"], found.mail["username"], found.pings["ping_url"]) == ("secret", "", "https://x")
    assert "secret" not in repr(found)
    assert stat.S_IMODE(os.stat(watched_path(tree)).st_mode) == 0o600
    assert sources_of(tree.private) == ["dayabay"]
    leave_watched(tree, {}, {}, "")
    assert not os.path.exists(watched_path(tree)) and sources_of(tree.private) == []
    leave_watched(tree, {}, {}, "")


@pytest.mark.parametrize(("complete", "items"), [(True, ["svn/b"]), (False, ["svn/b", "svn/dybsvn"])])
def test_where_not_all_items_are_known_those_that_were_stay(tree: Tree, complete: bool, items: list[str]) -> None:
    leave_watched(tree, GIVEN, {}, "")
    first = read_watched(watched_path(tree))
    leave_watched(tree, {**GIVEN, "items": ["svn/b"], "complete": complete}, {}, "")
    found = read_watched(watched_path(tree))
    assert (list(found.items), found.since) == (items, first.since)
    Path(watched_path(tree)).write_text("damaged")
    leave_watched(tree, {**GIVEN, "items": ["svn/b"], "complete": complete}, {}, "")
    assert read_watched(watched_path(tree)).items == ("svn/b",)


def test_what_cannot_be_read_again_is_not_left(tree: Tree) -> None:
    leave_watched(tree, GIVEN, {}, "")
    with pytest.raises(InvalidInput, match="its max_age is no time"):
        leave_watched(tree, {**GIVEN, "max_age": 5}, {}, "")
    assert read_watched(watched_path(tree)).max_age == 36 * HOUR


def test_the_program_is_written_when_it_is_another_one_and_over_no_link(tree: Tree, tmp_path: Path) -> None:
    path = Path(tree.private, "watch", PROGRAM)

    def leave(content: bytes) -> None:
        leave_watched(tree, GIVEN, {}, base64.b64encode(content).decode())

    leave(b"one")
    first = path.stat()
    assert (path.read_bytes(), stat.S_IMODE(first.st_mode)) == (b"one", 0o700)
    leave(b"one")
    assert path.stat().st_ino == first.st_ino
    leave(b"on")
    assert path.read_bytes() == b"on"
    (tmp_path / "precious").write_text("x")
    path.unlink()
    path.symlink_to(tmp_path / "precious")
    leave(b"two")
    assert (path.read_bytes(), path.is_symlink(), (tmp_path / "precious").read_text()) == (b"two", False, "x")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is no JSON"),
        (b"\xff", "it is no JSON"),
        (b"[" * 100_000, "it is no JSON"),
        (b"[]", "it is not what a run writes"),
        (json.dumps({**LEFT, "max_age": 1}).encode(), "its max_age is no time"),
        (b" " * ((16 << 20) + 1), "it has more than"),
    ],
)
def test_a_damaged_file_is_told(tree: Tree, content: bytes, why: str) -> None:
    leave_watched(tree, GIVEN, {}, "")
    Path(watched_path(tree)).write_bytes(content)
    with pytest.raises(AltbackupError, match=f"is damaged: {why}"):
        read_watched(watched_path(tree))
    assert "is damaged" in silence(tree, NOW)


@needs_root
@pytest.mark.parametrize("how", ["others may read it", "of another user"])
def test_what_others_can_have_written_or_read_is_not_used(tree: Tree, how: str) -> None:
    leave_watched(tree, GIVEN, {}, "")
    path = watched_path(tree)
    os.chmod(path, 0o640) if how.startswith("others") else os.chown(path, NOBODY, NOBODY)
    with pytest.raises(AltbackupError, match="it is not used"):
        read_watched(path)


@pytest.mark.parametrize(
    ("hours", "checked", "pause", "said"),
    [
        pytest.param(1, None, 0, "", id="left lately"),
        pytest.param(36, None, 0, "", id="just in time"),
        pytest.param(36.1, None, 0, "did not run at all", id="it never ran"),
        pytest.param(100, 80, 0, "", id="it ran"),
        pytest.param(100, 50, 0, "did not run since 20", id="it ran long ago"),
        pytest.param(100, 50, 101, "", id="a pause"),
        pytest.param(100, 50, 99, "did not run since 20", id="a pause that ended"),
    ],
)
def test_a_check_that_does_not_run_is_missed(
    tree: Tree, hours: float, checked: float | None, pause: float, said: str
) -> None:
    assert silence(tree, NOW) == ""
    leave_watched(tree, GIVEN, {}, "")
    path = Path(watched_path(tree))
    path.write_text(json.dumps({**LEFT, "since": NOW, "pause_until": NOW + pause * HOUR if pause else 0}))
    if checked is not None:
        note_check(tree.private, NOW + checked * HOUR)
    found = silence(tree, NOW + hours * HOUR)
    assert bool(found) == bool(said) and said in found


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"[]", b"5", b"{}", b'{"at": "x"}', b'{"at": NaN}', b'{"at": true}', b"[" * 4000]
)
def test_a_check_of_which_nothing_can_be_read_never_ran(tree: Tree, content: bytes) -> None:
    assert last_check(tree.private) == 0.0
    note_check(tree.private, NOW)
    assert last_check(tree.private) == NOW
    Path(tree.private, "watch", "last.json").write_bytes(content)
    assert last_check(tree.private) == 0.0


def test_sources_are_those_of_which_anything_was_left(tree: Tree) -> None:
    assert sources_of(tree.private) == []
    for name in ("b", "a", ".altbackup"):
        folder = Path(tree.private, "state", name)
        folder.mkdir(parents=True)
        (folder / "watch.json").touch()
    Path(tree.private, "state", "empty").mkdir()
    Path(tree.private, "state", "file").touch()
    assert sources_of(tree.private) == ["a", "b"]
