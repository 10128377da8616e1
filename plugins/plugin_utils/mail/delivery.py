"""Sends mails through the spool: each is written there first, sent from there, and removed when it was accepted."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from email.message import EmailMessage
from pathlib import Path

from ...module_utils.system import mail_transport as transport
from ..report.model import Failure, Report, redacted
from . import channels, child
from .memory import PAST, remember
from .settings import Settings
from .spool import MAIL, overdue, put, waiting
from .text import compose

_IN_MEMORY = "/dev/shm"  # noqa: S108 (folders made there are private)


NOBODY = "nobody was told of"
"""How the sentence on a report without recipients begins; it is needless where that was said at the start of the run"""


@dataclass(frozen=True)
class DeliveryResult:
    """What became of the mails and messages on a report."""

    mails: int = 0
    delivered: int = 0
    spooled: tuple[Path, ...] = ()
    problems: tuple[str, ...] = ()
    """Sentences for stderr"""


@dataclass(frozen=True)
class Outcome:
    """What became of one mail."""

    path: Path
    sent: bool
    reason: str
    """Why it was not sent; if it was sent, the recipients that the server refused"""


def tell(report: Report, settings: Settings) -> DeliveryResult:
    """Send the mail and the messages that a run's report calls for. Nothing is raised; `problems` names all trouble.

    There is a mail on failures, one on their end at the first good run, and none otherwise. It takes at most `settings.timeout` seconds
    for mail, and the same again for channels.
    """
    if not settings.tells:
        return DeliveryResult()
    report = remember(settings.spool, redacted(report))
    if not report.failures:
        return DeliveryResult()
    told = _mail(report, settings) if settings.wanted else DeliveryResult()
    return replace(told, problems=(*told.problems, *channels.tell(report, settings)))


def without_nobody(problems: Iterable[str]) -> list[str]:
    """Return the sentences without that on missing recipients."""
    return [sentence for sentence in problems if not sentence.startswith(NOBODY)]


def _mail(report: Report, settings: Settings) -> DeliveryResult:
    mails = [compose(part, settings, recipients) for recipients, part in addressed(report, settings.recipients)]
    if not mails:
        what = "the end of the failures" if report.status == "RECOVERED" else "the failures"
        return DeliveryResult(problems=(f"{NOBODY} {what}: no recipient is set",))
    return deliver(mails, settings)


def addressed(report: Report, recipients: Sequence[str]) -> list[tuple[tuple[str, ...], Report]]:
    """Return (recipients, their part of the report).

    The run's `recipients` get all of it; further recipients of hosts get only what concerns their hosts.
    """
    wanted: dict[str, list[str]] = {}
    for host, names in report.mail_to.items():
        for name in names:
            if name not in recipients:
                wanted.setdefault(name, []).append(host)
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, hosts in wanted.items():
        groups.setdefault(tuple(sorted(hosts)), []).append(name)
    parts = [(tuple(recipients), report)] if recipients else []
    for group, members in groups.items():
        part = part_of(report, group)
        if part.failures or part.unfinished:
            parts.append((tuple(members), part))
    return parts


def part_of(report: Report, hosts: Iterable[str]) -> Report:
    """Return the part of the report that concerns some hosts, as host or as delegate."""
    chosen = frozenset(hosts)
    failures = [failure for failure in report.failures if chosen & {failure.host, failure.delegate}]
    shown = chosen | {failure.host for failure in failures}
    return replace(
        report,
        failures=tuple(failures),
        unfinished=tuple(host for host in report.unfinished if host in chosen),
        fine=tuple(line for line in report.fine if chosen & set(line.split(": ")[0].split(" "))),
        notes=tuple(note for note in report.notes if not note.startswith(PAST)),
        recap={host: counts for host, counts in report.recap.items() if host in shown},
        log=tuple((host, text) for host, text in report.log if not host or host in chosen),
    )


def deliver(mails: Iterable[EmailMessage], settings: Settings) -> DeliveryResult:
    """Put each mail into the spool and send it; a mail that could not be sent stays there."""
    problems: list[str] = []
    paths = [path for mail in mails if (path := _kept(mail, settings.spool, problems))]
    outcomes = finish(start(paths, settings), paths, settings.timeout)
    spooled = []
    for outcome in outcomes:
        if not outcome.sent:
            problems.append(
                f"a mail could not be sent ({outcome.reason}); it is kept as {outcome.path}, and the next run sends it"
            )
            spooled.append(outcome.path)
        elif not outcome.reason and outcome.path.parent != settings.spool:
            with contextlib.suppress(OSError):
                outcome.path.parent.rmdir()
        elif outcome.reason:
            problems.append(f"a mail was refused for {outcome.reason}; it is kept for them as {outcome.path}")
            spooled.append(outcome.path)
    delivered = sum(outcome.sent for outcome in outcomes)
    return DeliveryResult(len(paths), delivered, tuple(spooled), tuple(problems))


def _kept(mail: EmailMessage, spool: Path, problems: list[str]) -> Path | None:
    """Put a mail into the spool or, if that has no room, into a temporary folder on disk or in memory; return its file, or None.

    Trouble is added to `problems`.
    """
    try:
        return put(spool, mail.as_bytes(), MAIL)
    except OSError as error:
        reason = f"the spool {spool} cannot be used ({error.strerror or error})"
    for place in (tempfile.gettempdir(), _IN_MEMORY):
        with contextlib.suppress(OSError):
            folder = Path(tempfile.mkdtemp(prefix="altbackup-mail-", dir=place))
            try:
                path = put(folder, mail.as_bytes(), MAIL)
            except OSError:
                folder.rmdir()
                raise
            problems.append(f"{reason}; using {folder}")
            return path
    places = f"{tempfile.gettempdir()} or {_IN_MEMORY}"
    problems.append(f"{reason}, nor can {places}: the mail {str(mail['Subject'])!r} was neither kept nor sent")
    return None


def flush(settings: Settings) -> DeliveryResult:
    """Send the mails in the spool, the oldest first."""
    paths = waiting(settings.spool, MAIL)
    outcomes = finish(start(paths, settings), paths, settings.timeout) if paths else []
    kept = tuple(outcome.path for outcome in outcomes if not outcome.sent)
    problems = tuple(f"{outcome.path}: {outcome.reason}" for outcome in outcomes if outcome.reason)
    return DeliveryResult(len(paths), len(paths) - len(kept), kept, problems)


def overdue_failure(settings: Settings, node: str, now: float) -> list[Failure]:
    """Return the failure of a spool whose oldest entry waits for more than a day; `now` is in seconds since 1970."""
    message = overdue(settings.spool, now) if settings.tells else ""
    return [Failure(node, message, kind="run", identity="spool")] if message else []


def start(paths: Sequence[Path], settings: Settings) -> subprocess.Popen[bytes]:
    """Start a process that sends mails of the spool and ends by itself when its time is over."""
    options = {
        name: getattr(settings, name) for name in ("host", "port", "security", "username", "password", "sendmail")
    }
    job = {**options, "timeout": settings.timeout, "files": [str(path) for path in paths]}
    return child.begin(transport.__file__, job)


def finish(process: subprocess.Popen[bytes], paths: Sequence[Path], timeout: float) -> list[Outcome]:
    """Wait for that process, at most its time in seconds; return what became of each mail."""
    entries, reason = child.end(process, timeout)
    told = {}
    for entry in entries:
        with contextlib.suppress(KeyError):
            told[entry["file"]] = Outcome(Path(entry["file"]), bool(entry["sent"]), str(entry["said"]))
    return [told.get(str(path)) or Outcome(path, not path.exists(), reason if path.exists() else "") for path in paths]
