"""Child processes: argv lists only, each in a process group of its own, with a deadline, and with their stderr in failures."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import itertools
import os
import shutil
import signal
import struct
import subprocess
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, Protocol

from .confine import check, libc
from .errors import DeadlineExceeded, ToolFailed, ToolMissing, name_os_errors
from .paths import is_within
from .proc import NAME, PROC, SESSION, open_files, pids, position, stat_of
from .units import told_apart

PACKAGES = {
    "svnadmin": "subversion",
    "svnlook": "subversion",
    "git": "git",
    "hg": "mercurial",
    "mariadb": "mariadb-client",
    "mysql": "mariadb-client",
    "mariadbd": "mariadb-server-core",
    "mariadb-install-db": "mariadb-server-core",
    "slapcat": "slapd",
    "slapadd": "slapd",
    "rsync": "rsync",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "tar": "tar",
    "zstd": "zstd",
    "age": "age",
    "age-keygen": "age",
    "gzip": "gzip",
    "pigz": "pigz",
    "setpriv": "util-linux",
    "ionice": "util-linux",
    "cp": "coreutils",
    "rclone": "rclone",
}
"""{program: its package in Debian and Ubuntu}"""
_SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_STDERR_LIMIT = 4096
_PR_SET_PDEATHSIG = 1
_GRACE = 2.0
_PATIENCE = 20.0
"""Seconds that a process told to end has to do so by itself; Ansible's own limit is a minute later"""
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_running: dict[int, Any] = {}
"""{process group: object with `poll`}"""
_running_lock = threading.Lock()
_starting: list[bool] = []
"""One entry while a child is being started: whether by the main thread, in which signals are handled"""
_watching: list[int] = []
"""The pipe through which signals wake the watching thread"""
_inherited: list[int] = []
"""Open files that every child inherits: the lock on them lasts as long as one child lives"""
_lifelines: list[int] = []
"""Open files that all processes of this call have, also those that close all else: who has the other ends sees when all of them have ended."""
_left: list[subprocess.Popen[bytes]] = []
"""Children that survived SIGKILL: they wait in the kernel for a disk or a server, and do nothing more when that answers"""
_guard: list[int] = []
"""The pipe that tells the guard of this process which groups run"""
_GROUP = struct.Struct("qq")
"""What it is told: the number of a start, and the process group of that, 0 where it has ended"""
_starts = itertools.count(1)
_told_to_end: list[int] = []
"""The signal that told this process to end: after it no child is started"""


def search_path() -> str:
    """Return PATH followed by the system's folders, because cron's PATH is short."""
    folders = [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if os.path.isabs(folder)]
    return os.pathsep.join(dict.fromkeys([*folders, *_SYSTEM_FOLDERS]))


def system_path() -> str:
    """Return the PATH of the system's folders alone."""
    return os.pathsep.join(_SYSTEM_FOLDERS)


def find_tool(name: str) -> str:
    """Return the path of a program. Raise ToolMissing, which names the package to install."""
    path = shutil.which(name, path=search_path())
    if path is None:
        raise ToolMissing(f"{name} is not installed on this node: install the package {PACKAGES.get(name, name)}")
    return path


def clean_environment(**more: str) -> dict[str, str]:
    """Return the environment for children: nothing of the login shell, messages in English, names as UTF-8."""
    return {"PATH": search_path(), "LC_ALL": "C.UTF-8", "TZ": "UTC", "HOME": "/nonexistent", **more}


def is_at_work_in(folder: str) -> bool:
    """Return whether a process has its working folder or an open file in a folder or below, as far as this user can see."""
    top = os.path.realpath(folder)
    return any(is_within(path, top) for path in _places())


def _places() -> Iterator[str]:
    """Yield the working folders and open files of all processes that this user can see."""
    for pid in pids():
        with contextlib.suppress(OSError):
            yield os.readlink(f"{PROC}/{pid}/cwd")
            yield from (path for _, path in open_files(pid))


