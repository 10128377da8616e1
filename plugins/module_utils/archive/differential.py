"""Differentials: what changed since a full archive, in the incremental format of GNU tar.

A differential has every folder of the state that it brings back, with the list of what is in it (`GNU.dumpdir`), and of all else what changed. GNU
tar, which unpacks it over the full one incrementally (`-x -g /dev/null`), removes from each folder what is not in its list.

What changed is found out here, and not by `tar --listed-incremental`: that goes by the clock, so a file that was written while it stood wrong is
missed; it takes one folder alone; it has folders renamed, which GNU tar 1.34 cannot restore in every order; and it packs again what was merely copied
anew. Here a thing is unchanged if its inode and times are those of before, or else if all that comes back of it is: two differentials of one
state against one full archive are equal bytes.

What was known of the full one is its *snapshot*: of each member what stands for its inode and times, and its lines of the manifest. With it the
manifest of the state that the pair brings back is put together, member by member, as GNU tar will: that is the proof of the differential.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import IO

from ..system.digest import CHUNK, new_hash, open_plain
from ..system.processes import Deadline
from .digests import Digests
from .dumpdirs import BLOCK
from .manifest import Manifest
from .snapshot import Entry
from .states import FILE, FOLDER, State, Unproven, list_state, write_state
from .write import Part


def select_changed(
    parts: Sequence[Part],
    known: Mapping[bytes, Entry] | None,
    output: IO[bytes],
    deadline: Deadline,
    *,
    owner: bool,
    fixed_times: bool,
) -> list[Part]:
    """Given parts and what is known of the members of a full archive, {path: entry}, return the parts without files that did not change.

    The states of all are written to the output. Without anything known, all is returned. Raise DeadlineExceeded or OSError.
    """
    chosen: list[tuple[int, bytes, int]] = []
    left: list[tuple[int, bytes, int]] = []
    groups = set()
    for number, name, state, status in list_state(parts, owner=owner, fixed_times=fixed_times):
        deadline.remaining()
        write_state(output, state)
        path = os.path.join(os.fsencode(parts[number].root), name)
        inode = status.st_ino if state.form != FOLDER and status.st_nlink > 1 else 0
        if known is None or _is_changed(path, state, status, known.get(state.path), deadline):
            chosen.append((number, name, inode))
            groups.add(inode)
        else:
            left.append((number, name, inode))
    whole = {(number, name) for number, name, inode in left if not inode or inode not in groups}
    return [
        Part(part.root, [name for name in part.names if (number, name) not in whole])
        for number, part in enumerate(parts)
    ]


def _is_changed(path: bytes, state: State, status: os.stat_result, known: Entry | None, deadline: Deadline) -> bool:
    """Return whether something is to be in a differential: folders are, and what is not known to be as it was."""
    if state.form == FOLDER or known is None or known.state.form != state.form:
        return True
    if known.state.seen == state.seen:
        return False
    alike = known.state.lasting == state.lasting and known.is_plain and known.digest
    if state.form != FILE or not alike or status.st_nlink > 1 or status.st_blocks * BLOCK < status.st_size:
        return True
    with contextlib.suppress(OSError):
        if os.listxattr(path, follow_symlinks=False):
            return True
        return _digest(path, deadline) != known.digest
    return True


def _digest(path: bytes, deadline: Deadline) -> bytes:
    value = new_hash("sha256")
    with open_plain(os.fsdecode(path)) as stream:
        while block := stream.read(CHUNK):
            deadline.remaining()
            value.update(block)
    return bytes(value.digest())


def replay(
    full: Iterable[Entry], changed: Iterable[Entry], states: Iterable[State], lists: Mapping[bytes, bytes]
) -> Iterator[Entry]:
    """Given the members of a full archive and of a differential, and what was seen, yield the members of the state that the pair brings back.

    They are in the order in which a full archive of that state has them. Raise Unproven, perhaps at the end, if GNU tar would make something
    else of the pair than was seen.
    """
    paths = {_short_path(entry.state.path) for entry in changed}
    new, old = iter(changed), iter(full)
    is_listed = _looked_up(lists)

    def is_gone(entry: Entry) -> bool:
        return _short_path(entry.state.path) in paths or not is_listed(entry.state)

    coming = next(new, None)
    for state in states:
        if coming is not None and coming.state.path == state.path:
            found, coming = coming, next(new, None)
        else:
            found = _next_kept(old, state, is_gone)
        if (found.state.form == FOLDER) != (state.form == FOLDER):
            raise Unproven(f"{_shown(state.path)} would come back as something else")
        yield found
    if coming is not None:
        raise Unproven(f"{_shown(coming.state.path)} was archived, but not seen")
    for entry in old:
        if not is_gone(entry):
            raise Unproven(f"{_shown(entry.state.path)} would come back, which is gone")


def _next_kept(old: Iterator[Entry], state: State, is_gone: Callable[[Entry], bool]) -> Entry:
    """Return the next member of a full archive that is still there, which is what was seen. Raise Unproven."""
    for entry in old:
        if not is_gone(entry):
            if entry.state.path == state.path:
                return entry
            raise Unproven(f"{_shown(entry.state.path)} would come back where {_shown(state.path)} is to")
    raise Unproven(f"{_shown(state.path)} would not come back")


def _looked_up(lists: Mapping[bytes, bytes]) -> Callable[[State], bool]:
    """Return what tells whether GNU tar leaves a member of a full archive where it was."""

    @functools.lru_cache(maxsize=512)
    def names(folder: bytes) -> frozenset[bytes]:
        return frozenset(lists[folder].split(b"\0")) if folder in lists else frozenset()

    def is_listed(state: State) -> bool:
        if not state.path:
            return b"" in lists
        above, _, name = state.path.rpartition(b"/")
        return (b"D" if state.form == FOLDER else b"Y") + name in names(above)

    return is_listed


def _short_path(path: bytes) -> bytes:
    value = new_hash("sha256")
    value.update(path)
    return bytes(value.digest()[:12])


def _shown(path: bytes) -> str:
    return repr(os.fsdecode(path))[:200]


def fill(manifest: Manifest, entries: Iterable[Entry], digests: Digests) -> None:
    """Given the members of a state, fill a manifest, but for owners, and the digests of its files, as if they had been archived. Raise Unproven."""
    total, content = new_hash("sha256"), new_hash("sha256")
    for entry in entries:
        total.update(entry.line)
        content.update(entry.attributes + entry.line)
        manifest.entries += 1
        if entry.state.form == FILE and entry.digest:
            manifest.bytes += entry.size
            digests.put(os.fsdecode(entry.state.path), entry.size, entry.digest, entry.look)
    manifest.digest, manifest.content = total.hexdigest(), content.hexdigest()
