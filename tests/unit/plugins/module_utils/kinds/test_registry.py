"""The registry of kinds: what is known of them without importing them, and how a kind is added."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.kinds.registry import (
    CATEGORIES,
    DISCOVERABLE,
    KINDS,
    kind_in,
    kind_of,
)

ROOT = Path(__file__).parents[5]
KINDS_PACKAGE = "ansible_collections.altbackup.core.plugins.module_utils.kinds."


def test_what_is_known_of_kinds() -> None:
    assert CATEGORIES == {
        "svn": "svn",
        "trac": "tracs",
        "git": "git",
        "folder": "folders",
        "sqlite": "databases",
        "command": "commands",
        "hg": "hg",
        "postgresql": "databases",
        "mysql": "databases",
        "ldap": "databases",
        "set": "sets",
    }
    assert DISCOVERABLE == ("svn", "trac", "git")
    assert {name: entry.scratch for name, entry in KINDS.items()} == {
        "svn": "kept",
        "trac": "made",
        "git": "kept",
        "folder": "none",
        "sqlite": "made",
        "command": "made",
        "hg": "kept",
        "postgresql": "made",
        "mysql": "made",
        "ldap": "made",
        "set": "made",
    }


@pytest.mark.parametrize(
    ("category", "recorded", "members", "kind"),
    [
        ("databases", "mysql", (), "mysql"),
        ("databases", "svn", (), "sqlite"),
        ("databases", None, ["globals.sql", "wiki.dump"], "postgresql"),
        ("databases", "", ["config.ldif"], "ldap"),
        ("databases", "sqlite", ["config.ldif"], "sqlite"),
        ("repos", None, (), "svn"),
        ("mails", "folder", (), ""),
    ],
)
def test_the_kind_of_a_tarball_is_the_recorded_one_or_what_it_shows(
    category: str, recorded: object, members: tuple[str, ...], kind: str
) -> None:
    assert kind_in(category, recorded, members) == kind


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_s_file_agrees_with_its_entry(name: str) -> None:
    assert kind_of(name).copy.__module__ == KINDS_PACKAGE + name
    assert (kind_of(name).looks_like is not None) == KINDS[name].discoverable


def imported(module: str, collections: Path, code: str = "") -> set[str]:
    """Return the modules that importing a module of the collection imports, in a process of its own."""
    script = f"import sys, json; import ansible_collections.altbackup.core.plugins.{module}\n{code}\nprint(json.dumps(list(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONPATH": str(collections)}, capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout))


def test_the_plan_reads_no_kind_s_file() -> None:
    modules = imported("plugin_utils.planning.plan", ROOT / ".collections")
    kinds = {name.removeprefix(KINDS_PACKAGE) for name in modules if name.startswith(KINDS_PACKAGE)}
    assert kinds == {"hooks", "items", "keys", "patterns", "registry", "sets"}
    assert "sqlite3" not in modules


def test_what_is_known_of_kinds_needs_nothing_that_runs_programs() -> None:
    modules = imported("module_utils.kinds.items", ROOT / ".collections")
    assert not {"subprocess", "sqlite3", KINDS_PACKAGE + "base"} & modules


@pytest.mark.parametrize("module", ["dump", "discovery", "preflight"])
def test_a_stage_reads_a_kind_s_file_when_it_comes_to_an_item_of_it(module: str) -> None:
    code = "from ansible_collections.altbackup.core.plugins.module_utils.kinds.registry import kind_of; kind_of('git')"
    for more, expected in (("", set()), (code, {"git"})):
        modules = imported(f"module_utils.stages.{module}", ROOT / ".collections", more)
        assert {name for name in KINDS if KINDS_PACKAGE + name in modules} == expected


NOTE = '''"""Kind `note`: a folder with a text."""

from __future__ import annotations

import contextlib
import os

from ..archive.write import Part
from ..system.errors import InvalidInput
from ..system.view import Place
from .base import Arrangement, Kind, Snapshot, compare, owner_found, require_folder, settle, walk


def looks_like(path):
    return os.path.isfile(os.path.join(path, "text"))


def check(item, context):
    require_folder(item)
    if not looks_like(item.path):
        raise InvalidInput(f"item note {item.name!r}: path {item.path} is no note")


def count(path):
    with open(os.path.join(path, "text")) as stream:
        return len(stream.read().split())


@contextlib.contextmanager
def copy(item, context):
    found = walk(item.path)[0]
    settle()
    parts = [Part(item.path, list(found))]
    yield Snapshot(parts, {"words": count(item.path)}, confirm=lambda: compare(found, walk(item.path)[0]))


def arrange(item, context):
    return Arrangement(owner_found(item.path), [Place(item.path)])


def prove(proof):
    proof.plain("text")
    proof.compare("words", count(proof.path), "its number of words")


KIND = Kind(check, copy, arrange, prove, looks_like=looks_like)
'''
LAST = '    "sqlite": Entry(_sqlite, "databases", keys=_DATABASE_KEYS),\n'
LOADING = "def _note() -> Kind:\n    from .note import KIND\n\n    return KIND\n\n\n"
NIGHT = """
import json, sys
from pathlib import Path
from helpers.original_trees import run_module

