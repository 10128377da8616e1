"""Arrivals: the run in which each tarball came to a target, so that late arrivals cannot pass for copies that were there in time.

`.altbackup/arrivals/<source>/<category>/<name>` has a line for each tarball, `["<stamp of the run>", "<stamp>/<filename>"]`; the last line
of a tarball counts. The line is flushed before the tarball gets its name. A replacement of a rotted copy gets the stamp of the first
arrival. Only the target's own modules write there, under the lock of the tree, and the stamp of the run is the controller's: nothing in it
comes from the source.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Mapping

from ..system.errors import AltbackupError, name_os_errors
from .layout import Tarball, Tree
from .private import opened_private_file
from .publish import flush_folder, make_folders, prune_empty, remove_if_there, write_text
from .quarantine import awaited
from .sidecar import Dna
from .stamps import day_of, is_late, is_stamp


def note_arrival(tree: Tree, relpath: str, run: str) -> None:
    """Note, before a tarball gets its name on a target, the stamp of the run in which it came. Raise OSError."""
    key, rest = _split(relpath)
    path = _path(tree, key)
    make_folders(os.path.dirname(path), tree.private)
    is_new = not os.path.lexists(path)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        with name_os_errors(path):
            end = _whole(descriptor)
            line = _line(run, rest).encode("ascii")
            known = [old for old in os.pread(descriptor, end, 0).splitlines(True) if old.endswith(_end_of(rest))]
            try:
                if known[-1:] != [line]:  # else a killed run had noted it
                    _write(descriptor, line, end)
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, end)
                raise
    finally:
        os.close(descriptor)
    if is_new:
        flush_folder(os.path.dirname(path))


def note_coming(tree: Tree, relpath: str, dna: Dna, run: str) -> None:
    """Note, before a tarball gets its name on a target, the stamp of the run in which it comes.

    A replacement of a copy that rotted here gets the stamp of that copy's arrival instead; if that is unknown, nothing is noted. Raise
    AltbackupError or OSError.
    """
    entry = awaited(tree, relpath, dna)
    came = entry.came if entry else run
    if came:
        note_arrival(tree, relpath, came)


def arrivals(tree: Tree, key: str) -> dict[str, str]:
    """Return {relpath: stamp of the run in which it came} of an item (category/name); empty in a source's own tree.

    A tarball from before arrivals were noted is not in it. Raise AltbackupError if the file is damaged.
    """
    path = _path(tree, key)
    try:
        with opened_private_file(tree, path) as stream:
            text = stream.read().decode("ascii")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        raise _damaged(path, 0) from error
    found: dict[str, str] = {}
    for number, line in enumerate(text.split("\n")[:-1], 1):  # an unfinished line of a killed run has no end
        try:
            run, rest = json.loads(line)
            good = is_stamp(run) and isinstance(rest, str)
        except (ValueError, TypeError, RecursionError):
            good = False
        if not good:
            raise _damaged(path, number)
        found[f"{key}/{rest}"] = run
    return found


def late_ones(tarballs: Iterable[Tarball], came: Mapping[str, str]) -> set[str]:
    """Return the relpaths of an item's tarballs that came late. A tarball whose arrival is unknown came in time."""
    return {tarball.relpath for tarball in tarballs if is_late(tarball.stamp, came.get(tarball.relpath, tarball.stamp))}


def behind_ones(tarballs: Iterable[Tarball], came: Mapping[str, str]) -> set[str]:
    """Return the relpaths of an item's tarballs that came after the day of their stamp."""
    return {
        tarball.relpath
        for tarball in tarballs
        if day_of(came.get(tarball.relpath, tarball.stamp)) > day_of(tarball.stamp)
    }


def forget_arrivals(tree: Tree, key: str, there: Collection[str]) -> None:
    """Remove all arrivals of an item but those of the relpaths that are still there. Raise AltbackupError or OSError."""
    came = arrivals(tree, key)
    staying = {relpath: run for relpath, run in came.items() if relpath in there}
    path = _path(tree, key)
    if staying == came:
        return
    if staying:
        write_text(path, "".join(_line(run, _split(relpath)[1]) for relpath, run in staying.items()))
    else:
        remove_if_there(path)
        prune_empty(os.path.dirname(path), tree.private)


def _path(tree: Tree, key: str) -> str:
    return tree.private_path("arrivals", *key.split("/"))


def _split(relpath: str) -> tuple[str, str]:
    category, name, rest = relpath.split("/", 2)
    return f"{category}/{name}", rest


def _line(run: str, rest: str) -> str:
    return f"{json.dumps([run, rest])}\n"


def _end_of(rest: str) -> bytes:
    """Return the end of a tarball's lines."""
    return f" {json.dumps(rest)}]\n".encode("ascii")


def _whole(descriptor: int) -> int:
    """Cut off a line that a killed run left unfinished; return the offset of the next one."""
    size = os.fstat(descriptor).st_size
    tail = 1 << 16  # longer than any line
    start = max(0, size - tail)
    end = start + os.pread(descriptor, tail, start).rfind(b"\n") + 1
    os.ftruncate(descriptor, end)
    return end


def _write(descriptor: int, data: bytes, offset: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written


def _damaged(path: str, number: int) -> AltbackupError:
    return AltbackupError(
        f"{path}, which tells when tarballs came, is damaged{f' in line {number}' if number else ''}: nothing of this item is removed. Without "
        "that file all that is there counts as come in time: look at what is there, then move it away"
    )
