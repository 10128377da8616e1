"""Restoring on the host where the thing is to stand: see whether it can be done, verify, unpack beside the place, prove, rename.

Nothing takes its place unless it was proven, and nothing is lost for it: what stands there stays until the rename, and then
under a dated name.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..archive.differences import find_differences, summarize_differences, unified_diff
from ..archive.owners import Owners
from ..archive.unpack import (
    DECOMPRESSORS,
    LeftOut,
    Limits,
    Special,
    TooLarge,
    clean_member,
    examine,
    require_member,
    unpack,
)
from ..kinds.base import BESIDE_A_DATABASE
from ..kinds.items import decode_name
from ..kinds.proofs import prove
from ..kinds.registry import KINDS, kind_of
from ..system.digest import CHUNK, DIGEST_LENGTHS, limited, open_plain
from ..system.errors import AltbackupError, BaseUnusable, DigestMismatch, InvalidInput
from ..system.names import Directory, Names
from ..system.opened import is_trusted, walked
from ..system.processes import Deadline, find_tool
from ..system.sandbox import Sandbox, for_unpacking, is_allowed
from ..system.units import readable, told_apart
from ..system.values import nearest
from ..system.visible import one_line, printable
from ..tree.completed import compare, recall
from ..tree.layout import open_tree, parse_filename, plain_status, read_state, split_relpath
from ..tree.locks import Run, unclaimed
from ..tree.publish import verify
from ..tree.restored import read_marker, serialize_marker
from ..tree.sidecar import Dna
from ..tree.stamps import parse_stamp
from .doubtful import marked_path
from .owners import all_below, change_owner, renumber, take_names
from .replace import (
    Work,
    clear,
    discard,
    is_left,
    left_in_place,
    nearest_folder,
    place,
    require_place,
    stands_beside,
    working,
)

STAGE = "restore"
REPLACE = ("refuse", "move_aside")
_MOST_BYTES = 1 << 62
_SELINUX = "security.selinux"


@dataclass(frozen=True)
class Archive:
    """A tarball to restore from: where it lies below its base, and what its bytes must be."""

    relpath: str
    dna: Dna

    @property
    def filename(self) -> str:
        """Its file name."""
        return self.relpath.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Order:
    """What is to be restored to where, and how."""

    destination: str
    kind: str
    archives: tuple[Archive, ...]
    """The full one, then the differential, if there is one"""
    origin: Mapping[str, Any]
    """What the marker tells: source, item, stamp, dig, node, host, when, by"""
    base: str = ""
    """The tree that holds the tarballs if that is on this node; empty if they arrive in the work folder"""
    live_base: str = ""
    """Where this host's own dumps go, if it is a source"""
    live_items: tuple[Mapping[str, Any], ...] = ()
    """What is backed up on this host: mappings of kind and path"""
    live_discover: Mapping[str, str] = field(default_factory=dict)
    """{kind: folder} in which such things are discovered"""
    record: Mapping[str, Any] = field(default_factory=dict)
    member: str = ""
    replace: str = "refuse"
    aside: str = ""
    """The path for what stands at the destination"""
    consent: bool = False
    special_modes: bool = False
    numeric: bool = False
    """Whether owners have the numbers of the archive, whatever names it has"""
    owner: str = ""
    group: str = ""
    mode: str = ""
    selinux: str = ""
    proof_user: str = "nobody"

    @property
    def top(self) -> str:
        """The top folder in the tarballs: that of the full one."""
        _, name, _, filename = split_relpath(self.archives[0].relpath)
        _, extension = parse_filename(filename, name) or (None, "")
        return filename[: -len(extension)]

    @property
    def wanted(self) -> str:
        """The member's path in the tarball: as in names of items, %XX is a byte. Raise InvalidInput."""
        return clean_member(decode_name(self.member), self.top)

    @property
    def title(self) -> str:
        """What it is, for people."""
        part = f"{one_line(self.member)} of " if self.member else ""
        return f"{part}{self.origin.get('item')} of {self.origin.get('source')}, {self.origin.get('stamp')}, from {self.origin.get('node')}"


