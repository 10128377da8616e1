"""Publishing: temporary name, flush, read back, rename; then the sidecar; then `last`."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Mapping
from typing import Any

from ..system.digest import digest_file
from ..system.errors import UNABLE, AltbackupError, BaseUnusable, DigestMismatch, NoLinks, name_os_errors
from ..system.mounts import file_system
from ..system.twins import duplicate, set_mode, share
from . import sidecar
from .layout import LAST, MARKER, TEMPORARY, Tarball, Tree, open_tree
from .private import read_private
from .sidecar import SUFFIX, Dna
from .stamps import Moment, is_stamp

_LONGEST_RECORD = 16 << 20
"""Most bytes of a record; one of 100,000 tables has 5 MB"""

_NOBODY = 65534


def make_folders(path: str, above: str) -> None:
    """Make a folder, mode 0700, and its parents below `above`, flushed. Raise BaseUnusable if a link is in the way."""
    if path == above:
        return
    make_folders(os.path.dirname(path), above)
    try:
        os.mkdir(path, 0o700)
        flush_folder(os.path.dirname(path))
    except FileExistsError:
        if os.path.islink(path) or not os.path.isdir(path):
            raise BaseUnusable(f"{path} is no folder but a link or file: nothing is written through it") from None


def make_tree(tree: Tree) -> None:
    """Make the folder of a source's tree on a target, below the marked base; nothing is made above the marker."""
    make_folders(tree.base, os.path.dirname(tree.private) if tree.source else tree.base)


def flush_folder(path: str) -> None:
    """Flush a folder's entries to the medium."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with name_os_errors(path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def temporary_beside(path: str) -> str:
    """Return the temporary name beside a final path."""
    folder, filename = os.path.split(path)
    return os.path.join(folder, f"{TEMPORARY}{os.getpid()}-{filename}")


def remove_if_there(path: str) -> None:
    """Remove a file unless it is already gone."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def prune_empty(path: str, above: str) -> None:
    """Remove a folder and its parents below `above` while they are empty and no mount points."""
    while path != above and path.startswith(above + "/"):
        try:
            os.rmdir(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EBUSY):
                return
            raise
        path = os.path.dirname(path)


def write_text(path: str, text: str) -> None:
    """Write a small file, mode 0600, through a temporary name, flushed. Raise OSError, leaving nothing behind."""
    temporary = temporary_beside(path)
    try:
        remove_if_there(temporary)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with name_os_errors(path), os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        remove_if_there(temporary)
        raise
    flush_folder(os.path.dirname(path))


def verify(path: str, dna: Dna, *, from_disk: bool = False) -> None:
    """Read a file again and compare it with its dna; with `from_disk` the medium is read. Raise DigestMismatch."""
    dig, size = digest_file(path, dna.alg, from_disk=from_disk)
    if (dig, size) != (dna.dig, dna.size):
        raise DigestMismatch(
            f"{path} is not what was written: {dna.alg} {dig} over {size} bytes, expected {dna.dig} over {dna.size} bytes"
        )


def record_path(tree: Tree, key: str, stamp: str) -> str:
    """Return the path of a record: an item's dump under a stamp."""
    return tree.private_path("records", *key.split("/"), *stamp.split("/")) + ".json"


def write_record(tree: Tree, key: str, stamp: str, record: Mapping[str, Any]) -> None:
    """Write the record of a dump, before its tarball gets its name."""
    path = record_path(tree, key, stamp)
    make_folders(os.path.dirname(path), tree.private)
    write_text(path, json.dumps(record, sort_keys=True) + "\n")


def read_record(tree: Tree, key: str, stamp: str) -> dict[str, Any]:
    """Return the record of a dump, empty if there is none or it cannot be read."""
    try:
        return record_of(tree, key, stamp)
    except AltbackupError:
        return {}


def record_of(tree: Tree, key: str, stamp: str) -> dict[str, Any]:
    """Return the record of a dump, empty if there is none. Raise AltbackupError if it cannot be read or is damaged."""
    path = record_path(tree, key, stamp)
    try:
        record = json.loads(read_private(tree, path, _LONGEST_RECORD).decode("utf-8"))
        if not isinstance(record, dict):
            raise ValueError("it is no mapping")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        why = f"cannot be read ({error.strerror})" if isinstance(error, OSError) else "is damaged"
        raise AltbackupError(
            f"{path}, the record of {key} of {stamp}, {why}, so it is not known whether that tarball is suspect or whole: compare it with that "
            "of another node, which may be copied here; without the file it counts as a good copy of unknown content"
        ) from error
    return record


def publish(tree: Tree, temporary: str, relpath: str, dna: Dna) -> None:
    """Give a flushed temporary file its final name: read it back first, then rename it, then write its sidecar.

    Raise DigestMismatch, BaseUnusable or OSError: then neither tarball nor sidecar stands there, and the temporary file is back.
    """
    final = tree.path(relpath)
    verify(temporary, dna, from_disk=True)
    folder = os.path.dirname(final)
    try:
        make_folders(folder, tree.base)
        set_mode(temporary, 0o600)
        remove_if_there(final + SUFFIX)
        os.replace(temporary, final)
        flush_folder(folder)
        write_sidecar(final, dna)
    except BaseException:
        remove_if_there(final + SUFFIX)
        if not os.path.lexists(temporary):
            with contextlib.suppress(FileNotFoundError):
                os.replace(final, temporary)
        prune_empty(folder, tree.base)
        raise


