"""The copy of one Git repository: references of one moment, and everything reachable from them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers.repositories import git, make_git, references

from ansible_collections.altbackup.core.plugins.module_utils.kinds import git_copy
from ansible_collections.altbackup.core.plugins.module_utils.kinds.base import Context
from ansible_collections.altbackup.core.plugins.module_utils.kinds.git_copy import Copied, assemble, copy_repository
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput, SourceChanged
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import Tree

CONTEXT = Context(Tree("", ""), "", Deadline())


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """Return a repository."""
    return make_git(tmp_path / "live.git")


def copied(live: Path, scratch: Path) -> Copied:
    """Copy a repository into a new folder."""
    place = scratch / "copy"
    place.mkdir(parents=True)
    return copy_repository(str(live), "", [""], str(scratch), str(place), CONTEXT)


def test_a_copy_is_equal_and_put_in_its_place(tmp_path: Path, live: Path) -> None:
    (live / "hooks").mkdir(exist_ok=True)
    (live / "hooks" / "post-update").write_text("#!/bin/sh\n")
    found = copied(live, tmp_path / "scratch")
    assert found.record == {"references": found.references.digest, "count": 5}
    assemble(found, CONTEXT)
    copy = tmp_path / "scratch" / "copy"
    assert references(copy) == references(live)
    git(copy, "fsck", "--full", "--strict")
    assert (copy / "hooks" / "post-update").read_text() == "#!/bin/sh\n"
    assert os.listdir(tmp_path / "scratch") == ["copy"]


def test_a_reference_to_nothing_is_named(tmp_path: Path, live: Path) -> None:
    (live / "refs" / "heads" / "lost").write_text("1" * 40 + "\n")
    with pytest.raises(InvalidInput, match=f"refs/heads/lost .{'1' * 40}.*git fetch"):
        copied(live, tmp_path / "scratch")


def test_references_that_never_stand_still_are_worth_another_try(
    tmp_path: Path, live: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, names = git_copy.read_references, iter(["main", "side"] * 10)

    def moving(*arguments: object, **options: object) -> object:
        git(live, "update-ref", "refs/heads/moving", next(names))
        return real(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(git_copy, "_ATTEMPTS", 2)
    monkeypatch.setattr(git_copy, "read_references", moving)
    with pytest.raises(SourceChanged, match="its references changed each of 2 times"):
        copied(live, tmp_path / "scratch")


@pytest.mark.parametrize("held", [True, False])
def test_a_lock_that_is_held_is_waited_for_and_an_old_one_is_told(
    tmp_path: Path, live: Path, held: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_copy, "_ATTEMPTS", 2)
    lock = live / "refs" / "heads" / "main.lock"
    lock.write_text("")
    if held:
        with pytest.raises(SourceChanged):
            copied(live, tmp_path / "scratch")
        return
    os.utime(lock, (1, 1))
    (note,) = copied(live, tmp_path / "scratch").notes
    assert note == f"{lock} is a lock that a killed git left: nobody can push there"
