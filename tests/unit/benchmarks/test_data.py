"""The data of the benchmarks."""

from __future__ import annotations

import random
import subprocess
import zlib
from pathlib import Path

import pytest
from benchmarks.data import (
    clone,
    grow_git,
    grow_svn,
    keep,
    make_folder,
    make_git,
    make_small_repositories,
    make_svn,
    noise,
    rewrite_folder,
    size_of,
    text,
)


def said(*argv: object) -> str:
    return subprocess.run([str(word) for word in argv], capture_output=True, text=True, check=True).stdout.strip()


def test_half_compresses_and_half_does_not_and_a_seed_gives_the_same() -> None:
    words, random_bytes = text(random.Random(1), 100_000), noise(random.Random(1), 100_000)
    assert len(words) == len(random_bytes) == 100_000
    assert len(zlib.compress(words, 1)) < 50_000 < 100_000 <= len(zlib.compress(random_bytes, 1))
    assert words == text(random.Random(1), 100_000) != text(random.Random(2), 100_000)


def test_a_subversion_repository_has_its_size_and_revisions_and_grows(tmp_path: Path) -> None:
    make_svn(tmp_path / "svn", 2_000_000, 20)
    assert said("svnlook", "youngest", tmp_path / "svn") == "20"
    before = size_of(tmp_path / "svn")
    assert 1_600_000 < before < 2_600_000
    grow_svn(tmp_path / "svn", 500_000, 5, seed=7)
    assert said("svnlook", "youngest", tmp_path / "svn") == "25"
    assert 400_000 < size_of(tmp_path / "svn") - before < 700_000
    said("svnadmin", "verify", "-q", tmp_path / "svn")


def test_a_git_repository_has_its_size_and_commits_and_grows(tmp_path: Path) -> None:
    make_git(tmp_path / "git", 2_000_000, 200)
    assert said("git", "-C", tmp_path / "git", "rev-list", "--count", "main") == "200"
    assert 1_600_000 < size_of(tmp_path / "git") < 2_600_000
    grow_git(tmp_path / "git", 10_000, 1, seed=7)
    assert said("git", "-C", tmp_path / "git", "rev-list", "--count", "main") == "201"
    said("git", "-C", tmp_path / "git", "fsck", "--full")


def test_a_folder_has_its_files_and_a_share_of_them_is_rewritten(tmp_path: Path) -> None:
    make_folder(tmp_path / "folder", 1010, 100)
    before = {path: path.read_bytes() for path in (tmp_path / "folder").rglob("*") if path.is_file()}
    assert (len(before), {len(content) for content in before.values()}) == (1010, {100})
    rewrite_folder(tmp_path / "folder", 1010, 100, 101, seed=2)
    assert sum(path.read_bytes() != content for path, content in before.items()) == 101


def test_small_repositories_are_of_both_kinds(tmp_path: Path) -> None:
    make_small_repositories(tmp_path / "small", 2)
    assert sorted(path.name for path in (tmp_path / "small").iterdir()) == ["git001", "svn000"]


def test_data_are_made_once_and_never_taken_half_made(tmp_path: Path) -> None:
    made: list[Path] = []

    def make(path: Path) -> None:
        path.mkdir()
        made.append(path)
        if len(made) == 1:
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        keep(tmp_path, "data", make)
    assert keep(tmp_path, "data", make) == keep(tmp_path, "data", make) == tmp_path / "data"
    assert len(made) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert clone(tmp_path / "data", tmp_path / "new" / "copy").is_dir()
