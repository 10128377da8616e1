"""Dumping: one run's tarballs of a list of items, each published by itself."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import IO, Any

from ..archive.churn import compare_lists
from ..archive.differential import (
    Incremental,
    Members,
    State,
    Unproven,
    fill,
    list_folders,
    new_private,
    read_known,
    read_states,
    replay,
    select_changed,
    write_snapshot,
)
from ..archive.owners import Owners, is_kept
from ..archive.unpack import Judge
from ..archive.write import ArchiveFormat, Digests, Manifest, Part, compressor, packed, store_archive, survey
from ..kinds.base import Arrangement, Context, Kind, Snapshot, Verdict, give_folder, listed, opened, own_folder, walk
from ..kinds.items import Item, find_problems
from ..kinds.patterns import Patterns
from ..kinds.registry import CATEGORIES, kind_of
from ..system import mounts, progress
from ..system.digest import cores, in_parallel, open_plain
from ..system.errors import (
    FULL,
    AltbackupError,
    DeadlineExceeded,
    DigestMismatch,
    Hostile,
    InvalidInput,
    NoLinks,
    NoRoom,
    SourceChanged,
    ToolFailed,
    ToolMissing,
)
from ..system.names import Directory, Names
from ..system.processes import Child, Deadline, find_tool
from ..system.readers import TEMPORARY_FOLDER, Conversation, Identity, NeedsPlace, Reader, Readers
from ..system.twins import set_mode
from ..system.units import first_of, readable
from ..system.view import Place
from ..system.visible import extra_vars
from ..tree import doubt
from ..tree.contents import CONTENT
from ..tree.failures import explain, failure
from ..tree.incomplete import missing_of
from ..tree.layout import (
    ALONE,
    PROOF,
    TEMPORARY,
    Tarball,
    Tree,
    base_in,
    describe,
    describe_as,
    parse_filename,
    require_there,
    scan,
    tarball_filename,
)
from ..tree.marks import Marks, marks_of
from ..tree.noted import NotNoted, forget_noted, keep_noted, noted_by, open_noted
from ..tree.owner import source_of
from ..tree.publish import (
    link,
    point_last,
    prune_empty,
    publish,
    read_record,
    record_of,
    record_path,
    remove_folder,
    remove_if_there,
    require_writable,
    verify,
    write_record,
    write_sidecar,
)
from ..tree.readings import read_first
from ..tree.restored import require_adopted
from ..tree.sidecar import Dna
from ..tree.stamps import Moment, day_of, parse_stamp
from ..tree.suspects import doubts_of
from ..tree.trash import make_room
from .bases import Base, about_full, find_base, keep_snapshot, nights_of
from .contents import alike, same_as
from .controller import CONTROLLER_KEY, controller_item, unpack_controller

_PAUSES = (0.1, 0.3, 0.9, 2.7)
"""Seconds between attempts at an item that changes while it is read."""
_MORE_TRIES = 3
"""Attempts at a folder without what changed in the last one of these"""
_STAGE = "dump"
_MOST_PLACES = 20
"""Most folders out of an item that its reader is given"""
_FILES = "files"
"""What is noted of a folder: what its files hold"""
_STATES, _KNOWN = "states", "known"
"""Files in the folder of a reader: what it has seen, and what it is to know of a full tarball"""
_MOST_TRIED = 512
"""Of about how many files it is told how their content looks, at most: of more that tells nothing more"""


@dataclass
class Outcome:
    """What became of one item."""

    tarball: dict[str, Any] | None = None
    changed: bool = False
    failures: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    refused: str = ""
    """Why the item was not read in a view of its own"""


def dump(
    base: str,
    items: Sequence[Mapping[str, Any]],
    stamp: str,
    form: ArchiveFormat,
    context_options: Mapping[str, Any],
    *,
    received: Sequence[str] = (),
    controller: str = "",
    limits: doubt.Limits | None = None,
    check_mode: bool = False,
) -> dict[str, Any]:
    """Given a base, items as written and a stamp, make the tarballs; return `tarballs`, `failures`, `notes` and `changed`.

    One that is not what an item should hold, within `limits` and those of the item, is suspect: kept, and a failure until it is accepted.

    `received` are folders where the node keeps copies that it receives: no item may hold them. What a `controller` packed
    is one more item.
    In check mode nothing is written and the tarballs are those that would be made; what cannot be known yet is empty.
    Raise AltbackupError where nothing can be done at all.
    """
    parse_stamp(stamp)
    compressor(form)
    tree = require_writable(base)
    require_there(tree)
    context = Context(tree, stamp, **context_options)
    failures: list[dict[str, Any]] = []
    marks = _marks(tree, failures)
    own = _controller_items(tree, controller, check_mode, failures)
    limit = mounts.answer_timeout(context.deadline)
    silent = mounts.find_hung(received, limit)
    good, bad = find_problems(
        [*items, *own],
        base,
        [folder for folder in received if folder not in silent],
        lambda asked: _silent_items(asked, limit),
    )
    failures += [_bad_input(value, reason) for value, reason in bad]
    if not items:
        failures.append(failure(_STAGE, f"there are no items to dump to {base}: nothing was backed up"))
    notes: list[str] = []
    groups: dict[str, list[Item]] = {}
    kinds = {item.kind: kind_of(item.kind) for item in good}  # read now: readers, in their views, can import nothing
    for item in sorted(good, key=lambda item: (item.name, not kinds[item.kind].is_first)):
        groups.setdefault(item.name, []).append(item)
    predict_or_make = _predict if check_mode else _dump_item

    with _modes_kept(tree), Readers() as readers:
        directory = Directory()

        def work(group: list[Item]) -> list[Outcome]:
            return [
                _guarded(
                    predict_or_make, _Dump(item, context, form, readers, directory, _limits_of(item, limits), marks)
                )
                for item in group
            ]

        outcomes = [outcome for done in in_parallel(work, list(groups.values()), max(2, cores())) for outcome in done]
    for outcome in outcomes:
        failures += outcome.failures
        notes += outcome.notes
    notes += sorted({outcome.refused for outcome in outcomes if outcome.refused})
    full = [item.key for item in good if (item.full_every or 1) > 1 and nights_of(item, context, form) == 1]
    if full:
        notes.append(
            f"{listed(full)}: full every night, though full_every asks for more: differentials do not pay for what they are"
        )
    if check_mode:
        unforeseen = {name: kind.unforeseen for name, kind in kinds.items() if kind.unforeseen}
        notes += [
            f"{listed([item.key for item in good if item.kind == name])}: {text}" for name, text in unforeseen.items()
        ]
    return {
        "changed": any(outcome.changed for outcome in outcomes),
        "tarballs": [outcome.tarball for outcome in outcomes if outcome.tarball],
        "failures": failures,
        "notes": notes,
    }


def _marks(tree: Tree, failures: list[dict[str, Any]]) -> Marks:
    """Return what is accepted; where that cannot be known it is a failure, and nothing is."""
    try:
        return marks_of(tree)
    except (AltbackupError, OSError) as error:
        failures.append(failure(_STAGE, error))
        return Marks()


def _limits_of(item: Item, limits: doubt.Limits | None) -> doubt.Limits:
    """Return how far a dump of an item may be from earlier ones: what it says itself goes before what holds for all."""
    common = limits or doubt.Limits()
    return doubt.Limits(item.shrink or common.shrink, item.churn or common.churn)


@contextlib.contextmanager
def _modes_kept(tree: Tree) -> Iterator[None]:
    """Give a base and its private folders their modes back after the block: readers without a view have to come to their scratch folders."""
    modes = {folder: os.stat(folder).st_mode & 0o7777 for folder in (tree.private, tree.base)}
    try:
        yield
    finally:
        for kind in ("tmp", "scratch", "building"):
            folders = [tree.private_path(kind), *_folders_in(tree.private_path(kind))]
            modes = {**dict.fromkeys(filter(os.path.isdir, folders), 0o700), **modes}
        for path, mode in modes.items():
            with contextlib.suppress(OSError):  # of a base that is gone each item has failed
                if os.stat(path).st_mode & 0o7777 != mode:
                    set_mode(path, mode)


def _folders_in(path: str) -> list[str]:
    return (
        [entry.path for entry in os.scandir(path) if entry.is_dir(follow_symlinks=False)] if os.path.isdir(path) else []
    )


def _controller_items(
    tree: Tree, packed: str, check_mode: bool, failures: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return the controller's own item, if it handed one over, with its folder made; a failure is reported."""
    if not packed:
        return []
    try:
        if not check_mode:
            unpack_controller(tree, packed)
        return [controller_item(tree)]
    except (AltbackupError, OSError) as error:
        failures.append(failure(_STAGE, error, key=CONTROLLER_KEY))
        return []


