"""One run of ansible-playbook under ansible-runner, watched until every process of it is gone."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import processes
from .job import Job
from .run_store import EVENTS, Run
from .runner_events import Listener

MARK = "ALTBACKUP_RUN"
"""The variable in the environment of all processes of a run, with its folder"""
TIME_LIMIT, TOLD, KILLED, ASKED, BROKEN = "time limit", "told", "killed", "asked", "broken"
_GRACE = 5.0
_GLANCE = 0.2
"""Seconds between two looks at a run"""
_ADOPTION = 5.0
"""Seconds between two looks for dead orphans"""
_MOST_READ = 65536
_SILENCE = 2.0
"""Seconds after which what is left of a dead ansible-playbook is ended, because it keeps the run from its end"""


@dataclass(frozen=True)
class ProcessExit:
    """How ansible-playbook ended."""

    code: int | None
    """Its exit code, if it had one"""
    reason: str = ""
    """Why it did not end by itself: a time limit, told to end, killed, it asked, or ansible-runner broke"""
    detail: str = ""
    survivors: tuple[processes.Process, ...] = ()
    """What could not be ended"""


class SignalInbox:
    """The signals that tell this process to end: they are noted, and acted upon by who watches the run."""

    def __init__(self) -> None:
        self.received: list[int] = []
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:  # nohup's wish
                signal.signal(number, lambda signal_number, _: self.received.append(signal_number))


def play(
    job: Job, run: Run, environment: Mapping[str, str], listener: Listener, limit: float, inbox: SignalInbox
) -> ProcessExit:
    """Given a job, its folder, what to add to the environment, who listens, a time limit in seconds and the inbox of signals, run it.

    When this returns, a run that did not end by itself has left no process on this machine, but the survivors named.
    """
    try:
        child, events = _start(job, run, environment, listener)
    except Exception as error:  # noqa: BLE001 # whatever is wrong with ansible-runner, it is told
        return ProcessExit(None, BROKEN, f"{type(error).__name__}: {error}")
    broken: list[Exception] = []
    reader = threading.Thread(target=_read, args=(child, events, broken), daemon=True)
    reader.start()
    reason, survivors = _watch(reader, child.pid, listener, limit, inbox)
    if reason:
        detail = (
            listener.asks if reason == ASKED else processes.signal_name(inbox.received[0]) if reason == TOLD else ""
        )
        return ProcessExit(None, reason, detail, survivors)
    if child.signalstatus:
        return ProcessExit(None, KILLED, processes.signal_name(child.signalstatus), _end_all(child.pid, inbox))
    if child.exitstatus is not None:
        return ProcessExit(child.exitstatus)
    said = f"{type(broken[0]).__name__}: {broken[0]}" if broken else "it does not know how ansible-playbook ended"
    return ProcessExit(None, BROKEN, said, _end_all(child.pid, inbox))


def _start(job: Job, run: Run, environment: Mapping[str, str], listener: Listener) -> tuple[Any, Any]:
    """Start ansible-playbook as ansible-runner would; return it, and the stream that makes events of what it prints.

    ansible-runner's own `run` tells neither the process nor the signal that ended it.
    """
    import ansible_runner.interface
    import ansible_runner.utils
    import pexpect

    runner = ansible_runner.interface.init_runner(
        private_data_dir=str(run.folder),
        artifact_dir=str(run.folder),
        ident="ansible",
        project_dir=os.getcwd(),
        playbook=str(job.playbook),
        cmdline=shlex.join(job.options),
        envvars={**environment, MARK: str(run.folder)},
        suppress_env_files=True,
        fact_cache_type="",
        quiet=True,
        event_handler=listener.take,
        cancel_callback=lambda: False,  # else it would take the signals
    )
    config = runner.config
    os.mkdir(os.path.join(config.artifact_dir, "job_events"), 0o700)
    events = ansible_runner.utils.OutputEventFilter(None, runner.event_callback, suppress_ansible_output=True)
    child = pexpect.spawn(
        config.command[0],
        config.command[1:],
        cwd=config.cwd,
        env=config.env,
        encoding="utf-8",
        codec_errors="replace",
        ignore_sighup=True,
        echo=False,
        use_poll=True,
    )
    child.logfile_read = events
    return child, events


def _read(child: Any, events: Any, broken: list[Exception]) -> None:
    """Read what ansible-playbook prints until it has ended; what goes wrong is noted for who waits for this."""
    import pexpect

    try:
        with contextlib.suppress(pexpect.EOF):
            while True:
                with contextlib.suppress(pexpect.TIMEOUT):
                    child.read_nonblocking(_MOST_READ, 1)
        child.isalive()  # after the end of its output this waits for its own
        child.close()
        events.close()
    except Exception as error:  # noqa: BLE001 # see above
        broken.append(error)


def _watch(
    reader: threading.Thread, pid: int, listener: Listener, limit: float, inbox: SignalInbox
) -> tuple[str, tuple[processes.Process, ...]]:
    """Wait for the end of a run, or bring it about; return why, empty if it ended by itself, and what could not be ended."""
    deadline = time.monotonic() + limit
    looked = time.monotonic()
    dead_since = 0.0
    while reader.is_alive():
        reader.join(_GLANCE)
        now = time.monotonic()
        reason = TOLD if inbox.received else TIME_LIMIT if now > deadline else ASKED if listener.asks else ""
        if reason:
            left = _end_all(pid, inbox)
            reader.join(2 * _GRACE)
            return reason, left
        if now - looked > _ADOPTION:
            looked = now
            processes.reap(pid)
        if not processes.is_alive(pid):  # and what it left keeps its terminal open
            dead_since = dead_since or now
            if now - dead_since > _SILENCE:
                left = _end_all(pid, inbox)
                reader.join(2 * _GRACE)
                return "", left
    return "", ()


def _end_all(pid: int, inbox: SignalInbox) -> tuple[processes.Process, ...]:
    """End all processes of the run, at once if this process is told to end once more; return what could not be ended."""
    before = len(inbox.received)
    return tuple(
        processes.end(processes.descendants, _GRACE, spare=pid, impatient=lambda: len(inbox.received) > before)
    )


def tidy(run: Run) -> None:
    """Put the events of a run where they belong, and remove what ansible-runner needed."""
    for path in (run.folder / "ansible" / "job_events").glob("*-partial.json*"):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        os.rename(run.folder / "ansible" / "job_events", run.folder / EVENTS)
    shutil.rmtree(run.folder / "ansible", ignore_errors=True)
