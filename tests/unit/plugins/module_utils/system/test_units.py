"""Numbers of bytes for people."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.altbackup.core.plugins.module_utils.system.units import (
    first_of,
    readable,
    shortage,
    told_apart,
)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 KiB"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (10 << 10, "10 KiB"),
        (420 << 20, "420 MiB"),
        ((1 << 20) - 1, "1.0 MiB"),
        (5 << 40, "5.0 TiB"),
        (1 << 80, "1048576 EiB"),
        (-2048, "-2.0 KiB"),
    ],
)
def test_a_size_has_two_digits_and_a_unit(size: int, expected: str) -> None:
    assert readable(size) == expected


@given(st.integers(0, 1 << 62), st.integers(0, 1 << 62))
def test_two_sizes_that_differ_read_differently(one: int, other: int) -> None:
    words = told_apart(one, other)
    assert (words[0] == words[1]) == (one == other)


def test_two_sizes_get_no_more_digits_than_they_need() -> None:
    assert told_apart(4 << 30, 5 << 30) == ("4.0 GiB", "5.0 GiB")
    assert told_apart((4 << 30) + 1, 4 << 30) == ("4294967297 bytes", "4294967296 bytes")
    assert told_apart(1001 << 20, 1 << 30) == ("0.98 GiB", "1.00 GiB")


@pytest.mark.parametrize(
    ("texts", "expected"), [([], ""), (["a", "b"], "a, b"), (["a", "b", "c", "d"], "a, b and 2 more")]
)
def test_of_many_texts_the_first_are_told_and_how_many_more(texts: list[str], expected: str) -> None:
    assert first_of(texts, 2) == expected


def test_what_is_lacking_is_told_with_all_numbers_that_lead_to_it() -> None:
    told = shortage(5700 << 10, 2400 << 10, 16 << 20, purpose=" for 1 tarball", where=" in /data")
    assert told == (
        "5.6 MiB are needed for 1 tarball, and 16 MiB have to stay free, but only 2.3 MiB are free in /data: 19 MiB are lacking"
    )
    assert shortage(2000, 1000) == "2.0 KiB are needed, but only 1.0 KiB are free: 1.0 KiB are lacking"