def _silent_items(items: Sequence[Item], limit: float) -> dict[Item, str]:
    """Given items, return why those do not answer whose path, or a mount in it that is not excluded, does not within a limit."""
    silent = mounts.find_hung_within({item: item.path for item in items if item.path}, limit, _enters)
    return {item: mounts.hung_message(path, limit) for item, path in silent.items()}


def _enters(item: Item, inside: str) -> bool:
    """Given an item and a path from its own, return whether its dump goes there."""
    patterns = Patterns(item.exclude)
    parts = inside.split("/")
    return not any(patterns.match("/".join(parts[:count]), True) for count in range(1, len(parts) + 1))


def _bad_input(value: Mapping[str, Any], reason: str) -> dict[str, Any]:
    entry = failure(_STAGE, reason)
    if isinstance(value, Mapping):
        entry["category"] = CATEGORIES.get(str(value.get("kind")), "")
        entry["name"] = str(value.get("name") or "")
    return entry


@dataclass(frozen=True)
class _Past:
    """What earlier dumps of an item recorded."""

    good: Sequence[Mapping[str, Any]] = ()
    """The records to compare with, oldest first"""
    doubtful: Mapping[str, Any] | None = None
    """That of the newest dump before this one, if it is none to compare with"""
    noted: frozenset[str] = frozenset()
    """Digests of what any of them noted"""
    whole: bool = True
    """Whether all records could be read"""

    @property
    def last(self) -> Mapping[str, Any]:
        """The newest one to compare with, empty without one."""
        return self.good[-1] if self.good else {}


@dataclass
class _Dump:
    """One item, how it is dumped, and what became of it."""

    item: Item
    context: Context
    form: ArchiveFormat
    readers: Readers
    directory: Directory
    limits: doubt.Limits
    marks: Marks
    past: _Past = field(default_factory=_Past)
    outcome: Outcome = field(default_factory=Outcome)
    base: Base | None = None
    """Against what a differential is made, if it is to be one"""

    @property
    def is_known(self) -> bool:
        """Whether full tarballs of the item are to be known, for later differentials."""
        return nights_of(self.item, self.context, self.form) > 1


def _guarded(function: Callable[[_Dump], None], work: _Dump) -> Outcome:
    """Work on one item so that nothing that goes wrong with it reaches the others; return what became of it."""
    item, failures = work.item, work.outcome.failures
    try:
        with progress.at_work(item.key, lambda: _last_size(work)):
            function(work)
    except (AltbackupError, OSError) as error:
        failures.append(failure(_STAGE, error, key=item.key))
    except Exception as error:  # noqa: BLE001 (a bug that one item meets does not stop the others)
        reason = f"item {item.kind} {item.name!r}: unexpected {type(error).__name__}: {error}"
        failures.append(failure(_STAGE, reason, key=item.key))
    return work.outcome


def _last_size(work: _Dump) -> int:
    """Return the bytes of the item's newest tarball, 0 without one."""
    with contextlib.suppress(AltbackupError, OSError):
        found = scan(work.context.tree, keys={work.item.key}).verified()
        return max(found, key=lambda tarball: tarball.stamp).dna.size if found else 0  # type: ignore[union-attr]
    return 0


_HARMLESS = (DeadlineExceeded, InvalidInput, SourceChanged, ToolMissing)
"""What ends a reader before it has done anything to what is kept, or while it went on as before"""


