"""Remembers what failed in earlier runs of a job, so that a mail says since when, and the first good run is reported, too."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from ...module_utils.system.units import counted
from ..report.model import Failure, Report
from ..report.outcomes import has_looked_at
from ..report.plain_text import one_line
from ..report.private_files import write_private

FILE = "memory.json"
_VARIES = re.compile(r"[0-9a-f]{8,}|\d+", re.IGNORECASE)


def identity(failure: Failure) -> str:
    """Return a key that is the same when the failure happens again: a digest of it without numbers and digests."""
    what = failure.identity or _VARIES.sub("#", failure.headline)
    parts = (failure.host, failure.delegate, failure.place.name, failure.where, what)
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:16]


def job_key(playbooks: Iterable[str], inventory: Iterable[str], **options: Any) -> str:
    """Return the key of a job: its playbooks, its inventories, and options that distinguish jobs, such as a limit."""
    folder = os.getcwd()
    paths = [[os.path.join(folder, path) for path in sorted(names)] for names in (playbooks, inventory)]
    sets = {name: sorted(value) if isinstance(value, (list, tuple)) else value for name, value in options.items()}
    given = {name: value for name, value in sets.items() if value and value != ["all"]}
    return json.dumps([*paths, given], sort_keys=True, default=str)


def recall(job: Mapping[str, Any], report: Report) -> tuple[dict[str, Any], Report]:
    """Return what is to be remembered of the job after this run, and the report completed from what was remembered.

    A failure that was there before says since when; one that is gone becomes a note; a good run after failures is RECOVERED. What this run
    did not come to, or a tarball that it did not read, is reported as not looked at; what a failed run did not come to is remembered.
    """
    now = (report.ended or datetime.now().astimezone()).isoformat(timespec="seconds")
    before = {name: _mapping(entry) for name, entry in _mapping(job.get("failures")).items()}
    known: dict[str, Any] = {}
    failures = []
    for failure in report.failures:
        name = identity(failure)
        old = before.get(name) or {}
        entry = {
            "since": old.get("since", now),
            "runs": int(old.get("runs") or 0) + 1,
            "host": failure.host,
            "delegate": failure.delegate,
            "text": failure.headline,
            "task": failure.place.title,
            "item": failure.item,
            "title": failure.title,
            "relpath": failure.relpath,
        }
        known.setdefault(name, entry)
        since = f"still failing since {_moment(entry['since'])}, {entry['runs']} runs" if old else ""
        failures.append(replace(failure, since=since))
    gone = {name: entry for name, entry in before.items() if name not in known}
    seen = {name for name, entry in gone.items() if _is_seen(entry, report)}
    past = [{**entry, "seen": name in seen} for name, entry in gone.items()]
    if failures:
        kept = {name: entry for name, entry in gone.items() if name not in seen and _is_to_come(entry, report)}
        notes = (*report.notes, *map(_was, past))
        return {"failures": {**kept, **known}, "at": now}, replace(report, failures=tuple(failures), notes=notes)
    return {}, replace(report, status="RECOVERED", failures=_mended(past)) if past else report


GONE, UNSEEN = "No longer failing: ", "Not looked at: "
PAST = (GONE, UNSEEN)
"""How notes on earlier failures begin"""


def _is_seen(entry: Mapping[str, Any], report: Report) -> bool:
    """Return whether a run came to where an earlier failure was, so that its absence means that it is gone.

    In a run that came to its end, any task of the failure's stage that ended on that host, or pair, shows it; in another one only that task.
    """
    if entry.get("relpath"):
        return has_looked_at(report.looked, str(entry.get("title")), str(entry["relpath"]))
    task, host, delegate = (str(entry.get(key) or "") for key in ("task", "host", "delegate"))
    if not task:  # of the run as a whole
        return bool(report.recap or report.done)
    title = f"{host} -> {delegate}" if delegate else host
    stage = _stage(task) if report.recap else task

    def ended(where: str) -> bool:
        return any(stage in (done, _stage(done)) for done in report.done.get(where, ()))

    if not (ended(title) or (host in report.recap and ended(""))):
        return False
    return not (entry.get("item") and any(_stops(failure, title, _stage(task)) for failure in report.failures))


def _stops(failure: Failure, title: str, stage: str) -> bool:
    """Return whether a failure kept a stage from its items at a place: it is of that stage and of no item."""
    return not failure.item and failure.title == title and _stage(failure.place.title) == stage


def _stage(task: str) -> str:
    """Return the role of a task by its title, or the title of a task that has none."""
    role, colon, _ = task.partition(" : ")
    return role if colon else task


def _is_to_come(entry: Mapping[str, Any], report: Report) -> bool:
    """Return whether a failure that a run did not come to is remembered: the next run may; a tarball is read again by chance only."""
    return not entry.get("relpath") and (not report.recap or entry.get("host") in report.recap)


_UNREAD = "this run did not read that tarball: if it is still there, check.yml with altbackup_check_scope: all does"
_NOT_REACHED = "this run did not come to it"


def _why_unseen(entry: Mapping[str, Any]) -> str:
    return _UNREAD if entry.get("relpath") else _NOT_REACHED


def _mended(gone: Iterable[Mapping[str, Any]]) -> tuple[Failure, ...]:
    """Return the failures that are gone, as a mail shows them; those that were not looked at come last and say so."""
    return tuple(
        Failure(
            host=str(entry.get("host", "")),
            delegate=str(entry.get("delegate", "")),
            where=str(entry.get("title", "")),
            message=f"{'' if entry.get('seen') else 'not looked at: '}{entry.get('text', '')}",
            since=f"failed since {_moment(entry.get('since', ''))}, in {counted(int(entry.get('runs') or 1), 'run')}"
            + ("" if entry.get("seen") else f"; {_why_unseen(entry)}"),
        )
        for entry in sorted(gone, key=lambda entry: not entry.get("seen"))
    )


def _was(entry: Mapping[str, Any]) -> str:
    """Return a note on a failure that is gone, or was not looked at."""
    where = entry.get("title") or entry.get("host")
    text = f"{where}: {one_line(entry.get('text'))} (since {_moment(entry.get('since', ''))})"
    return f"{GONE}{text}" if entry.get("seen") else f"{UNSEEN}{text}; {_why_unseen(entry)}"


def _moment(text: str) -> str:
    """Return an ISO 8601 moment as date, time and zone."""
    try:
        return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M %Z").replace(" UTC+00:00", " UTC")
    except (TypeError, ValueError):
        return str(text)


def remember(folder: Path, report: Report) -> Report:
    """Return the report completed from what is known of earlier runs, and store this run in `folder`, that of the spool.

    If nothing can be read or written, the report is returned as it is: a mail matters more than its memory.
    """
    if not report.key:
        return report
    try:
        with _opened(folder) as jobs:
            job, told = recall(_mapping(jobs.get(report.key)), report)
            jobs.pop(report.key, None)
            if job:
                jobs[report.key] = job
            return told
    except (OSError, ValueError, TypeError):
        return report


def hosts_down(folder: Path, key: str) -> list[str]:
    """Return the hosts that had failed in the job's last run; `folder` is that of the spool."""
    with contextlib.suppress(OSError, ValueError):
        job = _mapping(_mapping(json.loads((folder / FILE).read_text(encoding="utf-8"))).get(key))
        return list(dict.fromkeys(str(_mapping(entry).get("host")) for entry in _mapping(job.get("failures")).values()))
    return []


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield all jobs under a lock, and write them back if they changed. Raise BlockingIOError if the lock is not free within a second."""
    path = folder / FILE
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(os.open(folder / ".memory.lock", os.O_RDWR | os.O_CREAT, 0o600), "r+b") as lock:
        _take(lock.fileno())
        try:
            jobs = _mapping(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            jobs = {}
        before = json.dumps(jobs)
        yield jobs
        if json.dumps(jobs) != before:
            write_private(f"{path}.new", json.dumps(jobs, indent=1).encode())
            os.replace(f"{path}.new", path)


def _take(lock: int) -> None:
    """Take a lock that others hold for moments only. Raise BlockingIOError after a second, so that no run hangs on it."""
    for _ in range(50):
        with contextlib.suppress(BlockingIOError):
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(0.02)
    raise BlockingIOError


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}
