"""What a node remembers of a store."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import marked
from helpers.stores import (
    ALL,
    OTHER,
    TWO,
    Place,
    said,
    sync,
)

from ansible_collections.altbackup.core.plugins.module_utils.stores.known import (
    Copy,
    Memory,
    folder_of,
    ids_of,
    recall,
    remember,
    seen_at,
)
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.sidecar import Dna


@pytest.mark.full
def test_what_somebody_removes_is_told_and_comes_back(base: Path, disk: Place) -> None:
    sync(disk, base)
    disk.delete(f"dayabay/{TWO}")
    disk.delete(f"dayabay/{OTHER}")
    disk.delete(f"dayabay/{OTHER}.dna")
    result = sync(disk, base)
    assert f"{OTHER} was there, and is gone: somebody other than this collection removed it" in said(result)
    assert f"{TWO} is gone, its dna alone is there" in said(result)
    assert sorted(result["uploaded"] + result["replaced"]) == sorted([TWO, OTHER]) and result["kept"] == ALL


STAMP = "2013/05/11/104701"
COPY = Copy(Dna("aa", 7, "sha256", "x-1.tar", "bb"), came=STAMP, read=STAMP, doubted=True, digest="cc", until=9.5)
MEMORY = Memory("1" * 32, STAMP, {f"svn/x/{STAMP}/x-2.diff.tar": replace(COPY, suspect=("it fell",), partial=True)})


def test_what_is_remembered_of_each_store_is_recalled_as_it_was(tmp_path: Path) -> None:
    tree = open_tree(str(marked(tmp_path / "dayabay")))
    other = Memory("2" * 32, rules={"svn/x": {"keep": 3.0}})
    assert (recall(tree, "vault", MEMORY.id), ids_of(tree, "vault")) == (Memory(MEMORY.id), [])
    for memory in (other, MEMORY):
        remember(tree, "vault", memory)
    assert [recall(tree, "vault", memory.id) for memory in (MEMORY, other)] == [MEMORY, other]
    for name in ("drilled.json", "3.json", f"{'3' * 32}.json.new"):
        Path(folder_of(tree, "vault"), name).write_text("{}")
    assert ids_of(tree, "vault") == [MEMORY.id, other.id]
    assert seen_at(tree, "vault") == {MEMORY.id: STAMP, other.id: ""}
    assert ids_of(tree, "drawer") == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"copies": {"../../etc/shadow": {}}},
        {"copies": {f"svn/x/{STAMP}/x-1.tar": {"dna": {}}}},
        {"copies": []},
        {"seen": "yesterday"},
        {"rules": {"svn/x": {"keep": "many"}}},
        {"rules": None},
    ],
)
def test_what_is_damaged_says_so_and_tells_nothing_of_when_it_was_there(tmp_path: Path, wrong: dict[str, Any]) -> None:
    tree = open_tree(str(marked(tmp_path / "dayabay")))
    remember(tree, "vault", MEMORY)
    path = Path(folder_of(tree, "vault"), f"{MEMORY.id}.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **wrong}))
    with pytest.raises(AltbackupError, match=f"{path}, which tells what the store vault has, is damaged"):
        recall(tree, "vault", MEMORY.id)
    assert (ids_of(tree, "vault"), seen_at(tree, "vault")) == ([MEMORY.id], {})
