"""Tarballs of a restore: none is used that is not what its dna, and its dump, say."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from helpers.orders import order
from helpers.original_trees import marked, put
from helpers.trees import FIRST, NOBODY, RUN, needs_root

from ansible_collections.altbackup.core.plugins.module_utils.restore import verified as room
from ansible_collections.altbackup.core.plugins.module_utils.restore.order import Archive, Order
from ansible_collections.altbackup.core.plugins.module_utils.restore.verified import (
    verified_archives,
    verify_archive,
    verify_recorded,
)
from ansible_collections.altbackup.core.plugins.module_utils.restore.work_folder import discard, working
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError, Locked
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.locks import held, parse_run
from ansible_collections.altbackup.core.plugins.module_utils.tree.sidecar import Dna

CONTENT = b"a tarball"
RELPATH = f"svn/x/{FIRST}/x-5.tar"
DNA = Dna(hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A tarball of a tree."""
    return put(marked(tmp_path / "base"), RELPATH, CONTENT)


def archive(dna: Dna = DNA) -> Archive:
    return Archive(RELPATH, dna)


def test_what_is_as_its_dna_says_is_taken(path: Path) -> None:
    verify_archive(str(path), archive(), str(path))
    Path(f"{path}.dna").unlink()
    verify_archive(str(path), archive(), "")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("gone", "is not there, or no plain file: nothing was restored"),
        ("folder", "is not there, or no plain file"),
        ("link", "is not there, or no plain file"),
        ("no dna", "has no dna"),
        ("malformed dna", "nothing was restored"),
        ("dna of another", "is no longer the one that was chosen: nothing was restored"),
        ("longer", "nothing was restored"),
        ("other bytes", "does not match its dna, so nothing was restored from it: take it from another node"),
    ],
)
def test_what_is_not_is_told(path: Path, damage: str, reason: str) -> None:
    sidecar = Path(f"{path}.dna")
    if damage in ("gone", "folder", "link"):
        path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage == "link":
        (path.parent / "other").write_bytes(CONTENT)
        path.symlink_to("other")
    elif damage == "no dna":
        sidecar.unlink()
    elif damage == "malformed dna":
        sidecar.write_text("x")
    elif damage == "dna of another":
        put(path.parents[6], RELPATH, b"b tarball")
        path.write_bytes(CONTENT)
    elif damage == "longer":
        path.write_bytes(CONTENT + b"x")
    elif damage == "other bytes":
        path.write_bytes(CONTENT[::-1])
    with pytest.raises(AltbackupError, match=reason):
        verify_archive(str(path), archive(), str(path))


@pytest.mark.parametrize(
    "record",
    [
        pytest.param({}, id="none"),
        pytest.param({"relpath": "svn/x/other.tar", "dig": "0" * 64, "size": 1, "alg": "sha256"}, id="of another one"),
        pytest.param({"relpath": RELPATH, "dig": DNA.dig, "size": DNA.size, "alg": "sha256"}, id="the same"),
        pytest.param({"relpath": RELPATH}, id="without a digest"),
        pytest.param({"relpath": RELPATH, "dig": "0" * 64, "size": None, "alg": "sha256"}, id="without a size"),
        pytest.param({"relpath": RELPATH, "dig": "0" * 64, "size": "x", "alg": "sha256"}, id="a size that is none"),
        pytest.param({"relpath": RELPATH, "dig": "0" * 64, "size": float("inf"), "alg": "sha256"}, id="more than any"),
        pytest.param({"relpath": RELPATH, "dig": "0" * 64, "size": 9, "alg": "crc"}, id="of an unknown digest"),
        pytest.param({"relpath": [RELPATH]}, id="a path that is none"),
        pytest.param(
            {"relpath": RELPATH, "dig": hashlib.md5(CONTENT).hexdigest(), "size": 9, "alg": "md5"},
            id="by another digest",
        ),
    ],
)
def test_a_record_that_tells_nothing_else_of_a_tarball_keeps_nothing_from_being_restored(
    path: Path, record: dict[str, Any]
) -> None:
    verify_recorded(str(path), archive(), record)


@pytest.mark.parametrize(
    "record",
    [
        {"dig": "0" * 64, "size": 9, "alg": "sha256"},
        {"dig": DNA.dig, "size": 8, "alg": "sha256"},
        {"dig": "0" * 32, "size": 9, "alg": "md5"},
    ],
)
def test_a_dna_that_was_written_anew_over_other_bytes_is_found_by_the_record(
    path: Path, record: dict[str, Any]
) -> None:
    with pytest.raises(AltbackupError, match="is not what its dump recorded, so nothing was restored from it"):
        verify_recorded(str(path), archive(), {**record, "relpath": RELPATH})


def of_tree(path: Path, destination: Path, **more: Any) -> Order:
    entry = {"relpath": RELPATH, "dig": DNA.dig, "size": DNA.size, "alg": DNA.alg}
    return order(destination=str(destination), tarballs=[entry], **more)


def test_those_of_a_tree_of_this_node_are_read_in_their_place_while_nobody_writes(path: Path, tmp_path: Path) -> None:
    base = str(path.parents[6])
    given = of_tree(path, tmp_path / "new", base=base)
    with working(given.destination) as work:
        with verified_archives(work, given, None, Deadline(60)) as paths:
            assert paths == [str(path)]
        other = parse_run(RUN)
        with held(open_tree(base), other):
            pass
        with pytest.raises(Locked), verified_archives(work, given, None, Deadline(60)):
            pass
        discard(work)


def test_those_that_arrived_are_read_where_they_did(path: Path, tmp_path: Path) -> None:
    given = of_tree(path, tmp_path / "new")
    with working(given.destination) as work:
        arriving = work.clear_arriving()
        with pytest.raises(AltbackupError, match=r"x-5\.tar is not there"):
            with verified_archives(work, given, None, Deadline(60)):
                pass
        Path(arriving, "x-5.tar").write_bytes(CONTENT)
        with verified_archives(work, given, None, Deadline(60)) as paths:
            assert [Path(one).read_bytes() for one in paths] == [CONTENT]
        discard(work)


@needs_root
@pytest.mark.parametrize("whose", ["the tarball", "its folder"])
def test_of_what_others_could_change_a_private_copy_is_used(path: Path, tmp_path: Path, whose: str) -> None:
    os.chown(path if whose == "the tarball" else path.parent, NOBODY, NOBODY)
    with working(str(tmp_path / "new")) as work:
        copy = room._stable_path(str(path), work, Deadline(60))
        assert copy != str(path) and Path(copy).read_bytes() == CONTENT
        assert room._stable_path(str(tmp_path / "none" / "x.tar"), work, Deadline(60)) == str(
            tmp_path / "none" / "x.tar"
        )
        discard(work)
