"""Forced command of a pair's line in authorized_keys: what its key may do. A program of its own, of Python's standard library.

It only adds to `<base>/.altbackup/incoming/<source>`, and only reads from `<base>/.altbackup/outgoing/<target>`. The requested command is
parsed without a shell and compared with the words that transfers of this collection use; rsync is started in that folder by an argv made
here, kept from everything else by the kernel where it can be. Files that arrived whole are moved out of its reach. A pair has one session:
a newer one ends an older one. Sessions and refusals are logged in syslog and beside the folder.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import hashlib
import json
import os
import re
import resource
import shutil
import signal
import stat
import struct
import subprocess
import sys
import syslog
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

VERSION = 1
HELLO = "altbackup hello"
"""Command with which a peer asks what this program is, and from which address it was asked"""
REFUSED = 77
"""Exit code of what is not allowed (EX_NOPERM of sysexits)"""
STATES = {"incoming": "receive", "outgoing": "lend"}
"""{kind of folder: name of the folder in which this program keeps its state of a pair}"""
BASIS, CARRIED, WHOLE, LOG = "basis", "carried", "whole", "log"
TRANSIT = re.compile(r"[a-z0-9]{1,16}-[0-9a-f]{32,128}")
"""File name during a transfer: `<algorithm>-<digest>`"""

_PATH = "/usr/local/bin:/usr/bin:/bin:/opt/homebrew/bin:/run/current-system/sw/bin"
_LONGEST = 4096
_WORDS = re.compile(r"[A-Za-z0-9_./,:+@%= -]*")
"""Characters of a command: none that a shell would interpret or that would need unquoting"""
_FLAGS = re.compile(r"-(n?)pI(R?)e[0-9]{0,3}\.[0-9]{0,3}[iLsfxCIvu]{0,12}")
_VALUES = {"--timeout": re.compile(r"[0-9]{1,6}"), "--bwlimit": re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,3})?")}
_NICE = re.compile(r"1?[0-9]")
_IONICE = {"2": 2, "3": 3}
_TIMEOUT = 600
"""Seconds of silence after which rsync gives up, if the peer sets no limit"""
_POLL = 0.2
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_GRACE = 5.0
_RESERVE = 16 << 20
"""Bytes that stay free on the disk"""
_MOST_FILES = 10_000
_MOST_MEMORY = 4 << 30
_JUDGING = 20.0
"""Most seconds spent at the start of a session on hashing what arrived before: the peer waits"""
_LOG_SIZE = 1 << 20
_SHOWN = 240
_CHUNK = 1 << 20

_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 24, 38
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_PATH_BENEATH = 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_MAKE_REG, _REFER, _TRUNCATE, _IOCTL = 1 << 8, 1 << 13, 1 << 14, 1 << 15
_RIGHTS = ((1, (1 << 13) - 1), (2, _REFER), (3, _TRUNCATE), (5, _IOCTL))
"""(version of Landlock, rights of files that it can take away from that version on)"""
_NETWORK = (4, 0b11)
_SCOPES = (6, 0b11)
_SYSTEM = ("/usr", "/bin", "/lib", "/lib32", "/lib64", "/nix/store", "/gnu/store", "/opt/homebrew")
_SETTINGS = ("ld.so.cache", "ld.so.preload", "nsswitch.conf", "passwd", "group", "localtime", "rsyncd.conf")

libc = ctypes.CDLL(None, use_errno=True)


class Refused(Exception):
    """The requested command is not allowed."""


class _Ruleset(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("files", "network", "scopes")]


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = [("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32)]


@dataclass(frozen=True)
class Session:
    """A peer's request, parsed."""

    sends: bool
    """Whether this side sends: rsync is started with --sender"""
    dry: bool
    flags: str
    options: tuple[str, ...]
    name: str = ""
    """The one file that arrives, if the peer names it"""
    nice: int = 0
    ionice: tuple[int, int] | None = None

    def argv(self, rsync: str) -> list[str]:
        """Return the argv of rsync, to be started in the pair's folder."""
        way = ["--sender"] if self.sends else []
        modes = (
            [] if self.sends else ["--chmod=D700,F600"]
        )  # overrides the modes that the peer sends for its files and for the folder itself
        return [rsync, "--server", *way, self.flags, *self.options, *modes, ".", f"./{self.name}"]


