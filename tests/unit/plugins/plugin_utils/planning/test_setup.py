"""Set-up's actions in the plan."""

from __future__ import annotations

import copy
import shlex
from pathlib import Path
from typing import Any

import pytest
from helpers.plans import PLAN

from ansible_collections.altbackup.core.plugins.filter.setup import setup_jobs
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput
from ansible_collections.altbackup.core.plugins.plugin_utils.mail.settings import MAIL_OPTIONS, variable_of
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.setting_values import SCHEDULE, parse_times
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.setup import (
    jobs,
    node_setup,
    pairs,
    watch_jobs,
)

OF_NODES = {"trust_from": "seen", "node_user": "", "allow_root_filesystem": False}


def plan_of(at: dict[str, Any] | None = None, delay: float = 0, **target: Any) -> dict[str, Any]:
    """Return the plan of a source that sends to cms01 beside sdu, with settings of set-up."""
    plan = copy.deepcopy(PLAN)
    for entry in (*plan["sources"].values(), *plan["targets"].values()):
        entry.update(OF_NODES)
    for entry in plan["targets"].values():
        entry.update({"incoming_limit": 5000, "watch": False, **target})
    plan["sources"]["dayabay"]["item_list"] = [{"kind": "svn", "name": "x", "path": "/x"}]
    plan["sources"]["dayabay"]["discover"] = {"git": "/git"}
    plan["setup"] = {
        "rotate_keys": False,
        "schedule": "cron",
        "schedule_at": parse_times(at or {}),
        "schedule_delay": delay,
        "schedule_folder": "",
    }
    return plan


def test_a_pair_over_ssh_says_who_dials_whom_and_what_for() -> None:
    (pair,) = pairs(plan_of(), "dayabay")
    assert (pair["dials"], pair["dialled"], pair["base"], pair["called_base"]) == (
        "dayabay",
        "cms01",
        "/backup",
        "/copies",
    )
    assert (pair["kind"], pair["named"], pair["limit"], pair["seen"], pair["port"]) == (
        "incoming",
        "dayabay",
        5000,
        True,
        2222,
    )
    assert pair["peer"]["trust"] == "/backup/.altbackup/trust/cms01"


def test_a_pair_that_fetches_is_the_other_way_round_and_reads() -> None:
    plan = plan_of()
    plan["sources"]["dayabay"]["transport"] = {"cms01": "pull"}
    (pair,) = pairs(plan, "dayabay")
    assert (pair["dials"], pair["dialled"], pair["base"], pair["called_base"]) == (
        "cms01",
        "dayabay",
        "/copies",
        "/backup",
    )
    assert (pair["kind"], pair["named"], pair["limit"], pair["user"], pair["port"]) == (
        "outgoing",
        "cms01",
        0,
        "scm",
        2200,
    )
    assert pair["peer"]["trust"] == "/copies/.altbackup/trust/dayabay"


def test_keys_that_somebody_bound_by_rrsync_are_left_alone() -> None:
    assert pairs(plan_of(rrsync=True), "dayabay") == []
    assert pairs(plan_of(), "nobody") == []


def test_a_node_needs_the_programs_of_its_kinds_by_the_names_of_its_packages() -> None:
    needs = node_setup(plan_of(), "dayabay", "Debian")
    assert {"rsync", "svnadmin", "git", "ssh-keygen"} <= set(needs["tools"])
    assert (needs["packages"]["svnlook"], needs["packages"]["ssh"], needs["bases"]) == (
        "subversion",
        "openssh-client",
        ["/backup"],
    )
    assert node_setup(plan_of(), "cms01", "RedHat")["packages"]["ssh"] == "openssh-clients"
    assert {"svnadmin", "git"} <= set(node_setup(plan_of(), "cms01")["tools"]), (
        "the weekly drill proves there what comes"
    )


