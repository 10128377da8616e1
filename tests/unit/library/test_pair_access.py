"""Module pair_access: access of a peer's key is predicted, granted once, and limited."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import marked, reasons, run_module

from ansible_collections.altbackup.core.plugins.module_utils.synchronize import trust
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.owner import Owner, identify

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


def test_a_base_of_another_lets_in_nobody_and_keeps_whom_it_lets_in(base: Path) -> None:
    keys = base.parent / "home" / ".ssh" / "authorized_keys"
    owner, other = ({"role": "target", "name": name} for name in ("cms01", "cms01b"))
    assert call(base, state="asked", owner=owner)["identities"][0]["inode"] == base.stat().st_ino
    identify(open_tree(str(base)), Owner("target", "cms01"), claim=True)
    assert call(base, public_keys=[KEY], owner=owner)["changed"]
    kept = keys.read_text()
    for options in ({"state": "asked"}, {"public_keys": [KEY.replace("A", "B")]}, {"state": "absent"}):
        said = reasons(call(base, owner=other, **options))
        assert "is the base of target cms01" in said[0] and "two copies would be one" in said[0]
    assert keys.read_text() == kept
    assert call(base, state="asked", owner={**other, "former_names": ["cms01"]})["identities"]


def test_a_base_that_is_not_made_yet_is_nobodys(tmp_path: Path, base: Path) -> None:
    asked = run_module(
        "pair_access",
        base=str(tmp_path / "new"),
        kind="incoming",
        peer="dayabay",
        state="asked",
        owner={"role": "target", "name": "cms01"},
    )
    assert (asked["identities"], asked["failures"]) == ([], [])
