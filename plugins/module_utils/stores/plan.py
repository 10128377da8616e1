"""What a store has, and what is to become of it: pure, by what was listed and what is remembered."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from ..system.digest import new_hash
from ..tree.arrivals import behind_ones, late_ones
from ..tree.layout import EXTENSIONS, MARKER, Tarball, is_relpath, split_relpath
from ..tree.marks import Marks
from ..tree.readings import Kept, due_share
from ..tree.retention import Rules, judge
from ..tree.scan import full_of
from ..tree.sidecar import MAX_BYTES, SUFFIX, Dna, serialize
from ..tree.stamps import Moment, parse_stamp
from .known import Copy
from .remote import Object

PUT, FINISH, REPLACE, REPEAT = "put", "finish", "replace", "repeat"
"""What is done for a tarball: put it there; read what a killed run left, and vouch for it if it is good; put it in the place of what is not good; let
the store make it of another one with the same bytes"""


@dataclass(frozen=True)
class View:
    """What lies in a store of one source."""

    copies: Mapping[str, Copy]
    """{relpath: it} of those that are whole by size and sidecar"""
    halves: Mapping[str, int]
    """{relpath: bytes} of those that no sidecar vouches for, which a killed run may have left"""
    damaged: Mapping[str, str]
    """{relpath: what is wrong}"""
    orphans: Sequence[str]
    """Relpaths of tarballs of which the sidecar alone is there"""
    gone: Sequence[str]
    """Relpaths of those that are remembered, and not there, or without their sidecars"""
    strange: Sequence[str]


@dataclass(frozen=True)
class Upload:
    """A tarball that the store lacks, and how it gets there."""

    tarball: Tarball
    way: str
    like: str = ""
    """Relpath of one with the same bytes that the store has"""


@dataclass(frozen=True)
class Held:
    """What the serving node holds, verified, and is known of it."""

    tarballs: Sequence[Tarball]
    suspects: Mapping[str, Sequence[str]] = field(default_factory=dict)
    partial: Collection[str] = ()


def unread_sidecars(
    objects: Iterable[Object], copies: Mapping[str, Copy], digests: Mapping[str, str] | None = None
) -> list[str]:
    """Return the sidecars (paths as listed) that have to be read to know what the store has; `copies` is what is remembered, `digests` is
    {path: MD5 that the store has of it}."""
    sizes = {entry.path: entry.size for entry in objects}
    wanted = []
    for path, size in sizes.items():
        relpath = path[: -len(SUFFIX)]
        known = copies.get(relpath)
        if not path.endswith(SUFFIX) or not is_relpath(relpath) or relpath not in sizes or size > MAX_BYTES:
            continue
        if known is None or not _is_of(known.dna, size, (digests or {}).get(path, "")):
            wanted.append(path)
    return sorted(wanted)


def _is_of(dna: Dna, size: int, digest: str) -> bool:
    """Return whether a sidecar of a size, and with an MD5 if that is known, is that of a dna."""
    text = serialize(dna).encode()
    md5 = new_hash("md5")
    md5.update(text)
    return len(text) == size and digest in ("", md5.hexdigest())


def view_of(
    objects: Sequence[Object], copies: Mapping[str, Copy], read: Mapping[str, Dna | str], hidden: Collection[str] = ()
) -> View:
    """Return what the store has; `objects` is what was listed (paths from the folder of the source), `copies` what is remembered, `read` is {sidecar: what
    was read of it, or what is wrong with it}. `hidden` are paths over which somebody put a delete marker."""
    there = {entry.path: entry for entry in objects}
    whole: dict[str, Copy] = {}
    halves: dict[str, int] = {}
    damaged: dict[str, str] = {}
    orphans: list[str] = []
    strange: list[str] = []
    for path, entry in sorted(there.items()):
        if path.endswith(SUFFIX) and is_relpath(path[: -len(SUFFIX)]):
            if path[: -len(SUFFIX)] not in there and path[: -len(SUFFIX)] not in hidden:
                orphans.append(path[: -len(SUFFIX)])
            continue
        if not is_relpath(path) or not path.endswith(EXTENSIONS):
            strange.append(path)
            continue
        if path + SUFFIX not in there:
            if path + SUFFIX not in hidden:
                halves[path] = entry.size
            continue
        known, sidecar = copies.get(path), read.get(path + SUFFIX)
        if isinstance(sidecar, str):
            damaged[path] = sidecar
            continue
        if known is not None and sidecar not in (None, known.dna):
            damaged[path] = f"has a dna of {sidecar.dig if sidecar else ''}, which was {known.dna.dig}"
            continue
        if known is None and sidecar is not None:
            known = Copy(sidecar)
        if there[path + SUFFIX].size > MAX_BYTES:
            damaged[path] = f"has a malformed dna: it has {there[path + SUFFIX].size} bytes"
        elif known is None:
            damaged[path] = "has a dna that could not be read"
        elif known.dna.size != entry.size:
            damaged[path] = f"has {entry.size} bytes, but its dna says {known.dna.size}"
        else:
            whole[path] = known
    seen = {*whole, *damaged, *orphans, *hidden, *(path[: -len(SUFFIX)] for path in hidden)}
    gone = sorted(path for path in copies if path not in seen)
    return View(whole, halves, damaged, orphans, gone, strange)


def as_tarball(relpath: str, copy: Copy) -> Tarball:
    """Return a copy in a store as one that is kept on a disk."""
    category, name, stamp, filename = split_relpath(relpath)
    return Tarball(category, name, stamp, filename, copy.dna.size, (0, 0), 1, copy.dna, "", "verified")


def plan_uploads(
    held: Held,
    view: View,
    rules: Mapping[str, Rules],
    moment: Moment,
    *,
    hidden: Collection[str] = (),
    holds: Mapping[str, str] | None = None,
) -> list[Upload]:
    """Return what of that which the node holds is put into the store, the newest first, but each full tarball before the differential that needs it;
    `rules` is {item: its rules}. What the store's own purge would remove at once is left out, as is what is `hidden` there on purpose."""
    lacking = [
        one
        for one in held.tarballs
        if one.key in rules
        and moment.counts(one.stamp)
        and one.relpath not in view.copies
        and not _is_hidden(one, hidden)
    ]
    wanted: dict[str, Tarball] = {}
    for key in dict.fromkeys(one.key for one in lacking):
        there = [as_tarball(relpath, copy) for relpath, copy in view.copies.items() if relpath.startswith(f"{key}/")]
        coming = [one for one in lacking if one.key == key]
        came = {relpath: copy.came or moment.stamp for relpath, copy in view.copies.items()}
        came.update({one.relpath: moment.stamp for one in coming})
        everything = [one for one in (*there, *coming) if moment.counts(one.stamp)]
        known = {relpath: copy.suspect for relpath, copy in view.copies.items() if copy.suspect}
        reasons = judge(
            everything,
            rules[key],
            now=moment.stamp,
            made_now=[moment.stamp],
            late=late_ones(everything, came),
            behind=behind_ones(everything, came),
            partial={*held.partial, *(relpath for relpath, copy in view.copies.items() if copy.partial)},
            suspects={**known, **held.suspects},
            holds=holds or {},
        )
        wanted.update({one.relpath: one for one in coming if reasons.get(one.relpath)})
    order: dict[str, Tarball] = {}
    for one in sorted(wanted.values(), key=lambda tarball: (tarball.stamp, tarball.relpath), reverse=True):
        full = full_of(one, wanted.values()) if one.dna and one.dna.base else None
        for each in filter(None, (full, one)):
            order.setdefault(each.relpath, each)
    same: dict[Dna, str] = {copy.dna: relpath for relpath, copy in view.copies.items() if not copy.doubted}
    uploads = []
    for one in order.values():
        way = _way(one, view)
        like = same.get(one.dna, "") if one.dna and way in (PUT, REPLACE) else ""
        uploads.append(Upload(one, REPEAT if like and way == PUT else way, like))
        if one.dna:
            same.setdefault(one.dna, one.relpath)
    return uploads


