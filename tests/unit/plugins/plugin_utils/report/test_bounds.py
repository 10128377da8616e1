"""Readers of values: what each takes, why it refuses what it does not, and what of that is kept."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.report import bounds
from ansible_collections.altbackup.core.plugins.plugin_utils.report.bounds import Read, Refused

STAMP = "2013/05/10/104701"
RELPATH = f"svn/x/{STAMP}/x-1.tar"
WHOLE = bounds.entry_of({"relpath": bounds.read_relpath, "size": bounds.read_whole}, ["relpath"])
LOOSE = bounds.entry_of({"size": bounds.read_whole, "rc": bounds.read_code}, whole=False)
TARBALL = bounds.tarball_of(lambda value: value)
LEVEL: Any = {}
for _ in range(20):
    LEVEL = {"a": LEVEL}


@pytest.mark.parametrize(
    ("read", "value", "kept"),
    [
        (bounds.text_of(3), "abc", "abc"),
        (bounds.read_lines, "a\nb\x1b[2J", "a\nb\\x1b[2J"),
        (bounds.read_number, 1.5, 1.5),
        (bounds.read_number, 1 << 60, 1 << 60),
        (bounds.read_code, -9, -9),
        (bounds.read_code, None, None),
        (bounds.text_like("[a-f0-9]+", "digest"), "00ff", "00ff"),
        (bounds.read_relpath, "a/..b", "a/..b"),
        (bounds.read_stamp, "", ""),
        (bounds.read_stamp, STAMP, STAMP),
        (bounds.read_record, {"a": [{"b": 1 << 64}]}, {"a": [{"b": 1 << 64}]}),
        (bounds.list_of(bounds.read_flag), (True, False), [True, False]),
        (bounds.mapping_of(bounds.read_whole), {"a": 1}, {"a": 1}),
        (WHOLE, {"relpath": "a", "size": None, "other": 1}, {"relpath": "a"}),
        (LOOSE, {"rc": None, "size": 2}, {"rc": None, "size": 2}),
        (TARBALL, {"relpath": RELPATH, "name": "x"}, {"relpath": RELPATH, "name": "x"}),
        (bounds.either(bounds.read_whole, bounds.text_of()), "a", "a"),
    ],
)
def test_what_is_within_bounds_is_read(read: Read, value: Any, kept: Any) -> None:
    assert read(value) == kept


@pytest.mark.parametrize(
    ("read", "value", "why", "kept"),
    [
        (bounds.text_of(3), "abcd", "is a text of 4 characters", bounds.NOTHING),
        (bounds.text_of(), b"a", "is no text", bounds.NOTHING),
        (bounds.read_flag, 1, "is neither true nor false", bounds.NOTHING),
        (bounds.read_number, True, "is no number", bounds.NOTHING),
        (bounds.read_number, float("inf"), "is no number", bounds.NOTHING),
        (bounds.read_number, -1, "is no number from 0 to 2**60", bounds.NOTHING),
        (bounds.read_number, (1 << 60) + 1, "is no number from 0 to 2**60", bounds.NOTHING),
        (bounds.read_whole, 1.5, "is no whole number", bounds.NOTHING),
        (bounds.read_code, (1 << 32) + 1, "is no exit code", bounds.NOTHING),
        (bounds.text_like("[0-9]+", "digest"), "\u0661", "is no digest", bounds.NOTHING),
        *(
            (bounds.read_relpath, path, "is no path below a base", bounds.NOTHING)
            for path in ("", "/a", "a/../b", "a\0")
        ),
        (bounds.read_stamp, "2013/13/10/104701", "is no stamp", bounds.NOTHING),
        (bounds.read_record, [], "is no mapping", bounds.NOTHING),
        (bounds.read_record, LEVEL, "is larger or deeper than any record", bounds.NOTHING),
        (bounds.read_record, {"a": [0] * 50_001}, "is larger or deeper than any record", bounds.NOTHING),
        (bounds.read_record, {"a" * (1 << 20): "b"}, "is larger or deeper than any record", bounds.NOTHING),
        (bounds.read_record, {"a": 1 << 65}, "has a number beyond all bounds", bounds.NOTHING),
        (
            bounds.list_of(bounds.read_flag, 2),
            [True, False, 5],
            "has 3 entries, of which the first 2 were read",
            [True, False],
        ),
        (
            bounds.list_of(bounds.read_flag),
            [1, 2, True, 3, 4, 5],
            "entry 1 is neither true nor false; entry 2 is neither true nor false; entry 4 is neither true nor false; 2 more",
            [True],
        ),
        (
            bounds.mapping_of(bounds.read_whole),
            {"a": 1, "b": "c", 5: 1},
            "the name 5 is no text; b is no number",
            {"a": 1},
        ),
        (WHOLE, {"relpath": "a", "size": "b"}, "size is no number", bounds.NOTHING),
        (WHOLE, {"size": 1}, "relpath is missing", bounds.NOTHING),
        (LOOSE, {"size": "b", "rc": 1}, "size is no number", {"rc": 1}),
        (TARBALL, {"relpath": RELPATH, "name": "y"}, f"has another name than its path {RELPATH}", bounds.NOTHING),
        (
            TARBALL,
            {"relpath": RELPATH, "state": "verified", "size": 1, "dig": "aa"},
            f"{RELPATH} is verified, but without size, digest and algorithm",
            bounds.NOTHING,
        ),
        (bounds.either(bounds.read_whole, bounds.text_of()), [], "is no number and is no text", bounds.NOTHING),
    ],
)
def test_what_is_not_is_refused_with_what_is_good_of_it(read: Read, value: Any, why: str, kept: Any) -> None:
    with pytest.raises(Refused) as caught:
        read(value)
    assert (str(caught.value), caught.value.kept) == (why, kept)


@pytest.mark.parametrize(("value", "text"), [("a\nb", "a\\nb"), ("a" * 200, f"{'a' * 157}..."), (5, "5")])
def test_a_value_is_shown_in_one_line_of_bounded_length(value: Any, text: str) -> None:
    assert bounds.shortened(value) == text
