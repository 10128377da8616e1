"""Mails leave through the spool, whatever mood the server is in: delivered or kept, never lost, never delaying the run."""

from __future__ import annotations

import stat
import time
from contextlib import suppress
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from helpers.mail_server import DELIVERING, MOODS, MailServer, make_certificate, serving, text_of
from helpers.trees import needs_root, small_disk
from helpers.waiting import wait_until

from ansible_collections.altbackup.core.plugins.module_utils.system import mail_transport as transport
from ansible_collections.altbackup.core.plugins.plugin_utils.mail import delivery
from ansible_collections.altbackup.core.plugins.plugin_utils.mail.settings import Settings
from ansible_collections.altbackup.core.plugins.plugin_utils.mail.spool import MAIL, overdue, put, waiting
from ansible_collections.altbackup.core.plugins.plugin_utils.mail.text import POLICY
from ansible_collections.altbackup.core.plugins.plugin_utils.report.model import Failure, Report

RUN = ("admins@example.org",)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of the servers."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(autouse=True)
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust that certificate, here and in the processes that send."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))


def settings_for(server: MailServer | None, tmp_path: Path, **more: Any) -> Settings:
    """Return settings that mail to a server."""
    options = server.options() if server else {"host": "", "port": 25}
    made = Settings(recipients=RUN, sender="scm@example.org", spool=tmp_path / "spool", timeout=5, **options)
    return replace(made, **more)


def mail(*recipients: str, text: str = "x") -> EmailMessage:
    """Return a small mail."""
    made = EmailMessage(policy=POLICY)
    made["Subject"], made["From"], made["To"] = "é", "scm@example.org", ", ".join(recipients or RUN)
    made.set_content(text)
    return made


def spooled(settings: Settings) -> list[Path]:
    """Return the spooled mails."""
    return [path for path in settings.spool.iterdir() if "memory" not in path.name]


def test_without_a_recipient_it_is_said_what_nobody_was_told_of(tmp_path: Path) -> None:
    settings = settings_for(None, tmp_path, recipients=())
    runs = [Report("backup.yml", failures, key="job") for failures in ((Failure("dayabay", "broken"),), (), ())]
    assert [delivery.tell(run, settings).problems for run in runs] == [
        ("nobody was told of the failures: no recipient is set",),
        ("nobody was told of the end of the failures: no recipient is set",),
        (),
    ]


@pytest.mark.sampled(2)
@pytest.mark.parametrize("mood", [*MOODS, "TLS from the start", "dribbles"])
def test_mail_is_delivered_or_kept_in_time(mood: str, certificate: Path, tmp_path: Path) -> None:
    with serving(mood, certificate) as server:
        settings = settings_for(server, tmp_path, timeout=1.5 if mood in ("never answers", "dribbles") else 8)
        started = time.monotonic()
        told = delivery.deliver([mail(text="long " * 400 + "\n.\nbye")], settings)
        assert time.monotonic() - started < settings.timeout + 1.5
    if mood in (*DELIVERING, "TLS from the start"):
        assert (told.mails, told.delivered, told.spooled, told.problems) == (1, 1, (), ())
        assert [text_of(message).split() for message in server.messages()] == [["long"] * 400 + [".", "bye"]]
        assert server.recipients == [list(RUN)]
        assert spooled(settings) == []
    else:
        assert (told.mails, told.delivered, len(told.problems)) == (1, 0, 1)
        assert spooled(settings) == list(told.spooled)
        assert stat.S_IMODE(told.spooled[0].stat().st_mode) == 0o600
        assert stat.S_IMODE(settings.spool.stat().st_mode) == 0o700
        assert str(told.spooled[0]) in told.problems[0]


@pytest.mark.parametrize(
    ("mood", "words"),
    [
        ("refuses for now", "451 try again later"),
        ("refuses for good", "554 we do not want that"),
        ("never answers", "no answer within 1 s|timed out"),
        ("dribbles", "no answer within 1 s"),
        ("drops the line", "onnection"),
    ],
)
def test_reason_is_that_of_the_server(mood: str, words: str, tmp_path: Path) -> None:
    with serving(mood) as server:
        told = delivery.deliver([mail()], settings_for(server, tmp_path, timeout=1))
    assert any(word in told.problems[0] for word in words.split("|")), told.problems


