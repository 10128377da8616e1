"""Restore on the destination's host: check, verify, unpack beside the destination, prove, rename.

Only what was proved is placed at the destination, and nothing is lost: what was there stays until the rename, and then keeps its content
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
from .destination import exists_beside, require_place
from .doubtful import marked_path
from .into_server import abandon_into, prepare_into, restore_into
from .order import Order, owner_of, remembered_of, suffixes_beside, tools_for
from .owners import renumber
from .replace import clear, place, placed_by_killed
from .room import require_arriving_space, require_space
from .signed import encrypted_of, unsealed
from .unpacked import MOST_BYTES, names_wanted, sandboxes, unpack_item
from .verified import verify_archive, verify_recorded
from .work_folder import Work, discard, has_leftovers, nearest_folder, working

STAGE = "restore"
_LOOKING = 120.0
"""Seconds to check whether an identity decrypts"""


def prepare(order: Order, *, run: Run | None = None, check_mode: bool = False) -> dict[str, Any]:
    """Check whether an order can be carried out, as far as that is known without its tarballs; return the result.

    Makes the work folder and in it `incoming`, for tarballs of other nodes, unless in check mode. Raise AltbackupError or OSError.
    """
    if order.into:
        return prepare_into(order, check_mode=check_mode)
    result: dict[str, Any] = {"changed": True, "incoming": "", "notes": []}
    if not check_mode and has_leftovers(order.destination):
        with working(order.destination) as work, work.real_paths_in_errors():
            result["notes"] += clear(work)
            discard(work)
    elif has_leftovers(order.destination):
        result["notes"].append(f"would complete or undo what an earlier restore of {order.destination} left")
    done, reason = _is_done(order)
    if done:
        return {**result, **_done_result(order, result["notes"])}
    with _notes_in_errors([*result["notes"], *filter(None, [reason])]):
        _check_destination(order)
        owner_of(order)
        for tool in tools_for(order):
            find_tool(tool)
        result["notes"] += unsealed(order, Deadline(_LOOKING, "restore"))[1]
        with _without_dumps(order, run):
            result.update(require_space(order))
    missing = os.path.dirname(order.destination)
    if nearest_folder(order.destination).missing:
        result["notes"].append(f"{'would make' if check_mode else 'made'} the folder {missing}, which was not there")
    if not check_mode and not order.base:
        with working(order.destination) as work, work.real_paths_in_errors():
            try:
                result["incoming"] = work.clear_arriving()
                require_arriving_space(order, work)
            except BaseException:
                discard(work)
                raise
    return result


def _is_done(order: Order) -> tuple[bool, str]:
    """Return whether an earlier restore of the same order is unchanged at the destination; if not, why an earlier one does not count."""
    known = placed_by_killed(order.destination) if has_leftovers(order.destination) else None
    done, reason = compare(order.destination, remembered_of(order), known or recall(order.destination))
    for suffix in suffixes_beside(order) if done else ():
        if exists_beside(order.destination, suffix):
            return False, f"an earlier restore put it there, but {order.destination}{suffix} was not there then"
    return done, reason


def _done_result(order: Order, notes: Sequence[str] = ()) -> dict[str, Any]:
    note = f"{order.destination} is already restored ({order.title}), and was not changed since: there is nothing to do"
    return {"changed": False, "done": True, "notes": [*notes, note]}


def look(order: Order, deadline: Deadline, *, run: Run | None = None) -> dict[str, Any]:
    """Read the tarballs of an order, which are in a tree of this node, as a restore would, and write nothing.

    Digests are verified, and the member must exist. Raise AltbackupError or OSError.
    """
    start = time.monotonic()
    _, reader, _ = sandboxes(order, deadline)
    tree = open_tree(order.base)
    locked = encrypted_of(order) and not order.identities
    wanted = order.member_path
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
    require_member(order.title, wanted, found, special_modes=order.special_modes, look=order.look)
    notes = [] if order.special_modes else left_out.notes()
    notes += renumber(names_wanted(order, owners), Directory()).notes()
    return {"changed": False, "notes": notes, "seconds": round(time.monotonic() - start, 3)}


@contextlib.contextmanager
def _notes_in_errors(notes: Sequence[str]) -> Iterator[None]:
    """Append notes to an AltbackupError of the block, as they may explain it."""
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
    for suffix in suffixes_beside(order):
        if exists_beside(destination, suffix):
            raise AltbackupError(
                f"{destination}{suffix} is there: the database is in use, or whoever used it last was killed; it would be taken for a part "
                f"of the restored one. Stop what uses it and open it once (sqlite3 {destination} 'PRAGMA wal_checkpoint'), or move it away"
            )


def restore(order: Order, deadline: Deadline, *, run: Run | None = None, show_lines: bool = False) -> dict[str, Any]:
    """Carry out an order that was prepared and whose tarballs arrived; return the result.

    On any error nothing is changed and nothing is left behind. With `show_lines` the result has as `diff` the lines in which a folder
    differs. An order that an earlier restore carried out already is `done`. Raise AltbackupError or OSError.
    """
    if order.into:
        return restore_into(order, deadline, run=run)
    start = time.monotonic()
    if not has_leftovers(order.destination) and _is_done(order)[0]:
        return _done_result(order)
    with working(order.destination) as work, work.real_paths_in_errors(), limited(deadline):
        try:
            notes = clear(work, keep=not order.base)
            done, reason = _is_done(order)
            if done:
                return _done_result(order, notes)
            with _notes_in_errors([reason] if reason else []):
                _check_destination(order)
            result = _restore_in(work, order, deadline, run, show_lines)
        finally:
            discard(work)
    result["notes"] = notes + result["notes"]
    result["seconds"] = round(time.monotonic() - start, 3)
    return result


def abandon(order: Order) -> dict[str, Any]:
    """Remove what was prepared for an order whose tarballs did not arrive."""
    if order.into:
        abandon_into(order)
    elif has_leftovers(order.destination):
        with working(order.destination) as work:
            discard(work)
    return {"changed": False, "notes": []}


def _restore_in(work: Work, order: Order, deadline: Deadline, run: Run | None, show_lines: bool) -> dict[str, Any]:
    order, unsigned = unsealed(order, deadline)
    new, proof, notes = unpack_item(work, order, deadline, run)
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
            # Ansible shows a diff only of a changed result
            return {**result, "changed": show_lines, "refused": _consent_message(order, summarize_differences(found))}
    with _without_dumps(order, run):
        _check_destination(order)  # again: a database may have been opened while the tarballs were unpacked
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
    if not order.member:
        todo = kind_of(order.kind).restored(order.record, order.destination)
        result["notes"] += [f"{order.title}: {note}" for note in todo]
    return result


def _marker(order: Order, marked: str) -> str:
    """Return the marker's text. If there is a marker of another part already, the new one covers all of `marked`."""
    known = read_marker(marked) if marked else None
    other = known is not None and (known["path"] or marked) != order.destination
    path = marked if other else order.destination
    return serialize_marker({**order.origin, "path": path, "member": order.member})


@contextlib.contextmanager
def _without_dumps(order: Order, run: Run | None) -> Iterator[None]:
    """Keep this host's dumps, if it is a source, from running while the block lasts, as they would read a mixture. Raise Locked."""
    with contextlib.ExitStack() as stack:
        if order.live_base:
            try:
                tree = open_tree(order.live_base)
            except BaseUnusable:
                pass  # a new host, without dumps yet
            else:
                stack.enter_context(unclaimed(tree, run))
        yield


def _consent_message(order: Order, summary: str) -> str:
    return (
        f"{order.destination} differs from the backup, and may hold who has access to what: {summary}. Nothing was done. "
        "Look at the lines with --diff, on a terminal, then give --aside (in an entry consent: true) to have it replaced"
    )
