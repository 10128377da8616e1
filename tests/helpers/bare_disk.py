"""A disk like exFAT, vfat and some SMB shares, by the kernel's own FUSE protocol: without links of either kind, with fixed modes.

    with bare_disk(tmp_path, refuse_modes=True) as top:
        ...

Names pass through to a folder behind it. The server is this file as a program of its own; it needs nothing but Python and /dev/fuse.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import errno
import os
import signal
import stat
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

_HEADER = struct.Struct("<IIQQIIIHH")
_ANSWER = struct.Struct("<IiQ")
_ATTRIBUTES = struct.Struct("<QQQQQQIIIIIIIIII")
_SETTING = struct.Struct("<IIQQQQQQIIIIIIII")
_MOST = 1 << 20
"""Bytes of one write"""
_ROOT = 1
_SIZE, _MODE, _UID, _GID, _ATIME, _MTIME, _BY_HANDLE, _ATIME_NOW, _MTIME_NOW = 8, 1, 2, 4, 16, 32, 64, 128, 256
_BIG_WRITES, _MAX_PAGES = 1 << 5, 1 << 22
_MS_NOSUID, _MS_NODEV, _MNT_DETACH = 2, 4, 2


@contextlib.contextmanager
def bare_disk(folder: Path, *, refuse_modes: bool = False, modes: int = 0o755) -> Iterator[Path]:
    """Mount such a disk in a folder, and yield its mount point. `modes` are those of all files and folders.

    A chmod or chown to another mode or owner does nothing (as on exFAT), or fails with EPERM. Skips the test without /dev/fuse.
    """
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as error:
        pytest.skip(f"/dev/fuse cannot be opened: {error.strerror}")
    behind, top = folder / "behind", folder / "bare"
    behind.mkdir()
    top.mkdir()
    words = [sys.executable, __file__, str(behind), str(top), f"--modes={modes:o}"]
    words += ["--refuse-modes"] if refuse_modes else []
    server = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert server.stdout is not None and server.stderr is not None
    try:
        if server.stdout.readline() != "mounted\n":
            pytest.skip(f"no file system of this process's own can be mounted here: {server.stderr.read().strip()}")
        yield top
    finally:
        if server.poll() is None:
            server.send_signal(signal.SIGTERM)
        server.communicate(timeout=10)


class _Refused(Exception):
    """A request is answered with this errno."""


class _Server:
    def __init__(self, device: int, behind: str, modes: int, refuse_modes: bool) -> None:
        self._device = device
        self._modes = modes
        self._refuse_modes = refuse_modes
        self._paths = {_ROOT: behind}
        self._ids = {behind: _ROOT}
        self._handles: dict[int, Any] = {}
        self._held: dict[int, int] = {}
        self._next = _ROOT
        self._answering: dict[int, Callable[[int, bytes], bytes]] = {
            1: self._lookup,
            3: self._getattr,
            4: self._setattr,
            9: self._mkdir,
            10: lambda node, data: self._remove(node, data, os.unlink),
            11: lambda node, data: self._remove(node, data, os.rmdir),
            12: lambda node, data: self._rename(node, data, 8),
            14: self._open,
            15: self._read,
            16: self._write,
            17: self._statfs,
            18: self._release,
            20: self._fsync,
            25: lambda node, data: b"",
            26: self._init,
            27: self._opendir,
            28: self._readdir,
            29: self._release,
            30: lambda node, data: b"",
            35: self._create,
            45: lambda node, data: self._rename(node, data, 16),
        }

    def serve(self) -> None:
        """Answer requests until the disk is unmounted."""
        while True:
            try:
                request = os.read(self._device, _MOST + 4096)
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return
                if error.errno in (errno.ENOENT, errno.EINTR, errno.EAGAIN):
                    continue
                raise
            _, opcode, unique, node, *_ = _HEADER.unpack_from(request)
            if opcode in (2, 36, 42):  # FORGET and INTERRUPT get no answer
                continue
            error, said = self._answer(opcode, node, request[_HEADER.size :])
            with contextlib.suppress(FileNotFoundError):  # nobody waits any more
                os.write(self._device, _ANSWER.pack(_ANSWER.size + len(said), -error, unique) + said)

    def _answer(self, opcode: int, node: int, data: bytes) -> tuple[int, bytes]:
        if opcode in (6, 8, 13):  # symbolic links, devices and pipes, hard links
            return errno.EPERM, b""
        if opcode in (21, 22, 23, 24):  # attributes
            return errno.EOPNOTSUPP, b""
        answering = self._answering.get(opcode)
        if answering is None:
            return errno.ENOSYS, b""
        try:
            return 0, answering(node, data)
        except _Refused as error:
            return error.args[0], b""
        except OSError as error:
            return error.errno or errno.EIO, b""

    def _init(self, node: int, data: bytes) -> bytes:
        _, minor, ahead, flags = struct.unpack_from("<IIII", data)
        flags &= _BIG_WRITES | _MAX_PAGES
        return struct.pack("<IIIIHHIIHHII24x", 7, min(minor, 31), ahead, flags, 16, 12, _MOST, 1, _MOST >> 12, 0, 0, 0)

    def _below(self, node: int, name: bytes) -> str:
        return os.path.join(self._paths[node], os.fsdecode(name.rstrip(b"\0")))

    def _attributes(self, status: os.stat_result) -> bytes:
        kind = stat.S_IFMT(status.st_mode)
        times = (status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns)
        seconds, rest = [time // 10**9 for time in times], [time % 10**9 for time in times]
        owner = (os.getuid(), os.getgid())
        numbers = (status.st_ino, status.st_size, status.st_blocks)
        return _ATTRIBUTES.pack(*numbers, *seconds, *rest, kind | self._modes, 1, *owner, 0, 4096, 0)

    def _entry(self, path: str) -> bytes:
        status = os.lstat(path)
        if path not in self._ids:
            self._next += 1
            self._ids[path] = self._next
            self._paths[self._next] = path
        return struct.pack("<QQQQII", self._ids[path], 0, 0, 0, 0, 0) + self._attributes(status)

    def _lookup(self, node: int, data: bytes) -> bytes:
        return self._entry(self._below(node, data))

    def _status(self, node: int, handle: int | None) -> os.stat_result:
        held = self._handles.get(handle) if handle is not None else None
        if isinstance(held, int):
            return os.fstat(held)
        try:
            return os.lstat(self._paths[node])
        except FileNotFoundError:  # removed while it is open
            return os.fstat(self._held[node])

    def _getattr(self, node: int, data: bytes) -> bytes:
        flags, _, handle = struct.unpack_from("<IIQ", data)
        return bytes(16) + self._attributes(self._status(node, handle if flags & 1 else None))

    def _setattr(self, node: int, data: bytes) -> bytes:
        valid, _, handle, size, _, *times, mode, _, uid, gid, _ = _SETTING.unpack_from(data)
        held = handle if valid & _BY_HANDLE else None
        other = valid & _MODE and mode & 0o7777 != self._modes
        other = other or (valid & _UID and uid != os.getuid()) or (valid & _GID and gid != os.getgid())
        if other and self._refuse_modes:
            raise _Refused(errno.EPERM)
        path = self._paths[node]
        if valid & _SIZE:
            os.truncate(self._handles[held] if held is not None else path, size)
        if valid & (_ATIME | _MTIME):
            status = self._status(node, held)
            new = [status.st_atime_ns, status.st_mtime_ns]
            for place, (wanted, now) in enumerate(((_ATIME, _ATIME_NOW), (_MTIME, _MTIME_NOW))):
                if valid & wanted and not valid & now:
                    new[place] = times[place] * 10**9 + times[place + 3]
            os.utime(path, ns=(new[0], new[1]))
        return bytes(16) + self._attributes(self._status(node, held))

    def _mkdir(self, node: int, data: bytes) -> bytes:
        path = self._below(node, data[8:])
        os.mkdir(path, 0o700)
        return self._entry(path)

    def _remove(self, node: int, data: bytes, remove: Callable[[str], None]) -> bytes:
        path = self._below(node, data)
        remove(path)
        self._forget(path)
        return b""

    def _forget(self, path: str) -> None:
        self._ids.pop(path, None)

    def _rename(self, node: int, data: bytes, start: int) -> bytes:
        (folder,) = struct.unpack_from("<Q", data)
        flags = struct.unpack_from("<I", data, 8)[0] if start == 16 else 0
        old_name, new_name, _ = data[start:].split(b"\0", 2)
        old, new = self._below(node, old_name), self._below(folder, new_name)
        if flags not in (0, 1):
            raise _Refused(errno.EINVAL)
        if flags and os.path.lexists(new):
            raise _Refused(errno.EEXIST)
        os.rename(old, new)
        self._forget(new)
        for path in [path for path in self._ids if path == old or path.startswith(old + "/")]:
            moved = new + path[len(old) :]
            self._ids[moved] = self._ids.pop(path)
            self._paths[self._ids[moved]] = moved
        return b""

    def _hold(self, held: Any) -> bytes:
        handle = (
            held
            if isinstance(held, int)
            else next(number for number in range(1 << 20, 1 << 30) if number not in self._handles)
        )
        self._handles[handle] = held
        return struct.pack("<QII", handle, 0, 0)

    def _open(self, node: int, data: bytes) -> bytes:
        (flags,) = struct.unpack_from("<I", data)
        kept = flags & (os.O_ACCMODE | os.O_TRUNC)
        self._held[node] = os.open(self._paths[node], kept)
        return self._hold(self._held[node])

    def _create(self, node: int, data: bytes) -> bytes:
        (flags,) = struct.unpack_from("<I", data)
        path = self._below(node, data[16:])
        kept = flags & (os.O_ACCMODE | os.O_TRUNC | os.O_EXCL)
        held = os.open(path, kept | os.O_CREAT, 0o600)
        entry = self._entry(path)
        self._held[self._ids[path]] = held
        return entry + self._hold(held)

    def _read(self, node: int, data: bytes) -> bytes:
        handle, offset, size = struct.unpack_from("<QQI", data)
        return os.pread(self._handles[handle], size, offset)

    def _write(self, node: int, data: bytes) -> bytes:
        handle, offset, size = struct.unpack_from("<QQI", data)
        return struct.pack("<II", os.pwrite(self._handles[handle], data[40 : 40 + size], offset), 0)

    def _fsync(self, node: int, data: bytes) -> bytes:
        (handle,) = struct.unpack_from("<Q", data)
        os.fsync(self._handles[handle])
        return b""

    def _release(self, node: int, data: bytes) -> bytes:
        (handle,) = struct.unpack_from("<Q", data)
        held = self._handles.pop(handle)
        if isinstance(held, int):
            os.close(held)
            self._held = {node: other for node, other in self._held.items() if other != held}
        return b""

    def _statfs(self, node: int, data: bytes) -> bytes:
        told = os.statvfs(self._paths[node])
        numbers = (told.f_blocks, told.f_bfree, told.f_bavail, told.f_files, told.f_ffree)
        return struct.pack("<QQQQQIIII24x", *numbers, told.f_bsize, 255, told.f_frsize, 0)

    def _opendir(self, node: int, data: bytes) -> bytes:
        with os.scandir(self._paths[node]) as entries:
            listed = [(entry.name, entry.inode(), 4 if entry.is_dir(follow_symlinks=False) else 8) for entry in entries]
        return self._hold([(".", 0, 4), ("..", 0, 4), *listed])

    def _readdir(self, node: int, data: bytes) -> bytes:
        handle, offset, size = struct.unpack_from("<QQI", data)
        said = b""
        for place, (name, inode, kind) in enumerate(self._handles[handle][offset:], offset + 1):
            raw = os.fsencode(name)
            entry = struct.pack("<QQII", inode or 1, place, len(raw), kind) + raw
            entry += bytes(-len(entry) % 8)
            if len(said) + len(entry) > size:
                break
            said += entry
        return said


def _mount(device: int, top: str) -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    words = f"fd={device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()},allow_other,default_permissions"
    if libc.mount(b"bare", os.fsencode(top), b"fuse.bare", _MS_NOSUID | _MS_NODEV, words.encode()):
        raise OSError(ctypes.get_errno(), f"mount: {os.strerror(ctypes.get_errno())}", top)
    return libc


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("behind")
    parser.add_argument("top")
    parser.add_argument("--modes", type=lambda value: int(value, 8), default=0o755)
    parser.add_argument("--refuse-modes", action="store_true")
    words = parser.parse_args()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    device = os.open("/dev/fuse", os.O_RDWR)
    try:
        libc = _mount(device, words.top)
    except OSError as error:
        sys.exit(str(error))
    server = _Server(device, words.behind, words.modes, words.refuse_modes)
    threading.Thread(target=server.serve, daemon=True).start()
    print("mounted", flush=True)
    signal.sigwait({signal.SIGTERM})
    libc.umount2(os.fsencode(words.top), _MNT_DETACH)


if __name__ == "__main__":
    _main()
