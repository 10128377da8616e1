"""One call of `altbackup run`: takes the lock, runs the playbook, and makes sure that its outcome is reported."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import shlex
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from ...module_utils.system.errors import InvalidInput
from ...module_utils.system.journal import tell_journal
from ...module_utils.system.opened import user_name
from ...module_utils.system.pings import Ping
from ...module_utils.system.proc import boot_id
from ...module_utils.system.visible import visible
from ..history import store
from ..mail import delivery, pings
from ..mail.delivery import DeliveryResult
from ..planning.quantities import parse_duration
from ..report.command_line import command_line
from ..report.masking import redact, secrets_of, worth_searching
from ..report.model import Failure, heading, redacted, together, with_places
from ..report.private_files import write_private
from ..report.progress_view import SETTING as PROGRESS
from ..report.quiet_view import Line, closing
from ..report.secrecy import MASK, SECRET_NAME, SSH_OPTIONS, mask_options
from . import playbook_run, processes
from .job import (
    PROGRAM,
    QUESTIONS,
    Job,
    ansible_settings,
    check_job,
    child_environment,
    find_ansible,
    is_verbose,
    mail_settings,
    read_job,
)
from .playbook_run import SignalInbox
from .run_store import LOG, RUNNING, Run, Taken, new_run, rotate, state_folder, take_lock
from .runner_events import Listener, clean_files, collect, coloured, failure_lines, scrubbed
from .verdict import ALREADY_RUNNING, DIED, FAILED, GOOD, NOT_STARTED, Verdict, judge_run, opening, report_of

_SHOWN = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|TERM|TZ|LANG|LC_\w+|PWD|MAILTO|VIRTUAL_ENV|ANSIBLE_\w+|ALTBACKUP_\w+"
)
"""Environment variables whose values are kept with a run; of others only the names are"""
_JUDGED_LOG = 1024 * 1024


class SupervisedRun:
    """One call of `altbackup run`."""

    def __init__(self, words: Sequence[str], artifacts: str = "", *, shown: bool = True) -> None:
        """Prepare a run; `words` is the command line, `artifacts` the state folder. Unless `shown`, it only prints failures on stderr."""
        self.started = datetime.now().astimezone()
        self.inbox = SignalInbox()
        self.argv = (PROGRAM, *words)
        self.state = state_folder(artifacts, os.environ)
        self.ansible = ansible_settings(os.environ)
        self.mail = mail_settings(self.ansible, os.environ)
        self.memory = processes.memory_kills()
        self.watched = sys.stderr.isatty()
        self.live = shown and sys.stdout.isatty()
        self.rid = pings.new_rid()
        self.unheard = False
        """Whether it was said that nobody would be told of failures: here, or by the callback on a terminal"""
        self.last: Run | None = None
        """The run that was made"""

    def run(self, playbook: str, options: Sequence[str], time_limit: str, keep_runs: int, keep_days: int) -> int:
        """Run the playbook; return the exit code."""
        job = Job(Path(playbook).absolute(), argv=self.argv)
        try:
            job = read_job(playbook, options, self.argv, self.ansible, os.environ)
            check_job(job)
            limit = parse_duration(time_limit)
            path = find_ansible(os.environ)
            if not all(map(importlib.util.find_spec, ("ansible_runner", "pexpect"))):
                raise InvalidInput(f"ansible-runner is not installed: {sys.executable} -m pip install ansible-runner")
            lock = take_lock(self.state, job.lock)
            run = self.last = new_run(self.state, job.playbook.stem, self.started)
            result = {
                **self._opening(job),
                "state": RUNNING,
                "pid": os.getpid(),
                "boot": boot_id(),
                "memory": self.memory,
                "rid": self.rid,
            }
            run.write(result)
            lock.sign({"pid": os.getpid(), "since": _moment(self.started), "run": str(run.folder)})
            self._note_command(run)
        except InvalidInput as error:
            return self.refuse(job, str(error))
        except Taken as taken:
            return self._yield_to(job, taken)
        except OSError as error:
            return self.refuse(job, f"runs cannot be kept in {self.state}: {error}")
        try:
            self._bury(lock.before)
            for problem in rotate(self.state, keep_runs, keep_days, time.time()):
                say(problem)
            return self._play(job, run, result, path, limit, time_limit)
        except Exception as error:  # noqa: BLE001 # whatever happens, such as a full disk or a bug, is reported
            processes.end(processes.descendants, 5.0)
            return self.refuse(job, f"altbackup itself failed: {type(error).__name__}: {error}", FAILED)

    def refuse(self, job: Job, message: str, state: str = NOT_STARTED) -> int:
        """Report why the run could not start, or continue; return the exit code."""
        verdict = Verdict(state, message)
        told = self._tell(self._opening(job), verdict, {}, "")
        self._ping(self._opening(job), verdict, {}, self.rid)
        _say_failure(job.label, verdict, [message], told=told)
        return verdict.exit_code

    def _yield_to(self, job: Job, taken: Taken) -> int:
        """Report, once, that another run of the job is still going; return the exit code."""
        verdict = Verdict(ALREADY_RUNNING, str(taken))
        going = str(taken.holder.get("run") or "")
        told = None
        if _is_first_to_tell(going):
            # Without a key the mail's memory is not touched: the job itself has neither failed nor recovered.
            told = self._tell({**self._opening(job), "key": ""}, verdict, {}, "")
            self._ping(self._opening(job), verdict, {}, self.rid)
        _say_failure(job.label, verdict, [str(taken)], going, told)
        return verdict.exit_code

    def _opening(self, job: Job) -> dict[str, Any]:
        return opening(job, self.started, os.getcwd(), socket.gethostname(), user_name())

    def _secrets(self) -> list[str]:
        """Return the secrets that are known before the run: of the command line, the environment and the mail's settings."""
        named = [value for name, value in os.environ.items() if _is_secret(name) and not os.path.isabs(value)]
        return worth_searching([*secrets_of(self.argv), *named, *self.mail.secrets])

    def _starts(self, job: Job) -> list[Ping]:
        """Return the pings that say that a run begins."""
        wanted = pings.is_pinged(self.mail, [job.label], check=job.check)
        return pings.at_start(self.mail, self.rid) if wanted else []

    def _ping(
        self,
        result: Mapping[str, Any],
        verdict: Verdict,
        fields: Mapping[str, Any],
        rid: str,
        secrets: Sequence[str] = (),
    ) -> list[str]:
        """Send the pings on how a run ended, if wanted; print and return sentences on those that did not arrive."""
        if not pings.is_pinged(self.mail, [str(result["playbook"])], check=bool(result["check"])):
            return []
        ended = datetime.now().astimezone()
        secrets = worth_searching([*secrets, *self._secrets()])
        report = redacted(report_of(result, verdict, fields, ended, secrets=secrets))
        seconds = (ended - datetime.fromisoformat(str(result["started"]))).total_seconds()
        wanted = pings.at_end(self.mail, rid, str(verdict.exit_code), report, seconds)
        lost = pings.finish(pings.begin(wanted, self.mail), wanted, self.mail)
        for sentence in lost:
            say(sentence)
        return lost

    def _note_command(self, run: Run) -> None:
        """Write command line and environment, without secrets, into the run's folder."""
        secrets = self._secrets()
        environment = {
            name: scrubbed(mask_options(value) if SSH_OPTIONS.search(name) else value, secrets)
            if _SHOWN.fullmatch(name) and not _is_secret(name)
            else MASK
            for name, value in sorted(os.environ.items())
        }
        command = {"command": command_line(self.argv), "folder": os.getcwd(), "environment": environment}
        write_private(str(run.folder / "command.json"), json.dumps(command, indent=1).encode() + b"\n")

    def _bury(self, before: Mapping[str, Any]) -> None:
        """End the remaining processes of the lock's previous holder if that run was killed, and report its death."""
        run = Run(Path(str(before.get("run") or os.devnull)))
        result = run.result
        if result.get("state") != RUNNING or not run.hold():
            return
        processes.end(lambda: processes.bearing(f"{playbook_run.MARK}={run.folder}"), 5.0)
        if result.get("boot") != boot_id():
            why = "this machine was restarted meanwhile"
        else:
            memory = processes.memory_verdict(result.get("memory") or {}, self.memory)
            why = f"altbackup itself was killed{f'; {memory}' if memory else ''}"
        since = _moment(datetime.fromisoformat(str(result["started"])))
        playbook_run.tidy(run)
        self._conclude(
            run, result, Verdict(DIED, f"the run of {since} ended without a word: {why}"), collect(run.events(), None)
        )
        run.release()

    def _play(self, job: Job, run: Run, result: Mapping[str, Any], path: str, limit: float, time_limit: str) -> int:
        live = self.live
        unwatched = (
            ""
            if self.watched or job.harmless or not self.mail.problems
            else f"nobody would be told of failures: {'; '.join(self.mail.problems)}"
        )
        if self.mail.problems and not live and not job.harmless:
            say(f"nobody would be told of failures: {'; '.join(self.mail.problems)}")
            self.unheard = True
        if live:
            print(f"altbackup: {job.label} of {', '.join(job.inventory)}; its log is {run.folder / LOG}", flush=True)
        for flaw in self.mail.flaws:
            say(flaw)
        starts = self._starts(job)
        starting = pings.begin(starts, self.mail)
        environment = {
            **child_environment(self.ansible, os.environ, colour=live, job=job),
            "PATH": path,
            "ALTBACKUP_MAIL_COMMAND": shlex.join(self.argv),
            "ALTBACKUP_MAIL_RECEIPT": str(run.folder / "mail.json"),
            "ALTBACKUP_WATCHED": "yes" if self.watched else "no",
            PROGRESS: "yes" if live else "no",  # the terminal of Ansible is ansible-runner's, which nobody sees
        }
        shown = sys.stdout if live else None
        listener = Listener(run.folder / LOG, self._secrets(), shown, quiet=not is_verbose(job.options))
        processes.adopt_orphans()
        ended = playbook_run.play(job, run, environment, listener, limit, self.inbox)
        listener.close()
        self.unheard = self.unheard or (live and listener.began)
        lost = pings.finish(starting, starts, self.mail)
        for sentence in lost:
            say(sentence)
        playbook_run.tidy(run)
        clean_files([run.folder / LOG, *run.event_files()], listener.late)
        fields = _placed(collect(run.events(), listener.stats), job.inventory)
        verdict = judge_run(
            ended,
            fields,
            began=listener.began,
            log=run.log(_JUDGED_LOG),
            limit=time_limit,
            memory=processes.memory_verdict(self.memory, processes.memory_kills()),
            running=[f"{host}: {task}" for (host, _), task in listener.running.items()],
            user=str(result["user"]),
        )
        if not fields["recap"] and verdict.message and (wrong := _syntax_errors(job.inventory)):
            verdict = replace(verdict, message=f"the inventory cannot be read: {'; '.join(wrong)}")
        if verdict.state == GOOD and (unwatched or run.receipt().get("failures")):
            verdict = Verdict(FAILED, unwatched)
        told = self._close_quietly(listener, fields, job.label, verdict)
        return self._conclude(run, {**result, "pings": lost}, verdict, fields, listener.secrets, told=told)

    def _close_quietly(self, listener: Listener, fields: Mapping[str, Any], label: str, verdict: Verdict) -> bool:
        """Print the end of a run that was shown in short; return whether that included its failures. The verdict itself is said later."""
        quiet = listener.quiet
        if quiet is None or not quiet.own:
            return False
        secrets = listener.secrets
        lines = closing(quiet.view.outcome, fields, label, is_explained=bool(verdict.message))
        listener.show(coloured(Line(redact(line.text, secrets), line.bad) for line in lines))
        return not quiet.strange

    def _conclude(
        self,
        run: Run,
        result: Mapping[str, Any],
        verdict: Verdict,
        fields: Mapping[str, Any],
        secrets: Sequence[str] = (),
        *,
        told: bool = False,
    ) -> int:
        """Report what the callback did not, store how the run ended, and print it; return the exit code.

        `told` is whether its failures were already printed.
        """
        ended = datetime.now().astimezone()
        started = datetime.fromisoformat(str(result["started"]))
        mail: Mapping[str, Any] = run.receipt()
        for sentence in mail.get("said", ()):
            say(str(sentence))  # the callback's own messages are in the log only
        mailed = None
        if verdict.state != GOOD and not mail.get("failures"):
            mailed = self._tell(result, verdict, fields, run.log(self.mail.log_limit), secrets)
            mail = {
                "mails": mailed.mails,
                "delivered": mailed.delivered,
                "spooled": [str(path) for path in mailed.spooled],
            }
        failures = redacted(report_of(result, verdict, fields, ended, secrets=secrets)).failures
        lost = self._ping(result, verdict, fields, str(result.get("rid") or ""), secrets)
        first = heading([failures[0]]) if failures else ""
        row = _run_row(run, result, verdict, ended, len(failures), first)
        for note in store.conclude(result["inventory"], row) if Path(result["path"]) not in QUESTIONS else ():
            say(note)
        tell_journal(_journal_events(row, failures))
        write_private(str(run.folder / "exit_code"), f"{verdict.exit_code}\n".encode())
        run.write(
            {
                **{
                    name: value for name, value in result.items() if name not in ("pid", "boot", "memory", "key", "rid")
                },
                "state": verdict.state,
                "exit_code": verdict.exit_code,
                "ended": ended.isoformat(timespec="seconds"),
                "seconds": round((ended - started).total_seconds(), 1),
                "hosts": fields["recap"],
                "purged": list(fields.get("purged", ())),
                "failures": failure_lines(failures),
                "mail": mail,
                "pings": [*result.get("pings", ()), *lost],
            }
        )
        if verdict.state != GOOD:
            lines = [heading(group) for group in together(failures)]
            if told:
                lines = [verdict.message] if verdict.message else []
            _say_failure(str(result["playbook"]), verdict, lines, str(run.folder / LOG), mailed)
        elif self.live:
            print(
                f"altbackup: {result['playbook']} was good and took {str(ended - started).partition('.')[0]}",
                flush=True,
            )
        return verdict.exit_code

    def _tell(
        self,
        result: Mapping[str, Any],
        verdict: Verdict,
        fields: Mapping[str, Any],
        log: str,
        secrets: Sequence[str] = (),
    ) -> DeliveryResult:
        """Mail how a run ended and, if that was delivered, what earlier runs could not send."""
        more = delivery.overdue_failure(self.mail, str(result["node"]), time.time())
        report = report_of(
            result,
            verdict,
            fields,
            datetime.now().astimezone(),
            log=log,
            secrets=worth_searching([*secrets, *self._secrets()]),
            more=more,
        )
        try:
            told = delivery.tell(report, self.mail)
            if told.delivered:
                delivery.flush(self.mail)
        except OSError as error:
            told = DeliveryResult(problems=(f"the mail could neither be sent nor kept: {error}",))
        for sentence in delivery.without_nobody(told.problems) if self.unheard else told.problems:
            say(sentence)
        return told


