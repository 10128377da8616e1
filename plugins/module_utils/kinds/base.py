"""What every kind of item has in common: a prepared copy that archives as one committed state."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from ..archive.write import Part
from ..system.conversation import NeedsPlace
from ..system.errors import UNABLE, InvalidInput, SourceChanged
from ..system.holes import Holes
from ..system.opened import walk_open
from ..system.paths import is_within
from ..system.processes import Deadline
from ..system.readers import Identity
from ..system.seeing import advice, is_folder, is_there
from ..system.units import and_more
from ..system.view import Place, groups_of, open_thing
from ..system.visible import printable
from ..tree.layout import Tree
from ..tree.publish import make_folders, remove_folder
from .items import Item

if TYPE_CHECKING:
    from .proofs import Proof


@dataclass(frozen=True)
class Context:
    """Where and how a dump works: the tree, this run's stamp, its deadline, and how often scratch copies are rebuilt."""

    tree: Tree
    stamp: str
    deadline: Deadline
    verify_every: int = 7
    full_every: int = 1
    """Nights from one full tarball to the next, of items that say nothing else"""
    clock: str = ""
    """The latest stamp that the controller's clock had shown when the run began, if that is known"""
    identity: Identity = field(default_factory=lambda: Identity(os.geteuid(), viewed=False))
    """As whom programs interpret the item: its owner"""
    known: Mapping[str, Any] = field(default_factory=dict)
    """What an earlier dump noted for this one"""
    good: Mapping[str, Any] = field(default_factory=dict)
    """The record of the item's newest dump that is not suspect, or that somebody accepted, empty where there is none: what a kind finds
    changed since is one of the `doubts` that its record has. What does not fit into a record is `noted` beside it, see tree/noted.py"""
    shown: Sequence[str] = ()
    """What its reader sees: the item, and what it was given besides"""
    left_out: Sequence[str] = ()
    """Paths below the item that changed whenever they were read"""
    lenient: bool = False
    """Whether times of folders may change while they are read, and things may appear that were not there"""
    last: bool = False
    """Whether anything else that changes is told, rather than tried again"""
    base: Mapping[str, Any] | None = None
    """What is known of the full tarball against which a differential is to be made; empty where a full one is to be known for later ones"""


@dataclass(frozen=True)
class Arrangement:
    """What a reader of an item needs: whose the item is, what it is to see, and what it is to know."""

    owner: int
    """The uid as which programs interpret the item"""
    places: Sequence[Place]
    scratch: Sequence[str] = ()
    """Folders that it can write to, empty, and removed when it has ended"""
    kept: Sequence[str] = ()
    """Folders that it can write to, as an earlier dump left them"""
    known: Mapping[str, Any] = field(default_factory=dict)
    confined: bool = True
    """Whether it sees nothing but these; else it is the owner, with all that he has, as programs need that ask a server. Root is root then."""


@dataclass
class Verdict:
    """What is said of an item once it was read."""

    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    """What is not stored of it, though the rest is"""
    noted: Mapping[str, Any] = field(default_factory=dict)
    """What the next dump is to know"""
    doubts: list[str] = field(default_factory=list)
    """Why its content is doubtful, by what was known of it; more may stand in the record"""


class Asked(Protocol):
    """Who knows what an archive holds."""

    def __call__(self, paths: Sequence[str], /) -> Mapping[str, Sequence[Any]]:
        """Return {path: (bytes, sha256)} of those files that the archive holds; the paths are below its top folder."""


_TICK = 0.02
"""Seconds; the clock that file times are taken from moves at least every 10 ms."""


def unchanged() -> None:
    """Confirm nothing: the parts are private copies, which nobody else changes."""