class _Reading:
    """A reader at work on an item, as a context manager; it was given all places that it needs."""

    def __init__(self, work: _Dump, predicted: bool) -> None:
        self._work = work
        self._predicted = predicted
        self._reader: Reader | None = None
        self._arrangement = Arrangement(0, [])
        self._made: list[str] = []
        self.said: dict[str, Any] = {}
        self.noted: Mapping[str, str] = {}
        """{what: digest} of what its kind kept of it for later dumps, known once it has ended"""
        self.owners = Owners()
        """Those of what is read, as its archive has them"""
        self._own = ""

    def states(self) -> Iterator[State]:
        """Yield what was seen of what is read. Raise Unproven for what is none."""
        return read_states(os.path.join(self._own, _STATES))

    def __enter__(self) -> _Reading:
        work = self._work
        kind = kind_of(work.item.kind)
        try:
            self._arrangement = self._arrange(kind)
            places = [*self._arrangement.places, *(() if self._predicted else self._writable_places())]
            most = len(places) + _MOST_PLACES
            while True:
                self._begin(places)
                try:
                    self.said = self._result()
                except NeedsPlace as error:
                    if len(places) == most:
                        raise
                    places.append(self._admit(error))
                else:
                    if not self._predicted:
                        self._name_owners()
                    return self
        except BaseException as error:
            self.__exit__(type(error), error)
            raise

    def __exit__(self, kind: object, error: BaseException | None = None, *_: object) -> None:
        item, context = self._work.item, self._work.context
        if self._reader is not None:
            self._reader.__exit__()
        try:
            if "noted" in self.said:
                self.noted = kind_of(item.kind).keep(item, context, self.said["noted"]) or {}
            elif self._reader is not None and not (self._predicted or isinstance(error, _HARMLESS)):
                kind_of(item.kind).spoiled(item, context)
        finally:
            for folder in self._made:
                remove_folder(folder)
                if error is not None:
                    prune_empty(os.path.dirname(folder), context.tree.private)

    def _name_owners(self) -> None:
        """Tell the reader the names that this node has for the owners of what it reads: in its view it could ask for none but those of files."""
        pairs = _owners_told(self.said.pop("owners"))
        names = names_for(pairs, self._work.directory, self._work.item, self._work.outcome)
        users, groups = names.users, names.groups
        self.owners = Owners({(uid, gid, users.get(uid, ""), groups.get(gid, "")) for uid, gid in pairs})
        if self._reader is not None:
            self._reader.conversation.send({"users": list(users.items()), "groups": list(groups.items())})

    @property
    def stream(self) -> IO[bytes]:
        """The archive that is read."""
        if self._reader is None:
            raise AssertionError("nothing is read")
        return self._reader.stream

    def end(self) -> None:
        """End the reader, if it still works."""
        if self._reader is not None:
            self._reader.end()

    def check(self, deadline: Deadline, what: str) -> None:
        """Wait until all is read. Raise what made it fail."""
        self._result()

    def confirm(self, digests: Digests) -> Verdict:
        """Given those of the archive, return what is said of what was read, once it is known that it was one state. Raise SourceChanged if not."""
        if self._reader is None:
            raise AssertionError("nothing is read")
        self._reader.conversation.send({})
        said = self._result()
        while "asked" in said:
            self._reader.conversation.send({"told": digests.look_up([str(path) for path in said["asked"]])})
            said = self._result()
        if said["noted"]:
            self.said["noted"] = said["noted"]
        notes, failures, doubts = ([str(text) for text in said[name]] for name in ("notes", "failures", "doubts"))
        return Verdict(notes, failures, doubts=doubts)

    def _arrange(self, kind: Kind) -> Arrangement:
        item = self._work.item
        try:
            return kind.arrange(item, self._work.context)
        except FileNotFoundError as error:
            if error.filename != item.path:
                raise
            what = "file" if kind.is_file else "folder"
            problem = f"is not a {what}, but a link to nothing" if os.path.lexists(item.path) else "does not exist"
            raise InvalidInput(f"item {item.kind} {item.name!r}: path {item.path} {problem}") from error

    def _writable_places(self) -> Iterator[Place]:
        """Make the folders that the reader can write to, and yield them."""
        tree, item, owner = self._work.context.tree, self._work.item, self._arrangement.owner
        own = self._own = tree.private_path("tmp", f"{TEMPORARY}{os.getpid()}-{item.category}-{item.name}.reader")
        base = os.path.dirname(tree.private)
        for folder in (own, *self._arrangement.scratch):
            own_folder(tree, folder, owner)
            self._made.append(folder)
            if folder == own and self._work.base is not None:
                self._work.base.hand_over(os.path.join(folder, _KNOWN), folder)
            yield Place(folder, writable=True, inside=TEMPORARY_FOLDER if folder == own else "", below=base)
        for folder in self._arrangement.kept:
            give_folder(folder, owner)
            yield Place(folder, writable=True, below=base)

    def _begin(self, places: list[Place]) -> None:
        work, owner = self._work, self._arrangement.owner
        if self._reader is not None:
            self._reader.__exit__()
        shown = [place.inside or place.path for place in places]
        base = work.base.about if work.base else {} if work.is_known else None
        context = replace(work.context, known=self._arrangement.known, shown=shown, base=base)
        self._reader = work.readers.begin(
            read_item,
            work.item,
            context,
            self._predicted,
            places=places,
            owner=owner,
            confined=self._arrangement.confined,
            as_root=kind_of(work.item.kind).is_tree or (owner == 0 and not self._arrangement.confined),
        )

    def _result(self) -> dict[str, Any]:
        if self._reader is None:
            raise AssertionError("nothing is read")
        said = self._reader.conversation.result(self._work.context.deadline)
        if isinstance(said, dict) and "refused" in said:
            why = str(said["refused"])
            if why and os.geteuid() == 0 and self._arrangement.confined:
                self._work.outcome.refused = f"the kernel does not allow a view that holds an item alone ({why}): items were read as their owners"
            said = said["value"]
        if not isinstance(said, dict):
            raise AltbackupError("a reader said what is no result")
        return said

    def _admit(self, error: NeedsPlace) -> Place:
        """Return what an item needs besides itself, if it is its owner's. Raise InvalidInput."""
        item, owner = self._work.item, self._arrangement.owner
        title = f"item {item.kind} {item.name!r}: {error}"
        try:
            with opened(error.path) as descriptor:
                status = os.fstat(descriptor)
        except FileNotFoundError:
            if not error.optional:
                raise InvalidInput(f"{title}, which does not exist") from None
            return Place(error.path, absent=True)
        except (OSError, InvalidInput) as reason:
            raise InvalidInput(f"{title}, which cannot be looked at: {explain(reason)}") from reason
        if stat.S_IFMT(status.st_mode) not in (stat.S_IFREG, stat.S_IFDIR):
            raise InvalidInput(f"{title}, which is neither file nor folder: it is not read")
        if status.st_uid == owner or os.geteuid() != 0:
            return Place(error.path, writable=kind_of(item.kind).takes_in)
        if kind_of(item.kind).takes_in and self._may_read(error.path):
            return Place(error.path)
        raise InvalidInput(
            f"{title}, which belongs to uid {status.st_uid}, not to uid {owner} as the item does: it is not read. "
            "Put a copy there, mount it there (mount --bind), or give it to the same owner"
        )

    def _may_read(self, path: str) -> bool:
        """Return whether the owner of the item can read a file himself."""
        work = self._work
        asked = work.readers.begin(can_read, path, places=[], owner=self._arrangement.owner, confined=False)
        with asked as reader:
            return reader.conversation.result(work.context.deadline)["value"] is True