def _run_row(
    run: Run, result: Mapping[str, Any], verdict: Verdict, ended: datetime, failures: int, first: str
) -> dict[str, Any]:
    """Return how a run ended as a row of its history."""
    return {
        "token": str(run.folder),
        "folder": str(run.folder),
        "playbook": result["playbook"],
        "command": command_line([str(word) for word in result["argv"]]),
        "inventory": ", ".join(map(str, result["inventory"])),
        "user": result["user"],
        "controller": result["node"],
        "started": datetime.fromisoformat(str(result["started"])).timestamp(),
        "ended": ended.timestamp(),
        "state": verdict.state,
        "exit_code": verdict.exit_code,
        "failures": failures,
        "message": first or verdict.message,
        "checking": int(bool(result["check"])),
    }


def _journal_events(row: Mapping[str, Any], failures: Sequence[Failure]) -> list[dict[str, Any]]:
    """Return the journal's events on how a run ended and what failed; `failures` hold no secrets."""
    names = ("playbook", "inventory", "state", "exit_code", "failures", "message", "folder")
    bad = row["state"] != GOOD
    each = [{"event": "failure", "title": entry.title, "reason": entry.headline, "bad": True} for entry in failures]
    seconds = round(row["ended"] - row["started"], 1)
    return [{"event": "run", **{name: row[name] for name in names}, "seconds": seconds, "bad": bad}, *each]


