"""Module tarball_prepare, in process on real files: what a target lacks, and what it prepares for that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import is_as_documented, marked, put, reasons, run_module, tree_hash
from helpers.pair import DAY3, relpath
from helpers.trees import RUN

CONTENT = b"a tarball"
HELD, LACKED = relpath(DAY3, "folders/held"), relpath(DAY3, "folders/lacked")
NOW = dict.fromkeys(("stamp", "clock"), f"{DAY3}/235959")


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    """Return a target that holds one of the source's two tarballs."""
    put(marked(tmp_path / "copies") / "dayabay", HELD, CONTENT)
    return tmp_path / "copies"


@pytest.fixture
def tarballs(tmp_path: Path) -> list[dict[str, Any]]:
    """Return the source's listing."""
    source = marked(tmp_path / "source")
    put(source, HELD, CONTENT)
    put(source, LACKED, b"another")
    listed: list[dict[str, Any]] = run_module("tarball_list", base=str(source), records=True, **NOW)["tarballs"]
    return listed


def prepare(copies: Path, tarballs: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
    """Run the module."""
    base = str(copies / "dayabay")
    result = run_module("tarball_prepare", **{"base": base, "tarballs": tarballs, "day": DAY3, **NOW, **options})
    assert is_as_documented("tarball_prepare", result)
    return result


def test_what_the_target_lacks_is_asked_for_and_there_is_a_folder_for_it(
    copies: Path, tarballs: list[dict[str, Any]]
) -> None:
    result = prepare(copies, tarballs)
    assert (result["have"], result["send"], result["linked"], result["unwanted"]) == ([HELD], [LACKED], [], [])
    assert result["incoming"] == str(copies / ".altbackup" / "incoming" / "dayabay")
    assert Path(result["incoming"]).is_dir()
    assert result["free"] > 0 and not result["busy"]
    before = tree_hash(copies / "dayabay")
    assert prepare(copies, tarballs)["send"] == [LACKED]
    assert tree_hash(copies / "dayabay") == before


def test_check_mode_asks_for_the_same_and_makes_nothing(copies: Path, tarballs: list[dict[str, Any]]) -> None:
    before = tree_hash(copies)
    result = prepare(copies, tarballs, check=True)
    assert (result["have"], result["send"]) == ([HELD], [LACKED])
    assert tree_hash(copies) == before


def test_copies_of_another_source_are_left_alone(copies: Path, tarballs: list[dict[str, Any]]) -> None:
    origin = {"name": "dayabay", "base": "/home/scm/backup", "id": "a" * 32}
    assert not prepare(copies, tarballs, origin=origin)["failures"]
    before = tree_hash(copies / "dayabay")
    result = prepare(copies, tarballs, origin={**origin, "base": "/elsewhere", "id": "b" * 32})
    assert result["failed"] and "/home/scm/backup" in result["msg"]
    assert (result["send"], result["incoming"]) == ([], "")
    assert tree_hash(copies / "dayabay") == before


@pytest.mark.parametrize("fail", [False, True])
def test_a_tree_of_another_run_is_a_failure(copies: Path, tarballs: list[dict[str, Any]], fail: bool) -> None:
    prepare(copies, tarballs, run=RUN)
    result = prepare(copies, tarballs, fail=fail)
    assert result.get("failed", False) is fail
    assert "is in use by another run: scm on control" in reasons(result)[0]
    assert (result["failures"][0]["stage"], result["send"]) == ("synchronize", [])


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"base": "/nowhere/dayabay"}, "/nowhere"),
        ({"tarballs": [{"relpath": "../x"}]}, "../x"),
        ({"guides": {"README": "x"}}, "README"),
        ({"stamp": "now"}, "now"),
    ],
)
def test_bad_input_is_a_clear_message(copies: Path, options: dict[str, Any], why: str) -> None:
    result = prepare(copies, **{"tarballs": [], **options})
    assert result["failed"] and why in result["msg"]