_NUMBERS = range(1 << 32)
"""Of users and groups"""


def _owners_told(value: object) -> list[tuple[int, int]]:
    """Return the (uid, gid) that a reader told. Raise AltbackupError for what is none."""
    pairs = []
    for pair in value if isinstance(value, list) else [None]:
        if (
            not isinstance(pair, list)
            or len(pair) != 2
            or not all(isinstance(each, int) and each in _NUMBERS for each in pair)
        ):
            raise AltbackupError("a reader said what are no owners")
        pairs.append((pair[0], pair[1]))
    return pairs


def names_for(owners: Iterable[tuple[int, int]], directory: Directory, item: Item, outcome: Outcome) -> Names:
    """Given (uid, gid) of what is archived, return the names that headers have beside the numbers; none where one of them is not kept.

    tar itself would put such a one there. A note tells why there are none.
    """
    pairs = list(owners)
    found = directory.names({uid for uid, _ in pairs}, {gid for _, gid in pairs})
    odd = [f"user {uid}" for uid, name in sorted(found.users.items()) if not is_kept(name)]
    odd += [f"group {gid}" for gid, name in sorted(found.groups.items()) if not is_kept(name)]
    why = found.lacking
    if odd:
        why = f"this node's name of {first_of(odd, 3)} is none that an archive could hold: it is too long, or has what no name has"
    if not why:
        return found
    note = f"{item.key}: its archive has the owners' numbers without their names: {why}"
    outcome.notes += [note] if note not in outcome.notes else []
    return Names()


def can_read(identity: Identity, conversation: Conversation, stream: IO[bytes], path: str) -> bool:
    """Return whether this reader can open a plain file."""
    try:
        open_plain(os.path.realpath(path)).close()
        return True
    except OSError:
        return False


def read_item(
    identity: Identity,
    conversation: Conversation,
    stream: IO[bytes],
    item: Item,
    context: Context,
    predicted: bool,
) -> dict[str, Any]:
    """Read an item, as a reader: say what its copy is, write its archive to the stream, and confirm that it was one state.

    With `predicted` return only which revision it would have, and see that what it would read can be read. Raise AltbackupError or OSError.
    """
    context = replace(context, identity=identity)
    try:
        return _read(conversation, stream, item, context, predicted)
    except ToolFailed:
        look_through(item, context)  # programs have many words for what they may not read
        raise


def _read(
    conversation: Conversation, stream: IO[bytes], item: Item, context: Context, predicted: bool
) -> dict[str, Any]:
    kind, identity = kind_of(item.kind), context.identity
    kind.check(item, context)
    for tool in (*kind.tools, "tar"):
        find_tool(tool)
    if predicted:
        look_through(item, context)
        return {"revision": kind.revision(item, context), **vars(kind.foresee(item, context))}
    with kind.copy(item, context) as prepared:
        chosen = _choose(prepared, item, context)
        if not chosen.listed:
            _judge(item, chosen.top, context).look_at_names(_entries(prepared.parts, chosen.top))
        surveyed = survey(prepared.parts)
        owners = surveyed.owners if prepared.owner is None else [prepared.owner]
        if chosen.differs:
            surveyed = replace(surveyed, holes=survey(chosen.parts).holes)
        told = {"revision": prepared.revision, "record": prepared.record, "noted": prepared.noted}
        amounts = {"count": sum(len(part.names) for part in prepared.parts), "owners": list(owners)}
        how = {"listed": chosen.listed, "way": chosen.way, "differs": chosen.differs}
        conversation.send({"value": {**told, **amounts, **how}})
        named = conversation.receive()

        def as_root(argv: Sequence[str | bytes]) -> list[str | bytes]:
            return replace(identity, uid=os.geteuid()).argv(argv, "dac_read_search", "sys_admin")

        with packed(
            chosen.parts,
            top=chosen.top,
            owner=prepared.owner,
            fixed_times=prepared.fixed_times,
            sparse=prepared.sparse,
            stdout=stream,
            as_user=as_root,
            surveyed=surveyed,
            names=Names(dict(named["users"]), dict(named["groups"])),
        ) as tar:
            stream.close()
            try:
                tar.check(context.deadline, f"archiving {item.place}")
            except ToolFailed:
                if prepared.judge is None or not all(map(_tells_of_a_change, tar.lines())):
                    prepared.confirm()  # tar fails where a file changes or vanishes while it is read: that is worth another try
                    raise
            conversation.send({"value": {}})
            conversation.receive()
            return vars(_verdict(prepared, tar, conversation))


@dataclass(frozen=True)
class _Chosen:
    """What of a copy is archived, and how."""

    parts: Sequence[Part]
    top: str
    listed: bool
    way: Sequence[Any] = ()
    """How its archives are made: a differential is of the same way as its full tarball"""
    differs: bool = False


def _choose(prepared: Snapshot, item: Item, context: Context) -> _Chosen:
    """Given a copy, return what of it is archived: what changed since a full tarball, if that is to be known and goes; what was seen is written down."""
    whole = _Chosen(prepared.parts, prepared.top(item.name), prepared.listed)
    if context.base is None:
        return whole
    owner = None if prepared.owner is None else list(prepared.owner)
    way = [owner, prepared.fixed_times, prepared.sparse]
    differs = context.base.get("way") == way
    folder = tempfile.gettempdir()
    remove_if_there(os.path.join(folder, _STATES))
    with new_private(os.path.join(folder, _STATES)) as output:
        parts = select_changed(
            prepared.parts,
            read_known(os.path.join(folder, _KNOWN)) if differs else None,
            output,
            context.deadline,
            owner=owner is not None,
            fixed_times=prepared.fixed_times,
        )
    return _Chosen(parts, str(context.base["top"]) if differs else whole.top, True, way, differs)


