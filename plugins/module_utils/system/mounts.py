"""Paths that do not answer: on a mount whose server is gone, stat(2) blocks for ever, and the calling process cannot be killed."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeVar

from .errors import AltbackupError, DeadlineExceeded
from .processes import Child, Deadline
from .programs import clean_environment, inherited_environment
from .temporary import temporary_stream

Place = TypeVar("Place", bound=Hashable)

SECONDS = 30.0
"""Seconds within which a path must answer"""
_LOOK = r"""
import os, sys, threading, time

paths = list(enumerate(sys.stdin.buffer.read().split(b"\0")))
paths.reverse()

def look():
    while True:
        try:
            number, path = paths.pop()
        except IndexError:
            return
        try:
            os.stat(path)
        except OSError:
            pass
        os.write(1, b"%d\n" % number)

threading.stack_size(1 << 18)
more = 1
while paths:
    for _ in range(min(more, len(paths))):
        try:
            threading.Thread(target=look).start()
        except RuntimeError:  # as many threads as this user may have
            break
    more *= 2  # whatever number of those that look may hang
    time.sleep(0.01)
"""


def find_hung(paths: Sequence[str], seconds: float) -> set[str]:
    """Return the paths whose stat does not return within so many seconds; an error counts as an answer.

    A child process asks, with more threads the more paths are slow. A child that cannot be killed is left alone, and does not hold the
    lock.
    """
    wanted = list(dict.fromkeys(paths))
    if not wanted:
        return set()
    with temporary_stream(b"\0".join(map(os.fsencode, wanted))) as source, tempfile.TemporaryFile() as answers:
        argv = [sys.executable, "-I", "-S", "-c", _LOOK]
        environment = clean_environment(
            **inherited_environment("LD_LIBRARY_PATH")
        )  # where Python's own libraries may be
        with Child(argv, environment=environment, stdin=source, stdout=answers, locking=False) as child:
            with contextlib.suppress(DeadlineExceeded):
                child.check(Deadline(seconds, "look at paths"), "looking at paths")
        answers.seek(0)
        answered = {int(line) for line in answers.read().split()}
    return {path for number, path in enumerate(wanted) if number not in answered}


def find_hung_within(
    places: Mapping[Place, str], seconds: float, enters: Callable[[Place, str], bool] = lambda place, inside: True
) -> dict[Place, str]:
    """Return {place: the path of it that does not answer}: of {place: path}, the path itself or a mount below it.

    `enters` tells of a place and a mount, relative to its path, whether the mount belongs to it.
    """
    found: dict[Place, str] = {}

    def look(wanted: Mapping[Place, Sequence[str]]) -> None:
        asked = find_hung([path for paths in wanted.values() for path in paths], seconds)
        found.update({place: path for place, paths in wanted.items() for path in paths if path in asked})

    look({place: [path] for place, path in places.items()})
    mounts = mount_points()
    below: dict[Place, list[str]] = {}
    for place, path in places.items():
        if place not in found:
            top = os.path.realpath(path).rstrip("/") + "/"
            inside = [mount[len(top) :] for mount in mounts if mount.startswith(top) and mount != top]
            below[place] = [top + mount for mount in inside if enters(place, mount)]
    look(below)
    return found


def require_answer(path: str, deadline: Deadline) -> None:
    """Raise AltbackupError if a path, or a mount below it, does not answer. Raise DeadlineExceeded."""
    seconds = answer_timeout(deadline)
    for place in find_hung_within({path: path}, seconds).values():
        raise AltbackupError(hung_message(place, seconds))


def answer_timeout(deadline: Deadline) -> float:
    """Return the seconds within which a path must answer before the deadline. Raise DeadlineExceeded if none are left."""
    return deadline.at_most(SECONDS)


def hung_message(path: str, seconds: float) -> str:
    """Return the message about a path that did not answer within so many seconds."""
    return f"{path} does not answer within {seconds:g} s: is the server of its mount up?"


def mount_points() -> list[str]:
    """Return the mount points of this node."""
    return [_unescaped(fields[4]) for fields in _mounts()]


def file_system(path: str) -> str:
    """Return the type of the file system of a path, like `ext4` or `nfs4`; empty if the kernel does not list it."""
    device = os.stat(path).st_dev
    number = f"{os.major(device)}:{os.minor(device)}".encode()
    types = [fields[fields.index(b"-") + 1] for fields in _mounts() if fields[2] == number]
    return types[0].decode("ascii", "replace") if types else ""


_NUMBERED = ("ext2", "ext3", "ext4")
"""File systems whose id in statvfs(3) is made of their UUID"""


class Disks:
    """Finds the UUIDs of file systems on this node's disks without reading the disks, which only root may."""

    def __init__(self, devices: str = "/dev", known: str = "/run/udev/data") -> None:
        self._devices = devices
        self._known = known

    def uuid_of(self, number: str, source: str) -> str:
        """Return the UUID on a mount's device, empty if unknown; `number` is major:minor, `source` the mount's source."""
        numbers = [number]
        if source.startswith("/dev/"):
            with contextlib.suppress(OSError):
                numbers.insert(0, _number_of(os.path.join(self._devices, source[len("/dev/") :])))
        return next((uuid for each in numbers if not each.startswith("0:") and (uuid := self._find(each))), "")

    def _find(self, number: str) -> str:
        with contextlib.suppress(OSError), open(f"{self._known}/b{number}", "rb") as stream:
            for line in stream:
                if line.startswith(b"E:ID_FS_UUID="):
                    return os.fsdecode(line.strip().partition(b"=")[2])
        folder = os.path.join(self._devices, "disk/by-uuid")
        with contextlib.suppress(OSError):
            for name in sorted(os.listdir(folder)):
                with contextlib.suppress(OSError):
                    if _number_of(os.path.join(folder, name)) == number:
                        return re.sub(r"\\x([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), name)
        return ""


_DISKS = Disks()


def identity_of(descriptor: int, disks: Disks = _DISKS) -> str:
    """Return the identity of the file system of an open file, the same after each boot; empty if unknown.

    It is the UUID, or else type and source; device numbers and kernel names depend on the order in which disks are found and are not used.
    A mount that is made on access (autofs) has none.
    """
    with open(f"/proc/self/fdinfo/{descriptor}", "rb") as stream:
        number = next((line.split()[1] for line in stream if line.startswith(b"mnt_id:")), b"")
    fields = next((fields for fields in _mounts() if fields[0] == number), None)
    if fields is None:
        return ""
    kind, source = (_unescaped(field) for field in fields[fields.index(b"-") + 1 :][:2])
    if kind == "autofs":
        return ""
    if kind == "zfs":  # each night's snapshot has another name
        source = source.partition("@")[0]
    uuid = disks.uuid_of(fields[2].decode("ascii"), source)
    if uuid:
        return f"UUID {uuid}"
    if kind in _NUMBERED:
        return f"{kind} {os.fstatvfs(descriptor).f_fsid:016x}"
    return kind if re.fullmatch("/dev/[^/]+", source) else f"{kind} {source}"


def _number_of(path: str) -> str:
    """Return the device number, major:minor, of a device file. Raise OSError."""
    device = os.stat(path).st_rdev
    return f"{os.major(device)}:{os.minor(device)}"


def _unescaped(field: bytes) -> str:
    """Return a field of mountinfo as text, without its octal escapes."""
    return os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), field))


def _mounts() -> list[list[bytes]]:
    """Return the fields of each mount, which the kernel knows without asking a server; see proc(5), mountinfo."""
    with open("/proc/self/mountinfo", "rb") as stream:
        return [line.split() for line in stream]
