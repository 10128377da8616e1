"""Restoring on the host where the thing is to stand: see whether it can be done, verify, unpack beside the place, prove, rename.

Nothing takes its place unless it was proven, and nothing is lost for it: what stands there stays until the rename, and then
under a dated name.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any

from ..archive.differences import find_differences, summarize_differences, unified_diff
from ..archive.examine import examine
from ..archive.owners import Owners
from ..archive.rules import LeftOut, Limits
from ..archive.unpack import require_member
from ..kinds.registry import kind_of
from ..system.digest import limited
from ..system.errors import AltbackupError, BaseUnusable
from ..system.names import Directory
from ..system.processes import Deadline
from ..system.programs import find_tool
from ..tree.completed import compare, recall
from ..tree.layout import open_tree
from ..tree.locks import Run, unclaimed
from ..tree.restored import read_marker, serialize_marker
from .destination import require_place, stands_beside
from .doubtful import marked_path
from .into_server import abandon_into, prepare_into, restore_into
from .order import Order, endings_beside, owner_of, remembered_of, tools_for
from .owners import renumber
from .replace import clear, left_in_place, place
from .room import require_arriving_space, require_space
from .signed import encrypted_of, unlocked
from .unpacked import MOST_BYTES, make_thing, names_wanted, sandboxes
from .verified import verify_archive, verify_recorded
from .work_folder import Work, discard, is_left, nearest_folder, working

STAGE = "restore"
_LOOKING = 120.0
"""Seconds that it may take to see whether a key fits"""


def prepare(order: Order, *, run: Run | None = None, check_mode: bool = False) -> dict[str, Any]:
    """Given an order, see whether it can be done here, as far as that is known before its tarballs are; return the result.

    Makes the work folder with `incoming`, in which tarballs of other nodes arrive, unless in check mode. Raise AltbackupError or OSError.
    """
    if order.into:
        return prepare_into(order, check_mode=check_mode)
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
        owner_of(order)
        for tool in tools_for(order):
            find_tool(tool)
        result["notes"] += unlocked(order, Deadline(_LOOKING, "restore"))[1]
        with _no_dump(order, run):
            result.update(require_space(order))
    missing = os.path.dirname(order.destination)
    if nearest_folder(order.destination).missing:
        result["notes"].append(f"{'would make' if check_mode else 'made'} the folder {missing}, which was not there")
    if not check_mode and not order.base:
        with working(order.destination) as work, work.named():
            try:
                result["incoming"] = work.clear_arriving()
                require_arriving_space(order, work)
            except BaseException:
                discard(work)
                raise
    return result


def _is_done(order: Order) -> tuple[bool, str]:
    """Return whether what is ordered stands at the destination as a restore put it there; if not, why what one put there does not count."""
    known = left_in_place(order.destination) if is_left(order.destination) else None
    done, reason = compare(order.destination, remembered_of(order), known or recall(order.destination))
    for suffix in endings_beside(order) if done else ():
        if stands_beside(order.destination, suffix):
            return False, f"an earlier restore put it there, but {order.destination}{suffix} was not there then"
    return done, reason


def _done(order: Order, notes: Sequence[str] = ()) -> dict[str, Any]:
    note = f"{order.destination} is already restored ({order.title}), and was not changed since: there is nothing to do"
    return {"changed": False, "done": True, "notes": [*notes, note]}


def look(order: Order, deadline: Deadline, *, run: Run | None = None) -> dict[str, Any]:
    """Given an order whose tarballs are in a tree of this node, see what a restore would find in them; write nothing.

    They are read whole: their bytes, what they hold, and whether the member is among that. Raise AltbackupError or OSError.
    """
    start = time.monotonic()
    _, reader, _ = sandboxes(order, deadline)
    tree = open_tree(order.base)
    locked = encrypted_of(order) and not order.identities
    wanted = order.wanted
    links: set[str] = set()
    found, left_out, owners = "", LeftOut(), Owners()
    with unclaimed(tree, run), limited(deadline):
        for archive in order.archives:
            path = tree.path(archive.relpath)
            verify_archive(path, archive, path)
            verify_recorded(path, archive, order.record)
            if locked:
                continue
            limits = Limits(MOST_BYTES)
            contents = examine(
                path,
                top=order.top,
                limits=limits,
                deadline=deadline,
                sandbox=reader,
                below=links,
                wanted=wanted,
                alone=len(order.archives) == 1,
                identities=order.identities,
            )
            links |= contents.links
            found = contents.found or found
            left_out.add(contents.left_out)
            owners.add(contents.owners)
    if locked:
        seconds = round(time.monotonic() - start, 3)
        return {
            "changed": False,
            "notes": [f"{order.title}: it is encrypted, and no key is here: its bytes alone were read"],
            "seconds": seconds,
        }
    require_member(order.title, wanted, found, special_modes=order.special_modes)
    notes = [] if order.special_modes else left_out.notes()
    notes += renumber(names_wanted(order, owners), Directory()).notes()
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


def _check_destination(order: Order) -> None:
    """Raise AltbackupError if the destination cannot be used."""
    destination = order.destination
    require_place(destination, order.aside)
    for suffix in endings_beside(order):
        if stands_beside(destination, suffix):
            raise AltbackupError(
                f"{destination}{suffix} is there: the database is in use, or whoever used it last was killed; it would be taken for a part "
                f"of the restored one. Stop what uses it and open it once (sqlite3 {destination} 'PRAGMA wal_checkpoint'), or move it away"
            )


def restore(order: Order, deadline: Deadline, *, run: Run | None = None, show_lines: bool = False) -> dict[str, Any]:
    """Given an order that was prepared and whose tarballs are here, restore it; return the result.

    Whatever fails, nothing is changed and nothing is left behind. With `show_lines` the lines in which a folder differs are
    in the result as `diff`. What a restore of the same order put there is `done`. Raise AltbackupError or OSError.
    """
    if order.into:
        return restore_into(order, deadline, run=run)
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
    if order.into:
        abandon_into(order)
    elif is_left(order.destination):
        with working(order.destination) as work:
            discard(work)
    return {"changed": False, "notes": []}


def _restore_in(work: Work, order: Order, deadline: Deadline, run: Run | None, show_lines: bool) -> dict[str, Any]:
    order, unsigned = unlocked(order, deadline)
    new, proof, notes = make_thing(work, order, deadline, run)
    notes = [*unsigned, *notes]
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
            order=remembered_of(order),
            title=order.title,
        )
    result.update(marked=marked, aside=order.aside if there else "")
    return result


def _marker(order: Order, marked: str) -> str:
    """Return the text of the marker beside something. One that is there and tells of another part makes all of it doubtful."""
    known = read_marker(marked) if marked else None
    other = known is not None and (known["path"] or marked) != order.destination
    path = marked if other else order.destination
    return serialize_marker({**order.origin, "path": path, "member": order.member})


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
