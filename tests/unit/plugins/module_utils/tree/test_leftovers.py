"""Leftovers are removed only in the private folder: links in it lead nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.trees import Base, describe_tree

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import BaseUnusable
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import TEMPORARY, open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.leftovers import remove_leftovers


def fill(folder: Path) -> Path:
    """Make a folder of files that would be removed."""
    for name in ("drill/file", f"{TEMPORARY}1-x", "cms01/svn.tar"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    return folder


def test_what_killed_runs_left_is_removed_and_told(tmp_path: Path) -> None:
    base = Base(tmp_path / "base").path
    private = base / ".altbackup"
    for name in ("tmp", "records", "state", "scratch", "outgoing", "trash"):
        fill(private / name)
    (private / "trash" / f"{TEMPORARY}1-x").unlink()
    notes = remove_leftovers(open_tree(str(base)))
    assert sorted(notes) == sorted(
        [
            *(
                f"removed {TEMPORARY}1-x, which a killed run left in {private / kind}"
                for kind in ("tmp", "records", "state")
            ),
            f"removed cms01/svn.tar, which an earlier run left in {private}/outgoing",
            f"removed drill/file, which an earlier run left in {private}/outgoing",
            f"removed {private}/scratch/drill, which a killed drill left",
            *(f"removed {private}/trash/{name}, which an earlier purge had left" for name in ("cms01", "drill")),
        ]
    )
    assert remove_leftovers(open_tree(str(base))) == []


@pytest.mark.parametrize("kind", ["rules", "noted", "hooks", "encryption", "stores", "quarantine", "origins"])
def test_what_had_no_name_yet_when_a_run_was_killed_is_removed_from_a_tree_of_a_target(
    tmp_path: Path, kind: str
) -> None:
    base = Base(tmp_path / "base").path
    (base / "dayabay").mkdir()
    folder = base / ".altbackup" / kind
    own = folder if kind == "origins" else folder / "dayabay"
    own.mkdir(parents=True)
    left = f"{TEMPORARY}1-{'dayabay' if kind == 'origins' else 'items'}"
    for path in (own / left, own / "items", folder / f"{TEMPORARY}1-cms01"):
        path.write_text("x")
    assert remove_leftovers(open_tree(str(base / "dayabay"))) == [f"removed {left}, which a killed run left in {own}"]
    assert (own / "items").exists() and (folder / f"{TEMPORARY}1-cms01").exists() and not (own / left).exists()


@pytest.mark.parametrize("kind", ["tmp", "records", "state", "scratch", "outgoing", "trash"])
def test_a_private_folder_that_is_a_link_is_told_and_nothing_behind_it_touched(tmp_path: Path, kind: str) -> None:
    base = Base(tmp_path / "base").path
    victim = fill(tmp_path / "victim")
    before = describe_tree(victim)
    (base / ".altbackup" / kind).symlink_to(victim)
    with pytest.raises(
        BaseUnusable, match=rf"{kind} is, or lies behind, a link or no folder: nothing in it was touched"
    ):
        remove_leftovers(open_tree(str(base)))
    assert describe_tree(victim) == before
