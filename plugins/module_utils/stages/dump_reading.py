"""The dump's side of a reader process: the places it may see, its answers, and the names of owners."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import IO, Any

from ..archive.digests import Digests
from ..archive.owners import Owners, is_kept
from ..archive.states import State, read_states
from ..kinds.base import SERVED, Arrangement, Kind, Verdict, give_folder, opened, own_folder
from ..kinds.items import Item
from ..kinds.registry import kind_of
from ..system.conversation import NeedsPlace, NeedsServer
from ..system.errors import AltbackupError, DeadlineExceeded, InvalidInput, SourceChanged, ToolMissing
from ..system.names import Directory, Names
from ..system.processes import Deadline
from ..system.readers import TEMPORARY_FOLDER, Reader
from ..system.units import first_of
from ..system.view import Place
from ..tree.failures import explain
from ..tree.layout import TEMPORARY
from ..tree.publish import prune_empty, remove_folder
from .dump_reader import KNOWN, STATES, ask_server, can_read, read_item
from .dump_state import ItemDump, Outcome

_MOST_PLACES = 20
"""Maximum number of folders outside of an item that its reader is given"""
_MOST_QUESTIONS = 4
"""Maximum number of times that a server is asked for an item"""


_HARMLESS = (DeadlineExceeded, InvalidInput, SourceChanged, ToolMissing)
"""Errors after which what the kind keeps for an item is still intact"""


class ReaderSession:
    """A reader process for one item; a context manager, which gives it all places that it asks for."""

    def __init__(self, dump: ItemDump, predicted: bool) -> None:
        self._dump = dump
        self._predicted = predicted
        self._reader: Reader | None = None
        self._arrangement = Arrangement(0, [])
        self._created: list[str] = []
        self.answer: dict[str, Any] = {}
        self.noted: Mapping[str, str] = {}
        """{name: digest} of what the item's kind kept for later dumps; set on exit"""
        self.owners = Owners()
        """Owners of what is read, as the archive has them"""
        self._folder = ""
        self._asked = 0
        """How often a server was asked"""

    def states(self) -> Iterator[State]:
        """Yield the states that the reader has written. Raise Unproven if they are malformed."""
        return read_states(os.path.join(self._folder, STATES))

    def __enter__(self) -> ReaderSession:
        dump = self._dump
        kind = kind_of(dump.item.kind)
        try:
            self._arrangement = self._arrange(kind)
            places = [*self._arrangement.places, *(() if self._predicted else self._writable_places())]
            most = len(places) + _MOST_PLACES
            while True:
                self._begin(places)
                try:
                    self.answer = self._result()
                except NeedsPlace as error:
                    if len(places) == most:
                        raise
                    places.append(self._admit(error))
                except NeedsServer as error:
                    if self._predicted or self._asked == _MOST_QUESTIONS:
                        raise
                    self._ask_server(error)
                else:
                    if not self._predicted:
                        self._send_names()
                    return self
        except BaseException as error:
            self.__exit__(type(error), error)
            raise

    def __exit__(self, kind: object, error: BaseException | None = None, *_: object) -> None:
        item, context = self._dump.item, self._dump.context
        if self._reader is not None:
            self._reader.__exit__()
        try:
            if "noted" in self.answer:
                self.noted = kind_of(item.kind).keep(item, context, self.answer["noted"]) or {}
            elif self._reader is not None and not (self._predicted or isinstance(error, _HARMLESS)):
                kind_of(item.kind).spoiled(item, context)
        finally:
            for folder in self._created:
                remove_folder(folder)
                if error is not None:
                    prune_empty(os.path.dirname(folder), context.tree.private)

    def _send_names(self) -> None:
        """Send the reader this node's names of the owners that it found: in its view only names in files can be looked up."""
        pairs = _parse_owners(self.answer.pop("owners"))
        names = names_for(pairs, self._dump.directory, self._dump.item, self._dump.outcome)
        users, groups = names.users, names.groups
        self.owners = Owners({(uid, gid, users.get(uid, ""), groups.get(gid, "")) for uid, gid in pairs})
        if self._reader is not None:
            self._reader.conversation.send({"users": list(users.items()), "groups": list(groups.items())})

    @property
    def stream(self) -> IO[bytes]:
        """The stream of the uncompressed archive."""
        if self._reader is None:
            raise AssertionError("nothing is read")
        return self._reader.stream

    def end(self) -> None:
        """End the reader if it is running."""
        if self._reader is not None:
            self._reader.end()

    def check(self, deadline: Deadline, what: str) -> None:
        """Wait until all is read. Raise the error that made it fail."""
        self._result()

    def confirm(self, digests: Digests) -> Verdict:
        """Confirm that what was read was one consistent state, and return the verdict; `digests` are those of the archive. Raise SourceChanged."""
        if self._reader is None:
            raise AssertionError("nothing is read")
        self._reader.conversation.send({})
        answer = self._result()
        while "asked" in answer:
            self._reader.conversation.send({"told": digests.look_up([str(path) for path in answer["asked"]])})
            answer = self._result()
        if answer["noted"]:
            self.answer["noted"] = answer["noted"]
        notes, failures, doubts = ([str(text) for text in answer[name]] for name in ("notes", "failures", "doubts"))
        return Verdict(notes, failures, doubts=doubts)

    def _arrange(self, kind: Kind) -> Arrangement:
        item = self._dump.item
        try:
            return kind.arrange(item, self._dump.context)
        except FileNotFoundError as error:
            if error.filename != item.path:
                raise
            what = "file" if kind.is_file else "folder"
            problem = f"is not a {what}, but a link to nothing" if os.path.lexists(item.path) else "does not exist"
            raise InvalidInput(f"item {item.kind} {item.name!r}: path {item.path} {problem}") from error

    def _writable_places(self) -> Iterator[Place]:
        """Make the folders in which the reader may write, and yield them as places."""
        tree, item, owner = self._dump.context.tree, self._dump.item, self._arrangement.owner
        own = self._folder = tree.private_path("tmp", f"{TEMPORARY}{os.getpid()}-{item.category}-{item.name}.reader")
        base = os.path.dirname(tree.private)
        for folder in (own, *self._arrangement.scratch):
            own_folder(tree, folder, owner)
            self._created.append(folder)
            if folder == own and self._dump.base is not None:
                self._dump.base.write_for_reader(os.path.join(folder, KNOWN), folder)
            yield Place(folder, writable=True, inside=TEMPORARY_FOLDER if folder == own else "", below=base)
        for folder in self._arrangement.kept:
            give_folder(folder, owner)
            yield Place(folder, writable=True, below=base)

    def _ask_server(self, error: NeedsServer) -> None:
        """Let the next reader know what a server says, which another one asks: not in the view, but as a user without root's rights.

        He is the owner of the item, and where that is root, that of the file which names the server.
        """
        self._asked += 1
        dump, tree = self._dump, self._dump.context.tree
        base = os.path.dirname(tree.private)
        if self._reader is not None:
            self._reader.__exit__()
        user = self._arrangement.owner or int(error.request["owner"])
        own = tree.private_path("tmp", f"{TEMPORARY}{os.getpid()}-{dump.item.category}-{dump.item.name}.server")
        places = [Place(own, writable=True, inside=TEMPORARY_FOLDER, below=base)]
        own_folder(tree, own, user)
        self._created.append(own)
        if error.request.get("fills"):
            folder = os.path.join(self._arrangement.scratch[0], SERVED)
            own_folder(tree, folder, user)
            places.append(Place(folder, writable=True, below=base))
        context = replace(dump.context, known=self._arrangement.known)
        arguments = (ask_server, dump.item, context, error.request)
        asked = dump.readers.begin(*arguments, places=places, owner=user, confined=False, as_root=user == 0)
        with asked as reader:
            answer = reader.conversation.result(dump.context.deadline)["value"]
        if not isinstance(answer, dict):
            raise AltbackupError("a reader said what is no result")
        self._arrangement = replace(self._arrangement, known={**self._arrangement.known, **answer})

    def _begin(self, places: list[Place]) -> None:
        dump, owner = self._dump, self._arrangement.owner
        if self._reader is not None:
            self._reader.__exit__()
        shown = [place.inside or place.path for place in places]
        base = dump.base.about if dump.base else {} if dump.is_known else None
        context = replace(dump.context, known=self._arrangement.known, shown=shown, base=base)
        self._reader = dump.readers.begin(
            read_item,
            dump.item,
            context,
            self._predicted,
            places=places,
            owner=owner,
            confined=self._arrangement.confined,
            as_root=kind_of(dump.item.kind).is_tree or (owner == 0 and not self._arrangement.confined),
        )

    def _result(self) -> dict[str, Any]:
        if self._reader is None:
            raise AssertionError("nothing is read")
        answer = self._reader.conversation.result(self._dump.context.deadline)
        if isinstance(answer, dict) and "refused" in answer:
            why = str(answer["refused"])
            if why and os.geteuid() == 0 and self._arrangement.confined:
                self._dump.outcome.refused = f"the kernel does not allow a view that holds an item alone ({why}): items were read as their owners"
            answer = answer["value"]
        if not isinstance(answer, dict):
            raise AltbackupError("a reader said what is no result")
        return answer

    def _admit(self, error: NeedsPlace) -> Place:
        """Return the place of a path that an item needs besides its own, if it has the same owner. Raise InvalidInput."""
        item, owner = self._dump.item, self._arrangement.owner
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
        """Return whether the owner of the item can read a file."""
        dump = self._dump
        asked = dump.readers.begin(can_read, path, places=[], owner=self._arrangement.owner, confined=False)
        with asked as reader:
            return reader.conversation.result(dump.context.deadline)["value"] is True


_NUMBERS = range(1 << 32)
"""Valid numbers of users and groups"""


def _parse_owners(value: object) -> list[tuple[int, int]]:
    """Return the (uid, gid) in a reader's answer. Raise AltbackupError if it is malformed."""
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
    """Return the names of owners for the headers of an archive, or none, with a note, if one of them cannot be stored.

    Without any tar would look them up itself.
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
    """Return the revision in a reader's answer. Raise AltbackupError if it is malformed."""
    if number is None or (isinstance(number, int) and number >= 0):
        return number
    raise AltbackupError(f"a reader returned {number!r}, which is no revision")