def test_jobs_name_the_inventory_have_an_explicit_environment_and_no_password() -> None:
    environment = {
        "HOME": "/home/scm",
        "ALTBACKUP_MAIL_TO": "x@example.org",
        "ALTBACKUP_MAIL_PASSWORD": "secret",
        "ALTBACKUP_MAIL_RECEIPT": "/runs/setup/secret",
        "ALTBACKUP_MAIL_COMMAND": "altbackup run setup secret",
        "SSH_AUTH_SOCK": "/tmp/x",
        "LANG": "C%",
    }
    found = {
        job["name"].split()[1]: job
        for job in jobs(plan_of(), ["/inv/mine"], "/opt/core", "/usr/bin/python3", environment)
    }
    assert found["backup"]["argv"] == [
        *(
            "/usr/bin/env",
            "-i",
            "PATH=/usr/local/bin:/usr/bin:/bin",
            "ALTBACKUP_MAIL_TO=x@example.org",
            "HOME=/home/scm",
            "LANG=C%",
        ),
        *("/opt/core/bin/altbackup", "run", "backup", "-i", "/inv/mine"),
    ]
    assert "secret" not in str(found)
    assert shlex.split(found["backup"]["command"].replace("\\%", "%")) == found["backup"]["argv"]
    assert '"LANG=C%%"' in found["backup"]["exec"]
    assert (found["backup"]["hour"], found["backup"]["minute"], found["backup"]["weekday"]) == ("1", "30", "*")
    assert (found["check"]["weekday"], found["check"]["calendar"]) == ("0", "Sun *-*-* 07:30:00")


def test_jobs_find_the_python_in_whose_environment_ansible_is(tmp_path: Path) -> None:
    (tmp_path / "checkout" / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / "checkout" / ".venv" / "bin" / "python").symlink_to("/bin/true")
    path = {}
    for name in ("installed", "checkout"):
        (backup, *_) = jobs(plan_of(), ["/inv/mine"], str(tmp_path / name), "/opt/ansible/bin/python3", {})
        path[name] = backup["argv"][2]
    assert path == {
        "installed": "PATH=/opt/ansible/bin:/usr/local/bin:/usr/bin:/bin",
        "checkout": "PATH=/usr/local/bin:/usr/bin:/bin",
    }


def test_who_gets_mail_is_taken_from_the_inventory_where_the_environment_names_nobody() -> None:
    plan = plan_of()
    for number, node in enumerate(sorted(plan["nodes"])):
        plan["nodes"][node] = {**plan["nodes"][node], "mail_to": ["ops@example.org", "", "ops@example.org"][number % 3]}
    (backup, *_) = jobs(plan, ["/inv/mine"], "/opt", "/usr/bin/python3", {})
    assert "ALTBACKUP_MAIL_TO=ops@example.org" in backup["argv"]
    (backup, *_) = jobs(plan, ["/inv/mine"], "/opt", "/usr/bin/python3", {"MAILTO": "me@example.org"})
    assert not any("ops@" in word for word in backup["argv"])


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["none", "None", ""], ["ALTBACKUP_MAIL_TO=none"]),
        (["none", "a@example.org", "b@example.org, a@example.org"], ["ALTBACKUP_MAIL_TO=a@example.org,b@example.org"]),
        (["", "", ""], []),
    ],
)
def test_that_nobody_is_to_be_told_is_told_to_the_schedule_where_the_inventory_says_it(
    settings: list[str], told: list[str]
) -> None:
    plan = plan_of()
    for node, text in zip(sorted(plan["nodes"]), settings, strict=True):
        plan["nodes"][node] = {**plan["nodes"][node], "mail_to": text}
    for job in jobs(plan, ["/inv/mine"], "/opt", "/usr/bin/python3", {}):
        assert [word for word in job["argv"] if "MAIL_TO" in word] == told


def test_a_job_has_each_setting_of_mail_and_pings_but_secrets_and_keeps_runs_where_they_are_looked_for() -> None:
    wanted = {variable_of(name) for name in MAIL_OPTIONS} - {
        *("ALTBACKUP_MAIL_PASSWORD", "ALTBACKUP_PING_URL", "ALTBACKUP_PUSH_URL", "ALTBACKUP_CHANNELS"),
    }
    wanted |= {"ALTBACKUP_ARTIFACTS", "ALTBACKUP_HISTORY", "XDG_STATE_HOME", "ANSIBLE_CONFIG"}
    around = dict.fromkeys((*wanted, *(variable_of(name) for name in MAIL_OPTIONS)), "x")
    (backup, *_) = jobs(plan_of(), ["/inv/mine"], "/opt", "/usr/bin/python3", around)
    assert {word.partition("=")[0] for word in backup["argv"] if word.endswith("=x")} == wanted