@dataclass
class Snapshot:
    """A consistent copy, ready to be archived."""

    parts: Sequence[Part]
    record: dict[str, Any]
    """What is recorded of it; in it `identity`, {word: text} that stays what it is while it is the same thing, `measures`, {word: amount} of
    content, which no packing and no collecting of garbage changes, `counted`, {word: text} of those amounts that settings of the item change, and
    `doubts`, as in Verdict."""
    revision: int | None = None
    owner: tuple[int, int] | None = None
    fixed_times: bool = False
    sparse: bool = False
    """Whether small holes of sparse files are kept, too."""
    listed: bool = False
    """Whether the archive's manifest is recorded."""
    noted: Mapping[str, Any] = field(default_factory=dict)
    """What the next dump is to know."""
    notes: list[str] = field(default_factory=list)
    """What an operator should know: left out, rebuilt, ignored."""
    confirm: Callable[[], None] = unchanged
    """Called after archiving; raises SourceChanged if what was read is not one state."""
    judge: Callable[[Asked], Verdict] | None = None
    """Called instead where what changed meanwhile need not be an error; raises SourceChanged if it is."""
    examine: Callable[[Asked], Verdict] | None = None
    """Called after `confirm`, to say what is known only then; of what was archived it can ask where the manifest is `listed`."""

    def top(self, name: str) -> str:
        """Return the top folder in the archive."""
        return name if self.revision is None else f"{name}-{self.revision}"


@dataclass(frozen=True)
class Kind:
    """One kind of item: how it is recognized, copied while in use, proved and restored."""

    check: Callable[[Item, Context], None]
    """Raise InvalidInput or ToolMissing if the item cannot be dumped; reads little, changes nothing. In a reader."""
    copy: Callable[[Item, Context], AbstractContextManager[Snapshot]]
    """In a reader, too."""
    arrange: Callable[[Item, Context], Arrangement]
    """What a reader of the item needs. In the process that holds the lock, which reads nothing of the item."""
    prove: Callable[[Proof], None]
    """Raise ProofFailed unless the unpacked item is whole, and what its dump recorded."""
    tools: Sequence[str] = ()
    """Programs that copy and proof need besides tar."""
    clients: Sequence[str] = ()
    """Further ones that a copy needs, which chooses among those that are there: set-up sees to them, and what is missing the copy itself tells."""
    provers: Sequence[str] = ()
    """Further ones that a proof needs, in the same way."""
    serve: Callable[[Item, Context, Mapping[str, Any]], Mapping[str, Any]] = lambda item, context, request: {}
    """Return what the next try of a copy is to know, as JSON, of what the copy asked for by NeedsServer. In a reader that is not confined, of a
    user who reads nothing of others; it may leave files in the folder SERVED of the item's scratch folder."""
    restored: Callable[[Mapping[str, Any], str], Sequence[str]] = lambda record, path: ()
    """Return what there is to do by hand, from the record of a dump and the path where it was restored to."""
    revision: Callable[[Item, Context], int | None] = lambda item, context: None
    """The revision a dump would have now, for check mode. In a reader."""
    keep: Callable[[Item, Context, Mapping[str, Any]], Mapping[str, str] | None] = lambda item, context, noted: None
    """Keep what is noted for the next dump; return {what: digest} of what `keep_noted` kept, for its record. In the process that holds the lock."""
    spoiled: Callable[[Item, Context], None] = lambda item, context: None
    """Called there after a failure: what is kept may be half done."""
    foresee: Callable[[Item, Context], Verdict] = lambda item, context: Verdict()
    """What else a dump would say, for check mode. In a reader."""
    unforeseen: str = ""
    """What check mode says that it does not find."""
    reads: Callable[[Item], tuple[Sequence[str], Sequence[str]]] = lambda item: ((), ())
    """(Paths that a copy reads whole, as the item's owner, and those below them that it can do without)."""
    looks_like: Callable[[str], bool] | None = None
    """Whether a path looks like such a thing, be it damaged or of a form that cannot be dumped; None if it cannot be discovered."""
    is_first: bool = False
    """Of items with one name, which are dumped one after another, it comes first."""
    is_tree: bool = False
    """It is mere files, which no program interprets: root reads them, and may leave out one that never stands still; they are proved where
    they are, may be devices, and each means something without the others."""
    is_file: bool = False
    """Its path is that of a file, the one in its archive."""
    beside: Sequence[str] = ()
    """Endings of the names of files that whoever uses that file takes for a part of it."""
    inner: str = ""
    """The folder in its path that is the thing itself, if it is there."""
    differs: bool = False
    """From night to night most of its files stay the same, byte by byte: differentials pay."""
    takes_in: bool = False
    """What it leads to is a part of it: programs may write there, and it may be another user's that the item's owner can read."""


