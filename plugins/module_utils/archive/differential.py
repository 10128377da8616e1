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
import gzip
import json
import os
import stat
import struct
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from ..system.digest import CHUNK, new_hash, open_plain
from ..system.errors import AltbackupError, Hostile, name_os_errors
from ..system.processes import Deadline
from .write import Digests, Manifest, Part

_BLOCK = 512
_STATE = struct.Struct("<HB16s16s")
_ENTRY = struct.Struct("<HB16s16sQ32sBBII")
_LONGEST_PATH = 1 << 13
_LARGEST_LIST = 16 << 20
"""Most bytes of the list of one folder: an archive with more is refused where it is unpacked"""
_MOST_STATES = 1 << 29
"""Bytes of what a reader says that it has seen; the lists of all folders are kept in memory"""
_LARGEST_HEADER = 1 << 16
_FORM = 1
"""Of the file of a snapshot"""
_OTHER, _FOLDER, _FILE = range(3)
_NONE = b"\0" * 32


class Unproven(AltbackupError):
    """A differential that would not bring back what was read: the night is full."""


@dataclass(frozen=True)
class State:
    """A thing as it was seen before it was archived."""

    path: bytes
    """Below the top folder, empty for that itself"""
    form: int
    seen: bytes
    """What stands for its inode, times and all else that a look tells"""
    lasting: bytes
    """The same, without what a copy of it has otherwise"""


@dataclass(frozen=True)
class Entry:
    """A member of an archive."""

    state: State
    size: int
    digest: bytes
    """SHA-256 of the content of a file that has one of its own, else empty"""
    look: int
    """How that looks, see Digests"""
    is_plain: bool
    """Whether it has no attributes besides mode, owner and time"""
    attributes: bytes
    line: bytes
    """What the digests of a manifest are taken over, see read_manifest"""


def new_private(path: str) -> IO[bytes]:
    """Make a new file of this user's alone, and return it open for writing. Raise OSError."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb")


def list_state(
    parts: Sequence[Part], *, owner: bool, fixed_times: bool
) -> Iterator[tuple[int, bytes, State, os.stat_result]]:
    """Given parts, yield (number of the part, name, state, status) of what is there, in their order.

    With an `owner` of the archive's own, or `fixed_times`, those of files do not count. Raise OSError.
    """
    for number, part in enumerate(parts):
        top = os.open(part.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for name in part.names:
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    status = os.lstat(name, dir_fd=top)
                    yield number, name, _state(name[2:], status, owner, fixed_times), status
        finally:
            os.close(top)


def _state(path: bytes, status: os.stat_result, owner: bool, fixed_times: bool) -> State:
    lasting: tuple[Any, ...] = (status.st_mode, status.st_size, status.st_rdev)
    lasting += () if owner else (status.st_uid, status.st_gid)
    lasting += () if fixed_times else (status.st_mtime_ns,)
    seen = (*lasting, status.st_uid, status.st_gid, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    form = _FOLDER if stat.S_ISDIR(status.st_mode) else _FILE if stat.S_ISREG(status.st_mode) else _OTHER
    return State(path, form, _short(repr(seen)), _short(repr(lasting)))


def _short(text: str) -> bytes:
    value = new_hash("sha256")
    value.update(text.encode())
    return bytes(value.digest()[:16])


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
        inode = status.st_ino if state.form != _FOLDER and status.st_nlink > 1 else 0
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
    if state.form == _FOLDER or known is None or known.state.form != state.form:
        return True
    if known.state.seen == state.seen:
        return False
    alike = known.state.lasting == state.lasting and known.is_plain and known.digest
    if state.form != _FILE or not alike or status.st_nlink > 1 or status.st_blocks * _BLOCK < status.st_size:
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


def write_state(output: IO[bytes], state: State) -> None:
    """Write a state behind others."""
    output.write(_STATE.pack(len(state.path), state.form, state.seen, state.lasting) + state.path)


def read_states(path: str) -> Iterator[State]:
    """Yield the states in a file that a reader has written. Raise Unproven for what are none, or OSError."""
    with open_plain(path) as stream:
        if os.fstat(stream.fileno()).st_size > _MOST_STATES:
            raise Unproven("it has too many entries")
        while head := stream.read(_STATE.size):
            if len(head) < _STATE.size:
                raise Unproven("what was read of it is cut")
            size, form, seen, lasting = _STATE.unpack(head)
            name = stream.read(size)
            parts = name.split(b"/") if name else []
            if len(name) != size or size > _LONGEST_PATH or b"\0" in name or {b"", b".", b".."} & set(parts):
                raise Unproven("what was read of it is no path")
            yield State(name, form, seen, lasting)


class Members:
    """What is told of the members of an archive, in their order; in a temporary file, since there may be millions."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()

    def __enter__(self) -> Members:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(
        self,
        member: tarfile.TarInfo,
        path: str,
        digest: bytes,
        look: int,
        *,
        is_plain: bool,
        attributes: bytes,
        line: bytes,
    ) -> None:
        """Take a member, its path below the top folder, and what its manifest has of it."""
        form = _FOLDER if member.isdir() else _FILE if member.isreg() else _OTHER
        name = path.encode("utf-8", "surrogateescape")
        state = State(name, form, b"", b"")
        with name_os_errors(tempfile.gettempdir()):
            _write_entry(self._file, Entry(state, member.size, digest, look, is_plain, attributes, line))

    def __iter__(self) -> Iterator[Entry]:
        self._file.flush()
        self._file.seek(0)
        yield from _read_entries(self._file)
        self._file.seek(0, os.SEEK_END)


