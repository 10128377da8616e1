"""The callback takes every event, whatever is in it, never raises, and sends one mail at the end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible import context
from ansible.module_utils.common.collections import ImmutableDict
from helpers.mail_callback import documented, make_callback
from helpers.mail_server import MailServer, serving, text_of

from ansible_collections.altbackup.core.plugins.callback import error_mail
from ansible_collections.altbackup.core.plugins.plugin_utils.mail.settings import variable_of
from ansible_collections.altbackup.core.plugins.plugin_utils.mail.spool import MAIL, put, waiting


@pytest.fixture
def server() -> Iterator[MailServer]:
    """A server that accepts."""
    with serving("accepts") as running:
        yield running


@pytest.fixture
def callback(server: MailServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The callback as Ansible makes it, which sends to that server."""
    return make(monkeypatch, tmp_path, TO="a@example.org", HOST=server.host, PORT=str(server.port))


def make(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **options: str) -> Any:
    """Return the callback with options from the environment."""
    monkeypatch.setattr(context, "CLIARGS", ImmutableDict(args=("play.yml",), inventory=("hosts",), check=False))
    monkeypatch.setattr("sys.argv", ["ansible-playbook", "play.yml", "-e", "db_password=hushpuppy"])
    made = make_callback(monkeypatch, tmp_path / "spool", {"TIMEOUT": "5", **options})
    monkeypatch.setattr(made, "_say", said.append)
    said.clear()
    return made


said: list[str] = []


class Play:
    """The attributes of a play that the callback uses."""

    hosts = "all"
    max_fail_percentage = None

    def __init__(self, variables: Any = None) -> None:
        self.variables = variables or {}

    def get_name(self) -> str:
        """Return its name."""
        return "Play"

    def get_variable_manager(self) -> Any:
        """Return an object with its variables."""
        return SimpleNamespace(get_vars=lambda **_: self.variables)


def task(**more: Any) -> Any:
    """Return an object with the attributes of a task that the callback uses."""
    fields: dict[str, Any] = {
        "_uuid": "1",
        "name": "Do it",
        "action": "command",
        "args": {},
        "no_log": False,
        "run_once": False,
        "any_errors_fatal": False,
        "ignore_unreachable": False,
        "delegate_to": None,
        "remote_user": None,
        "become": False,
        "become_user": None,
        "get_path": lambda: "/x/play.yml:7",
        **more,
    }
    return SimpleNamespace(**fields)


def result(values: Any, host: str = "a", private: bool = False, **more: Any) -> Any:
    """Return a result in the form of ansible-core 2.19, or of older ones."""
    names = ("_host", "_task", "_result") if private else ("host", "task", "result")
    return SimpleNamespace(
        **dict(zip(names, (SimpleNamespace(get_name=lambda: host), task(**more), values), strict=True))
    )


def stats(**hosts: dict[str, int]) -> Any:
    """Return the stats of a run."""
    return SimpleNamespace(processed=dict.fromkeys(hosts, 1), summarize=lambda host: hosts[host])


def run(callback: Any, *events: tuple[str, Any], **hosts: dict[str, int]) -> None:
    """Send the events of a run."""
    callback.v2_playbook_on_start(SimpleNamespace(_file_name="/x/play.yml", get_plays=lambda: [Play()]))
    callback.v2_playbook_on_play_start(Play())
    callback.v2_runner_on_start(None, None)
    for name, event in events:
        getattr(callback, f"v2_{name}")(event)
    callback.v2_playbook_on_stats(stats(**hosts))


ODD: list[Any] = [
    {},
    None,
    "text",
    b"\xff",
    [1, 2],
    {"msg": True, "deprecations": [{"msg": "x"}], "warnings": [1]},
    {"msg": b"\xff\xfe", "rc": "three", "cmd": 5, "stdout": ["x"], "stderr": {"a": 1}},
    {"results": [None, 5, {"item": {"a": object()}}, {"failed": True, "ansible_loop_var": 7}]},
    {"results": {"a": 1}, "failures": {"a": 1}, "ansible_facts": [1]},
    {"failures": [{"stage": "x", "reason": 5, "item": []}], "item": {"role": "target"}},
    {
        "ansible_facts": {
            "__report_outcome": {"failures": [{"stage": 1, "reason": 2}], "fine": [None]},
            "__altbackup_plan": {},
        }
    },
    {"msg": "x\r\nBcc: evil@example.org", "exception": 5, "attempts": "many"},
    {"censored": True, "results": [{"censored": True}]},
]


