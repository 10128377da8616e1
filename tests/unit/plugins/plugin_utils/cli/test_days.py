"""The night that a person means."""

from __future__ import annotations

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.days import read_day

SUNDAY = "2026/11/29"


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("", ""),
        ("today", SUNDAY),
        ("0", SUNDAY),
        ("Yesterday", "2026/11/28"),
        ("-1", "2026/11/28"),
        ("-30", "2026/10/30"),
        ("tue", "2026/11/24"),
        ("Tuesday", "2026/11/24"),
        ("sat", "2026/11/28"),
        ("monday", "2026/11/23"),
        ("sun", "2026/11/22"),
        ("2026/11/23", "2026/11/23"),
        ("2026-11-23", "2026/11/23"),
        ("2026/11/23/013000", "2026/11/23/013000"),
    ],
)
def test_a_night_is_a_weekday_days_back_a_date_or_a_stamp(text: str, day: str) -> None:
    assert read_day(text, SUNDAY) == day


@pytest.mark.parametrize(
    "text", ["tu", "noday", "2026/13/01", "2026-1-1", "+1", "--1", "11/23", "2026/11/23/01", "\x1b[31m"]
)
def test_what_is_no_night_says_what_can_be_written(text: str) -> None:
    with pytest.raises(InvalidInput, match="is no night: write a weekday like tue") as caught:
        read_day(text, SUNDAY)
    assert "\x1b" not in str(caught.value)
