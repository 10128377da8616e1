"""Locks: one writer at a time on a tree. A module holds `flock` while it runs; the lease in the same file names the owning run in between.

The lock is `.altbackup/lock` of a source, `.altbackup/locks/<source>` of a source's tree on a target. Children inherit it, so that a child that
outlives a killed module keeps others out. The file is one page long and is overwritten in place by one call, so that it can be written even
on a full disk.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

from ..system import progress
from ..system.digest import limited
from ..system.errors import InvalidInput, Locked, name_os_errors
from ..system.mounts import require_answer
from ..system.priority import lower_priority
from ..system.proc import is_at_work_in, pids, title_of
from ..system.process_groups import inherited
from ..system.processes import Deadline, ended_after
from ..system.seeing import is_folder, looking_at
from .failures import failure
from .layout import Tree, open_tree
from .module_call import CALL
from .publish import make_folders, require_writable

WAIT = 30.0
"""Seconds for which a module waits for another one"""
_LENGTH = 4096
_PAUSE = 0.1
_SLOTS = ".slots"
_BETWEEN = 300.0
"""Seconds for which a transfer counts though nothing works on it: the run prepares its other targets, or connects"""


@dataclass(frozen=True)
class Run:
    """A run of a playbook, as its controller describes it."""

    controller: str
    """Its node, for people"""
    user: str
    command: str
    started: str
    host: str
    """Id of the controller's machine, which distinguishes controllers of one name"""
    boot: str
    namespace: str
    pid: int
    ticks: int
    """Start of that process, in clock ticks since the controller's boot"""
    seconds: float
    """Duration of a call's lease; 0 for a call that takes none"""
    alive: frozenset[str] = field(default_factory=frozenset)
    """Processes of Ansible that existed when this run began, as `pid/ticks`"""

    @property
    def identity(self) -> tuple[str, str, str, int, int]:
        """What no other run has: the controller's machine, its boot, and the process there."""
        return self.host, self.boot, self.namespace, self.pid, self.ticks

    def is_same(self, other: Run) -> bool:
        """Return whether both are one run."""
        return self.identity == other.identity

    def knows_dead(self, other: Run) -> bool:
        """Return whether another run is known to have ended: one of this controller, from before its last boot or without a process.

        Without /proc nothing is known, nor of other users, whose processes it may hide from all but root.
        """
        if self.host != other.host or not (self.boot and other.boot):
            return False
        if self.boot != other.boot:
            return True
        known = self.namespace == other.namespace != "" and 0 < other.ticks <= self.ticks
        seen = self.user in (other.user, "root")
        return known and seen and f"{other.pid}/{other.ticks}" not in self.alive

    def __str__(self) -> str:
        return f"{self.user} on {self.controller}, process {self.pid}, begun {self.started} ({self.command or 'no command'})"


@dataclass(frozen=True)
class Lease:
    """The run that owns a tree, until when (seconds since 1970 by this node's clock), and since when a transfer into it is reserved.

    `transfer` is 0 for no transfer, and set anew by each call.
    """

    run: Run
    expires: float
    transfer: float = 0.0

    def binds(self, run: Run | None) -> bool:
        """Return whether a run, or a call without one, must keep away."""
        if run is not None and (run.is_same(self.run) or run.knows_dead(self.run)):
            return False
        return time.time() < self.expires


_KEYS = tuple(name for name in Run.__dataclass_fields__ if name != "alive")


def parse_run(value: Mapping[str, Any] | None) -> Run | None:
    """Return a run from the plan's mapping, None for a call without one. Raise InvalidInput."""
    if not value:
        return None
    try:
        texts = {name: str(value[name]) for name in _KEYS if name not in ("pid", "ticks", "seconds")}
        numbers = {"pid": int(value["pid"]), "ticks": int(value["ticks"]), "seconds": float(value["seconds"])}
        return Run(**texts, **numbers, alive=frozenset(map(str, value.get("alive") or ())))  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput(f"run: {error!r}: it is none that the plan of a playbook has") from error


def lock_path(tree: Tree) -> str:
    """Return the path of a tree's lock."""
    return os.path.join(tree.private, "locks", tree.source) if tree.source else os.path.join(tree.private, "lock")


