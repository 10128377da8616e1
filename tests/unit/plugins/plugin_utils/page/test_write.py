"""The page of inventories is written, or it is said why not."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.page_records import NOW, night
from helpers.pages_written import ITEM, written

from ansible_collections.altbackup.core.plugins.plugin_utils.history import store
from ansible_collections.altbackup.core.plugins.plugin_utils.history.store import write_records
from ansible_collections.altbackup.core.plugins.plugin_utils.page import write as page_write
from ansible_collections.altbackup.core.plugins.plugin_utils.page.write import noted_page


@pytest.fixture(autouse=True)
def histories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where histories lie."""
    monkeypatch.setenv(store.PLACE, str(tmp_path / "history"))


def test_no_history_at_all_says_what_to_do(tmp_path: Path) -> None:
    pages = written(tmp_path)
    assert list(pages) == ["index.html"]
    assert "NOT well" in pages["index.html"].text and "altbackup status --rebuild" in pages["index.html"].text


def test_a_failure_to_write_is_a_note(tmp_path: Path) -> None:
    assert write_records("", [night(0, [ITEM])], 500, NOW) == []
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine").touch()
    (note,) = noted_page(str(tmp_path / "other"), (), NOW)
    assert (
        note.startswith(f"the page was not written to {tmp_path}/other (altbackup_report_dir): ") and "'mine'" in note
    )
    (note,) = noted_page(str(tmp_path / "none" / "page"), (), NOW)
    assert note.endswith("none/page: No such file or directory")


def test_a_python_without_jinja_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_write, "find_spec", lambda name: None)
    assert "Jinja2, which this Python lacks" in noted_page(str(tmp_path / "page"), (), NOW)[0]
    assert not (tmp_path / "page").exists()
