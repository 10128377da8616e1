"""Holes of sparse files: found, kept by copies and archives of every kind, and reported if a program would read them as zeros."""

from __future__ import annotations

import io
import os
import sqlite3
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from helpers.environments import make_environment
from helpers.repositories import make_git, make_subversion
from helpers.trees import Base, item, needs_root, small_disk

from ansible_collections.altbackup.core.plugins.module_utils.system.holes import copy_file, holes_in, parts_of

LARGE = 40 << 30


def make(kind: str, path: Path) -> Path:
    """Make an item of a kind at a path."""
    if kind == "svn":
        make_subversion(path, 2)
    elif kind == "git":
        make_git(path)
    elif kind == "trac":
        pytest.importorskip("trac")
        make_environment(path)
    else:
        path.mkdir()
    return path


def grow(path: Path, size: int = LARGE) -> None:
    """Extend a file to so many bytes, sparsely."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        path.chmod(0o644)
    with open(path, "ab") as stream:
        stream.truncate(size)


@pytest.fixture
def base(tmp_path: Path) -> Base:
    return Base(tmp_path / "base")


def test_holes_are_found_and_a_copy_has_them(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with open(path, "wb") as stream:
        stream.write(b"begin")
        stream.seek(5 << 30)
        stream.write(b"middle")
        stream.truncate(LARGE)
    copy_file(str(path), str(tmp_path / "copy"))
    for found in (path, tmp_path / "copy"):
        with open(found, "rb") as stream:
            assert [start for start, _ in parts_of(stream.fileno(), LARGE)] == [0, 5 << 30]
            stream.seek(5 << 30)
            assert stream.read(8) == b"middle\0\0"
        assert found.stat().st_size == LARGE and found.stat().st_blocks * 512 < 1 << 20
        assert LARGE - (1 << 20) < holes_in(str(found)) < LARGE
    grow(tmp_path / "hole")
    assert holes_in(str(tmp_path / "hole")) == LARGE
    (tmp_path / "whole").write_bytes(os.urandom(9000))
    (tmp_path / "link").symlink_to("hole")
    assert [holes_in(str(tmp_path / name)) for name in ("whole", "link", "")] == [0, 0, 0]


@pytest.mark.sampled(12)
@needs_root
@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("folder", "file"),
        ("git", "description"),
        ("git", "hooks/large"),
        ("git", "lfs/objects/aa/bb/large"),
        ("svn", "db/rep-cache.db"),
        ("trac", "VERSION"),
        ("trac", "attachments/large"),
        ("trac", "db/trac.db"),
        ("trac", "log/trac.log"),
    ],
)
def test_large_holes_are_stored_as_such_by_every_kind(base: Base, tmp_path: Path, kind: str, place: str) -> None:
    path = make(kind, tmp_path / "live")
    grow(path / place, LARGE if kind != "folder" else 1 << 30)
    if kind == "folder":
        (path / place).write_bytes(b"begin")
        grow(path / place, 1 << 30)
    result = base.dump(item(kind, path))
    assert not result["failures"]
    (tarball,) = result["tarballs"]
    assert tarball["size"] < 1 << 20
    with tarfile.open(fileobj=_uncompressed(base.path / tarball["relpath"])) as archive:
        sizes = {member.name.partition("/")[2]: (member.size, member.sparse) for member in archive}
    if place == "db/rep-cache.db":  # a mere cache, which Subversion makes anew
        assert place not in sizes
        assert any(f"{place} has holes of more than" in note for note in result["notes"])
    elif place == "db/trac.db":  # what SQLite copies is no larger than its pages
        assert sizes[place][0] < 1 << 20
    else:
        assert sizes[place][0] >= 1 << 30 and sizes[place][1] is not None


def _uncompressed(path: Path) -> Any:
    return io.BytesIO(subprocess.run(["zstd", "-dcq", path], check=True, capture_output=True).stdout)


@pytest.mark.sampled(6)
@needs_root
@pytest.mark.parametrize(
    ("kind", "place", "said"),
    [
        ("svn", "db/fsfs.conf", "which svnadmin would read and write as zeros"),
        ("svn", "db/revs/0/1", "which svnadmin would"),
        ("svn", "hooks/large", "which svnadmin would"),
        ("git", "info/grafts", "which git would"),
        ("git", "logs/HEAD", "which git would"),
        ("git", "packed-refs", "which git would"),
        ("git", "objects/pack/pack-x.pack", "which git would"),
        ("trac", "conf/trac.ini", "no file of settings has more than 4.0 MiB"),
    ],
)
def test_large_holes_that_a_program_would_read_fail_the_item_at_once(
    base: Base, tmp_path: Path, kind: str, place: str, said: str
) -> None:
    path = make(kind, tmp_path / "live")
    grow(path / place)
    reason = base.reason(item(kind, path), seconds=60)
    assert said in reason and str(path / place) in reason and "40 GiB" in reason


@needs_root
def test_many_files_with_some_holes_count_together(base: Base, tmp_path: Path) -> None:
    path = make("svn", tmp_path / "live")
    for number in range(5):
        grow(path / "conf" / f"{number}", 20 << 20)
    assert "No more than 64 MiB are (in all files together)" in base.reason(item("svn", path))
    for number in range(3):
        (path / "conf" / f"{number}").unlink()
    base.dump_one(item("svn", path))


@needs_root
def test_a_database_without_room_for_its_copy_is_told_before_it_is_written(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=8m") as disk:
        path = tmp_path / "app.db"
        with sqlite3.connect(path) as database:
            database.execute("create table t(x)")
            database.execute("insert into t values(zeroblob(20000000))")
        database.close()
        base = Base(disk / "base")
        reason = base.reason(item("sqlite", path))
    assert "app.db has 19 MiB, but only " in reason and "are free for its copy" in reason
