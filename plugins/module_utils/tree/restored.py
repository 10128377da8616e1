"""The marker of a restored copy, a file beside it: until somebody adopts the copy, no dump takes it for live data."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import stat
from collections.abc import Mapping
from typing import Any

from ..system.digest import open_plain
from ..system.errors import AltbackupError, name_os_errors
from ..system.opened import is_trusted, owner_name, walked
from ..system.paths import is_within
from ..system.seeing import is_impossible, looking_at, status_of, unseen
from ..system.visible import command_of
from .layout import RESTORED, TEMPORARY
from .publish import flush_folder

KEYS = ("source", "item", "member", "stamp", "dig", "node", "host", "path", "when", "by")
_TEMPORARY = "marker"
_LONGEST = 65536
_LONGEST_VALUE = 300


def marker_path(path: str) -> str:
    """Return the path of a copy's marker: beside it, since inside it would be a change."""
    return path.rstrip("/") + RESTORED


def serialize_marker(origin: Mapping[str, Any]) -> str:
    """Return the text of a marker: one line of JSON with exactly these KEYS."""
    return json.dumps({key: str(origin.get(key, "")) for key in KEYS}, sort_keys=True) + "\n"


def read_marker(path: str) -> dict[str, str] | None:
    """Return the values of a copy's marker, None without one; a damaged marker has empty values.

    Raise AltbackupError if it cannot be read.
    """
    try:
        text = _text_of(marker_path(path))
        values = json.loads(text) if text is not None else None
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        values = {}
    known = values if isinstance(values, dict) else {}
    return {key: _plain(known.get(key, "")) for key in KEYS}


def _text_of(path: str) -> bytes | None:
    """Return the text of a marker, None if it is no plain file. Raise FileNotFoundError, or AltbackupError if it cannot be read."""
    if not stat.S_ISREG(os.lstat(path).st_mode):
        return None
    try:
        with open_plain(path) as stream:
            return stream.read(_LONGEST)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise unseen(path, error) from error


def _plain(value: object) -> str:
    """Return a value of a marker, which others can have written, as one short line."""
    text = str(value)[:_LONGEST_VALUE]
    return "".join(character if character.isprintable() else "?" for character in text)


def require_adopted(path: str, key: str, source: str = "") -> list[str]:
    """Raise AltbackupError if an item is, contains or lies in a restored copy that nobody adopted; else return notes.

    A marker counts only if root, this user or the owner of the item made it: nobody else decides what is backed up. Raise AltbackupError
    also if that cannot be known.
    """
    seen = (status_of(path, follow=False), status_of(path))
    owners = {entry.st_uid for entry in seen if entry is not None}
    notes = []
    for marked in _places(path):
        status = _marker_status(marked)
        if status is None:
            continue
        if not is_trusted(status.st_uid) and status.st_uid not in owners:
            notes.append(
                f"{marker_path(marked)} was not obeyed: {owner_name(status.st_uid)} made it, who is neither root nor the owner of {path}; remove it"
            )
            continue
        marker = read_marker(marked)
        if marker is not None and _concerns(marker, marked, path):
            raise AltbackupError(_complaint(marker, marked, path, f"{source or marker['host'] or 'SOURCE'}/{key}"))
    return notes


def _places(path: str) -> list[str]:
    """Return the paths beside which a marker of an item can stand: its own, and those of the folders above."""
    found = [os.path.normpath(path)]
    while len(above := os.path.dirname(found[-1])) > 1:
        found.append(above)
    return found