def inherited_environment(*names: str) -> dict[str, str]:
    """Return those of the named environment variables that are set in this process, for a child."""
    return {name: os.environ[name] for name in names if name in os.environ}


class Deadline:
    """A point in time at which a step must be over; `seconds` is None for never."""

    def __init__(self, seconds: float | None = None, step: str = "step") -> None:
        self.seconds = seconds
        self.step = step
        self._end = None if seconds is None else time.monotonic() + seconds

    def remaining(self) -> float | None:
        """Return the seconds left, or None. Raise DeadlineExceeded if none are."""
        if self._end is None:
            return None
        left = self._end - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded(f"the {self.step} took longer than its limit of {self.seconds:g} s and was ended")
        return left

    def at_most(self, seconds: float) -> float:
        """Return the seconds left, but at most `seconds`. Raise DeadlineExceeded if none are."""
        left = self.remaining()
        return seconds if left is None else min(seconds, left)

    def is_over(self) -> bool:
        """Return whether no time is left."""
        return self._end is not None and time.monotonic() >= self._end


@dataclass(frozen=True)
class Pace:
    """The least progress: bytes a second, read and written together, on average over so many seconds."""

    rate: float
    seconds: float


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise AssertionError("no pipe was asked for")
    return stream


class Child:
    """A running program in a process group of its own; as a context manager it leaves no process behind."""

    def __init__(
        self,
        argv: Sequence[str | bytes],
        *,
        stdin: int | IO[bytes] | None = None,
        stdout: int | IO[bytes] | None = None,
        cwd: str = "/",
        environment: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        name: str = "",
        locking: bool = True,
    ) -> None:
        """Start the program; with `locking` it keeps this process's lock as long as it lives."""
        self.name = name or os.path.basename(os.fsdecode(argv[0]))
        self._stderr = tempfile.TemporaryFile()
        in_main = threading.current_thread() is threading.main_thread()
        with _running_lock:
            if _told_to_end:
                raise DeadlineExceeded(
                    f"signal {_told_to_end[0]} told this process to end: {self.name} was not started"
                )
            self._start = next(_starts)
            try:
                _starting.append(in_main)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeprecationWarning)  # what runs before the program takes no lock
                    self.process = subprocess.Popen(
                        list(argv),
                        stdin=subprocess.DEVNULL if stdin is None else stdin,
                        stdout=subprocess.DEVNULL if stdout is None else stdout,
                        stderr=self._stderr,
                        cwd=cwd,
                        env=dict(clean_environment() if environment is None else environment),
                        pass_fds=[*pass_fds, *_lifelines, *(_inherited if locking else ())],
                        start_new_session=True,
                        preexec_fn=self._tell_of_itself if _guard else None,  # noqa: PLW1509 (it takes no lock)
                    )
                _running[self.process.pid] = self.process
            except BaseException:
                _tell_guard(self._start, 0)
                raise
            finally:
                _starting.pop()
        if _told_to_end:  # told while the child was starting, too late for the handler to see the child
            _signal_group(self.process.pid, signal.SIGTERM)
            if in_main:
                raise SystemExit(128 + _told_to_end[0])

    def _tell_of_itself(self) -> None:
        """Tell the guard, in the new process before it is the program: nobody can kill this one between its start and that."""
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # the guard was killed
        _tell_guard(self._start, os.getpid())
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)

    @property
    def stdin(self) -> IO[bytes]:
        """Its stdin, a pipe."""
        return _pipe(self.process.stdin)

    @property
    def stdout(self) -> IO[bytes]:
        """Its stdout, a pipe."""
        return _pipe(self.process.stdout)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        for stream in (self.process.stdin, self.process.stdout, self._stderr):
            if stream is not None:
                stream.close()
        with _running_lock:
            if _running.pop(self.process.pid, None) and self.process not in _left:
                _tell_guard(self._start, 0)

    def end(self) -> None:
        """End the program and all its children: SIGTERM, then SIGKILL. One that cannot be killed is left alone."""
        if self.process not in _left and self.process.poll() is None:
            _signal_group(self.process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_GRACE)
            _signal_group(self.process.pid, signal.SIGKILL)  # those of the group that ignored SIGTERM
            try:
                self.process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                _left.append(self.process)

    def _end_late(self) -> None:
        """End it after a deadline. Raise DeadlineExceeded if it cannot be killed."""
        self.end()
        if self.process in _left:
            raise DeadlineExceeded(
                f"{self.name} took too long and cannot be ended: process {self.process.pid} waits for a disk or a server "
                "that does not answer, and was left alone"
            )

    def wait(self, deadline: Deadline, silence: float | None = None, pace: Pace | None = None) -> int:
        """Wait for its end; return its exit code. Raise DeadlineExceeded after ending it.

        With `silence` it is also ended if it and its children neither read nor wrote anything for so many seconds, as when it was stopped;
        then with `pace` also if they did so more slowly than that.
        """
        seen, since = -1, time.monotonic()
        mark, marked = 0, since
        while True:
            try:
                left = deadline.remaining()
                return self.process.wait(left if silence is None else min(silence / 4, left or silence))
            except subprocess.TimeoutExpired:
                if silence is None or deadline.is_over():
                    self._end_late()
                    deadline.remaining()
                    raise DeadlineExceeded(f"{self.name} was ended at the limit of the {deadline.step}") from None
            except DeadlineExceeded:
                self._end_late()
                raise
            moved = _bytes_moved(self.process.pid)
            if moved != seen:
                seen, since = moved, time.monotonic()
            elif time.monotonic() - since > silence:
                self._end_late()
                raise DeadlineExceeded(f"{self.name} neither read nor wrote anything for {silence:g} s and was ended")
            if pace is not None and time.monotonic() - marked >= pace.seconds:
                rate = (moved - mark) / (time.monotonic() - marked)
                if rate < pace.rate:
                    self._end_late()
                    slow, least = told_apart(int(rate), int(pace.rate))
                    raise DeadlineExceeded(
                        f"{self.name} read and wrote {slow} a second over {pace.seconds:g} s, less than its "
                        f"limit of {least} a second (min_rate), and was ended"
                    )
                mark, marked = moved, time.monotonic()

    def stderr(self) -> str:
        """Return the last lines of its stderr, at most 4 KiB."""
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - _STDERR_LIMIT))
        tail = self._stderr.read()
        if size > _STDERR_LIMIT:
            tail = tail.partition(b"\n")[2] or tail  # half a line could be mistaken for another message
        return tail.decode("utf-8", "backslashreplace").strip()

    def said(self) -> int:
        """Return the size of its stderr in bytes."""
        return os.fstat(self._stderr.fileno()).st_size

    def lines(self) -> Iterator[str]:
        """Yield all lines of its stderr."""
        self._stderr.seek(0)
        for line in self._stderr:
            yield line.decode("utf-8", "backslashreplace").rstrip("\n")

    def check(self, deadline: Deadline, what: str) -> None:
        """Wait for its end. Raise ToolFailed with its stderr unless it exits with 0."""
        rc = self.wait(deadline)
        if rc != 0:
            stderr = self.stderr()
            ending = f"was killed by signal {-rc}" if rc < 0 else f"failed with exit code {rc}"
            raise ToolFailed(f"{what}: {self.name} {ending}: {stderr or 'it said nothing'}", rc, stderr)


