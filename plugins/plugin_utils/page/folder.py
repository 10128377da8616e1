"""Writes the folder of a page: each file whole or not at all, touching nothing that this program has not written.

A list in the folder names the pages that it wrote. Everything is opened relative to the folder's descriptor, so that no link leads out.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from ...module_utils.system.errors import AltbackupError

LIST = ".altbackup-page"
_FORMAT = "altbackup page"
_LONGEST_LIST = 1 << 24
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_OURS = re.compile(r"[a-z0-9][a-z0-9-]*-[0-9a-f]{12}\.html")
"""Matches the file name of an item's page"""


class Refused(AltbackupError):
    """Raised if the folder holds something else."""


def write_folder(
    path: str,
    inventories: Sequence[str],
    below: str,
    pages: Iterable[tuple[str, str]],
    first: Iterator[tuple[str, str]],
) -> None:
    """Write a page into the folder `path`, and remove pages of items that an earlier run wrote and this one did not.

    `pages` are (name, text) for the subfolder `below`, written first; `first` are those beside it. `inventories` are the page's. A missing
    folder is made with mode 0700; files get the folder's read permissions. Raise Refused or OSError.
    """
    with suppress(FileExistsError):
        os.mkdir(path, 0o700)
    with _folder(path) as folder:
        fcntl.flock(folder, fcntl.LOCK_EX)  # released when the folder is closed
        before = _listed(folder, path, inventories)
        mode = stat.S_IMODE(os.fstat(folder).st_mode)
        with suppress(FileExistsError):
            os.mkdir(below, 0o700, dir_fd=folder)
        with _folder(below, folder, os.O_NOFOLLOW) as inner:
            if os.fstat(inner).st_uid == os.geteuid():
                os.fchmod(inner, 0o700 | mode & 0o055)
            _write_list(folder, inventories, before)
            new = []
            for name, text in pages:
                _write(inner, name, text, mode)
                new.append(name)
            for name, text in first:
                _write(folder, name, text, mode)
            for name in before - set(new):
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=inner)
            _write_list(folder, inventories, new)


@contextmanager
def _folder(path: str, above: int | None = None, flags: int = 0) -> Iterator[int]:
    descriptor = os.open(path, _FOLDER_FLAGS | flags, dir_fd=above)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _listed(folder: int, path: str, inventories: Sequence[str]) -> set[str]:
    """Return the pages of items that an earlier run wrote. Raise Refused if the folder is not this page's."""
    try:
        descriptor = os.open(LIST, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        if found := sorted(os.listdir(folder)):
            raise Refused(
                f"{path} holds other things, such as {found[0]!r}, and no page of altbackup: name an empty folder, or one that is not there"
            ) from None
        return set()
    with os.fdopen(descriptor, "rb") as stream:
        data = stream.read(_LONGEST_LIST)
    try:
        told = json.loads(data)
        if told["format"] != _FORMAT:
            raise ValueError
        of, items = [str(name) for name in told["inventories"]], [str(name) for name in told["items"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Refused(f"{path}/{LIST} is no list of a page of altbackup: name another folder") from None
    if set(of).isdisjoint(inventories) and (of or inventories):
        raise Refused(f"{path} holds the page of another inventory, {', '.join(of)}: name another folder")
    return {name for name in items if _OURS.fullmatch(name)}


def _write_list(folder: int, inventories: Sequence[str], items: Iterable[str]) -> None:
    told = {"format": _FORMAT, "inventories": list(inventories), "items": sorted(items)}
    _write(folder, LIST, json.dumps(told, indent=0), 0o600)


def _write(folder: int, name: str, text: str, mode: int) -> None:
    """Replace a file below a folder, readable as `mode` allows, all of it or nothing. Raise OSError.

    It is not synced to disk: the next run writes it again.
    """
    new = f".{name}.{os.getpid()}"
    with suppress(FileNotFoundError):
        os.unlink(new, dir_fd=folder)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(new, flags, 0o600, dir_fd=folder), "wb") as stream:
            os.fchmod(stream.fileno(), 0o600 | mode & 0o044)
            stream.write(text.encode("utf-8"))
        os.rename(new, name, src_dir_fd=folder, dst_dir_fd=folder)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(new, dir_fd=folder)
