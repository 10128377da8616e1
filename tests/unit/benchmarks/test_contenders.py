"""What the benchmarks run, and what it leaves elsewhere: nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks.contenders import Ours


def test_runs_keep_their_records_with_their_site(tmp_path: Path) -> None:
    site: Any = SimpleNamespace(folder=tmp_path, write_inventory=lambda: tmp_path / "hosts.yml")
    step = Ours(site).playbook("backup")
    assert step.env["ALTBACKUP_HISTORY"] == str(tmp_path / "history")
