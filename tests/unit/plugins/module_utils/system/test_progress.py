"""Progress of a call: a small file while it runs, if requested, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.waiting import wait_until

from ansible_collections.altbackup.core.plugins.module_utils.archive.examine import examine
from ansible_collections.altbackup.core.plugins.module_utils.archive.rules import Limits
from ansible_collections.altbackup.core.plugins.module_utils.archive.unpack import extract
from ansible_collections.altbackup.core.plugins.module_utils.archive.write import ArchiveFormat, store_archive
from ansible_collections.altbackup.core.plugins.module_utils.synchronize.peers import Peer
from ansible_collections.altbackup.core.plugins.module_utils.synchronize.rsync import carry
from ansible_collections.altbackup.core.plugins.module_utils.system import progress
from ansible_collections.altbackup.core.plugins.module_utils.system.digest import digest_file
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Child, Deadline
from ansible_collections.altbackup.core.plugins.module_utils.tree.digests import digests
from ansible_collections.altbackup.core.plugins.module_utils.tree.sidecar import Dna

MIB = 1 << 20


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the progress file at once and often."""
    monkeypatch.setattr(progress, "_FIRST", 0.001)
    monkeypatch.setattr(progress, "_EVERY", 0.002)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tmp" / f"{progress.PREFIX}0"


def told(path: Path, **wanted: Any) -> dict[str, Any]:
    """Wait until an entry has these values; return it."""
    found: list[dict[str, Any]] = []

    def is_there() -> bool:
        if path.exists():
            found.extend(entry for entry in json.loads(path.read_text()) if wanted.items() <= entry.items())
        return bool(found)

    assert wait_until(is_there), path.read_text() if path.exists() else "no file"
    return found[0]


