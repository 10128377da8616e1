"""Calls of git and their output, on real repositories; and reftables, as far as an older git allows to test them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers.repositories import Nights, git, make_git, references, run

from ansible_collections.altbackup.core.plugins.module_utils.kinds.git_tool import Git, ask_head, read_references
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import ToolFailed
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.system.readers import UNCHANGED


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """Return a repository with a branch of a linked worktree, and a detached worktree."""
    path = make_git(tmp_path / "live.git")
    run("git", "worktree", "add", "--quiet", "--detach", tmp_path / "w", cwd=path)
    run("git", "worktree", "add", "--quiet", "-b", "topic", tmp_path / "t", cwd=path)
    return path


def called(folder: Path) -> Git:
    """Return the object that calls git on a repository."""
    return Git(str(folder), Deadline(60), UNCHANGED)


@pytest.mark.parametrize("name", ["HEAD", "worktrees/w/HEAD", "worktrees/t/HEAD"])
def test_git_says_of_heads_what_their_files_hold(live: Path, name: str) -> None:
    assert ask_head(called(live), name) == (live / name).read_bytes().strip()


@pytest.mark.parametrize("head", ["detached", "unborn"])
def test_git_says_what_odd_heads_hold(live: Path, head: str) -> None:
    if head == "detached":
        git(live, "update-ref", "--no-deref", "HEAD", "main")
    else:
        git(live, "symbolic-ref", "HEAD", "refs/heads/unborn")
    assert ask_head(called(live)) == (live / "HEAD").read_bytes().strip()
    assert read_references(called(live), table=True) == read_references(called(live))


def test_head_that_there_is_not_is_an_error(live: Path) -> None:
    with pytest.raises(ToolFailed):
        ask_head(called(live), "worktrees/gone/HEAD")


def test_version(live: Path) -> None:
    said = run("git", "version").split()[2]
    assert said.startswith(".".join(map(str, called(live).version())))


def test_settings_of_a_worktree_that_is_not_there_do_not_matter(live: Path) -> None:
    git(live, "config", "core.bare", "false")
    git(live, "config", "core.worktree", "/nonexistent/elsewhere")
    with pytest.raises(ToolFailed):
        called(live).run("for-each-ref")
    assert called(live).settings()["core.worktree"] == "/nonexistent/elsewhere"
    assert read_references(called(live).at_home()).lines


def test_settings_of_a_main_worktree_are_seen_too(live: Path) -> None:
    git(live, "config", f"--file={live}/config.worktree", "core.worktree", "/nonexistent/elsewhere")
    assert called(live).settings()["core.worktree"] == "/nonexistent/elsewhere"


def test_copy_of_a_repository_with_a_table_has_its_references_in_files(
    tmp_path: Path, live: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A git before 2.45 ignores the setting in a repository of the oldest format: it stands for one that knows reftables."""
    git(live, "config", "core.repositoryFormatVersion", "0")
    git(live, "config", "extensions.refStorage", "reftable")
    nights = Nights(tmp_path)
    item = {"kind": "git", "name": "toy", "path": str(live)}
    here = ".".join(map(str, called(live).version()))
    if called(live).version() < (2, 45):
        reason = nights.failure(item)
        assert f"{live} keeps its references in a form other than files (reftable)" in reason
        assert f"which git reads from 2.45 on; here is git {here}: install a newer one" in reason
    monkeypatch.setattr(Git, "version", lambda self: (2, 45, 0))
    first = nights.tarball(item)
    copy = nights.unpack(first)
    assert any("in a table (reftable): the copy has them in files, without reflogs" in note for note in nights.notes)
    assert references(copy) == references(live)
    assert "refstorage" not in git(copy, "config", "--list")
    for name in ("w", "t"):
        assert (copy / "worktrees" / name / "HEAD").read_bytes() == (live / "worktrees" / name / "HEAD").read_bytes()
    assert (copy / "config").stat().st_uid == os.geteuid()
    assert nights.tarball(item, night=2).stat().st_ino == first.stat().st_ino
