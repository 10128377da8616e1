"""Any value becomes a text that a mail can hold."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.report.plain_text import clean, cut, last_lines, one_line


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        (b"caf\xc3\xa9 \xff", "café \\xff"),
        ("lone \udcff surrogate", "lone \\xff surrogate"),
        ("\x1b[31mred\x1b[0m \x1b]0;title\x07x", "red x"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("nul\0 bell\x07 \u202eevil", "nul\\x00 bell\\x07 \\u202eevil"),
        (None, "None"),
        (True, "True"),
        (["é", 1], '[\n "é",\n 1\n]'),
        ({1: {2: {3}}}, '{\n "1": {\n  "2": "{3}"\n }\n}'),
        ({(1, 2): 3}, "{(1, 2): 3}"),
    ],
)
def test_value_is_cleaned(value: Any, text: str) -> None:
    assert clean(value) == text
    clean(value).encode()


def test_value_that_holds_itself_is_no_crash() -> None:
    value: list[Any] = []
    value.append(value)
    assert clean(value) == "[[...]]"


@pytest.mark.parametrize(
    ("value", "line"),
    [("a\nb\t c  ", "a b c"), ("Subject\r\nBcc: x@y", "Subject Bcc: x@y"), ("x" * 400, "x" * 299 + "…"), (b"", "")],
)
def test_one_line_is_one_line(value: Any, line: str) -> None:
    assert one_line(value) == line


def test_cut_keeps_head_and_tail() -> None:
    text = cut("a" * 1000 + "b" * 5_000_000 + "c" * 1000, 900)
    assert text.startswith("a" * 300 + "\n[... 5,001,100 characters left out ...]\n")
    assert text.endswith("c" * 600)
    assert cut("short", 900) == "short"


def test_last_lines_keep_the_end() -> None:
    assert last_lines("1\n2\n3\n", 100, 2) == "[... the beginning is left out ...]\n2\n3"
    assert last_lines("1\n2\n", 100) == "1\n2"
    assert last_lines(b"x" * 5_000_000 + b"\nend", 20).endswith("\nend")
    assert len(last_lines("é" * 5_000_000, 100)) < 200
    assert last_lines("", 100) == ""
    assert last_lines(["a"], 100) == '[\n "a"\n]'
