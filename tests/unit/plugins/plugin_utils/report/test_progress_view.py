"""Lines on a call's progress: a node's report is data within bounds, whatever it is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.report.progress_view import Progress, is_progress

GIB = 1 << 30
GOOD = {"item": "svn/dybsvn", "doing": "written", "done": GIB, "total": 4 * GIB, "about": True, "seconds": 32.0}


def lines(*entries: Any) -> list[str]:
    return Progress("dayabay: dump").lines(json.dumps(list(entries)))


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({}, "svn/dybsvn 1.0 GiB of about 4.0 GiB written (25 %), 32 MiB/s"),
        ({"about": False, "done": 4 * GIB}, "svn/dybsvn 4.0 GiB of 4.0 GiB written (100 %), 128 MiB/s"),
        ({"done": 5 * GIB}, "svn/dybsvn 5.0 GiB written, 160 MiB/s"),
        ({"total": 0}, "svn/dybsvn 1.0 GiB written, 32 MiB/s"),
        ({"done": 0, "seconds": 0}, "svn/dybsvn 0 bytes of about 4.0 GiB written (0 %), 0 bytes/s"),
        ({"item": "", "doing": "read", "about": False}, "1.0 GiB of 4.0 GiB read (25 %), 32 MiB/s"),
        ({"doing": "", "done": 0, "total": 0}, "svn/dybsvn at work for 32 s"),
    ],
)
def test_a_line_says_bytes_percent_and_rate(more: dict[str, Any], line: str) -> None:
    (said,) = lines({**GOOD, **more})
    assert said == f"dayabay: dump: {line}"
    assert is_progress(said)


def test_the_rate_is_that_since_the_last_look() -> None:
    progress = Progress("dayabay: dump")
    rates = []
    for done, seconds in ((GIB, 10.0), (GIB, 20.0), (2 * GIB, 30.0), (GIB, 5.0)):
        (line,) = progress.lines(json.dumps([{**GOOD, "done": done, "seconds": seconds}]))
        rates.append(line.rpartition(", ")[2])
    assert rates == ["102 MiB/s", "0 bytes/s", "102 MiB/s", "205 MiB/s"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "{}",
        "3",
        "null",
        "[" * 3000,
        "[3, null, []]",
        json.dumps([GOOD])[:-9],
        json.dumps([GOOD] * 100),
        json.dumps([{**GOOD, "item": "x" * 5000}]),
    ],
)
def test_what_no_module_writes_is_not_shown(text: str) -> None:
    assert Progress("dayabay: dump").lines(text) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[(key, value) for key in ("done", "total") for value in (-1, 1.5, True, "7", None, [], 1 << 80, float("nan"))],
        *[("seconds", value) for value in (-1, "1", None, float("nan"), float("inf"), 1e300)],
        *[("item", value) for value in (None, 3, ["x"])],
        *[("doing", value) for value in (None, 3, ["x"], "wiped", "written\n")],
    ],
)
def test_values_out_of_bounds_are_not_shown(key: str, value: Any) -> None:
    assert lines({**GOOD, key: value}) == []


def test_a_lying_node_steers_no_terminal_and_fills_none() -> None:
    odd = "a\x1b]0;pwned\x07\u202e\n\r" + "x" * 500
    (line,) = lines({**GOOD, "item": odd, "more": 3})
    assert "\\x1b]0;pwned\\x07\\u202e\\n\\x0d" in line and "\n" not in line and line.isprintable()
    assert len(line) < 250
    assert len(lines(*[{**GOOD, "item": str(number)} for number in range(20)])) == 4


@pytest.mark.parametrize(
    "text", ["", "[WARNING]: sent over there", "fatal: [dayabay]: FAILED!", "dayabay: dump: 1 tarball, 3 MiB, 2 s"]
)
def test_other_lines_are_none(text: str) -> None:
    assert not is_progress(text)
