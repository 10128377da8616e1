"""Answers of reading commands, made from what playbooks wrote."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.cli import answers

OLD, NEW = "2026/11/23/013000", "2026/11/24/013000"


def listed(node: str, stamp: str, name: str = "a", **more: Any) -> dict[str, Any]:
    """Return a tarball as in the list."""
    entry = {
        "node": node,
        "source": "s",
        "category": "svn",
        "name": name,
        "stamp": stamp,
        "relpath": f"svn/{name}/{stamp}/{name}-1.tar",
    }
    return {
        **entry,
        "size": 1024,
        "dig": "aa",
        "alg": "sha256",
        "state": "verified",
        "hold": "",
        "role": "target",
        **more,
    }


LISTED = [
    listed("s", OLD),
    listed("t", OLD, hold="why"),
    listed("t", NEW, dig="bb", size=2048),
    listed("u", NEW, dig="bb", state="missing"),
    listed("u", OLD, "b", state="suspect"),
]


def test_of_each_item_the_last_good_night_counts() -> None:
    first, second = answers.items_of(LISTED, {NEW: 36000.0})
    assert first == {
        "item": "s/svn/a",
        "newest": NEW,
        "age": 36000,
        "nodes": ["t"],
        "nights": 2,
        "copies": 4,
        "size": 2048,
        "held": 1,
        "other": {"missing": 1},
    }
    assert (second["newest"], second["nodes"], second["other"]) == ("", [], {"suspect": 1})
    table = answers.items_table([first, second])
    assert [list(row) for row in table.rows] == [
        ["s/svn/a", NEW, "10 h", "2", "2.0 KiB", "t, 1 missing, 1 held"],
        ["s/svn/b", "none", "", "0", "0 bytes", "nowhere, 1 suspect"],
    ]
    assert table.bad == {0, 1}


def test_equal_contents_of_an_item_take_their_space_once() -> None:
    nodes = answers.nodes_of([*LISTED, listed("t", "2026/11/25/013000", dig="bb", size=2048)], {"t": 4096, "empty": 1})
    assert [(node["node"], node["copies"], node["bytes"], node["free"]) for node in nodes] == [
        ("empty", 0, 0, 1),
        ("s", 1, 1024, None),
        ("t", 3, 3072, 4096),
        ("u", 2, 2048, None),
    ]
    assert answers.node_lines(nodes)[2] == "t: 3 copies of 1 item, 3.0 KiB used, 4.0 KiB free"


def test_the_nights_of_an_item_are_told_the_newest_first() -> None:
    nights = answers.copies_of(LISTED, "s/svn/a")
    assert [(night["stamp"], len(night["copies"])) for night in nights] == [(NEW, 2), (OLD, 2)]
    assert answers.copies_of(LISTED, "s/svn/a", OLD[:10]) == nights[1:]
    table = answers.copies_table(nights)
    assert [row[-1] for row in table.rows] == ["t, u (missing)", "s, t, held: why"]
    assert table.bad == {0}


def test_free_bytes_are_those_of_the_fullest_disk() -> None:
    def event(host: str, **result: Any) -> dict[str, Any]:
        return {"event_data": {"task_action": "altbackup.core.tarball_list", "host": host, "res": result}}

    events = [
        event("a", listed=True, free=7),
        event("a", listed=True, free=5),
        event("b", listed=False, free=0),
        event("c", listed=True, free="x"),
        {"event_data": {"task_action": "x", "host": "d", "res": {"free": 1}}},
        {"event_data": None},
    ]
    assert answers.free_of(events) == {"a": 5}


def test_a_version_of_a_file_has_the_nights_of_all_tarballs_that_hold_it() -> None:
    def entry(relpath: str, size: int) -> dict[str, Any]:
        return {"source": "s", "node": "t", "relpath": relpath, "path": "x", "type": "file", "size": size, "mtime": 0}

    relpaths = [f"svn/a/{stamp}/a-1.tar" for stamp in (OLD, NEW)]
    nights = [
        {"source": "s", "relpath": path, "stamps": [stamp]} for path, stamp in zip(relpaths, (OLD, NEW), strict=True)
    ]
    same = answers.versions_of({"answers": nights, "entries": [entry(path, 1) for path in relpaths]})
    assert [(version["item"], version["nights"]) for version in same] == [("s/svn/a", [NEW, OLD])]
    assert answers.versions_table(same).rows[0][3] == "2026/11/23 .. 2026/11/24 (2)"
    two = answers.versions_of({"answers": nights, "entries": [entry(relpaths[0], 1), entry(relpaths[1], 2)]})
    assert [(version["size"], version["nights"]) for version in two] == [(2, [NEW]), (1, [OLD])]


@pytest.mark.parametrize(("seconds", "text"), [(0, "1970-01-01 00:00"), (1 << 59, ""), (None, ""), ("x", "")])
def test_a_moment_that_no_calendar_has_is_left_out(seconds: Any, text: str) -> None:
    assert answers.moment(seconds) == text


def test_an_answer_has_its_format_and_version() -> None:
    told = answers.document("list", ["hosts.yml"], 2, failures=["x"], items=[])
    assert told == {
        "format": "altbackup list",
        "version": 1,
        "inventory": ["hosts.yml"],
        "exit_code": 2,
        "failures": ["x"],
        "items": [],
    }
