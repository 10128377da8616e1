"""Files that a module brings along in an archive are compiled once in a call, and those of the controller once."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from helpers.trees import NOBODY, needs_root

LAYOUT = ("system.compiled_once", "tree.layout")
needs_kept = pytest.mark.skipif(sys.version_info < (3, 10), reason="Python's importer asks for kept code from 3.10 on")
PACKAGE = "ansible_collections.altbackup.core.plugins.module_utils"
ROOT = Path(__file__).parents[5]
WATCHED = """
import json, sys
from collections import Counter

compiled = Counter()


def watch(event, arguments):
    if event == "compile" and arguments[1] and "/module_utils/" in str(arguments[1]):
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


def compiled(payload: Path, *names: str, cache: Path | None = None) -> tuple[dict[str, int], str, str, bool]:
    """Import modules from the archive; return (compilations of each file, and of the last one: file, package, whether it has one).

    Without a folder to keep it in, nothing is kept.
    """
    argv = [sys.executable, "-B", "-c", WATCHED, str(payload), *(f"{PACKAGE}.{name}" for name in names)]
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache or payload.parent / "none" / "none")}
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env=environment, cwd=payload.parent)
    counts, *rest = json.loads(done.stdout)
    return (counts, *rest)


def test_each_file_is_compiled_once_and_known_by_its_name(payload: Path) -> None:
    counts, file, package, located = compiled(payload, "system.compiled_once", "tree.layout")
    found = others(counts)
    assert len(found) > 5 and set(found.values()) == {1}, found
    assert (file, package, located) == (
        f"{payload}/{PACKAGE.replace('.', '/')}/tree/layout.py",
        f"{PACKAGE}.tree",
        True,
    )


def kept_in(cache: Path) -> list[Path]:
    """Return the files of compiled code."""
    return sorted((cache / "altbackup" / "bytecode").glob("*"))


def others(counts: dict[str, int]) -> dict[str, int]:
    """Return the compilations of what is imported after the importer."""
    return {name: count for name, count in counts.items() if not name.endswith(("__init__.py", "compiled_once.py"))}


@pytest.fixture
def cache(payload: Path) -> Path:
    """Return a folder in which a call has kept what it compiled."""
    cache = payload.parent / "cache"
    assert others(compiled(payload, *LAYOUT, cache=cache)[0])
    assert stat.S_IMODE((cache / "altbackup" / "bytecode").stat().st_mode) == 0o700
    return cache


@needs_kept
def test_what_a_call_has_compiled_no_later_call_compiles(payload: Path, cache: Path) -> None:
    moved = payload.rename(payload.with_name("other-payload.zip"))
    counts, file, *_ = compiled(moved, *LAYOUT, cache=cache)
    assert others(counts) == {} and file.startswith(f"{moved}/")


@needs_kept
@pytest.mark.parametrize("harm", [b"", b"x" * 100, None], ids=["empty", "other", "cut"])
def test_kept_code_that_is_not_whole_is_made_anew(payload: Path, cache: Path, harm: bytes | None) -> None:
    before = {path.name: path.read_bytes() for path in kept_in(cache)}
    for path in kept_in(cache):
        path.write_bytes(path.read_bytes()[:-1] if harm is None else harm)
    assert others(compiled(payload, *LAYOUT, cache=cache)[0])
    assert {path.name: path.read_bytes() for path in kept_in(cache)} == before
    assert others(compiled(payload, *LAYOUT, cache=cache)[0]) == {}


@needs_kept
def test_a_file_that_changed_is_compiled(payload: Path, cache: Path) -> None:
    changed = f"{PACKAGE.replace('.', '/')}/tree/layout.py"
    with zipfile.ZipFile(payload) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(payload, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text + (b"\n" if name == changed else b""))
    assert others(compiled(payload, *LAYOUT, cache=cache)[0]) == {"tree/layout.py": 1}


@needs_kept
@pytest.mark.parametrize("inside", [".", "altbackup", "altbackup/bytecode"])
def test_where_others_can_write_nothing_is_kept_or_run(payload: Path, cache: Path, inside: str) -> None:
    (cache / inside).chmod(0o777)
    before = [path.stat().st_mtime_ns for path in kept_in(cache)]
    assert others(compiled(payload, *LAYOUT, cache=cache)[0])
    assert [path.stat().st_mtime_ns for path in kept_in(cache)] == before


@needs_root
@needs_kept
@pytest.mark.parametrize("inside", [".", "altbackup/bytecode"])
def test_what_belongs_to_somebody_else_is_not_run(payload: Path, cache: Path, inside: str) -> None:
    os.chown(cache / inside, NOBODY, NOBODY)
    assert others(compiled(payload, *LAYOUT, cache=cache)[0])


@needs_root
@needs_kept
def test_nothing_is_made_in_a_home_of_somebody_else(payload: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)
    assert others(compiled(payload, *LAYOUT, cache=home / ".cache")[0])
    assert list(home.iterdir()) == []


@needs_kept
def test_what_was_kept_long_ago_goes_once_other_code_comes(payload: Path, cache: Path) -> None:
    old, *rest = kept_in(cache)
    os.utime(old, (1, 1))
    rest[0].unlink()
    compiled(payload, *LAYOUT, cache=cache)
    assert not old.exists() or old.stat().st_mtime > 1
    assert rest[0].exists()


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
