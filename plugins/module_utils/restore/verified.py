"""The tarballs of a restore, verified against their dna and the record of their dump."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

from ..system.digest import CHUNK, DIGEST_LENGTHS, open_plain
from ..system.errors import AltbackupError, DigestMismatch, InvalidInput
from ..system.opened import is_trusted, walked
from ..system.processes import Deadline
from ..tree.layout import open_tree, plain_status, read_state
from ..tree.locks import Run, unclaimed
from ..tree.publish import verify
from ..tree.sidecar import Dna
from .order import Archive, Order
from .work_folder import Work


@contextlib.contextmanager
def verified_archives(work: Work, order: Order, run: Run | None, deadline: Deadline) -> Iterator[list[str]]:
    """Yield the paths of the verified tarballs; a tree of this node is locked against writers meanwhile. Raise AltbackupError or OSError."""
    with contextlib.ExitStack() as stack:
        if order.base:
            tree = open_tree(order.base)
            stack.enter_context(unclaimed(tree, run))
            paths = [_stable_path(tree.path(archive.relpath), work, deadline) for archive in order.archives]
        else:
            paths = [os.path.join(work.arrived, archive.filename) for archive in order.archives]
        for path, archive in zip(paths, order.archives):
            verify_archive(path, archive, tree.path(archive.relpath) if order.base else "")
            verify_recorded(path, archive, order.record)
        yield paths


def _stable_path(path: str, work: Work, deadline: Deadline) -> str:
    """Return the path of a tarball, or of a private copy of it if others could change it between verification and use."""
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


def verify_archive(path: str, archive: Archive, stored: str) -> None:
    """Raise AltbackupError unless a tarball matches its dna; `stored` is its path in a tree, whose sidecar must still say the same."""
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


def verify_recorded(path: str, archive: Archive, record: Mapping[str, Any]) -> None:
    """Raise AltbackupError unless a tarball matches its dump's record: a dna may have been rewritten for other bytes."""
    if record.get("relpath") != archive.relpath:
        return
    try:
        recorded = Dna(str(record["dig"]), int(record["size"]), str(record["alg"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        return
    if recorded.alg in DIGEST_LENGTHS and not recorded.same_content(archive.dna):
        try:
            verify(path, recorded)
        except DigestMismatch as error:
            raise _unfit(archive, "is not what its dump recorded", error) from error


def _unfit(archive: Archive, what: str, error: DigestMismatch) -> AltbackupError:
    advice = "take it from another node (from), or another stamp (at)"
    return AltbackupError(f"{archive.relpath} {what}, so nothing was restored from it: {advice}: {error}")