SERVED = "altbackup"
"""The folder in that of an item which holds what was dumped of a server"""

BESIDE_A_DATABASE = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database"""


def members_of(path: str, members: Sequence[str]) -> int:
    """Return how many of the members are in the folder, whether they can be read or not."""
    return sum(os.path.lexists(os.path.join(path, member)) for member in members)


def require_folder(item: Item) -> None:
    """Raise InvalidInput unless the item's path is a folder that can be read."""
    where = f"item {item.kind} {item.name!r}: path {item.path}"
    if not is_there(item.path):
        raise InvalidInput(f"{where} does not exist")
    if not is_folder(item.path):
        raise InvalidInput(f"{where} is not a folder")
    if not os.access(item.path, os.R_OK | os.X_OK):
        raise InvalidInput(f"{where} cannot be read by uid {os.geteuid()}{advice()}")


LONGEST_PATH = 4095
"""Most bytes of a path that the kernel takes at once; see path_resolution(7)"""


@dataclass
class Look:
    """What was seen of a folder."""

    found: dict[bytes, tuple[int, ...]]
    """{path as tar wants it: identity}, the content of a folder behind it, before any sibling: GNU tar settles mode and time of a
    folder once it has left it"""
    notes: list[str]
    """What cannot be archived"""
    too_long: list[str]
    """Paths below it that are longer than any that can be opened"""


def look_at(
    root: str,
    excluded: Callable[[str, bool], bool] = lambda path, folder: False,
    deadline: Deadline | None = None,
    longest: int = LONGEST_PATH - 2,
) -> Look:
    """Return what is in a folder, or in one that a link leads to, with paths of at most `longest` bytes below it.

    `excluded` is asked with the path below the root and whether it is a folder. Raise InvalidInput where something
    cannot be read, SourceChanged where it vanishes meanwhile, DeadlineExceeded.
    """
    found: dict[bytes, tuple[int, ...]] = {}
    notes: list[str] = []
    too_long: list[str] = []
    with _opened_top(root) as top:
        waiting = [""]
        while waiting:
            path = waiting.pop()
            try:
                status = os.lstat(path, dir_fd=top) if path else os.fstat(top)
                if stat.S_ISSOCK(status.st_mode):
                    notes.append(f"left out {printable(path)}: a socket has no content")
                    continue
                found[os.fsencode(f"./{path}") if path else b"."] = identity(status)
                if stat.S_ISREG(status.st_mode) and not os.access(path or root, os.R_OK, dir_fd=top):
                    raise PermissionError
                if not stat.S_ISDIR(status.st_mode):
                    continue
                if deadline is not None:
                    deadline.remaining()
                for name, is_folder in _entries(path, top):
                    below = f"{path}/{name}" if path else name
                    if not excluded(below, is_folder):
                        fits = len(os.fsencode(below)) <= longest
                        (waiting if fits else too_long).append(below)
            except (FileNotFoundError, NotADirectoryError) as error:
                raise SourceChanged(
                    f"{printable(os.path.join(root, path))} vanished while it was read", [path]
                ) from error
            except PermissionError as error:
                raise unreadable(os.path.join(root, path) if path else root) from error
            except OSError as error:
                if error.errno == errno.ELOOP:  # a link took the place of a folder
                    raise SourceChanged(
                        f"{printable(os.path.join(root, path))} vanished while it was read", [path]
                    ) from error
                raise OSError(error.errno, error.strerror, os.path.join(root, path)) from error
    return Look({name: found[name] for name in sorted(found, key=parts_of_path)}, sorted(notes), sorted(too_long))


