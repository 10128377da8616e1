"""The check of a target by itself is one file with all that it needs, and no more."""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.calls import watch_program
from ansible_collections.altbackup.core.plugins.plugin_utils.calls.watch_program import _imported, build, needed

ROOM = Path(watch_program.__file__).resolve().parents[2] / "module_utils"


def test_it_has_all_that_its_parts_import_and_nothing_of_kinds_or_stages() -> None:
    parts = needed()
    assert parts == sorted(set(parts)) and "watch/program" in parts
    for name in parts:
        assert set(_imported(name)) <= set(parts), name
        assert (ROOM / f"{name}.py").is_file()
    assert {name.partition("/")[0] for name in parts} <= {"watch", "tree", "system"}


def test_it_is_the_same_wherever_it_is_built() -> None:
    first = build()
    build.cache_clear()
    assert build() == first


def test_its_files_are_those_of_module_utils() -> None:
    content = build()
    assert content.startswith(b"#!/usr/bin/env python3\n")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert len(names) == len(set(names))
        for name in needed():
            assert archive.read(f"altbackup/{name}.py") == (ROOM / f"{name}.py").read_bytes()
            assert f"altbackup/{Path(name).parent}/__init__.py" in names
        for name in names:
            ast.parse(archive.read(name))


def test_it_starts_where_nothing_else_is_installed(tmp_path: Path) -> None:
    path = tmp_path / "watch.pyz"
    path.write_bytes(build())
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(path), str(tmp_path / "none")],
        capture_output=True,
        text=True,
        timeout=60,
        cwd="/",
    )
    assert "Traceback" not in done.stderr and "No module named" not in done.stderr
    assert done.returncode != 0, "a base that is not there is no good one"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import os\nfrom json import loads\n", []),
        ("from .locks import x\n", ["tree/locks"]),
        ("from . import layout, locks\n", ["tree/layout", "tree/locks"]),
        ("from ..system.paths import is_within\n", ["system/paths"]),
        ("from ..system import mounts, proc\n", ["system/mounts", "system/proc"]),
        ("def f():\n    from .stamps import is_day\n", ["tree/stamps"]),
        ("", []),
    ],
)
def test_what_a_part_imports_is_found_by_its_text(
    text: str, found: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("tree/locks", "tree/layout", "tree/stamps", "system/paths", "system/mounts", "system/proc"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.py").touch()
    (tmp_path / "tree" / "part.py").write_text(text)
    monkeypatch.setattr(watch_program, "_ROOM", tmp_path)
    assert _imported("tree/part") == found
