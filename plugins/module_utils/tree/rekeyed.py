"""Tarballs that were encrypted anew take the places of those before: under the same name, by a rename, with dna and record of their own.

While one does, its record lies beside that of before, `<record>.rekeyed`. A killed run leaves the old tarball or the new one, each whole, and by that
record the next call that writes knows which, and gives it its own dna and record back.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from typing import Any

from ..system.errors import AltbackupError, DigestMismatch
from ..system.seeing import is_there
from ..system.twins import duplicate, set_mode
from .contents import dna_in
from .layout import Tree, is_relpath, split_relpath
from .private import read_private
from .publish import (
    flush_folder,
    make_folders,
    read_record,
    record_path,
    remove_if_there,
    temporary_beside,
    verify,
    write_record,
    write_sidecar,
    write_text,
)
from .sidecar import SUFFIX, Dna

BEFORE = "rekeyed"
"""Of records: the digest that the tarball had before it was encrypted anew, by which differentials know it again"""
NEXT = ".rekeyed"
"""Suffix of the record of a tarball that is about to take the place of another one"""
FOLDER = "rekey"
"""Where in the private folder of a source, by target, tarballs of targets lie while they are encrypted anew"""
CAME, NEW = "came", "new"
"""Below that: what came from the target, and what is to go there"""
_LONGEST = 16 << 20


def dna_of(record: Mapping[str, Any]) -> Dna | None:
    """Return the dna of a tarball from its record, None where it does not tell."""
    known = dna_in(record)
    if known is None:
        return None
    alg, size, dig = known
    base, base_dig = record.get("base"), record.get("base_dig")
    if isinstance(base, str) and isinstance(base_dig, str):
        return Dna(dig, size, alg, base, base_dig)
    return Dna(dig, size, alg)


def put_in_place(tree: Tree, made: str, relpath: str, dna: Dna, record: Mapping[str, Any]) -> None:
    """Give a flushed file that was read back the name of a tarball that stands there, with its own dna and record; `made` keeps its name.

    Where there are no links it is copied, and the copy read back. Raise DigestMismatch, AltbackupError or OSError: then the tarball of before is there with
    its dna, or the new one with its own.
    """
    final, (category, name, stamp, _) = tree.path(relpath), split_relpath(relpath)
    key = f"{category}/{name}"
    temporary = temporary_beside(final)
    following = record_path(tree, key, stamp) + NEXT
    try:
        remove_if_there(temporary)
        if duplicate(made, temporary):
            verify(temporary, dna, from_disk=True)
        set_mode(temporary, 0o600)
        make_folders(os.path.dirname(following), tree.private)
        write_text(following, json.dumps(record, sort_keys=True) + "\n")
        remove_if_there(final + SUFFIX)
        os.replace(temporary, final)
        remove_if_there(temporary)  # rename does nothing if both names are links to one file
        flush_folder(os.path.dirname(final))
        write_record(tree, key, stamp, record)
        write_sidecar(final, dna)
        remove_if_there(following)
    except BaseException:
        remove_if_there(temporary)
        with contextlib.suppress(AltbackupError, OSError):
            settle(tree, key, stamp)
        raise


def settle(tree: Tree, key: str, stamp: str) -> str:
    """See to a tarball that was about to be replaced when a run was killed; return a note, empty where there is nothing. Raise AltbackupError or OSError."""
    following = record_path(tree, key, stamp) + NEXT
    try:
        record = json.loads(read_private(tree, following, _LONGEST).decode("utf-8"))
    except FileNotFoundError:
        return ""
    except (ValueError, RecursionError):  # it was not written whole, so nothing was done by it
        record = {}
    relpath = str(record.get("relpath", "")) if isinstance(record, dict) else ""
    note = ""
    if is_relpath(relpath) and relpath.startswith(f"{key}/{stamp}/") and is_there(tree.path(relpath)):
        final = tree.path(relpath)
        if _is(final, dna_of(record)):
            write_record(tree, key, stamp, record)
            write_sidecar(final, dna_of(record))  # type: ignore[arg-type]  # it is what it says
            note = f"completed {relpath}, which was encrypted anew when a run was killed"
        elif not is_there(final + SUFFIX):
            known = dna_of(read_record(tree, key, stamp))
            if _is(final, known):
                write_sidecar(final, known)  # type: ignore[arg-type]
                note = f"completed {relpath}, which was to be encrypted anew when a run was killed, and is as it was"
    remove_if_there(following)
    return note


def _is(path: str, dna: Dna | None) -> bool:
    """Return whether a file has just these bytes. Raise OSError."""
    if dna is None:
        return False
    try:
        verify(path, dna, from_disk=True)
    except DigestMismatch:
        return False
    return True