def test_unknown_certificate_wrong_login_and_missing_encryption_are_refused(
    certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving("TLS and login", certificate) as server:
        good = settings_for(server, tmp_path)
        wrong = delivery.deliver([mail()], replace(good, password="guessed"))
        plain = delivery.deliver([mail()], replace(good, security="none", username="", password=""))
        monkeypatch.delenv("SSL_CERT_FILE")
        unknown = delivery.deliver([mail()], good)
    assert server.mails == []
    assert "535" in wrong.problems[0]
    assert "guessed" not in wrong.problems[0]
    assert "530" in plain.problems[0]
    assert "certificate" in unknown.problems[0]


def test_name_that_does_not_resolve_and_closed_port_keep_the_mail(tmp_path: Path) -> None:
    unknown = delivery.deliver([mail()], settings_for(None, tmp_path, host="mail.invalid", timeout=3))
    closed = delivery.deliver([mail()], settings_for(None, tmp_path, host="127.0.0.1", port=1))
    assert (unknown.delivered, closed.delivered) == (0, 0)
    assert "refused" in closed.problems[0]
    assert len(waiting(tmp_path / "spool", MAIL)) == 2


def test_next_run_delivers_what_was_kept_the_oldest_first(tmp_path: Path) -> None:
    with serving("refuses for now") as server:
        for number in range(3):
            delivery.deliver([mail(text=str(number))], settings_for(server, tmp_path))
    with serving("accepts") as server:
        settings = settings_for(server, tmp_path)
        told = delivery.flush(settings)
        assert (told.mails, told.delivered) == (3, 3)
        assert [text_of(message).strip() for message in server.messages()] == ["0", "1", "2"]
        assert delivery.flush(settings) == delivery.DeliveryResult()
        assert len(server.mails) == 3


def test_mail_that_another_process_sends_is_left_to_it(tmp_path: Path) -> None:
    with serving("accepts") as server:
        settings = settings_for(server, tmp_path)
        path = put(settings.spool, mail().as_bytes(), MAIL)
        with transport.locked(str(path)) as stream:
            assert stream is not None
            delivery.flush(settings)
        assert (server.mails, path.exists()) == ([], True)
        delivery.flush(settings)
        assert (len(server.mails), path.exists()) == (1, False)


def test_one_refused_recipient_does_not_keep_the_mail_from_the_others(tmp_path: Path) -> None:
    with serving("accepts", refused=frozenset(["gone@example.org"])) as server:
        settings = settings_for(server, tmp_path)
        told = delivery.deliver([mail("gone@example.org", *RUN)], settings)
        assert server.recipients == [list(RUN)]
        assert "gone@example.org" in told.problems[0]
    with serving("accepts") as server:
        assert delivery.flush(settings_for(server, tmp_path)).delivered == 1
        assert server.recipients == [["gone@example.org"]]
        assert text_of(server.messages()[0]).strip() == "x"


def test_all_recipients_refused_keeps_the_mail(tmp_path: Path) -> None:
    with serving("accepts", refused=frozenset(RUN)) as server:
        told = delivery.deliver([mail()], settings_for(server, tmp_path))
    assert "no such user here" in told.problems[0]
    assert len(told.spooled) == 1


def test_spool_that_cannot_be_used_does_not_lose_the_mail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "file").write_text("")
    with serving("accepts") as server:
        told = delivery.deliver([mail()], settings_for(server, tmp_path, spool=tmp_path / "file" / "spool"))
    assert (told.delivered, len(server.mails)) == (1, 1)
    assert "cannot be used" in told.problems[0]
    kept = delivery.deliver(
        [mail()], settings_for(None, tmp_path, host="127.0.0.1", port=1, spool=tmp_path / "file" / "x")
    )
    assert kept.spooled[0].exists()


@needs_root
def test_disk_that_is_full_does_not_lose_the_mail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with small_disk(tmp_path / "disk", "size=64k") as disk, serving("accepts") as server:
        monkeypatch.setattr("tempfile.tempdir", str(disk))
        with suppress(OSError):
            (disk / "filler").write_bytes(bytes(1 << 20))
        told = delivery.tell(REPORT, settings_for(server, tmp_path, spool=disk / "spool"))
        assert told.mails == told.delivered == len(server.mails) > 0
        assert "No space left on device" in told.problems[0]
        assert list(disk.rglob("*.eml.new")) == []
        monkeypatch.setattr(delivery, "_IN_MEMORY", str(disk))
        told = delivery.tell(REPORT, settings_for(server, tmp_path, spool=disk / "spool"))
        assert (told.mails, told.delivered) == (0, 0)
        assert list(disk.glob("altbackup-mail-*")) == []
        assert "was neither kept nor sent" in told.problems[0]


@pytest.mark.parametrize(
    ("script", "sent"), [("cat > {0}/got", True), ("echo no queue here >&2; exit 75", False), ("exec sleep 60", False)]
)
def test_sendmail_takes_over_where_no_server_is_set(script: str, sent: bool, tmp_path: Path) -> None:
    program = tmp_path / "sendmail"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\n{script.format(tmp_path)}\n')
    program.chmod(0o755)
    settings = settings_for(None, tmp_path, sendmail=str(program), timeout=1.5)
    told = delivery.deliver([mail()], settings)
    assert told.delivered == sent
    assert (tmp_path / "arguments").read_text() == "-i -f scm@example.org -- admins@example.org\n"
    if sent:
        assert b"\r" not in (tmp_path / "got").read_bytes()
    assert (tmp_path / "spool").exists()
    assert ("no queue here" in "".join(told.problems)) == ("queue" in script)


