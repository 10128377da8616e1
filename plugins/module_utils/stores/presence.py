"""Whether a store is there, and is the one that it was: its id lies in it, in `.altbackup/store.json`.

A disk has to be marked by its user, with the folder `.altbackup`, so that an empty mount point is not taken for it. Disks that take turns have the name
of one store, and an id each.
"""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from dataclasses import dataclass, field

from ..system.errors import AltbackupError, BaseUnusable, NotMounted
from ..system.seeing import is_folder
from ..system.units import first_of
from ..system.visible import one_line
from ..tree.layout import MARKER, Tree
from ..tree.publish import write_text
from ..tree.stamps import Moment, parse_stamp
from .known import folder_of, is_id, seen_at
from .remote import Missing, Remote

IDENTITY = f"{MARKER}/store.json"


@dataclass(frozen=True)
class Presence:
    """The store that is there now."""

    id: str
    is_new: bool = False
    notes: list[str] = field(default_factory=list)


def find(remote: Remote, tree: Tree, *, adopted: bool, check_mode: bool) -> Presence:
    """Return what is there of a store, and give it an id if it has none; `tree` is the one that fills it. Raise NotMounted where a disk is away,
    BaseUnusable where it is another one, AltbackupError where that cannot be known."""
    store = remote.store
    require_there(remote)
    known = seen_at(tree, store.name)
    try:
        told = json.loads(remote.content(IDENTITY))
        id, name = told["id"], told["store"]
        if not is_id(id) or not isinstance(name, str):
            raise ValueError
    except Missing:
        return _begin(remote, known, adopted=adopted, check_mode=check_mode)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise BaseUnusable(
            f"{remote.at(IDENTITY)} tells which store it is, but is damaged: look at it; if it is the right one, remove that file"
        ) from None
    if name != store.name:
        raise BaseUnusable(
            f"{remote.at('')} is the store {one_line(name)[:160]}, not {store.name}: nothing was touched. Name another place, or, if the store got "
            f"another name, remove {remote.at(IDENTITY)}"
        )
    if known and id not in known:
        if not store.is_disk and not adopted:
            raise BaseUnusable(_other(remote, id))
        word = f"another disk of the store {store.name} has come: {id[:8]}, beside {', '.join(entry[:8] for entry in known)}"
        return Presence(
            id, True, [word if store.is_disk else f"the store {store.name} is another one from now on: {id[:8]}"]
        )
    return Presence(id, not known)


def _begin(remote: Remote, known: dict[str, str], *, adopted: bool, check_mode: bool) -> Presence:
    """Give a store without an id one."""
    store = remote.store
    if known and not store.is_disk and not adopted:
        raise BaseUnusable(
            f"{remote.at('')} is known as the store {store.name} since before {max(known.values()) or 'now'}, but has lost what tells so: was it emptied, "
            f"or is it another place? Nothing was touched. To fill it anew: -e altbackup_adopt={store.name}"
        )
    if not store.is_disk and not adopted and not remote.is_empty():
        raise BaseUnusable(
            f"{remote.at('')} is to become the store {store.name}, but is not empty: nothing was touched. Name an empty place, or, if what is there is to be "
            f"kept in it: -e altbackup_adopt={store.name}"
        )
    id = secrets.token_hex(16)
    if not check_mode:
        with tempfile.TemporaryDirectory(prefix="altbackup-store-") as folder:
            os.mkdir(os.path.join(folder, MARKER))
            write_text(os.path.join(folder, IDENTITY), json.dumps({"id": id, "store": store.name}) + "\n")
            remote.put(folder, [IDENTITY])
    return Presence(id, True, [f"the store {store.name} begins at {remote.at('')}, as {id[:8]}"])


def _other(remote: Remote, id: str) -> str:
    return (
        f"{remote.at('')} is another store {remote.store.name} ({id[:8]}) than the one that is known: nothing was touched. If it is meant: "
        f"-e altbackup_adopt={remote.store.name}"
    )


def require_there(remote: Remote) -> None:
    """Raise NotMounted for a disk that is away; whether another store is there, its listing tells."""
    store = remote.store
    if store.is_disk and not is_folder(os.path.join(store.remote, MARKER)):
        raise NotMounted(
            f"{store.remote} has no marker {MARKER}/: is the disk of the store {store.name} mounted? "
            f"If it is a new one, mark it once: mkdir -p {os.path.join(store.remote, MARKER)}"
        )


@dataclass(frozen=True)
class Absence:
    """What is away: sentences, each a note as long as that may be, and else a failure."""

    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def absent_disks(tree: Tree, remote: Remote, present: str, moment: Moment) -> Absence:
    """Return notes and failures on the other disks of a store whose disks take turns; `present` is the id of the one that is there."""
    others = {id: seen for id, seen in seen_at(tree, remote.store.name).items() if id != present}
    absence = _absence(remote, others, moment, f"disk {{}} of the store {remote.store.name}")
    forget = f"If it is gone for good, remove what is remembered of it in {folder_of(tree, remote.store.name)}"
    return Absence(absence.notes, [f"{entry}. {forget}" for entry in absence.failures])


def absent_store(tree: Tree, remote: Remote, why: AltbackupError, moment: Moment) -> Absence:
    """Return notes and failures on a store that is not there; `why` tells the reason."""
    known = seen_at(tree, remote.store.name)
    reason = first_of(str(why).splitlines(), 3)
    if not known:
        return Absence(failures=[reason])
    last = {max(known, key=lambda id: known[id]): max(known.values())}
    absence = _absence(remote, last, moment, f"the store {remote.store.name}")
    return Absence(
        [f"{note}: {reason}" for note in absence.notes], [f"{reason} ({entry})" for entry in absence.failures]
    )


def _absence(remote: Remote, seen: dict[str, str], moment: Moment, title: str) -> Absence:
    absence = Absence()
    for id, stamp in seen.items():
        since = (parse_stamp(moment.stamp) - parse_stamp(stamp)).total_seconds() if stamp else float("inf")
        what = f"{title.format(id[:8])} was there last in the run of {stamp or 'a time that is not known'}"
        if remote.store.absent_for and 0 <= since <= remote.store.absent_for:
            absence.notes.append(f"{what}, and may be away for {_days(remote.store.absent_for)} (altbackup_absent_for)")
        else:
            allowed = (
                f"longer ago than the {_days(remote.store.absent_for)} of altbackup_absent_for"
                if remote.store.absent_for
                else "and altbackup_absent_for is not set"
            )
            absence.failures.append(f"{what}, {allowed}")
    return absence


def _days(seconds: float) -> str:
    return (
        f"{seconds / 86400:g}d" if seconds >= 86400 else f"{seconds / 3600:g}h" if seconds >= 3600 else f"{seconds:g}s"
    )
