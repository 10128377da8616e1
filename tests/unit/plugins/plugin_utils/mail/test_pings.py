"""Which pings a run has, what they carry, and what is said of those that did not arrive."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.mail import pings
from ansible_collections.altbackup.core.plugins.plugin_utils.mail.pings import MOST_BODY, Ping
from ansible_collections.altbackup.core.plugins.plugin_utils.mail.settings import Settings
from ansible_collections.altbackup.core.plugins.plugin_utils.report.model import Failure, Report

CHECK, MONITOR = "https://hc.example.org/hunter2", "https://kuma.example.org/api/push/swordfish"
GOOD = Report("backup.yml", fine=("dumped 2 items",), notes=("a note",), node="hub", user="scm")
BAD = replace(GOOD, failures=(Failure("dayabay", "no space\nat all"), Failure("cms01", "no route")))


def settings(**more: Any) -> Settings:
    return Settings(ping_url=CHECK, push_url=MONITOR, **more)


@pytest.mark.parametrize(
    ("more", "playbooks", "check", "is_pinged"),
    [
        ({}, ["backup.yml"], False, True),
        ({}, ["check.yml"], False, False),
        ({}, [], False, False),
        ({}, ["check.yml", "backup.yml"], False, True),
        ({}, ["backup.yml"], True, False),
        ({"ping_url": ""}, ["backup.yml"], False, True),
        ({"push_url": ""}, ["backup.yml"], False, True),
        ({"ping_url": "", "push_url": ""}, ["backup.yml"], False, False),
        ({"ping_playbooks": ()}, ["backup.yml"], False, False),
        ({"ping_playbooks": ("night.yml",)}, ["night.yml"], False, True),
    ],
)
def test_runs_of_playbooks_that_are_named_are_pinged(
    more: dict[str, Any], playbooks: list[str], check: bool, is_pinged: bool
) -> None:
    assert pings.is_pinged(replace(settings(), **more), playbooks, check=check) is is_pinged


def test_only_a_check_is_told_of_a_beginning() -> None:
    assert pings.at_start(settings(), "rid") == [Ping("healthchecks", CHECK, "start", "rid")]
    assert pings.at_start(replace(settings(), ping_url=""), "rid") == []


@pytest.mark.parametrize(
    ("more", "report", "check", "monitor"),
    [
        ({}, GOOD, "", "backup.yml: good"),
        ({"ping_body": True}, GOOD, "backup.yml: good\ndumped 2 items\na note", "backup.yml: good"),
        ({}, BAD, "", "[altbackup] FAILED backup.yml"),
        ({"ping_url": ""}, GOOD, None, "backup.yml: good"),
        ({"push_url": ""}, GOOD, "", None),
        ({"ping_url": "", "push_url": ""}, GOOD, None, None),
    ],
)
def test_an_end_is_told_to_both(more: dict[str, Any], report: Report, check: str | None, monitor: str | None) -> None:
    found = {ping.kind: ping for ping in pings.at_end(replace(settings(), **more), "rid", "0", report, 1.2345)}
    assert set(found) == {name for name, text in (("healthchecks", check), ("kuma", monitor)) if text is not None}
    if check is not None:
        assert (found["healthchecks"].body, found["healthchecks"].rid) == (check, "rid")
    if monitor is not None:
        assert found["kuma"].message.startswith(monitor) and found["kuma"].milliseconds == 1234


def test_a_summary_has_a_line_for_each_thing_and_no_more_than_a_ping_carries() -> None:
    assert pings.summary(BAD, "FAILED") == "FAILED\ndayabay: no space\ncms01: no route\ndumped 2 items\na note"
    long = replace(GOOD, fine=tuple("é\x1b[31m" * 100 for _ in range(2000)))
    told = pings.summary(long, "x")
    assert len(told.encode()) <= MOST_BODY and "\x1b" not in told


def test_each_run_has_an_id_of_its_own() -> None:
    assert len({pings.new_rid() for _ in range(100)}) == 100


def test_what_cannot_be_sent_is_said_without_its_address(tmp_path: Path) -> None:
    made = settings(spool=tmp_path / "spool", ping_timeout=5)
    wanted = pings.at_end(made, "rid", "1", BAD, 1)
    said = pings.finish(None, wanted, made)
    assert len(said) == 2 and all("did not arrive: it could not be sent" in text for text in said)
    assert "hunter2" not in "".join(said) and "swordfish" not in "".join(said)
    assert pings.begin([], made) is None and pings.finish(None, [], made) == []


def test_nobody_listens_and_that_is_said_in_time(tmp_path: Path) -> None:
    made = settings(spool=tmp_path / "file" / "spool", ping_timeout=2)
    (tmp_path / "file").touch()
    wanted = [Ping("healthchecks", "http://127.0.0.1:1/hunter2", "0", "rid")]
    (said,) = pings.finish(pings.begin(wanted, made), wanted, made)
    assert said.startswith("the ping '0' to ") and "hunter2" not in said
