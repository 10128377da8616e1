"""What failed in earlier runs of a job: so that a mail says since when, and the first good run is told, too."""

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
    """Given a failure, return what is the same when it happens again: all but numbers and digests."""
    what = failure.identity or _VARIES.sub("#", failure.headline)
    parts = (failure.host, failure.delegate, failure.place.name, failure.where, what)
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:16]


def job_key(playbooks: Iterable[str], inventory: Iterable[str], **options: Any) -> str:
    """Given playbooks, inventories and what else tells jobs apart, such as a limit, return the key of the job."""
    folder = os.getcwd()
    paths = [[os.path.join(folder, path) for path in sorted(names)] for names in (playbooks, inventory)]
    sets = {name: sorted(value) if isinstance(value, (list, tuple)) else value for name, value in options.items()}
    given = {name: value for name, value in sets.items() if value and value != ["all"]}
    return json.dumps([*paths, given], sort_keys=True, default=str)


def recall(job: Mapping[str, Any], report: Report) -> tuple[dict[str, Any], Report]:
    """Given what is known of a job and the report of its newest run, return what is then known, and the report with that in it.

    A failure that was there before says since when; one that is gone is noted; a good run after failures is RECOVERED. Of a tarball that
    this run did not read, that is said instead of any end.
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
            **({"title": failure.title, "relpath": failure.relpath} if failure.relpath else {}),
        }
        known.setdefault(name, entry)
        since = f"still failing since {_moment(entry['since'])}, {entry['runs']} runs" if old else ""
        failures.append(replace(failure, since=since))
    gone = [entry for name, entry in before.items() if name not in known]
    for entry in gone:
        entry["seen"] = not entry.get("relpath") or has_looked_at(
            report.looked, str(entry.get("title")), str(entry["relpath"])
        )
    if failures:
        notes = (*report.notes, *map(_was, gone))
        return {"failures": known, "at": now}, replace(report, failures=tuple(failures), notes=notes)
    return {}, replace(report, status="RECOVERED", failures=_mended(gone)) if gone else report


_UNSEEN = "this run did not read that tarball: if it is still there, check.yml with altbackup_check_scope: all does"


def _mended(gone: Iterable[Mapping[str, Any]]) -> tuple[Failure, ...]:
    """Return what no longer fails as a mail shows it; what was not looked at comes last, and says so."""
    return tuple(
        Failure(
            host=str(entry.get("host", "")),
            delegate=str(entry.get("delegate", "")),
            where=str(entry.get("title", "")),
            message=str(entry.get("text", "")),
            since=f"failed since {_moment(entry.get('since', ''))}, in {counted(int(entry.get('runs') or 1), 'run')}"
            + ("" if entry.get("seen") else f"; {_UNSEEN}"),
        )
        for entry in sorted(gone, key=lambda entry: not entry.get("seen"))
    )


def _was(entry: Mapping[str, Any]) -> str:
    """Return a note on what no longer fails, or was not looked at."""
    where = entry.get("title") or entry.get("host")
    text = f"{where}: {one_line(entry.get('text'))} (since {_moment(entry.get('since', ''))})"
    return f"No longer failing: {text}" if entry.get("seen") else f"Not looked at: {text}; {_UNSEEN}"


def _moment(text: str) -> str:
    """Return a moment as people write it, with its zone."""
    try:
        return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M %Z").replace(" UTC+00:00", " UTC")
    except (TypeError, ValueError):
        return str(text)


def remember(folder: Path, report: Report) -> Report:
    """Given the folder of the spool and a report, return the report with what is known of earlier runs, and note this one.

    Where nothing can be read or written, the report is returned as it is: a mail matters more than its memory.
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
    """Given the folder of the spool and a job, return the hosts that had failed when it ran last."""
    with contextlib.suppress(OSError, ValueError):
        job = _mapping(_mapping(json.loads((folder / FILE).read_text(encoding="utf-8"))).get(key))
        return list(dict.fromkeys(str(_mapping(entry).get("host")) for entry in _mapping(job.get("failures")).values()))
    return []


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield all jobs, one process at a time, and write them where they changed."""
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
    """Take a lock that is held for moments only. Raise BlockingIOError if it is not to be had in a second: no run hangs on it."""
    for _ in range(50):
        with contextlib.suppress(BlockingIOError):
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(0.02)
    raise BlockingIOError


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}