def parse_order(values: Mapping[str, Any], stamp: str) -> Order:
    """Given an order as the module takes it and the run's stamp, return it. Raise InvalidInput."""
    destination = str(values["destination"])
    if not os.path.isabs(destination) or os.path.normpath(destination) != destination or destination == "/":
        raise InvalidInput(f"destination {destination!r} is not a plain absolute path")
    for kind in (values["kind"], *(item["kind"] for item in values.get("live_items") or ())):
        if kind not in KINDS:
            raise InvalidInput(f"unknown kind {kind!r}, {nearest(str(kind), tuple(KINDS))}")
    parse_stamp(stamp)
    archives = []
    for entry in values["tarballs"]:
        relpath = str(entry.get("relpath", ""))
        split_relpath(relpath)
        archives.append(Archive(relpath, Dna(str(entry["dig"]), int(entry["size"]), str(entry["alg"]))))
    if not 1 <= len(archives) <= 2:
        raise InvalidInput("a restore takes one tarball, or a full one and its differential")
    names = ("base", "live_base", "member", "replace", "owner", "group", "mode", "selinux")
    texts = {name: str(values.get(name) or "") for name in names}
    flags = {name: bool(values.get(name)) for name in ("consent", "special_modes", "numeric")}
    aside = f"{destination}.{re.sub('/', '', stamp[:10])}-{stamp[11:]}"
    return Order(
        destination,
        str(values["kind"]),
        tuple(archives),
        values.get("origin") or {},
        record=values.get("record") or {},
        proof_user=str(values.get("proof_user") or "nobody"),
        aside=aside if texts["replace"] == "move_aside" else "",
        live_items=tuple(
            {"kind": str(item["kind"]), "path": str(item["path"])} for item in values.get("live_items") or ()
        ),
        live_discover={str(kind): str(folder) for kind, folder in (values.get("live_discover") or {}).items()},
        **texts,  # type: ignore[arg-type]
        **flags,  # type: ignore[arg-type]
    )


def prepare(order: Order, *, run: Run | None = None, check_mode: bool = False) -> dict[str, Any]:
    """Given an order, see whether it can be done here, as far as that is known before its tarballs are; return the result.

    Makes the work folder with `incoming`, in which tarballs of other nodes arrive, unless in check mode. Raise AltbackupError or OSError.
    """
    result: dict[str, Any] = {"changed": True, "incoming": "", "notes": []}
    if not check_mode and is_left(order.destination):
        with working(order.destination) as work, work.named():
            result["notes"] += clear(work)
            discard(work)
    elif is_left(order.destination):
        result["notes"].append(f"would see to what an earlier restore of {order.destination} had left")
    done, reason = _is_done(order)
    if done:
        return {**result, **_done(order, result["notes"])}
    with _told_with([*result["notes"], *filter(None, [reason])]):
        _check_destination(order)
        _owner_of(order)
        for tool in _tools(order):
            find_tool(tool)
        with _no_dump(order, run):
            result.update(_require_space(order))
    missing = os.path.dirname(order.destination)
    if nearest_folder(order.destination).missing:
        result["notes"].append(f"{'would make' if check_mode else 'made'} the folder {missing}, which was not there")
    if not check_mode and not order.base:
        with working(order.destination) as work, work.named():
            try:
                result["incoming"] = work.clear_arriving()
                _require_arriving_space(order, work)
            except BaseException:
                discard(work)
                raise
    return result


def _is_done(order: Order) -> tuple[bool, str]:
    """Return whether what is ordered stands at the destination as a restore put it there; if not, why what one put there does not count."""
    known = left_in_place(order.destination) if is_left(order.destination) else None
    done, reason = compare(order.destination, _remembered(order), known or recall(order.destination))
    for suffix in _beside(order) if done else ():
        if stands_beside(order.destination, suffix):
            return False, f"an earlier restore put it there, but {order.destination}{suffix} was not there then"
    return done, reason


def _remembered(order: Order) -> dict[str, Any]:
    """Return what makes one order of a destination another one, as plain JSON values."""
    return {
        "source": str(order.origin.get("source", "")),
        "kind": order.kind,
        "tarball": [
            [archive.relpath, archive.dna.alg, archive.dna.dig, archive.dna.size] for archive in order.archives
        ],
        "member": order.wanted,
        "owner or group": list(_owner_of(order)),
        "mode": order.mode,
        "selinux": order.selinux,
        "special_modes": order.special_modes,
        "numeric": order.numeric or None,
    }


def _done(order: Order, notes: Sequence[str] = ()) -> dict[str, Any]:
    note = f"{order.destination} is already restored ({order.title}), and was not changed since: there is nothing to do"
    return {"changed": False, "done": True, "notes": [*notes, note]}


