"""Digests of files."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.system import digest
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import DeadlineExceeded
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline


@pytest.mark.parametrize("algorithm", sorted(digest.DIGEST_LENGTHS))
@pytest.mark.parametrize("size", [0, 1, digest.CHUNK - 1, digest.CHUNK, digest.CHUNK + 1, 3 * digest.CHUNK + 7])
@pytest.mark.parametrize("from_disk", [False, True])
def test_digest_and_size_are_those_of_the_bytes(tmp_path: Path, algorithm: str, size: int, from_disk: bool) -> None:
    content = os.urandom(size)
    (tmp_path / "x").write_bytes(content)
    expected = hashlib.new(algorithm, content).hexdigest()
    assert len(expected) == digest.DIGEST_LENGTHS[algorithm]
    assert digest.digest_file(str(tmp_path / "x"), algorithm, from_disk=from_disk) == (expected, size)


def test_disk_reads_ahead_of_the_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = 11 * digest.CHUNK + 5
    (tmp_path / "x").write_bytes(bytes(size))
    ahead: list[tuple[int, int]] = []

    def advise(_descriptor: int, start: int, length: int, advice: int) -> None:
        if advice == os.POSIX_FADV_WILLNEED:
            ahead.append((start, start + length))

    monkeypatch.setattr(os, "posix_fadvise", advise)
    assert digest.digest_file(str(tmp_path / "x"), "sha256") == (hashlib.sha256(bytes(size)).hexdigest(), size)
    assert ahead[0][0] <= 4 * digest.CHUNK
    assert ahead[-1][1] >= size
    assert [start for start, _ in ahead[1:]] == [end for _, end in ahead[:-1]]


def test_what_is_no_plain_file_is_refused_without_waiting(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    open_before = len(os.listdir("/proc/self/fd"))
    for name in ("folder", "pipe", "link", "missing"):
        with pytest.raises(OSError, match=name) as error:
            digest.digest_file(str(tmp_path / name), "md5")
        assert error.value.filename == str(tmp_path / name)
    with pytest.raises(OSError, match="is no plain file"):
        digest.digest_file("/dev/zero", "md5")
    assert len(os.listdir("/proc/self/fd")) == open_before


def test_an_error_of_reading_names_its_file() -> None:
    with pytest.raises(OSError, match="/proc/self/mem") as error:
        digest.digest_file("/proc/self/mem", "md5")  # its first page cannot be read
    assert error.value.filename == "/proc/self/mem"


def test_results_stand_in_the_order_of_the_arguments() -> None:
    assert digest.in_parallel(lambda value: value * 2, list(range(100))) == list(range(0, 200, 2))
    assert digest.in_parallel(lambda value: value, []) == []


def test_work_is_done_at_the_same_time() -> None:
    together = threading.Barrier(2, timeout=30)
    assert len(digest.in_parallel(lambda _: together.wait(), [1, 2], 2)) == 2


def test_as_many_work_as_there_are_cores() -> None:
    seen: set[int] = set()
    lock = threading.Lock()
    waiting = threading.Barrier(digest.cores(), timeout=30)

    def work(_: int) -> None:
        with lock:
            seen.add(threading.get_ident())
        waiting.wait()

    digest.in_parallel(work, list(range(4 * digest.cores())))
    assert len(seen) == (digest.cores() if digest.cores() > 1 else 1)


def test_an_error_reaches_the_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        digest.in_parallel(lambda value: 1 // value, [1, 0, 1])


def test_reading_ends_at_the_limit_of_the_step(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x")
    with digest.limited(Deadline(0, "check")), pytest.raises(DeadlineExceeded, match="the check took longer"):
        digest.digest_file(str(tmp_path / "x"), "md5")
    assert digest.digest_file(str(tmp_path / "x"), "md5")[1] == 1


@pytest.mark.parametrize("count", [0, 1, digest.CHUNK - 1, digest.CHUNK, 2 * digest.CHUNK + 5])
def test_zeros_that_nobody_reads_give_the_digest_of_zeros(count: int) -> None:
    value = digest.new_hash("sha256")
    value.update(b"x")
    digest.add_zeros(value, count)
    assert value.hexdigest() == hashlib.sha256(b"x" + bytes(count)).hexdigest()