def _is_hidden(tarball: Tarball, hidden: Collection[str]) -> bool:
    return tarball.relpath in hidden or tarball.relpath + SUFFIX in hidden


def _way(tarball: Tarball, view: View) -> str:
    if tarball.relpath in view.halves:
        return FINISH if view.halves[tarball.relpath] == tarball.size else REPLACE
    return REPLACE if tarball.relpath in view.damaged or tarball.relpath in view.orphans else PUT


def differing(held: Held, view: View) -> list[tuple[Tarball, Copy]]:
    """Return what the node holds, and the store has with another content: neither is touched."""
    pairs = [(one, view.copies.get(one.relpath)) for one in held.tarballs]
    return [(one, copy) for one, copy in pairs if copy is not None and one.dna != copy.dna]


def plan_reading(
    copies: Mapping[str, Copy], days: int, moment: Moment, *, good: Collection[str] = (), every: bool = False
) -> list[str]:
    """Return the relpaths of a store's copies that are to be read tonight, that which waits for the longest time first; all are to be read in `days` days,
    but for those of which the store's own digest is `good`. All of them with `every`."""
    if every:
        return sorted({*copies} - {*good}, key=lambda path: (copies[path].read, path))
    rest = [path for path, copy in copies.items() if path not in good and copy.read != moment.stamp]
    if not days:
        return []
    files = {
        relpath: Kept(copy.dna.size, "", "" if moment.is_ahead(copy.read) else copy.read, copy.doubted)
        for relpath, copy in copies.items()
        if relpath not in good
    }
    return [relpath for relpath in due_share(files, days, moment) if relpath in rest]


def overdue(copies: Mapping[str, Copy], days: int, moment: Moment) -> list[str]:
    """Return the relpaths of those that are there for longer than all are to be read in, and were not read since."""
    if not days:
        return []
    since = (parse_stamp(moment.stamp) - timedelta(days=days + 1)).strftime("%Y/%m/%d/%H%M%S")
    return sorted(relpath for relpath, copy in copies.items() if copy.came and copy.came < since and copy.read < since)


def refreshed(copies: Mapping[str, Copy], held: Held, marks: Marks) -> dict[str, Copy]:
    """Return the copies with what is known now of each: whether it is suspect and nobody accepted it, and whole."""
    there = {one.relpath: one for one in held.tarballs}
    found = {}
    for relpath, copy in copies.items():
        one = as_tarball(relpath, copy)
        if relpath in there and there[relpath].dna == copy.dna:
            doubts = tuple(held.suspects.get(relpath, ()))
            found[relpath] = replace(copy, suspect=doubts, partial=relpath in held.partial)
        else:
            found[relpath] = replace(copy, suspect=()) if marks.accepts(one.key, one.stamp) else copy
    return found


def private_path(source: str, kind: str, relpath: str) -> str:
    """Return where a store has what is recorded of a tarball, as a target's base has it."""
    category, name, stamp, _ = split_relpath(relpath)
    return f"{MARKER}/{kind}/{source}/{category}/{name}/{stamp}.json"
