"""Values as users write them."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput
from ansible_collections.altbackup.core.plugins.module_utils.system.values import (
    nearest,
    parse_keep,
    parse_part,
    quoted,
)


@pytest.mark.parametrize(
    ("word", "known", "hint"),
    [
        ("dybsvm", ("dybsvn", "svnsetup"), "did you mean 'dybsvn'?"),
        ("zzz", ("dybsvn", "svnsetup"), "known are dybsvn, svnsetup"),
        ("zzz", [f"name{number:04}" for number in range(50)], "name0019 and 30 more"),
    ],
)
def test_unknown_word_brings_the_nearest_or_some(word: str, known: tuple[str, ...], hint: str) -> None:
    assert nearest(word, known).endswith(hint)


@pytest.mark.parametrize(
    ("word", "known", "right", "hint"),
    [
        ("conf", ["conf"], (), "no other one is known"),
        ("conf", [], (), "no other one is known"),
        ("conf", ["conf", "config"], (), "did you mean 'config'?"),
        ("conf", ["confs", "config"], ["confs"], "did you mean 'config'?"),
        ("conf", ["confs"], {"confs": 1}, "known are confs"),
        ("dayabay/svn/conf", ["dayabay/svn/apache"], (), "known are dayabay/svn/apache"),
        ("dayabay/svn/conf", ["dayabay/svn/config"], (), "did you mean 'dayabay/svn/config'?"),
        ("dayabay/svm/conf", ["dayabay/svn/conf"], (), "did you mean 'dayabay/svn/conf'?"),
    ],
)
def test_no_hint_is_at_what_is_right(word: str, known: list[str], right: Any, hint: str) -> None:
    assert nearest(word, known, right) == hint


@pytest.mark.parametrize(
    ("value", "text"),
    [("a'b", '"a\'b"'), (None, "None"), ("x" * 158, f"'{'x' * 158}'"), ("x" * 159, f"'{'x' * 156}...")],
)
def test_a_value_is_quoted_in_part_where_it_is_long(value: object, text: str) -> None:
    assert quoted(value) == text


@pytest.mark.parametrize(("value", "number"), [(1, 1), ("2", 2), (" 3 ", 3), (999999, 999999), ("007", 7)])
def test_keep_is_a_positive_whole_number_also_as_text(value: Any, number: int) -> None:
    assert parse_keep(value, "purge") == number


@pytest.mark.parametrize(
    "value",
    [0, -1, "0", "-1", "abc", "", 1.5, 2.0, "2.0", True, False, None, [], {}, "\u0663", "1e1", "+2", 1000000, b"2"],
)
def test_any_other_keep_is_an_error(value: Any) -> None:
    with pytest.raises(InvalidInput, match=r"svn/x: keep .* is not a positive whole number"):
        parse_keep(value, "svn/x")


@pytest.mark.parametrize(
    ("value", "part"),
    [(0.3, 0.3), ("0.3", 0.3), (" 30% ", 0.3), ("30 %", 0.3), (".25", 0.25), (1, 1.0), ("100%", 1.0), ("0.5%", 0.005)],
)
def test_part_of_a_whole_is_written_as_number_or_in_percent(value: object, part: float) -> None:
    assert parse_part(value) == part


@pytest.mark.parametrize(
    "value", [0, "0%", 1.5, 30, "101%", -0.3, "", "x", True, None, [0.3], "nan", "1e-3", "0x1", "٣%"]
)
def test_bad_part_of_a_whole_is_an_error_that_says_what_to_write(value: object) -> None:
    with pytest.raises(InvalidInput, match="is not a part above 0 and up to all: write one, like 30%"):
        parse_part(value)
