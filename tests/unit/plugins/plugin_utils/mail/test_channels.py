"""Channels beside mail get one short message a run, by apprise's own json and ntfy; undelivered ones wait in the spool."""

from __future__ import annotations

import json
import stat
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from helpers.web_receivers import MOODS, WebReceiver, receiving

from ansible_collections.altbackup.core.plugins.plugin_utils.mail import channels, delivery
from ansible_collections.altbackup.core.plugins.plugin_utils.mail.settings import Settings
from ansible_collections.altbackup.core.plugins.plugin_utils.mail.spool import MESSAGE, waiting
from ansible_collections.altbackup.core.plugins.plugin_utils.report.model import Failure, Report

BAD = Report(
    "backup.yml",
    (Failure("dayabay", "the disk is full"),),
    node="controller",
    user="scm",
    key="night",
    ended=datetime(2026, 11, 24, tzinfo=UTC),
)
GOOD = replace(BAD, failures=())


@pytest.fixture
def receiver() -> Iterator[WebReceiver]:
    """A receiver that accepts."""
    with receiving("accepts") as running:
        yield running


def settings_for(receiver: WebReceiver, folder: Path, **more: Any) -> Settings:
    """Return settings that send both forms of messages to a receiver, and no mail."""
    made = Settings(
        wanted=False, spool=folder / "spool", timeout=150, channels=(receiver.json, f"{receiver.ntfy}?xtags=tape")
    )
    return replace(made, **more)


def test_failures_and_their_end_are_one_message_each(receiver: WebReceiver, tmp_path: Path) -> None:
    settings = settings_for(receiver, tmp_path)
    for report in (BAD, GOOD, GOOD):
        assert delivery.tell(report, settings).problems == ()
    assert len(receiver.taken) == 4, "of json and ntfy each one on the failure and one on its end"
    hooks = [json.loads(taken.body) for taken in receiver.taken if taken.path == "/hook"]
    assert [hook["type"] for hook in hooks] == ["failure", "success"]
    assert hooks[0]["title"] == "[altbackup] FAILED backup.yml: dayabay: the disk is full"
    assert hooks[0]["message"] == "dayabay: the disk is full\nbackup.yml, run by scm on controller"
    assert hooks[1]["title"].startswith("[altbackup] RECOVERED backup.yml")
    ntfy = [taken for taken in receiver.taken if taken.path == "/"]
    assert [json.loads(taken.body)["topic"] for taken in ntfy] == ["backups", "backups"]
    assert [taken.headers.get("x-priority") for taken in ntfy] == ["high", None]
    assert waiting(settings.spool, MESSAGE) == []


@pytest.mark.full
@pytest.mark.parametrize("mood", MOODS[1:])
def test_what_is_not_taken_waits_and_goes_with_the_next_run(mood: str, tmp_path: Path) -> None:
    with receiving(mood) as receiver:
        settings = settings_for(receiver, tmp_path, timeout=150 if mood == "refuses" else 45)
        began = time.monotonic()
        (sentence,) = delivery.tell(BAD, settings).problems
        assert time.monotonic() - began < settings.timeout + 30
        (path,) = waiting(settings.spool, MESSAGE)
        assert "could not be sent" in sentence and str(path) in sentence
        assert "hook" not in sentence and "backups" not in sentence, "addresses are secrets"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert str(receiver.port) not in path.read_text()
        asked = len(receiver.asked)
        assert asked >= 2
        receiver.mood = "accepts"
        receiver.over.set()
        assert channels.flush(replace(settings, timeout=150)) == []
        assert len(receiver.taken) == 2
        assert not path.exists()


@pytest.mark.full
def test_a_channel_that_took_a_message_does_not_get_it_again(receiver: WebReceiver, tmp_path: Path) -> None:
    receiver.answers = [(200, ""), (403, "")]
    settings = settings_for(receiver, tmp_path)
    (sentence,) = delivery.tell(BAD, settings).problems
    assert sentence.startswith("a message could not be sent (")
    assert channels.flush(settings) == []
    assert len(receiver.asked) == 3
    assert len(receiver.taken) == 1


@pytest.mark.full
def test_a_channel_whose_address_was_mended_gets_what_waited_for_it(receiver: WebReceiver, tmp_path: Path) -> None:
    settings = settings_for(receiver, tmp_path)
    wrong = replace(settings, channels=("nosuch://example.org/x", settings.channels[0]))
    (sentence,) = delivery.tell(BAD, wrong).problems
    assert sentence.startswith("a message could not be sent (nosuch:")
    assert channels.flush(settings) == []
    assert len(receiver.taken) == 2, "the other one had it already"


@pytest.mark.sampled(6)
@pytest.mark.parametrize(
    "content", ["", "[]", "{}", "\x00", "[" * 200_000], ids=["empty", "a list", "no keys", "a byte", "too deep"]
)
def test_a_damaged_message_is_named_and_keeps_no_other_back(
    receiver: WebReceiver, tmp_path: Path, content: str
) -> None:
    settings = settings_for(receiver, tmp_path)
    settings.spool.mkdir()
    bad = settings.spool / "1000000000000-1-1.note"
    bad.write_text(content)
    (sentence,) = delivery.tell(BAD, settings).problems
    assert str(bad) in sentence
    assert len(receiver.taken) == 2


def test_what_is_no_channel_is_named_by_its_kind(receiver: WebReceiver, tmp_path: Path) -> None:
    settings = settings_for(receiver, tmp_path, channels=("nosuch://secret", receiver.json))
    (sentence,) = delivery.tell(BAD, settings).problems
    assert "nosuch: this is no URL that apprise knows" in sentence
    assert "secret" not in sentence
    assert len(receiver.taken) == 1