def _marker_status(path: str) -> os.stat_result | None:
    try:
        return os.lstat(marker_path(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if is_impossible(marker_path(path), error):
            return None
        raise unseen(path, error) from error


def _concerns(marker: Mapping[str, str], marked: str, path: str) -> bool:
    """Return whether a marker concerns an item: what it describes lies in the item or contains it; an empty one describes all."""
    if marked == os.path.normpath(path):
        return True
    return _is_related(marker["path"] or marked, path)


def _is_related(one: str, other: str) -> bool:
    return is_within(one, other) or is_within(other, one)


def _complaint(marker: Mapping[str, str], marked: str, path: str, adopted: str) -> str:
    """Return why an item is not backed up, and the command that changes that."""
    place = marker["path"] if _is_related(marker["path"] or "/", path) else path
    place = place or marked
    member = f"{marker['member']} of " if marker["member"] else ""
    where = "" if place == path else " lies in" if is_within(path, place) else " holds"
    what = f"{path}{where} {place}, a copy that" if where else f"{path} is a copy that"
    more = f" (that adopts all of {place})" if where == " lies in" else ""
    return (
        f"{what} was restored at {marker['when'] or 'an unknown time'} by {marker['by'] or 'somebody'}: "
        f"{member}{marker['item'] or 'an unknown item'} of {marker['source'] or 'an unknown source'}, {marker['stamp'] or 'of an unknown stamp'}, "
        f"taken from {marker['node'] or 'an unknown node'}. It is not backed up until it is adopted as the live one{more}: "
        f"{command_of('adopt', adopted)}"
    )


def marker_text(folder: int, path: str) -> str | None:
    """Return the text of a copy's marker, None if there is none or it is no file; `folder` is the open folder of the copy.

    Raise AltbackupError if it cannot be read.
    """
    try:
        text = _text_of(f"/proc/self/fd/{folder}/{os.path.basename(marker_path(path))}")
    except FileNotFoundError:
        return None
    return None if text is None else text.decode("utf-8", "replace")


def write_marker(private: int, folder: int, path: str, text: str) -> None:
    """Write the marker of a copy; `private` is an open private folder, `folder` the open folder of the copy.

    It replaces any file or link of its name. The private folder is used for the temporary file if it is on the same file system. Raise
    OSError.
    """
    name = os.path.basename(marker_path(path))
    with name_os_errors(marker_path(path)):
        _write(private, _TEMPORARY, text)
        try:
            os.rename(_TEMPORARY, name, src_dir_fd=private, dst_dir_fd=folder)
            return
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            os.unlink(_TEMPORARY, dir_fd=private)
        beside = f"{TEMPORARY}{secrets.token_hex(16)}"
        _write(folder, beside, text)
        os.rename(beside, name, src_dir_fd=folder, dst_dir_fd=folder)


def _write(folder: int, name: str, text: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=folder)
    with name_os_errors(name), os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def remove_marker(folder: int, path: str) -> bool:
    """Remove the marker of a copy, a file or a link; return whether there was one. `folder` is the open folder of the copy.

    Raise AltbackupError for anything else of that name, or OSError.
    """
    if not require_marker_place(folder, path):
        return False
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.basename(marker_path(path)), dir_fd=folder)
    return True


def require_marker_place(folder: int, path: str) -> bool:
    """Return whether a copy has a marker; `folder` is its open folder. Raise AltbackupError if the marker is neither file nor link."""
    try:
        mode = os.stat(os.path.basename(marker_path(path)), dir_fd=folder, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return False
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
        raise AltbackupError(f"{marker_path(path)} is no file, so no marker of a restore: look at it and move it away")
    return True


def adopt(path: str, *, check_mode: bool = False) -> list[str]:
    """Remove the marker of a copy, and that of a folder that it was restored with.

    Return the paths that had one. Raise AltbackupError or OSError.
    """
    path = os.path.normpath(path)
    found = [path, *(marked for marked in _places(path)[1:] if _is_adopted_with(marked, path))]
    return [marked for marked in found if _adopt(marked, check_mode)]


def _is_adopted_with(marked: str, path: str) -> bool:
    marker = read_marker(marked) if _marker_status(marked) is not None else None
    return marker is not None and _concerns(marker, marked, path)


def _adopt(path: str, check_mode: bool) -> bool:
    with looking_at(path), walked(os.path.dirname(path)) as (steps, missing):
        if missing:
            return False
        folder = steps[-1].descriptor
        if check_mode:
            return require_marker_place(folder, path)
        removed = remove_marker(folder, path)
        if removed:
            with contextlib.suppress(PermissionError):
                flush_folder(f"/proc/self/fd/{folder}")
        return removed