def _write_entry(output: Any, entry: Entry) -> None:
    state = entry.state
    head = _ENTRY.pack(
        len(state.path),
        state.form,
        state.seen,
        state.lasting,
        entry.size,
        entry.digest or _NONE,
        entry.look,
        entry.is_plain,
        len(entry.attributes),
        len(entry.line),
    )
    output.write(b"".join((head, state.path, entry.attributes, entry.line)))


def _read_entries(stream: Any) -> Iterator[Entry]:
    """Yield entries. Raise ValueError for what are none."""
    while head := stream.read(_ENTRY.size):
        if len(head) < _ENTRY.size:
            raise ValueError("it is cut")
        length, form, seen, lasting, size, digest, look, is_plain, more, rest = _ENTRY.unpack(head)
        text = stream.read(length + more + rest)
        if len(text) != length + more + rest:
            raise ValueError("it is cut")
        path, attributes, line = text[:length], text[length : length + more], text[length + more :]
        yield Entry(
            State(path, form, seen, lasting),
            size,
            b"" if digest == _NONE else digest,
            look,
            bool(is_plain),
            attributes,
            line,
        )


# The snapshot of a full archive


def write_snapshot(path: str, about: Mapping[str, Any], members: Iterable[Entry], states: Iterable[State]) -> None:
    """Given a new file, what a snapshot is of, the members of the archive and the states before it, write the snapshot.

    Raise Unproven if they are not of one archive, or OSError; the caller removes the file.
    """
    with name_os_errors(path), new_private(path) as raw:
        with gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=raw, mtime=0) as output:
            output.write(json.dumps({**about, "form": _FORM}).encode() + b"\n")
            seen = iter(states)
            for entry in members:
                state = next((state for state in seen if state.path == entry.state.path), None)
                if state is None:
                    raise Unproven("its archive has what was not seen before")
                is_folder = entry.state.form == _FOLDER
                if is_folder != (state.form == _FOLDER):
                    raise Unproven("its archive has something else than was seen before")
                _write_entry(output, Entry(state, *_rest(entry)))
        raw.flush()
        os.fsync(raw.fileno())


