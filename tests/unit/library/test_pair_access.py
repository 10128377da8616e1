"""Module pair_access: access of a peer's key is predicted, granted once, and limited."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import marked, reasons, run_module

from ansible_collections.altbackup.core.plugins.module_utils.synchronize import trust

KEY = f"ssh-ed25519 {'A' * 68}"


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A marked base, and a home of its own."""
    monkeypatch.setattr(trust, "home_of", lambda _user: str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return marked(tmp_path / "base")


def call(base: Path, **options: Any) -> dict[str, Any]:
    return run_module("pair_access", base=str(base), kind="incoming", peer="dayabay", **options)


def test_a_line_is_predicted_written_once_and_removed(base: Path) -> None:
    keys = base.parent / "home" / ".ssh" / "authorized_keys"
    assert call(base, public_keys=[KEY], check=True)["changed"] and not keys.exists()
    assert call(base, public_keys=[], check=True)["changed"], "the key is yet to be made"
    assert [call(base, public_keys=[KEY], sources="192.0.2.7")["changed"] for _ in range(2)] == [True, False]
    assert keys.read_text().startswith('restrict,from="192.0.2.7",command="')
    assert not call(base, public_keys=[])["changed"] and keys.read_text()
    assert [call(base, state="absent")["changed"] for _ in range(2)] == [True, False]
    assert keys.read_text() == ""


def test_what_cannot_be_is_said(base: Path) -> None:
    assert "is no public key" in reasons(call(base, public_keys=["rubbish"]))[0]
    assert "is no list of addresses" in reasons(call(base, public_keys=[KEY], sources='"x'))[0]
