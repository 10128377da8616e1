"""The pings of this controller's runs: that one began, and how it ended."""

from __future__ import annotations

import contextlib
import subprocess
import uuid
from collections.abc import Sequence
from dataclasses import asdict

from ...module_utils.system import pings
from ...module_utils.system.pings import HEALTHCHECKS, KUMA, MOST_BODY, START, Ping, shown
from ..report.model import Report, heading
from ..report.plain_text import cut, one_line
from . import child
from .settings import Settings
from .text import subject

_STATE = "pings.json"


def new_rid() -> str:
    """Return an id that distinguishes the pings of a run from those of others."""
    return str(uuid.uuid4())


def is_pinged(settings: Settings, playbooks: Sequence[str], *, check: bool) -> bool:
    """Return whether the run's pings are wanted: an address is set, a playbook is named in the settings, and it is not in check mode."""
    is_set = bool(settings.ping_url or settings.push_url)
    return is_set and not check and any(name in settings.ping_playbooks for name in playbooks)


def at_start(settings: Settings, rid: str) -> list[Ping]:
    """Return the pings of a run that begins."""
    return [Ping(HEALTHCHECKS, settings.ping_url, START, rid)] if settings.ping_url else []


def at_end(settings: Settings, rid: str, signal: str, report: Report, seconds: float) -> list[Ping]:
    """Return the pings of a run that ended. `signal` is as Ping has it, `report` holds no secrets, `seconds` is the run's duration."""
    message = subject(report) if report.failures else f"{report.playbook}: good"
    found = []
    if settings.ping_url:
        body = summary(report, message) if settings.ping_body else ""
        found.append(Ping(HEALTHCHECKS, settings.ping_url, signal, rid, body))
    if settings.push_url:
        found.append(Ping(KUMA, settings.push_url, signal, message=message, milliseconds=round(seconds * 1000)))
    return found


def summary(report: Report, message: str) -> str:
    """Return the body of a ping, plain text that begins with `message`; `report` holds no secrets."""
    failures = [one_line(heading([failure])) for failure in report.failures]
    notes = [*report.fine, *report.notes]
    return cut("\n".join([message, *failures, *map(one_line, notes)]), MOST_BODY // 4)


def begin(wanted: Sequence[Ping], settings: Settings) -> subprocess.Popen[bytes] | None:
    """Start to send pings; return None if there are none or no process can start. Nothing is raised."""
    if not wanted:
        return None
    with contextlib.suppress(OSError):
        settings.spool.mkdir(mode=0o700, parents=True, exist_ok=True)
    job = {"pings": [asdict(ping) for ping in wanted], "timeout": settings.ping_timeout}
    try:
        return child.begin(pings.__file__, {**job, "state": str(settings.spool / _STATE)})
    except OSError:
        return None


def finish(process: subprocess.Popen[bytes] | None, wanted: Sequence[Ping], settings: Settings) -> list[str]:
    """Wait for pings that were started, at most their time; return a sentence on each that did not arrive."""
    if process is None:
        return [_lost(ping, "it could not be sent") for ping in wanted]
    entries, reason = child.end(process, settings.ping_timeout)
    told = {entry.get("number"): entry for entry in entries}
    found = [(ping, told.get(number, {"sent": False, "said": reason})) for number, ping in enumerate(wanted)]
    return [_lost(ping, one_line(entry.get("said"))) for ping, entry in found if not entry.get("sent")]


def _lost(ping: Ping, why: str) -> str:
    return f"the ping {ping.signal!r} to {shown(ping.url)} did not arrive: {why}"
