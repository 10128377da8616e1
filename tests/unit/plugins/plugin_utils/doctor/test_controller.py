"""The controller's facts about itself: schedules, the last run, and whether a real mail server would take a mail."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from helpers.mail_server import serving

from ansible_collections.altbackup.core.plugins.plugin_utils.doctor import controller
from ansible_collections.altbackup.core.plugins.plugin_utils.doctor.controller import LastRun
from ansible_collections.altbackup.core.plugins.plugin_utils.doctor.finding import Commands
from ansible_collections.altbackup.core.plugins.plugin_utils.history.store import Record, write_records

NOW = 1.8e9
COMMANDS = Commands(["/sites"], program="/opt/bin/altbackup")
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


def test_where_nothing_is_scheduled_the_command_writes_a_crontab(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALTBACKUP_MAIL_HOST", "mail.example.org")
    monkeypatch.setenv("ALTBACKUP_MAIL_PASSWORD", "secret")
    monkeypatch.setattr("sys.executable", "/usr/bin/python3")
    finding, last = controller.schedule([], LastRun(), NOW, "ops@example.org", "/opt", COMMANDS)
    assert (finding.state, last.state) == ("wrong", "unknown")
    words = shlex.split(finding.mend)
    lines = words[words.index("printf") + 2 : words.index("}")]
    assert lines[:3] == [
        "MAILTO=ops@example.org",
        "PATH=/usr/local/bin:/usr/bin:/bin",
        "ALTBACKUP_MAIL_HOST=mail.example.org",
    ]
    assert lines[3].startswith("30 1 * * * cd /opt && /opt/bin/altbackup run backup.yml -i /sites")
    assert "secret" not in finding.mend


def test_an_entry_starts_nothing_where_no_cron_runs() -> None:
    found, _ = controller.schedule([NIGHTLY], LastRun(), NOW, "", "/opt", COMMANDS, cron=False)
    assert (found.state, "no cron" in found.why, found.mend.startswith("# start cron")) == ("unknown", True, True)
    timer = {**NIGHTLY, "where": "/etc/systemd/system/altbackup-backup.timer"}
    found, _ = controller.schedule([timer], LastRun(), NOW, "", "/opt", COMMANDS, cron=False)
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
    schedule, found = controller.schedule([NIGHTLY], last, NOW, "", "/opt", COMMANDS)
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


def test_a_schedule_mails_by_its_own_environment_and_not_by_that_of_this_shell() -> None:
    here = {"ALTBACKUP_MAIL_TO": "me@example.org", "PATH": "/nonexistent"}
    assert controller.mail_settings({}, [], here).recipients == ("me@example.org",)
    assert controller.mail_settings({}, [NIGHTLY], here).recipients == ("ops@example.org",)
    without = {**NIGHTLY, "environment": {}}
    settings = controller.mail_settings({}, [without], here)
    finding = controller.mail(settings, [without], "ops@example.org", "ansible.cfg")
    assert finding.mend == "{ printf '%s\\n' MAILTO=ops@example.org; crontab -l; } | crontab -"


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