@pytest.mark.parametrize("values", ODD)
@pytest.mark.parametrize("private", [False, True])
def test_no_event_raises_and_one_mail_is_sent(callback: Any, server: MailServer, values: Any, private: bool) -> None:
    names = ("item_on_failed", "item_on_ok", "item_on_skipped", "on_ok", "on_unreachable", "on_failed", "retry")
    events = [(f"runner_{name}", result(values, private=private, _uuid=name)) for name in names]
    run(callback, *events, a={"failures": 1})
    assert len(server.mails) == 1
    (message,) = server.messages()
    assert "play.yml: a" in message["Subject"]
    assert "Bcc" not in message
    assert "may be missing" not in text_of(message)
    assert said == []


@pytest.mark.parametrize(
    "name", ["runner_on_ok", "runner_on_failed", "playbook_on_task_start", "playbook_on_play_start"]
)
def test_event_that_cannot_be_read_is_told_in_the_mail(callback: Any, server: MailServer, name: str) -> None:
    arguments = (None, False) if name == "playbook_on_task_start" else (None,)
    getattr(callback, f"v2_{name}")(*arguments)
    run(callback, ("runner_on_failed", result({"msg": "boom"})), a={"failures": 1})
    (message,) = server.messages()
    assert f"v2_{name}" in text_of(message)
    assert "boom" in text_of(message)


def test_report_that_cannot_be_made_is_a_mail_all_the_same(
    callback: Any, server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callback, "_argv", lambda: 1 / 0)
    run(callback, ("runner_on_failed", result({"msg": "boom"})), a={"failures": 1})
    assert "ZeroDivisionError" in text_of(server.messages()[0])


def test_good_run_sends_nothing(callback: Any, server: MailServer) -> None:
    run(callback, ("runner_on_ok", result({"changed": True})), a={"ok": 1})
    assert server.mails == []


def test_failing_include_has_no_ignore_errors(callback: Any, server: MailServer) -> None:
    callback.v2_runner_on_ok(result({"include": "nope.yml"}))
    callback.v2_runner_on_failed(result({"reason": "Could not find nope.yml"}))
    callback.v2_playbook_on_stats(stats(a={"failures": 1}))
    assert text_of(server.messages()[0]).count("1. ") == 1


def test_secrets_of_no_log_and_of_arguments_do_not_show(callback: Any, server: MailServer) -> None:
    hidden = {"no_log": True, "name": "give hushpuppy", "args": {"_raw_params": "hushpuppy"}}
    run(
        callback,
        ("playbook_on_handler_task_start", task(**hidden)),
        ("runner_on_failed", result({"censored": "hidden"}, **hidden)),
        (
            "runner_on_failed",
            result({"msg": "login as kumquat failed"}, host="b", args={"login_password": "kumquat"}),
        ),
        a={"failures": 1},
        b={"failures": 1},
    )
    (message,) = server.messages()
    shown = text_of(message) + text_of(message, "html") + str(message["Subject"])
    assert not [secret for secret in ("hushpuppy", "kumquat") if secret in shown]
    assert "its name is hidden" in text_of(message)


def test_static_name_of_a_no_log_task_shows(callback: Any, server: MailServer) -> None:
    hidden = {"no_log": True, "name": "hushpuppy", "get_ds": lambda: {"name": "Set the password"}}
    run(callback, ("runner_on_failed", result({"censored": "x"}, **hidden)), a={"failures": 1})
    assert "Set the password" in text_of(server.messages()[0])


