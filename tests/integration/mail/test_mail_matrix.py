"""Every way to fail, in every mood of the server: one mail with the hosts and the error, and no secret, delivered or spooled."""

from __future__ import annotations

import ssl
import time
from pathlib import Path

import pytest
from helpers.mail_server import DELIVERING, MOODS, make_certificate, read_mail, serving
from integration.mail.runs import Ran, recipient, run_all
from integration.mail.situations import SECRETS, SITUATIONS

from ansible_collections.altbackup.core.plugins.module_utils.system import mail_transport as transport

NAMES = [situation.name for situation in SITUATIONS]
SILENCE = 0.15
"""Seconds after which a silent server is given up here"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    """All situations, run once."""
    with serving("accepts") as server:
        done = run_all(tmp_path_factory.mktemp("runs"), SITUATIONS, server)
    return {ran.situation.name: ran for ran in done}


def test_there_are_enough_situations_and_names() -> None:
    assert len(set(NAMES)) == len(NAMES) >= 40
    assert len(MOODS) == 7


@pytest.mark.parametrize("name", NAMES)
def test_run_ends_with_its_own_exit_code(name: str, runs: dict[str, Ran]) -> None:
    ran = runs[name]
    assert ran.exit_code == ran.situation.exit_code, ran.said
    assert "Callback dispatch" not in ran.said
    assert "altbackup mail:" not in ran.said


@pytest.mark.parametrize("name", NAMES)
def test_one_mail_names_the_hosts_and_the_error(name: str, runs: dict[str, Ran]) -> None:
    ran = runs[name]
    situation = ran.situation
    assert len(ran.mails) == bool(situation.hosts), ran.said
    if not situation.hosts:
        return
    message = read_mail(ran.mails[0])
    text = ran.text()
    assert sorted(str(message["X-Altbackup-Hosts"]).split(", ")) == sorted(situation.hosts), text
    assert [words for words in situation.words if not any(word in text for word in words.split("|"))] == [], text
    body = text.partition("\nPLAY ")[0]
    assert [word for word in situation.absent if word in body] == [], body
    assert situation.subject in message["Subject"]
    assert message["To"] == recipient(NAMES.index(name))
    assert "may be missing" not in text
    assert "Bcc" not in message


@pytest.mark.parametrize("name", NAMES)
def test_no_secret_is_in_mail_log_or_spool(name: str, runs: dict[str, Ran]) -> None:
    ran = runs[name]
    places = [ran.text()] if ran.mails else []
    places += [path.read_text(errors="replace") for path in ran.spool.glob("**/*") if path.is_file()]
    places += [raw.decode("ascii") for raw in ran.mails]
    assert [secret for secret in SECRETS.values() if any(secret in place for place in places)] == []


def test_secrets_were_in_the_runs(runs: dict[str, Ran]) -> None:
    folders = [ran.spool.parent for ran in runs.values()]
    used = "".join(path.read_text() for folder in folders for path in folder.glob("*") if path.is_file())
    used += " ".join(word for ran in runs.values() for word in ran.situation.arguments)
    assert [secret for secret in SECRETS.values() if secret not in used] == []


def test_every_mail_is_delivered_or_kept_in_every_mood(
    runs: dict[str, Ran], table: list[tuple[str, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert ssl.create_default_context().cert_store_stats()["x509_ca"] == 1
    fates = {name: [] for name in NAMES}  # type: dict[str, list[str]]
    for mood in MOODS:
        with serving(mood, certificate) as server:
            for name, ran in runs.items():
                fates[name].append(
                    fate(ran, server.options(), tmp_path / "mail.eml", server.mails) if ran.mails else "-"
                )
    table.append(("situation", "exit", "hosts", *MOODS))
    for name, ran in runs.items():
        table.append((name, str(ran.exit_code), ", ".join(ran.situation.hosts) or "(no mail)", *fates[name]))
    expected = ["delivered" if mood in DELIVERING else "kept" for mood in MOODS]
    assert {name: found for name, found in fates.items() if runs[name].mails and found != expected} == {}


def fate(ran: Ran, options: dict[str, object], path: Path, delivered: list[bytes]) -> str:
    """Send a mail to a server in one mood; return what became of it."""
    raw = ran.mails[0]
    path.write_bytes(raw)
    before = len(delivered)
    quiet = options["username"] == "" and not hasattr(delivered, "never")
    limit = SILENCE if quiet else 5
    started = time.monotonic()
    try:
        transport.send_file(options, str(path), started + limit)
    except transport.Refused:
        kept = path.exists() and path.read_bytes() == raw and len(delivered) == before
        return "kept" if kept and time.monotonic() - started < limit + 1 else "lost"
    return "delivered" if not path.exists() and delivered[before:] == [raw] else "lost"
