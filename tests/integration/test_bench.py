"""make bench, on small data: it measures, writes its findings, and leaves only its data behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

from integration.site import REPOSITORY


def bench(folder: Path, *rows: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(REPOSITORY / "tests" / "benchmarks" / "bench.py"), "--size", "small"]
    return subprocess.run(
        [*command, "--folder", str(folder), "--rows", *rows], capture_output=True, text=True, timeout=600
    )


def test_rows_are_measured_and_written_as_table_json_and_picture(tmp_path: Path) -> None:
    done = bench(tmp_path, "digests-1", "dump-svn")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "table.json").read_text())
    rows = {row["key"]: row for row in found["rows"]}
    assert set(rows) == {"digests-1-0.01", "digests-1-0.04", "dump-svn"}
    for row in rows.values():
        assert not row["failure"]
        for turns in row["turns"].values():
            assert turns[0]["seconds"] > 0
    ours, openssl = (rows["digests-1-0.04"]["turns"][name][0]["read"] for name in ("altbackup", "openssl"))
    assert 39_000_000 < openssl < 42_000_000
    assert 39_000_000 < ours < 60_000_000
    assert set(found["curves"]["digests, one core"]) == {"altbackup", "openssl"}
    assert "| dump of a svn repository" in (tmp_path / "table.md").read_text()
    assert ElementTree.parse(tmp_path / "table.svg").getroot().tag.endswith("svg")
    assert {path.name for path in tmp_path.iterdir()} == {"data", "lock", "table.md", "table.json", "table.svg"}


def test_a_row_that_does_not_exist_is_refused_with_those_that_do(tmp_path: Path) -> None:
    done = bench(tmp_path, "speed")
    assert done.returncode == 2
    assert "no row begins with speed" in done.stderr
    assert "night-svn-0.01" in done.stderr
