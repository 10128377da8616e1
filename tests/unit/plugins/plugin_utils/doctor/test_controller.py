"""The controller's facts about itself: schedules, the last run, and whether a real mail server would take a mail."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers.findings import planned, variables
from helpers.mail_server import serving

from ansible_collections.altbackup.core.plugins.plugin_utils.doctor import controller
from ansible_collections.altbackup.core.plugins.plugin_utils.doctor.controller import LastRun
from ansible_collections.altbackup.core.plugins.plugin_utils.doctor.finding import Commands, Finding
from ansible_collections.altbackup.core.plugins.plugin_utils.history.store import Record, write_records
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.setup import jobs

NOW = 1.8e9
COMMANDS = Commands(["/sites"], program="/opt/bin/altbackup")
MISSING = Finding("localhost", "schedule", "wrong")
NIGHTLY = {
    "where": "crontab of scm",
    "line": "30 1 * * * cd /opt && bin/altbackup run backup.yml -i /sites",
    "environment": {"MAILTO": "ops@example.org"},
}


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (NIGHTLY["line"], True),
        ("30 1 * * * cd /opt && bin/altbackup run backup -i inventory/sites", True),
        ("30 1 * * * bin/altbackup run backup -i /other", False),
        ("30 1 * * * bin/altbackup status -i /sites", False),
    ],
)
def test_what_is_scheduled_is_a_backup_of_this_inventory(line: str, found: bool) -> None:
    assert bool(controller.scheduled([{**NIGHTLY, "line": line}], ["/sites"])) == found


def scheduled_as(**settings: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a plan with settings of the whole run, and its nightly job."""
    plan = planned({host: {**own, **settings} for host, own in variables().items()})
    return plan, jobs(plan, ["/sites"], "/opt", "/usr/bin/python3", {"ALTBACKUP_MAIL_TO": "ops@example.org"})[0]


def test_where_nothing_is_scheduled_the_command_makes_the_entry_that_set_up_would_make() -> None:
    plan, job = scheduled_as()
    missing = controller.unscheduled(plan, job, COMMANDS)
    words = shlex.split(missing.mend)
    entry = json.loads(words[-1])
    assert words[:-1] == ["ansible", "localhost", "-m", "ansible.builtin.cron", "-a"]
    assert entry["name"] == scheduled_as(altbackup_schedule="cron")[1]["name"], "set-up replaces it, later"
    assert (
        "ALTBACKUP_MAIL_TO=ops@example.org" in entry["job"]
        and "/opt/bin/altbackup run backup -i /sites" in entry["job"]
    )
    line = f"{entry['minute']} {entry['hour']} * * {entry['weekday']} {entry['job']}"
    assert controller.scheduled([{"line": line}], ["/sites"])
    finding, last = controller.schedule([], LastRun(), NOW, missing, COMMANDS, cron=True)
    assert (finding, last.state) == (missing, "unknown")


def test_where_set_up_makes_the_entry_it_is_what_mends() -> None:
    missing = controller.unscheduled(*scheduled_as(altbackup_schedule="cron"), COMMANDS)
    assert (missing.mend, missing.set_up) == ("/opt/bin/altbackup run setup -i /sites", True)
    never = controller.unscheduled(*scheduled_as(altbackup_schedule_at={"backup": ""}), COMMANDS)
    assert never.mend.startswith("# altbackup_schedule_at says never") and not never.set_up


def test_an_entry_starts_nothing_where_no_cron_runs() -> None:
    found, _ = controller.schedule([NIGHTLY], LastRun(), NOW, MISSING, COMMANDS, cron=False)
    assert (found.state, "no cron" in found.why, found.mend.startswith("# start cron")) == ("unknown", True, True)
    timer = {**NIGHTLY, "where": "/etc/systemd/system/altbackup-backup.timer"}
    found, _ = controller.schedule([timer], LastRun(), NOW, MISSING, COMMANDS, cron=False)
    assert found.state == "ok"


@pytest.mark.parametrize(
    ("last", "state"),
    [
        (LastRun(NOW - 3600, "good"), "ok"),
        (LastRun(NOW - 3600, "failed"), "wrong"),
        (LastRun(NOW - 2 * 86400, "good"), "wrong"),
        (LastRun(), "unknown"),
        (LastRun(problem="cannot be read"), "unknown"),
    ],
)
def test_the_last_run_is_good_and_of_this_night(last: LastRun, state: str) -> None:
    schedule, found = controller.schedule([NIGHTLY], last, NOW, MISSING, COMMANDS, cron=True)
    assert (schedule.state, found.state) == ("ok", state)