def look(order: Order, deadline: Deadline, *, run: Run | None = None) -> dict[str, Any]:
    """Given an order whose tarballs are in a tree of this node, see what a restore would find in them; write nothing.

    They are read whole: their bytes, what they hold, and whether the member is among that. Raise AltbackupError or OSError.
    """
    start = time.monotonic()
    _, reader, _ = _sandboxes(order, deadline)
    tree = open_tree(order.base)
    wanted = order.wanted
    links: set[str] = set()
    found, left_out, owners = "", LeftOut(), Owners()
    with unclaimed(tree, run), limited(deadline):
        for archive in order.archives:
            path = tree.path(archive.relpath)
            _verify(path, archive, path)
            _verify_recorded(path, archive, order.record)
            limits = Limits(_MOST_BYTES)
            contents = examine(
                path,
                top=order.top,
                limits=limits,
                deadline=deadline,
                sandbox=reader,
                below=links,
                wanted=wanted,
                alone=len(order.archives) == 1,
            )
            links |= contents.links
            found = contents.found or found
            left_out.add(contents.left_out)
            owners.add(contents.owners)
    require_member(order.title, wanted, found, special_modes=order.special_modes)
    notes = [] if order.special_modes else left_out.notes()
    notes += renumber(_names_wanted(order, owners), Directory()).notes()
    return {"changed": False, "notes": notes, "seconds": round(time.monotonic() - start, 3)}


@contextlib.contextmanager
def _told_with(notes: Sequence[str]) -> Iterator[None]:
    """Let an error that the block meets tell, too, what was found before: it may be the reason. Raise AltbackupError."""
    try:
        yield
    except AltbackupError as error:
        if not notes:
            raise
        raise AltbackupError(f"{error} ({'; '.join(notes)})") from error


def _tools(order: Order) -> list[str]:
    """Return the programs that the restore of an order needs, rather than find that one is missing when the tarball is here."""
    endings = [os.path.splitext(archive.filename)[1] for archive in order.archives]
    decompressors = [DECOMPRESSORS[ending] for ending in endings if ending in DECOMPRESSORS]
    return ["tar", "cp", "sync", *decompressors, *(kind_of(order.kind).tools if not order.member else ())]


def _check_destination(order: Order) -> None:
    """Raise AltbackupError if the destination cannot be used."""
    destination = order.destination
    require_place(destination, order.aside)
    for suffix in _beside(order):
        if stands_beside(destination, suffix):
            raise AltbackupError(
                f"{destination}{suffix} is there: the database is in use, or whoever used it last was killed; it would be taken for a part "
                f"of the restored one. Stop what uses it and open it once (sqlite3 {destination} 'PRAGMA wal_checkpoint'), or move it away"
            )


def _beside(order: Order) -> Sequence[str]:
    """Return the endings of what may not stand beside the destination; a part of a tarball may be a database."""
    return BESIDE_A_DATABASE if order.member else kind_of(order.kind).beside


def _require_space(order: Order) -> dict[str, int]:
    """Return the bytes that are `needed` at least, and `free`. Raise AltbackupError where that is not enough."""
    sizes = sum(archive.dna.size for archive in order.archives)
    needed = sizes + (0 if order.base else sizes)  # the bytes of its files are no measure: they may be sparse
    return _compared(order, needed, "at least ")


def _compared(order: Order, needed: int, about: str = "") -> dict[str, int]:
    there = nearest_folder(order.destination)
    free = there.free
    if needed > free:
        wanted, left = told_apart(needed, free)
        raise AltbackupError(
            f"{about}{wanted} are needed below {there.path} to restore {order.title}, but only {left} are free: nothing was done"
        )
    return {"needed": needed, "free": free}


def _require_arriving_space(order: Order, work: Work) -> None:
    """Raise AltbackupError where the folder in which the tarballs arrive has no room for them."""
    sizes, free = sum(archive.dna.size for archive in order.archives), shutil.disk_usage(work.arrived).free
    if sizes > free:
        wanted, left = told_apart(sizes, free)
        raise AltbackupError(
            f"{wanted} are to arrive in {work.arriving}, since others can write beside {order.destination}, but only {left} are free "
            "there: nothing was done; make room there, or give another path as to"
        )


