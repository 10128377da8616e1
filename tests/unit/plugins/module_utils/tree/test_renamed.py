"""A renamed source takes over what a target keeps of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers.original_trees import STAMP, marked, put

from ansible_collections.altbackup.core.plugins.module_utils.stages import preflight
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import BaseUnusable
from ansible_collections.altbackup.core.plugins.module_utils.tree import renamed
from ansible_collections.altbackup.core.plugins.module_utils.tree.arrivals import arrivals, note_arrival
from ansible_collections.altbackup.core.plugins.module_utils.tree.known import known_items, remember_held
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.locks import held
from ansible_collections.altbackup.core.plugins.module_utils.tree.origin import bind, origin_of, parse_origin
from ansible_collections.altbackup.core.plugins.module_utils.tree.pairs import count_purged, purged_number
from ansible_collections.altbackup.core.plugins.module_utils.tree.publish import read_record, write_record
from ansible_collections.altbackup.core.plugins.module_utils.tree.scan import scan

SVN = f"svn/dybsvn/{STAMP}/dybsvn-1.tar"
ORIGIN = {"name": "newbay", "base": "/home/scm/backup", "id": "1" * 32}


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A target's base with the tree of a source that was called oldbay."""
    base = marked(tmp_path / "copies")
    put(base, f"oldbay/{SVN}")
    (base / "oldbay" / "svn" / "dybsvn" / "last").symlink_to(STAMP)
    tree = open_tree(str(base / "oldbay"))
    with held(tree, None):
        write_record(tree, "svn/dybsvn", STAMP, {"revision": 1})
        note_arrival(tree, SVN, STAMP)
        remember_held(tree)
        count_purged(tree, 3)
        bind(tree, parse_origin({**ORIGIN, "name": "oldbay"}))
    return base


def take(target: Path, *former: str, origin: dict[str, str] | None = None) -> list[str]:
    """Take over newbay's tree from former names; return the notes."""
    return preflight.take(str(target / "newbay"), None, former, parse_origin(ORIGIN if origin is None else origin))


def require_taken(target: Path) -> None:
    """Assert that everything is under the new name, and nothing under the old one."""
    tree = open_tree(str(target / "newbay"))
    assert [tarball.relpath for tarball in scan(tree).verified()] == [SVN]
    assert read_record(tree, "svn/dybsvn", STAMP) == {"revision": 1}
    assert (arrivals(tree, "svn/dybsvn"), known_items(tree), purged_number(tree)) == ({SVN: STAMP}, {"svn/dybsvn"}, 3)
    known = origin_of(tree)
    assert known is not None and known.id == ORIGIN["id"]
    assert os.readlink(target / "newbay" / "svn" / "dybsvn" / "last") == STAMP
    assert [str(path) for path in target.rglob("oldbay") if "locks" not in path.parts] == []


def test_a_renamed_source_has_its_history_on_the_target(target: Path) -> None:
    (note,) = take(target, "older", "oldbay")
    assert "newbay was called oldbay before" in note
    require_taken(target)
    assert take(target, "older", "oldbay") == []


def test_a_killed_call_is_completed_by_the_next(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, killed = os.rename, 0
    for limit in range(10):
        left = [limit]

        def counted(old: str, new: str, left: list[int] = left) -> None:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            real(old, new)

        with monkeypatch.context() as patch:
            patch.setattr(renamed.os, "rename", counted)
            try:
                take(target, "oldbay")
            except KeyboardInterrupt:
                killed += 1
    assert killed == 3, "each goes on where the one before was killed"
    require_taken(target)


@pytest.mark.parametrize("names", [("oldbay",), ("oldbay", "older")])
def test_two_histories_are_never_made_one(target: Path, names: tuple[str, ...]) -> None:
    other = "newbay" if len(names) == 1 else "older"
    put(target, f"{other}/{SVN}")
    with pytest.raises(BaseUnusable, match="two histories are never made one") as told:
        take(target, *names)
    for name in ("oldbay", other):
        assert str(target / name) in str(told.value)
        assert (target / name / SVN).exists()
    assert (target / ".altbackup" / "arrivals" / "oldbay").is_dir()


def test_state_of_both_names_is_a_failure_and_nothing_is_lost(target: Path) -> None:
    other = target / ".altbackup" / "origins" / "newbay"
    other.write_text((target / ".altbackup" / "origins" / "oldbay").read_text())
    with pytest.raises(BaseUnusable, match="look at both"):
        take(target, "oldbay")
    assert (target / "oldbay" / SVN).exists()
    assert (target / ".altbackup" / "arrivals" / "oldbay").is_dir(), (
        "nothing is moved before it is known that all can be"
    )
    other.unlink()
    take(target, "oldbay")
    require_taken(target)


def test_the_tree_of_another_source_is_not_taken_over(target: Path) -> None:
    with pytest.raises(BaseUnusable, match="another source"):
        take(target, "oldbay", origin={**ORIGIN, "id": "2" * 32})
    assert take(target, "oldbay", origin={}) == [], "of which the id is not known"
    assert (target / "oldbay" / SVN).exists()


def test_without_a_former_name_nothing_is_taken(target: Path) -> None:
    assert take(target) == [] and take(target, "newbay", "nobody") == []
    assert not (target / "newbay").exists()
