"""Module tarball_drill_away: tarballs of one node are proved in a temporary tree, which is removed afterwards."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers.drills import FOLDER, KINDS, SVN, Copies, add_differential, recompute
from helpers.original_trees import put, reasons, run_module, tree_hash
from helpers.trees import FIRST, NOBODY, needs_root, small_disk

from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.proof_files import proved_at
from ansible_collections.altbackup.core.plugins.module_utils.tree.scan import scan

RUN = {
    "controller": "hub",
    "user": "scm",
    "command": "drill",
    "started": "now",
    "host": "1",
    "boot": "2",
    "namespace": "3",
    "pid": 4,
    "ticks": 5,
    "seconds": 600,
}


@pytest.fixture
def base(every_kind: Copies, tmp_path: Path) -> Path:
    """Return a target's tree with one tarball of each kind."""
    return every_kind.copy(tmp_path / "copies").base


@pytest.fixture
def away(tmp_path: Path) -> Path:
    """Return the path of the temporary tree."""
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch" / ".altbackup-drill-cms01-dayabay"


def step(name: str, base: Path, *, check: bool = False, **options: Any) -> dict[str, Any]:
    """Run a step of the module."""
    return run_module("tarball_drill_away", check=check, step=name, base=str(base), fail=False, **options)


def bring(base: Path, away: Path, chosen: list[dict[str, Any]]) -> None:
    """Copy the chosen tarballs to the temporary tree, which is made."""
    assert step("make", away, size=1000)["failures"] == []
    for entry in chosen:
        for part in entry["tarballs"]:
            if (base / part["relpath"]).exists():
                (away / part["relpath"]).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(base / part["relpath"], away / part["relpath"])


@pytest.mark.full
def test_every_kind_is_proved_elsewhere_and_the_proof_kept(base: Path, away: Path) -> None:
    before = tree_hash(base.parent)
    chosen = step("choose", base)
    assert chosen == {**step("choose", base, check=True)} and not chosen["changed"]
    assert {entry["record"]["kind"] for entry in chosen["chosen"]} == set(KINDS)
    bring(base, away, chosen["chosen"])
    result = step("drill", away, chosen=chosen["chosen"])
    assert result["failures"] == [] and len(result["proved"]) == len(KINDS)
    assert not list(away.parent.iterdir()) and tree_hash(base.parent) == before
    assert step("keep", base, check=True, proofs=result["proved"])["failures"] == []
    assert tree_hash(base.parent) == before
    kept = step("keep", base, proofs=result["proved"])
    assert kept["proved"] == result["proved"] and kept["changed"]
    tree = open_tree(str(base))
    assert all(proved_at(tree, tarball) > 0 for tarball in scan(tree).verified())
    local = run_module("tarball_drill", base=str(base), names=["svn/thing"])["proved"][0]
    proof = json.loads((base / f"{SVN}.proof").read_text())
    assert proof.keys() == {key for key in local if key not in ("relpath", "category", "name")}


def test_bad_and_missing_ones_keep_no_other_from_being_proved(base: Path, away: Path) -> None:
    damaged = base / SVN
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    recompute(damaged)
    chosen = step("choose", base)["chosen"]
    (base / FOLDER).unlink()
    bring(base, away, chosen)
    result = step("drill", away, chosen=chosen)
    assert len(result["proved"]) == len(KINDS) - 2
    missing, wrong = reasons(result)
    assert missing == f"{FOLDER}: it did not arrive on the scratch host, so nothing of it was proved"
    assert wrong.startswith(f"{SVN}: it does not match what its dump recorded")
    assert not list(away.parent.iterdir())


def test_a_differential_needs_its_full(base: Path, away: Path, tmp_path: Path) -> None:
    full, diff = add_differential(base, tmp_path)
    chosen = step("choose", base, names=["folders/pair"])["chosen"]
    assert [part["relpath"] for part in chosen[0]["tarballs"]] == [full, diff]
    bring(base, away, chosen)
    (proved,) = step("drill", away, chosen=chosen)["proved"]
    assert proved["relpath"] == diff and proved["facts"]["bytes"] == 3
    content = (base / full).read_bytes()
    (base / full).unlink()
    bring(base, away, chosen)
    result = step("drill", away, chosen=chosen)
    assert "is missing or not verified" in reasons(result)[0] and result["proved"] == []
    put(base, full, content, dna=None)
    (base / diff).unlink()
    bring(base, away, chosen)
    result = step("drill", away, chosen=chosen)
    assert "did not arrive" in reasons(result)[0] and result["proved"] == []
    put(base, diff, b"other")
    (base / f"{full}.dna").unlink()
    result = step("choose", base, names=["folders/pair"])
    assert result["chosen"] == [] and "no verified tarball of folders/pair" in reasons(result)[0]


@needs_root
def test_too_little_room_is_told_with_the_numbers(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=66m") as disk:
        away = disk / ".altbackup-drill-cms01-dayabay"
        for check in (True, False):
            (reason,) = reasons(step("make", away, check=check, size=3 << 20))
            assert reason.startswith(
                f"3.0 MiB are needed for the tarballs to drill, and 64 MiB have to stay free, but only 66 MiB are free in {disk}: 1.0 MiB are lacking: "
            )
        assert not list(disk.iterdir())
        assert step("make", away, check=True, size=1 << 20)["failures"] == [] and not list(disk.iterdir())


@needs_root
@pytest.mark.parametrize("name", ["make", "drill", "abandon"])
def test_a_tree_of_another_user_is_neither_used_nor_removed(away: Path, name: str) -> None:
    (away / ".altbackup").mkdir(parents=True)
    away.chmod(0o700)
    os.chown(away, NOBODY, NOBODY)
    assert "belongs" in reasons(step(name, away, size=1, chosen=[]))[0]
    assert (away / ".altbackup").exists()


@pytest.mark.parametrize("name", ["make", "drill", "abandon"])
def test_only_temporary_trees_are_made_and_removed(base: Path, name: str) -> None:
    before = tree_hash(base.parent)
    assert "is not the absolute path of a temporary tree" in reasons(step(name, base))[0]
    assert tree_hash(base.parent).keys() >= before.keys()


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert "is no folder on this host" in reasons(step("make", tmp_path / "none" / ".altbackup-drill-x"))[0]


def test_a_path_that_leads_out_of_the_tree_is_refused_and_the_tree_removed(base: Path, away: Path) -> None:
    chosen = step("choose", base, names=["svn/thing"])["chosen"]
    bring(base, away, chosen)
    chosen[0]["tarballs"][0]["relpath"] = f"svn/thing/{FIRST}/../../../../../../../x"
    assert "is not <category>/<name>/" in reasons(step("drill", away, chosen=chosen))[0]
    assert not away.exists()


def test_a_file_that_is_no_key_leaves_nothing_behind_and_one_that_is_not_there_hinders_nothing(
    base: Path, away: Path
) -> None:
    chosen = step("choose", base, names=["folders/thing"])["chosen"]
    for file, proved in ((away.parent, 0), (away.parent / "not here", 1)):
        bring(base, away, chosen)
        result = step("drill", away, chosen=chosen, identity_file=str(file))
        assert len(result["proved"]) == proved, result
        assert bool(result["failures"]) is not bool(proved)
        assert not list(away.parent.iterdir())
