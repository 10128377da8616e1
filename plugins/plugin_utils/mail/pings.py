"""Pings of the runs of this controller: that one began, and how it ended."""

from __future__ import annotations

import contextlib
import subprocess
import uuid
from collections.abc import Sequence
from dataclasses import asdict

from ...module_utils.system import pings
from ...module_utils.system.pings import HEALTHCHECKS, KUMA, MOST_BODY, START, Ping, shown
from ..report.model import Report
from ..report.plain_text import cut, one_line
from . import child
from .settings import Settings
from .text import subject

_STATE = "pings.json"


def new_rid() -> str:
    """Return what tells the pings of a run from those of others."""
    return str(uuid.uuid4())


def is_pinged(settings: Settings, playbooks: Sequence[str], *, check: bool) -> bool:
    """Given the settings, the names of a run's playbooks and whether it only predicts, return whether its pings are wanted."""
    is_set = bool(settings.ping_url or settings.push_url)
    return is_set and not check and any(name in settings.ping_playbooks for name in playbooks)


def at_start(settings: Settings, rid: str) -> list[Ping]:
    """Return the pings of a run that begins."""
    return [Ping(HEALTHCHECKS, settings.ping_url, START, rid)] if settings.ping_url else []


def at_end(settings: Settings, rid: str, signal: str, report: Report, seconds: float) -> list[Ping]:
    """Given how a run ended (as Ping has it), its report without secrets, and how long it took, return its pings."""
    message = subject(report) if report.failures else f"{report.playbook}: good"
    found = []
    if settings.ping_url:
        body = summary(report, message) if settings.ping_body else ""
        found.append(Ping(HEALTHCHECKS, settings.ping_url, signal, rid, body))
    if settings.push_url:
        found.append(Ping(KUMA, settings.push_url, signal, message=message, milliseconds=round(seconds * 1000)))
    return found


def summary(report: Report, message: str) -> str:
    """Given a report without secrets and its first line, return what it tells, in plain text of what a ping may carry."""
    failures = [f"{failure.title}: {one_line(failure.headline)}" for failure in report.failures]
    notes = [*report.fine, *report.notes]
    return cut("\n".join([message, *failures, *map(one_line, notes)]), MOST_BODY // 4)


def begin(wanted: Sequence[Ping], settings: Settings) -> subprocess.Popen[bytes] | None:
    """Begin to send pings; nothing is raised."""
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
    """Wait for pings that were begun, no longer than their time; return a sentence on each that did not arrive."""
    if process is None:
        return [_lost(ping, "it could not be sent") for ping in wanted]
    entries, reason = child.end(process, settings.ping_timeout)
    told = {entry.get("number"): entry for entry in entries}
    found = [(ping, told.get(number, {"sent": False, "said": reason})) for number, ping in enumerate(wanted)]
    return [_lost(ping, one_line(entry.get("said"))) for ping, entry in found if not entry.get("sent")]


def _lost(ping: Ping, why: str) -> str:
    return f"the ping {ping.signal!r} to {shown(ping.url)} did not arrive: {why}"