class Writer(Protocol):
    """The writer of a stream that is read here."""

    def end(self) -> None:
        """End it, if it still writes."""

    def check(self, deadline: Deadline, what: str) -> None:
        """Wait for its end. Raise ToolFailed or another AltbackupError unless it wrote everything."""


def _end_children(children: Sequence[Writer]) -> None:
    for child in children:
        child.end()


@contextlib.contextmanager
def ended_at(deadline: Deadline, children: Sequence[Writer]) -> Iterator[None]:
    """End the children at the deadline while the block lasts, so that no read of their output blocks for ever.

    Raise DeadlineExceeded after the block if it took longer.
    """
    seconds = deadline.remaining()
    timer = None if seconds is None else threading.Timer(seconds, _end_children, (children,))
    if timer:
        timer.daemon = True
        timer.start()
    try:
        yield
    finally:
        if timer:
            timer.cancel()
    deadline.remaining()


def _bytes_moved(session: int) -> int:
    """Return the bytes read and written by the processes of a session, without ssh, which sends keepalives; see proc(5)."""
    total = 0
    for pid in pids():
        with contextlib.suppress(OSError, IndexError, ValueError):
            known = stat_of(pid)
            if int(known[SESSION]) != session or known[NAME] == "ssh":
                continue
            with open(f"{PROC}/{pid}/io", encoding="ascii") as stream:
                total += sum(int(line.split()[1]) for line in stream if line.startswith(("rchar", "wchar")))
    return total


