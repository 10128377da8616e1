"""The verdict on a run, from the end of ansible-playbook and its tasks' reports."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.cli import playbook_run
from ansible_collections.altbackup.core.plugins.plugin_utils.cli import verdict as run_verdict
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.job import Job
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.playbook_run import ProcessExit
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.processes import Process
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.verdict import Verdict
from ansible_collections.altbackup.core.plugins.plugin_utils.report.model import (
    FAILED,
    RECORDED,
    RUN,
    UNREACHABLE,
    Failure,
)

BROKE, GONE, NOTHING = Failure("one", "x", FAILED), Failure("two", "y", UNREACHABLE), Failure("no host", "z", RUN)
RECAP = {"one": {"ok": 1}}


def judge(
    ended: ProcessExit, *failures: Failure, recap: Any = RECAP, began: bool = True, log: str = "", memory: str = ""
) -> Verdict:
    """Judge a run."""
    fields = {"failures": failures, "recap": recap}
    return run_verdict.judge_run(
        ended, fields, began=began, log=log, limit="8h", memory=memory, running=["one: Sleep"], user="scm"
    )


@pytest.mark.parametrize(
    ("ended", "failures", "recap", "began", "code", "words"),
    [
        (ProcessExit(0), (), RECAP, True, 0, ""),
        (ProcessExit(0), (BROKE,), RECAP, True, 2, ""),
        (ProcessExit(2), (BROKE, GONE), RECAP, True, 2, ""),
        (ProcessExit(4), (GONE,), RECAP, True, 3, ""),
        (ProcessExit(0), (NOTHING,), {}, False, 4, ""),
        (ProcessExit(4), (), {}, False, 4, "the log"),
        (ProcessExit(250), (), {}, True, 2, "stopped with 250: the log"),
        (ProcessExit(1), (BROKE,), {}, True, 2, "stopped with 1"),
        (ProcessExit(None, playbook_run.TIME_LIMIT), (BROKE,), {}, True, 5, "limit of 8h"),
        (
            ProcessExit(None, playbook_run.TOLD, "SIGHUP"),
            (),
            {},
            True,
            7,
            "told to end by SIGHUP (its terminal was closed)",
        ),
        (
            ProcessExit(None, playbook_run.TOLD, "SIGINT"),
            (),
            {},
            True,
            7,
            "the run of scm was told to end by SIGINT (Ctrl-C)",
        ),
        (ProcessExit(None, playbook_run.TOLD, "SIGUSR2"), (), {}, True, 7, "told to end by SIGUSR2, and"),
        (ProcessExit(None, playbook_run.KILLED, "SIGKILL"), (), {}, True, 7, "killed by SIGKILL"),
        (ProcessExit(None, playbook_run.ASKED, "colour"), (), {}, False, 4, "asks for colour"),
        (ProcessExit(None, playbook_run.BROKEN, "OSError"), (), {}, False, 2, "OSError"),
    ],
)
def test_verdict_has_the_right_exit_code_and_words(
    ended: ProcessExit, failures: tuple[Failure, ...], recap: Any, began: bool, code: int, words: str
) -> None:
    verdict = judge(ended, *failures, recap=recap, began=began, log="the log")
    assert verdict.exit_code == code
    assert words in verdict.message
    assert bool(verdict.message) == bool(words)


def test_lack_of_memory_is_said_where_the_kernel_counts_it() -> None:
    killed = ProcessExit(None, playbook_run.KILLED, "SIGKILL")
    assert judge(killed, memory="the kernel did it").message.endswith("which nobody here sent; the kernel did it")
    assert "not for lack of memory" in judge(killed).message
    assert "memory" not in judge(ProcessExit(None, playbook_run.KILLED, "SIGTERM")).message


def test_what_ran_and_what_could_not_be_ended_is_told() -> None:
    verdict = judge(ProcessExit(None, playbook_run.TIME_LIMIT, survivors=(Process(12, 1, "rsync"),)), log="a\nb")
    assert verdict.outputs == (
        ("could not be ended", "12 rsync"),
        ("was running", "one: Sleep"),
        ("last lines of the log", "a\nb"),
    )


def test_report_has_what_a_person_needs() -> None:
    argv = ("/c/bin/altbackup", "run", "backup", "-e", "db_password=swordfish")
    job = Job(Path("/c/playbooks/backup.yml"), inventory=("/i",), check=True, argv=argv)
    started = datetime(2013, 5, 10, 2, tzinfo=UTC)
    result = run_verdict.opening(job, started, "/home/scm", "node", "scm")
    assert "swordfish" not in str(result)
    verdict = Verdict(run_verdict.TIMED_OUT, "too long", (("was running", "x"),))
    fields = {"failures": (BROKE,), "recap": RECAP, "stamp": "2013/05/10/020000", "notes": ("n",)}
    fields |= {"looked": {"a -> b": ("all",)}, "done": {"a": ("x",)}}
    report = run_verdict.report_of(result, verdict, fields, started, log="l", more=(GONE,))
    assert [failure.message for failure in report.failures] == ["too long", "x", "y"]
    assert report.rerun == (
        "cd /home/scm && /c/bin/altbackup run backup -e db_password=******** -e altbackup_stamp=2013/05/10/020000"
    )
    assert (report.playbook, report.state, report.check) == ("backup.yml", "time limit (exit code 5)", True)
    assert (report.notes, report.recap, report.log) == (("n",), RECAP, (("", "l"),))
    assert report.mend == ""
    assert (report.looked, report.done) == (fields["looked"], fields["done"])


def test_report_of_a_check_names_the_backup_that_mends() -> None:
    job = Job(Path("/c/playbooks/check.yml"), inventory=("/i",), argv=("altbackup", "run", "check.yml", "-i", "/i"))
    started = datetime(2013, 5, 10, 2, tzinfo=UTC)
    result = run_verdict.opening(job, started, "/x", "node", "scm")
    noted = Failure("one", "x", RECORDED)
    for found, mend in (((noted,), "cd /x && altbackup run backup.yml -i /i"), ((BROKE,), "")):
        report = run_verdict.report_of(result, Verdict(run_verdict.FAILED), {"failures": found}, started)
        assert report.mend == mend


def test_who_interrupts_a_run_needs_no_lines_of_its_log() -> None:
    assert judge(ProcessExit(None, playbook_run.TOLD, "SIGINT"), log="a").outputs == (("was running", "one: Sleep"),)
