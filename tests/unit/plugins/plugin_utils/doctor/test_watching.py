"""A target that is to check by itself has an entry that starts the check; where it has none, the command that makes one is told."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.findings import COMMANDS, healthy, judged, planned, variables, wrong

from ansible_collections.altbackup.core.plugins.plugin_utils.doctor import watching
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.setup import watch_jobs

CHECK = "/usr/bin/python3 -I /data/backup/.altbackup/watch/altbackup-watch"


def plan_of(**more: Any) -> dict[str, Any]:
    """Return the plan of a source, and a target that watches."""
    given = variables()
    given["cms01"].update({"altbackup_watch": True, **more})
    return planned(given)


@pytest.mark.parametrize(
    ("line", "state"),
    [
        (f"7 * * * *  {CHECK} /data/backup", "ok"),
        (f"7 * * * *  {CHECK} '/data/backup'", "ok"),
        ("7 * * * *  /usr/bin/python3 -I /usr/local/lib/altbackup-watch /data/backup", "ok"),
        (f"7 * * * *  {CHECK} /data/backup2", "wrong"),
        (f"7 * * * *  {CHECK.replace('/data/', '/srv/')} /srv/backup", "wrong"),
        (f"7 * * * *  {CHECK} '/data/backup", "wrong"),
        ("30 1 * * * altbackup run backup -i /inventory", "wrong"),
    ],
)
def test_a_line_starts_the_check_of_this_base_or_none(line: str, state: str) -> None:
    facts = {"user": "root", "schedules": [{"where": "crontab of root", "line": line}]}
    found = watching.findings(plan_of(), "cms01", facts, COMMANDS)[0]
    assert found.state == state


@pytest.mark.parametrize("base", ["/data/backup", "/data/a b", "/data/50%", "/data/$x"])
def test_the_entry_that_set_up_makes_is_seen_with_cron_and_with_systemd(base: str) -> None:
    plan = plan_of(altbackup_target_base=base)
    (job,) = watch_jobs(plan, "cms01")
    found, _ = watching.findings(
        plan, "cms01", {"schedules": [{"where": "crontab", "line": f"7 * * * * {job['command']}"}]}, COMMANDS
    )
    assert found.state == "ok"
    unit = {"where": "/etc/systemd/system/x.timer", "line": f"ExecStart={job['exec']}"}
    found, _ = watching.findings(plan, "cms01", {"schedules": [unit]}, COMMANDS)
    assert found.state == "ok"


@pytest.mark.parametrize(
    ("settings", "mend"),
    [
        ({"altbackup_schedule": "cron"}, "altbackup run setup --limit cms01 -i /inventory"),
        ({}, "ansible cms01 -i /inventory -m ansible.builtin.cron"),
        (
            {"altbackup_schedule": "cron", "altbackup_schedule_at": {"watch": ""}},
            "ansible cms01 -i /inventory -m ansible.builtin.cron",
        ),
    ],
)
def test_where_there_is_none_the_command_that_makes_one_is_told(settings: dict[str, Any], mend: str) -> None:
    given = variables()
    given["cms01"]["altbackup_watch"] = True
    plan = planned({host: {**own, **settings} for host, own in given.items()})
    found, _ = watching.findings(plan, "cms01", {"user": "root", "schedules": []}, COMMANDS)
    assert (found.state, found.what) == ("wrong", "schedule")
    assert found.mend.startswith(mend)
    assert "altbackup-watch" in found.mend or "setup" in found.mend


def test_it_is_among_the_findings_of_the_target_and_of_no_other_node() -> None:
    facts = healthy()
    facts["cms01"].update(schedules=[], sendmail="/usr/sbin/sendmail")
    assert [(node, what) for node, what, _ in wrong(judged(facts, plan_of()))] == [("cms01", "schedule")]
    assert wrong(judged(facts)) == [], "it is not to watch"
    del facts["cms01"]["schedules"]
    assert [found.state for found in judged(facts, plan_of()) if found.what == "schedule"] == ["unknown"]


@pytest.mark.parametrize(
    ("settings", "sendmail", "state", "named"),
    [
        ({"altbackup_mail_to": "a@example.org"}, "", "wrong", "altbackup_watch_mail_host of cms01"),
        ({"altbackup_mail_to": "a@example.org"}, "/usr/sbin/sendmail", "ok", ""),
        ({"altbackup_mail_to": "a@example.org"}, None, "unknown", ""),
        ({"altbackup_mail_to": "a@example.org", "altbackup_watch_mail_host": "mail.example.org"}, "", "ok", ""),
        ({"altbackup_watch_mail_to": "a@example.org"}, "", "wrong", "altbackup_watch_mail_host of cms01"),
        ({"altbackup_mail_to": "none"}, "", "ok", ""),
        ({}, "", "wrong", "altbackup_watch_mail_to and altbackup_watch_mail_host of cms01"),
        ({}, "/usr/sbin/sendmail", "ok", ""),
        ({"altbackup_watch_ping_url": "https://hc.example.org/ping/1"}, "", "ok", ""),
        (
            {"altbackup_watch_ping_url": "https://hc.example.org/ping/1", "altbackup_mail_to": "a@example.org"},
            "",
            "wrong",
            "a sendmail on cms01",
        ),
    ],
)
def test_a_target_that_watches_and_has_no_way_to_tell_is_wrong(
    settings: dict[str, Any], sendmail: str | None, state: str, named: str
) -> None:
    facts = healthy()
    facts["cms01"].update({"schedules": []} if sendmail is None else {"schedules": [], "sendmail": sendmail})
    (found,) = [each for each in judged(facts, plan_of(**settings)) if each.what == "watch mail"]
    assert (found.node, found.state) == ("cms01", state)
    assert named in found.mend