def read_by_children() -> Iterator[tuple[str, int]]:
    """Yield (path, offset) of the files that children of this process, and theirs, have open for reading only."""
    sessions = set(_running)
    for pid in pids():
        with contextlib.suppress(OSError, IndexError, ValueError):
            for descriptor, path in open_files(pid) if int(stat_of(pid)[SESSION]) in sessions else ():
                with contextlib.suppress(OSError):
                    mode, read = position(pid, descriptor)
                    if mode == os.O_RDONLY:
                        yield path, read


def run(
    argv: Sequence[str | bytes],
    *,
    what: str,
    deadline: Deadline,
    input: bytes | None = None,
    cwd: str = "/",
    environment: Mapping[str, str] | None = None,
    stderr_lines: list[str] | None = None,
    name: str = "",
) -> bytes:
    """Run argv to its end and return its stdout. Raise ToolFailed, ToolMissing or DeadlineExceeded.

    In a failure's message `what` says what was attempted and `name` what failed, by default the program; `stderr_lines` receives the lines
    of its stderr.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as source:
        with name_os_errors(tempfile.gettempdir()):
            source.write(input or b"")
            source.seek(0)
        with Child(argv, stdin=source, stdout=out, cwd=cwd, environment=environment, name=name) as child:
            child.check(deadline, what)
            if stderr_lines is not None:
                stderr_lines.extend(child.stderr().splitlines())
        out.seek(0)
        return out.read()


@contextlib.contextmanager
def inherited(descriptor: int) -> Iterator[None]:
    """Let all children that are started while the block lasts inherit an open file.

    At the end a lock on the file is released if a child could not be killed, which would keep it.
    """
    _inherited.append(descriptor)
    try:
        yield
    finally:
        _inherited.remove(descriptor)
        if any(child.poll() is None for child in _left):
            fcntl.flock(descriptor, fcntl.LOCK_UN)


@contextlib.contextmanager
def with_lifeline(descriptor: int) -> Iterator[None]:
    """Let all processes of this call have an open file while they live, those that are started while the block lasts."""
    _lifelines.append(descriptor)
    try:
        yield
    finally:
        _lifelines.remove(descriptor)


def lifelines() -> list[int]:
    """Return what with_lifeline was given."""
    return list(_lifelines)


def require_go_on() -> None:
    """Raise DeadlineExceeded if a signal told this process to end: nothing new is to be begun then."""
    if _told_to_end:
        raise DeadlineExceeded(f"signal {_told_to_end[0]} told this process to end: nothing more was begun")


def end_with_children() -> None:
    """Make SIGTERM, SIGINT and SIGHUP end all children before this process, including one that is just being started.

    After SIGKILL, which cannot be handled, a guard process ends them. Call it in the main thread, before other threads are started.
    """
    start_guard()

    def handle(number: int, _frame: Any) -> None:
        _told_to_end.append(number)
        if True not in _starting:  # else the main thread ends as soon as it knows the child that it is starting
            raise SystemExit(128 + number)

    if not _watching:
        _watching.extend(os.pipe())
        os.set_blocking(_watching[1], False)
        threading.Thread(target=_watch, args=(_watching[0],), daemon=True).start()
        atexit.register(_end_all)
    signal.set_wakeup_fd(_watching[1], warn_on_full_buffer=False)
    for number in _ENDING:
        signal.signal(number, handle)


def start_guard() -> None:
    """Fork the guard, which kills the running groups when this process is gone, however it ended.

    The kernel's signal at a parent's death (PR_SET_PDEATHSIG) follows the thread that forked, is lost with a change of user, and does not
    reach grandchildren such as rsync's ssh.
    """
    if _guard:
        return
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads that only wait hold no lock
        pid = os.fork()
    if pid == 0:
        try:
            _guard_groups(reading)
        finally:
            os._exit(0)
    os.close(reading)
    _guard.append(writing)


def _guard_groups(reading: int) -> None:
    """Read which groups run until the pipe is closed, and kill those."""
    signal.set_wakeup_fd(-1)
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)
    os.setsid()
    os.chdir("/")
    with open(os.devnull, "r+b", buffering=0) as null:
        for descriptor in range(3):
            os.dup2(null.fileno(), descriptor)
    os.dup2(reading, 3)
    os.closerange(4, 1 << 16)
    groups: dict[int, int] = {}
    while record := os.read(3, _GROUP.size):
        start, groups[start] = _GROUP.unpack(record)
        if not groups[start]:
            del groups[start]
    for group in groups.values():
        _signal_group(group, signal.SIGKILL)


def _tell_guard(start: int, group: int) -> None:
    """Tell the guard which group runs since a start, or, with 0, that it has ended."""
    if _guard:
        with contextlib.suppress(OSError):  # the guard was killed
            os.write(_guard[0], _GROUP.pack(start, group))


def die_with_parent() -> None:
    """Let the kernel kill this process when the thread that forked it ends. A later change of user undoes that. Raise OSError."""
    check(libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "an end with its parent")


def _watch(descriptor: int) -> None:
    """End all children when a signal arrives: a main thread that just began to wait for others would not notice it.

    A process that still runs after that waits for a file that never comes: it is ended, too, and with it its lock.
    """
    while True:
        number = os.read(descriptor, 1)[0]
        if number in _ENDING:
            _told_to_end.append(number)
            _signal_all(signal.SIGTERM)
            time.sleep(_GRACE)
            _signal_all(signal.SIGKILL)
            time.sleep(_PATIENCE)
            os._exit(128 + number)


@contextlib.contextmanager
def ended_after(deadline: Deadline, last_words: Callable[[str], None]) -> Iterator[None]:
    """End this process, and with it its lock, if the block runs on long after its deadline.

    This ends a thread that waits for a file that never comes. Before, `last_words` is called with the reason.
    """
    seconds = deadline.remaining()
    if seconds is None:
        yield
        return
    over = threading.Event()

    def watch() -> None:
        if not over.wait(seconds + _PATIENCE):
            with contextlib.suppress(Exception):
                last_words(
                    f"the {deadline.step} took longer than its limit of {deadline.seconds:g} s, and waits for something that cannot "
                    "be ended: this call ended itself"
                )
            _end_all()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def register(group: int, process: Any) -> None:
    """Let a process group end with this process; `process.poll()` must be None while it runs."""
    with _running_lock:
        _running[group] = process
        _tell_guard(-group, group)


def unregister(group: int) -> None:
    """Forget a process group that has ended."""
    with _running_lock:
        _running.pop(group, None)
        _tell_guard(-group, 0)


def forget_all() -> None:
    """Forget, in a fork, the children and signals of the parent process."""
    for descriptor in _guard:
        os.close(descriptor)
    for known in (_running, _starting, _watching, _inherited, _left, _guard, _told_to_end):
        known.clear()


def _end_all() -> None:
    """End what still runs as this process ends, such as children whose clean-up a signal interrupted."""
    _signal_all(signal.SIGTERM)
    end = time.monotonic() + _GRACE
    while any(process.poll() is None for process in list(_running.values())) and time.monotonic() < end:
        time.sleep(0.02)
    _signal_all(signal.SIGKILL)


def _signal_all(number: int) -> None:
    for group in list(_running):
        _signal_group(group, number)


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)
