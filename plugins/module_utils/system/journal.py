"""Lines of JSON for systemd's journal, where there is one: https://systemd.io/JOURNAL_NATIVE_PROTOCOL/."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterable, Mapping
from typing import Any

SOCKET = "/run/systemd/journal/socket"
PLACE = "ALTBACKUP_JOURNAL"
"""The variable of the environment that names another socket, or is `none`"""
IDENTIFIER = "altbackup"
_PRIORITIES = {True: 3, False: 6}
"""Of what is bad, and of all else"""
_LONGEST = 8000
_MOST = 100


def tell_journal(events: Iterable[Mapping[str, Any]], environment: Mapping[str, str] = os.environ) -> int:
    """Given events, mappings of which `bad` says whether they tell of a failure, write each to the journal; return how many it took.

    Nothing is raised, and nothing waits: where there is no journal, or it takes nothing, nobody needs it.
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
    """Given an event, return it in the journal's own form: fields, of which the message is one line of JSON."""
    told = {name: _short(value) for name, value in event.items()}
    fields = {
        "MESSAGE": json.dumps(told, sort_keys=True),
        "PRIORITY": str(_PRIORITIES[bool(event.get("bad"))]),
        "SYSLOG_IDENTIFIER": IDENTIFIER,
    }
    return "".join(f"{name}={value}\n" for name, value in fields.items()).encode("ascii")


def _short(value: Any) -> Any:
    return value if isinstance(value, (int, float)) or value is None else str(value)[: _LONGEST // 8]
