"""What could be backed up: what is found below folders, how deep, and that what cannot be looked into is told."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import bound_by_modes

from ansible_collections.altbackup.core.plugins.module_utils.stages import survey as room
from ansible_collections.altbackup.core.plugins.module_utils.stages.survey import survey
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline


def found_below(*below: Path | str, folders: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return what there is."""
    return survey([str(path) for path in below], folders, Deadline(30, "survey"))


def make_git(path: Path) -> Path:
    """Make the least of what passes for a bare repository."""
    for name in ("refs", "objects"):
        (path / name).mkdir(parents=True)
    (path / "HEAD").write_text("ref: refs/heads/main\n")
    return path


def paths(found: dict[str, Any]) -> list[str]:
    return [entry["path"] for entry in found["repositories"]]


@pytest.mark.parametrize(
    ("place", "is_found"),
    [
        ("x.git", True),
        ("a/b/c/x.git", True),
        ("a/b/c/d/x.git", False),
        (".hidden/x.git", False),
        ("node_modules/x.git", False),
        ("proc/x.git", False),
        ("lost+found/x.git", False),
        (".altbackup/x.git", False),
    ],
)
def test_repositories_are_looked_for_four_folders_deep(tmp_path: Path, place: str, is_found: bool) -> None:
    make_git(tmp_path / place)
    found = found_below(tmp_path)
    assert paths(found) == ([str(tmp_path / place)] if is_found else [])
    assert (found["unseen"], found["cut"]) == ([], False)


def test_kinds_are_told_apart_and_each_is_found_once(tmp_path: Path) -> None:
    git = make_git(tmp_path / "git")
    subprocess.run(["svnadmin", "create", tmp_path / "svn"], check=True)
    found = found_below(tmp_path, tmp_path, f"{tmp_path}/", git)
    kinds = sorted((entry["kind"], os.path.basename(entry["path"])) for entry in found["repositories"])
    assert set(kinds) == {("git", "git"), ("svn", "svn")}


def test_a_repository_of_mercurial_has_a_folder_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "project" / ".hg").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / ".hg").symlink_to(tmp_path / "project" / ".hg")
    assert found_below(tmp_path)["repositories"] == [{"kind": "hg", "path": str(tmp_path / "project")}]


def test_a_folder_that_is_given_may_be_a_repository_and_links_are_not_followed(tmp_path: Path) -> None:
    git = make_git(tmp_path / "git")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "git").symlink_to(git)
    assert paths(found_below(git)) == [str(git)]
    assert paths(found_below(tmp_path / "links")) == []


@pytest.mark.parametrize("below", ["none", "file"])
def test_what_is_not_there_or_no_folder_has_nothing(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").touch()
    found = found_below(tmp_path / below, folders=(str(tmp_path / below), str(tmp_path), f"{tmp_path}/"))
    assert (found["repositories"], found["unseen"], found["folders"]) == ([], [], [str(tmp_path)])


def test_paths_that_there_cannot_be_are_told_and_hold_up_nothing(tmp_path: Path) -> None:
    git = make_git(tmp_path / "git")
    found = found_below("/a\0b", tmp_path, folders=("/a\0b",))
    assert (paths(found), found["unseen"], found["folders"]) == ([str(git)], ["/a\0b"], [])


def test_a_repository_whose_name_is_no_text_is_told_and_left_out(tmp_path: Path) -> None:
    make_git(Path(os.fsdecode(os.fsencode(tmp_path) + b"/odd\xff")))
    found = found_below(tmp_path)
    assert (paths(found), found["unseen"]) == ([], [f"{tmp_path}/odd\\xff"])


def test_a_folder_that_cannot_be_entered_is_told(tmp_path: Path) -> None:
    git = make_git(tmp_path / "open")
    (tmp_path / "sealed").mkdir(mode=0o000)
    with bound_by_modes():
        found = found_below(tmp_path)
    assert (paths(found), found["unseen"]) == ([str(git)], [str(tmp_path / "sealed")])


@pytest.mark.parametrize(("limit", "value"), [("_MOST_FOLDERS", 3), ("_MOST_FOUND", 2)])
def test_where_there_is_too_much_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    for number in range(5):
        make_git(tmp_path / str(number))
    assert found_below(tmp_path)["cut"] is False
    monkeypatch.setattr(room, limit, value)
    found = found_below(tmp_path)
    assert found["cut"] is True
    assert len(found["repositories"]) <= value
