"""Texts for a terminal: nothing steers it, and nothing is displayed otherwise than written."""

from __future__ import annotations

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.altbackup.core.plugins.module_utils.system.visible import one_line, printable, visible
from ansible_collections.altbackup.core.plugins.module_utils.tree.failures import failure
from ansible_collections.altbackup.core.plugins.plugin_utils.report import run_summary, tarball_table

NAMES = {
    "title": ("x\x1b]0;title\x07", "x\\x1b]0;title\\x07"),
    "colour": ("\x1b[31mred", "\\x1b[31mred"),
    "one byte of C1": ("\x9b31m\x85", "\\x9b31m\\x85"),
    "deletion": ("a\x7f\x08b", "a\\x7f\\x08b"),
    "order": ("\u202egnp.exe\u2066\u200f\u061c", "\\u202egnp.exe\\u2066\\u200f\\u061c"),
    "line": ("a\u2028b\u2029c\rd\x0be\x0c", "a\\u2028b\\u2029c\\x0dd\\x0be\\x0c"),
    "nothing to see": ("a\ufeff\u200b\u2060\U000e0041", "a\\ufeff\\u200b\\u2060\\ue0041"),
    "no text": (os.fsdecode(b"\xff\x1b\xfe") + "\ud800", "\\xff\\x1b\\xfe\\ud800"),
    "text": ("größer als 日本 🦊", "größer als 日本 🦊"),
}


@pytest.mark.parametrize(("text", "shown"), NAMES.values(), ids=NAMES)
def test_what_steers_a_terminal_is_visible(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert visible(f"{text}\n\t") == f"{shown}\n\t"
    assert one_line(f"{text}\n\t") == f"{shown}\\n\\t"


@pytest.mark.parametrize(
    ("text", "shown"), [("plain/ünï", "plain/ünï"), (os.fsdecode(b"a\xff\xc3"), "a\\xff\\xc3"), ("a\\b", "a\\b")]
)
def test_odd_bytes_are_shown(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters(), max_size=40))
def test_nothing_but_tabs_and_line_feeds_is_left_to_steer_with(text: str) -> None:
    left = {unicodedata.category(letter) for letter in visible(text) if letter not in "\n\t"}
    assert not left & {"Cc", "Cs", "Zl", "Zp"}
    visible(text).encode("utf-8")


@pytest.mark.parametrize("name", [text for text, _ in NAMES.values() if text.isprintable() is False])
def test_reports_and_tables_hold_no_name_as_it_is(name: str) -> None:
    entry = {**failure("dump", f"{name} is bad", key=f"git/{name}"), "node": "dayabay"}
    said = run_summary.report([entry])
    listed = {"node": "a", "source": "a", "role": "source", "state": "verified", "size": 1, "dig": "0", "relpath": name}
    lines = tarball_table.table([listed])
    state = {"notes": [f"{name} is no git"], "tarballs": {name: {"dig": "0", "size": 1, "seconds": 1}}}
    fine = run_summary.summary({}, {"dayabay": state})
    assert len(said.splitlines()) == 2 and len(fine) == 2
    for text in (said, *lines, *fine):
        assert name not in text
        assert visible(text) == text


def test_a_name_with_a_line_break_forges_no_line_of_a_report() -> None:
    entry = {**failure("dump", "is bad", key="git/x\n  2. cms01: all is lost"), "node": "dayabay"}
    assert len(run_summary.report([entry]).split("\n")) == 2