@dataclass
class Room:
    """The folder of a pair, and this program's state beside it."""

    folder: str
    limit: int = 0
    """Most bytes that may lie in it; 0 for no limit but the disk"""
    reads: bool = field(init=False)
    state: str = field(init=False)

    def __post_init__(self) -> None:
        """Raise Refused for a folder that is not a pair's."""
        above, self.pair = os.path.split(self.folder)
        private, kind = os.path.split(above)
        if (
            not os.path.isabs(self.folder)
            or os.path.normpath(self.folder) != self.folder
            or os.path.basename(private) != ".altbackup"
            or kind not in STATES
        ):
            raise Refused(
                f"{shown(self.folder)} is no folder of a pair: .../.altbackup/incoming/SOURCE or .../.altbackup/outgoing/TARGET"
            )
        self.reads = kind == "outgoing"
        self.private = private
        self.state = os.path.join(private, STATES[kind], self.pair)

    @property
    def whole(self) -> str:
        """Folder of files that arrived whole."""
        return os.path.join(self.state, WHOLE)


def shown(text: str) -> str:
    """Return untrusted text as one line of printable ASCII, cut to 240 characters."""
    plain = "".join(letter if " " <= letter <= "~" else "?" for letter in text[:_SHOWN])
    return f"{plain}..." if len(text) > _SHOWN else plain


def parse(command: str, folder: str, *, reads: bool) -> Session:
    """Return the session that a peer's command asks for in its pair's folder. Raise Refused for a command that transfers do not use."""
    if len(command) > _LONGEST or not _WORDS.fullmatch(command):
        raise Refused("it has other characters than transfers use, or is too long")
    words = command.split(" ")
    nice, ionice, words = _priority(words)
    if words[:2] != ["rsync", "--server"]:
        raise Refused("it is no rsync --server")
    words = words[2:]
    sends = words[:1] == ["--sender"]
    if sends != reads:
        raise Refused("this key only reads" if reads else "this key reads nothing")
    words = words[1:] if sends else words
    flags = _FLAGS.fullmatch(words[0]) if words else None
    if not flags:
        raise Refused(f"flags {shown(words[0] if words else '')!r} are not those of transfers")
    if len(words) < 3 or words[-2] != ".":
        raise Refused("it does not end as transfers do")
    name = _name(words[-1], folder)
    if name and (sends or flags[2]):
        raise Refused("it names a file where transfers name none")
    options = _options(words[1:-2], sends)
    return Session(sends, bool(flags[1]), words[0], options, name, nice, ionice)


def _priority(words: Sequence[str]) -> tuple[int, tuple[int, int] | None, list[str]]:
    """Return (niceness, (ionice class, level) or None, remaining words) of a command that may begin with nice and ionice."""
    nice, ionice, rest = 0, None, list(words)
    if rest[:2] == ["nice", "-n"] and len(rest) > 2 and _NICE.fullmatch(rest[2]):
        nice, rest = int(rest[2]), rest[3:]
    if rest[:2] == ["ionice", "-c"] and len(rest) > 2 and rest[2] in _IONICE:
        kind, rest = _IONICE[rest[2]], rest[3:]
        level = 4
        if rest[:1] == ["-n"] and len(rest) > 1 and re.fullmatch("[0-7]", rest[1]):
            level, rest = int(rest[1]), rest[2:]
        ionice = (kind, level)
    return nice, ionice, rest


def _name(path: str, folder: str) -> str:
    """Return the file name that a peer's path means in the folder, empty for the folder itself. Raise Refused for another path."""
    if path in (".", "./", folder, f"{folder}/"):
        return ""
    for above in ("./", f"{folder}/"):
        if path.startswith(above) and TRANSIT.fullmatch(path[len(above) :]):
            return path[len(above) :]
    raise Refused(f"{shown(path)!r} is not the folder of this key")


