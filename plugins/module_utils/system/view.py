"""Views: a process sees, of the whole file system, one thing that another user owns and what programs need to start.

A process enters one before it reads what another user owns: links in it, including those swapped while it is read, lead nowhere, and
programs that meet something hostile have nothing to steal or spoil.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import pwd
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .confine import check, libc, mount, set_attributes
from .errors import InvalidInput
from .programs import search_path
from .seeing import switched
from .visible import printable

_NEW_MOUNTS, _NEW_NAMES, _NEW_IPC, _NEW_PIDS, _NEW_NETWORK = 0x00020000, 0x04000000, 0x08000000, 0x20000000, 0x40000000
_MS_READ_ONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REMOUNT = 1, 2, 4, 8, 32
_MS_BIND, _MS_MOVE, _MS_REC, _MS_PRIVATE = 1 << 12, 1 << 13, 1 << 14, 1 << 18
_MNT_DETACH = 2
_PR_SET_KEEPCAPS, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 8, 24, 38
_CAPABILITY_VERSION = 0x20080522
_ROOT = "/tmp"  # noqa: S108 (where the view is assembled: a mount of its own)
_PROGRAMS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "libexec", "share")
_STORES = ("/nix/store", "/gnu/store")
_SETTINGS = ("passwd", "group", "nsswitch.conf", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives")
_DEVICES = ("null", "zero", "full", "random", "urandom")
_MOST_LINKS = 40
READ_ANY, _CHOWN, _OVERRIDE, _FOWNER, _FSETID, _KILL, _SETGID, _SETUID, _SETPCAP, _ADMIN = 2, 0, 1, 3, 4, 5, 6, 7, 8, 21
_KEPT = (_CHOWN, _OVERRIDE, READ_ANY, _FOWNER, _FSETID, _KILL, _SETGID, _SETUID, _SETPCAP, _ADMIN)
"""Capabilities of capabilities(7) that root keeps in a view; the last one shows attributes `trusted.*` to tar"""


@dataclass(frozen=True)
class Place:
    """Something that a view holds: an absolute path, which is the same inside, and whether it is writable."""

    path: str
    writable: bool = False
    inside: str = ""
    """Its path inside, if that is another one"""
    absent: bool = False
    """Whether it is known to be absent, and so not shown"""
    below: str = ""
    """Folder below which only the other user has access: without a view, that user is allowed to pass through the folders between"""


def open_thing(path: str) -> int:
    """Open what an absolute path leads to as O_PATH, whatever may be swapped on the way.

    A link is followed only if it is root's or this process's own, or belongs to the owner of what is found: otherwise anyone who may write
    to a folder on the way could expose what others own. Raise InvalidInput or OSError.
    """
    parts = [part for part in reversed(path.split("/")) if part not in ("", ".")]
    owners: dict[int, str] = {}
    links = 0
    above = [os.open("/", os.O_PATH | os.O_DIRECTORY)]
    try:
        while parts:
            part = parts.pop()
            if part == "..":
                if len(above) > 1:
                    os.close(above.pop())
                continue
            entry = os.open(part, os.O_PATH | os.O_NOFOLLOW, dir_fd=above[-1])
            status = os.fstat(entry)
            if not stat.S_ISLNK(status.st_mode):
                above.append(entry)
                continue
            try:
                target = os.readlink("", dir_fd=entry)
            finally:
                os.close(entry)
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            if status.st_uid not in (0, os.geteuid()):
                owners[status.st_uid] = part
            if target.startswith("/"):
                while len(above) > 1:
                    os.close(above.pop())
            parts += [piece for piece in reversed(target.split("/")) if piece not in ("", ".")]
        owner = os.fstat(above[-1]).st_uid
        for uid, name in owners.items():
            if uid != owner:
                raise InvalidInput(
                    f"{printable(path)} leads through the link {printable(name)!r} of uid {uid} to what belongs to uid {owner}: "
                    "it is not followed; give the path itself"
                )
        return above.pop()
    except OSError as error:
        if error.filename is None or not os.path.isabs(str(error.filename)):
            raise OSError(error.errno, error.strerror, path) from error
        raise
    finally:
        for descriptor in above:
            os.close(descriptor)


def enter(places: Sequence[Place]) -> None:
    """Restrict the view of this process, the first of its process namespace, to the given places and what programs need.

    Raise OSError if the kernel does not allow that; then everything is seen as before.
    """
    system = list(_system_places())
    with _opened([*system, *(place for place in places if not place.absent)]) as opened:
        mount("", "/", "", _MS_REC | _MS_PRIVATE)
        mount("none", _ROOT, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=0755,size=64m")
        try:
            for path, target in _system_links():
                os.symlink(target, f"{_ROOT}{path}")
            os.mkdir(f"{_ROOT}{_ROOT}")
            os.chmod(f"{_ROOT}{_ROOT}", 0o1777)  # noqa: S103 (as programs expect it; nobody else sees this one)
            for number, (place, descriptor) in enumerate(opened):
                _show(place, descriptor, programs=number < len(system))
            os.makedirs(f"{_ROOT}/proc", exist_ok=True)
            with contextlib.suppress(OSError):  # forbidden in some containers; then programs do without
                mount("proc", f"{_ROOT}/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC | _MS_READ_ONLY)
            os.chdir(_ROOT)
            mount(".", "/", "", _MS_MOVE)
        except OSError:
            os.chdir("/")
            libc.umount2(os.fsencode(_ROOT), _MNT_DETACH)
            raise
    os.chroot(".")
    os.chdir("/")


def unshare() -> None:
    """Give this process its own namespaces of mounts, network, names and IPC, and its children one of processes. Raise OSError."""
    flags = _NEW_MOUNTS | _NEW_NAMES | _NEW_IPC | _NEW_PIDS | _NEW_NETWORK
    check(libc.unshare(flags), "namespaces")


def limit_capabilities(kept: Sequence[int] = _KEPT) -> None:
    """Drop all capabilities but those kept, and the ways to gain any. Raise OSError."""
    _forgo_capabilities(kept)
    _set_capabilities(kept)
    forbid_new_privileges()


def _forgo_capabilities(kept: Sequence[int]) -> None:
    """Drop all capabilities but those kept from the bounding set, so that no started program can gain them."""
    for capability in range(64):
        if capability not in kept and libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            if ctypes.get_errno() != errno.EINVAL:
                check(-1, "giving up capabilities")
            break


def _set_capabilities(kept: Sequence[int]) -> None:
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    held = (ctypes.c_uint32 * 6)()
    check(libc.capget(header, held), "looking at capabilities")
    wanted = sum(1 << capability for capability in kept)
    low, high = held[1] & wanted & 0xFFFFFFFF, held[4] & (wanted >> 32)
    check(libc.capset(header, (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)), "giving up capabilities")


def forbid_new_privileges() -> None:
    """Forbid that this process gains rights by set-user-id or file capabilities of a program (no_new_privs). Raise OSError."""
    check(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")


def become(uid: int, *, reads_any: bool = False) -> None:
    """Become a user, with his groups and without root's capabilities, except with `reads_any` that to read any file. Raise OSError."""
    switched(uid)
    groups, group = groups_of(uid)
    kept = [READ_ANY] if reads_any else []
    os.setgroups(groups)
    os.setresgid(group, group, group)
    _forgo_capabilities(kept)
    check(libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0), "keeping capabilities")
    os.setresuid(uid, uid, uid)
    _set_capabilities(kept)
    forbid_new_privileges()


