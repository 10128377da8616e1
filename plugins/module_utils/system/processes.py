"""Child processes: argv lists only, each in a process group of its own, with a deadline, and with their stderr in failures."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Protocol

from . import process_groups
from .errors import DeadlineExceeded, ToolFailed
from .proc import NAME, PROC, SESSION, open_files, pids, position, stat_of
from .programs import clean_environment
from .temporary import temporary_stream
from .units import told_apart

_STDERR_LIMIT = 4096


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


_LONGEST_WAIT = 86400.0
"""Seconds; poll(2) takes 24 days at most"""


def _wait(process: subprocess.Popen[bytes], seconds: float | None) -> int:
    """Return the exit code of a process as soon as it has ended. Raise TimeoutExpired.

    `Popen.wait` with a timeout only looks every 50 ms; a file descriptor of a process, see pidfd_open(2), can be waited for.
    """
    open_process = getattr(os, "pidfd_open", None)  # since Python 3.9
    if seconds is None or open_process is None or process.poll() is not None:
        return process.wait(seconds)
    end = time.monotonic() + seconds
    with contextlib.suppress(OSError):  # the kernel has none, or the process was waited for in another thread
        descriptor = open_process(process.pid)
        try:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            poll.poll(1000 * min(seconds, _LONGEST_WAIT))
        finally:
            os.close(descriptor)
    return process.wait(max(0.0, end - time.monotonic()))


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
        with process_groups.running_lock:
            if process_groups.told_to_end:
                raise DeadlineExceeded(
                    f"signal {process_groups.told_to_end[0]} told this process to end: {self.name} was not started"
                )
            self._start = next(process_groups.starts)
            try:
                process_groups.starting.append(in_main)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeprecationWarning)  # what runs before the program takes no lock
                    self.process = subprocess.Popen(
                        list(argv),
                        stdin=subprocess.DEVNULL if stdin is None else stdin,
                        stdout=subprocess.DEVNULL if stdout is None else stdout,
                        stderr=self._stderr,
                        cwd=cwd,
                        env=dict(clean_environment() if environment is None else environment),
                        pass_fds=[
                            *pass_fds,
                            *process_groups.lifeline_files,
                            *(process_groups.inherited_files if locking else ()),
                        ],
                        start_new_session=True,
                        preexec_fn=self._tell_of_itself if process_groups.guard_pipe else None,  # noqa: PLW1509 (it takes no lock)
                    )
                process_groups.running[self.process.pid] = self.process
            except BaseException:
                process_groups.tell_guard(self._start, 0)
                raise
            finally:
                process_groups.starting.pop()
        if process_groups.told_to_end:  # told while the child was starting, too late for the handler to see the child
            process_groups.signal_group(self.process.pid, signal.SIGTERM)
            if in_main:
                raise SystemExit(128 + process_groups.told_to_end[0])

    def _tell_of_itself(self) -> None:
        """Tell the guard, in the new process before it is the program: nobody can kill this one between its start and that."""
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # the guard was killed
        process_groups.tell_guard(self._start, os.getpid())
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
        with process_groups.running_lock:
            if process_groups.running.pop(self.process.pid, None) and self.process not in process_groups.left_alone:
                process_groups.tell_guard(self._start, 0)

    def end(self) -> None:
        """End the program and all its children: SIGTERM, then SIGKILL. One that cannot be killed is left alone."""
        if self.process not in process_groups.left_alone and self.process.poll() is None:
            process_groups.signal_group(self.process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                _wait(self.process, process_groups.GRACE)
            process_groups.signal_group(self.process.pid, signal.SIGKILL)  # those of the group that ignored SIGTERM
            try:
                _wait(self.process, process_groups.GRACE)
            except subprocess.TimeoutExpired:
                process_groups.left_alone.append(self.process)

    def _end_late(self) -> None:
        """End it after a deadline. Raise DeadlineExceeded if it cannot be killed."""
        self.end()
        if self.process in process_groups.left_alone:
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
                return _wait(self.process, left if silence is None else min(silence / 4, left or silence))
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
        return tail.replace(b"\r\n", b"\n").decode("utf-8", "backslashreplace").strip()  # ssh ends its lines like that

    def stderr_size(self) -> int:
        """Return the size of its stderr in bytes."""
        return os.fstat(self._stderr.fileno()).st_size

    def lines(self) -> Iterator[str]:
        """Yield all lines of its stderr."""
        self._stderr.seek(0)
        for line in self._stderr:
            yield line.decode("utf-8", "backslashreplace").rstrip("\r\n")

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
    sessions = set(process_groups.running)
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
    with tempfile.TemporaryFile() as out, temporary_stream(input or b"") as source:
        with Child(argv, stdin=source, stdout=out, cwd=cwd, environment=environment, name=name) as child:
            child.check(deadline, what)
            if stderr_lines is not None:
                stderr_lines.extend(child.stderr().splitlines())
        out.seek(0)
        return out.read()


@contextlib.contextmanager
def output_of(
    argv: Sequence[str | bytes],
    *,
    what: str,
    deadline: Deadline,
    environment: Mapping[str, str] | None = None,
    stderr_lines: list[str] | None = None,
    name: str = "",
) -> Iterator[IO[bytes]]:
    """Yield the stdout of argv, a pipe, while it runs. After the block raise ToolFailed unless it ended well; else as `run`.

    For programs that end with exit code 0 where the last block of a file of their own found no room: who reads the pipe writes that file.
    """
    with Child(argv, stdout=subprocess.PIPE, environment=environment, name=name) as child:
        with ended_at(deadline, [child]):
            yield child.stdout
        try:
            child.check(deadline, what)
        finally:
            if stderr_lines is not None:
                stderr_lines.extend(child.lines())


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
        if not over.wait(seconds + process_groups.PATIENCE):
            with contextlib.suppress(Exception):
                last_words(
                    f"the {deadline.step} took longer than its limit of {deadline.seconds:g} s, and waits for something that cannot "
                    "be ended: this call ended itself"
                )
            process_groups.end_all()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()
