"""Metrics of a tree that a node writes for Prometheus."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.stages.metrics import leave_metrics
from ansible_collections.altbackup.core.plugins.module_utils.tree.sidecar import Dna, serialize

PLACE = 'source="day\\"abay",target="cms01"'
MORE = 'inventory="/mine",by="node"'
ITEM = f'{PLACE},category="svn",name="dybsvn",{MORE}'
RELPATH = "svn/dybsvn/2025/01/15/013000/dybsvn-4.tar.zst"
RESULT: dict[str, Any] = {
    "newest": [{"relpath": RELPATH, "size": 5}],
    "suspects": {},
    "failures": [],
    "free": 7,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder for metrics, beside a base with a proved tarball."""
    (tmp_path / "base" / ".altbackup").mkdir(parents=True)
    path = tmp_path / "base" / RELPATH
    path.parent.mkdir(parents=True)
    path.write_bytes(b"12345")
    dna = Dna("0" * 64, 5)
    Path(f"{path}.dna").write_text(serialize(dna))
    proof = {"dig": dna.dig, "size": 5, "alg": "sha256", "when": "2025-01-14T00:00:00Z"}
    Path(f"{path}.proof").write_text(json.dumps(proof))
    (tmp_path / "metrics").mkdir()
    return tmp_path / "metrics"


def left(folder: Path, result: dict[str, Any]) -> dict[str, str]:
    """Return {series: number} of the written metrics."""
    wanted = {"folder": str(folder), "node": "cms01", "source": 'day"abay', "inventory": "/mine", "max_age": 129600.0}
    assert leave_metrics(wanted, str(folder.parent / "base"), result, "UTC") == []
    (path,) = folder.iterdir()
    assert path.name.startswith("altbackup-node-") and path.suffix == ".prom"
    assert path.stat().st_mode & 0o777 == 0o644
    lines = [line.rpartition(" ") for line in path.read_text().splitlines() if not line.startswith("#")]
    return {series: number for series, _, number in lines}


def test_a_good_copy_is_told_with_its_proof(folder: Path) -> None:
    assert left(folder, RESULT) == {
        f"altbackup_last_success_timestamp_seconds{{{ITEM}}}": "1736904600",
        f"altbackup_last_proof_timestamp_seconds{{{ITEM}}}": "1736812800",
        f"altbackup_status{{{ITEM}}}": "1",
        f"altbackup_size_bytes{{{ITEM}}}": "5",
        f"altbackup_suspects{{{ITEM}}}": "0",
        f"altbackup_max_age_seconds{{{ITEM}}}": "129600",
        f"altbackup_free_bytes{{{PLACE},{MORE}}}": "7",
    }


@pytest.mark.parametrize(
    ("change", "status", "suspect"),
    [
        ({"failures": [{"category": "svn", "name": "dybsvn"}]}, "0", "0"),
        ({"suspects": {RELPATH.replace("/15/", "/16/"): ["it shrank"]}}, "0", "1"),
        ({"suspects": {RELPATH.replace("/15/", "/14/"): ["it shrank"]}}, "1", "0"),
        ({"newest": [], "failures": [{"category": "svn", "name": "dybsvn"}]}, "0", "0"),
    ],
)
def test_what_is_wrong_is_no_good_status(folder: Path, change: dict[str, Any], status: str, suspect: str) -> None:
    found = left(folder, {**RESULT, **change})
    assert found[f"altbackup_status{{{ITEM}}}"] == status
    assert found[f"altbackup_suspects{{{ITEM}}}"] == suspect


def test_the_proof_of_an_older_copy_that_is_kept_is_told_while_the_newest_has_none(folder: Path) -> None:
    newer = RELPATH.replace("/15/", "/16/")
    path = folder.parent / "base" / newer
    path.parent.mkdir(parents=True)
    path.write_bytes(b"12345")
    Path(f"{path}.dna").write_text(serialize(Dna("1" * 64, 5)))
    found = left(folder, {**RESULT, "newest": [{"relpath": newer, "size": 5}]})
    assert found[f"altbackup_last_success_timestamp_seconds{{{ITEM}}}"] == "1736991000"
    assert found[f"altbackup_last_proof_timestamp_seconds{{{ITEM}}}"] == "1736812800"


def test_nothing_is_left_unless_a_folder_is_named_and_one_that_is_not_there_is_a_note(folder: Path) -> None:
    base = str(folder.parent / "base")
    assert leave_metrics({}, base, RESULT, "UTC") == []
    wanted = {"folder": f"{folder}/none", "node": "a", "source": "b", "inventory": "", "max_age": 1.0}
    (note,) = leave_metrics(wanted, base, RESULT, "UTC")
    assert note.startswith(f"metrics were not written to {folder}/none/altbackup-node-")
    assert "altbackup_node_metrics_dir" in note
    assert list(folder.iterdir()) == []


def test_a_disk_without_any_room_is_told_and_one_of_which_nothing_is_known_is_not(folder: Path) -> None:
    series = f"altbackup_free_bytes{{{PLACE},{MORE}}}"
    assert left(folder, {**RESULT, "free": 0})[series] == "0"
    assert series not in left(folder, {**RESULT, "free": None})
