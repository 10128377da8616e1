"""The server of the demo: it runs in a folder of any name."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

import pytest
import yaml

TOOL = Path(__file__).resolve().parents[3] / "tools" / "demo_database.py"


def test_server_runs_in_a_folder_of_any_name(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("demo_database", TOOL)
    assert spec and spec.loader
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    try:
        tool.tools()
    except tool.NoDatabase as error:
        pytest.skip(str(error))
    folder = tmp_path / "a, {b} #c" / "db"
    with tool.running(folder) as server:
        said = subprocess.run(server.argv("SELECT 6 * 7"), capture_output=True, text=True, check=True).stdout
        (item,) = yaml.safe_load(server.item())
    assert said.split()[-1] == "42"
    assert item["host"] == str(folder / "s")
