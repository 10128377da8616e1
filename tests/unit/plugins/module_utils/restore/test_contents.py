"""What is in tarballs: what is asked, which members are meant, and how they are told."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.trees import FIRST, SECOND
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.altbackup.core.plugins.module_utils.archive.members import (
    FILE,
    FOLDER,
    HARD_LINK,
    LINK,
    Member,
)
from ansible_collections.altbackup.core.plugins.module_utils.kinds.items import decode_name
from ansible_collections.altbackup.core.plugins.module_utils.restore import contents as room
from ansible_collections.altbackup.core.plugins.module_utils.restore.contents import (
    MOST_EVER,
    matcher,
    parse_query,
    shown_path,
)
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import (
    AltbackupError,
    DeadlineExceeded,
    InvalidInput,
)

OLD, NEW = f"svn/x/{FIRST}/x-5.tar.zst", f"svn/x/{SECOND}/x-6.tar.zst"
DIFF = {"relpath": f"svn/x/{SECOND}/x-6.diff.tar.zst", "base": f"{FIRST}/x-5.tar.zst"}
OPTIONS: dict[str, Any] = {
    "step": "list",
    "tarballs": [{"relpath": OLD}],
    "name": "",
    "path": "",
    "recursive": False,
    "most": 10,
}


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ({}, {"relpaths": (OLD,), "tops": ("x-5",), "bases": ("",)}),
        ({"tarballs": [DIFF]}, {"relpaths": (DIFF["relpath"],), "tops": ("x-5",), "bases": (OLD,)}),
        ({"path": "/a/b/"}, {"path": "a/b"}),
        ({"path": "a%2Fb%41"}, {"path": "a/bA"}),
        ({"path": "a%FF"}, {"path": "a\udcff"}),
        ({"step": "find", "name": "a*"}, {"name": "a*"}),
        ({"step": "diff", "tarballs": [{"relpath": OLD}, {"relpath": NEW}]}, {"tops": ("x-5", "x-6")}),
        ({"most": 1}, {"most": 1}),
        ({"most": MOST_EVER}, {"most": MOST_EVER}),
    ],
)
def test_what_is_wanted_is_read(more: dict[str, Any], found: dict[str, Any]) -> None:
    wanted = parse_query({**OPTIONS, **more})
    assert {name: getattr(wanted, name) for name in found} == found


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"tarballs": []}, "no tarball is named"),
        ({"tarballs": [{}]}, "is not <category>/<name>/"),
        ({"tarballs": [{"relpath": "../../etc/passwd"}]}, "is not <category>/<name>/"),
        ({"tarballs": [{"relpath": OLD, "base": "../../x"}]}, "is not <category>/<name>/"),
        ({"step": "diff"}, "two tarballs are compared, the older one first, not 1"),
        ({"step": "diff", "tarballs": [{"relpath": OLD}] * 3}, "not 3"),
        ({"step": "find"}, "no name is given to look for"),
        ({"step": "find", "name": "//"}, "no name is given to look for"),
        ({"most": 0}, "most is 0, not a number from 1 to 100000"),
        ({"most": -1}, "most is -1"),
        ({"most": MOST_EVER + 1}, "most is 100001"),
        ({"path": "a/../b"}, "is none inside a tarball"),
        ({"path": "a//b"}, "is none inside a tarball"),
        ({"path": "./a"}, "is none inside a tarball"),
        ({"path": "a%2F..%2Fb"}, "is none inside a tarball"),
        ({"path": "a%00"}, "is none inside a tarball"),
    ],
)
def test_what_cannot_be_meant_is_refused(more: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        parse_query({**OPTIONS, **more})


@pytest.mark.parametrize(
    "path", ["plain", "a b", "100%", "%41", "new\nline", "\x1b[31m", "\u202e", "\udcff\udc80", "é"]
)
def test_paths_are_shown_as_they_can_be_given_again(path: str) -> None:
    assert decode_name(shown_path(path)) == path
    assert shown_path(path).isprintable()


def test_patterns_of_names_with_brackets_match_themselves() -> None:
    assert matcher("[x]")("a/[x]") and matcher("[xy]")("a/x") and not matcher("x")("a/xx")


@given(st.text(st.characters(exclude_characters="\0")))
def test_any_path_is_shown_as_it_can_be_given_again(text: str) -> None:
    path = text.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")
    assert decode_name(shown_path(path)) == path
    assert shown_path(path).encode("utf-8").count(b"\n") == 0


@pytest.mark.parametrize(
    ("name", "path", "fits"),
    [
        ("a", "a", True),
        ("a", "b/a", True),
        ("a", "a/b", False),
        ("a", "", False),
        ("a", "xa", False),
        ("/a/", "b/a", True),
        ("*", "", False),
        ("*", "a", True),
        ("a*", "b/ab", True),
        ("a*", "ab/c", False),
        ("?", "a/b", True),
        ("a/b", "a/b", True),
        ("a/b", "x/a/b", True),
        ("a/b", "xa/b", False),
        ("a/b", "a/b/c", False),
        ("a/*", "a/b", True),
        ("a/*", "x/a/b", True),
        ("*/b", "b", False),
        ("[a-c]", "b", True),
        ("[", "[", True),
        ("[!a]", "b", True),
        ("a\nb", "a\nb", True),
        ("a*", "a\nb", True),
    ],
)
def test_a_name_means_a_name_a_pattern_or_the_end_of_a_path(name: str, path: str, fits: bool) -> None:
    assert matcher(name)(path) is fits


def member(path: str, type_: str = FILE, size: int = 0, **more: Any) -> Member:
    values = {"mtime": 0, "mode": 0o644, "owner": "scm", "group": "scm", "target": "", **more}
    return Member(path, type_, size, **values)


TREE = [
    member("", FOLDER),
    member("a", size=1),
    member("d", FOLDER),
    member("d/b", size=2),
    member("d/e", FOLDER),
    member("d/e/c", size=4),
    member("de", size=8),
]


@pytest.mark.parametrize(
    ("path", "recursive", "found", "entries", "total"),
    [
        pytest.param("", False, {"a": (1, 0), "d": (6, 3), "de": (8, 0)}, 6, 15, id="the top"),
        pytest.param("", True, {"a": 1, "d": 0, "d/b": 2, "d/e": 0, "d/e/c": 4, "de": 8}, 6, 15, id="all of it"),
        pytest.param("d", False, {"d/b": (2, 0), "d/e": (4, 1)}, 3, 6, id="a folder"),
        pytest.param("d/e", False, {"d/e/c": (4, 0)}, 1, 4, id="a folder below"),
        pytest.param("a", False, {"a": (1, 0)}, 1, 1, id="a file"),
    ],
)
def test_a_folder_tells_what_lies_in_it_with_what_is_below(
    path: str, recursive: bool, found: dict[str, Any], entries: int, total: int
) -> None:
    folder = room._Folder(path, recursive)
    for one in TREE:
        folder.take(one)
    folder.require()
    told = {name: (entry["size"], entry["entries"]) for name, entry in folder.found.items()}
    assert told == {name: value if isinstance(value, tuple) else (value, 0) for name, value in found.items()}
    assert (folder.entries, folder.bytes, folder.count) == (entries, total, len(found))


def test_a_folder_that_has_no_header_of_its_own_is_there() -> None:
    folder = room._Folder("d", False)
    folder.take(member("d/x", size=3))
    folder.require()
    top = room._Folder("", False)
    top.take(member("d/x", size=3))
    assert top.found == {"d": {"size": 3, "entries": 1}}


@pytest.mark.parametrize(
    ("path", "hint"), [("dee", "did you mean 'de'"), ("d/x", "known are"), ("zzz", "known are a, d, de")]
)
def test_what_is_not_there_is_told_with_what_is(path: str, hint: str) -> None:
    folder = room._Folder(path, False)
    for one in TREE:
        folder.take(one)
    with pytest.raises(InvalidInput, match=f"'{path}' is not in it, {hint}"):
        folder.require()


def test_of_a_folder_with_more_than_is_held_all_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_MOST_SORTED", 2)
    folder = room._Folder("", False)
    for one in TREE:
        folder.take(one)
    assert (list(folder.found), folder.count, folder.entries) == (["a", "d"], 3, 6)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (member("a"), member("a"), []),
        (member("a"), member("a", mtime=5), []),
        (member("a", size=1), member("a", size=2), ["content"]),
        (member("a", digest=b"1"), member("a", digest=b"2"), ["content"]),
        (member("a"), member("a", mode=0o600), ["mode"]),
        (member("a"), member("a", owner="x", group="y"), ["owner", "group"]),
        (member("a"), member("a", LINK, mode=0o777, target="b"), ["type"]),
        (member("a", LINK, target="b"), member("a", LINK, target="c"), ["target"]),
        (member("a", FOLDER), member("a", FOLDER, mode=0o700), ["mode"]),
        (member("a", HARD_LINK, target="b"), member("a", HARD_LINK, target="b", digest=b"1"), []),
    ],
)
def test_what_differs_between_two_members_is_told(old: Member, new: Member, words: list[str]) -> None:
    assert room._differences(old, new) == words


def compared(before: list[Member], after: list[Member], path: str = "", most: int = 100) -> Any:
    """Return what differs between two tarballs with some members."""
    wanted = parse_query({**OPTIONS, "step": "diff", "tarballs": [{"relpath": OLD}, {"relpath": NEW}], "path": path})
    answer = room._Result(most)

    def read(number: int, take: Any, digested: bool) -> None:
        assert digested
        for one in (before, after)[number]:
            take(one)

    room._diff(wanted, read, answer)
    return answer


@pytest.mark.parametrize(
    ("before", "after", "path", "told"),
    [
        ([], [], "", []),
        ([member("a")], [member("a")], "", []),
        ([], [member("b"), member("a")], "", [("a", "added"), ("b", "added")]),
        ([member("a")], [], "", [("a", "removed")]),
        ([member("a", size=1)], [member("a", size=2)], "", [("a", "changed")]),
        ([member("d/a")], [member("da")], "d", [("d/a", "removed")]),
        ([member("d", FOLDER)], [member("d", FOLDER), member("d/a")], "d", [("d/a", "added")]),
        (
            [member("a", digest=b"1"), member("b", HARD_LINK, target="x-5/a")],
            [member("a", digest=b"2"), member("b", HARD_LINK, target="x-5/a")],
            "",
            [("a", "changed"), ("b", "changed")],
        ),
    ],
)
def test_two_tarballs_are_compared_by_paths(
    before: list[Member], after: list[Member], path: str, told: list[tuple[str, str]]
) -> None:
    answer = compared(before, after, path)
    assert [(entry["path"], entry["what"]) for entry in answer.entries] == told


def test_what_differs_is_counted_whole_though_not_all_is_told() -> None:
    answer = compared([member("a", size=5), member("b", size=1)], [member("b", size=2), member("c", size=7)], most=1)
    assert len(answer.entries) == 1
    assert answer.totals == {
        "added": 1,
        "removed": 1,
        "changed": 1,
        "same": 0,
        "bytes_added": 7,
        "bytes_removed": 5,
        "bytes_changed": 2,
        "bytes_before": 1,
    }


@pytest.mark.parametrize(
    ("error", "read", "said"),
    [
        (AltbackupError("broken"), 3, ["broken"]),
        (OSError(5, "Input/output error", "x"), 3, ["x: Input/output error"]),
        (DeadlineExceeded("too late"), 2, ["too late; 2 of 3 tarballs were not read"]),
    ],
)
def test_what_goes_wrong_with_one_does_not_keep_others_from_being_read(
    error: Exception, read: int, said: list[str]
) -> None:
    wanted = parse_query({**OPTIONS, "tarballs": [{"relpath": OLD}] * 3})
    answer, seen = room._Result(10), []

    def each(number: int, relpath: str) -> None:
        seen.append(number)
        if number == 1:
            raise error

    room._each_read(wanted, answer, each)
    assert (len(seen), [entry["reason"] for entry in answer.failures]) == (read, said)
