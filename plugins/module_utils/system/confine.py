"""Confinement in which proofs run. A program of its own, which needs nothing but Python's standard library.

Sandbox hands its text to a new interpreter. There it enters namespaces without network, makes all files read-only but one folder, drops its
user and its capabilities for good, sets limits, and becomes the requested program.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import importlib.abc
import importlib.util
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from typing import Any

HOME = "/tmp"  # noqa: S108 (an empty file system of its own)
ROOM = "/tmp/room"  # noqa: S108
"""Where the one writable folder is seen from inside"""
_NULL = "/dev/null"
REFUSED = 125
"""Exit code if the kernel does not allow the confinement: then nothing was run"""

_NEW_MOUNTS, _NEW_NAMES, _NEW_IPC, _NEW_USER, _NEW_PIDS, _NEW_NETWORK = (
    0x00020000,
    0x04000000,
    0x08000000,
    0x10000000,
    0x20000000,
    0x40000000,
)
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 2, 4, 8, 1 << 12, 1 << 14, 1 << 18
_READ_ONLY, _NO_SUID, _NO_DEVICES, _NO_EXEC = 1, 2, 4, 8
_SYS_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE = 442, -100, 0x8000
_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 24, 38
_CAPABILITY_VERSION = 0x20080522

libc = ctypes.CDLL(None, use_errno=True)


class _Attributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "user_namespace")]


class _Program(importlib.abc.InspectLoader):
    """Loads a program of this collection from its text."""

    def __init__(self, text: str) -> None:
        self._text = text

    def get_source(self, fullname: str) -> str:
        return self._text


def load(text: str) -> Any:
    """Return a program of this collection, given as text, as a module; all its imports are done now."""
    spec = importlib.util.spec_from_loader("program", _Program(text))
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module


def confine(settings: dict[str, Any], become: Callable[[], int]) -> int:
    """Call a function in a confined child; return its exit code, negative for a signal. Raise OSError.

    `settings` are as Sandbox writes them.
    """
    _enter_namespaces()
    _arrange_files(settings["room"], settings["masked"], bool(settings["capabilities"]))
    child = os.fork()
    if child:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # the child's end is that of all that it started
            signal.signal(number, lambda *_: os.kill(child, signal.SIGKILL))
        _, status = os.waitpid(child, 0)
        return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    code = REFUSED
    try:
        _restrict(settings)
        code = become()
    except OSError as error:
        _say(error)
    except BaseException as error:  # noqa: BLE001 (the child must not run on into the parent's code)
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        code = 1
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def check(result: int, what: str) -> None:
    """Raise OSError, with `what` as its file name, if a call of the C library did not return 0."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def _enter_namespaces() -> None:
    user, group = os.geteuid(), os.getegid()
    flags = _NEW_MOUNTS | _NEW_NAMES | _NEW_IPC | _NEW_PIDS | _NEW_NETWORK
    check(libc.unshare(flags if user == 0 else flags | _NEW_USER), "namespaces")
    if user != 0:
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as stream:
                stream.write(text)


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    """Call mount(2); `flags` are its numbers. Raise OSError."""
    words = (os.fsencode(word) if word else None for word in (source, target, kind))
    check(libc.mount(*words, ctypes.c_ulong(flags), options.encode() or None), f"mount on {target}")


def set_attributes(path: str, set_: int = 0, clear: int = 0, below: bool = False) -> None:
    """Set and clear attributes of a mount, and with `below` of all mounts below it (Linux 5.12). Raise OSError."""
    attributes = _Attributes(set_, clear, 0, 0)
    where = (ctypes.c_long(_AT_FDCWD), os.fsencode(path), ctypes.c_ulong(_AT_RECURSIVE if below else 0))
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    result = libc.syscall(ctypes.c_long(_SYS_MOUNT_SETATTR), *where, ctypes.byref(attributes), size)
    check(result, f"attributes of the mount on {path}")


def _open_room(room: str) -> int:
    """Open a folder in this mount namespace; a path through an open file leads to the previous one. Raise OSError if it was swapped."""
    descriptor = os.open(os.path.realpath(room), os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
    if not os.path.samestat(os.fstat(descriptor), os.stat(room)):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), room)
    return descriptor


