"""Entries for the journal, over a real datagram socket."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.system.journal import PLACE, tell_journal


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[socket.socket]:
    """A datagram socket like the journal's."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "socket"))
        receiver.settimeout(30)
        yield receiver


def fields(receiver: socket.socket) -> dict[str, str]:
    """Return the fields of the next entry."""
    text = receiver.recv(1 << 20).decode()
    assert text.endswith("\n")
    return dict(line.split("=", 1) for line in text[:-1].split("\n"))


def test_each_event_is_a_line_of_json(journal: socket.socket) -> None:
    events = [
        {"event": "run", "failures": 1, "bad": True},
        {"event": "failure", "reason": "é\nMESSAGE=x\udc80", "bad": True},
        {"event": "run", "bad": False, "seconds": 1.5, "node": None},
    ]
    assert tell_journal(events, {PLACE: str(journal.getsockname())}) == 3
    first, second, third = (fields(journal) for _ in events)
    assert [entry["PRIORITY"] for entry in (first, second, third)] == ["3", "3", "6"]
    assert {entry["SYSLOG_IDENTIFIER"] for entry in (first, second, third)} == {"altbackup"}
    assert [json.loads(entry["MESSAGE"]) for entry in (first, second, third)] == events


def test_what_is_long_is_cut_and_what_is_too_much_is_left_out(journal: socket.socket) -> None:
    assert tell_journal([{"reason": "x" * 10**7}], {PLACE: str(journal.getsockname())}) == 1
    assert len(json.loads(fields(journal)["MESSAGE"])["reason"]) == 1000


@pytest.mark.parametrize("place", ["none", "/nowhere/socket", ""])
def test_without_a_journal_nothing_happens(place: str) -> None:
    assert tell_journal([{"event": "run"}], {PLACE: place}) in (0, 1)


def test_a_journal_that_takes_nothing_holds_nobody_up(journal: socket.socket) -> None:
    taken = tell_journal([{"reason": "x" * 900} for _ in range(100)], {PLACE: str(journal.getsockname())})
    assert 0 < taken <= 100
