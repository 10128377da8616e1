"""The controller's own item, as module tarball_dump makes it."""

from __future__ import annotations

import base64
import json
import os
import stat
import zlib
from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import marked, reasons, run_module, tree_hash
from helpers.trees import FIRST, SECOND, THIRD, unpack

from ansible_collections.altbackup.core.plugins.module_utils.stages import controller
from ansible_collections.altbackup.core.plugins.module_utils.stages.controller import (
    CONTROLLER_KEY,
    pack_controller,
    unpack_controller,
)
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree

BINARY = bytes(range(256))
ENTRIES: dict[str, dict[str, Any]] = {
    "inventory/mine/hosts.yml": {"mode": 0o644, "content": b"sources:\n"},
    "inventory/mine/vault.yml": {"mode": 0o664, "content": BINARY},
    "collection/bin/altbackup": {"mode": 0o755, "content": b"#!/bin/sh\n"},
    "collection/modules": {"link": "../bin"},
}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A source's base, and files to back up beside it."""
    (tmp_path / "live").mkdir()
    (tmp_path / "live" / "file").write_text("x")
    return marked(tmp_path / "base")


def dump(base: Path, stamp: str = FIRST, entries: dict[str, Any] = ENTRIES, **options: Any) -> dict[str, Any]:
    """Run the module."""
    items = [{"kind": "folder", "name": "live", "path": str(base.parent / "live")}]
    return run_module(
        "tarball_dump", base=str(base), items=items, stamp=stamp, **{"controller": pack_controller(entries), **options}
    )


def tarball(result: dict[str, Any]) -> dict[str, Any]:
    """Return the item's tarball in a result."""
    (found,) = [entry for entry in result["tarballs"] if f"{entry['category']}/{entry['name']}" == CONTROLLER_KEY]
    return found


def test_it_comes_back_as_it_was_for_its_user_alone(base: Path, tmp_path: Path) -> None:
    top = unpack(tarball(dump(base)), tmp_path / "out")
    assert top.name == "altbackup-controller"
    files = {str(path.relative_to(top)): path for path in top.rglob("*") if path.is_file() and not path.is_symlink()}
    assert {name: path.read_bytes() for name, path in files.items() if not name.startswith("collection/modules/")} == {
        name: entry["content"] for name, entry in ENTRIES.items() if "content" in entry
    }
    assert os.readlink(top / "collection" / "modules") == "../bin"
    modes = {
        stat.S_IMODE(path.lstat().st_mode) for path in [top, *top.rglob("*")] if path.is_dir() and not path.is_symlink()
    }
    assert modes == {0o700}
    assert stat.S_IMODE(files["inventory/mine/vault.yml"].stat().st_mode) == 0o600
    assert stat.S_IMODE(files["collection/bin/altbackup"].stat().st_mode) == 0o700


def test_what_did_not_change_is_the_same_tarball_and_what_is_gone_goes(base: Path, tmp_path: Path) -> None:
    first = tarball(dump(base))
    second = tarball(dump(base, SECOND))
    assert os.stat(second["path"]).st_ino == os.stat(first["path"]).st_ino
    again = dump(base, SECOND)
    assert not again["changed"]
    fewer = {name: entry for name, entry in ENTRIES.items() if "vault" not in name}
    top = unpack(tarball(dump(base, THIRD, fewer)), tmp_path / "out")
    assert sorted(os.listdir(top / "inventory" / "mine")) == ["hosts.yml"]


def test_check_mode_predicts_it_and_writes_nothing(base: Path) -> None:
    before = tree_hash(base)
    result = dump(base, check=True)
    assert not result["failures"]
    assert tarball(result)["relpath"] == f"{CONTROLLER_KEY}/{FIRST}/altbackup-controller.tar.zst"
    assert tree_hash(base) == before


def test_without_it_there_is_no_such_item(base: Path) -> None:
    assert [entry["name"] for entry in dump(base, controller="")["tarballs"]] == ["live"]
    assert not (base / ".altbackup" / "controller").exists()


def packed(paths: dict[str, Any]) -> str:
    """Return a package that a foreign controller could hand over."""
    return base64.b64encode(zlib.compress(json.dumps({"entries": paths, "problem": ""}).encode())).decode()


@pytest.mark.sampled(5)
@pytest.mark.parametrize(
    ("handed", "why"),
    [
        pytest.param(pack_controller({}, "inventory is unreadable"), "inventory is unreadable", id="problem"),
        pytest.param("garbage", "cannot be read", id="garbage"),
        *(
            pytest.param(packed({path: {"mode": 0o600, "content": "x"}}), "no path below", id=path)
            for path in ("../x", "/x", "a/../../x", "a//x", "./x", "")
        ),
        pytest.param(
            packed({"a": {"link": "/"}, "a/x": {"mode": 0o600, "content": "x"}}),
            "no folder but a link",
            id="through a link",
        ),
    ],
)
def test_what_cannot_be_taken_is_a_failure_of_that_item_alone(base: Path, handed: str, why: str) -> None:
    result = dump(base, controller=handed, fail=False)
    (reason,) = reasons(result)
    assert why in reason
    assert [(entry["category"], entry["name"]) for entry in result["failures"]] == [("folders", "altbackup-controller")]
    assert [entry["name"] for entry in result["tarballs"]] == ["live"]
    assert not (base.parent / "x").exists() and not Path("/x").exists()


def test_an_older_copy_is_not_passed_off_as_new(base: Path) -> None:
    dump(base)
    result = dump(base, SECOND, controller=pack_controller({}, "unreadable"), fail=False)
    assert [entry["name"] for entry in result["tarballs"]] == ["live"]


def test_what_is_larger_than_anything_a_controller_packs_is_refused(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controller, "_MOST", 1500)
    packed = pack_controller({"huge": {"mode": 0o644, "content": bytes(4000)}})
    with pytest.raises(InvalidInput, match=r"it is cut, or has more than 1\.5 KiB"):
        unpack_controller(open_tree(str(base)), packed)
