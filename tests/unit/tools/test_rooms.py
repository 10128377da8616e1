"""The contract of the rooms: an upward import on any floor is found, and so is a file outside the contract."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PYTHON = ROOT / ".venv-lint" / "bin" / "python"
TOOL = ROOT / "tools" / "rooms.py"

UPWARD = {
    "from system to tree": ("plugins/module_utils/system/paths.py", "from ..tree import layout"),
    "from tree to archive": ("plugins/module_utils/tree/stamps.py", "from ..archive.write import ArchiveFormat"),
    "from archive to kinds": ("plugins/module_utils/archive/write.py", "from ..kinds import items"),
    "from archive to synchronize": ("plugins/module_utils/archive/listing.py", "from ..synchronize import guides"),
    "from kinds to stages": ("plugins/module_utils/kinds/items.py", "from ..stages import controller"),
    "from synchronize to restore": ("plugins/module_utils/synchronize/guides.py", "from ..restore import find"),
    "from stages to the modules": ("plugins/module_utils/stages/purge.py", "from ...modules import dna"),
    "from restore to the controller": (
        "plugins/module_utils/restore/find.py",
        "from ...plugin_utils.report import masking",
    ),
    "from a module to the controller": ("library/dna.py", "from ..plugin_utils.report import masking"),
    "from report to planning": ("plugins/plugin_utils/report/plain_text.py", "from ..planning import quantities"),
    "from planning to mail": ("plugins/plugin_utils/planning/quantities.py", "from ..mail import settings"),
    "from planning to calls": ("plugins/plugin_utils/planning/trees.py", "from ..calls import progress_poll"),
    "from mail to cli": ("plugins/plugin_utils/mail/settings.py", "from ..cli import run_store"),
    "from calls to an action": ("plugins/plugin_utils/calls/action.py", "from ...action import dna"),
    "from cli to a callback": ("plugins/plugin_utils/cli/run_store.py", "from ...callback import quiet"),
    "from history to page": ("plugins/plugin_utils/history/metrics.py", "from ..page import write"),
    "from page to cli": ("plugins/plugin_utils/page/write.py", "from ..cli import run_store"),
    "from a filter to a callback": ("plugins/filter/plan.py", "from ..callback import quiet"),
    "from cli to a module": ("plugins/plugin_utils/cli/run_store.py", "from ...modules import dna"),
}
BESIDE = {
    "between kinds and synchronize": ("plugins/module_utils/kinds/items.py", "from ..synchronize import guides"),
    "between stages and restore": ("plugins/module_utils/stages/purge.py", "from ..restore import find"),
    "between mail and calls": ("plugins/plugin_utils/mail/settings.py", "from ..calls import progress_poll"),
    "within a function": ("plugins/module_utils/system/units.py", "def late() -> None:\n    from ..tree import layout"),
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the files under the contract."""
    if not PYTHON.with_name("lint-imports").exists():
        pytest.fail(f"{PYTHON.parent} has no lint-imports: make environment-lint installs it")
    ignored = shutil.ignore_patterns("__pycache__")
    for folder in ("library", "plugins"):
        shutil.copytree(ROOT / folder, tmp_path / folder, symlinks=True, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def check(checkout: Path) -> tuple[int, str]:
    """Check a checkout against the contract; return the exit code and the output."""
    done = subprocess.run([PYTHON, TOOL, "--root", checkout], capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


def test_every_import_goes_down(checkout: Path) -> None:
    code, said = check(checkout)
    assert code == 0, said
    assert "0 broken" in said


@pytest.mark.sampled(25)
@pytest.mark.parametrize(("path", "line"), [*UPWARD.values(), *BESIDE.values()], ids=[*UPWARD, *BESIDE])
def test_import_that_does_not_go_down_is_found(checkout: Path, path: str, line: str) -> None:
    with open(checkout / path, "a", encoding="utf-8") as stream:
        stream.write(f"\n\n{line}\n")
    code, said = check(checkout)
    assert code == 1
    assert "BROKEN" in said
    assert Path(path).stem in said


@pytest.mark.sampled(5)
@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("plugins/module_utils/tree/two.parts.py", "is not seen by import-linter"),
        ("plugins/module_utils/attic/thing.py", "is in no room that pyproject.toml names"),
        ("plugins/module_utils/flat.py", "is in no room that pyproject.toml names"),
        ("plugins/plugin_utils/flat.py", "is in no room that pyproject.toml names"),
        ("plugins/inventory/new.py", "is in no room that pyproject.toml names"),
    ],
)
def test_file_that_nothing_would_check_is_found(checkout: Path, path: str, complaint: str) -> None:
    (checkout / path).parent.mkdir(exist_ok=True)
    (checkout / path).write_text("from __future__ import annotations\n", encoding="utf-8")
    code, said = check(checkout)
    assert code == 1
    assert f"{Path(path).stem} {complaint}" in said