class Hold:
    """The exclusive hold of this module on a tree while a block lasts."""

    def __init__(self, tree: Tree, run: Run | None, descriptor: int) -> None:
        self.tree = tree
        self.run = run
        self.notes: list[str] = []
        self._descriptor = descriptor
        self._lease = _read(descriptor)
        self._is_left = False
        """Whether the lease in the file is one that was taken over"""

    def claim(self) -> None:
        """Take over the lease. Raise Locked if it is another run's."""
        if self._lease is None:
            return
        other = self._lease.run
        if self._lease.binds(self.run):
            raise Locked(_claimed(self.tree, self._lease))
        if self.run is None or not self.run.is_same(other):
            self.notes.append(f"took over the lock of {self.tree.base}, which a run that is over had left: {other}")
            self._lease = None
            self._is_left = True

    def renew(self) -> None:
        """Write the lease of this run; for a call that takes none, clear one that was taken over. Raise OSError."""
        if self.run is not None and self.run.seconds:
            now = time.time()
            sending = self._lease is not None and self._lease.transfer
            self._write(Lease(self.run, now + self.run.seconds, now if sending else 0.0))
        elif self._is_left:
            _fill(self._descriptor, b"", lock_path(self.tree))
        self._is_left = False

    def release(self) -> bool:
        """Release the lease; return whether there was one."""
        had = self._lease is not None
        self._lease = None
        self.run = None
        if had:
            _fill(self._descriptor, b"", lock_path(self.tree))
        return had

    def reserve(self, slots: int, wait: float) -> bool:
        """Reserve one of the transfers that may go on into this target at a time, waiting `wait` seconds; return whether one was free."""
        if self.run is None or self._lease is None:
            return True
        end = time.monotonic() + wait
        while not self._reserve(slots, self.run, self._lease):
            self.end_transfer()
            if time.monotonic() >= end:
                return False
            time.sleep(1)
            self.renew()
        return True

    def _reserve(self, slots: int, run: Run, lease: Lease) -> bool:
        folder = os.path.dirname(lock_path(self.tree))
        with _opened(os.path.join(folder, _SLOTS), os.O_RDWR | os.O_CREAT) as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            others = [name for name in os.listdir(folder) if name not in (_SLOTS, self.tree.source)]
            if sum(_is_receiving(self.tree.private, name, run) for name in others) >= slots:
                return False
            self._write(replace(lease, transfer=time.time()))
        return True

    def end_transfer(self) -> None:
        """Release the reserved transfer."""
        if self._lease is not None and self._lease.transfer:
            self._write(replace(self._lease, transfer=0.0))

    def _write(self, lease: Lease) -> None:
        _fill(self._descriptor, _text_of(lease), lock_path(self.tree))
        self._lease = lease


@contextlib.contextmanager
def held(
    tree: Tree, run: Run | None, *, clean: Callable[[], list[str]] | None = None, wait: float = WAIT
) -> Iterator[Hold]:
    """Hold the lock of a tree for a run's call while the block lasts.

    `clean` removes what killed runs left and returns notes; it is called before anything is written. Raise Locked or OSError.
    """
    path = lock_path(tree)
    make_folders(os.path.dirname(path), tree.private)
    with _opened(path, os.O_RDWR | os.O_CREAT) as descriptor, inherited(descriptor):
        _await(descriptor, fcntl.LOCK_EX, tree, wait)
        hold = Hold(tree, run, descriptor)
        hold.claim()
        if clean is not None:
            hold.notes += clean()
        hold.renew()
        yield hold
        hold.renew()


