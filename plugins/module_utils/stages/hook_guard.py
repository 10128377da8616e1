"""The guard of a dump's hooks: the process that runs them, and that runs owed hooks if the call that asked for them is gone.

It has its own session and no open file of the call except one end of a socket. Whatever ends the call - an error, its limit, SIGKILL - closes the other end.
Unless the call had said that all is done, the guard then ends the `before` that is running, waits until the call's readers have released the item, runs each
owed `after`, and writes the results to the ledger. Each program has a time limit, so the guard ends, too.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import select
import signal
import socket
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import IO, Any

from ..kinds.hooks import AFTER, BEFORE, ON_FAILURE
from ..system import process_groups
from ..system.conversation import Conversation
from ..system.errors import AltbackupError, DeadlineExceeded, ToolFailed
from ..system.priority import restore_priority
from ..system.processes import Child, Deadline
from ..system.programs import clean_environment, system_path
from ..system.readers import Identity
from ..system.units import readable
from ..tree.failures import explain
from ..tree.layout import Tree
from .hook_ledger import Ledger

CUT = "cut"
"""Value of ALTBACKUP_STATE for a dump whose call was ended"""
_PATIENCE = 15.0
"""Seconds to wait for the readers of a call that is gone"""
_SETTLING = 0.1
_TICK = 0.05
_MOST_SAID = 64 << 20
_TAIL = 4096
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


class GuardGone(AltbackupError):
    """A guard that does not answer."""

    def __init__(self, message: str, *, killed: bool) -> None:
        """`killed` says whether the guard is gone; else it continues without the call."""
        super().__init__(message)
        self.killed = killed


@dataclass(frozen=True)
class Program:
    """A hook with everything needed to run it."""

    argv: list[str]
    uid: int
    seconds: float
    """Time limit"""


@dataclass
class _OwedHooks:
    """A dump whose `after` hooks are owed."""

    title: str
    stamp: str
    programs: Mapping[str, list[Program]]
    """{AFTER or ON_FAILURE: programs}"""
    done: set[tuple[str, int]] = field(default_factory=set)
    """(when, index) of the programs that were started"""


class HookExecutor:
    """Runs hooks, and records in the ledger which are owed."""

    def __init__(self, tree: Tree, is_over: Callable[[], bool] = lambda: False) -> None:
        """`is_over` returns whether the call for which hooks are run is gone."""
        self.ledger = Ledger(tree)
        self._is_over = is_over
        self._owed: dict[str, _OwedHooks] = {}

    def open(self, wait: float) -> dict[str, Any]:
        """Lock the ledger, waiting up to `wait` seconds; return what an earlier call left in it. Raise Locked or OSError."""
        self.ledger.open(wait, self._is_over)
        results, owed = list(map(asdict, self.ledger.results)), list(map(asdict, self.ledger.owed))
        return {"results": results, "owed": owed, "damaged": self.ledger.damaged}

    def owe(self, item: str, title: str, stamp: str, programs: Mapping[str, list[dict[str, Any]]]) -> None:
        """Record in the ledger that the hooks after this dump are owed. Raise OSError, and then they are not."""
        self.ledger.owe(item, stamp)
        known = {when: [Program(**program) for program in several] for when, several in programs.items()}
        self._owed[item] = _OwedHooks(title, stamp, known)

    def run(
        self, item: str, stamp: str, title: str, when: str, which: int, program: Mapping[str, Any], state: str
    ) -> None:
        """Run a program and wait for it. Raise ToolFailed, DeadlineExceeded, AltbackupError or OSError."""
        owed_hooks = self._owed.get(item)
        if owed_hooks:
            owed_hooks.done.add((when, which))
        to_run = Program(**program)
        environment = {"ALTBACKUP_ITEM": item, "ALTBACKUP_STAMP": stamp, "ALTBACKUP_STATE": state}
        try:
            run_program(to_run, environment, f"{title}: {when}", self._is_over if when == BEFORE else lambda: False)
        except (AltbackupError, OSError) as error:
            if when != BEFORE and self._is_over():
                self.ledger.add_result(item, explain(error), bad=True)
            raise
        if when != BEFORE and self._is_over():
            self.ledger.add_result(
                item,
                f"{title}: {when}: {to_run.argv[0]}, for which the call of {stamp} did not wait, ended well",
                bad=False,
            )

    def pay(self, item: str) -> None:
        """Record that nothing is owed for an item any more. Raise OSError."""
        self._owed.pop(item, None)
        self.ledger.pay(item)

    def end(self) -> None:
        """Release the ledger; what an earlier call left in it was reported. Raise OSError."""
        self.ledger.close(reported=True)

    def take_over(self) -> None:
        """Run all owed hooks, of the last dump first, and record the results."""
        for item, owed_hooks in reversed(list(self._owed.items())):
            results: list[tuple[str, bool]] = []
            for when in (AFTER, ON_FAILURE):
                for which, program in enumerate(owed_hooks.programs[when]):
                    if (when, which) not in owed_hooks.done:
                        results.append(self._run_alone(item, owed_hooks, when, program))
            with contextlib.suppress(OSError):  # if the disk is full, the next call runs them again
                for text, bad in results:
                    self.ledger.add_result(item, text, bad=bad)
                self.pay(item)
        self.ledger.drop()

    def _run_alone(self, item: str, owed_hooks: _OwedHooks, when: str, program: Program) -> tuple[str, bool]:
        """Run a program without a call; return a message on it, and whether that is a failure."""
        environment = {"ALTBACKUP_ITEM": item, "ALTBACKUP_STAMP": owed_hooks.stamp, "ALTBACKUP_STATE": CUT}
        began = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        about = f"{owed_hooks.title}: {when}, after the dump of {owed_hooks.stamp} had been cut, at {began}"
        try:
            run_program(program, environment, about, lambda: False)
        except (AltbackupError, OSError) as error:
            return explain(error), True
        return f"{about}: {program.argv[0]} was run, and ended well", False


def run_program(program: Program, variables: Mapping[str, str], what: str, is_over: Callable[[], bool]) -> None:
    """Run a program with environment variables, until it ends, exceeds its limit, or `is_over` returns true.

    Processes that it leaves running are not ended: one may be the service that it had to start. Raise ToolFailed with its stderr, DeadlineExceeded,
    AltbackupError or OSError.
    """
    argv = Identity(program.uid, viewed=False).argv(program.argv)
    end = time.monotonic() + program.seconds
    with tempfile.TemporaryFile() as out:
        name = program.argv[0]
        with Child(
            argv, stdout=out, environment=_environment(program.uid, variables), name=name, locking=False
        ) as child:
            while (code := _waited(child)) is None:
                late, large = (
                    time.monotonic() > end,
                    max(child.stderr_size(), os.fstat(out.fileno()).st_size) > _MOST_SAID,
                )
                if not (late or large or is_over()):
                    continue
                child.end()
                if large:
                    raise AltbackupError(f"{what}: {name} said more than {readable(_MOST_SAID)}, and was ended")
                if late:
                    raise DeadlineExceeded(
                        f"{what}: {name} took longer than its limit of {program.seconds:g} s and was ended"
                    )
                raise DeadlineExceeded(f"{what}: {name} was ended, as the dump was")
            if code:
                stderr = child.stderr() or _tail_of(out)
                ending = f"was killed by signal {-code}" if code < 0 else f"failed with exit code {code}"
                raise ToolFailed(f"{what}: {name} {ending}: {stderr or 'it said nothing'}", code, stderr)


def _waited(child: Child) -> int | None:
    """Return the exit code of a program that ends within 50 ms, else None."""
    end = time.monotonic() + _TICK
    while (code := child.process.poll()) is None and time.monotonic() < end:
        time.sleep(0.005)
    return code


def _tail_of(stream: IO[bytes]) -> str:
    stream.seek(max(0, stream.seek(0, os.SEEK_END) - _TAIL))
    return stream.read().decode("utf-8", "backslashreplace").strip()


def _environment(uid: int, variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a hook, without any variable of this process."""
    names = {"PATH": system_path()}
    with contextlib.suppress(KeyError):
        entry = pwd.getpwuid(uid)
        names.update(HOME=entry.pw_dir, USER=entry.pw_name, LOGNAME=entry.pw_name)
    return clean_environment(**names, **variables)