def restore(order: Order, deadline: Deadline, *, run: Run | None = None, show_lines: bool = False) -> dict[str, Any]:
    """Given an order that was prepared and whose tarballs are here, restore it; return the result.

    Whatever fails, nothing is changed and nothing is left behind. With `show_lines` the lines in which a folder differs are
    in the result as `diff`. What a restore of the same order put there is `done`. Raise AltbackupError or OSError.
    """
    start = time.monotonic()
    if not is_left(order.destination) and _is_done(order)[0]:
        return _done(order)
    with working(order.destination) as work, work.named(), limited(deadline):
        try:
            notes = clear(work, keep=not order.base)
            done, reason = _is_done(order)
            if done:
                return _done(order, notes)
            with _told_with([reason] if reason else []):
                _check_destination(order)
            result = _restore_in(work, order, deadline, run, show_lines)
        finally:
            discard(work)
    result["notes"] = notes + result["notes"]
    result["seconds"] = round(time.monotonic() - start, 3)
    return result


def abandon(order: Order) -> dict[str, Any]:
    """Given an order whose tarballs did not arrive, remove what was prepared for it."""
    if is_left(order.destination):
        with working(order.destination) as work:
            discard(work)
    return {"changed": False, "notes": []}


def _restore_in(work: Work, order: Order, deadline: Deadline, run: Run | None, show_lines: bool) -> dict[str, Any]:
    new, proof, notes = _make(work, order, deadline, run)
    result: dict[str, Any] = {"changed": True, "notes": notes, "proof": proof, "aside": "", "diff": "", "marked": ""}
    there = os.path.lexists(work.place)
    if there and kind_of(order.kind).is_tree:
        found = find_differences(work.place, new)
        if not found:
            return {**result, "changed": False, "notes": [f"{order.destination} is as in the backup: nothing was done"]}
        if show_lines:
            result["diff"] = unified_diff(work.place, new, found)
        if not order.consent:
            # Ansible shows the lines of what is changed alone
            return {**result, "changed": show_lines, "refused": _without_consent(order, summarize_differences(found))}
    with _no_dump(order, run):
        _check_destination(order)  # once more: unpacking took its time, and a database may have been opened since
        marked = marked_path(
            order.destination,
            new,
            member=bool(order.member),
            items=order.live_items,
            discover=order.live_discover,
        )
        result["notes"] += place(
            work,
            new,
            aside=order.aside,
            marker=_marker(order, marked),
            deadline=deadline,
            marked=marked,
            order=_remembered(order),
            title=order.title,
        )
    result.update(marked=marked, aside=order.aside if there else "")
    return result


def _make(work: Work, order: Order, deadline: Deadline, run: Run | None) -> tuple[str, dict[str, Any], list[str]]:
    """Unpack what is ordered into a work folder and prove it; return its path there, its proof, nothing for a part, and notes."""
    keeper, reader, notes = _sandboxes(order, deadline)
    absent: Special = {}
    owners = Owners()
    item = order.origin.get("item")
    proof: dict[str, Any] = {}
    with _verified(work, order, run, deadline) as paths:
        new = _unpack(order, paths, work.folder("unpacked"), deadline, reader, keeper, notes, absent, owners)
    if order.member:
        notes.append(
            f"{item}: a part of a tarball is not proven, only that the tarball is the one that its dna tells of"
        )
    else:
        scratch = work.folder("scratch")
        proof = prove(order.kind, new, order.record, scratch, deadline, Sandbox(order.proof_user), absent)
        notes += [f"{item}: {note}" for note in proof["notes"]]
        new = _thing(order, new)
    renumbering = renumber(_names_wanted(order, owners), Directory())
    notes += take_names(work.descriptor, _below(work, new), renumbering)
    _set_attributes(work, order, new)
    return new, proof, notes


def _names_wanted(order: Order, owners: Owners) -> Names:
    """Return the names that count of those that an archive has: none where owners are not restored, or given, or wanted by number."""
    if os.geteuid() != 0 or order.numeric:
        return Names()
    names = owners.names()
    return Names({} if order.owner else names.users, {} if order.group else names.groups)


def _below(work: Work, path: str) -> bytes:
    """Return a path in a work folder as it is from there."""
    return os.fsencode(os.path.relpath(path, work.path))


def _sandboxes(order: Order, deadline: Deadline) -> tuple[Sandbox | None, Sandbox | None, list[str]]:
    """Return where tar unpacks, and where what is unpacked is read, if programs can be confined, and a note where the kernel does not allow it."""
    keeper = for_unpacking(order.special_modes)
    if is_allowed(keeper, deadline):
        return keeper, Sandbox(order.proof_user), []
    note = "this host's kernel does not allow to confine programs: tar unpacked unconfined, what its own list shows to be what was judged"
    return None, None, [note]


