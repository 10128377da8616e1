"""Messages go to all channels that lack them, and a file is removed once all have it; addresses are secrets."""

from __future__ import annotations

import fcntl
import json
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.mail import apprise_transport as transport
from ansible_collections.altbackup.core.plugins.plugin_utils.mail.apprise_transport import kind_of, masked, name_of

ONE, TWO = "json://one.example.org/a", "ntfy://two.example.org/b"


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return {channel: why it does not take messages}; one that is not there takes them."""
    refused: dict[str, str] = {}
    monkeypatch.setattr(transport, "send", lambda url, message: refused.get(url, ""))
    return refused


def message(folder: Path, **more: Any) -> Path:
    path = folder / "1700000000000-1-1.note"
    path.write_text(json.dumps({"title": "t", "body": "b", "bad": True, "done": [], **more}))
    return path


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("json://x/y", "json"),
        ("ntfys://token@host/topic", "ntfys"),
        ("no address", "a channel"),
        ("", "a channel"),
        ("secret-token-without-scheme", "a channel"),
        ("x" * 100 + "://y", "x" * 30),
        ("://x", ""),
    ],
)
def test_of_an_address_its_scheme_is_no_secret(url: str, kind: str) -> None:
    assert kind_of(url) == kind


@pytest.mark.parametrize(
    ("text", "url", "shown"),
    [
        ("sent to topic backups", "ntfy://host.example.org/backups", "sent to topic ***"),
        ("https://host.example.org/tok-3n failed", "json://host.example.org/tok-3n", "https://***/*** failed"),
        ("error 403", "json://a/b", "error 403"),
        ("user:hunter2 hunter", "mailtos://hunter:hunter2@x.org", "user:*** ***"),
        ("", "json://secret", ""),
        ("fine", "", "fine"),
    ],
)
def test_what_is_said_of_a_channel_has_no_word_of_its_address(text: str, url: str, shown: str) -> None:
    assert masked(text, url) == shown


def test_a_channel_is_called_by_its_digest() -> None:
    assert len({name_of(ONE), name_of(TWO)}) == 2
    assert "example" not in name_of(ONE) and len(name_of(ONE)) == 16
    assert name_of("json://\udcff")


@pytest.mark.parametrize(
    ("refused", "before", "sent", "said", "done"),
    [
        ({}, [], True, "", None),
        ({ONE: "ONE: no"}, [], False, "ONE: no", [TWO]),
        ({ONE: "ONE: no", TWO: "TWO: no"}, [], False, "ONE: no; TWO: no", []),
        ({ONE: "ONE: no"}, [ONE], True, "", None),
        ({TWO: "TWO: no"}, [ONE], False, "TWO: no", [ONE]),
        ({}, [ONE, TWO], True, "", None),
        ({ONE: "ONE: no"}, ["gone://x"], False, "ONE: no", ["gone://x", TWO]),
    ],
)
def test_a_message_goes_to_those_that_lack_it(
    refused: dict[str, str],
    before: list[str],
    sent: bool,
    said: str,
    done: list[str] | None,
    taken: dict[str, str],
    tmp_path: Path,
) -> None:
    taken.update(refused)
    path = message(tmp_path, done=[name_of(url) for url in before])
    assert transport.send_file([ONE, TWO], str(path), time.monotonic() + 5) == (sent, said)
    assert path.exists() is (done is not None)
    if done is not None:
        assert sorted(json.loads(path.read_text())["done"]) == sorted(map(name_of, done))
        assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_message_that_is_gone_or_being_sent_is_left_to_others(taken: dict[str, str], tmp_path: Path) -> None:
    assert transport.send_file([ONE], str(tmp_path / "none"), time.monotonic()) == (True, "")
    path = message(tmp_path)
    with open(path, "rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert transport.send_file([ONE], str(path), time.monotonic() + 5) == (True, "")
    assert path.exists()


def test_a_channel_that_does_not_answer_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "send", lambda url, message: time.sleep(30 if url == ONE else 0) or "")
    began = time.monotonic()
    assert transport.send_to_all([ONE, TWO], {}, began + 0.3) == ["json: no answer in time", ""]
    assert time.monotonic() - began < 10


def test_no_channel_is_no_work(taken: dict[str, str], tmp_path: Path) -> None:
    assert transport.send_to_all([], {}, time.monotonic()) == []
