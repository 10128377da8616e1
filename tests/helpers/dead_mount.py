"""A mount whose server never answers, like NFS or sshfs with a dead link: a process that accesses it blocks and cannot even be killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

_SERVER = r"""
import ctypes, os, select, struct, sys

path = os.fsencode(sys.argv[1])
fuse = os.open("/dev/fuse", os.O_RDWR)
options = b"fd=%d,rootmode=40000,user_id=0,group_id=0" % fuse
libc = ctypes.CDLL(None)
if libc.mount(b"dead", path, b"fuse", 0, options):
    sys.exit("mount is not allowed")
_, _, unique = struct.unpack_from("<IIQ", os.read(fuse, 1 << 20))  # FUSE_INIT, see fuse(4)
answer = struct.pack("<IIIIHHI", 7, 31, 0, 0, 0, 0, 1 << 17).ljust(64, b"\0")
os.write(fuse, struct.pack("<IiQ", 16 + len(answer), 0, unique) + answer)
print("mounted", flush=True)
while 0 not in select.select([0, fuse], [], [])[0]:
    os.read(fuse, 1 << 20)
libc.umount2(path, 2)
"""


@contextlib.contextmanager
def dead_mount(path: Path, command: Callable[[list[str]], list[str]] = lambda argv: argv) -> Iterator[Path]:
    """Mount such a file system on a folder, made if need be; skip where that is not allowed. At the end blocked processes go on.

    `command` turns an argv into the one that runs it on another host of a lab.
    """
    path.mkdir(parents=True, exist_ok=True)
    server = subprocess.Popen(
        command([sys.executable, "-c", _SERVER, str(path)]),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with server:
        assert server.stdout is not None
        if not server.stdout.readline():
            pytest.skip("this machine does not let tests mount by FUSE")
        yield path


def run_apart(module: ModuleType, arguments: Mapping[str, Any], seconds: float = 3) -> dict[str, Any]:
    """Run a module with an answer timeout of so many seconds in a process of its own, killed if it hangs; return its result."""
    script = (
        "import importlib, json, sys; from ansible.module_utils.testing import patch_module_args\n"
        "from ansible_collections.altbackup.core.plugins.module_utils.system import mounts, process_groups\n"
        "mounts.SECONDS, process_groups.GRACE = float(sys.argv[3]), 0.2\n"
        "with patch_module_args(json.loads(sys.argv[2])): importlib.import_module(sys.argv[1]).main()"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with tempfile.TemporaryFile("w+") as output:  # a pipe would stay open as long as whatever hangs
        process = subprocess.Popen(
            [sys.executable, "-c", script, module.__name__, json.dumps(arguments), str(seconds)],
            env=environment,
            stdout=output,
            start_new_session=True,
        )
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        output.seek(0)
        result: dict[str, Any] = json.load(output)
        return result
