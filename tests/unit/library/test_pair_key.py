"""Module pair_key: the key with which a node dials a peer is made once, predicted, removed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from helpers.original_trees import marked, reasons, run_module

PEER = {"node": "cms01", "host": "192.0.2.1", "folder": "/data/.altbackup/incoming/dayabay"}


def call(base: Path, **options: Any) -> dict[str, Any]:
    return run_module("pair_key", base=str(base), peer=PEER, **options)


def test_a_key_is_predicted_made_once_and_removed(tmp_path: Path) -> None:
    base = marked(tmp_path / "base")
    predicted = call(base, check=True)
    assert (predicted["changed"], predicted["public_keys"]) == (True, [])
    assert not (base / ".altbackup" / "trust").exists()
    made = call(base, host_keys=[f"ssh-ed25519 {'A' * 68}"])
    assert made["changed"] and made["public_keys"][0].startswith("ssh-ed25519 ")
    again = call(base, host_keys=[f"ssh-ed25519 {'A' * 68}"])
    assert (again["changed"], again["public_keys"]) == (False, made["public_keys"])
    assert [call(base, state="absent")["changed"] for _ in range(2)] == [True, False]


def test_what_cannot_be_is_said(tmp_path: Path) -> None:
    assert "has no marker" in reasons(call(tmp_path))[0]
    base = marked(tmp_path / "base")
    assert "is no host key" in reasons(call(base, host_keys=["rubbish"]))[0]
    missing = run_module("pair_key", base=str(base), peer={**PEER, "ssh_key": str(tmp_path / "none")})
    assert "(altbackup_ssh_key) is missing" in reasons(missing)[0]
