"""A dead controller, source, target or network for two nights: somebody is told within one interval, by whom, through what."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.mail_server import MailServer, serving, text_of
from integration.lab_site import LabSite, repaired
from lab import Lab
from lab.lab_fixture import lab_fixture, needs_namespaces

from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import stamp_at

pytestmark = [needs_namespaces, pytest.mark.full]

HOUR = 3600.0
GOOD, FIRST, SECOND = (60 * HOUR, 36.5 * HOUR, 12.5 * HOUR)
"""Age of three nights: the last good one, and two after that"""

pair = lab_fixture(["dayabay", "cms01"], sources=["dayabay"])


@pytest.fixture
def server(pair: Lab) -> Iterator[MailServer]:
    """A mail server beside the controller, which accepts mails of all hosts."""
    with serving("accepts", host=pair.address) as running:
        yield running


@pytest.fixture
def site(pair: Lab, tmp_path: Path, server: MailServer) -> Iterator[LabSite]:
    """A source, and a target that watches it, after the last good night."""
    with repaired(pair, tmp_path) as site:
        site.add_source("dayabay", altbackup_targets=["cms01"])
        site.add_target(
            "cms01",
            altbackup_watch=True,
            altbackup_watch_mail_to="watch@example.org",
            altbackup_watch_mail_host=server.host,
            altbackup_watch_mail_port=server.port,
        )
        options = {
            "TO": "admins@example.org",
            "HOST": server.host,
            "PORT": str(server.port),
            "SPOOL": f"{tmp_path}/spool",
        }
        site.mail = {f"ALTBACKUP_MAIL_{name}": value for name, value in options.items()}
        good = night(site, GOOD)
        assert good.rc == 0, good.stdout
        assert server.mails == []
        yield site


def night(site: LabSite, ago: float) -> Any:
    """Run a night that was so many seconds ago."""
    return site.run("backup", stamp=stamp_at(time.time() - ago, "UTC"))


def watch(site: LabSite) -> tuple[int, str]:
    """Run the target's own check, as its crontab does; return the exit code and what cron would mail."""
    base = site.place("cms01") / "copies"
    host = site.lab["cms01"]
    done = host.run([host.python, "-I", f"{base}/.altbackup/watch/altbackup-watch", str(base)], timeout=300)
    return done.returncode, done.stderr


def told(server: MailServer) -> list[tuple[str, str]]:
    """Return recipients and subjects of the mails, and remove them."""
    found = [(str(mail["To"]), str(mail["Subject"])) for mail in server.messages()]
    server.mails.clear()
    return found


def show(row: str, tellers: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """Print a row of the table."""
    with capsys.disabled():
        for who, what in tellers.items():
            print(f"\n{row:<16} {who:<36} {what}", end="")


def test_dead_controller_is_told_by_the_target(
    site: LabSite, server: MailServer, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = watch(site)
    assert (code, said) == (1, "")
    ((to, subject),) = told(server)
    assert to == "watch@example.org"
    assert subject.startswith("[altbackup] WATCH cms01: dayabay: folders/notes: its newest verified copy is 60 h old")
    assert watch(site) == (1, "")
    assert told(server) == [], "once, not at every look"
    show("dead controller", {"target, by mail, within an hour": subject}, capsys)


def test_dead_source_is_told_by_the_controller_each_night_and_by_the_target(
    site: LabSite, server: MailServer, capsys: pytest.CaptureFixture[str]
) -> None:
    site.lab["dayabay"].cut()
    subjects = []
    for ago in (FIRST, SECOND):
        assert night(site, ago).rc != 0
        ((to, subject),) = told(server)
        assert to == "admins@example.org" and "FAILED backup.yml: dayabay" in subject
        subjects.append(subject)
    assert watch(site) == (1, "")
    ((to, own),) = told(server)
    assert to == "watch@example.org" and "WATCH cms01: dayabay" in own
    site.lab["dayabay"].restore()
    assert night(site, 0).rc == 0
    assert "RECOVERED" in told(server)[0][1]
    assert watch(site) == (0, "")
    ((_, end),) = told(server)
    assert end == "[altbackup] WATCH cms01: all is well"
    show("dead source", {"controller, by mail, each night": subjects[1], "target, by mail, after 36 h": own}, capsys)


def test_dead_target_is_told_by_the_controller_each_night(
    site: LabSite, server: MailServer, capsys: pytest.CaptureFixture[str]
) -> None:
    site.lab["cms01"].cut()
    for ago in (FIRST, SECOND):
        assert night(site, ago).rc != 0
        ((to, subject),) = told(server)
        assert to == "admins@example.org" and "cms01" in subject
    show("dead target", {"controller, by mail, each night": subject}, capsys)


def test_dead_network_is_told_by_the_controller_and_by_the_targets_cron_and_its_mail_leaves_later(
    site: LabSite, server: MailServer, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("dayabay", "cms01"):
        site.lab[name].cut()
    for ago in (FIRST, SECOND):
        assert night(site, ago).rc != 0
        ((_, subject),) = told(server)
    code, said = watch(site)
    assert code == 1
    assert f"altbackup-watch: the mail by {server.host} could not be sent" in said
    for name in ("dayabay", "cms01"):
        site.lab[name].restore()
    assert watch(site)[0] == 1
    ((to, own),) = told(server)
    assert to == "watch@example.org"
    tellers = {"controller, by mail, each night": subject, "target, by cron's mail there": " ".join(said.split())}
    show("dead network", {**tellers, "target, by mail, once it can": own}, capsys)


def test_a_check_that_does_not_run_is_told_by_the_controller(
    site: LabSite, server: MailServer, capsys: pytest.CaptureFixture[str]
) -> None:
    path = site.place("cms01") / "copies/.altbackup/state/dayabay/watch.json"
    value = json.loads(path.read_text())
    value["since"] -= 40 * HOUR
    path.write_text(json.dumps(value))
    assert night(site, SECOND).rc != 0
    (mail,) = server.messages()
    assert "the check of this target by itself (altbackup_watch) did not run at all" in " ".join(text_of(mail).split())
    server.mails.clear()
    assert watch(site) == (0, "")
    assert night(site, 0).rc == 0
    show("dead check", {"controller, by mail, after 36 h": str(mail["Subject"])}, capsys)