def _rest(entry: Entry) -> tuple[int, bytes, int, bool, bytes, bytes]:
    return entry.size, entry.digest, entry.look, entry.is_plain, entry.attributes, entry.line


@dataclass(frozen=True)
class Snapshot:
    """What is known of a full archive."""

    path: str
    about: Mapping[str, Any]

    def entries(self) -> Iterator[Entry]:
        """Yield its members. Raise Unproven where the file is damaged, or OSError."""
        try:
            with _opened(self.path) as stream:
                stream.readline(_LARGEST_HEADER)
                yield from _read_entries(stream)
        except (ValueError, EOFError, zlib.error, gzip.BadGzipFile, struct.error) as error:
            raise Unproven(f"{self.path}, what is known of its full tarball, is damaged") from error


@contextlib.contextmanager
def _opened(path: str) -> Iterator[Any]:
    with open_plain(path) as raw, gzip.GzipFile(mode="rb", fileobj=raw) as stream:
        yield stream


def read_snapshot(path: str) -> Snapshot | None:
    """Given where a snapshot is kept, return it, None where there is none or it is damaged."""
    try:
        with _opened(path) as stream:
            about = json.loads(stream.readline(_LARGEST_HEADER))
    except (OSError, ValueError, EOFError, zlib.error):
        return None
    return Snapshot(path, about) if isinstance(about, dict) and about.get("form") == _FORM else None


def write_known(snapshot: Snapshot, output: IO[bytes]) -> set[str]:
    """Given a snapshot, write what a reader needs of it; return the paths of the symbolic links of its archive, below the top folder."""
    links = set()
    for entry in snapshot.entries():
        if entry.line.startswith(tarfile.SYMTYPE):
            links.add(os.fsdecode(entry.state.path))
        _write_entry(output, Entry(entry.state, entry.size, entry.digest, entry.look, entry.is_plain, b"", b""))
    return links


def read_known(path: str) -> dict[bytes, Entry]:
    """Given what `write_known` wrote, return {path: entry}. Raise OSError."""
    with open(path, "rb") as stream:
        return {entry.state.path: entry for entry in _read_entries(stream)}


# The lists of folders


def list_folders(states: Iterable[State]) -> dict[bytes, bytes]:
    """Given the states of all that a differential brings back, return {folder: its list, as GNU tar has it}. Raise Unproven for one that is too long."""
    found: dict[bytes, list[bytes]] = {}
    for state in states:
        if state.form == _FOLDER:
            found.setdefault(state.path, [])
        if state.path:
            above, _, name = state.path.rpartition(b"/")
            found.setdefault(above, []).append(name + (b"D" if state.form == _FOLDER else b"Y"))
    lists = {}
    for folder, names in found.items():
        # GNU tar looks names up by bisection
        text = (
            b"".join(name[-1:] + name[:-1] + b"\0" for name in sorted(set(names), key=lambda name: name[:-1])) + b"\0"
        )
        if len(text) > _LARGEST_LIST:
            raise Unproven("one of its folders has too many entries")
        lists[folder] = text
    return lists


