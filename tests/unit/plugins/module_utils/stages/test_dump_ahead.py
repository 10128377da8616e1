"""Tarballs are read ahead while a dump is at work; after it only one of which half is read."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import STAMP, marked, put

from ansible_collections.altbackup.core.plugins.module_utils.stages import dump_ahead
from ansible_collections.altbackup.core.plugins.module_utils.stages.dump_ahead import NotWanted, ReadAhead
from ansible_collections.altbackup.core.plugins.module_utils.system.digest import CHUNK, limited, within_limits
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import Tree, open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.scan import scan

RELPATH = f"svn/dybsvn/{STAMP}/dybsvn-1.tar"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Return a tree of one tarball."""
    base = marked(tmp_path / "dayabay")
    put(base, RELPATH, b"content" * 1000)
    return open_tree(str(base))


def found_of(ahead: ReadAhead) -> list[str]:
    """Return what was read, once nothing is being read."""
    while not all(reading.done() for _, reading in ahead._begun.values()):
        time.sleep(0.01)
    return [*ahead.found()]


def test_what_is_as_its_dna_says_is_told(tree: Tree) -> None:
    with ReadAhead(tree) as ahead:
        assert ahead.found() == {}
    with ReadAhead(tree) as ahead:
        ahead.begin(*scan(tree).tarballs)
        assert found_of(ahead) == [RELPATH]


@pytest.mark.parametrize("harm", [lambda path: path.write_bytes(b"CONTENT" * 1000), Path.unlink], ids=["other", "gone"])
def test_what_is_damaged_is_left_to_the_check(tree: Tree, harm: Callable[[Path], Any]) -> None:
    (tarball,) = scan(tree).tarballs
    harm(Path(tree.path(RELPATH)))
    with ReadAhead(tree) as ahead:
        ahead.begin(tarball)
        assert found_of(ahead) == []


def test_one_file_is_read_once(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def counted(path: str, *_: Any, **__: Any) -> tuple[str, int]:
        read.append(path)
        return "", 0

    monkeypatch.setattr(dump_ahead, "digest_file", counted)
    with ReadAhead(tree) as ahead:
        ahead.begin(*scan(tree).tarballs)
        ahead.begin(*scan(tree).tarballs)
        assert found_of(ahead) == []
    assert read == [tree.path(RELPATH)]


def test_what_waits_at_the_end_is_not_even_opened(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    (tarball,) = scan(tree).tarballs
    begun, read = threading.Event(), []

    def slow(path: str, _algorithm: str, *, go_on: Callable[[], None], **_: Any) -> tuple[str, int]:
        read.append(path)
        begun.set()
        while True:
            go_on()
            time.sleep(0.01)

    monkeypatch.setattr(dump_ahead, "digest_file", slow)
    with ReadAhead(tree) as ahead:
        for number in range(3):
            ahead.begin(replace(tarball, inode=(0, number)))
        assert begun.wait(10)
    assert read == [tree.path(RELPATH)]


def test_the_end_of_a_dump_ends_the_reading(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, ended = threading.Event(), threading.Event()

    def endless(_path: str, _algorithm: str, *, go_on: Callable[[], None], **_: Any) -> tuple[str, int]:
        begun.set()
        try:
            while True:
                go_on()
                time.sleep(0.01)
        except NotWanted:
            ended.set()
            raise

    monkeypatch.setattr(dump_ahead, "digest_file", endless)
    with ReadAhead(tree) as ahead:
        ahead.begin(*scan(tree).tarballs)
        assert begun.wait(10)
        assert ahead.found() == {}
    assert ended.is_set()
    assert ahead.found() == {}


@pytest.mark.parametrize(("read", "is_awaited"), [(1, False), (3, True)], ids=["less than half", "more than half"])
def test_of_what_half_is_read_the_rest_is_read_too(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, read: int, is_awaited: bool
) -> None:
    (tarball,) = scan(tree).tarballs
    assert tarball.dna
    size = 4 * CHUNK
    dumped, begun = threading.Event(), threading.Event()

    def parts(_path: str, _algorithm: str, *, go_on: Callable[[], None], **_: Any) -> tuple[str, int]:
        for part in range(4):
            if part == read:
                begun.set()
                assert dumped.wait(10)
                time.sleep(0.05)  # while it is asked for
            go_on()
        return tarball.dna.dig, size  # type: ignore[union-attr]

    monkeypatch.setattr(dump_ahead, "digest_file", parts)
    with ReadAhead(tree) as ahead:
        ahead.begin(replace(tarball, dna=replace(tarball.dna, size=size)))
        assert begun.wait(10)
        ahead._since -= 10  # so long it has been at work
        dumped.set()
        assert [*ahead.found()] == [RELPATH] * is_awaited


def test_slow_reading_is_not_awaited_for_longer_than_it_lasted_nor_past_the_limit(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tarball,) = scan(tree).tarballs
    begun = threading.Event()

    def endless(_path: str, _algorithm: str, *, go_on: Callable[[], None], **_: Any) -> tuple[str, int]:
        go_on()
        go_on()
        begun.set()
        while True:
            go_on()
            time.sleep(0.01)

    monkeypatch.setattr(dump_ahead, "digest_file", endless)
    for lasted, limit in ((0.0, 1000.0), (1000.0, 1.0)):
        begun.clear()
        with ReadAhead(tree) as ahead, limited(Deadline(limit)):
            ahead.begin(tarball)
            assert begun.wait(10)
            ahead._since -= lasted
            assert ahead.found() == {}
            within_limits()
