"""How many tarballs rules come to keep."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.tree.steady import filled


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (3, 3),
        ({"keep": 3}, 3),
        ({"keep": 3, "daily": 7}, 7),
        ({"keep": 30, "daily": 7}, 30),
        ({"keep": 3, "daily": 7, "weekly": 4, "monthly": 6, "within": 86400.0}, 14),
        ({"keep": 3, "monthly": 12}, 14),
        ({"keep": 3, "yearly": 2}, 4),
        ({"keep": 1, "within": 30 * 86400}, 30),
        ({}, 1),
    ],
)
def test_periods_count_that_reach_back_further_than_those_before(rules: Any, expected: int) -> None:
    assert filled(rules) == expected