def test_recipients_of_a_host_get_its_failures(callback: Any, server: MailServer) -> None:
    variables = {"hostvars": {"b": {"altbackup_mail_to": "b@example.org", "ansible_user": "scm"}}}
    play = Play(variables)
    callback.v2_playbook_on_play_start(play)
    for host in ("a", "b"):
        callback.v2_runner_on_failed(result({"msg": f"boom of {host}"}, host=host))
    callback.v2_playbook_on_stats(stats(a={"failures": 1}, b={"failures": 1}))
    assert server.recipients == [["a@example.org"], ["b@example.org"]]
    assert "boom of a" not in text_of(server.messages()[1])
    assert "remote user: scm" in text_of(server.messages()[1])


def test_several_playbooks_send_one_mail(callback: Any, server: MailServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "CLIARGS", ImmutableDict(args=("one.yml", "play.yml")))
    callback.v2_playbook_on_start(SimpleNamespace(_file_name="one.yml", get_plays=list))
    callback.v2_runner_on_ok(result({"failures": [{"stage": "x", "reason": "noted"}]}))
    callback.v2_playbook_on_stats(stats(a={"ok": 1}))
    assert server.mails == []
    run(callback, ("runner_on_failed", result({"msg": "boom"})), a={"failures": 1})
    callback.v2_playbook_on_stats(stats(a={"failures": 1}))
    assert "one.yml play.yml: a: x: noted" in server.messages()[0]["Subject"]
    assert len(server.mails) == 1


def test_run_that_is_interrupted_tells_what_had_failed(callback: Any, server: MailServer) -> None:
    callback.v2_runner_on_failed(result({"msg": "boom"}))
    callback._end()
    assert "ended early" in text_of(server.messages()[0])


def test_interrupted_run_without_failures_is_the_business_of_others(callback: Any, server: MailServer) -> None:
    callback.v2_runner_on_ok(result({}))
    callback._end()
    assert server.mails == []


def test_receipt_tells_a_program_what_was_mailed(
    server: MailServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"TO": "a@example.org", "HOST": server.host, "PORT": str(server.port)}
    path = tmp_path / "receipt.json"
    callback = make(monkeypatch, tmp_path, RECEIPT=str(path), COMMAND="altbackup run backup.yml", **options)
    run(callback, ("runner_on_failed", result({"msg": "boom"})), a={"failures": 1})
    assert json.loads(path.read_text()) == {"failures": 1, "mails": 1, "delivered": 1, "spooled": [], "said": []}
    assert "command: altbackup run backup.yml" in text_of(server.messages()[0])


def test_no_mail_wanted_sends_nothing_and_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    callback = make(monkeypatch, tmp_path, TO="none", PORT="odd")
    run(callback, ("runner_on_failed", result({"msg": "boom"})), a={"failures": 1})
    assert said == []
    assert not (tmp_path / "spool").exists()


def test_options_that_are_not_usable_are_said_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    callback = make(
        monkeypatch, tmp_path, TO="a@example.org", HOST="127.0.0.1", PORT="odd", SECURITY="ssl", TIMEOUT="0"
    )
    callback.v2_playbook_on_start(SimpleNamespace(_file_name="x", get_plays=list))
    assert [word for word in ("odd", "ssl", "timeout") if word not in " ".join(said)] == []


