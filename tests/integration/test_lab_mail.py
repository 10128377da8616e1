"""The failures for which this project was made, over real ssh, and the mails about them."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.mail_server import MailServer, serving, text_of
from integration.lab_site import DAY1, DAY2, LabSite, read_again, repaired, when
from integration.site import KINDS, item_of, tarballs_of
from lab import Lab
from lab.lab_fixture import lab_fixture, needs_namespaces

pytestmark = needs_namespaces
BULK = 3_000_000

pair = lab_fixture(["dayabay", "cms01"], sources=["dayabay"])


@pytest.fixture
def server() -> Iterator[MailServer]:
    """A mail server that accepts."""
    with serving("accepts") as running:
        yield running


@pytest.fixture
def lab_site(pair: Lab, tmp_path: Path, live_template: Path, server: MailServer) -> Iterator[LabSite]:
    """A source and a target after a good night; failures are mailed to the server."""
    with repaired(pair, tmp_path) as site:
        site.add_source("dayabay", altbackup_targets=["cms01"])
        site.give_all_kinds("dayabay", live_template)
        site.add_target("cms01")
        options = {
            "TO": "admins@example.org",
            "HOST": server.host,
            "PORT": str(server.port),
            "SPOOL": f"{tmp_path}/spool",
        }
        site.mail = {f"ALTBACKUP_MAIL_{name}": value for name, value in options.items()}
        assert site.run("backup", stamp=DAY1).rc == 0
        assert server.mails == []
        yield site


def last_mail(server: MailServer) -> str:
    """Return subject and text of the only new mail, and remove it."""
    (message,) = server.messages()
    server.mails.clear()
    return f"{message['Subject']}\n{text_of(message)}"


def test_tarball_without_dna_is_mailed_with_all_that_the_original_left_out(
    lab_site: LabSite, server: MailServer
) -> None:
    tree = lab_site.tree("dayabay", "cms01")
    (trac,) = item_of(tree, "trac", "dybsvn")
    (svn,) = item_of(tree, "svn", "dybsvn")
    Path(f"{trac}.dna").unlink()
    run = lab_site.run("check", "--limit cms01", stamp=DAY1)
    assert run.rc == 2
    mail = " ".join(last_mail(server).split())
    assert mail.startswith("[altbackup] FAILED check.yml: dayabay -> cms01: ")
    for words in (
        "expecting 2 tarballs for dybsvn of dayabay on 2013/05/07 but got 1",
        str(svn.relative_to(tree)),
        f"{trac.relative_to(tree)} has no dna: still arriving, or its transfer failed",
        "playbooks/check.yml",
        "--limit cms01",
        socket.gethostname(),
        getpass.getuser(),
    ):
        assert words in mail, words


@pytest.mark.full
def test_link_that_is_cut_is_mailed_in_the_words_of_ssh_and_the_rerun_sends_what_is_missing(
    lab_site: LabSite, server: MailServer
) -> None:
    (lab_site.live_of("dayabay") / "folder" / "bulk").write_bytes(os.urandom(BULK))
    target, copies = lab_site.lab["cms01"], lab_site.place("cms01") / "copies"
    target.limit_rate(400_000)

    def arrives() -> bool:
        return any(path.stat().st_size > BULK / 10 for path in (copies / ".altbackup/incoming/dayabay").glob("*"))

    with when(arrives, target.cut):
        run = lab_site.run("backup", stamp=DAY2)
    assert run.rc == 2
    mail = last_mail(server)
    assert mail.startswith("[altbackup] FAILED backup.yml: dayabay")
    assert "cms01" in mail
    assert "imeout" in mail or "timed out" in mail or "ot responding" in mail
    assert f"{target.user}@{target.address}" in mail
    assert f"altbackup_stamp={DAY2}" in mail, "how to make good for it"

    target.restore()
    target.limit_rate(None)
    there = {path.name for path in tarballs_of(lab_site.tree("dayabay", "cms01")) if DAY2 in str(path)}
    missing = [path for path in tarballs_of(lab_site.tree("dayabay")) if DAY2 in str(path) and path.name not in there]
    again = lab_site.run("backup", stamp=DAY2)
    assert again.rc == 0, again.stdout
    assert 0 < sum(lab_site.sent(again).values()) <= sum(path.stat().st_size for path in missing)
    assert "RECOVERED" in last_mail(server)
    read_again(lab_site.tree("dayabay", "cms01"), 2 * len(KINDS))
