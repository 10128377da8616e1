"""A node's findings for a restore: its tarballs, their owner, and why a tree offers none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.drills import add_differential
from helpers.original_trees import marked, put
from helpers.trees import FIRST, SECOND

from ansible_collections.altbackup.core.plugins.module_utils.restore.find import find
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.locks import Run, held
from ansible_collections.altbackup.core.plugins.module_utils.tree.marks import keep_marks, marks_path
from ansible_collections.altbackup.core.plugins.module_utils.tree.origin import Origin, bind
from ansible_collections.altbackup.core.plugins.module_utils.tree.owner import Owner, identify
from ansible_collections.altbackup.core.plugins.module_utils.tree.publish import write_record
from ansible_collections.altbackup.core.plugins.module_utils.tree.sidecar import parse

RUN = Run("control", "scm", "ansible-playbook backup.yml", "now", "another host", "b", "n", 1, 1, 3600.0)
ORIGIN = Origin("dayabay", "/backup", "0" * 32)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A source's base with two tarballs of an item, the older one with a record, and one of another item."""
    base = marked(tmp_path / "dayabay")
    for relpath in (f"svn/a/{SECOND}/a-2.tar", f"svn/a/{FIRST}/a-1.tar", f"folders/b/{FIRST}/b.tar"):
        put(base, relpath)
    write_record(open_tree(str(base)), "svn/a", FIRST, {"kind": "svn"})
    return base


def found_in(base: Path, *keys: str, run: Run | None = None, **more: Any) -> dict[str, Any]:
    """Return a tree's findings on some items."""
    result = find([{"source": "dayabay", "base": str(base), "keys": list(keys), **more}], run)
    assert (result["changed"], result["failures"]) == (False, [])
    (tree,) = result["trees"]
    assert (tree["source"], tree["base"]) == ("dayabay", str(base))
    return dict(tree)


def test_the_tarballs_of_the_items_are_told_newest_last_with_their_records(base: Path) -> None:
    found = found_in(base, "svn/a")
    assert [(entry["relpath"], entry["record"]) for entry in found["tarballs"]] == [
        (f"svn/a/{FIRST}/a-1.tar", {"kind": "svn"}),
        (f"svn/a/{SECOND}/a-2.tar", {}),
    ]
    assert {entry["state"] for entry in found["tarballs"]} == {"verified"}
    assert (found["keys"], found["problem"]) == (["folders/b", "svn/a"], ""), "all items, to tell the nearest one"


def test_what_is_not_verified_says_so(base: Path) -> None:
    (base / f"svn/a/{FIRST}/a-1.tar.dna").unlink()
    older, newer = found_in(base, "svn/a")["tarballs"]
    assert (older["dig"], newer["state"]) == ("", "verified") and older["state"] != "verified"


def test_a_differential_names_its_full(base: Path, tmp_path: Path) -> None:
    full, differential = add_differential(base, tmp_path)
    dig = parse((base / f"{full}.dna").read_text()).dig
    found = found_in(base, "folders/pair")["tarballs"]
    assert [(entry["relpath"], entry["base"], entry["base_dig"]) for entry in found] == [
        (full, "", ""),
        (differential, full.split("/", 2)[2], dig),
    ]


def test_a_tree_that_is_not_there_has_a_problem_and_the_others_are_found(base: Path, tmp_path: Path) -> None:
    trees = [{"source": "dayabay", "base": str(path), "keys": ["svn/a"]} for path in (tmp_path / "nothing", base)]
    missing, there = find(trees, None)["trees"]
    assert "has no marker .altbackup/" in missing["problem"] and missing["tarballs"] == []
    assert len(there["tarballs"]) == 2


def test_a_tree_is_not_offered_while_another_run_has_it(base: Path) -> None:
    with held(open_tree(str(base)), RUN):
        pass
    taken = found_in(base, "svn/a")
    assert "is in use by another run" in taken["problem"] and taken["tarballs"] == []
    assert found_in(base, "svn/a", run=RUN)["problem"] == ""


def test_whose_tree_it_is_is_told_and_that_of_another_source_is_not_offered(base: Path) -> None:
    assert found_in(base, own=True)["origin"] == {}, "no run has marked it yet"
    known = identify(open_tree(str(base)), Owner("source", "dayabay"), claim=True)
    assert found_in(base, own=True)["origin"] == {"base": str(base), "id": known["id"]}
    (entry,) = find([{"source": "lingao", "base": str(base), "keys": ["svn/a"], "own": True}], None)["trees"]
    assert "is the base of source dayabay" in entry["problem"] and entry["tarballs"] == []


def test_whose_copies_a_target_holds_is_told(tmp_path: Path) -> None:
    copies = marked(tmp_path / "copies") / "dayabay"
    put(copies, f"svn/a/{FIRST}/a-1.tar")
    assert found_in(copies, "svn/a")["origin"] == {}
    bind(open_tree(str(copies)), ORIGIN)
    assert found_in(copies, "svn/a")["origin"] == {"base": "/backup", "id": "0" * 32}


def test_up_to_where_suspects_are_accepted_is_told_and_damaged_marks_stop_no_restore(base: Path) -> None:
    assert found_in(base, "svn/a")["accepted"] == {}
    keep_marks(open_tree(str(base)), {"accepted": {"svn/a": FIRST}})
    assert found_in(base, "svn/a")["accepted"] == {"svn/a": FIRST}
    Path(marks_path(open_tree(str(base)))).write_text("{")
    found = found_in(base, "svn/a")
    assert (found["accepted"], found["problem"], len(found["tarballs"])) == ({}, "", 2)
