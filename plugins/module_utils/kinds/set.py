"""Kind `set`: the list of what was copied of one application at one point in time. The members are items of their own."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..archive.write import Part
from ..system.errors import AltbackupError
from ..system.units import first_of
from ..tree.encryption import shared
from ..tree.incomplete import missing_of
from ..tree.layout import is_relpath
from ..tree.suspects import doubts_of
from .base import Arrangement, Context, Kind, Snapshot, Verdict, scratch_folder, walk
from .items import Item
from .sets import DUMPED

if TYPE_CHECKING:
    from .proofs import Proof

FILE = "members.json"
_MOST = 1 << 20
_SHOWN = 5


def check(item: Item, context: Context) -> None:
    """Nothing has to be there but its members, which are checked by themselves."""


def arrange(item: Item, context: Context) -> Arrangement:
    """Return what is known of the members' tarballs, which the dumps just before this one made or found unchanged."""
    members, doubts, partial = [], [], []
    for tarball in context.known.get(DUMPED, ()):
        key = f"{tarball['category']}/{tarball['name']}"
        members.append({name: tarball[name] for name in ("category", "name", "relpath")})
        record = shared(tarball.get("record", {}))  # the list may be readable where the member is not
        doubts += [f"its member {key} is suspect: {doubt}" for doubt in doubts_of(record)]
        partial += [f"its member {key} is not whole: {reason}" for reason in missing_of(record)]
    known = {"members": members, "doubts": doubts, "partial": partial}
    return Arrangement(os.geteuid(), [], scratch=[scratch_folder(context, item)], known=known)


@contextlib.contextmanager
def copy(item: Item, context: Context) -> Iterator[Snapshot]:
    """Write the list of the set's members and yield that. Raise AltbackupError where one is not there."""
    members = context.known["members"]
    there = {f"{entry['category']}/{entry['name']}" for entry in members}
    lacking = [key for key in item.option("members") if key not in there]
    if lacking:
        raise AltbackupError(
            f"item set {item.name!r}: of its members {first_of(lacking, _SHOWN)} there is no copy of this run, so its list is not stored"
        )
    folder = scratch_folder(context, item)
    with open(os.path.join(folder, FILE), "w", encoding="utf-8") as stream:
        stream.write(json.dumps({"members": members}, indent=1, sort_keys=True) + "\n")
    record: dict[str, Any] = {"members": [entry["relpath"] for entry in members], "measures": {"members": len(members)}}
    record["doubts"] = list(context.known["doubts"])
    yield Snapshot(
        [Part(folder, list(walk(folder)[0]))],
        record,
        fixed_times=True,
        examine=lambda _asked: Verdict(failures=list(context.known["partial"])),
    )


def prove(proof: Proof) -> None:
    """It names tarballs, and those that its dump recorded."""
    with open(proof.plain(FILE), "rb") as stream:
        text = stream.read(_MOST)
    try:
        found = [str(entry["relpath"]) for entry in json.loads(text)["members"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise proof.fail(f"{FILE} is no list of members: {type(error).__name__}") from error
    odd = [relpath for relpath in found if not is_relpath(relpath)]
    if odd or not found:
        raise proof.fail(
            f"{FILE} names what is no tarball: {first_of(odd, _SHOWN)}" if odd else f"{FILE} names nothing"
        )
    proof.compare("members", found)
    proof.notes.append("the list of a set was proved; its members are proved by themselves")


KIND = Kind(check, copy, arrange, prove)
