"""Runs ansible-playbook under ansible-runner, and watches it until all its processes are gone."""

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
"""Environment variable of all processes of a run, which holds the run's folder"""
TIME_LIMIT, TOLD, KILLED, ASKED, BROKEN = "time limit", "told", "killed", "asked", "broken"
_GRACE = 5.0
_GLANCE = 0.2
"""Seconds between two checks of a run"""
_ADOPTION = 5.0
"""Seconds between two checks for dead orphans"""
_MOST_READ = 65536
_SILENCE = 2.0
"""Seconds after which the descendants of a dead ansible-playbook are ended, because they keep its terminal open"""


@dataclass(frozen=True)
class ProcessExit:
    """How ansible-playbook ended."""

    code: int | None
    """Its exit code, None if it was ended or killed"""
    reason: str = ""
    """Why it did not end by itself: TIME_LIMIT, TOLD, KILLED, ASKED or BROKEN; "" if it did"""
    detail: str = ""
    survivors: tuple[processes.Process, ...] = ()
    """Processes that could not be ended"""


class SignalInbox:
    """Records the signals that tell this process to end; the loop that watches the run acts on them."""

    def __init__(self) -> None:
        self.received: list[int] = []
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:  # leave what nohup set
                signal.signal(number, lambda signal_number, _: self.received.append(signal_number))


def play(
    job: Job, run: Run, environment: Mapping[str, str], listener: Listener, limit: float, inbox: SignalInbox
) -> ProcessExit:
    """Run a job and return how it ended; `environment` is added to that of this process, `limit` is in seconds.

    If the run did not end by itself, no process of it is left on this machine except the survivors in the result.
    """
    try:
        child, events = _start(job, run, environment, listener)
    except Exception as error:  # noqa: BLE001 # any failure of ansible-runner becomes a result
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
    why = f"{type(broken[0]).__name__}: {broken[0]}" if broken else "it does not know how ansible-playbook ended"
    return ProcessExit(None, BROKEN, why, _end_all(child.pid, inbox))


def _start(job: Job, run: Run, environment: Mapping[str, str], listener: Listener) -> tuple[Any, Any]:
    """Start ansible-playbook as ansible-runner would; return it, and the stream that turns its output into events.

    ansible-runner's own `run` exposes neither the process nor the signal that ended it.
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
        cancel_callback=lambda: False,  # without one, ansible-runner installs its own signal handlers
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
    """Read the output of ansible-playbook until it has ended; add exceptions to `broken`."""
    import pexpect

    try:
        with contextlib.suppress(pexpect.EOF):
            while True:
                with contextlib.suppress(pexpect.TIMEOUT):
                    child.read_nonblocking(_MOST_READ, 1)
        child.isalive()  # collects the exit status
        child.close()
        events.close()
    except Exception as error:  # noqa: BLE001 # see above
        broken.append(error)


def _watch(
    reader: threading.Thread, pid: int, listener: Listener, limit: float, inbox: SignalInbox
) -> tuple[str, tuple[processes.Process, ...]]:
    """Wait for the end of a run, or end it; return (reason, "" if it ended by itself; processes that could not be ended)."""
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
        if not processes.is_alive(pid):  # a descendant keeps its terminal open
            dead_since = dead_since or now
            if now - dead_since > _SILENCE:
                left = _end_all(pid, inbox)
                reader.join(2 * _GRACE)
                return "", left
    return "", ()


def _end_all(pid: int, inbox: SignalInbox) -> tuple[processes.Process, ...]:
    """End all processes of the run, with SIGKILL once another signal arrives; return those that could not be ended."""
    before = len(inbox.received)
    return tuple(
        processes.end(processes.descendants, _GRACE, spare=pid, impatient=lambda: len(inbox.received) > before)
    )


def tidy(run: Run) -> None:
    """Move the events of a run to their place in its folder, and remove the files of ansible-runner."""
    for path in (run.folder / "ansible" / "job_events").glob("*-partial.json*"):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        os.rename(run.folder / "ansible" / "job_events", run.folder / EVENTS)
    shutil.rmtree(run.folder / "ansible", ignore_errors=True)
