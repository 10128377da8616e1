"""Module tarball_find, in process on real files: it finds a node's tarballs of items, and a bad tree is no failure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import is_as_documented, marked, put, reasons, run_module, tree_hash
from helpers.trees import FIRST, RUN, SECOND

from ansible_collections.altbackup.core.plugins.module_utils.tree.locks import held, parse_run
from ansible_collections.altbackup.core.plugins.module_utils.tree.publish import require_writable
from ansible_collections.altbackup.core.plugins.module_utils.tree.sidecar import Dna, serialize

FULL, DIFFERENTIAL = f"folders/small/{FIRST}/small.tar.zst", f"folders/small/{SECOND}/small.diff.tar.zst"


@pytest.fixture
def tree(tmp_path: Path) -> dict[str, Any]:
    """Return a tree, in the module's form, with a full tarball and a differential of one item, and a tarball of another."""
    base = marked(tmp_path / "dayabay")
    put(base, FULL)
    put(base, DIFFERENTIAL, dna=serialize(Dna("ab" * 32, 9, "sha256", f"{FIRST}/small.tar.zst", "cd" * 32)))
    put(base, f"svn/other/{FIRST}/other-1.tar.zst")
    return {"source": "dayabay", "base": str(base), "keys": ["folders/small"]}


@pytest.mark.parametrize("check", [False, True])
def test_what_a_node_holds_names_what_a_differential_needs(tree: dict[str, Any], tmp_path: Path, check: bool) -> None:
    before = tree_hash(tmp_path)
    result = run_module("tarball_find", trees=[tree, {**tree, "base": f"{tmp_path}/nothing"}], check=check)
    assert not result.get("failed") and not result["changed"]
    assert is_as_documented("tarball_find", result)
    held_there, nothing = result["trees"]
    assert [(entry["relpath"], entry["base"], entry["base_dig"]) for entry in held_there["tarballs"]] == [
        (FULL, "", ""),
        (DIFFERENTIAL, f"{FIRST}/small.tar.zst", "cd" * 32),
    ]
    assert (held_there["keys"], held_there["problem"]) == (["folders/small", "svn/other"], "")
    assert (nothing["tarballs"], nothing["keys"]) == ([], [])
    assert "has no marker .altbackup/" in nothing["problem"]
    assert tree_hash(tmp_path) == before


def test_a_tree_of_another_run_is_not_looked_at(tree: dict[str, Any]) -> None:
    with held(require_writable(tree["base"]), parse_run(RUN)):
        pass
    (other,) = run_module("tarball_find", trees=[tree])["trees"]
    assert "is in use by another run" in other["problem"] and other["tarballs"] == []
    (own,) = run_module("tarball_find", trees=[tree], run=RUN)["trees"]
    assert own["problem"] == "" and own["tarballs"] != []


@pytest.mark.parametrize(
    ("options", "why"), [({"nice": 20}, "nice 20"), ({"run": {"pid": 1}}, "none that the plan of a playbook has")]
)
@pytest.mark.parametrize("fail", [False, True])
def test_a_call_that_cannot_be_done_is_a_failure(
    tree: dict[str, Any], options: dict[str, Any], why: str, fail: bool
) -> None:
    result = run_module("tarball_find", trees=[tree], fail=fail, **options)
    assert result.get("failed", False) is fail
    assert why in reasons(result)[0]
    assert result["failures"][0]["stage"] == "restore"
    assert is_as_documented("tarball_find", result)


def test_what_rotted_is_told_of_and_not_offered(tree: dict[str, Any]) -> None:
    Path(tree["base"], FULL).write_bytes(b"rotten")
    moment = {"stamp": FIRST, "clock": FIRST}
    options = {"expect": {"small": 1}, "quarantine": True, "day": FIRST[:10]}
    run_module("tarball_check", base=tree["base"], fail=False, **options, **moment)
    (found,) = run_module("tarball_find", trees=[tree])["trees"]
    first = found["tarballs"][0]
    assert (first["relpath"], first["state"]) == (FULL, "quarantined")
    assert f"lies in {tree['base']}/.altbackup/quarantine/folders/small/{FIRST}" in first["problem"]