class Guard:
    """The call's side of the guard; a context manager, to be entered before any thread is started."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._ended = False

    def __enter__(self) -> Guard:
        mine, other = socket.socketpair()
        watched, lifeline = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # threads that only wait hold no lock
            self.pid = os.fork()
        if self.pid == 0:
            try:
                _serve(self._tree, *_begun(other.fileno(), watched))
            finally:
                os._exit(0)
        other.close()
        os.close(watched)
        self._connection = mine
        self._conversation = Conversation(mine)
        self._stack = contextlib.ExitStack()
        self._stack.callback(os.close, lifeline)
        self._stack.enter_context(process_groups.with_lifeline(lifeline))
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()
        self._stack.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0 if self._ended else os.WNOHANG)

    def ask(self, what: str, seconds: float, **values: Any) -> dict[str, Any]:
        """Call a method of the guard's HookExecutor; return its value, or an empty mapping.

        Raise what it raises, and GuardGone if there is no answer within `seconds`, or the guard was killed. What is owed is then the guard's to do, or the
        caller's if it was killed.
        """
        try:
            self._conversation.send({"ask": what, "values": values})
            answer = self._conversation.receive(Deadline(seconds, "wait for the guard of hooks"))
        except DeadlineExceeded as error:
            self._connection.shutdown(socket.SHUT_RDWR)
            raise GuardGone(
                f"a hook took longer than this call could wait: process {self.pid} sees to its end, and the next call tells of it",
                killed=False,
            ) from error
        except (AltbackupError, OSError) as error:
            raise GuardGone(f"the guard of hooks, process {self.pid}, was killed", killed=True) from error
        if "failed" in answer:
            raise _error_of(answer)
        self._ended = what == "end"
        return dict(answer["value"] or {})


def _error_of(answer: Mapping[str, Any]) -> AltbackupError:
    """Return the exception in a guard's answer."""
    if answer["kind"] == "ToolFailed":
        return ToolFailed(str(answer["failed"]), answer["rc"], str(answer["stderr"]))
    return AltbackupError(str(answer["failed"]))