def groups_of(uid: int) -> tuple[list[int], int]:
    """Return (all gids, primary gid) of a user, those of nobody if the node does not know him."""
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return [], _NOGROUP
    return os.getgrouplist(entry.pw_name, entry.pw_gid), entry.pw_gid


_NOGROUP = 65534


def _system_places() -> Iterator[Place]:
    """Yield what programs need to start, as far as it exists: root's folders, and those of the interpreter."""
    tops = ["/usr", "/usr/local", *_other_prefixes()]
    for top in tops:
        for name in _PROGRAMS:
            if os.path.isdir(f"{top}/{name}"):
                yield Place(f"{top}/{name}")
    for name in _PROGRAMS:
        if os.path.isdir(f"/{name}") and not os.path.islink(f"/{name}"):
            yield Place(f"/{name}")
    for path in (*_STORES, *(f"/etc/{name}" for name in _SETTINGS), *(f"/dev/{name}" for name in _DEVICES)):
        if os.path.exists(path):
            yield Place(path)


def _other_prefixes() -> list[str]:
    """Return the parents of the search path's and the interpreter's folders that are not the system's."""
    folders = [*search_path().split(os.pathsep), f"{sys.prefix}/bin", f"{sys.base_prefix}/bin"]
    tops = dict.fromkeys(os.path.dirname(os.path.realpath(folder)) for folder in folders)
    return [top for top in tops if top not in ("/", "/usr", "/usr/local") and not top.startswith("/usr/lib")]