top = Path(sys.argv[1])
base = str(top / "base")
item = {"kind": "note", "name": "diary", "path": str(top / "live" / "diary")}
found = run_module("preflight", bases=[base], discover={"note": str(top / "live")})
dumped = run_module("tarball_dump", base=base, items=found["items"], stamp="2013/05/10/104701")
drilled = run_module("tarball_drill", base=base)
(tarball,) = dumped["tarballs"]
order = {
    "kind": "note",
    "base": base,
    "tarballs": [{key: tarball[key] for key in ("relpath", "size", "dig", "alg")}],
    "record": tarball["record"],
    "origin": {"source": "s", "item": "notes/diary", "stamp": tarball["stamp"], "dig": tarball["dig"], "node": "s", "host": "s", "when": "", "by": ""},
    "stamp": "2013/05/11/104701",
}
restored = run_module("tarball_restore", destination=str(top / "back"), **order)
other = run_module("tarball_restore", destination=str(top / "other"), **{**order, "record": {**tarball["record"], "words": 3}})
print(json.dumps([found, dumped, drilled, restored, other]))
"""


@pytest.fixture
def collections(tmp_path: Path) -> Path:
    """Return a folder with this collection and an additional kind: its file and its entry."""
    core = tmp_path / "collections" / "ansible_collections" / "altbackup" / "core"
    for name in ("library", "plugins"):
        shutil.copytree(ROOT / name, core / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    kinds = core / "plugins" / "module_utils" / "kinds"
    (kinds / "note.py").write_text(NOTE)
    text = (kinds / "registry.py").read_text()
    assert text.count(LAST) == text.count("_FOLDER_KEYS =") == 1
    text = text.replace("_FOLDER_KEYS =", f"{LOADING}_FOLDER_KEYS =")
    text = text.replace(LAST, f'{LAST}    "note": Entry(_note, "notes", discoverable=True),\n')
    (kinds / "registry.py").write_text(text)
    return tmp_path / "collections"


def test_a_kind_is_added_by_a_file_and_an_entry(tmp_path: Path, collections: Path) -> None:
    (tmp_path / "base" / ".altbackup").mkdir(parents=True)
    (tmp_path / "live" / "diary").mkdir(parents=True)
    (tmp_path / "live" / "diary" / "text").write_text("two words")
    done = subprocess.run(
        [sys.executable, "-c", NIGHT, str(tmp_path)],
        env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "PYTHONPATH": f"{collections}:{ROOT / 'tests'}",
            "HOME": str(tmp_path),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    results: list[dict[str, Any]] = json.loads(done.stdout)
    found, dumped, drilled, restored, other = results
    assert [result["failures"] for result in (found, dumped, drilled, restored)] == [[], [], [], []]
    assert dumped["tarballs"][0]["relpath"] == "notes/diary/2013/05/10/104701/diary.tar.zst"
    assert drilled["proved"][0]["facts"] == {"words": 2}
    assert (tmp_path / "back" / "text").read_text() == "two words"
    (failure,) = other["failures"]
    assert "its number of words is 2, but its dump recorded 3" in failure["reason"]
    assert not (tmp_path / "other").exists()