def _options(words: Sequence[str], sends: bool) -> tuple[str, ...]:
    """Return the long options with which rsync is started, from those that a peer gave. Raise Refused."""
    needed = {"--inplace", "--files-from=-", "--from0"} if sends else {"--inplace"}
    allowed = needed | ({"--stats"} if not sends else set())
    values = {"--timeout": str(_TIMEOUT)}
    seen: set[str] = set()
    rest = list(words)
    while rest:
        word = rest.pop(0)
        option, _, value = word.partition("=")
        key = word if word in allowed else option
        if key in seen:
            raise Refused(f"option {shown(option)} stands twice")
        seen.add(key)
        if word in allowed:
            continue
        if option in _VALUES and _VALUES[option].fullmatch(value):
            values[option] = value
        elif option == "--copy-dest" and not sends and (value or (rest.pop(0) if rest else "")) == BASIS:
            continue
        else:
            raise Refused(f"option {shown(word)} is not one of transfers")
    if not needed <= seen:
        raise Refused(f"{' '.join(sorted(needed - seen))} is missing")
    if values["--timeout"] in ("0", "00", "000", "0000", "00000", "000000"):
        values["--timeout"] = str(_TIMEOUT)
    basis = ["--copy-dest", BASIS] if "--copy-dest" in seen else []
    ordered = [*(f"{option}={value}" for option, value in sorted(values.items())), *sorted(seen & allowed)]
    return (*ordered, *basis)


def landlock() -> int:
    """Return the version of Landlock that this kernel has, 0 for none."""
    version = int(libc.syscall(ctypes.c_long(_CREATE_RULESET), None, ctypes.c_size_t(0), ctypes.c_uint32(1)))
    return max(0, version)