@contextlib.contextmanager
def shared(tree: Tree, wait: float = WAIT) -> Iterator[None]:
    """Keep writers away from a tree while the block lasts; if there is no lock file yet, nobody writes. Raise Locked."""
    try:
        with looking_at(lock_path(tree)):
            descriptor = os.open(lock_path(tree), os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        yield
        return
    try:
        _await(descriptor, fcntl.LOCK_SH, tree, wait)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def unclaimed(tree: Tree, run: Run | None, wait: float = WAIT) -> Iterator[None]:
    """Keep writers away from a tree while the block lasts. Raise Locked also if another run owns it between its calls."""
    with shared(tree, wait):
        with contextlib.suppress(FileNotFoundError), _opened(lock_path(tree), os.O_RDONLY) as descriptor:
            lease = _read(descriptor)
            if lease is not None and lease.binds(run):
                raise Locked(_claimed(tree, lease))
        yield


READING: dict[str, Any] = {
    **CALL,
    "step_timeout": {"type": "float", "default": 21600},
    "nice": {"type": "int", "default": 0},
    "ionice": {"type": "str", "default": ""},
    "progress": {"type": "path", "default": ""},
}
"""Argument spec of a reading module's call: time limit, priority, and where to report progress"""
WRITING: dict[str, Any] = {**READING, "run": {"type": "dict"}}
"""Argument spec of a writing module's call: additionally the run that it belongs to"""


def run_exclusive(
    options: Mapping[str, Any],
    function: Callable[[Hold | None], dict[str, Any]],
    *,
    clean: Callable[[Tree], list[str]] | None = None,
    check_mode: bool = False,
) -> dict[str, Any]:
    """Return the result of a function called under the lock of the base in `options`, with notes on the lock.

    In check mode nothing is locked, since nothing is written.
    """
    lower_priority(options["nice"], options["ionice"])
    limit = Deadline(options["step_timeout"])
    require_answer(options["base"], limit)
    with ended_after(limit, _say_failed):
        if check_mode:
            return function(None)
        tree, run = require_writable(options["base"]), parse_run(options["run"])
        with held(tree, run, clean=None if clean is None else lambda: clean(tree)) as hold, limited(limit):
            with progress.reported(options.get("progress")):
                result = function(hold)
    return {**result, "notes": [*hold.notes, *result.get("notes", [])]}


def run_shared(options: Mapping[str, Any], function: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the result of a function that only reads, called while nobody writes to the base in `options`."""
    lower_priority(options["nice"], options["ionice"])
    limit = Deadline(options["step_timeout"])
    require_answer(options["base"], limit)
    with ended_after(limit, _say_failed), shared(open_tree(options["base"])), limited(limit):
        with progress.reported(options.get("progress")):
            return function()


def run_unlocked(options: Mapping[str, Any], function: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the result of a function that reads files anywhere, called without a lock."""
    lower_priority(options["nice"], options["ionice"])
    limit = Deadline(options["step_timeout"])
    with ended_after(limit, _say_failed), limited(limit), progress.reported(options.get("progress")):
        return function()


def _say_failed(reason: str) -> None:
    """Print the result of a module that failed."""
    failed = {"failed": True, "changed": False, "msg": reason, "failures": [failure("module", reason)]}
    os.write(1, json.dumps(failed).encode() + b"\n")


@contextlib.contextmanager
def _opened(path: str, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_NOFOLLOW, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _claimed(tree: Tree, lease: Lease) -> str:
    until = datetime.fromtimestamp(lease.expires, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    return (
        f"{tree.base} is in use by another run: {lease.run}. Let it end; nothing was done here. "
        f"If it is gone for good, its claim ends at {until}, or remove {lock_path(tree)}"
    )


def _text_of(lease: Lease) -> bytes:
    """Return a lease as text; the command is cut to fit the page."""
    run = {name: value for name, value in asdict(lease.run).items() if name != "alive"}
    command = lease.run.command[:1000]
    while True:
        entry = {"run": {**run, "command": command}, "expires": lease.expires, "transfer": lease.transfer}
        text = json.dumps(entry, sort_keys=True).encode()
        if len(text) < _LENGTH or not command:
            return text
        command = command[: len(command) * 3 // 4]


def _fill(descriptor: int, text: bytes, path: str) -> None:
    with name_os_errors(path):
        if os.pwrite(descriptor, text.ljust(_LENGTH - 1) + b"\n", 0) < _LENGTH:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _await(descriptor: int, kind: int, tree: Tree, wait: float) -> None:
    end = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= end:
                raise Locked(_in_use(descriptor, tree, wait)) from None
        time.sleep(_PAUSE)


def _in_use(descriptor: int, tree: Tree, wait: float) -> str:
    lease = _read(descriptor)
    whose = f", of the run of {lease.run}" if lease else ""
    workers = "; ".join(_holders(os.fstat(descriptor).st_ino)) or "not to be seen from here"
    return f"{tree.base} is in use: a module is still at work on it{whose} ({workers}). Waited {wait:g} s; nothing was done here"


def _holders(inode: int) -> Iterator[str]:
    """Yield the processes that hold an open file of this inode locked, as far as they can be seen."""
    for pid in pids():
        with contextlib.suppress(OSError):
            if any(_is_locked(f"/proc/{pid}", entry, inode) for entry in os.listdir(f"/proc/{pid}/fd")):
                yield f"process {pid}: {title_of(pid)}"


def _is_locked(process: str, descriptor: str, inode: int) -> bool:
    if os.stat(f"{process}/fd/{descriptor}").st_ino != inode:
        return False
    with open(f"{process}/fdinfo/{descriptor}", encoding="ascii", errors="replace") as stream:
        return "FLOCK" in stream.read()


def _read(descriptor: int) -> Lease | None:
    """Return the lease in a lock file, None if there is none or it is torn, as by a node that went down."""
    try:
        value = json.loads(os.pread(descriptor, _LENGTH, 0))
        run = parse_run(value["run"])
        return Lease(run, float(value["expires"]), float(value["transfer"])) if run else None
    except (ValueError, KeyError, TypeError, RecursionError, InvalidInput):
        return None


def _is_receiving(private: str, source: str, run: Run) -> bool:
    """Return whether a transfer into another source's tree is going on, even one of the same run.

    A reservation counts while a module or rsync works on it, or did lately: a run that lost this target does not release it.
    """
    incoming = os.path.join(private, "incoming", source)
    with _opened(os.path.join(private, "locks", source), os.O_RDONLY) as descriptor:
        lease = _read(descriptor)
        if lease is None or not lease.transfer or time.time() >= lease.expires or run.knows_dead(lease.run):
            return False
        lately = time.time() < max(lease.transfer, _last_written(incoming)) + _BETWEEN
        return lately or _is_written(descriptor) or is_at_work_in(incoming)


def _last_written(folder: str) -> float:
    """Return when anything in a folder was last written, in seconds since 1970; 0 if it is empty."""
    last = 0.0
    for name in os.listdir(folder) if is_folder(folder, follow=False) else ():
        with contextlib.suppress(FileNotFoundError):
            last = max(last, os.lstat(os.path.join(folder, name)).st_mtime)
    return last


def _is_written(descriptor: int) -> bool:
    """Return whether the lock of a tree is held by a writing module, or a child that outlived it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
