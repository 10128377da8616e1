"""Pipes that hold more, and of which is known that all was read."""

from __future__ import annotations

import fcntl
import os
import subprocess
import threading

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.system.pipes import wait_until_read, wide_pipe, widen

_GET_SIZE = 1032  # F_GETPIPE_SZ of Linux


def test_wide_pipe_holds_a_mebibyte_and_passes_it_on() -> None:
    reader, writer = wide_pipe()
    with reader, writer:
        assert fcntl.fcntl(reader.fileno(), _GET_SIZE) == 1 << 20
        content = os.urandom(1 << 20)
        assert writer.write(content) == len(content)  # nobody reads yet
        assert reader.read(1 << 20) == content


def test_pipe_that_may_not_be_wider_stays_as_it_is() -> None:
    with open(os.devnull, "rb") as no_pipe:
        widen(no_pipe)
        assert no_pipe.read() == b""


def test_what_was_read_is_waited_for() -> None:
    reader, writer = wide_pipe()
    with reader, writer:
        wait_until_read(writer)  # nothing was written
        writer.write(bytes(100_000))
        late = threading.Timer(0.1, lambda: reader.read(100_000))
        late.start()
        wait_until_read(writer)
        late.join()


@pytest.mark.parametrize("taken", [0, 1000])
def test_what_its_reader_left_is_told(taken: int) -> None:
    reader, writer = wide_pipe()
    with writer:
        writer.write(bytes(100_000))
        with subprocess.Popen(["head", "-c", str(taken)], stdin=reader, stdout=subprocess.DEVNULL):
            reader.close()
            with pytest.raises(BrokenPipeError):
                wait_until_read(writer)
