"""Files of the private folder: whatever stands in their place is not followed, not waited for, and not read without limit."""

from __future__ import annotations

import ast
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import STAMP, marked, put

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError
from ansible_collections.altbackup.core.plugins.module_utils.tree.arrivals import arrivals
from ansible_collections.altbackup.core.plugins.module_utils.tree.known import known_items, known_path
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import Tree, open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.marks import marks_of, marks_path
from ansible_collections.altbackup.core.plugins.module_utils.tree.noted import noted_path, open_noted
from ansible_collections.altbackup.core.plugins.module_utils.tree.publish import record_of, record_path
from ansible_collections.altbackup.core.plugins.module_utils.tree.readings import readings
from ansible_collections.altbackup.core.plugins.module_utils.tree.remembered import remember_items, remembered_items
from ansible_collections.altbackup.core.plugins.module_utils.tree.rules import known_rules

_KEY = "svn/dybsvn"
_DIGEST = "0" * 64
_ROOMS = ("tree", "stages", "synchronize")
_MODULE_UTILS = Path(__file__).parents[5] / "plugins" / "module_utils"


def _read_noted(tree: Tree) -> bytes:
    with open_noted(tree, _KEY, {"noted": {"files": _DIGEST}}, "files") as stream:
        return bytes(stream.read())


READERS: dict[str, tuple[Callable[[Tree], str], Callable[[Tree], Any]]] = {
    "record": (lambda tree: record_path(tree, _KEY, STAMP), lambda tree: record_of(tree, _KEY, STAMP)),
    "items": (lambda tree: os.path.join(tree.private_path("records"), "items"), remembered_items),
    "arrivals": (lambda tree: tree.private_path("arrivals", *_KEY.split("/")), lambda tree: arrivals(tree, _KEY)),
    "rules": (lambda tree: tree.private_path("rules", "items"), known_rules),
    "marks": (marks_path, marks_of),
    "readings": (lambda tree: tree.private_path("state", "readings"), readings),
    "known": (known_path, known_items),
    "noted": (lambda tree: noted_path(tree, _KEY, _DIGEST), _read_noted),
}


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """The tree of a source on a target."""
    base = marked(tmp_path / "base") / "dayabay"
    put(base, f"{_KEY}/{STAMP}/dybsvn-1.tar")
    (tmp_path / "vault").mkdir()
    return open_tree(str(base))


def _pipe(path: Path, vault: Path) -> None:
    os.mkfifo(path)


def _link(path: Path, vault: Path) -> None:
    (vault / "secret").write_text("{}\n")
    path.symlink_to(vault / "secret")


def _behind_link(path: Path, vault: Path) -> None:
    (vault / path.name).write_text("{}\n")
    path.parent.rmdir()
    path.parent.symlink_to(vault)


def _folder(path: Path, vault: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("lay", [_pipe, _link, _behind_link, _folder])
@pytest.mark.parametrize("name", READERS)
def test_nothing_is_read_but_a_plain_file_of_the_private_folder(
    name: str, lay: Callable[[Path, Path], None], tree: Tree, tmp_path: Path
) -> None:
    where, read = READERS[name]
    path = Path(where(tree))
    path.parent.mkdir(parents=True)
    lay(path, tmp_path / "vault")
    told: list[BaseException] = []

    def attempt() -> None:
        try:
            read(tree)
        except (AltbackupError, OSError) as error:
            told.append(error)

    reader = threading.Thread(target=attempt, daemon=True)
    reader.start()
    reader.join(20)
    assert not reader.is_alive(), "it waits at what stands there"
    assert told and str(path.parent) in str(told[0])


@pytest.mark.parametrize("name", ["record", "items", "rules", "readings"])
def test_a_file_that_would_fill_the_memory_is_damaged(name: str, tree: Tree) -> None:
    where, read = READERS[name]
    path = Path(where(tree))
    path.parent.mkdir(parents=True)
    with path.open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(AltbackupError, match=str(path)):
        read(tree)


@pytest.mark.parametrize("lay", [_pipe, _link, None])
def test_a_list_of_items_that_cannot_be_read_is_written_anew(lay: Any, tree: Tree, tmp_path: Path) -> None:
    path = Path(READERS["items"][0](tree))
    path.parent.mkdir(parents=True)
    if lay:
        lay(path, tmp_path / "vault")
    else:
        path.write_bytes(b"\xff\n")
    remember_items(tree, ["svn/one"])
    assert remembered_items(tree) == ["svn/one"]
    assert path.is_file() and not path.is_symlink()


def test_no_list_is_written_behind_a_link(tree: Tree, tmp_path: Path) -> None:
    folder = Path(tree.private_path("records"))
    folder.mkdir(parents=True)
    shutil.rmtree(folder)
    folder.symlink_to(tmp_path / "vault")
    with pytest.raises(AltbackupError, match="link"):
        remember_items(tree, ["svn/one"])
    assert os.listdir(tmp_path / "vault") == []


@pytest.mark.parametrize(
    "path", sorted(path for room in _ROOMS for path in (_MODULE_UTILS / room).glob("*.py")), ids=lambda path: path.stem
)
def test_no_file_of_a_base_is_read_by_its_name_alone(path: Path) -> None:
    """Python's own open follows links, waits for pipes, and does not check what it opened: it reads only files that the system provides."""
    calls = [
        ast.unparse(node)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open"
    ]
    own = ("fdinfo", "f'/proc/", "open(reading,", "'/etc/os-release'", "/etc/ssh/ssh_host_", "open(_SOCKETS")
    assert (
        path.stem in ("stamps", "forced_command")
        or [call for call in calls if not any(word in call for word in own)] == []
    )
