"""One run of ansible-playbook under ansible-runner, watched until every process of it is gone."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..report.private_files import write_private
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
_SILENCE = 2.0
"""Seconds after which what is left of a dead ansible-playbook is ended, because it keeps the run from its end"""


@dataclass(frozen=True)
class Ended:
    """How ansible-playbook ended."""

    code: int | None
    """Its exit code, if it had one"""
    reason: str = ""
    """Why it did not end by itself: a time limit, told to end, killed, it asked, or ansible-runner broke"""
    detail: str = ""
    survivors: tuple[processes.Process, ...] = ()
    """What could not be ended"""


class Bell:
    """The signals that tell this process to end: they are noted, and acted upon by who watches the run."""

    def __init__(self) -> None:
        self.rung: list[int] = []
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:  # nohup's wish
                signal.signal(number, lambda received, _: self.rung.append(received))


def play(job: Job, run: Run, environment: Mapping[str, str], listener: Listener, limit: float, bell: Bell) -> Ended:
    """Given a job, its folder, what to add to the environment, who listens, a time limit in seconds and the bell, run it.

    When this returns, a run that did not end by itself has left no process on this machine, but the survivors named.
    """
    import ansible_runner

    settings = {"pexpect_timeout": 1, "suppress_output_file": True, "suppress_ansible_output": True}
    (run.folder / "env").mkdir(mode=0o700)
    write_private(str(run.folder / "env" / "settings"), json.dumps(settings).encode())
    children = _note_children()
    broken: list[BaseException] = []
    code: list[int | None] = []

    def work() -> None:
        try:
            done = ansible_runner.run(
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
                status_handler=lambda status, runner_config: _forget_command(runner_config, status),
                cancel_callback=lambda: False,
            )
            code.append(done.rc)
        except BaseException as error:  # noqa: BLE001 # told by who waits for this thread
            broken.append(error)

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    reason, survivors = _watch(worker, children, listener, limit, bell)
    child = children[0] if children else None
    if reason:
        detail = listener.asks if reason == ASKED else processes.signal_name(bell.rung[0]) if reason == TOLD else ""
        return Ended(None, reason, detail, survivors)
    if child is not None and child.signalstatus:
        return Ended(None, KILLED, processes.signal_name(child.signalstatus), _end_all(children, bell))
    if code and code[0] is not None:
        return Ended(code[0])
    if child is not None and child.exitstatus is not None:
        return Ended(child.exitstatus)
    said = f"{type(broken[0]).__name__}: {broken[0]}" if broken else "it does not know how ansible-playbook ended"
    return Ended(None, BROKEN, said, _end_all(children, bell))


def _watch(
    worker: threading.Thread, children: list[Any], listener: Listener, limit: float, bell: Bell
) -> tuple[str, tuple[processes.Process, ...]]:
    """Wait for the end of a run, or bring it about; return why, empty if it ended by itself, and what could not be ended."""
    deadline = time.monotonic() + limit
    looked = time.monotonic()
    dead_since = 0.0
    while worker.is_alive():
        worker.join(_GLANCE)
        now = time.monotonic()
        reason = TOLD if bell.rung else TIME_LIMIT if now > deadline else ASKED if listener.asks else ""
        if reason:
            left = _end_all(children, bell)
            worker.join(2 * _GRACE)
            return reason, left
        if now - looked > _ADOPTION:
            looked = now
            processes.reap(_pid(children))
        if children and not processes.is_alive(_pid(children)):  # and what it left keeps its terminal open
            dead_since = dead_since or now
            if now - dead_since > _SILENCE:
                left = _end_all(children, bell)
                worker.join(2 * _GRACE)
                return "", left
    return "", ()


def _end_all(children: list[Any], bell: Bell) -> tuple[processes.Process, ...]:
    """End all processes of the run, at once if this process is told to end once more; return what could not be ended."""
    rings = len(bell.rung)
    return tuple(
        processes.end(processes.descendants, _GRACE, spare=_pid(children), impatient=lambda: len(bell.rung) > rings)
    )


def _note_children() -> list[Any]:
    """Return a list to which the child that ansible-runner is going to start is added: it tells by which signal that ended."""
    import pexpect

    children: list[Any] = []
    start = pexpect.spawn

    def spawn(*arguments: Any, **options: Any) -> Any:
        child = start(*arguments, **options)
        children.append(child)
        return child

    pexpect.spawn = spawn
    return children


def _forget_command(runner_config: Any, status: Mapping[str, Any]) -> None:
    """Remove the file with command line and environment that ansible-runner writes, before the run begins."""
    if status.get("status") == "running":
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(runner_config.artifact_dir, "command"))


def _pid(children: list[Any]) -> int:
    return int(children[0].pid) if children else 0


def tidy(run: Run) -> None:
    """Put the events of a run where they belong, and remove what ansible-runner needed."""
    for path in (run.folder / "ansible" / "job_events").glob("*-partial.json*"):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        os.rename(run.folder / "ansible" / "job_events", run.folder / EVENTS)
    for name in ("ansible", "env"):
        shutil.rmtree(run.folder / name, ignore_errors=True)
