"""What a page shows, read from the records of runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import page_records
from helpers.page_records import night
from helpers.pages_written import ITEM, written

from ansible_collections.altbackup.core.plugins.plugin_utils.history import store


@pytest.fixture(autouse=True)
def histories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where histories lie."""
    monkeypatch.setenv(store.PLACE, str(tmp_path / "history"))


def test_a_zone_that_nobody_knows_is_utc(tmp_path: Path) -> None:
    pages = written(tmp_path, night(0, [ITEM], timezone="Mars/Olympus"))
    assert "2026-11-28 01:30" in pages["index.html"].text
    record = page_records.night(0, [ITEM], timezone="Asia/Taipei")
    assert "2026-11-28 09:30" in written(tmp_path, record)["index.html"].text
