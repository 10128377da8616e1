"""Runs the programs of this collection that send something, each in a process of its own with a time limit."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

_GRACE = 2.0


def begin(program: str, job: Mapping[str, Any], *, isolated: bool = True) -> subprocess.Popen[bytes]:
    """Start a program; `job` is its input, with `timeout` in seconds. Unless `isolated`, it sees the libraries of its user."""
    process = subprocess.Popen(
        [sys.executable, "-I" if isolated else "-P", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    if process.stdin is None:
        raise AssertionError("a pipe was asked for")
    with contextlib.suppress(BrokenPipeError), process.stdin as stream:
        stream.write(json.dumps(job).encode())
    process.stdin = None
    return process


def end(process: subprocess.Popen[bytes], timeout: float) -> tuple[list[dict[str, Any]], str]:
    """Wait for the program, at most its time in seconds and a grace, then kill its group; return its lines, and why there are no more."""
    try:
        output, errors = process.communicate(timeout=timeout + _GRACE)
    except subprocess.TimeoutExpired:
        _kill_group(process.pid)
        output, errors = process.communicate()
    silent = process.returncode in (-signal.SIGALRM, -signal.SIGKILL)
    if silent:
        _kill_group(process.pid)  # it may have left a sendmail behind
    reason = f"no answer within {timeout:g} s" if silent else errors.decode("utf-8", "replace").strip()[-500:]
    return list(_entries(output)), reason or "sending ended early"


def _entries(output: bytes) -> Iterator[dict[str, Any]]:
    for line in output.splitlines():
        with contextlib.suppress(ValueError):
            entry = json.loads(line)
            if isinstance(entry, dict):
                yield entry


def _kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