def _arrange_files(room: str, masked: list[str], privileged: bool) -> None:
    """Make all mounts read-only but the room and an empty home; nothing in these two can be executed.

    A `privileged` process has no device but /dev/null: a device can be written to even on a read-only file system.
    """
    quiet = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    mount("", "/", "", _MS_REC | _MS_PRIVATE)
    descriptor = _open_room(room) if room else -1
    if os.path.isdir("/run"):  # hides the sockets of others' daemons
        mount("none", "/run", "tmpfs", quiet, "mode=0755,size=64k")
    mount("none", HOME, "tmpfs", quiet, "mode=1777,size=64m")
    os.mkdir(ROOM)
    if room:
        mount(f"/proc/self/fd/{descriptor}", ROOM, "", _MS_BIND)
        os.close(descriptor)
    for path in masked:
        inside = os.path.join(ROOM, path)
        if os.path.isfile(inside) and not os.path.islink(inside):
            mount("/dev/null", inside, "", _MS_BIND)
    if privileged:
        _hide_devices()
    set_attributes("/", _READ_ONLY | _NO_SUID | (_NO_DEVICES if privileged else 0), below=True)
    if privileged:
        set_attributes(_NULL, 0, _NO_DEVICES)
    for path in (HOME, ROOM) if room else (HOME,):
        set_attributes(path, _NO_SUID | _NO_DEVICES | _NO_EXEC, _READ_ONLY)


def _hide_devices() -> None:
    descriptor = os.open(_NULL, os.O_PATH | os.O_NOFOLLOW)
    mount("none", os.path.dirname(_NULL), "tmpfs", _MS_NOSUID | _MS_NOEXEC, "mode=0755,size=64k")
    os.close(os.open(_NULL, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    mount(f"/proc/self/fd/{descriptor}", _NULL, "", _MS_BIND)
    os.close(descriptor)


def _restrict(settings: dict[str, Any]) -> None:
    """Become the user, drop all capabilities but those kept, set the limits, and enter the room. Raise OSError."""
    kept = settings["capabilities"]
    with contextlib.suppress(
        OSError
    ):  # refused in some containers; then other processes are seen, but cannot be reached
        mount("proc", "/proc", "proc", _MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    os.chdir(ROOM)
    os.umask(settings["umask"])
    os.closerange(3, 4096)
    for name, value in settings["limits"].items():
        kind = getattr(resource, name)
        highest = resource.getrlimit(kind)[1]
        lowest = value if highest == resource.RLIM_INFINITY else min(value, highest)
        resource.setrlimit(kind, (lowest, lowest))
    for capability in range(64):
        if capability in kept:
            continue
        if libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            if ctypes.get_errno() != errno.EINVAL:
                check(-1, "giving up capabilities")
            break
    if os.geteuid() == 0 and not kept:
        os.setgroups([])
        os.setresgid(settings["gid"], settings["gid"], settings["gid"])
        os.setresuid(settings["uid"], settings["uid"], settings["uid"])
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    mask = sum(1 << capability for capability in kept)
    check(libc.capset(header, (ctypes.c_uint32 * 6)(mask, mask)), "giving up capabilities")
    check(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")
    check(libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "an end with its parent")
    if settings["merged"]:
        os.dup2(1, 2)


def _say(error: OSError) -> None:
    sys.stderr.write(f"the kernel does not allow {error.filename or 'it'}: {error.strerror}\n")


def main(settings: dict[str, Any], argv: list[str]) -> int:
    """Run the program of `settings`, or else `argv`, confined; return the exit code."""
    program = load(settings["program"]) if settings["program"] else None

    def become() -> int:
        return os.execve(argv[0], argv, dict(os.environ)) if program is None else int(program.main(argv))

    try:
        code = confine(settings, become)
    except OSError as error:
        _say(error)
        return REFUSED
    if code < 0:
        with contextlib.suppress(OSError):  # SIGKILL has no handler
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1]), sys.argv[2:]))
