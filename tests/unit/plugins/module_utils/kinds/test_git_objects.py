"""Transfer of a repository's objects into a fresh one, with real git."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.repositories import git, make_git, run

from ansible_collections.altbackup.core.plugins.module_utils.kinds.git_objects import (
    are_promised,
    existing,
    is_partial,
    looked_through,
    require_whole,
    transfer_present,
    transfer_reachable,
    whole,
)
from ansible_collections.altbackup.core.plugins.module_utils.kinds.git_tool import Git
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import ToolFailed
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.system.readers import UNCHANGED

NOWHERE = b"1" * 40


def called(folder: Path) -> Git:
    """Return the object that calls git on a repository."""
    return Git(str(folder), Deadline(60), UNCHANGED)


def head(folder: Path) -> bytes:
    """Return the commit of `main`."""
    return git(folder, "rev-parse", "main").strip().encode()


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """Return a repository."""
    return make_git(tmp_path / "live.git", 2)


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """Return an empty repository."""
    run("git", "init", "--bare", "--quiet", tmp_path / "fresh.git")
    return tmp_path / "fresh.git"


@pytest.fixture
def broken(live: Path) -> tuple[Path, bytes]:
    """Return a repository with a commit whose tree is missing, and that commit."""
    tree = git(
        live,
        "mktree",
        input=f"100644 blob {git(live, 'hash-object', '-w', '--stdin', input=b'lost').strip()}\tf\n".encode(),
    )
    commit = git(live, "commit-tree", "-m", "lost", tree.strip())
    (live / "objects" / tree[:2] / tree[2:].strip()).unlink()
    return live, commit.strip().encode()


def test_those_that_there_are(live: Path) -> None:
    assert existing(called(live), [head(live), NOWHERE]) == {head(live)}
    assert existing(called(live), []) == set()


def test_of_what_nothing_leads_to_only_the_whole_is_taken(broken: tuple[Path, bytes]) -> None:
    live, lost = broken
    assert whole(called(live), {head(live), lost}, set()) == {head(live)}
    assert whole(called(live), {lost}, {lost}) == {lost}
    require_whole(called(live), {head(live)})
    with pytest.raises(ToolFailed):
        require_whole(called(live), {lost})


def test_all_that_is_reachable_comes_to_the_fresh_repository(live: Path, fresh: Path) -> None:
    transfer_reachable(called(live), called(fresh), {head(live)})
    git(fresh, "fsck", "--full", "--strict")
    listing = [git(folder, "rev-list", "--objects", head(live).decode()) for folder in (live, fresh)]
    assert listing[0] == listing[1] and not list(fresh.glob("*.tmp"))
    assert not is_partial(str(fresh / "objects"))


def test_what_is_missing_is_found_and_the_rest_comes_with_the_promise_of_more(
    broken: tuple[Path, bytes], fresh: Path, tmp_path: Path
) -> None:
    live, lost = broken
    assert not are_promised(called(live), {lost})
    with looked_through(called(live), {lost}, str(tmp_path)) as (present, missing):
        assert len(missing) == 1
        transfer_present(called(live), called(fresh), present)
    assert is_partial(str(fresh / "objects")) and are_promised(called(fresh), {lost})
    assert existing(called(fresh), {lost, *missing}) == {lost}
    assert not list(tmp_path.glob("*.tmp"))