def test_a_delay_is_an_entrys_own_stays_the_same_and_may_go_past_midnight() -> None:
    plan = plan_of({"check": "sat 23:59"}, delay=86400)
    first, second = (jobs(plan, ["/inv/mine"], "/opt", "/usr/bin/python3", {}) for _ in range(2))
    assert first == second
    assert len({(job["hour"], job["minute"]) for job in first}) > 1
    late = plan_of({"check": "sat 23:59"}, delay=86400 * 6)
    assert {
        job["weekday"] for job in jobs(late, ["/inv/mine"], "/opt", "/usr/bin/python3", {}) if job["weekday"] != "*"
    } <= set("0123456")


def test_a_job_that_is_never_to_run_is_known_all_the_same_so_that_it_goes() -> None:
    found = jobs(plan_of({"drill": ""}), ["/inv/mine"], "/opt", "/usr/bin/python3", {})
    assert [job["enabled"] for job in found] == [True, True, False]


def test_a_target_has_a_job_of_its_own_where_there_is_a_program_for_it() -> None:
    (none,) = watch_jobs(plan_of(), "cms01")
    (job,) = watch_jobs(plan_of(watch=True, target_base="/data/a b"), "cms01")
    assert (none["enabled"], job["enabled"]) == (False, True)
    assert job["command"].endswith("/usr/bin/python3 -I '/data/a b/.altbackup/watch/altbackup-watch' '/data/a b'")
    assert watch_jobs(plan_of(), "dayabay") == []


def test_a_target_checks_each_hour_or_when_it_is_told_to() -> None:
    (hourly,) = watch_jobs(plan_of(watch=True), "cms01")
    assert (hourly["hour"], hourly["weekday"], hourly["calendar"], hourly["delay"]) == ("*", "*", "*-*-* *:00:00", 3540)
    assert 0 <= int(hourly["minute"]) < 60
    (daily,) = watch_jobs(plan_of({"watch": "12:10"}, watch=True), "cms01")
    assert (daily["hour"], daily["minute"], daily["calendar"]) == ("12", "10", "*-*-* 12:10:00")
    assert watch_jobs(plan_of({"watch": ""}, watch=True), "cms01")[0]["enabled"] is False


def test_a_controller_that_is_a_target_has_its_own_jobs_and_its_watch() -> None:
    plan = plan_of(watch=True)
    plan["targets"]["localhost"] = plan["targets"].pop("sdu")
    names = [job["name"].split()[1] for job in setup_jobs(plan, "localhost", ["/inv/mine"])]
    assert names == ["backup", "check", "drill", "watch"]
    assert [job["name"] for job in setup_jobs(plan, "cms01")] == ["altbackup watch of cms01"]


@pytest.mark.parametrize(
    "value",
    [{"backup": "25:00"}, {"backup": "noon"}, {"check": "funday 01:00"}, {"nightly": "01:00"}, {"backup": "hourly"}],
)
def test_a_time_that_is_none_is_refused(value: dict[str, str]) -> None:
    with pytest.raises(InvalidInput):
        parse_times(value)


def test_times_that_are_not_named_are_the_usual_ones() -> None:
    assert parse_times({"drill": "Mon 9:05"}) == {**SCHEDULE, "drill": "mon 9:05"}


def test_of_addresses_that_are_secrets_a_job_has_the_files_alone() -> None:
    """The addresses would be in the process list, which everybody can read."""
    secret = "https://hc.example.org/ping/5ecret"
    environment = {
        "ALTBACKUP_PING_URL": secret,
        "ALTBACKUP_PUSH_URL": secret,
        "ALTBACKUP_CHANNELS": secret,
        "ALTBACKUP_MAIL_PASSWORD": "5ecret",
        "ALTBACKUP_PING_URL_FILE": "/root/ping",
        "ALTBACKUP_CHANNELS_FILE": "/root/channels",
    }
    for job in jobs(plan_of(), ["/inv/mine"], "/opt", "/usr/bin/python3", environment):
        assert "5ecret" not in repr(job)
        assert {"ALTBACKUP_PING_URL_FILE=/root/ping", "ALTBACKUP_CHANNELS_FILE=/root/channels"} <= set(job["argv"])


def test_a_node_needs_what_its_kinds_need() -> None:
    plan = plan_of()
    plan["sources"]["dayabay"]["item_list"].append({"kind": "hg", "name": "y", "path": "/y"})
    found = node_setup(plan, "dayabay", "Debian")
    assert {"svnadmin", "git", "hg"} <= set(found["tools"])
    assert found["packages"]["hg"] == "mercurial"