class Told:
    """Collects all reports while the tested code runs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.entries: list[dict[str, Any]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Told:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(0.002):
            try:
                self.entries += json.loads(self._path.read_text())
            except FileNotFoundError:
                continue

    def of(self, doing: str) -> Iterator[dict[str, Any]]:
        return (entry for entry in self.entries if entry["doing"] == doing)


def test_the_file_is_private_whole_and_gone_at_the_end(path: Path) -> None:
    with progress.reported(str(path)):
        with progress.at_work("svn/a"), progress.moving("sent", lambda: 7, 2 * MIB):
            entry = told(path, item="svn/a", doing="sent", done=7, total=2 * MIB, about=False)
            assert 0 <= entry["seconds"] < 60
            assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700
        with progress.at_work("svn/b"):
            told(path, item="svn/b", doing="")
    assert list(path.parent.iterdir()) == []


def test_nothing_is_written_for_nobody_and_without_work(path: Path) -> None:
    before = threading.active_count()
    for where in ("", None):
        with progress.reported(where), progress.at_work("svn/a"), progress.moving("sent", lambda: 1, MIB):
            assert threading.active_count() == before
    with progress.reported(str(path)):
        assert threading.active_count() == before
    assert not path.parent.exists()


@pytest.mark.parametrize("way", ["file", "link", "broken"])
def test_what_cannot_be_told_changes_nothing(tmp_path: Path, path: Path, way: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("as it was")
    if way == "file":
        path.parent.write_text("")
    elif way == "link":
        path.parent.mkdir()
        path.symlink_to(victim)
        Path(f"{path}.new").symlink_to(victim)
    asked = threading.Event()

    def position() -> int:
        asked.set()
        if way == "broken":
            raise ValueError("what could not be asked")
        return 0

    with progress.reported(str(path)), progress.at_work("svn/a"), progress.moving("sent", position, MIB):
        assert way == "file" or asked.wait(10)
    assert victim.read_text() == "as it was"


def test_an_error_of_the_work_is_its_own(path: Path) -> None:
    def fail() -> None:
        with progress.reported(str(path)), progress.at_work("a"), progress.moving("sent", int, MIB):
            told(path, item="a")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with progress.reported(str(path)), progress.at_work("b"):
        told(path, item="b")


def test_what_killed_calls_left_goes(path: Path) -> None:
    path.parent.mkdir()
    old, new, other = (path.parent / name for name in (f"{progress.PREFIX}1", f"{progress.PREFIX}2", "other"))
    for file in (old, new, other):
        file.write_text("")
    for file in (old, other):
        os.utime(file, (1, 1))
    with progress.reported(str(path)), progress.at_work("a"):
        told(path, item="a")
    assert sorted(path.parent.iterdir()) == sorted([new, other])


def test_a_fork_tells_nothing(path: Path) -> None:
    with progress.reported(str(path)), progress.at_work("a"):
        told(path, item="a")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            with progress.at_work("b"), progress.moving("sent", int, MIB):
                os._exit(bool(progress._reports))
        assert os.waitpid(pid, 0)[1] == 0
        assert [entry["item"] for entry in json.loads(path.read_text())] == ["a"]


def test_the_oldest_works_are_told_of_each_with_its_own_bytes(path: Path) -> None:
    go_on = threading.Event()
    ready = threading.Barrier(7)

    def work(number: int) -> None:
        with progress.at_work(f"svn/{number}"), progress.moving("read", lambda: number, 8 * MIB):
            ready.wait(10)
            go_on.wait(10)

    with progress.reported(str(path)):
        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        ready.wait(10)
        told(path, doing="read")
        assert wait_until(lambda: len(json.loads(path.read_text())) == 4)
        for entry in json.loads(path.read_text()):
            assert entry["item"] == f"svn/{entry['done']}"
        go_on.set()
        for thread in threads:
            thread.join()


def test_digests_of_all_files_are_one_work(tmp_path: Path, path: Path) -> None:
    pipe = tmp_path / "large"
    sizes = {"large": 96 * MIB, "small": 3}
    for name, size in sizes.items():
        (tmp_path / name).write_bytes(bytes(size))
    dnas = {str(tmp_path / name): Dna("", size, "sha512") for name, size in sizes.items()}
    with Told(path) as seen, progress.reported(str(path)):
        found = digests(dnas)
    assert found[str(pipe)][1] == sizes["large"]  # type: ignore[index]
    entries = list(seen.of("read"))
    assert {(entry["item"], entry["total"]) for entry in entries} == {("", sum(sizes.values()))}
    done = [entry["done"] for entry in entries]
    assert done == sorted(done) and any(0 < value < sizes["large"] for value in done)


def test_a_file_of_an_item_is_read(tmp_path: Path, path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(64 * MIB))
    with Told(path) as seen, progress.reported(str(path)), progress.at_work("git/x"):
        digest_file(str(tmp_path / "x"), "sha512")
    entries = list(seen.of("read"))
    assert {(entry["item"], entry["total"]) for entry in entries} == {("git/x", 64 * MIB)}
    assert any(0 < entry["done"] < 64 * MIB for entry in entries)


def test_an_archive_that_is_written_is_told_beside_what_is_expected(tmp_path: Path, path: Path) -> None:
    reading, writing = os.pipe()
    with progress.reported(str(path)), progress.at_work("folders/x", lambda: 40 * MIB):
        with Child(["sleep", "0"]) as child, os.fdopen(reading, "rb") as stream:

            def write() -> None:
                with os.fdopen(writing, "wb") as pipe:
                    pipe.write(os.urandom(3 * MIB))
                    pipe.flush()
                    seen.append(told(path, doing="written", done=3 * MIB))

            seen: list[dict[str, Any]] = []
            thread = threading.Thread(target=write)
            thread.start()
            store_archive(
                str(tmp_path / "a.tar"), stream, child, "/x", top="x", form=ArchiveFormat(".tar"), deadline=Deadline()
            )
            thread.join()
    (entry,) = seen
    assert (entry["total"], entry["about"], entry["item"]) == (40 * MIB, True, "folders/x")


@pytest.mark.sampled(2)
@pytest.mark.parametrize(("extension", "times"), [(".tar", 6), (".tar.gz", 1)])
def test_a_tarball_is_looked_through_and_unpacked(tmp_path: Path, path: Path, extension: str, times: int) -> None:
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / "file").write_bytes(os.urandom(16 * MIB) * times)  # which takes long enough to be seen
    tarball = tmp_path / f"x{extension}"
    subprocess.run(["tar", "-caf", tarball, "--format=posix", "-C", tmp_path, "x"], check=True)
    (tmp_path / "to").mkdir()
    with Told(path) as seen, progress.reported(str(path)), progress.at_work("folders/x"):
        examine(str(tarball), top="x", limits=Limits(1 << 40), deadline=Deadline())
        extract([str(tarball)], str(tmp_path / "to"), owners=False, deadline=Deadline())
    for doing in ("looked through", "unpacked"):
        entries = list(seen.of(doing))
        assert {entry["total"] for entry in entries} == {tarball.stat().st_size}, doing
        assert any(0 < entry["done"] < entry["total"] for entry in entries), doing


@pytest.mark.sampled(2)
@pytest.mark.parametrize("fetch", [False, True])
def test_what_an_rsync_moved_is_told_and_ends_with_all(tmp_path: Path, path: Path, fetch: bool) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    names = ["a", "b"]
    for folder in (one, other):
        folder.mkdir()
    for name in names:
        ((other if fetch else one) / name).write_bytes(os.urandom(3 * MIB))
    peer = Peer("cms01", str(other), bwlimit="3M")
    begin = time.monotonic()
    with Told(path) as seen, progress.reported(str(path)):
        carry(peer, str(one), names, Deadline(60), fetch=fetch, size=6 * MIB)
    assert time.monotonic() - begin > 0.5
    entries = list(seen.of("received" if fetch else "sent"))
    assert {entry["item"] for entry in entries} == {"from cms01" if fetch else "to cms01"}
    done = [entry["done"] for entry in entries]
    assert done == sorted(done) and done[-1] > 3 * MIB
    assert len(set(done)) > 3 and max(done) <= 6 * MIB
    for name in names:
        assert (one / name).read_bytes() == (other / name).read_bytes()