def restrict(readable: Sequence[str], folder: str, rights: int, version: int) -> None:
    """Confine this process and its children to reading and executing below `readable`, and to `rights` below `folder`. Raise OSError."""
    files = 0
    for since, more in _RIGHTS:
        files |= more if version >= since else 0
    wanted = _Ruleset(files, _NETWORK[1] if version >= _NETWORK[0] else 0, _SCOPES[1] if version >= _SCOPES[0] else 0)
    size = 8 if version < _NETWORK[0] else 16 if version < _SCOPES[0] else 24
    ruleset = _called(_CREATE_RULESET, ctypes.byref(wanted), ctypes.c_size_t(size), ctypes.c_uint32(0))
    for path, allowed in [
        *((path, _READ_FILE | _READ_DIR | _EXECUTE) for path in readable),
        (folder, rights),
        ("/dev/null", _READ_FILE | _WRITE_FILE),
    ]:
        try:
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            if path == folder:
                raise
            continue
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        of_files = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL
        beneath = _Beneath(allowed & files & (-1 if is_folder else of_files), descriptor)
        _called(
            _ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(_PATH_BENEATH), ctypes.byref(beneath), ctypes.c_uint32(0)
        )
        os.close(descriptor)
    _checked(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")
    _called(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    os.close(ruleset)


def _called(number: int, *arguments: Any) -> int:
    return _checked(int(libc.syscall(ctypes.c_long(number), *arguments)), f"system call {number}")


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def _give_up(session: Session, room: Room, rsync: str, version: int) -> None:
    """Drop all privileges that a transfer does not need, in the process that becomes rsync. Raise OSError."""
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.umask(0o077)
    limits = {resource.RLIMIT_CORE: 0, resource.RLIMIT_NOFILE: 256, resource.RLIMIT_AS: _MOST_MEMORY}
    if room.limit and not session.sends:
        limits[resource.RLIMIT_FSIZE] = room.limit
    for kind, value in limits.items():
        highest = resource.getrlimit(kind)[1]
        lowest = value if highest == resource.RLIM_INFINITY else min(value, highest)
        resource.setrlimit(kind, (lowest, lowest))
    if session.nice:
        os.nice(session.nice)
    if session.ionice:
        kind, level = session.ionice
        libc.syscall(ctypes.c_long(_IOPRIO_SET), 1, 0, (kind << 13) | level)
    if os.geteuid() == 0:
        for capability in range(64):
            if libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
                break
    if version:
        rights = _READ_FILE | _READ_DIR | (0 if session.sends else _WRITE_FILE | _MAKE_REG | _TRUNCATE)
        readable = [*_SYSTEM, *(f"/etc/{name}" for name in _SETTINGS), "/dev/urandom", rsync]
        restrict(readable, room.folder, rights, version)


_IOPRIO_SET = {"x86_64": 251, "aarch64": 30, "riscv64": 30, "ppc64le": 273, "s390x": 282}.get(os.uname().machine, -1)


_LENGTHS = {"md5": 32, "sha1": 40, "sha224": 56, "sha256": 64, "sha384": 96, "sha512": 128}
"""{algorithm: hexadecimal digits}"""


def digest_of(stream: Any, name: str, until: float) -> bool | None:
    """Return whether a stream's bytes match the digest in its transit name; None if `until` (monotonic seconds) passed before the end."""
    algorithm, _, wanted = name.partition("-")
    if _LENGTHS.get(algorithm) != len(wanted):
        return False
    try:
        digest = hashlib.new(algorithm, usedforsecurity=False)
    except TypeError:  # Python 3.8
        digest = hashlib.new(algorithm)
    while chunk := stream.read(_CHUNK):
        if time.monotonic() > until:
            return None
        digest.update(chunk)
    return digest.hexdigest() == wanted


def _keep_whole(room: Room, log: Log) -> None:
    """Move files that arrived whole out of the reach of sessions: a name is written again only until its bytes match it.

    Partial files are remembered by inode, size and times, and not read again until they change.
    """
    known: dict[str, Any] = {}
    path = os.path.join(room.state, "partial.json")
    with contextlib.suppress(OSError, ValueError, TypeError, RecursionError), open(path, encoding="ascii") as stream:
        known = dict(json.load(stream))
    until = time.monotonic() + _JUDGING
    partial = {}
    for entry in _entries(room.folder):
        if not TRANSIT.fullmatch(entry.name) or not entry.is_file(follow_symlinks=False):
            continue
        descriptor = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(descriptor, "rb") as stream:
            status = os.fstat(descriptor)
            seen = [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
            matches = False if known.get(entry.name) == seen else digest_of(stream, entry.name, until)
        if matches is None:
            log.say(f"there was no time to see whether {entry.name} had arrived whole")
        elif matches and status.st_nlink == 1:
            os.replace(entry.path, os.path.join(room.whole, entry.name))
        else:
            partial[entry.name] = seen
    with open(f"{path}.new", "w", encoding="ascii") as stream:
        json.dump(partial, stream)
    os.replace(f"{path}.new", path)


def gather(folder: str) -> None:
    """Move files that sessions put aside as whole back into a pair's incoming folder, for whoever accepts them. Raise OSError."""
    private, pair = os.path.dirname(os.path.dirname(folder)), os.path.basename(folder)
    aside = os.path.join(private, STATES["incoming"], pair, WHOLE)
    with contextlib.suppress(FileNotFoundError):
        if os.path.islink(aside) or os.path.islink(os.path.dirname(aside)):
            return
        for name in os.listdir(aside):
            os.replace(os.path.join(aside, name), os.path.join(folder, name))


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        yield from found


def _sweep(room: Room) -> list[str]:
    """Remove what a session must not leave; return the names."""
    removed = []
    for entry in _entries(room.folder):
        is_folder = entry.is_dir(follow_symlinks=False)
        if is_folder and entry.name in (BASIS, CARRIED):
            continue
        if is_folder:
            shutil.rmtree(entry.path)
        elif (
            TRANSIT.fullmatch(entry.name)
            and entry.is_file(follow_symlinks=False)
            and not os.path.lexists(os.path.join(room.whole, entry.name))
        ):
            continue
        else:
            os.unlink(entry.path)
        removed.append(shown(entry.name))
    return removed


def _used(folder: str) -> tuple[int, int]:
    """Return (bytes, files) below a folder, of each file the larger of its size and its allocated blocks."""
    size = count = 0
    for above, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                status = os.lstat(os.path.join(above, name))
                size += max(status.st_size, 512 * status.st_blocks)
                count += 1
    return size, count


def too_much(room: Room) -> str:
    """Return why nothing more may be added to a folder, empty if more may."""
    size, count = _used(room.folder)
    with contextlib.suppress(FileNotFoundError):
        size += _used(room.whole)[0]
    space = os.statvfs(room.folder)
    if room.limit and size >= room.limit:
        return f"{size} bytes lie in {room.folder}, and the limit of this pair is {room.limit}"
    if count > _MOST_FILES:
        return f"{count} files lie in {room.folder}, and at most {_MOST_FILES} may"
    if space.f_bavail * space.f_frsize < _RESERVE:
        return f"the disk of {room.folder} is full but for {_RESERVE} bytes"
    return ""


class Log:
    """Lines in syslog and in a file of bounded size."""

    def __init__(self, room: Room, address: str) -> None:
        self._path = os.path.join(room.state, LOG)
        self._about = f"{shown(room.pair)} {'reads' if room.reads else 'adds'} from {address or 'nowhere'}"

    def say(self, text: str) -> None:
        """Write a line to both; errors of the file are ignored."""
        line = f"{self._about}: {shown(text)}"
        syslog.openlog("altbackup", syslog.LOG_PID, syslog.LOG_AUTH)
        syslog.syslog(syslog.LOG_NOTICE, line)
        with contextlib.suppress(OSError):
            if os.path.getsize(self._path) > _LOG_SIZE:
                os.replace(self._path, f"{self._path}.1")
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        with contextlib.suppress(OSError):
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
            with open(os.open(self._path, flags, 0o600), "a", encoding="ascii") as stream:
                stream.write(f"{moment} {line}\n")


def _prepare(room: Room) -> None:
    """Make missing folders of the pair, and check that nobody else can write to them. Raise Refused or OSError."""
    if not os.path.isdir(room.private) or os.path.islink(room.private):
        raise Refused(f"{room.private} is no folder: is the disk mounted?")
    for path in (
        *_folders(room.state, room.private),
        *(() if room.reads else (room.whole, *_folders(room.folder, room.private))),
    ):
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
        status = os.lstat(path)
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
            raise Refused(f"{path} is no folder of uid {os.geteuid()} to which nobody else can write")


def _folders(path: str, above: str) -> list[str]:
    return [os.path.dirname(path), path] if os.path.dirname(os.path.dirname(path)) == above else [path]


@contextlib.contextmanager
def _alone(room: Room, log: Log, *, dry: bool) -> Iterator[int]:
    """Hold the one session of a pair, and end the one before; dry runs have a lock of their own.

    Yield the descriptor of the lock file, which the session's children inherit: whatever is left of a killed session still holds it. Raise
    Refused if an older session does not end, or OSError.
    """
    path = os.path.join(room.state, "asking" if dry else "session")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        ended = _awaited(
            lambda: fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB), lambda: _holder(descriptor), os.kill
        )
        ended |= _awaited(
            lambda: fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB), lambda: _group(descriptor), os.killpg
        )
        if ended:
            log.say("ended an older session")
        os.ftruncate(descriptor, 0)
        yield descriptor
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _awaited(take: Callable[[], None], holder: Callable[[], int], kill: Callable[[int, int], None]) -> bool:
    """Take a lock, ending its holder by SIGTERM, after 5 s by SIGKILL; return whether there was one. Raise Refused after 10 s."""
    start = time.monotonic()
    ended = False
    while True:
        try:
            take()
            return ended
        except (BlockingIOError, PermissionError):
            passed = time.monotonic() - start
        if passed > 2 * _GRACE:
            raise Refused("another session of this pair does not end")
        if (pid := holder()) > 1:
            with contextlib.suppress(ProcessLookupError):
                kill(pid, signal.SIGTERM if passed < _GRACE else signal.SIGKILL)
        ended = True
        time.sleep(0.05)


def _holder(descriptor: int) -> int:
    """Return the pid of the process that holds a session's lock, as the kernel knows it; 0 for none."""
    asked = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    kind, _, _, _, pid = struct.unpack("hhqqi", fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    return 0 if kind == fcntl.F_UNLCK else int(pid)


def _group(descriptor: int) -> int:
    """Return the process group that a session wrote down, 0 for none: no other group gets its number while one of its processes lives."""
    text = os.pread(descriptor, 20, 0)
    return int(text) if text.isdigit() else 0


def serve(room: Room, session: Session, log: Log) -> int:
    """Run a session to its end; return the exit code. Raise Refused or OSError."""
    rsync = shutil.which("rsync", path=_PATH)
    if not rsync:
        raise Refused(f"there is no rsync on {_PATH}")
    version = landlock()
    if session.sends and not version:
        raise Refused("this kernel has no Landlock, so it cannot be kept from reading other files")
    if session.sends and not os.path.isdir(room.folder):
        sys.stderr.write(f'rsync: [sender] change_dir "{room.folder}" failed: No such file or directory (2)\n')
        return 23
    with _alone(room, log, dry=session.dry) as lock:
        adds = not session.sends and not session.dry
        if adds:
            _sweep(room)
            _keep_whole(room, log)
            if why := too_much(room):
                raise Refused(why)
        began = time.monotonic()
        code, why = _run(room, session, rsync, version, lock, watch=adds)
        removed = _sweep(room) if adds else []
        if removed:
            log.say(f"removed what no transfer leaves: {', '.join(removed)}")
        size = _used(room.folder)[0] if os.path.isdir(room.folder) else 0
        what = "asked" if session.dry else "read" if session.sends else "added"
        log.say(
            f"{what}, exit code {code}, {time.monotonic() - began:.0f} s, {size} bytes lie there{f': {why}' if why else ''}"
        )
    return code


def _run(room: Room, session: Session, rsync: str, version: int, lock: int, *, watch: bool) -> tuple[int, str]:
    """Run rsync; return its exit code and, if it was ended for lack of room, why."""
    environment = {"PATH": _PATH, "LANG": "C", "HOME": "/"}

    def begin() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
        _give_up(session, room, rsync, version)

    # A newer session may end this one at any time: not before it is known here and there what is to be ended with it.
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        process = subprocess.Popen(
            session.argv(rsync),
            cwd=room.folder,
            env=environment,
            start_new_session=True,
            pass_fds=(lock,),
            preexec_fn=begin,  # noqa: PLW1509 (this program has one thread)
        )
        os.pwrite(lock, str(process.pid).encode(), 0)

        def end(*_: Any) -> None:
            _end(process)
            os._exit(128 + signal.SIGTERM)

        for number in _ENDING:
            signal.signal(number, end)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
    why = ""
    while True:
        try:
            code = process.wait(_POLL)
            break
        except subprocess.TimeoutExpired:
            why = too_much(room) if watch else ""
            if why:
                sys.stderr.write(f"altbackup: {why}\n")
                _end(process)
                return REFUSED, why
    _end(process)
    return code if code >= 0 else 128 - code, ""


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and its group, and wait for it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        process.wait()


def hello(room: Room, address: str) -> dict[str, Any]:
    """Return the answer to HELLO: version, direction, folder, the peer's address, version of Landlock, and whether there is rsync."""
    return {
        "altbackup": VERSION,
        "does": "read" if room.reads else "add",
        "folder": room.folder,
        "address": address,
        "landlock": landlock(),
        "rsync": bool(shutil.which("rsync", path=_PATH)),
    }


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run what SSH_ORIGINAL_COMMAND asks for; return the exit code. `environment` is the one that sshd makes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="the folder of the pair, below .altbackup of a base")
    parser.add_argument("--limit", type=int, default=0, help="bytes that may lie in it")
    options = parser.parse_args(arguments)
    asked = environment.get("SSH_ORIGINAL_COMMAND", "")
    address = shown((environment.get("SSH_CONNECTION") or "").partition(" ")[0])
    os.umask(0o077)
    log = None
    try:
        room = Room(options.folder, options.limit)
        _prepare(room)
        log = Log(room, address)
        if asked == HELLO:
            print(json.dumps(hello(room, address)))
            log.say("said hello")
            return 0
        return serve(room, parse(asked, room.folder, reads=room.reads), log)
    except (Refused, OSError, subprocess.SubprocessError) as error:
        sys.stderr.write(f"altbackup: refused: {error}\n")
        if log:
            log.say(f"refused: {error}: {asked!r}")
        return REFUSED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
