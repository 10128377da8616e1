"""The verdict on a run: its state, its exit code, and the report, from what its folder holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..report.command_line import command_line, mending_command, rerun_command
from ..report.masking import mask_argv
from ..report.model import RECORDED, RUN, Failure, Report
from ..report.plain_text import last_lines
from .job import Job
from .playbook_run import ASKED, BROKEN, KILLED, TIME_LIMIT, TOLD, ProcessExit
from .runner_events import only_unreachable, start_error

GOOD, FAILED, UNREACHABLE, NOT_STARTED = "good", "failed", "unreachable", "not started"
TIMED_OUT, ALREADY_RUNNING, INTERRUPTED, DIED = "time limit", "already running", "interrupted", "killed"
EXIT_CODES = {
    GOOD: 0,
    FAILED: 2,
    UNREACHABLE: 3,
    NOT_STARTED: 4,
    TIMED_OUT: 5,
    ALREADY_RUNNING: 6,
    INTERRUPTED: 7,
    DIED: 7,
}
_OUTPUT = 6 * 1024


@dataclass(frozen=True)
class Verdict:
    """How a run ended, and why, if its tasks' failures do not tell."""

    state: str
    message: str = ""
    outputs: tuple[tuple[str, str], ...] = ()

    @property
    def exit_code(self) -> int:
        """The exit code of the program."""
        return EXIT_CODES[self.state]


def judge_run(
    ended: ProcessExit,
    fields: Mapping[str, Any],
    *,
    began: bool,
    log: str,
    limit: str,
    memory: str,
    running: Sequence[str] = (),
    user: str = "",
) -> Verdict:
    """Return the verdict on a run; `fields` are those of the report on its tasks.

    `began` is whether any task began, `log` the output, `limit` the time limit as given, `memory` a sentence on processes that the kernel
    killed for lack of memory, `running` the tasks that had not ended, `user` who started the run.
    """
    failures = fields["failures"]
    alone = [failure for failure in failures if failure.kind == RUN]
    outputs = [
        ("was running", "\n".join(running)),
        ("last lines of the log", "" if ended.reason == TOLD else last_lines(log, _OUTPUT)),
        ("memory", memory),
    ]
    if ended.survivors:
        names = ", ".join(f"{process.pid} {process.name}" for process in ended.survivors)
        outputs.insert(0, ("could not be ended", names))
    told = tuple((title, text) for title, text in outputs if text)
    if ended.reason:
        return Verdict(*_why(ended, limit, memory, user), told)
    if ended.code == 0 and not failures:
        return Verdict(GOOD)
    if ended.code == 0 and alone:
        return Verdict(NOT_STARTED)  # its only failure says that nothing was done
    if fields["recap"] and failures:
        return Verdict(UNREACHABLE if only_unreachable(failures) else FAILED)
    error = start_error(log)
    if not began:
        return Verdict(NOT_STARTED, error or f"ansible-playbook ended with {ended.code}", told)
    return Verdict(FAILED, f"ansible-playbook stopped with {ended.code}{f': {error}' if error else ''}", told)


_SENT_BY = {"SIGINT": "Ctrl-C", "SIGHUP": "its terminal was closed", "SIGTERM": "kill, or a shutdown"}
"""{signal: what sends it as a rule}"""


def _why(ended: ProcessExit, limit: str, memory: str, user: str) -> tuple[str, str]:
    """Return (state, message) of a run that did not end by itself."""
    if ended.reason == TIME_LIMIT:
        return TIMED_OUT, f"the run took longer than its limit of {limit} and was ended"
    if ended.reason == TOLD:
        how = f" ({_SENT_BY[ended.detail]})" if ended.detail in _SENT_BY else ""
        return INTERRUPTED, f"the run{f' of {user}' if user else ''} was told to end by {ended.detail}{how}, and ended"
    if ended.reason == ASKED:
        return NOT_STARTED, f"the playbook asks for {ended.detail}, and nobody answers here: give it with -e"
    if ended.reason == KILLED:
        guess = ""
        if ended.detail == "SIGKILL":
            guess = f"; {memory}" if memory else "; not for lack of memory, as far as the kernel's counts tell"
        return DIED, f"ansible-playbook was killed by {ended.detail}, which nobody here sent{guess}"
    if ended.reason != BROKEN:
        raise AssertionError(ended.reason)
    return FAILED, f"ansible-runner failed: {ended.detail}"


def opening(job: Job, started: datetime, folder: str, node: str, user: str) -> dict[str, Any]:
    """Return the first entries of a run's stored result, without secrets: the job, and when, where and by whom it was started."""
    return {
        "playbook": job.label,
        "path": str(job.playbook),
        "argv": mask_argv(job.argv),
        "folder": folder,
        "node": node,
        "user": user,
        "inventory": list(job.inventory),
        "check": job.check,
        "key": job.key,
        "started": started.isoformat(timespec="seconds"),
    }


def report_of(
    result: Mapping[str, Any],
    verdict: Verdict,
    fields: Mapping[str, Any],
    ended: datetime,
    *,
    log: str = "",
    secrets: Sequence[str] = (),
    more: Sequence[Failure] = (),
) -> Report:
    """Return the report for a run's mail; `result` is the run's stored result, `fields` those of its tasks, `more` further failures."""
    own = Failure(str(result["node"]), verdict.message, RUN, outputs=verdict.outputs, identity=verdict.state)
    argv = [str(word) for word in result["argv"]]
    folder, stamp = str(result["folder"]), str(fields.get("stamp", ""))
    found = fields.get("failures", ())
    titles = [failure.title for failure in found if failure.kind == RECORDED]
    return Report(
        playbook=str(result["playbook"]),
        failures=(*([own] if verdict.message else ()), *found, *more),
        notes=tuple(fields.get("notes", ())),
        fine=tuple(fields.get("fine", ())),
        looked=fields.get("looked", {}),
        done=fields.get("done", {}),
        recap=fields.get("recap", {}),
        state=f"{verdict.state} (exit code {verdict.exit_code})",
        command=command_line(argv),
        folder=folder,
        node=str(result["node"]),
        user=str(result["user"]),
        inventory=tuple(result["inventory"]),
        started=datetime.fromisoformat(str(result["started"])),
        ended=ended,
        check=bool(result["check"]),
        stamp=stamp,
        rerun=rerun_command(argv, folder, stamp),
        mend=mending_command(argv, folder, str(result["playbook"]), titles) if titles else "",
        log=(("", log),) if log else (),
        secrets=tuple(secrets),
        key=str(result["key"]),
    )