@contextmanager
def _opened_top(path: str) -> Iterator[int]:
    """Open the folder, or whatever a path leads to. Raise InvalidInput, SourceChanged or OSError."""
    try:
        is_folder = stat.S_ISDIR(os.stat(path).st_mode)
        descriptor = os.open(path, (os.O_RDONLY | os.O_DIRECTORY if is_folder else os.O_PATH) | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise SourceChanged(f"{printable(path)} vanished while it was read") from error
    except PermissionError as error:
        raise unreadable(path) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _entries(path: str, top: int) -> list[tuple[str, bool]]:
    """Return (name, whether it is a folder) of what is in the folder at a path below the open folder `top`."""
    descriptor = os.open(path or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=top)
    try:
        with os.scandir(descriptor) as entries:
            return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    finally:
        os.close(descriptor)


def walk(
    root: str,
    excluded: Callable[[str, bool], bool] = lambda path, folder: False,
    deadline: Deadline | None = None,
) -> tuple[dict[bytes, tuple[int, ...]], list[str]]:
    """Return ({path as tar wants it: identity}, notes on what cannot be archived) of a folder, as `look_at` does.

    Raise InvalidInput, naming it, for a path that is longer than any that can be opened, too.
    """
    look = look_at(root, excluded, deadline)
    if look.too_long:
        raise InvalidInput(f"{too_long(root, look.too_long)}: nothing of this item is stored")
    return look.found, look.notes


def too_long(root: str, paths: Sequence[str]) -> str:
    """Return the message on paths below a folder that are too long."""
    more = f" and {len(paths) - 1} more are" if len(paths) > 1 else " is"
    size = len(os.fsencode(paths[0]))
    return (
        f"{shortened(os.path.join(root, paths[0]))} (of {size} bytes below the item's folder){more} longer than any path that can be "
        f"opened or restored (about {LONGEST_PATH} bytes)"
    )


_SHOWN_LENGTH = 300


def shortened(path: str) -> str:
    """Return a path as messages show it: of a long one the beginning and the end."""
    text = printable(path)
    half = _SHOWN_LENGTH // 2
    return text if len(text) <= _SHOWN_LENGTH else f"{text[:half]}...{text[-half:]}"


def listed(paths: Sequence[str]) -> str:
    """Return the first of the paths as messages show them, and how many more there are."""
    return f"{', '.join(map(shortened, paths[:_SHOWN]))}{and_more(len(paths), _SHOWN)}"


_SHOWN = 5


def parts_of_path(name: bytes) -> bytes:
    """Return what sorts a path by its parts."""
    return name.replace(b"/", b"\0")


def settle() -> None:
    """Wait until the clock of file times has moved: a second change of a file in the tick of its walk would leave no trace."""
    time.sleep(_TICK)


def identity(status: os.stat_result) -> tuple[int, ...]:
    """Return (mode, uid, gid, size, mtime, ctime, inode) of a stat result: content and attributes do not change without it."""
    return (
        status.st_mode,
        status.st_uid,
        status.st_gid,
        status.st_size if not stat.S_ISDIR(status.st_mode) else 0,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_ino,
    )


def changed_between(before: Mapping[bytes, tuple[int, ...]], after: Mapping[bytes, tuple[int, ...]]) -> list[bytes]:
    """Return the paths of what changed between two walks of a folder, sorted."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def compare(before: Mapping[bytes, tuple[int, ...]], after: Mapping[bytes, tuple[int, ...]]) -> None:
    """Raise SourceChanged, naming what changed, if two walks of a folder differ."""
    changed = [os.fsdecode(name) for name in changed_between(before, after)]
    if changed:
        raise SourceChanged(
            f"changed while it was read: {listed(changed)}",
            [os.fsdecode(name[2:]) for name in changed_between(before, after) if name in before],
        )


@contextmanager
def opened(path: str) -> Iterator[int]:
    """Open what a path leads to, as O_PATH, safely (see view.open_thing). Raise InvalidInput or OSError."""
    descriptor = open_thing(path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def owner_found(path: str) -> int:
    """Return the uid of what a path leads to, opened safely. Raise InvalidInput or OSError."""
    with opened(path) as descriptor:
        return os.fstat(descriptor).st_uid


def scratch_folder(context: Context, item: Item) -> str:
    """Return the private folder for copies of an item."""
    return context.tree.private_path("scratch", item.category, item.name)


def own_folder(tree: Tree, folder: str, owner: int) -> None:
    """Make a private folder, empty, that belongs to a user, though he may not come to it."""
    remove_folder(folder)
    make_folders(folder, tree.private)
    if os.geteuid() == 0:
        _give(folder, owner, groups_of(owner)[1])


def _give(folder: str, owner: int, group: int) -> None:
    """Let a folder belong to a user. Raise InvalidInput where its file system does not keep owners, or OSError."""
    why = "it stayed as it was"
    try:
        os.chown(folder, owner, group, follow_symlinks=False)
    except OSError as error:
        if error.errno not in UNABLE:
            raise
        why = error.strerror or str(error)
    if os.lstat(folder).st_uid != owner:
        raise InvalidInput(
            f"{folder} cannot be given to uid {owner}, the owner of the item ({why}): the file system of the base keeps no owners, so items of "
            f"other users are not read there; put the base on one that does, or let uid {owner} run this for its items"
        )


def give_folder(folder: str, owner: int) -> None:
    """Let a private folder and all below it belong to a user, if it does not yet; follow no link."""
    if os.geteuid() != 0 or os.lstat(folder).st_uid == owner:
        return
    group = groups_of(owner)[1]
    for _, folders, files, descriptor in walk_open(folder):
        for name in [*folders, *files, "."]:
            os.chown(name, owner, group, dir_fd=descriptor, follow_symlinks=False)


def require_plain(
    root: str,
    excepted: Callable[[str], bool],
    deadline: Deadline,
    title: str,
    *,
    program: str = "",
    read: Callable[[str], bool] = lambda path: True,
) -> None:
    """Raise InvalidInput, naming it, if anything below a folder is neither file, folder nor link, but for what is excepted.

    Programs would wait for ever at a named pipe. The same is raised where files that a `program` is to `read` have large holes,
    which would cost it hours, and the disk.
    """
    holes = Holes(title, program)
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        deadline.remaining()
        try:
            with os.scandir(os.path.join(root, folder) if folder else root) as entries:
                for entry in entries:
                    path = f"{folder}/{entry.name}" if folder else entry.name
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(path)
                    elif entry.is_file(follow_symlinks=False) and program and read(path):
                        holes.add(entry.path, entry.stat(follow_symlinks=False))
                    elif not (entry.is_file(follow_symlinks=False) or entry.is_symlink() or excepted(path)):
                        raise InvalidInput(
                            f"{title}: {printable(os.path.join(root, path))} is a named pipe, a socket or a device, "
                            "at which programs wait for ever: remove it"
                        )
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError as error:
            raise unreadable(os.path.join(root, folder)) from error


def unreadable(path: str | bytes) -> InvalidInput:
    """Return the error that tells as whom something cannot be read."""
    whose = ""
    with suppress(OSError):
        whose = f" (it belongs to uid {os.lstat(path).st_uid})"
    name = printable(os.fsdecode(path))
    return InvalidInput(f"{name} cannot be read by uid {os.geteuid()}{whose}: nothing of this item is stored{advice()}")


def require_inside(item: Item, context: Context, relpaths: Sequence[str], folders: bool = False) -> None:
    """Raise NeedsPlace for a path in an item that leads, by a link, to something that was not shown to this reader.

    With `folders` it needs the folder of the last of them.
    """
    shown = [*context.shown, os.path.realpath(item.path)]
    for relpath in relpaths:
        path = os.path.join(item.path, relpath)
        real = os.path.realpath(path)
        if not any(is_within(real, place) for place in shown):
            needed = os.path.dirname(real) if folders and relpath == relpaths[-1] else real
            raise NeedsPlace(f"{printable(path)} leads to {printable(real)}", needed)


def owner_of(path: str) -> tuple[int, int]:
    """Return (uid, gid) of a path."""
    status = os.stat(path)
    return status.st_uid, status.st_gid
