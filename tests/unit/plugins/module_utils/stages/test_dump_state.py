"""What is known of an item while it is dumped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.dumps import dump_of

from ansible_collections.altbackup.core.plugins.module_utils.stages.dump_state import Past


@pytest.mark.parametrize(("good", "last"), [((), {}), (({"a": 1},), {"a": 1}), (({"a": 1}, {"a": 2}), {"a": 2})])
def test_the_last_record_is_the_newest_to_compare_with(good: Any, last: Any) -> None:
    assert Past(good).last == last


@pytest.mark.parametrize(
    ("nights", "own", "known"), [(1, None, False), (7, None, True), (1, 7, True), (7, 1, False), (2, None, True)]
)
def test_full_tarballs_are_known_where_differentials_are_to_come(
    tmp_path: Path, nights: int, own: int | None, known: bool
) -> None:
    work = dump_of(tmp_path / "base", full_every=nights)
    work.item = replace(work.item, full_every=own)
    assert work.is_known is known