def test_the_last_run_is_that_of_the_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALTBACKUP_HISTORY", str(tmp_path / "history"))
    hosts = tmp_path / "sites" / "hosts.yml"
    hosts.parent.mkdir()
    hosts.write_text("")
    copy = {"node": "dayabay", "source": "dayabay", "role": "source", "category": "svn", "name": "dybsvn"}
    trees = [("dayabay", "dayabay", "source"), ("cms01", "dayabay", "target")]
    runs = [
        {
            "token": name,
            "playbook": f"/opt/playbooks/{name}.yml",
            "started": started,
            "state": "good",
            "checking": checking,
        }
        for name, started, checking in (("backup", NOW - 9, 0), ("check", NOW - 5, 0))
    ]
    write_records(str(hosts), [Record(run, (), [copy], (), trees) for run in runs], 400, NOW)
    last = controller.last_run([str(hosts.parent)])
    assert (last.started, last.state) == (NOW - 9, "good")
    assert last.items == (("dayabay", "svn/dybsvn"),)
    assert sorted(last.trees) == sorted(trees)


@pytest.mark.parametrize(
    ("mood", "refused", "state"),
    [
        ("accepts", (), "ok"),
        ("never answers", (), "wrong"),
        ("accepts", ("ops@example.org",), "wrong"),
    ],
)
def test_a_server_is_asked_whether_it_would_take_a_mail_and_gets_none(
    mood: str, refused: tuple[str, ...], state: str
) -> None:
    with serving(mood, refused=frozenset(refused)) as server:
        options = {**server.options(), "timeout": "2s" if mood == "never answers" else "30s"}
        settings = controller.mail_settings(options, [NIGHTLY], {"PATH": "/usr/bin"})
        finding = controller.mail(settings, [NIGHTLY], "ops@example.org", "ansible.cfg")
        assert (finding.state, server.mails) == (state, [])
        assert "runs of the schedule" in finding.why


def test_a_schedule_mails_by_its_own_environment_and_not_by_that_of_this_shell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path: "/usr/sbin/sendmail")
    here = {"ALTBACKUP_MAIL_TO": "me@example.org", "PATH": "/nonexistent"}
    assert controller.mail_settings({}, [], here).recipients == ("me@example.org",)
    assert controller.mail_settings({}, [NIGHTLY], here).recipients == ("ops@example.org",)
    without = {**NIGHTLY, "environment": {}}
    settings = controller.mail_settings({}, [without], here)
    finding = controller.mail(settings, [without], "ops@example.org", "ansible.cfg")
    assert finding.mend == "{ printf '%s\\n' MAILTO=ops@example.org; crontab -l; } | crontab -"


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("", ["ALTBACKUP_MAIL_TO=ops@example.org", "ALTBACKUP_MAIL_HOST in this shell"]),
        (NIGHTLY["line"], ["ALTBACKUP_MAIL_TO=ops@example.org", "ALTBACKUP_MAIL_HOST in crontab of scm"]),
        ("30 1 * * * /usr/bin/env -i PATH=/usr/bin /opt/bin/altbackup run backup", ["altbackup_mail_to", "ALTBACKUP_MAIL_HOST", "set-up again"]),
    ],
)  # fmt: skip
def test_where_both_who_gets_mail_and_what_takes_it_are_missing_both_are_said(
    monkeypatch: pytest.MonkeyPatch, line: str, named: list[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path: None)
    entries = [{**NIGHTLY, "line": line, "environment": {}}] if line else []
    settings = controller.mail_settings({}, entries, {"PATH": "/usr/bin"})
    mend = controller.mail(settings, entries, "ops@example.org", "ansible.cfg").mend
    assert mend.startswith("# ") and all(text in mend for text in named)


@pytest.mark.parametrize(
    ("line", "makes"),
    [
        ("30 1 * * * cd /opt/x && bin/altbackup run backup.yml -i inventory/sites", True),
        ("30 1 * * * /opt/x/bin/altbackup run backup -i /sites", True),
        ('"/opt/x/bin/altbackup" "run" "backup" "-i" "/sites/"', True),
        ("ansible-playbook -i /sites altbackup.core.backup", True),
        ("30 1 * * * /opt/x/bin/altbackup run backup -i /sites-b", False),
        ("0 7 * * 0 cd /home/backup/x && altbackup run check -i /sites", False),
    ],
)
def test_a_line_makes_backups_of_an_inventory_if_it_says_both(line: str, makes: bool) -> None:
    assert bool(controller.scheduled([{"line": line}], ["/sites"])) is makes