def _marker(order: Order, marked: str) -> str:
    """Return the text of the marker beside something. One that is there and tells of another part makes all of it doubtful."""
    known = read_marker(marked) if marked else None
    other = known is not None and (known["path"] or marked) != order.destination
    path = marked if other else order.destination
    return serialize_marker({**order.origin, "path": path, "member": order.member})


def _unpack(
    order: Order,
    paths: Sequence[str],
    folder: str,
    deadline: Deadline,
    reader: Sandbox | None,
    keeper: Sandbox | None,
    notes: list[str],
    absent: Special,
    owners: Owners,
) -> str:
    """Unpack into an empty folder, with owners (by number) where that is possible, and with modes; return what is wanted of it.

    `notes`, `absent` and `owners` receive what `unpack` tells.
    Raise AltbackupError, before anything is written, where that has no room: holes of sparse files take none.
    """
    part = bool(order.member) and len(paths) == 1
    limits = Limits(_MOST_BYTES if part else nearest_folder(order.destination).free)
    copies = 1 if order.member or kind_of(order.kind).is_tree else 2  # a proof takes a copy of what it looks at
    mask = os.umask(0)
    try:
        with _in_its_room(order, limits.bytes):
            return unpack(
                paths,
                folder,
                top=order.top,
                limits=limits,
                deadline=deadline,
                owners=os.geteuid() == 0,
                special_modes=order.special_modes,
                member=order.wanted,
                sandbox=reader,
                keeper=keeper,
                admit=lambda needed: _require_room(order, needed * copies),
                notes=notes,
                absent=absent,
                found_owners=owners,
                title=order.title,
            )
    finally:
        os.umask(mask)


def _require_room(order: Order, needed: int) -> None:
    _compared(order, needed)


@contextlib.contextmanager
def _in_its_room(order: Order, free: int) -> Iterator[None]:
    """Let what the block finds too large tell where it has no room. Raise AltbackupError."""
    try:
        yield
    except TooLarge as error:
        there = nearest_folder(order.destination).path
        raise AltbackupError(
            f"more than {readable(free)} are needed below {there} to restore {order.title}, but only that is free: nothing was done"
        ) from error


@contextlib.contextmanager
def _no_dump(order: Order, run: Run | None) -> Iterator[None]:
    """Keep the dumps of this host, if it is a source, away while the block lasts: they would read the old and the new thing. Raise Locked."""
    with contextlib.ExitStack() as stack:
        if order.live_base:
            try:
                tree = open_tree(order.live_base)
            except BaseUnusable:
                pass  # a new host, on which nothing is dumped yet
            else:
                stack.enter_context(unclaimed(tree, run))
        yield


def _without_consent(order: Order, summary: str) -> str:
    return (
        f"{order.destination} differs from the backup, and may hold who has access to what: {summary}. Nothing was done. "
        "Look at the lines with --diff, on a terminal, then give the entry consent: true to have it replaced"
    )


@contextlib.contextmanager
def _verified(work: Work, order: Order, run: Run | None, deadline: Deadline) -> Iterator[list[str]]:
    """Yield the paths of the tarballs, each read and found as its dna says; those of a tree of this node while nobody writes to it."""
    with contextlib.ExitStack() as stack:
        if order.base:
            tree = open_tree(order.base)
            stack.enter_context(unclaimed(tree, run))
            paths = [_unchanging(tree.path(archive.relpath), work, deadline) for archive in order.archives]
        else:
            paths = [os.path.join(work.arrived, archive.filename) for archive in order.archives]
        for path, archive in zip(paths, order.archives):
            _verify(path, archive, tree.path(archive.relpath) if order.base else "")
            _verify_recorded(path, archive, order.record)
        yield paths


def _unchanging(path: str, work: Work, deadline: Deadline) -> str:
    """Given a tarball, return its path, or that of a private copy where others could change it between its proof and its use."""
    with contextlib.suppress(InvalidInput, OSError), walked(os.path.dirname(path)) as (steps, missing):
        name = os.path.basename(path)
        if (
            not missing
            and steps[-1].own
            and is_trusted(os.lstat(f"/proc/self/fd/{steps[-1].descriptor}/{name}").st_uid)
        ):
            return path
    if plain_status(path) is None:
        return path
    copy = os.path.join(work.arrived, os.path.basename(path))
    os.makedirs(work.arrived, 0o700, exist_ok=True)
    with open_plain(path) as source, open(copy, "xb") as stream:
        while block := source.read(CHUNK):
            stream.write(block)
            deadline.remaining()
    return copy