_CHANGE = re.compile(
    r"(?:.*/)?[\w.-]+: (?:.*: (?:file changed as we read it|File shrank by \d+ bytes?; padding with zeros|File removed before we read it"
    r"|(?:Warning: )?Cannot \w+: (?:No such file or directory|Not a directory|Too many levels of symbolic links))"
    r"|Exiting with failure status due to previous errors)"
)
"""How GNU tar tells of what changed or vanished while it was read, after which it goes on"""
_NO_ATTRIBUTES = re.compile(r".*: Warning: Cannot \w*xattr\w*: Operation not supported")
"""How it tells, of each file, that nothing on its file system can have attributes"""


def _tells_of_a_change(line: str) -> bool:
    return bool(_CHANGE.fullmatch(line))


def _verdict(prepared: Snapshot, tar: Child, conversation: Conversation) -> Verdict:
    """Return what is said of an item once its archive is written. Raise SourceChanged."""

    def asked(paths: Sequence[str]) -> Mapping[str, Sequence[Any]]:
        conversation.send({"value": {"asked": list(paths)}})
        told: Mapping[str, Sequence[Any]] = conversation.receive()["told"]
        return told

    if prepared.judge is None:
        prepared.confirm()
        verdict = Verdict() if prepared.examine is None else prepared.examine(asked)
    else:
        verdict = prepared.judge(asked)
    told = [line for line in tar.stderr().splitlines() if not _NO_ATTRIBUTES.fullmatch(line)]
    more = [line for line in told if not (prepared.judge and _tells_of_a_change(line))]
    return Verdict([*prepared.notes, *verdict.notes, *more], verdict.failures, verdict.noted, verdict.doubts)


def look_through(item: Item, context: Context) -> None:
    """See whether what a dump of an item would read can be read, without reading it; `Kind.foresee` does that for folders. Raise InvalidInput."""
    paths, needless = kind_of(item.kind).reads(item)
    there = [path for path in paths if os.path.lexists(path) and not os.path.islink(path)]
    with contextlib.suppress(SourceChanged):  # it is in use, and a dump would try again
        if not there:
            return
        if context.identity.viewed:  # then programs may read what others own in it
            require_readable(there, needless)
        else:
            context.identity.call(require_readable, there, needless)


def require_readable(paths: Sequence[str], needless: Sequence[str] = ()) -> None:
    """Raise InvalidInput unless this user can read files, or folders with all below them but for what is needless; no link in them is followed."""
    for path in paths:
        walk(path, lambda below, folder: f"{path}/{below}" in needless)  # noqa: B023 (it is called in this turn)


def _predict(work: _Dump) -> None:
    """Find out what a dump of this item would give now."""
    item, context, form, outcome = work.item, work.context, work.form, work.outcome
    outcome.notes += require_adopted(item.path, item.key, source_of(context.tree)) if item.path else []
    revision = None
    if item.key != CONTROLLER_KEY:  # its folder is made by the dump itself
        with _Reading(work, predicted=True) as reading:
            said = reading.said
            revision = _whole(said["revision"])
            outcome.notes += [f"{item.key}: {note}" for note in said.pop("notes")]
            _report_incomplete(item, map(str, said.pop("failures")), outcome)
            del said["noted"]
    stored = _stored_under(context, item)
    if stored:
        outcome.tarball = _describe_stored(context.tree, stored, 0.0)
        _report_suspect(work, outcome.tarball["record"])
        return
    differs = find_base(item, context, form, _before(context, item), work.marks) is not None
    relpath = f"{item.key}/{context.stamp}/{tarball_filename(item.name, revision, form.extension, differs=differs)}"
    outcome.tarball = describe_as(context.tree, relpath, Dna("", 0, form.algorithm), 0.0)
    outcome.changed = True


def _describe_stored(tree: Tree, tarball: Tarball, seconds: float) -> dict[str, Any]:
    return {**describe(tree, tarball, seconds), "record": read_record(tree, tarball.key, tarball.stamp)}


def _stored_under(context: Context, item: Item) -> Tarball | None:
    """Return the item's verified tarball under this stamp, if it has one."""
    found = scan(context.tree, day_of(context.stamp), {item.key}).verified()
    return next(
        (
            tarball
            for tarball in found
            if tarball.stamp == context.stamp and parse_filename(tarball.filename, item.name)
        ),
        None,
    )


def _whole(number: object) -> int | None:
    """Return a revision that a reader told. Raise AltbackupError for what is none."""
    if number is None or (isinstance(number, int) and number >= 0):
        return number
    raise AltbackupError(f"a reader said {number!r}, which is no revision")


def _dump_item(work: _Dump) -> None:
    """Make, or find unchanged, the item's tarball under this stamp."""
    item, context, outcome = work.item, work.context, work.outcome
    start = time.monotonic()
    outcome.notes += require_adopted(item.path, item.key, source_of(context.tree)) if item.path else []
    found = _complete_leftovers(context.tree, item, outcome)
    stored = _stored_under(context, item)
    if stored:
        outcome.tarball = _describe_stored(context.tree, stored, time.monotonic() - start)
        _report_incomplete(item, missing_of(outcome.tarball["record"]), outcome)
        if doubts_of(outcome.tarball["record"]):
            work.past = _past_of(work, found)
        _report_suspect(work, outcome.tarball["record"])
        _move_last(context, item, context.stamp, outcome)
        return
    work.past = _past_of(work, found)
    work.context = replace(context, good=work.past.last)
    more = _MORE_TRIES if kind_of(item.kind).is_tree else 0
    pauses = (*_PAUSES, *((0.0,) * more), None)
    for tries, pause in enumerate(pauses, 1):
        try:
            _archive_with_room(work, start)
            return
        except SourceChanged as error:
            if pause is None:
                raise AltbackupError(f"item {item.kind} {item.name!r}: {error} (tried {tries} times)") from error
            if tries > len(_PAUSES):
                work.context = _with_left_out(work.context, error.paths, last=tries + 1 == len(pauses))
            context.deadline.remaining()
            time.sleep(pause)


