"""A reader at work, seen by who dumps: the places it is given, what it says, and the names of the owners it found."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import IO, Any

from ..archive.digests import Digests
from ..archive.owners import Owners, is_kept
from ..archive.states import State, read_states
from ..kinds.base import Arrangement, Kind, Verdict, give_folder, opened, own_folder
from ..kinds.items import Item
from ..kinds.registry import kind_of
from ..system.conversation import NeedsPlace
from ..system.errors import AltbackupError, DeadlineExceeded, InvalidInput, SourceChanged, ToolMissing
from ..system.names import Directory, Names
from ..system.processes import Deadline
from ..system.readers import TEMPORARY_FOLDER, Reader
from ..system.units import first_of
from ..system.view import Place
from ..tree.failures import explain
from ..tree.layout import TEMPORARY
from ..tree.publish import prune_empty, remove_folder
from .dump_reader import KNOWN, STATES, can_read, read_item
from .dump_state import Dump, Outcome

_MOST_PLACES = 20
"""Most folders out of an item that its reader is given"""


_HARMLESS = (DeadlineExceeded, InvalidInput, SourceChanged, ToolMissing)
"""What ends a reader before it has done anything to what is kept, or while it went on as before"""


class Reading:
    """A reader at work on an item, as a context manager; it was given all places that it needs."""

    def __init__(self, work: Dump, predicted: bool) -> None:
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
        return read_states(os.path.join(self._own, STATES))

    def __enter__(self) -> Reading:
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
                self._work.base.hand_over(os.path.join(folder, KNOWN), folder)
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


def whole_number(number: object) -> int | None:
    """Return a revision that a reader told. Raise AltbackupError for what is none."""
    if number is None or (isinstance(number, int) and number >= 0):
        return number
    raise AltbackupError(f"a reader said {number!r}, which is no revision")
