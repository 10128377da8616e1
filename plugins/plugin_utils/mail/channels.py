"""Channels besides mail, through apprise: one short message a run, on failures and on their end, by way of the spool."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from ...module_utils.system.units import and_more
from ..report.masking import redact
from ..report.model import Report, heading
from ..report.plain_text import cut, one_line
from . import apprise_transport, child
from .settings import Settings
from .spool import MESSAGE, put, waiting
from .text import subject

_MOST_LISTED = 10
_LONGEST_LINE = 300
_LONGEST = 3000


def message_of(report: Report, settings: Settings) -> bytes:
    """Return the message for the channels, in the format of a spool file; `report` holds no secrets."""
    failures = report.failures
    lines = [one_line(heading([failure]), _LONGEST_LINE) for failure in failures[:_MOST_LISTED]]
    more = and_more(len(failures), _MOST_LISTED).strip(", ")
    where = f"{report.playbook}, run by {report.user} on {report.node}"
    body = cut("\n".join([*lines, *filter(None, [more]), where]), _LONGEST)
    told = {"title": subject(report), "body": body, "bad": report.status != "RECOVERED", "done": []}
    return json.dumps(told).encode()


def tell(report: Report, settings: Settings) -> list[str]:
    """Send a report without secrets, and messages left from earlier runs; return a sentence on each that some channel did not take."""
    if not settings.channels:
        return []
    problems = []
    try:
        put(settings.spool, message_of(report, settings), MESSAGE)
    except OSError as error:
        problems.append(f"a message could neither be kept nor sent: {error.strerror or error} ({settings.spool})")
    return problems + flush(settings)


def flush(settings: Settings) -> list[str]:
    """Send the messages in the spool, the oldest first; return a sentence on each that some channel did not take."""
    paths = waiting(settings.spool, MESSAGE)
    return finish(start(paths, settings), paths, settings) if paths and settings.channels else []


def start(paths: list[Path], settings: Settings) -> subprocess.Popen[bytes]:
    """Start a process that sends messages of the spool."""
    job = {"urls": list(settings.channels), "timeout": settings.timeout, "files": [str(path) for path in paths]}
    return child.begin(apprise_transport.__file__, job, isolated=False)


def finish(process: subprocess.Popen[bytes], paths: list[Path], settings: Settings) -> list[str]:
    """Wait for that process; return a sentence on each message that some channel did not take."""
    entries, reason = child.end(process, settings.timeout)
    told = {str(entry.get("file")): entry for entry in entries}
    problems = []
    for path in paths:
        entry = told.get(str(path), {"sent": not path.exists(), "said": reason})
        if not entry.get("sent"):
            why = redact(one_line(entry.get("said")), settings.secrets)
            problems.append(f"a message could not be sent ({why}); it is kept as {path}, and the next run sends it")
    return problems
