"""Whether a failure would be told to anybody: the same judgement as the callback's, and a failure if nobody watches."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible import constants
from helpers.mail_callback import make_callback

from ansible_collections.altbackup.core.plugins.lookup import mail_watch
from ansible_collections.altbackup.core.plugins.plugin_utils.mail import options as mail_options
from ansible_collections.altbackup.core.plugins.plugin_utils.mail.options import CALLBACK

GOOD = {"TO": "a@example.org", "HOST": "127.0.0.1"}


def watch(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    terminal: bool,
    enabled: bool = True,
    *,
    harmless: bool = False,
    **options: str,
) -> dict[str, str]:
    """Return the lookup's result."""
    callback = make_callback(monkeypatch, tmp_path / "spool", options)
    monkeypatch.setattr(mail_options, "callback_loader", SimpleNamespace(get=lambda _: callback))
    monkeypatch.setattr(constants, "CALLBACKS_ENABLED", [CALLBACK] if enabled else [])
    monkeypatch.setattr(mail_watch, "on_terminal", lambda _: terminal)
    (found,) = mail_watch.LookupModule().run([], harmless=harmless)
    return found


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize(
    ("options", "enabled", "word"),
    [
        (GOOD, True, ""),
        ({"TO": "none", "PORT": "odd"}, False, ""),
        ({"MAILTO": "cron", "HOST": "127.0.0.1"}, True, ""),
        ({"HOST": "127.0.0.1"}, True, "no recipient"),
        ({**GOOD, "PORT": "odd"}, True, "odd"),
        (GOOD, False, "callbacks_enabled"),
    ],
)
def test_what_is_wrong_fails_only_where_nobody_watches(
    options: dict[str, str], enabled: bool, word: str, terminal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = watch(monkeypatch, tmp_path, terminal, enabled, **options)
    assert (word in found["notice"]) if word else found["notice"] == ""
    assert found["failure"] == ("" if terminal else found["notice"])


def test_a_list_or_a_prediction_may_go_unwatched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = watch(monkeypatch, tmp_path, terminal=False, harmless=True, HOST="127.0.0.1")
    assert "no recipient" in found["notice"]
    assert found["failure"] == ""


@pytest.mark.parametrize("terminal", [True, False])
def test_mail_that_lies_for_a_day_fails_everywhere(
    terminal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "1000000000000-1-1.eml").write_bytes(b"")
    found = watch(monkeypatch, tmp_path, terminal, **GOOD)
    assert "more than a day" in found["notice"]
    assert "more than a day" in found["failure"]


def test_terminal_is_that_of_the_process_that_says_things(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWX_ISOLATED_DATA_DIR", raising=False)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", "input()"]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stderr=theirs) as seen,
        subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as unseen,
    ):
        assert mail_watch.on_terminal(seen.pid)
        assert not mail_watch.on_terminal(unseen.pid)
        monkeypatch.setenv("AWX_ISOLATED_DATA_DIR", "/x")
        assert not mail_watch.on_terminal(seen.pid)
        seen.communicate(b"\n")
        unseen.communicate(b"\n")
    assert not mail_watch.on_terminal(seen.pid)
    os.close(ours)
    os.close(theirs)
