"""Proofs beside tarballs: which are required, and which count."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import link, marked, put

from ansible_collections.altbackup.core.plugins.module_utils.tree import proof_files
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.proof_files import (
    last_proved,
    moment_at,
    proved_at,
    write_proof,
)
from ansible_collections.altbackup.core.plugins.module_utils.tree.scan import scan
from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import Moment

STAMP = "2013/05/10/104701"
DAY = 86400.0
NOW = 1368182821.0  # seconds since 1970
FOLDER, SVN, TRAC = (
    f"{key}/{STAMP}/{name}.tar.gz"
    for key, name in (("folders/svnsetup", "svnsetup"), ("svn/dybsvn", "dybsvn-20496"), ("tracs/dybsvn", "dybsvn"))
)
KEYS = ("folders/svnsetup", "svn/dybsvn", "tracs/dybsvn")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A base with three tarballs."""
    base = marked(tmp_path / "dayabay")
    for relpath in (FOLDER, SVN, TRAC):
        put(base, relpath)
    return base


def prove(base: Path, *relpaths: str, at: float = NOW, **more: Any) -> None:
    """Put a proof beside tarballs."""
    tree = open_tree(str(base))
    for tarball in scan(tree).verified():
        if tarball.relpath in relpaths and tarball.dna:
            dna = {"dig": tarball.dna.dig, "size": tarball.dna.size, "alg": tarball.dna.alg}
            write_proof(tree, tarball, {**dna, "when": moment_at(at), **more})


def unproved(base: Path, items: list[str] | None = None, age: float = 8 * DAY) -> list[str]:
    """Return the reasons about missing proofs."""
    entries = proof_files.unproved(str(base), items, age, "dayabay", "cms01", Moment(STAMP, STAMP), NOW)
    assert all(entry["stage"] == "check" and entry["reason"].startswith(f"{entry['category']}/") for entry in entries)
    return [entry["reason"] for entry in entries]


def test_a_proof_not_older_than_asked_for_is_demanded_of_each_item(base: Path) -> None:
    assert unproved(base) == [
        f"{key} of dayabay on cms01 was never proved to restore; a proof not older than 8d is asked for: "
        "altbackup drill cms01 -i INVENTORY"
        for key in KEYS
    ]
    assert unproved(base, age=0) == []
    prove(base, FOLDER, SVN, TRAC, at=NOW - 7 * DAY)
    assert unproved(base) == []
    prove(base, FOLDER, at=NOW - 9 * DAY)
    (reason,) = unproved(base)
    assert reason.startswith(
        f"{KEYS[0]} of dayabay on cms01 was last proved to restore at {moment_at(NOW - 9 * DAY)}; "
    )
    assert unproved(base, [KEYS[1]]) == []


@pytest.mark.parametrize(
    "more",
    [{"dig": "0" * 64}, {"size": 1}, {"size": float("inf")}, {"alg": "sha512"}, {"when": "yesterday"}, {"when": None}],
)
def test_a_proof_of_other_bytes_or_that_cannot_be_read_counts_for_nothing(base: Path, more: dict[str, Any]) -> None:
    prove(base, FOLDER, SVN, TRAC)
    assert unproved(base) == []
    prove(base, SVN, **more)
    (reason,) = unproved(base)
    assert reason.startswith("svn/dybsvn of dayabay on cms01 was never proved to restore")
    (base / f"{SVN}.proof").write_bytes(b"\xff{[" * 100)
    assert len(unproved(base)) == 1


def test_a_proof_counts_for_an_item_under_any_stamp_that_is_kept(base: Path) -> None:
    older = TRAC.replace("2013/05/10", "2013/05/09")
    link(base, TRAC, older)
    prove(base, FOLDER, SVN, older)
    assert unproved(base) == []
    (base / f"{older}.dna").unlink()
    assert len(unproved(base)) == 1


def test_the_newest_proof_of_an_item_says_when_it_was_proved(base: Path) -> None:
    older = SVN.replace("2013/05/10", "2013/05/09")
    link(base, SVN, older)
    prove(base, SVN, at=NOW - 2 * DAY)
    prove(base, older, at=NOW - DAY)
    tree = open_tree(str(base))
    tarballs = scan(tree).verified()
    assert last_proved(tree, tarballs) == {KEYS[0]: 0.0, KEYS[1]: NOW - DAY, KEYS[2]: 0.0}
    assert {tarball.relpath: proved_at(tree, tarball) for tarball in tarballs if tarball.key == KEYS[1]} == {
        SVN: NOW - 2 * DAY,
        older: NOW - DAY,
    }
    assert json.loads((base / f"{older}.proof").read_text())["when"] == "2013-05-09T10:47:01Z"


def test_a_proof_of_a_time_that_has_not_come_proves_nothing(base: Path) -> None:
    now = time.time()
    for ahead, counts in ((3600.0, True), (2 * DAY, False), (900 * 365 * DAY, False)):
        prove(base, FOLDER, at=now + ahead)
        known = last_proved(open_tree(str(base)), scan(open_tree(str(base))).verified())
        assert (known["folders/svnsetup"] > 0) is counts


@pytest.mark.parametrize(
    "text", ["[" * 60000, '{"a":' * 9000, "5", "[]", '{"dig": [], "size": [], "alg": {}, "when": 5}', "\0"]
)
def test_a_proof_that_cannot_be_understood_proves_nothing_and_stops_nobody(base: Path, text: str) -> None:
    (base / f"{FOLDER}.proof").write_text(text)
    prove(base, SVN)
    known = last_proved(open_tree(str(base)), scan(open_tree(str(base))).verified())
    assert known["folders/svnsetup"] == 0 and known["svn/dybsvn"] == NOW
