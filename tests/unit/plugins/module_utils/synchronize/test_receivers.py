"""Processes that still write into an incoming folder are ended; no others are."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from helpers.original_trees import put
from helpers.pair import DAY3, Pair, content, part_of, relpath

from ansible_collections.altbackup.core.plugins.module_utils.synchronize import receivers


@contextmanager
def writer(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Have a file open for writing in another process."""
    program = "import sys, time; f = open(sys.argv[1], 'r+b'); print('open', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield process
        finally:
            process.kill()


def test_receiver_that_still_writes_is_ended_before_its_file_is_accepted(pair: Pair) -> None:
    data = content(1)
    put(pair.source, relpath(DAY3), data)
    prepared = pair.prepare()
    pair.carry(prepared["tarballs"])
    arrived = pair.incoming / part_of(data)
    arrived.write_bytes(data)
    with writer(arrived) as process:
        assert Pair(pair.source, pair.copies).accept(prepared["tarballs"])["failures"] == []
        assert process.wait(10) == -9
    assert pair.there() == {relpath(DAY3): data}


def test_who_only_reads_is_left_alone(pair: Pair) -> None:
    pair.prepare()
    pair.incoming.mkdir(parents=True, exist_ok=True)
    (pair.incoming / "x").write_bytes(b"x")
    with (
        open(pair.incoming / "x", "rb"),
        subprocess.Popen(["tail", "-f", pair.incoming / "x"], stdout=subprocess.DEVNULL) as reader,
    ):
        try:
            assert receivers.end_receivers(str(pair.incoming)) == []
            assert reader.poll() is None
        finally:
            reader.kill()
