"""Rebuilds a lost history from what nodes hold. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...module_utils.system.errors import InvalidInput
from ...module_utils.tree.stamps import earliest_moment
from .record import REBUILT, standing_of
from .store import Record

_LISTED = ("node", "source", "role", "category", "name", "stamp", "size", "state")
LOST = "failures and durations of those nights are lost"


def rebuilt(listed: Iterable[Mapping[str, Any]], timezone: str, known: Iterable[str] = ()) -> list[Record]:
    """Return a record for each stamp of the tarballs in `listed`, as list.yml writes them, except the stamps in `known`.

    A record describes each item with a copy under its stamp at that time; present holds and proofs are in the last record. `timezone` is
    the zone of the stamps.
    """
    stamps: dict[str, dict[tuple[str, ...], list[Mapping[str, Any]]]] = {}
    for entry in listed:
        if all(name in entry for name in _LISTED) and entry["state"] in ("verified", "suspect"):
            place = tuple(str(entry[name]) for name in ("node", "source", "role", "category", "name"))
            stamps.setdefault(str(entry["stamp"]), {}).setdefault(place, []).append(entry)
    return [_record(stamp, timezone, stamps[stamp]) for stamp in sorted(set(stamps) - set(known))]


def _record(stamp: str, timezone: str, items: Mapping[tuple[str, ...], list[Mapping[str, Any]]]) -> Record:
    try:
        moment = earliest_moment(stamp, timezone)
    except InvalidInput:
        moment = 0.0
    names = ("node", "source", "role", "category", "name")
    copies = [{**dict(zip(names, place, strict=True)), **standing_of(several)} for place, several in items.items()]
    trees = {place[:3]: None for place in items}
    run = {
        "token": f"rebuilt {stamp}",
        "stamp": stamp,
        "timezone": timezone,
        "playbook": "backup.yml",
        "started": moment,
        "state": REBUILT,
        "message": LOST,
        "rebuilt": 1,
    }
    return Record(run, [dict(zip(names[:3], place, strict=True)) for place in trees], copies)
