"""Records of nights, as runs leave them, for pages: many or few, good or bad, with names and texts of any kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from ansible_collections.altbackup.core.plugins.plugin_utils.history.store import Record

LAST = datetime(2026, 11, 28, 1, 30, tzinfo=UTC)
"""Start of the last night"""
NOW = LAST.timestamp() + 8 * 3600
GIB = 1 << 30
HOSTILE = (
    "<script>alert(1)</script>",
    "\x1b]0;owned\x07\x1b[31mred",
    "javascript:alert(1)",
    '" onmouseover="alert(1)',
    "'><img src=x onerror=alert(1)>",
    "{{ 7*7 }}{% raw %}",
    "גיבוי-של-הערב \u202egnp.exe",
    "a" * 250,
    "name with spaces & ampersands; $(reboot)",
    "new\nline\ttab",
    "../../etc/passwd",
    "</style></title><!--",
)
"""Names and texts that the owner of a node may write"""


def stamp_of(moment: datetime) -> str:
    """Return the stamp of a time."""
    return moment.strftime("%Y/%m/%d/%H%M%S")


def night(
    back: int,
    items: Sequence[tuple[str, str, str]],
    targets: Sequence[str] = ("cms01",),
    bad: Mapping[tuple[str, str], Mapping[str, Any]] | None = None,
    failed: Sequence[Mapping[str, Any]] = (),
    free: int = 100 * GIB,
    **run: Any,
) -> Record:
    """Return the record of a night so many nights ago; items are (source, category, name).

    `bad` are {(node, name): changed columns of a copy}, `run` changes of the run's columns, `failed` are its failures.
    """
    moment = LAST - timedelta(days=back)
    stamp = stamp_of(moment)
    trees, copies = [], []
    for source in dict.fromkeys(item[0] for item in items):
        for node in (source, *targets):
            role = "source" if node == source else "target"
            place = {"node": node, "source": source, "role": role}
            told = {"base": f"/srv/{node}", "whole": 1, "max_age": 129600.0, "free": free, "held": 3 * GIB}
            trees.append({**place, **told, "sent": 1 << 20 if role == "target" else None})
            for number, (_, category, name) in enumerate(item for item in items if item[0] == source):
                size = (number + 1) * (1 << 20) * (500 - back) // 400
                copy: dict[str, Any] = {**place, "category": category, "name": name, "stamp": stamp, "size": size}
                copy |= {"suspect": "", "holds": "", "checked": 1}
                if role == "source":
                    copy |= {"dumped": 1, "bytes": 3 * size, "seconds": 1.0 + number % 7}
                else:
                    copy |= {"sent": size}
                if back % 9 == number % 9:
                    copy["proved"] = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
                copies.append({**copy, **(bad or {}).get((node, name), {})})
    told_run = {
        "token": f"night {back}",
        "stamp": stamp,
        "playbook": "backup.yml",
        "started": moment.timestamp(),
        "ended": moment.timestamp() + 600 + 7 * (back % 13),
        "state": "good",
        "user": "scm",
        "controller": "hub",
    }
    return Record({**told_run, **run}, trees, copies, list(failed))


def site(nights: int, items: int, targets: Sequence[str] = ("cms01", "cms02")) -> list[Record]:
    """Return the records of a site with so many nights and items that is mostly well, with a failure, a suspect and a hold."""
    names = [
        ("dayabay" if number % 3 else "ihep", ("svn", "tracs", "git", "folders")[number % 4], f"item{number:03}")
        for number in range(items)
    ]
    found = []
    for back in reversed(range(nights)):
        bad: dict[tuple[str, str], dict[str, Any]] = {}
        failures = []
        if names and back in (0, 1, 2, 17, 40):
            source, category, name = names[-1]
            reason = "rsync: connection unexpectedly closed (0 bytes received so far), password=hunter2 was given"
            bad["cms01", name] = {"stamp": stamp_of(LAST - timedelta(days=max(back, 3))), "problem": reason}
            failures = [
                {
                    "node": source,
                    "tree": f"{source} -> cms01",
                    "stage": "synchronize",
                    "category": category,
                    "name": name,
                    "reason": reason,
                }
            ]
        if len(names) > 1 and back == 0:
            older = stamp_of(LAST - timedelta(days=1))
            bad[names[0][0], names[0][2]] = {"suspect": "it has 12 files, and had 480", "stamp": older, "holds": older}
        told = {"state": "failed", "failures": len(failures), "message": failures[0]["reason"]} if failures else {}
        found.append(night(back, names, targets, bad, failures, 100 * GIB + back * 3 * GIB, **told))
    return found
