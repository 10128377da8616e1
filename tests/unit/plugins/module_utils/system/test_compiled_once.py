"""Files that a module brings along in an archive are compiled once in a call, and those of the controller once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PACKAGE = "ansible_collections.altbackup.core.plugins.module_utils"
ROOT = Path(__file__).parents[5]
WATCHED = """
import json, sys
from collections import Counter

compiled = Counter()


def watch(event, arguments):
    if event == "compile" and arguments[1] and "payload.zip" in str(arguments[1]):
        compiled[str(arguments[1]).rpartition("module_utils/")[2]] += 1


sys.addaudithook(watch)
sys.path.insert(0, sys.argv[1])
for name in sys.argv[2:]:
    __import__(name)
module = sys.modules[name]
print(json.dumps([compiled, module.__file__, module.__package__, module.__spec__.has_location]))
"""

ON_CONTROLLER = """
import json, sys
from ansible.plugins.loader import callback_loader, init_plugin_loader

compiled = []
sys.addaudithook(lambda event, arguments: compiled.append(str(arguments[1])) if event == "compile" else None)
init_plugin_loader([sys.argv[1]])
plugin = callback_loader.get("altbackup.core.error_mail", class_only=True)
module = sys.modules["ansible_collections.altbackup.core.plugins.plugin_utils.report.collector"]
print(json.dumps([sorted(path for path in compiled if "plugin_utils/" in path), plugin.__name__, module.__file__]))
"""


@pytest.fixture
def payload(tmp_path: Path) -> Path:
    """Return an archive as Ansible sends it, with the files of two rooms."""
    path = tmp_path / "payload.zip"
    folder = PACKAGE.replace(".", "/")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        parts = folder.split("/")
        for count in range(len(parts)):
            archive.writestr("/".join([*parts[: count + 1], "__init__.py"]), "")
        for room in ("system", "tree"):
            archive.writestr(f"{folder}/{room}/__init__.py", "")
            for file in (ROOT / "plugins" / "module_utils" / room).glob("*.py"):
                archive.write(file, f"{folder}/{room}/{file.name}")
    return path


def compiled(payload: Path, *names: str) -> tuple[dict[str, int], str, str, bool]:
    """Import modules from the archive; return (compilations of each file, and of the last one: file, package, whether it has one)."""
    argv = [sys.executable, "-B", "-c", WATCHED, str(payload), *(f"{PACKAGE}.{name}" for name in names)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    counts, *rest = json.loads(done.stdout)
    return (counts, *rest)


def test_each_file_is_compiled_once_and_known_by_its_name(payload: Path) -> None:
    counts, file, package, located = compiled(payload, "system.compiled_once", "tree.layout")
    before = ("__init__.py", "system/__init__.py", "system/compiled_once.py")
    others = {name: count for name, count in counts.items() if "payload.zip" not in name and name not in before}
    assert len(others) > 5 and set(others.values()) == {1}, others
    assert (file, package, located) == (
        f"{payload}/{PACKAGE.replace('.', '/')}/tree/layout.py",
        f"{PACKAGE}.tree",
        True,
    )


def test_what_python_does_by_itself_is_what_is_to_be_mended(payload: Path) -> None:
    counts, *_ = compiled(payload, "tree.layout")
    assert set(counts.values()) != {1}, "once this fails, nobody needs the importer any more"


def test_what_is_not_there_is_missing_as_ever(payload: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(payload)!r}); import {PACKAGE}.system.compiled_once; import {PACKAGE}.tree.nothing"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"ModuleNotFoundError: No module named '{PACKAGE}.tree.nothing'" in done.stderr


@pytest.mark.parametrize("path", sorted((ROOT / "library").glob("*.py")), ids=lambda path: str(path.stem))
def test_each_module_imports_it_before_all_else_of_ours(path: Path) -> None:
    ours = [line for line in path.read_text().splitlines() if line.startswith("from ..")]
    assert ours[:1] == ["from ..module_utils.system import compiled_once  # noqa: F401  # isort: skip"]


def test_what_the_controller_has_compiled_no_later_process_compiles(tmp_path: Path) -> None:
    """Ansible's importer compiles each file in each process."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path), "HOME": str(tmp_path)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    argv = [sys.executable, "-c", ON_CONTROLLER, str(ROOT / ".collections")]

    def imported() -> tuple[list[str], str, str]:
        done = subprocess.run(argv, capture_output=True, text=True, check=True, env=environment, cwd=tmp_path)
        compiled, plugin, file = json.loads(done.stdout.splitlines()[-1])
        return compiled, plugin, file

    compiled, plugin, file = imported()
    assert len(compiled) > 50 and plugin == "CallbackModule" and file.endswith("/plugin_utils/report/collector.py")
    assert imported()[0] == []