def _verify(path: str, archive: Archive, stored: str) -> None:
    """Raise AltbackupError unless a tarball is as its dna says, which stands beside it still where it is `stored`, if that is in a tree."""
    status = plain_status(path)
    if status is None:
        raise AltbackupError(f"{path} is not there, or no plain file: nothing was restored")
    if stored:
        dna, problem, state = read_state(stored, status.st_size)
        if state != "verified" or dna is None or not dna.same_content(archive.dna):
            raise AltbackupError(f"{stored} {problem or 'is no longer the one that was chosen'}: nothing was restored")
    try:
        verify(path, archive.dna, from_disk=True)
    except DigestMismatch as error:
        raise _unfit(archive, "does not match its dna", error) from error


def _verify_recorded(path: str, archive: Archive, record: Mapping[str, Any]) -> None:
    """Raise AltbackupError unless a tarball is the one that its dump recorded: a dna may have been written anew over other bytes."""
    if record.get("relpath") != archive.relpath:
        return
    try:
        recorded = Dna(str(record["dig"]), int(record["size"]), str(record["alg"]))
    except (KeyError, TypeError, ValueError):
        return
    if recorded.alg in DIGEST_LENGTHS and not recorded.same_content(archive.dna):
        try:
            verify(path, recorded)
        except DigestMismatch as error:
            raise _unfit(archive, "is not what its dump recorded", error) from error


def _unfit(archive: Archive, what: str, error: DigestMismatch) -> AltbackupError:
    advice = "take it from another node (from), or another stamp (at)"
    return AltbackupError(f"{archive.relpath} {what}, so nothing was restored from it: {advice}: {error}")


def _thing(order: Order, top: str) -> str:
    """Given the unpacked top folder, return what is to stand at the destination. Raise AltbackupError.

    That is the folder itself, the one file in it, or, where the destination is a thing's own folder (`.git`), the one in it.
    """
    kind = kind_of(order.kind)
    own = os.path.join(top, kind.inner)
    if kind.inner and os.path.basename(order.destination) == kind.inner and os.listdir(top) == [kind.inner]:
        return own if os.path.isdir(own) and not os.path.islink(own) else top
    if not kind.is_file:
        return top
    names = os.listdir(top)
    path = os.path.join(top, names[0]) if len(names) == 1 else ""
    if plain_status(path) is None:
        raise AltbackupError(
            f"{order.title} holds {len(names)} entries where one database file was expected: nothing was restored"
        )
    return path


def _owner_of(order: Order) -> tuple[int, int]:
    """Return (uid, gid) to give, -1 for as archived. Raise InvalidInput for names that this node does not know."""
    return (
        _number(order.owner, "owner", lambda name: pwd.getpwnam(name).pw_uid),
        _number(order.group, "group", lambda name: grp.getgrnam(name).gr_gid),
    )


def _number(name: str, what: str, look_up: Any) -> int:
    if not name:
        return -1
    if re.fullmatch(r"\d{1,10}", name, re.ASCII):
        return int(name)
    try:
        return int(look_up(name))
    except KeyError:
        raise InvalidInput(f"{what} {name!r} is not known on this node: make it first, or give its number") from None


def _set_attributes(work: Work, order: Order, root: str) -> None:
    """Give what was unpacked its owner, group, label and mode: the mode to the top alone, the others to all of it.

    No link is followed, and no path looked up that others could change meanwhile.
    """
    uid, gid = _owner_of(order)
    top = _below(work, root)
    if (uid, gid) != (-1, -1) or order.selinux:
        for folder, name in all_below(work.descriptor, top):
            if (uid, gid) != (-1, -1):
                change_owner(folder, name, uid, gid)
            if order.selinux:
                _set_label(folder, name, order.selinux)
    if order.mode:
        if os.path.islink(root):
            raise InvalidInput(f"mode {order.mode} cannot be given: what was restored is a link")
        os.chmod(top, int(order.mode, 8), dir_fd=work.descriptor)


def _set_label(folder: int, name: bytes, label: str) -> None:
    path = b"/proc/self/fd/%d/%s" % (folder, name)
    try:
        os.setxattr(path, _SELINUX, label.encode() + b"\0", follow_symlinks=False)
    except OSError as error:
        reason = f"selinux {label!r} cannot be given to {printable(os.fsdecode(name))}: {error.strerror}"
        raise AltbackupError(f"{reason}: leave it out on a host without SELinux") from error
