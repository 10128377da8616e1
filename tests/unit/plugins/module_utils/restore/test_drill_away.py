"""Drills on a scratch host, step by step: what is chosen, the owner of a temporary tree, and which proofs are kept."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.drills import add_differential
from helpers.original_trees import marked, put, reasons
from helpers.trees import FIRST, SECOND

from ansible_collections.altbackup.core.plugins.module_utils.restore.drill_away import (
    abandon_away,
    choose_away,
    keep_proofs,
    make_away,
)
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput, Locked
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.locks import Run
from ansible_collections.altbackup.core.plugins.module_utils.tree.proof_files import proved_at
from ansible_collections.altbackup.core.plugins.module_utils.tree.publish import write_record
from ansible_collections.altbackup.core.plugins.module_utils.tree.scan import scan
from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import Moment

NOW = Moment(SECOND, SECOND)
RUN = Run("hub", "scm", "drill", "now", "1", "2", "3", 4, 5, 600)
SVN, FOLDER = f"svn/thing/{FIRST}/thing-12.tar", f"folders/thing/{FIRST}/thing.tar"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A base with a tarball of each of two items, one of which has a record."""
    base = marked(tmp_path / "dayabay")
    put(base, SVN, b"svn")
    put(base, FOLDER, b"folder")
    write_record(open_tree(str(base)), "svn/thing", FIRST, {"kind": "svn"})
    return base


@pytest.fixture
def away(tmp_path: Path) -> Path:
    """The path of the temporary tree."""
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch" / ".altbackup-drill-cms01-dayabay"


def choose(base: Path, *names: str, share: float = 1.0) -> dict[str, Any]:
    """Choose what to drill elsewhere, of all items or of some."""
    return choose_away(str(base), list(names) or None, share, NOW)


def proof_of(base: Path, relpath: str) -> dict[str, Any]:
    """Return a proof of a tarball, as made by another host."""
    dna = json.loads((base / f"{relpath}.dna").read_text())
    rest = {"kind": "", "when": "2013-05-10T10:47:01Z", "seconds": 1.0, "facts": {}, "versions": {}, "notes": []}
    return {"relpath": relpath, "stamp": FIRST, **dna, **rest}


def test_what_is_chosen_bears_all_that_the_other_host_needs(base: Path) -> None:
    result = choose(base)
    assert (result["changed"], result["failures"], result["left"]) == (False, [], [])
    chosen = {entry["relpath"]: entry for entry in result["chosen"]}
    assert chosen.keys() == {SVN, FOLDER}
    assert (chosen[SVN]["record"], chosen[FOLDER]["record"]) == ({"kind": "svn"}, {})
    (part,) = chosen[SVN]["tarballs"]
    assert part == {"relpath": SVN, "size": 3, "dna": (base / f"{SVN}.dna").read_text()}


def test_a_share_is_chosen_by_the_age_of_proofs(base: Path) -> None:
    keep_proofs(str(base), [proof_of(base, SVN)])
    result = choose(base, share=0.5)
    assert ([entry["relpath"] for entry in result["chosen"]], result["left"]) == ([FOLDER], [SVN])
    assert "no verified tarball of svn/other" in reasons(choose(base, "svn/other"))[0]


def test_a_differential_is_chosen_with_its_full(base: Path, tmp_path: Path) -> None:
    full, differential = add_differential(base, tmp_path)
    (entry,) = choose(base, "folders/pair")["chosen"]
    assert (entry["relpath"], [part["relpath"] for part in entry["tarballs"]]) == (differential, [full, differential])
    (base / f"{full}.dna").unlink()
    result = choose(base, "folders/pair", "svn/thing")
    assert [entry["relpath"] for entry in result["chosen"]] == [SVN]
    assert reasons(result) == [
        f"{differential}: its full tarball {full} is missing or not verified: it cannot be restored"
    ]


def test_proofs_are_kept_of_what_is_still_the_tarball_that_was_drilled(base: Path) -> None:
    proofs = [proof_of(base, relpath) for relpath in (SVN, FOLDER)]
    put(base, SVN, b"another")
    result = keep_proofs(str(base), proofs)
    assert (result["changed"], result["proved"]) == (True, proofs[1:])
    assert reasons(result) == [f"{SVN}: it is no longer the tarball that was drilled, so its proof was not kept"]
    tree = open_tree(str(base))
    found = {tarball.relpath: proved_at(tree, tarball) > 0 for tarball in scan(tree).verified()}
    assert found == {SVN: False, FOLDER: True}
    assert keep_proofs(str(base), proofs[:1])["changed"] is False


def test_a_temporary_tree_is_made_for_one_run_and_what_a_killed_one_left_is_removed(away: Path) -> None:
    assert make_away(str(away), 1000, RUN, check_mode=True)["changed"] and not away.exists()
    assert make_away(str(away), 1000, RUN)["notes"] == []
    (away / "file").write_text("x")
    with pytest.raises(Locked, match="is in use by another run"):
        make_away(str(away), 1000, replace(RUN, host="another"))
    assert (away / "file").exists()
    later = replace(RUN, pid=7, ticks=8)
    assert make_away(str(away), 1000, later)["notes"] == [f"removed {away}, which a killed drill left"]
    assert os.listdir(away) == [".altbackup"]
    assert abandon_away(str(away))["changed"] and not away.exists()
    away.mkdir(mode=0o700)
    assert make_away(str(away), 1000, RUN)["notes"] == [f"removed {away}, which a killed drill left"]


@pytest.mark.parametrize("name", ["dayabay", ".altbackup", "altbackup-drill-x"])
def test_only_a_temporary_tree_is_ever_removed(away: Path, name: str) -> None:
    path = away.parent / name
    path.mkdir()
    for step in (lambda: make_away(str(path), 1, RUN), lambda: abandon_away(str(path))):
        with pytest.raises(InvalidInput, match="is not the absolute path of a temporary tree"):
            step()
    assert path.is_dir()