@pytest.mark.parametrize(
    ("role", "notice", "told"),
    [
        ("", "", ["no recipient is set: set"]),
        ("altbackup.core.altbackup", "Nobody would be told of failures: no recipient is set", []),
        ("altbackup.core.altbackup", "", ["nobody was told of the failures: no recipient is set"]),
    ],
)
def test_missing_recipient_is_said_once(
    role: str, notice: str, told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MAILTO", raising=False)
    callback = make(monkeypatch, tmp_path, TO="", HOST="127.0.0.1")
    roles = [SimpleNamespace(get_name=lambda: role)] if role else []
    play = SimpleNamespace(get_roles=lambda: roles, get_name=lambda: "Play")
    callback.v2_playbook_on_start(SimpleNamespace(_file_name="x", get_plays=lambda: [play]))
    if notice:
        event = result({"msg": notice})
        event.task._role = SimpleNamespace(get_name=lambda: role)
        callback.v2_runner_on_ok(event)
    callback.v2_runner_on_failed(result({"msg": "boom"}))
    callback.v2_playbook_on_stats(stats(a={"failures": 1}))
    assert [sentence[: len(words)] for sentence, words in zip(said, told, strict=True)] == told


def test_what_an_earlier_run_could_not_send_is_sent(callback: Any, server: MailServer, tmp_path: Path) -> None:
    mail = EmailMessage()
    mail["From"], mail["To"] = "a@example.org", "a@example.org"
    mail.set_content("old")
    path = put(tmp_path / "spool", mail.as_bytes(), MAIL)
    run(callback, a={"ok": 1})
    assert len(server.mails) == 1
    assert not path.exists()


def test_spool_older_than_a_day_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    callback = make(monkeypatch, tmp_path, TO="a@example.org", HOST="127.0.0.1", PORT="1", TIMEOUT="1")
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "1000000000000-1-1.eml").write_bytes(b"From: a@b\r\nTo: a@b\r\n\r\n")
    run(callback, a={"ok": 1})
    (sentence,) = said
    assert "could not be sent" in sentence
    new = waiting(tmp_path / "spool", MAIL)[-1]
    assert b"more than a day" in new.read_bytes()


def test_every_option_is_documented_and_refused_by_nobody_but_us() -> None:
    options = documented()
    assert set(options) == {*error_mail.MAIL_OPTIONS, "command", "receipt"}
    for name, option in options.items():
        assert option["env"] == [{"name": variable_of(name)}]
        assert option["type"] == "str"
        assert "choices" not in option


@pytest.mark.parametrize(
    ("variables", "of_task", "shown"),
    [
        ({"ansible_become": True}, {}, "root"),
        ({"ansible_become": "yes"}, {}, "root"),
        ({"ansible_become": "true", "ansible_become_user": "scm"}, {}, "scm"),
        ({}, {}, "no"),
        ({"ansible_become": False}, {}, "no"),
        ({"ansible_become": "no", "ansible_become_user": "scm"}, {}, "no"),
        ({"ansible_become_user": "scm"}, {}, "no"),
        # the variables of a host take precedence over those of the task
        ({}, {"become": True}, "root"),
        ({}, {"become": True, "become_user": "www"}, "www"),
        ({"ansible_become": False}, {"become": True}, "no"),
        ({"ansible_become_user": "scm"}, {"become": True, "become_user": "www"}, "scm"),
    ],
)
def test_card_says_as_whom_a_host_works_also_where_a_variable_says_it(
    callback: Any, server: MailServer, variables: dict[str, Any], of_task: dict[str, Any], shown: str
) -> None:
    callback.v2_playbook_on_start(SimpleNamespace(_file_name="/x/play.yml", get_plays=lambda: [Play()]))
    callback.v2_playbook_on_play_start(Play({"hostvars": {"a": variables, "b": {"ansible_become_user": "other"}}}))
    callback.v2_runner_on_failed(result({"msg": "boom"}, **of_task))
    callback.v2_playbook_on_stats(stats(a={"failures": 1}))
    assert f"\n  become: {shown}\n" in text_of(server.messages()[0])


def test_card_says_as_whom_a_delegate_works(callback: Any, server: MailServer) -> None:
    hostvars = {"a": {"ansible_become": True}, "b": {"ansible_become": True, "ansible_become_user": "keeper"}}
    callback.v2_playbook_on_start(SimpleNamespace(_file_name="/x/play.yml", get_plays=lambda: [Play()]))
    callback.v2_playbook_on_play_start(Play({"hostvars": hostvars}))
    noted = {"failures": [{"stage": "check", "reason": "is damaged", "delegate": "b"}]}
    callback.v2_runner_on_ok(result(noted))
    callback.v2_playbook_on_stats(stats(a={"failures": 1}))
    assert "\n  become: keeper\n" in text_of(server.messages()[0])