def _past_of(work: _Dump, tarballs: Iterable[Tarball]) -> _Past:
    """Given the item's verified tarballs, return what their dumps recorded; a record that is damaged is reported, and counts for nothing."""
    item, context = work.item, work.context
    records, whole = {}, True
    stamps = sorted({tarball.stamp for tarball in tarballs if parse_filename(tarball.filename, item.name)})
    for stamp in stamps:
        try:
            record = record_of(context.tree, item.key, stamp)
            if doubt.stamp_of(record) == stamp:
                records[stamp] = record
        except AltbackupError as error:
            work.outcome.failures.append(failure(_STAGE, error, key=item.key))
            whole = False
    before = [record for stamp, record in records.items() if stamp < context.stamp]
    if whole and not before and any(stamp < context.stamp for stamp in stamps):
        work.outcome.notes.append(f"{item.key}: no earlier dump left a record, so this one was compared with nothing")
    good = doubt.trusted(before, work.marks.accepted.get(item.key, ""))
    doubtful = before[-1] if before and before[-1:] != good[-1:] else None
    noted = frozenset(name for record in records.values() for name in noted_by(record).values())
    return _Past(good, doubtful, noted, whole)


def _with_left_out(context: Context, paths: Sequence[str], *, last: bool) -> Context:
    """Return how a folder is read of which some paths changed whenever it was read: without them."""
    return replace(context, lenient=True, last=last, left_out=sorted({*context.left_out, *paths}))


def _report_incomplete(item: Item, reasons: Iterable[str], outcome: Outcome) -> None:
    outcome.failures += [
        failure(_STAGE, f"item {item.kind} {item.name!r}: {reason}", key=item.key) for reason in reasons
    ]


def _report_suspect(work: _Dump, record: Mapping[str, Any]) -> None:
    """Report a dump that is suspect, unless somebody accepted it."""
    item, reasons = work.item, doubts_of(record)
    if reasons and not work.marks.accepts(item.key, doubt.stamp_of(record)):
        source = source_of(work.context.tree) or "SOURCE"
        reason = _suspect_reason(item, source, record, reasons, doubt.stamp_of(work.past.last))
        work.outcome.failures.append(failure(_STAGE, reason, relpath=str(record["relpath"])))


def _suspect_reason(item: Item, source: str, record: Mapping[str, Any], reasons: Sequence[str], good: str) -> str:
    """Return what is said of a suspect: why it is one, what became of it, and what to do; `good` is the stamp of the last good one, or empty."""
    wanted = {"source": source, "kind": item.kind, "name": item.name, "to": "/NEW/PATH"}
    play, title = "ansible-playbook -i INVENTORY altbackup.core", f"item {item.kind} {item.name!r}"

    def restore(stamp: str) -> str:
        return f"{play}.restore {extra_vars({'altbackup_restore': [{**wanted, 'at': stamp}]})}"

    safe = f"Until that is decided no good copy of {item.key} is removed on any node."
    lines = [
        f"{title}: the new copy is suspect: {'; '.join(reasons)}",
        f"Something may have happened to {item.place}, or somebody meant it. {safe} This one is stored and sent, but counts as none: {record['relpath']}",
        f"To look at this copy: {restore(doubt.stamp_of(record))}",
        f"If it is as it should be, accept it: {play}.mark {extra_vars({'altbackup_accept': [f'{source}/{item.key}']})}",
        f"If not, put {item.place} right: the next night is compared with the last good one again"
        + (f", of {good}. To have that beside it: {restore(good)}" if good else ""),
    ]
    return "\n".join(lines)


def _archive_with_room(work: _Dump, start: float) -> None:
    """Archive and publish an item, once more where the disk was full, and what purges keep in the trash could be deleted."""
    try:
        _archive_and_publish(work, start)
    except NoRoom:
        freed, notes = make_room(work.context.tree, sys.maxsize)
        if not freed:
            raise
        work.outcome.notes += notes
        _archive_and_publish(work, start)


def _archive_and_publish(work: _Dump, start: float) -> None:
    """Archive and publish an item, as a differential where that goes, else in full."""
    work.base = find_base(work.item, work.context, work.form, _before(work.context, work.item), work.marks)
    if work.base is not None:
        try:
            _archive(work, start)
            return
        except (Unproven, Hostile) as error:
            work.outcome.notes.append(f"{work.item.key}: no differential was made, but a full tarball: {error}")
            work.base = None
    _archive(work, start)