def _is_secret(name: str) -> bool:
    """Return whether an environment variable holds a secret, by its name."""
    return name != "PWD" and bool(SECRET_NAME.search(name))


def _placed(fields: dict[str, Any], inventory: Sequence[str]) -> dict[str, Any]:
    """Return the fields of a report with the places of wrong variables of the inventory."""
    from ..planning.inventory_files import places_of

    def found(variable: str) -> list[str]:
        return places_of(inventory, Path.cwd(), variable)

    return {**fields, "failures": with_places(fields["failures"], found)}


def _syntax_errors(inventory: Sequence[str]) -> list[str]:
    """Return where inventories that Ansible could not read have syntax errors."""
    from ..planning.inventory_files import syntax_errors  # PyYAML comes with Ansible, which may be missing

    return syntax_errors(inventory, Path.cwd())


def say(text: str) -> None:
    """Print a line on stderr, which cron mails."""
    with contextlib.suppress(OSError):  # a terminal that was closed
        print(f"altbackup: {visible(text)}", file=sys.stderr, flush=True)


def _say_failure(
    playbook: str, verdict: Verdict, lines: Sequence[str], log: str = "", told: DeliveryResult | None = None
) -> None:
    first = f": {lines[0]}" if lines else ""
    say(f"{playbook}: {verdict.state} (exit code {verdict.exit_code}){first}")
    if len(lines) > 1:
        say(f"and {len(lines) - 1} more")
    if log:
        say(f"log: {log}")
    if told is not None and told.mails == told.delivered > 0:
        say("this was mailed")


def _is_first_to_tell(going: str) -> bool:
    """Return whether nobody has reported yet that the run in the folder `going` is still going."""
    try:
        os.close(os.open(os.path.join(going, "told-still-running"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return False
    except OSError:
        return True  # report once too often rather than not at all
    return True


def _moment(when: datetime) -> str:
    return when.strftime("%Y-%m-%d %H:%M:%S %Z")
