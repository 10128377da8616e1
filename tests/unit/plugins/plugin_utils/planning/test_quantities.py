"""Durations and rates as people write them."""

from __future__ import annotations

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput
from ansible_collections.altbackup.core.plugins.plugin_utils.planning import quantities


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("15s", 15.0), ("2m", 120.0), ("6h", 21600.0), ("1d", 86400.0), ("90", 90.0), (90, 90.0), (" 1.5 h ", 5400.0)],
)
def test_durations_become_seconds(value: object, seconds: float) -> None:
    assert quantities.parse_duration(value) == seconds


@pytest.mark.parametrize(
    "value",
    ["", "0", "0s", "-1s", "5 weeks", "1h30m", "s", "1e3", "nan", "\N{ARABIC-INDIC DIGIT ONE}s", True, None, -5],
)
def test_bad_durations_are_refused(value: object) -> None:
    with pytest.raises(InvalidInput, match="is not a duration above 0: write seconds"):
        quantities.parse_duration(value)


@pytest.mark.parametrize(
    ("value", "rate"),
    [
        ("", 0),
        ("10M", 10 * 1024**2),
        ("10m", 10 * 1024**2),
        ("1.5K", 1536),
        ("2 G", 2 * 1024**3),
        (5000, 5000),
        ("5000", 5000),
    ],
)
def test_rates_become_bytes_a_second(value: object, rate: int) -> None:
    assert quantities.parse_rate(value) == rate


@pytest.mark.parametrize("value", ["10", "0", "10MB/s", "-1M", "M", True, "1023"])
def test_bad_rates_are_refused(value: object) -> None:
    with pytest.raises(InvalidInput, match="is not a rate of at least 1K"):
        quantities.parse_rate(value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "never"),
        (0, "now"),
        (-5, "now"),
        (59, "59 s"),
        (90, "1 min"),
        (3600, "1 h"),
        (47.9 * 3600, "47 h"),
        (48 * 3600, "2 d"),
        (400 * 86400, "400 d"),
    ],
)
def test_ages_are_told_in_one_unit(seconds: float | None, text: str) -> None:
    assert quantities.age(seconds) == text
