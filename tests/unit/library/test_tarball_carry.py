"""Module tarball_carry, in process on real files: tarballs arrive, and a failure belongs to the restore or drill that needed them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import STAMP, is_as_documented, put, reasons, run_module, tree_hash

CONTENT = b"a tarball"
RELPATH = f"folders/notes/{STAMP}/notes.tar"


@pytest.fixture
def incoming(tmp_path: Path) -> Path:
    """Return the folder for an arriving tarball, which lies in `tree` beside that."""
    put(tmp_path / "tree", RELPATH, CONTENT)
    (tmp_path / "incoming").mkdir()
    return tmp_path / "incoming"


def carry(incoming: Path, **options: Any) -> dict[str, Any]:
    """Run the module from one folder of the controller to another."""
    ends = {"origin": incoming.parent / "tree", "destination": incoming}
    given: dict[str, Any] = {end: {"node": "localhost", "folder": str(folder)} for end, folder in ends.items()}
    result = run_module("tarball_carry", **{**given, "relpaths": [RELPATH], "size": len(CONTENT), **options})
    assert is_as_documented("tarball_carry", result)
    return result


@pytest.mark.parametrize(("tree", "name"), [(False, "notes.tar"), (True, RELPATH)])
def test_a_tarball_arrives_under_its_last_name_or_its_path(incoming: Path, tree: bool, name: str) -> None:
    result = carry(incoming, tree=tree)
    assert result["changed"] and not result["failures"]
    assert result["seconds"] > 0
    assert {path: path.read_bytes() for path in incoming.rglob("*.tar")} == {incoming / name: CONTENT}


@pytest.mark.parametrize("relpaths", [[], [RELPATH]])
def test_check_mode_carries_nothing(incoming: Path, relpaths: list[str]) -> None:
    before = tree_hash(incoming.parent)
    result = carry(incoming, relpaths=relpaths, check=True)
    assert (result["changed"], result["failures"]) == (bool(relpaths), [])
    assert tree_hash(incoming.parent) == before


@pytest.mark.parametrize(("tree", "stage"), [(False, "restore"), (True, "drill")])
@pytest.mark.parametrize("fail", [False, True])
def test_what_is_not_there_is_a_failure_of_a_restore_or_of_a_drill(
    incoming: Path, tree: bool, stage: str, fail: bool
) -> None:
    (incoming.parent / "tree" / RELPATH).unlink()
    result = carry(incoming, tree=tree, fail=fail)
    assert result.get("failed", False) is fail
    (failure,) = result["failures"]
    assert failure["stage"] == stage
    assert "notes.tar" in failure["reason"]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"relpaths": ["../x"]}, "../x"),
        ({"origin": {"node": "cms01"}}, "peer 'cms01'"),
        ({"destination": {"node": "fresh", "folder": "/x", "pasword": "x"}}, "peer 'fresh'"),
    ],
)
@pytest.mark.parametrize(("tree", "stage"), [(False, "restore"), (True, "drill")])
def test_bad_input_is_a_clear_message(
    incoming: Path, options: dict[str, Any], why: str, tree: bool, stage: str
) -> None:
    result = carry(incoming, tree=tree, **options)
    assert result["failed"] and why in reasons(result)[0]
    assert result["failures"][0]["stage"] == stage