def _begun(connection: int, watched: int) -> tuple[int, int]:
    """Detach this fork from the call; return the new descriptors of the socket and the lifeline."""
    signal.set_wakeup_fd(-1)
    for number in _SIGNALS:
        signal.signal(
            number, signal.SIG_DFL if number == signal.SIGCHLD else _stay
        )  # a handler, unlike SIG_IGN, is not inherited by programs
    os.setsid()
    os.chdir("/")
    process_groups.forget_all()
    kept = os.dup(connection), os.dup(watched)
    null = os.open(os.devnull, os.O_RDWR)  # closed below, unless it is 0, 1 or 2
    for descriptor in range(3):
        os.dup2(null, descriptor)
    first = 3
    for descriptor in (*sorted(kept), 1 << 16):
        os.closerange(first, descriptor)
        first = descriptor + 1
    restore_priority()
    process_groups.start_guard()  # ends the programs if this process is killed
    return kept


def _stay(*_: object) -> None:
    """Ignore a signal: the guard ends when the call closes its socket."""


def _serve(tree: Tree, connection: int, watched: int) -> None:
    """Answer requests until the call is gone or says that all is done."""
    peer = socket.socket(fileno=connection)
    conversation = Conversation(peer)
    poll = select.poll()
    poll.register(peer, select.POLLRDHUP)
    executor = HookExecutor(tree, lambda: bool(poll.poll(0)))
    asked: dict[str, Callable[..., Any]] = {
        "open": executor.open,
        "owe": executor.owe,
        "run": executor.run,
        "pay": executor.pay,
        "end": executor.end,
    }
    while True:
        try:
            message = conversation.receive()
        except AltbackupError:
            break
        answer = _answered(lambda: asked[message["ask"]](**message["values"]))  # noqa: B023 (called at once)
        with contextlib.suppress(OSError):
            conversation.send(answer)
        if message["ask"] == "end":
            return
    gone = select.poll()
    gone.register(watched, 0)
    gone.poll(_PATIENCE * 1000)
    time.sleep(_SETTLING)
    executor.take_over()


def _answered(function: Callable[[], Any]) -> dict[str, Any]:
    try:
        return {"value": function()}
    except (AltbackupError, OSError) as error:
        known = {"rc": error.rc, "stderr": error.stderr} if isinstance(error, ToolFailed) else {}
        return {"failed": explain(error), "kind": type(error).__name__, **known}
    except Exception as error:  # noqa: BLE001 (the caller gets the error; what is owed remains the guard's)
        return {"failed": f"unexpected {type(error).__name__}: {error}", "kind": "AltbackupError"}
