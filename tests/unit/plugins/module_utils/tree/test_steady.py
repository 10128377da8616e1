"""The number of tarballs that filled rules keep."""

from __future__ import annotations

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.tree.retention import Rules
from ansible_collections.altbackup.core.plugins.module_utils.tree.steady import filled


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (Rules(3), 3),
        (Rules(3, daily=7), 7),
        (Rules(30, daily=7), 30),
        (Rules(3, daily=7, weekly=4, monthly=6, within=86400.0), 14),
        (Rules(3, monthly=12), 14),
        (Rules(3, yearly=2), 4),
        (Rules(1, within=30 * 86400), 30),
    ],
)
def test_periods_count_that_reach_back_further_than_those_before(rules: Rules, expected: int) -> None:
    assert filled(rules) == expected
