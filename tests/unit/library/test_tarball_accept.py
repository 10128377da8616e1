"""Module tarball_accept, in process on real files: an arrived file gets its name once it matches the source's dna."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import DAY, STAMP, is_as_documented, marked, modern_text, reasons, run_module, tree_hash

CONTENT, OTHER = b"a tarball", b"a ravaged"
RELPATH = f"folders/notes/{STAMP}/notes.tar"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
TARBALL = {"relpath": RELPATH, "size": len(CONTENT), "dig": DIGEST, "alg": "sha256", "record": {}}


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    """Return a target where a tarball has arrived."""
    copies = marked(tmp_path / "copies")
    incoming = copies / ".altbackup" / "incoming" / "dayabay"
    incoming.mkdir(parents=True)
    (copies / "dayabay").mkdir()
    (incoming / f"sha256-{DIGEST}").write_bytes(CONTENT)
    return copies


def accept(copies: Path, *tarballs: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Run the module."""
    moment = {"stamp": f"{DAY}/235959", "clock": f"{DAY}/235959"}
    base = str(copies / "dayabay")
    result = run_module("tarball_accept", **{"base": base, "tarballs": list(tarballs), **moment, **options})
    assert is_as_documented("tarball_accept", result)
    return result


def test_what_arrived_whole_is_published(copies: Path) -> None:
    result = accept(copies, TARBALL)
    assert result["changed"] and not result["failures"]
    assert [entry["relpath"] for entry in result["tarballs"]] == [RELPATH]
    path = copies / "dayabay" / RELPATH
    assert path.read_bytes() == CONTENT
    assert Path(f"{path}.dna").read_text() == modern_text(CONTENT)
    assert (copies / "dayabay" / "folders" / "notes" / "last").resolve() == path.parent
    assert not any((copies / ".altbackup" / "incoming" / "dayabay").iterdir())


@pytest.mark.parametrize("tarballs", [[], [TARBALL]])
def test_check_mode_accepts_nothing(copies: Path, tarballs: list[dict[str, Any]]) -> None:
    before = tree_hash(copies)
    result = accept(copies, *tarballs, check=True)
    assert (result["changed"], result["tarballs"], result["failures"]) == (bool(tarballs), [], [])
    assert tree_hash(copies) == before


@pytest.mark.parametrize("retry", [True, False])
def test_other_bytes_are_thrown_away_and_a_failure_unless_they_are_to_be_sent_once_more(
    copies: Path, retry: bool
) -> None:
    arrived = copies / ".altbackup" / "incoming" / "dayabay" / f"sha256-{DIGEST}"
    arrived.write_bytes(OTHER)
    result = accept(copies, TARBALL, retry=retry)
    assert result.get("failed", False) is not retry
    assert [entry["relpath"] for entry in result["wrong"]] == ([RELPATH] if retry else [])
    assert [entry["relpath"] for entry in result["failures"]] == ([] if retry else [RELPATH])
    assert result["tarballs"] == []
    assert not arrived.exists()
    assert not (copies / "dayabay" / RELPATH).exists()


@pytest.mark.parametrize("fail", [False, True])
def test_what_did_not_arrive_is_a_failure_and_holds_up_no_other(copies: Path, fail: bool) -> None:
    lost = {**TARBALL, "relpath": RELPATH.replace("notes", "lost"), "dig": "0" * 64}
    result = accept(copies, lost, TARBALL, fail=fail)
    assert result.get("failed", False) is fail
    assert [entry["relpath"] for entry in result["failures"]] == [lost["relpath"]]
    assert result["failures"][0]["good"] == ""
    assert [entry["relpath"] for entry in result["tarballs"]] == [RELPATH]


def test_copies_of_another_source_are_left_alone(copies: Path) -> None:
    origin = {"name": "dayabay", "base": "/home/scm/backup", "id": "a" * 32}
    assert not accept(copies, TARBALL, origin=origin)["failures"]
    before = tree_hash(copies / "dayabay")
    result = accept(copies, TARBALL, origin={**origin, "base": "/elsewhere", "id": "b" * 32})
    assert result["failed"] and "/home/scm/backup" in result["msg"]
    assert tree_hash(copies / "dayabay") == before


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"base": "/nowhere/dayabay"}, "/nowhere"),
        ({"tarballs": [{"relpath": "../x"}]}, "../x"),
        ({"peer": {"node": "dayabay"}}, "peer 'dayabay'"),
    ],
)
def test_bad_input_is_a_clear_message(copies: Path, options: dict[str, Any], why: str) -> None:
    result = accept(copies, TARBALL, **options)
    assert result["failed"] and why in reasons(result)[0]
