"""Accept: verify what arrived on a target and give it its final name.

Only the target itself gives a file its final name: it ends the receivers, moves the file out of their reach, reads it again, and renames
it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ..system import progress
from ..system.age import is_encrypted
from ..system.errors import AltbackupError, DigestMismatch
from ..system.mounts import file_system
from ..system.seeing import is_there
from ..system.units import told_apart
from ..system.visible import printable
from ..tree.arrivals import note_coming
from ..tree.contents import CONTENT
from ..tree.failures import failure
from ..tree.layout import Tarball, Tree, describe
from ..tree.locks import Hold
from ..tree.origin import Origin, bind
from ..tree.private import require_no_link
from ..tree.publish import (
    link,
    make_folders,
    point_last,
    prune_empty,
    publish,
    read_record,
    remove_folder,
    remove_if_there,
    temporary_beside,
    verify,
)
from ..tree.rekeyed import put_in_place
from ..tree.scan import scan
from ..tree.stamps import Moment, ahead_reason
from .forced_command import gather
from .offer import BASIS, CARRIED, STAGE, Offer, parse_offers, take_record, tarball_at
from .receivers import end_receivers

_OF_SERVERS = ("nfs", "nfs4", "cifs", "smb3")
"""File systems on which only the server knows who writes"""


def accept(
    hold: Hold,
    tarballs: Sequence[Mapping[str, Any]],
    *,
    moment: Moment,
    fetch: Callable[[str, Sequence[Offer]], int] | None = None,
    retry: bool = False,
    origin: Origin | None = None,
    carried: bool = False,
    rekeyed: bool = False,
) -> dict[str, Any]:
    """Fetch the tarballs if `fetch` is given, verify each, and give it its final name.

    `fetch` brings offers into a folder, returns the bytes on the wire, and raises AltbackupError. Tarballs that were `carried` lie in a
    folder of their own below incoming, by relpath. Each arrival is noted with the stamp of the run at `moment`; a replacement of a rotted
    copy keeps the stamp of that copy's arrival, as does what takes the place of a tarball that was encrypted to others (`rekeyed`).

    Return `tarballs` (those now verified here), `wrong` (with `retry`: those with other bytes, to be sent once more, each with the digest
    found), `wire` (bytes fetched), `notes` and `failures`. Partial arrivals stay for the next run. Files with other bytes are removed, and
    are failures without `retry`. Raise BaseUnusable if the tree holds the copies of another source than `origin`.
    """
    tree = hold.tree
    bind(tree, origin)
    incoming = tree.private_path("incoming")
    require_no_link(tree, incoming)
    result: dict[str, Any] = {"changed": False, "tarballs": [], "wrong": [], "wire": 0, "notes": [], "failures": []}
    wanted = parse_offers(tarballs)
    if fetch is not None:
        try:
            result["wire"] = fetch(incoming, wanted)
        except (AltbackupError, OSError) as error:
            result["failures"].append(failure(STAGE, error))
    result["notes"] += end_receivers(incoming)
    gather(incoming)
    if carried:
        _take_carried(incoming, wanted)
    wrong: dict[str, DigestMismatch] = {}
    stored: dict[str, Tarball] = {}
    for entry, value in zip(wanted, tarballs):
        try:
            if entry.transit_name in wrong:
                raise wrong[entry.transit_name]
            with progress.at_work(printable(entry.relpath)):
                take = replace_one if rekeyed else accept_one
                stored[entry.transit_name] = take(tree, entry, moment, stored.get(entry.transit_name))
            result["tarballs"].append(describe(tree, stored[entry.transit_name], 0.0))
            result["changed"] = True
            point_last(tree, entry.key, entry.stamp, moment)
        except DigestMismatch as error:
            wrong[entry.transit_name] = error
            if retry:
                result["wrong"].append({**value, "wrong": str(error)})
                continue
            first = str(value.get("wrong", ""))
            twice = f"; the first time: {first}" if first else ""
            reason = f"{entry.relpath} arrived {'twice ' if twice else ''}with other bytes and was thrown away: {error}{twice}"
            result["failures"].append(failure(STAGE, reason, relpath=entry.relpath))
        except (AltbackupError, OSError) as error:
            result["failures"].append(failure(STAGE, error, relpath=entry.relpath))
    if not result["wrong"]:
        remove_folder(os.path.join(incoming, BASIS))
        remove_folder(os.path.join(incoming, CARRIED))
        hold.end_transfer()
    return result


def _take_carried(incoming: str, wanted: Sequence[Offer]) -> None:
    """Rename each carried tarball to its transit name; one that is missing did not arrive."""
    for entry in wanted:
        with contextlib.suppress(FileNotFoundError):
            os.replace(os.path.join(incoming, CARRIED, entry.relpath), os.path.join(incoming, entry.transit_name))


def accept_one(tree: Tree, entry: Offer, moment: Moment, stored: Tarball | None = None) -> Tarball:
    """Move one file out of incoming, verify it and publish it. Raise AltbackupError or OSError.

    If the file is not there, link it to a twin: a verified tarball of the item with the same content, or `stored`, which was just stored
    from the same file.
    """
    if moment.is_ahead(entry.stamp):
        raise AltbackupError(f"{ahead_reason(entry.relpath, 0, moment)}. It was not accepted")
    final = tree.path(entry.relpath)
    arrived = os.path.join(tree.private_path("incoming"), entry.transit_name)
    if not is_there(arrived):
        twin = _twin(tree, entry) or stored
        if twin is None:
            raise AltbackupError(f"{entry.relpath} did not arrive on this target")
        take_record(tree, entry)
        note_coming(tree, entry.relpath, entry.dna, moment.stamp)
        link(tree, twin, entry.relpath, entry.dna)
        return tarball_at(tree, entry)
    size = os.lstat(arrived).st_size
    if size < entry.dna.size:
        came, whole = told_apart(size, entry.dna.size)
        raise AltbackupError(f"{entry.relpath} arrived in part: {came} of {whole}; the next run goes on from there")
    make_folders(os.path.dirname(final), tree.base)
    temporary = temporary_beside(final)
    try:
        _move_out(arrived, temporary, entry)
        _publish_or_give_back(tree, entry, temporary, arrived, moment)
    finally:
        prune_empty(os.path.dirname(final), tree.base)
    return tarball_at(tree, entry)


def replace_one(tree: Tree, entry: Offer, moment: Moment, stored: Tarball | None = None) -> Tarball:
    """Put one file that arrived in the place of a tarball that is the same, encrypted to others; return it. Raise AltbackupError or OSError.

    Its arrival stays that of before. If the file is not there, `stored` is what was just stored from the same file.
    """
    final = tree.path(entry.relpath)
    if not is_there(final):
        return accept_one(tree, entry, moment, stored)
    known = read_record(tree, entry.key, entry.stamp)
    if not known.get(CONTENT) or known.get(CONTENT) != entry.record.get(CONTENT) or not is_encrypted(entry.relpath):
        raise AltbackupError(
            f"{entry.relpath} holds something else here, by the record of its dump: it was not replaced"
        )
    arrived = os.path.join(tree.private_path("incoming"), entry.transit_name)
    twin = tree.path(stored.relpath) if stored else ""
    if not twin:
        if not is_there(arrived):
            raise AltbackupError(f"{entry.relpath} did not arrive on this target")
        came = temporary_beside(f"{final}.came")
        _move_out(arrived, came, entry)
        try:
            with _unwritten(came):
                verify(came, entry.dna, from_disk=True)
                put_in_place(tree, came, entry.relpath, entry.dna, entry.record)
        finally:
            remove_if_there(came)
    else:
        put_in_place(tree, twin, entry.relpath, entry.dna, entry.record)
    return tarball_at(tree, entry)


def _publish_or_give_back(tree: Tree, entry: Offer, temporary: str, arrived: str, moment: Moment) -> None:
    """Verify a file and publish it. Raise DigestMismatch after removing it, or another error after moving it back to `arrived`."""
    try:
        with _unwritten(temporary):
            take_record(tree, entry)
            note_coming(tree, entry.relpath, entry.dna, moment.stamp)
            publish(tree, temporary, entry.relpath, entry.dna)
    except DigestMismatch:
        remove_if_there(temporary)
        raise
    except BaseException:  # such as a full disk: keep what arrived, so that it is not sent again
        with contextlib.suppress(FileNotFoundError):
            os.replace(temporary, arrived)
        raise


def _move_out(arrived: str, temporary: str, entry: Offer) -> None:
    """Move an arrived file beside its final name. Raise AltbackupError if that is on another file system, else OSError."""
    try:
        os.replace(arrived, temporary)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        raise AltbackupError(
            f"{entry.relpath} cannot be accepted: {os.path.dirname(temporary)} is not on the file system of {arrived}: "
            "a target's base and all below it have to be on one"
        ) from error


@contextlib.contextmanager
def _unwritten(path: str) -> Iterator[None]:
    """Ensure that nobody writes to a file while the block lasts. Raise AltbackupError if a process has it open for writing.

    A read lease of the kernel tells, where the file system supports leases; elsewhere only the receivers that this user could see were
    ended. A network file system refuses a lease unless its server grants one, although nobody writes; there a refusal is ignored.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        try:
            fcntl.fcntl(
                descriptor, fcntl.F_SETSIG, signal.SIGURG
            )  # the default signal would end this process when another one opens the file for writing
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except OSError as error:
            if error.errno == errno.EAGAIN and file_system(path) not in _OF_SERVERS:
                raise AltbackupError(
                    f"{path} is open for writing in another process, so it cannot be vouched for"
                ) from error
        yield
    finally:
        os.close(descriptor)


def _twin(tree: Tree, entry: Offer) -> Tarball | None:
    """Return the newest verified tarball of the same item and content: one file is sent for both."""
    found = scan(tree, keys={entry.key}, tolerate_unreadable=True).verified()
    same = [tarball for tarball in found if tarball.dna and tarball.dna.same_content(entry.dna)]
    return max(same, key=lambda tarball: tarball.stamp, default=None)
