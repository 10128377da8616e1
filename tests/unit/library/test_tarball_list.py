"""Module tarball_list, in process on real files: it lists a tree, and changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import DAY, STAMP, is_as_documented, marked, put, reasons, run_module, tree_hash

from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.marks import keep_marks, marks_path
from ansible_collections.altbackup.core.plugins.module_utils.tree.proof_files import write_proof
from ansible_collections.altbackup.core.plugins.module_utils.tree.publish import write_record
from ansible_collections.altbackup.core.plugins.module_utils.tree.scan import scan

SVN, FOLDER = f"svn/dybsvn/{STAMP}/dybsvn-1.tar", "folders/svnsetup/2013/05/09/104701/svnsetup.tar"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Return a base with a tarball of each of two days, of which the later has no sidecar."""
    base = marked(tmp_path / "dayabay")
    put(base, SVN, dna=None)
    put(base, FOLDER)
    return base


def call(base: Path, **options: Any) -> dict[str, Any]:
    """Run the module."""
    return run_module("tarball_list", base=str(base), **options)


@pytest.mark.parametrize("check", [False, True])
def test_all_that_lies_there_is_listed_newest_last_with_its_state(base: Path, check: bool) -> None:
    before = tree_hash(base)
    result = call(base, check=check)
    assert [(entry["relpath"], entry["state"]) for entry in result["tarballs"]] == [
        (FOLDER, "verified"),
        (SVN, "missing"),
    ]
    assert result["listed"] and not result["changed"] and not result["failures"]
    assert is_as_documented("tarball_list", result)
    assert tree_hash(base) == before


def test_a_day_can_be_asked_for(base: Path) -> None:
    assert [entry["relpath"] for entry in call(base, day=DAY)["tarballs"]] == [SVN]


@pytest.mark.parametrize(("expected", "missed"), [("2013/05/09", []), (DAY, [DAY])])
def test_a_day_without_a_verified_tarball_is_missed(base: Path, expected: str, missed: list[str]) -> None:
    result = call(base, expected=expected, fail=False)
    assert not result.get("failed")
    assert reasons(result) == [
        f"no verified tarball of {day} lies in {base}: if another day is meant, give altbackup_day" for day in missed
    ]
    assert len(result["tarballs"]) == 2


@pytest.mark.parametrize("records", [False, True])
def test_records_are_told_where_they_are_asked_for(base: Path, records: bool) -> None:
    assert [("record" in entry) for entry in call(base, records=records)["tarballs"]] == [records] * 2


@pytest.mark.parametrize(
    ("options", "why"), [({"day": "yesterday"}, "yesterday"), ({"base": "/nowhere"}, "/nowhere"), ({"stamp": "x"}, "x")]
)
def test_bad_input_is_a_clear_message_and_the_result_has_the_same_keys(
    base: Path, options: dict[str, Any], why: str
) -> None:
    result = run_module("tarball_list", **{"base": str(base), **options})
    assert result["failed"] and why in result["msg"]
    assert not result["listed"]
    assert is_as_documented("tarball_list", result)


def test_what_is_suspect_and_what_is_held_is_told(base: Path) -> None:
    tree = open_tree(str(base))
    key, stamp = "folders/svnsetup", "2013/05/09/104701"
    assert [{"suspect", "hold"} & set(entry) for entry in call(base)["tarballs"]] == [set(), set()]
    write_record(tree, key, stamp, {"suspect": ["entries fell from 1,204 to 3"]})
    keep_marks(tree, {"holds": {f"{key}/{stamp}": "before the move"}})
    first = call(base)["tarballs"][0]
    assert (first["suspect"], first["hold"]) == (["entries fell from 1,204 to 3"], "before the move")
    assert first["state"] == "verified", "its bytes are what they were"
    keep_marks(tree, {"accepted": {key: stamp}, "holds": {f"{key}/{stamp}": ""}})
    assert not {"suspect", "hold"} & set(call(base)["tarballs"][0])


def test_when_a_tarball_was_last_proved_to_restore_is_told(base: Path) -> None:
    tree = open_tree(str(base))
    (tarball,) = scan(tree).verified()
    dna = tarball.dna
    assert dna is not None
    proof = {"when": "2013-05-09T12:00:00Z", "dig": dna.dig, "size": dna.size, "alg": dna.alg}
    write_proof(tree, tarball, proof)
    assert [entry.get("proved") for entry in call(base)["tarballs"]] == ["2013-05-09T12:00:00Z", None]
    write_proof(tree, tarball, {**proof, "dig": "aa"})
    assert [entry.get("proved") for entry in call(base)["tarballs"]] == [None, None], "a proof of other bytes"


def test_how_much_is_free_is_told(base: Path) -> None:
    assert call(base)["free"] > 0


def test_where_marks_are_damaged_all_is_listed_and_that_is_a_failure(base: Path) -> None:
    path = Path(marks_path(open_tree(str(base))))
    path.parent.mkdir(parents=True)
    path.write_text("{")
    result = call(base, fail=False)
    assert (result["listed"], len(result["tarballs"])) == (True, 2)
    assert str(path) in reasons(result)[0]