class Incremental:
    """The stream of an archive, with the lists of its folders entered in their headers; what it reads is data, judged behind it."""

    def __init__(self, source: IO[bytes], lists: Mapping[bytes, bytes], top: str) -> None:
        self._source = source
        self._lists = lists
        self._top = os.fsencode(top)
        self._ready = bytearray()
        self._skip = 0
        self._plain = False
        """Whether what comes is passed on as it is"""

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes, nothing at the end."""
        while not self._ready:
            if self._plain or self._skip:
                block = self._source.read(size if self._plain else min(size, self._skip))
                self._skip -= min(self._skip, len(block))
                return block
            self._take_header()
            if self._plain and not self._ready:
                return self._source.read(size)
        block = bytes(self._ready[:size])
        del self._ready[:size]
        return block

    def close(self) -> None:
        """Close what it reads."""
        self._source.close()

    def _take_header(self) -> None:
        """Read the headers of the next member."""
        held = b""
        records: dict[bytes, bytes] = {}
        while True:
            block = self._exactly(_BLOCK)
            kind = block[156:157]
            if len(block) < _BLOCK or not block.strip(b"\0"):
                self._ready += held + block
                self._plain = True
                return
            if kind != b"x":
                break
            body = self._exactly(_padded(_number(block[124:136])))
            records = _records(body[: _number(block[124:136])])
            held += block + body
        size = int(records[b"size"]) if records.get(b"size", b"").isdigit() else _number(block[124:136])
        if kind == b"5":
            name = records.get(b"path") or _name(block)
            found = self._lists.get(self._below(name))
            if found is not None and b"GNU.dumpdir" not in records:
                held = _with_record(held, block, name, found)
            size = 0
        self._ready += held + block
        self._skip = _padded(size)

    def _below(self, name: bytes) -> bytes:
        name = name.rstrip(b"/")
        return name[len(self._top) + 1 :] if name.startswith(self._top + b"/") else b"" if name == self._top else b"\0"

    def _exactly(self, size: int) -> bytes:
        if size > 2 * _LARGEST_LIST:
            raise Hostile("its archive has a header that is too long")
        found = b""
        while len(found) < size and (block := self._source.read(size - len(found))):
            found += block
        return found


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _number(field: bytes) -> int:
    """Return a number of a header; 0 for what is none, which is judged by others."""
    text = field.strip(b" \0")
    if field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    return int(text, 8) if text and not text.strip(b"01234567") else 0


def _name(block: bytes) -> bytes:
    parts = (block[345:500].partition(b"\0")[0], block[:100].partition(b"\0")[0])
    return b"/".join(part for part in parts if part)


def _records(content: bytes) -> dict[bytes, bytes]:
    """Return the records of an extended header; what are none is judged by others."""
    records: dict[bytes, bytes] = {}
    while content:
        digits, _, _ = content.partition(b" ")
        if not digits.isdigit() or not 0 < int(digits) <= len(content):
            return records
        key, _, value = content[len(digits) + 1 : int(digits) - 1].partition(b"=")
        records[key] = value
        content = content[int(digits) :]
    return records


def _with_record(held: bytes, block: bytes, name: bytes, found: bytes) -> bytes:
    """Return the extended header before a folder with its list as one more record."""
    if held:
        head, body = held[:_BLOCK], held[_BLOCK : _BLOCK + _number(held[124:136])]
    else:
        above, _, last = name.rstrip(b"/").rpartition(b"/")
        title = b"/".join(part for part in (above, b"PaxHeaders", last) if part)[:100]
        head = title.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + b"0" * 11 + b"\0" + block[136:148]
        head = (head + b" " * 8 + b"x").ljust(257, b"\0") + b"ustar\x0000"
        head = head.ljust(_BLOCK, b"\0")
        body = b""
    body += _record(b"GNU.dumpdir", found)
    head = head[:124] + b"%011o\0" % len(body) + head[136:148] + b" " * 8 + head[156:]
    head = head[:148] + b"%06o\0 " % sum(head) + head[156:]
    return head + body.ljust(_padded(len(body)), b"\0")


def _record(key: bytes, value: bytes) -> bytes:
    rest = b" " + key + b"=" + value + b"\n"
    size = len(rest)
    while len(b"%d" % size) + len(rest) != size:
        size = len(b"%d" % size) + len(rest)
    return b"%d" % size + rest


# The proof


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
        if (found.state.form == _FOLDER) != (state.form == _FOLDER):
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
        return (b"D" if state.form == _FOLDER else b"Y") + name in names(above)

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
        if entry.state.form == _FILE and entry.digest:
            manifest.bytes += entry.size
            digests.put(os.fsdecode(entry.state.path), entry.size, entry.digest, entry.look)
    manifest.digest, manifest.content = total.hexdigest(), content.hexdigest()