def write_sidecar(path: str, dna: Dna) -> None:
    """Write the sidecar of a tarball that was verified."""
    write_text(path + SUFFIX, sidecar.serialize(dna))


def link(tree: Tree, old: Tarball, relpath: str, dna: Dna, *, copying: bool = True) -> None:
    """Store an unchanged item as a hard link under its new stamp, after reading the old file again.

    Without hard links it is a file that shares the old one's blocks, or else a copy, which is read back as well; without `copying` NoLinks
    is raised instead of copying. Raise DigestMismatch if the old file no longer matches its dna.
    """
    verify(tree.path(old.relpath), dna, from_disk=True)
    final = tree.path(relpath)
    folder = os.path.dirname(final)
    temporary = temporary_beside(final)
    try:
        make_folders(folder, tree.base)
        remove_if_there(temporary)
        _store_again(tree.path(old.relpath), temporary, dna, copying)
        remove_if_there(final + SUFFIX)
        os.replace(temporary, final)
        remove_if_there(temporary)  # rename does nothing if both names are links to one file
        flush_folder(folder)
        write_sidecar(final, dna)
    except BaseException:
        remove_if_there(temporary)
        remove_if_there(final + SUFFIX)
        remove_if_there(final)
        prune_empty(folder, tree.base)
        raise


def _store_again(old: str, temporary: str, dna: Dna, copying: bool) -> None:
    """Make a second name for a file, or a second file of its content. Raise DigestMismatch, NoLinks, AltbackupError or OSError."""
    if copying:
        if duplicate(old, temporary):
            verify(temporary, dna, from_disk=True)
    elif not share(old, temporary):
        raise NoLinks(f"{old} can have no second name: there are no hard links where it lies")


def point_last(tree: Tree, key: str, stamp: str, moment: Moment) -> bool:
    """Point `last` of an item to a stamp, unless it already points to a later one that is not ahead; return whether it was moved.

    It never points to a suspect, so that people who follow it by hand reach the newest copy that is not doubtful. On file systems without
    symbolic links there is no `last`; nothing of this collection reads it. Raise AltbackupError if `last` is a real folder or file: a copy
    that lost its link may be somebody's only one.
    """
    path = tree.path(f"{key}/{LAST}")
    if os.path.lexists(path) and not os.path.islink(path):
        raise AltbackupError(
            f"{path} is a real folder or file where the link to the newest stamp belongs (a copy may have collapsed it); "
            "nothing in it was touched: compare it with the dated copies, then move it away"
        )
    if os.path.islink(path):
        current = os.readlink(path)
        later = is_stamp(current) and current > stamp and not moment.is_ahead(current)
        if current == stamp or (later and os.path.isdir(tree.path(f"{key}/{current}"))):
            return False
    if read_record(tree, key, stamp).get("suspect"):
        return False
    temporary = temporary_beside(path)
    remove_if_there(temporary)
    try:
        os.symlink(stamp, temporary)
    except OSError as error:  # its own filename is the stamp alone
        if error.errno in UNABLE and not os.path.islink(path) and _can_be_made(temporary):
            return False
        raise OSError(error.errno, error.strerror, path) from error
    os.replace(temporary, path)
    flush_folder(os.path.dirname(path))
    return True


def _can_be_made(path: str) -> bool:
    """Return whether a plain file can be made where a link could not: then the file system has no links, and the folder is not closed."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
    except OSError:
        return False
    os.unlink(path)
    return True


def require_writable(base: str) -> Tree:
    """Return the Tree of a base. Raise BaseUnusable if it is not marked, cannot be written, or is another user's."""
    tree = open_tree(base)
    for folder in dict.fromkeys((os.path.dirname(tree.private), tree.private, tree.base)):
        _require_trusted(folder)
    for folder in (tree.base if os.path.isdir(tree.base) else os.path.dirname(tree.base), tree.private):
        if not os.access(folder, os.W_OK | os.X_OK):
            raise BaseUnusable(f"{folder} cannot be written by uid {os.geteuid()}")
    return tree


def _require_trusted(folder: str) -> None:
    """Raise BaseUnusable if a folder is a link, or of another user, who could replace it at any time."""
    if os.path.basename(folder) == MARKER and os.path.islink(folder):
        raise BaseUnusable(f"{folder} is no folder but a link: make it one (mkdir)")
    try:
        status = os.stat(folder)
    except FileNotFoundError:
        return
    known = status.st_uid in (0, os.geteuid())
    squashed = status.st_uid == _NOBODY and file_system(folder).startswith(
        "nfs"
    )  # root's files on an NFS server that squashes root
    if not (known or squashed):
        raise BaseUnusable(
            f"{folder} belongs to uid {status.st_uid}, who could lead what is written there elsewhere, not to uid {os.geteuid()}, as whom "
            f"this runs, nor to root: chown it, or run as that user"
        )


def remove_folder(path: str) -> None:
    """Remove a private folder and all below it, if it is there; no link is followed."""
    if os.path.islink(path):
        os.unlink(path)
    elif os.path.isdir(path):
        if os.geteuid() != 0:
            _make_writable(path)
        shutil.rmtree(path)


def _make_writable(path: str) -> None:
    """Make the folders of a copied tree writable, whose modes are those of live ones, so that their owner can remove it."""
    set_mode(path, 0o700)
    for parent, folders, _ in os.walk(path):
        for name in folders:
            if not os.path.islink(os.path.join(parent, name)):
                set_mode(os.path.join(parent, name), 0o700)
