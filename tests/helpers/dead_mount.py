"""A mount whose server never answers, as one of NFS or sshfs whose link died: who looks at it waits, and cannot even be killed."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

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
def dead_mount(path: Path) -> Iterator[Path]:
    """Make a folder and mount such a file system there; skip where that is not allowed. At the end who waits goes on."""
    path.mkdir(parents=True)
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    with server:
        assert server.stdout is not None
        if not server.stdout.readline():
            pytest.skip("this machine does not let tests mount by FUSE")
        yield path
