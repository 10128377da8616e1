"""Calls modules of the collection, each in a process of its own, forked from here, where everything is imported already.

Input: one call a line, {"module", "arguments", "output", "strace"}; `strace` is the tail of strace's command line, or null. Output: one
line for each, {"status"} from waitpid, when the module and all its children have ended. The module's stdout and stderr are in the file
`output`. Started by modules.py as the first process of a PID namespace, so that no other process is visible.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from ansible.module_utils.testing import patch_module_args

MODULES = "ansible_collections.altbackup.core.plugins.modules"
PATIENCE = 60
TRACED = 20_000
"""Pid of every traced module, so that names made of it are the same in each call"""


def main() -> None:
    """Serve calls until the input ends."""
    for line in sys.stdin:
        call = json.loads(line)
        print(json.dumps({"status": serve(**call)}), flush=True)


def serve(module: str, arguments: dict[str, Any], output: str, strace: Sequence[str] | None) -> int:
    """Call a module; return its status."""
    main_of = importlib.import_module(f"{MODULES}.{module}").main
    gate = os.pipe()
    if strace is not None:
        Path("/proc/sys/kernel/ns_last_pid").write_text(str(TRACED - 1), encoding="ascii")
    child = os.fork()
    if child == 0:
        if strace is not None:
            tempfile._name_sequence = (f"traced{number}" for number in itertools.count())  # type: ignore[attr-defined]
        run(main_of, arguments, output, gate)
    if strace is not None and child != TRACED:
        raise SystemExit(f"process {TRACED} is still there, the module got {child}")
    os.close(gate[0])
    tracer = None if strace is None else attach(child, strace)
    os.write(gate[1], b"x")
    os.close(gate[1])
    _, status = os.waitpid(child, 0)
    if tracer is not None:
        tracer.wait(PATIENCE)
    collect_orphans()
    return status


def collect_orphans() -> None:
    """Reap what modules have left and has ended: all of its namespace becomes a child of this process, and what scans /proc would look at each."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def attach(child: int, words: Sequence[str]) -> subprocess.Popen[bytes]:
    """Let strace follow a process and what it starts."""
    tracer = subprocess.Popen(["strace", "-f", "-qq", *words, "-p", str(child)], stdin=subprocess.DEVNULL)
    end = time.monotonic() + PATIENCE
    while "TracerPid:\t0\n" in open(f"/proc/{child}/status", encoding="ascii").read():
        if tracer.poll() is not None or time.monotonic() > end:
            raise SystemExit(f"strace {' '.join(words)} did not attach")
        time.sleep(0.001)
    return tracer


def run(main_of: Any, arguments: dict[str, Any], output: str, gate: tuple[int, int]) -> NoReturn:
    """Be the process of a module."""
    os.close(gate[1])
    sink = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    source = os.open(os.devnull, os.O_RDONLY)
    for descriptor, number in ((source, 0), (sink, 1), (sink, 2)):
        os.dup2(descriptor, number)
    os.closerange(3, gate[0])
    os.closerange(gate[0] + 1, 64)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.umask(0o022)
    os.read(gate[0], 1)
    os.close(gate[0])
    code = 0
    try:
        with patch_module_args(arguments):
            main_of()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException as error:  # noqa: BLE001 (as the interpreter would)
        sys.excepthook(type(error), error, error.__traceback__)
        code = 1
    sys.stdout.flush()
    atexit._run_exitfuncs()
    os._exit(code)


if __name__ == "__main__":
    main()
