"""Options are checked, not trusted: unusable ones are named, and never switch the mail off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.mail.settings import Settings, addresses, judge

SERVER = {"host": "mail.example.org"}
TO = {"to": "a@example.org"}


def problems(environment: dict[str, str] | None = None, **options: Any) -> str:
    """Return the problems of options, as one text."""
    return "; ".join(judge(options, environment or {}).problems)


@pytest.mark.parametrize(
    ("to", "environment", "recipients"),
    [
        ("a@example.org", {"MAILTO": "cron@example.org"}, ("a@example.org",)),
        (None, {"MAILTO": "cron@example.org, b@example.org"}, ("cron@example.org", "b@example.org")),
        ("", {"MAILTO": "root"}, ("root",)),
        ("a@example.org;b@example.org a@example.org", {}, ("a@example.org", "b@example.org")),
    ],
)
def test_recipients_come_from_the_option_or_from_cron(
    to: str | None, environment: dict[str, str], recipients: tuple[str, ...]
) -> None:
    settings = judge({"to": to, **SERVER}, environment)
    assert settings.recipients == recipients
    assert settings.problems == ()


@pytest.mark.parametrize(("to", "environment"), [("none", {}), ("NONE", {"MAILTO": "a@b"}), (None, {"MAILTO": "none"})])
def test_none_states_the_wish_for_no_mail(to: str | None, environment: dict[str, str]) -> None:
    settings = judge({"to": to, "port": "x"}, environment)
    assert (settings.wanted, settings.recipients, settings.problems) == (False, (), ())


@pytest.mark.parametrize("environment", [{}, {"MAILTO": ""}, {"MAILTO": " "}])
def test_no_recipient_is_a_problem(environment: dict[str, str]) -> None:
    assert "no recipient" in problems(environment, **SERVER)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"to": "a@b\r\nBcc: c@d"}, "Bcc:"),
        ({"to": "no(mail)"}, "no(mail)"),
        ({**TO, "from": "me"}, ""),
        ({**TO, "from": "me you@x"}, "me you@x"),
        ({**TO, "security": "ssl"}, "ssl"),
        ({**TO, "port": "0"}, "'0'"),
        ({**TO, "port": "smtp"}, "smtp"),
        ({**TO, "timeout": "soon"}, "soon"),
        ({**TO, "timeout": 0}, "timeout"),
        ({**TO, "username": "u"}, "password"),
        ({**TO, "username": "u", "password": "p"}, "encryption"),
        ({**TO, "body_limit": "-1"}, "-1"),
        ({**TO, "host": "a b"}, "a b"),
    ],
)
def test_option_that_is_not_usable_is_named(options: dict[str, Any], word: str) -> None:
    found = problems(**{**SERVER, **options})
    assert (word in found) if word else not found


def test_secrets_stand_in_no_problem() -> None:
    assert "swordfish" not in problems(**TO, **SERVER, password="swordfish")


def test_neither_server_nor_sendmail_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    assert "ALTBACKUP_MAIL_HOST" in problems(**TO)
    assert problems(**TO, **SERVER) == ""


@pytest.mark.parametrize(("security", "port"), [("none", 25), ("starttls", 587), ("TLS", 465)])
def test_port_follows_security(security: str, port: int) -> None:
    assert judge({**TO, **SERVER, "security": security}, {}).port == port


def test_values_are_converted() -> None:
    settings = judge({**TO, **SERVER, "timeout": "2m", "port": 2525, "spool": "~/x", "log_limit": "0"}, {})
    assert (settings.timeout, settings.port, settings.spool, settings.log_limit) == (120, 2525, Path.home() / "x", 0)


def test_sender_is_the_user_at_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "hub")
    monkeypatch.setattr("os.geteuid", lambda: 4711)
    assert judge({**TO, **SERVER}, {}).sender == "4711@hub"
    monkeypatch.setattr("socket.gethostname", lambda: "odd name")
    assert judge({**TO, **SERVER}, {}).sender == "altbackup@localhost"


def test_nothing_at_all_is_no_crash() -> None:
    assert judge({}, {}).timeout == Settings.timeout
    assert judge({"to": 5, "timeout": [], "port": None, "from": b"\xff"}, {}).problems


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("a@b.example, c@[127.0.0.1]", ["a@b.example", "c@[127.0.0.1]"]),
        ("<a@b>", []),
        ("-oQ/tmp@b", []),
        ("grün@example.org", []),
    ],
)
def test_addresses_are_plain(text: str, good: list[str]) -> None:
    assert addresses(text)[0] == good


PING = "https://hc.example.org/5bf66975"


def secret_file(folder: Path, text: str, mode: int = 0o600) -> str:
    """Return a file with secrets."""
    path = folder / "secrets"
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_secrets_come_from_the_option_or_from_a_file_for_this_user_alone(tmp_path: Path) -> None:
    path = secret_file(tmp_path, f"# of the nights\n{PING}\n\n")
    settings = judge({**TO, **SERVER, "ping_url_file": path}, {})
    assert (settings.ping_url, settings.flaws) == (PING, ())
    assert judge({**TO, **SERVER, "ping_url_file": path, "ping_url": f"{PING}2"}, {}).ping_url == f"{PING}2"
    assert {PING, "5bf66975"} <= set(settings.secrets)
    assert PING not in repr(settings)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    settings = judge({**TO, **SERVER, "channels_file": secret_file(tmp_path, "json://a/b", mode)}, {})
    (flaw,) = settings.flaws
    assert f"may be read by others (mode {mode:04o}), so it is not read: chmod 600 it" in flaw
    assert settings.channels == ()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"ping_url": "secret"}, "ping_url is no URL"),
        ({"push_url": "https://a/x https://b/y"}, "more than one"),
        ({"ping_url_file": "/nowhere/x"}, "No such file"),
        ({"ping_url_file": "/dev/null"}, "is no file"),
        ({"ping_timeout": "soon"}, "ping_timeout"),
    ],
)
def test_what_is_not_usable_beside_mail_is_a_flaw_and_keeps_no_mail_back(options: dict[str, str], word: str) -> None:
    settings = judge({**TO, **SERVER, **options}, {})
    assert word in "; ".join(settings.flaws)
    assert settings.problems == ()
    assert "secret" not in "; ".join(settings.flaws)


def test_channels_alone_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    for options in ({"channels": "json://a/b ntfys://c/d"}, {"channels": "json://a/b ntfys://c/d", "to": "none"}):
        settings = judge(options, {})
        assert (settings.wanted, settings.tells, settings.problems) == (False, True, ())
        assert settings.channels == ("json://a/b", "ntfys://c/d")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    settings = judge({"channels": "json://a/b", "to": "none"}, {})
    assert settings.problems == (
        "channels are set, but apprise is not installed: .venv/bin/pip install -r requirements-extras.txt",
    )
    assert settings.flaws == (), "said once"
    assert judge({**TO, **SERVER, "channels": "json://a/b"}, {}).problems == ()