def _archive(work: _Dump, start: float) -> None:
    """Archive and publish an item. Raise Unproven for a differential that would not bring back what was read, AltbackupError or OSError."""
    item, context, form, outcome = work.item, work.context, work.form, work.outcome
    tree = context.tree
    temporary = tree.private_path("tmp", f"{TEMPORARY}{os.getpid()}-{item.category}-{item.name}")
    snapshot = f"{temporary}.snapshot"
    try:
        with contextlib.ExitStack() as stack:
            members = stack.enter_context(Members()) if work.is_known else None
            digests = stack.enter_context(Digests())
            reading = stack.enter_context(_Reading(work, predicted=False))
            told = reading.said
            base = work.base if told["differs"] is True else None
            digests.every = max(1, (_whole(told["count"]) or 0) // _MOST_TRIED)
            revision = _whole(told["revision"])
            manifest = Manifest(files=digests, members=members) if told["listed"] else None
            top = base.top if base else item.name if revision is None else f"{item.name}-{revision}"
            lists = list_folders(reading.states()) if base else {}
            dna = store_archive(
                temporary,
                Incremental(reading.stream, lists, top) if base else reading.stream,  # type: ignore[arg-type]
                reading,
                item.place,
                top=top,
                form=form,
                deadline=context.deadline,
                manifest=manifest,
                judge=_judge(item, top, context, base.links if base else ()),
            )
            if base and members is not None:
                every, digests = digests.every, stack.enter_context(Digests())
                digests.every = every
                manifest = Manifest(owners=reading.owners)
                fill(manifest, replay(base.snapshot.entries(), members, reading.states(), lists), digests)
                dna = replace(dna, base=base.path, base_dig=base.dig)
            verdict = reading.confirm(digests)
            noted, churn = _note_files(work, digests) if kind_of(item.kind).is_tree else ({}, None)
            if members is not None and manifest is not None and not base:
                about = about_full(dna, top, revision, manifest.content, told["way"], context.stamp)
                _note_full(work, snapshot, about, members, reading)
        outcome.notes += [f"{item.key}: {note}" for note in verdict.notes]
        relpath = f"{item.key}/{context.stamp}/{tarball_filename(item.name, revision, form.extension, differs=base is not None)}"
        is_full = base is not None and manifest is not None and base.is_same(manifest.content, revision)
        if base is not None and is_full and base.full.dna:
            dna, relpath = base.full.dna, f"{item.key}/{context.stamp}/{base.full.filename}"
        known = {**told["record"], **({"incomplete": verdict.failures} if verdict.failures else {})}
        known["doubts"] = [*map(str, known.get("doubts", ())), *verdict.doubts]
        known["noted"] = {**reading.noted, **noted}
        record = _record(item, known, manifest, (manifest or reading).owners, dna, relpath)
        before = _before(context, item)
        equal = [tarball for tarball in before if tarball.dna and tarball.dna.same_content(dna)]
        if equal:
            record.update(same_as(tree, equal[-1], record, dna))
        else:
            record.update(alike(tree, before, temporary, record, dna, context.deadline))
        record = _judged(work, record, churn)
        _report_incomplete(item, missing_of(record), outcome)
        tarball = _store(item, context, "" if is_full else temporary, relpath, dna, record, equal, outcome)
        keep_snapshot(tree, item, snapshot, known=work.is_known)
    except (AltbackupError, OSError) as error:
        _forget_noted(work, ())
        raise _with_space(error, tree) from error
    finally:
        remove_if_there(temporary)
        remove_if_there(snapshot)
    outcome.tarball = describe(tree, tarball, time.monotonic() - start)
    if tarball.stamp != context.stamp:  # the day has it already, with a record of its own
        kept = read_record(tree, item.key, tarball.stamp) or record
        doubts = doubts_of(kept) or doubts_of(record)
        record = {**kept, "relpath": tarball.relpath, **({"suspect": doubts} if doubts else {})}
    outcome.tarball["record"] = record
    _forget_noted(work, noted_by(record).values())
    _report_suspect(work, record)
    _move_last(context, item, tarball.stamp, outcome)


def _judged(work: _Dump, record: Mapping[str, Any], churn: doubt.Churn | None) -> dict[str, Any]:
    """Return the record of a dump with why it is suspect, if it is, and with what it is to tell of those before it."""
    past = work.past
    reasons = doubt.judge(record, past.good, work.limits, churn=churn, doubtful=past.doubtful)
    more = {
        "nights": doubt.nights_before(past.good),
        "suspect": reasons,
        "doubts": record["doubts"],
        "noted": record["noted"],
    }
    return {
        **{key: value for key, value in record.items() if key not in more},
        **{key: value for key, value in more.items() if value},
    }


def _note_files(work: _Dump, digests: Digests) -> tuple[dict[str, str], doubt.Churn | None]:
    """Keep what the files of an archive hold; return {what: digest}, and what became of those of the last good dump, None where that is not known."""
    tree, key, last = work.context.tree, work.item.key, work.past.last
    noted = {_FILES: keep_noted(tree, key, digests.compact)}
    if noted_by(last).get(_FILES) in (None, noted[_FILES]):
        return noted, None
    try:
        with open_noted(tree, key, last, _FILES) as stream:
            return noted, compare_lists(stream, digests.compact)
    except NotNoted as error:
        work.outcome.notes.append(f"{key}: how many files changed is not known: {error}")
    except (AltbackupError, OSError) as error:
        work.outcome.failures.append(failure(_STAGE, error, key=key))
    return noted, None


def _forget_noted(work: _Dump, noted: Collection[str]) -> None:
    """Remove what dumps noted of which no record is left, but for what this one did (digests); what cannot be removed is a failure."""
    if work.past.whole:
        try:
            forget_noted(work.context.tree, work.item.key, work.past.noted.union(noted))
        except OSError as error:
            work.outcome.failures.append(failure(_STAGE, error, key=work.item.key))


def _note_full(work: _Dump, path: str, about: Mapping[str, Any], members: Members, reading: _Reading) -> None:
    """Write down what is known of a full archive; that this cannot be is a note: then the next night is full, too."""
    try:
        write_snapshot(path, about, members, reading.states())
    except Unproven as error:
        remove_if_there(path)
        work.outcome.notes.append(f"{work.item.key}: the next tarball will be a full one, too: {error}")


def _judge(item: Item, top: str, context: Context, links: Iterable[str] = ()) -> Judge:
    """Return who sees to it that nothing is stored which no restore would unpack; `links` are those of the full tarball of a differential."""
    return Judge(f"item {item.kind} {item.name!r}", top, context.deadline, [f"{top}/{link}" for link in links])


def _entries(parts: Sequence[Part], top: str) -> Iterator[tuple[bytes, int]]:
    """Yield (path in the archive, mode) of what is to be archived; what vanished meanwhile tar tells."""
    for part in parts:
        for name in part.names:
            with contextlib.suppress(FileNotFoundError):
                yield os.fsencode(top) + name[1:], os.lstat(os.path.join(os.fsencode(part.root), name)).st_mode


def _with_space(error: AltbackupError | OSError, tree: Tree) -> AltbackupError | OSError:
    """Return the error; for a full disk, also one that a tool met, one that says how much is free."""
    full = error.errno in FULL if isinstance(error, OSError) else os.strerror(errno.ENOSPC) in str(error)
    if not full:
        return error
    where = "" if isinstance(error, AltbackupError) or error.filename else f"{tree.base}: "
    free = shutil.disk_usage(tree.private).free
    return NoRoom(
        f"{where}{explain(error)}: {readable(free)} are free below {tree.base}; nothing was kept of this attempt"
    )


def _record(
    item: Item, known: Mapping[str, Any], manifest: Manifest | None, owners: Owners, dna: Dna, relpath: str
) -> dict[str, Any]:
    record: dict[str, Any] = {
        **known,
        "kind": item.kind,
        "name": item.name,
        "path": item.path,
        "relpath": relpath,
        "dig": dna.dig,
        "size": dna.size,
        "alg": dna.alg,
        **base_in(dna),
    }
    if owners.digest:
        record["owners"] = owners.digest
    if manifest is not None:
        amounts = {"entries": manifest.entries, "bytes": manifest.bytes}
        record.update(amounts, manifest=manifest.digest)
        record[CONTENT] = manifest.content
        if kind_of(item.kind).is_tree:  # of others they are storage, which packing changes
            record["measures"] = amounts
    return record


def _store(
    item: Item,
    context: Context,
    temporary: str,
    relpath: str,
    dna: Dna,
    record: Mapping[str, Any],
    equal: Sequence[Tarball],
    outcome: Outcome,
) -> Tarball:
    """Keep the archive: not at all if the day has one `equal` to it, as a link if an earlier day has it, else as a file of its own.

    Raise Unproven where it is to be a link, as there is no `temporary` file of these bytes, and cannot be one.
    """
    tree = context.tree
    today, earlier = _today_and_earlier(context, equal)
    for old in today:
        if _is_sound(tree, old, dna, outcome):
            return old
    _discard_unverified(tree, item, relpath, outcome)
    try:
        write_record(tree, item.key, context.stamp, record)
        if not _link(tree, earlier, relpath, dna, outcome):
            if not temporary:
                raise Unproven("its full tarball, which holds the same, can have no second name, or is damaged")
            publish(tree, temporary, relpath, dna)
    except BaseException:
        path = record_path(tree, item.key, context.stamp)
        remove_if_there(path)
        prune_empty(os.path.dirname(path), tree.private)
        raise
    outcome.changed = True
    return _found(tree, relpath)


def _is_sound(tree: Tree, old: Tarball, dna: Dna, outcome: Outcome) -> bool:
    """Return whether an older tarball, read again, is what its dna says; a failure is reported."""
    try:
        verify(tree.path(old.relpath), dna, from_disk=True)
        return True
    except (DigestMismatch, OSError) as error:
        _report_old(tree, old, error, outcome)
        return False


def _link(tree: Tree, earlier: Sequence[Tarball], relpath: str, dna: Dna, outcome: Outcome) -> bool:
    """Store an unchanged item as a link to an older tarball, or of one whose blocks it shares; return whether that could be done.

    Those that are damaged are reported. Where files have one name alone, what was just made is the copy that is stored.
    """
    for old in earlier:
        try:
            link(tree, old, relpath, dna, copying=False)
            return True
        except NoLinks:
            return False
        except (DigestMismatch, OSError) as error:
            if isinstance(error, OSError) and error.errno in FULL:
                raise
            _report_old(tree, old, error, outcome)
    return False


def _report_old(tree: Tree, old: Tarball, error: DigestMismatch | OSError, outcome: Outcome) -> None:
    if isinstance(error, DigestMismatch):
        read_first(tree, [old.relpath])
    how = "is damaged" if isinstance(error, DigestMismatch) else "cannot be used"
    reason = f"an older copy {how}: {explain(error)}; the new one was stored by itself"
    outcome.failures.append(failure(_STAGE, reason, relpath=old.relpath))


def _before(context: Context, item: Item) -> list[Tarball]:
    """Return the item's verified tarballs, the newest last. One of the future does not count."""
    moment = Moment(context.stamp, context.clock)
    found = scan(context.tree, keys={item.key}).verified()
    counting = [
        tarball
        for tarball in found
        if parse_filename(tarball.filename, item.name) and not moment.is_ahead(tarball.stamp)
    ]
    return sorted(counting, key=lambda tarball: tarball.stamp)


def _today_and_earlier(context: Context, equal: Sequence[Tarball]) -> tuple[list[Tarball], list[Tarball]]:
    """Given tarballs of the same bytes, the newest last, return those of this day, and the newest of each earlier file, newest first."""
    day = day_of(context.stamp)
    today = [tarball for tarball in equal if day_of(tarball.stamp) == day]
    newest_of_each = {tarball.inode: tarball for tarball in equal if day_of(tarball.stamp) < day}
    return today, sorted(newest_of_each.values(), key=lambda tarball: tarball.stamp, reverse=True)


def _discard_unverified(tree: Tree, item: Item, relpath: str, outcome: Outcome) -> None:
    """Make room under this stamp: what stands there without a verified sidecar was left by a killed run."""
    stamp = "/".join(relpath.split("/")[2:6])
    for tarball in scan(tree, day_of(stamp), {item.key}).tarballs:
        if tarball.state in ("verified", ALONE):
            continue
        if tarball.stamp == stamp and parse_filename(tarball.filename, item.name):
            remove_if_there(tree.path(tarball.relpath))
            remove_if_there(tree.path(tarball.relpath) + ".dna")
            remove_if_there(tree.path(tarball.relpath) + PROOF)
            outcome.notes.append(f"replaced {tarball.relpath}, which {tarball.problem}")


def _complete_leftovers(tree: Tree, item: Item, outcome: Outcome) -> list[Tarball]:
    """See to what killed runs left of an item: remove temporary files, and complete what is as it was recorded.

    Return the verified tarballs of the item.
    """
    found, completed = scan(tree, keys={item.key}), False
    for relpath in found.temporaries:
        remove_if_there(tree.path(relpath))
        prune_empty(os.path.dirname(tree.path(relpath)), tree.base)
        outcome.notes.append(f"removed {relpath}, which a killed run left")
    for tarball in found.tarballs:
        if tarball.state == "missing":
            if _complete(tree, tarball, outcome):
                completed = True
            else:
                outcome.notes.append(f"{tarball.relpath} is not verified: it {tarball.problem}")
    return (scan(tree, keys={item.key}) if completed else found).verified()


def _complete(tree: Tree, tarball: Tarball, outcome: Outcome) -> bool:
    """Write the sidecar of a tarball that a killed run had renamed and recorded, if its bytes are what was recorded."""
    path, record = tree.path(tarball.relpath), read_record(tree, tarball.key, tarball.stamp)
    if record.get("relpath") != tarball.relpath:
        return False
    try:
        base = (str(record["base"]), str(record["base_dig"])) if "base" in record else (None, None)
        dna = Dna(str(record["dig"]), int(record["size"]), str(record["alg"]), *base)
        verify(path, dna, from_disk=True)
    except (DigestMismatch, OSError, KeyError, ValueError, TypeError):
        return False
    write_sidecar(path, dna)
    outcome.changed = True
    outcome.notes.append(f"completed {tarball.relpath}, which a killed run had left without its dna")
    return True


def _move_last(context: Context, item: Item, stamp: str, outcome: Outcome) -> None:
    try:
        moment = Moment(context.stamp, context.clock)
        outcome.changed = point_last(context.tree, item.key, stamp, moment) or outcome.changed
    except (AltbackupError, OSError) as error:
        outcome.failures.append(failure(_STAGE, _with_space(error, context.tree), key=item.key))


def _found(tree: Tree, relpath: str) -> Tarball:
    """Return the tarball just stored, as a look at the tree shows it. Raise AltbackupError if it is not verified."""
    category, name, year, month, day, clock, _ = relpath.split("/")
    for tarball in scan(tree, f"{year}/{month}/{day}", {f"{category}/{name}"}).verified():
        if tarball.relpath == relpath:
            return tarball
    raise AltbackupError(f"{tree.path(relpath)} vanished while it was stored")
