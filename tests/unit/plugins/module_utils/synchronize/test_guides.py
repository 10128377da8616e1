"""The guides beside the sources' trees, as module tarball_prepare keeps them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import DAY, marked, reasons, run_module, tree_hash

from ansible_collections.altbackup.core.plugins.plugin_utils.calls.backup_options import guides

ROLE = Path(__file__).resolve().parents[5] / "roles" / "synchronize"
GUIDES = {"RESTORE.txt": "Réad {{ this }} {# first #}\r\n", "restore.sh": "#!/bin/sh\n"}


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A target's base."""
    return marked(tmp_path / "target")


def prepare(target: Path, source: str = "dayabay", guides: dict[str, str] = GUIDES, **options: Any) -> dict[str, Any]:
    """Run the module on a source's tree."""
    return run_module("tarball_prepare", base=str(target / source), tarballs=[], day=DAY, guides=guides, **options)


def test_texts_are_written_once_for_all_sources_and_only_if_they_differ(target: Path) -> None:
    assert prepare(target)["changed"]
    assert {name: (target / name).read_bytes().decode() for name in GUIDES} == GUIDES
    assert {(target / name).stat().st_mode & 0o777 for name in GUIDES} == {0o600}
    before = {name: (target / name).stat().st_ino for name in GUIDES}
    for source in ("dayabay", "lingao"):
        assert not prepare(target, source)["changed"]
    assert {name: (target / name).stat().st_ino for name in GUIDES} == before
    assert prepare(target, "lingao", {**GUIDES, "restore.sh": "#!/bin/sh\nexit\n"})["changed"]
    assert (target / "restore.sh").read_text() == "#!/bin/sh\nexit\n"
    assert (target / "RESTORE.txt").stat().st_ino == before["RESTORE.txt"]


def test_nothing_but_the_texts_stands_beside_the_trees(target: Path) -> None:
    prepare(target)
    assert sorted(os.listdir(target)) == [".altbackup", "RESTORE.txt", "dayabay", "restore.sh"]
    assert not [path for path in (target / ".altbackup").rglob("*") if path.name in GUIDES]


def test_check_mode_writes_nothing(target: Path) -> None:
    before = tree_hash(target)
    assert not prepare(target, check=True)["changed"]
    assert tree_hash(target) == before


@pytest.mark.parametrize("name", ["other.txt", "../restore.sh", "dayabay/restore.sh", ".altbackup", ""])
@pytest.mark.parametrize("check", [False, True])
def test_no_other_file_is_written(target: Path, name: str, check: bool) -> None:
    result = prepare(target, guides={name: "x"}, check=check)
    assert "is none of RESTORE.txt, restore.sh" in result["msg"]
    assert not [path for path in target.rglob("*") if path.name == "other.txt"]


def test_a_link_in_the_way_is_replaced_and_not_followed(target: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    (target / "restore.sh").symlink_to(victim)
    assert prepare(target)["changed"]
    assert victim.read_text() == "untouched"
    assert not (target / "restore.sh").is_symlink()


def test_a_text_that_cannot_be_written_is_a_failure_and_hinders_nothing_else(target: Path) -> None:
    (target / "restore.sh").mkdir()
    result = prepare(target, fail=False)
    (reason,) = reasons(result)
    assert "restore.sh" in reason
    assert (target / "RESTORE.txt").exists()
    assert (target / ".altbackup" / "incoming" / "dayabay").is_dir()


def test_what_a_target_is_handed_is_what_the_role_has() -> None:
    assert {path.name: path.read_text() for path in (ROLE / "files").iterdir()} == guides()
    assert sorted(guides()) == sorted(GUIDES)