def test_neither_server_nor_sendmail_keeps_the_mail(tmp_path: Path) -> None:
    assert "no sendmail" in delivery.deliver([mail()], settings_for(None, tmp_path)).problems[0]


@pytest.mark.parametrize(("age", "late"), [(0, False), (86300, False), (86500, True)])
def test_mail_that_lies_for_more_than_a_day_is_a_failure(age: int, late: bool, tmp_path: Path) -> None:
    settings = settings_for(None, tmp_path)
    assert overdue(settings.spool, time.time()) == ""
    put(settings.spool, mail().as_bytes(), MAIL)
    failures = delivery.overdue_failure(settings, "hub", time.time() + age)
    assert [failure.host for failure in failures] == ["hub"] * late
    assert delivery.overdue_failure(replace(settings, wanted=False), "hub", time.time() + age) == []


def test_password_shows_in_no_process_list(tmp_path: Path) -> None:
    with serving("never answers") as server:
        settings = settings_for(server, tmp_path, timeout=1, username="u", password="swordfish")
        path = put(settings.spool, mail().as_bytes(), MAIL)
        process = delivery.start([path], settings)
        assert wait_until((Path("/proc") / str(process.pid) / "cmdline").read_bytes)
        listing = b"".join((Path("/proc") / str(process.pid) / name).read_bytes() for name in ("cmdline", "environ"))
        delivery.finish(process, [path], 1)
    assert b"system/mail_transport.py" in listing
    assert b"swordfish" not in listing
    assert "swordfish" not in repr(settings)


REPORT = Report(
    "backup.yml",
    (
        Failure("dayabay", "no space", delegate="cms01"),
        Failure("lingao", "unreachable", kind="unreachable"),
        Failure("sdu", "boom"),
    ),
    recap={name: {"ok": 1} for name in ("dayabay", "lingao", "sdu")},
    log=(("", "PLAY"), ("dayabay", "line of dayabay"), ("lingao", "line of lingao")),
    mail_to={"cms01": ("taipei@example.org",), "lingao": ("taipei@example.org", "ihep@example.org"), "sdu": RUN},
    key="job",
)


def test_recipients_of_hosts_get_only_what_concerns_these() -> None:
    parts = dict(delivery.addressed(REPORT, RUN))
    shown = {names: [failure.host for failure in part.failures] for names, part in parts.items()}
    assert shown == {
        RUN: ["dayabay", "lingao", "sdu"],
        ("taipei@example.org",): ["dayabay", "lingao"],
        ("ihep@example.org",): ["lingao"],
    }
    only = parts["ihep@example.org",]
    assert list(only.recap) == ["lingao"]
    assert only.log == (("", "PLAY"), ("lingao", "line of lingao"))


def test_one_mail_goes_to_each_group_of_recipients(tmp_path: Path) -> None:
    with serving("accepts") as server:
        told = delivery.tell(REPORT, settings_for(server, tmp_path))
    assert told.delivered == 3
    assert sorted(map(tuple, server.recipients)) == sorted([RUN, ("taipei@example.org",), ("ihep@example.org",)])
    for message in server.messages():
        assert ("sdu" in text_of(message)) == (message["To"] == RUN[0])


def test_good_run_sends_nothing_and_the_first_after_failures_one_mail(tmp_path: Path) -> None:
    with serving("accepts") as server:
        settings = settings_for(server, tmp_path)
        good = replace(REPORT, failures=(), mail_to={})
        bad = replace(REPORT, mail_to={})
        mails = [delivery.tell(report, settings).mails for report in (good, bad, bad, good, good)]
    assert mails == [0, 1, 1, 1, 0]
    first, second, third = server.messages()
    assert "FAILED" in first["Subject"]
    assert "still failing since" not in text_of(first)
    assert "2 runs" in text_of(second)
    assert "RECOVERED" in third["Subject"]
    assert "no space" in text_of(third)
    assert "in 2 runs" in text_of(third)


def test_no_mail_wanted_sends_and_writes_nothing(tmp_path: Path) -> None:
    settings = replace(settings_for(None, tmp_path), wanted=False)
    assert delivery.tell(REPORT, settings) == delivery.DeliveryResult()
    assert not (tmp_path / "spool").exists()


def test_failures_without_a_recipient_are_said(tmp_path: Path) -> None:
    settings = replace(settings_for(None, tmp_path), recipients=())
    assert "nobody" in delivery.tell(replace(REPORT, mail_to={}), settings).problems[0]