def _system_links() -> Iterator[tuple[str, str]]:
    """Yield (path, target) of links at the top of the file system, such as /bin on newer systems."""
    for name in _PROGRAMS:
        if os.path.islink(f"/{name}"):
            yield f"/{name}", os.readlink(f"/{name}")


@contextlib.contextmanager
def _opened(places: Sequence[Place]) -> Iterator[list[tuple[Place, int]]]:
    opened: list[tuple[Place, int]] = []
    try:
        for place in places:
            opened.append((place, open_thing(place.path)))  # noqa: PERF401 (what is open is closed)
        yield opened
    finally:
        for _, descriptor in opened:
            os.close(descriptor)


def _show(place: Place, descriptor: int, *, programs: bool) -> None:
    """Mount an open file or folder at its path in the view; with `programs` they can be started from there."""
    inside = place.inside or place.path
    point = _make_point(inside, folder=stat.S_ISDIR(os.fstat(descriptor).st_mode))
    try:
        mount(f"/proc/self/fd/{descriptor}", f"/proc/self/fd/{point}", "", _MS_BIND | _MS_REC)
    finally:
        os.close(point)
    is_device = inside.startswith("/dev/")
    flags = _MS_NOSUID | (0 if is_device else _MS_NODEV) | (0 if programs else _MS_NOEXEC)
    _limit(f"{_ROOT}{inside}", flags | (0 if place.writable or is_device else _MS_READ_ONLY))


def _limit(path: str, flags: int) -> None:
    """Add restrictions to a mount and all below it; before Linux 5.12 to itself alone. Raise OSError."""
    try:
        set_attributes(path, flags, below=True)  # these flags are the same in mount(2) and mount_setattr(2)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        mount("", path, "", _MS_REMOUNT | _MS_BIND | flags)


def _make_point(path: str, folder: bool) -> int:
    """Return a file or folder of the view, made if missing, as a mount point, opened; no link is followed. Raise OSError."""
    parts = [part for part in path.split("/") if part]
    above = os.open(_ROOT, os.O_PATH | os.O_DIRECTORY)
    try:
        return _made_below(above, parts, folder)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error


def _made_below(above: int, parts: Sequence[str], folder: bool) -> int:
    try:
        for number, part in enumerate(parts):
            if number < len(parts) - 1 or folder:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, 0o755, dir_fd=above)
            else:
                with contextlib.suppress(FileExistsError):
                    os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644, dir_fd=above))
            entry = os.open(part, os.O_PATH | os.O_NOFOLLOW, dir_fd=above)
            os.close(above)
            above = entry
        return above
    except BaseException:
        os.close(above)
        raise
