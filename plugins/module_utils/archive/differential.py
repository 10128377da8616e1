"""Differentials: what changed since a full archive, in the incremental format of GNU tar.

A differential has every folder of the state that it restores, with the list of its entries (`GNU.dumpdir`), and everything else that changed. GNU tar unpacks
it over the full archive incrementally (`-x -g /dev/null`) and removes from each folder what is not in its list.

`tar --listed-incremental` is not used to find changes. It compares with the clock, so it misses a file that was written while the clock was wrong; it takes
only one folder; it records renamed folders, which GNU tar 1.34 cannot restore in every order; and it archives copied but unchanged files again. Here a file
is unchanged if its inode and times are those of the full archive, or else if all that is restored of it is equal: two differentials of one state against one
full archive have equal bytes.

The *snapshot* of a full archive has for each member a digest of inode and times, and its lines of the manifest. From it the manifest of the state that full
archive and differential restore is composed, member by member, in the way GNU tar unpacks them: this proves the differential.
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
    """Return the parts of a differential: without files that did not change since a full archive, of which `known` is {path: entry}.

    The states of all files are written to the output. Without `known` all parts are returned. Raise DeadlineExceeded or OSError.
    """
    chosen: list[tuple[int, bytes, int]] = []
    left: list[tuple[int, bytes, int]] = []
    groups = set()
    for number, name, state, status in list_state(parts, owner=owner, fixed_times=fixed_times):
        deadline.remaining()
        write_state(output, state)
        path = os.path.join(os.fsencode(parts[number].root), name)
        inode = status.st_ino if state.file_type != FOLDER and status.st_nlink > 1 else 0
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
    """Return whether a file belongs in a differential: folders always do, others unless they are known to be unchanged."""
    if state.file_type == FOLDER or known is None or known.state.file_type != state.file_type:
        return True
    if known.state.fingerprint == state.fingerprint:
        return False
    alike = known.state.copy_fingerprint == state.copy_fingerprint and known.is_plain and known.digest
    if state.file_type != FILE or not alike or status.st_nlink > 1 or status.st_blocks * BLOCK < status.st_size:
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


def restored_members(
    full: Iterable[Entry],
    changed: Iterable[Entry],
    states: Iterable[State],
    lists: Mapping[bytes, bytes],
    moved: dict[bytes, State],
) -> Iterator[Entry]:
    """Yield the members of the state that a full archive and its differential restore, in the order of a full archive of that state.

    `states` are those of all files, `lists` those of `list_folders`. Into `moved`, {path: state}, go files of the full archive that are others now, of the
    same content. Raise Unproven, perhaps at the end, if GNU tar would restore anything else than the states.
    """
    paths = {_short_path(entry.state.path) for entry in changed}
    new, old = iter(changed), iter(full)
    is_listed = _kept_by_tar(lists)

    def is_gone(entry: Entry) -> bool:
        return _short_path(entry.state.path) in paths or not is_listed(entry.state)

    coming = next(new, None)
    for state in states:
        if coming is not None and coming.state.path == state.path:
            found, coming = coming, next(new, None)
        else:
            found = _next_kept(old, state, is_gone)
            if state.file_type == FILE and found.state.fingerprint != state.fingerprint:
                moved[state.path] = state
        if (found.state.file_type == FOLDER) != (state.file_type == FOLDER):
            raise Unproven(f"{_shown(state.path)} would come back as something else")
        yield found
    if coming is not None:
        raise Unproven(f"{_shown(coming.state.path)} was archived, but not seen")
    for entry in old:
        if not is_gone(entry):
            raise Unproven(f"{_shown(entry.state.path)} would come back, which is gone")


def _next_kept(old: Iterator[Entry], state: State, is_gone: Callable[[Entry], bool]) -> Entry:
    """Return the next member of a full archive that the differential keeps, which has to be that of the state. Raise Unproven."""
    for entry in old:
        if not is_gone(entry):
            if entry.state.path == state.path:
                return entry
            raise Unproven(f"{_shown(entry.state.path)} would come back where {_shown(state.path)} is to")
    raise Unproven(f"{_shown(state.path)} would not come back")


def _kept_by_tar(lists: Mapping[bytes, bytes]) -> Callable[[State], bool]:
    """Return a function that tells whether GNU tar keeps a member of a full archive, by the lists of folders."""

    @functools.lru_cache(maxsize=512)
    def names(folder: bytes) -> frozenset[bytes]:
        return frozenset(lists[folder].split(b"\0")) if folder in lists else frozenset()

    def is_listed(state: State) -> bool:
        if not state.path:
            return b"" in lists
        above, _, name = state.path.rpartition(b"/")
        return (b"D" if state.file_type == FOLDER else b"Y") + name in names(above)

    return is_listed


def _short_path(path: bytes) -> bytes:
    value = new_hash("sha256")
    value.update(path)
    return bytes(value.digest()[:12])


def _shown(path: bytes) -> str:
    return repr(os.fsdecode(path))[:200]


def fill_manifest(manifest: Manifest, entries: Iterable[Entry], digests: Digests) -> None:
    """Fill a manifest, except for owners, and the digests of files from the members of a state, as if they were archived. Raise Unproven."""
    total, content = new_hash("sha256"), new_hash("sha256")
    for entry in entries:
        total.update(entry.line)
        content.update(entry.attributes + entry.line)
        manifest.entries += 1
        if entry.state.file_type == FILE and entry.digest:
            manifest.bytes += entry.size
            digests.put(os.fsdecode(entry.state.path), entry.size, entry.digest, entry.content_class)
    manifest.digest, manifest.content = total.hexdigest(), content.hexdigest()
