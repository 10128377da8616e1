"""The table of variables is that of the argument_specs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ansible_collections.altbackup.core.plugins.plugin_utils.planning import settings

ROOT = Path(__file__).resolve().parents[3]


def run_tool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run tools/variables.py."""
    command = [sys.executable, str(ROOT / "tools" / "variables.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_the_table_of_variables_is_up_to_date() -> None:
    result = run_tool("--check")
    assert result.returncode == 0, result.stderr


def test_a_stale_table_of_variables_is_found_and_mended(tmp_path: Path) -> None:
    page = tmp_path / "variables.md"
    assert run_tool("--check", "--page", str(page)).returncode == 1
    page.write_text("old\n", encoding="utf-8")
    assert run_tool("--check", "--page", str(page)).returncode == 1
    assert page.read_text(encoding="utf-8") == "old\n"
    assert run_tool("--page", str(page)).returncode == 0
    assert run_tool("--check", "--page", str(page)).returncode == 0
    assert all(f"| `{name}` |" in page.read_text(encoding="utf-8") for name in settings.names())
