"""Events as lines of JSON for systemd's journal, where there is one: https://systemd.io/JOURNAL_NATIVE_PROTOCOL/."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterable, Mapping
from typing import Any

SOCKET = "/run/systemd/journal/socket"
PLACE = "ALTBACKUP_JOURNAL"
"""Environment variable with the path of another socket, or `none`"""
IDENTIFIER = "altbackup"
_PRIORITIES = {True: 3, False: 6}
"""Syslog priorities: errors for bad events, info for all others"""
_LONGEST = 8000
_MOST = 100


def tell_journal(events: Iterable[Mapping[str, Any]], environment: Mapping[str, str] = os.environ) -> int:
    """Write events to the journal; return how many it took. The key `bad` of an event says whether it is a failure.

    Raises nothing and never waits: without a journal, or if it is full, the events are dropped.
    """
    place = environment.get(PLACE) or SOCKET
    taken = 0
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.connect(place)
        for event in list(events)[:_MOST]:
            sender.send(datagram(event))
            taken += 1
    return taken


def datagram(event: Mapping[str, Any]) -> bytes:
    """Return an event in the journal's native form: fields, of which the message is one line of JSON."""
    told = {name: _short(value) for name, value in event.items()}
    fields = {
        "MESSAGE": json.dumps(told, sort_keys=True),
        "PRIORITY": str(_PRIORITIES[bool(event.get("bad"))]),
        "SYSLOG_IDENTIFIER": IDENTIFIER,
    }
    return "".join(f"{name}={value}\n" for name, value in fields.items()).encode("ascii")


def _short(value: Any) -> Any:
    return value if isinstance(value, (int, float)) or value is None else str(value)[: _LONGEST // 8]
