"""What is in tarballs: a folder of one, a name in many, and what differs between two. Nothing is unpacked or written."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..archive.members import FILE, FOLDER, HARD_LINK, Member, add_within_limit, read_members
from ..kinds.items import decode_name
from ..system.age import NOBODY, Identities
from ..system.errors import AltbackupError, DeadlineExceeded, InvalidInput
from ..system.processes import Deadline
from ..system.sandbox import Sandbox, is_allowed
from ..system.values import nearest
from ..system.visible import STEERING, printable
from ..tree.failures import failure
from ..tree.layout import Tree, parse_filename, split_relpath

STAGE = "contents"
STEPS = ("list", "find", "diff")
MOST = 1000
"""Entries that are told, if nothing else is said"""
MOST_EVER = 100_000
_NAMED = 20
"""Most names that a message tells of those beside one that is not there"""
_MOST_BELOW = 200_000
"""Members of one folder that are held to be told in the order of their names"""
_ODD = re.compile(f"%(?=[0-9A-Fa-f]{{2}})|[\t\n\ud800-\udfff]|{STEERING.pattern}")
_UNCONFINED = "this host's kernel does not allow to confine programs: the tarballs were read unconfined"


@dataclass(frozen=True)
class Wanted:
    """What is wanted of some tarballs."""

    step: str
    relpaths: tuple[str, ...]
    tops: tuple[str, ...]
    """The top folder in each"""
    bases: tuple[str, ...]
    """The full one that each needs, empty for one that is full"""
    path: str = ""
    name: str = ""
    recursive: bool = False
    most: int = MOST


@dataclass
class _Answer:
    """What was found: entries, of which only so many are kept, numbers, and what went wrong."""

    most: int
    entries: list[dict[str, Any]] = field(default_factory=list)
    totals: dict[str, int] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def count(self, what: str, number: int = 1) -> None:
        self.totals[what] = self.totals.get(what, 0) + number

    def add(self, entry: dict[str, Any]) -> None:
        if len(self.entries) < self.most:
            self.entries.append(entry)


def parse_wanted(options: Mapping[str, Any]) -> Wanted:
    """Given what the module was told, return it. Raise InvalidInput."""
    relpaths, tops, bases = [], [], []
    for entry in options["tarballs"]:
        relpath = str(entry.get("relpath", ""))
        split_relpath(relpath)
        relpaths.append(relpath)
        base = str(entry.get("base") or "")
        if base:
            base = "/".join([*relpath.split("/")[:2], base])
            split_relpath(base)
        bases.append(base)
        tops.append(_top_of(base or relpath))
    step, name, most = options["step"], str(options["name"]), int(options["most"])
    if len(relpaths) != 2 and step == "diff":
        raise InvalidInput(f"two tarballs are compared, the older one first, not {len(relpaths)}")
    if not relpaths:
        raise InvalidInput("no tarball is named")
    if step == "find" and not name.strip("/"):
        raise InvalidInput("no name is given to look for")
    if not 0 < most <= MOST_EVER:
        raise InvalidInput(f"most is {most}, not a number from 1 to {MOST_EVER}")
    path = decode_name(str(options["path"])).strip("/")
    parts = path.split("/") if path else []
    if {"", ".", ".."} & set(parts) or "\0" in path:
        raise InvalidInput(f"path {printable(repr(path))} is none inside a tarball")
    places = (tuple(relpaths), tuple(tops), tuple(bases))
    return Wanted(step, *places, path, decode_name(name), bool(options["recursive"]), most)


def _top_of(relpath: str) -> str:
    """Given a full tarball below its base, return its top folder."""
    _, name, _, filename = split_relpath(relpath)
    _, extension = parse_filename(filename, name) or (None, "")
    return filename[: -len(extension)] if extension else name


def look_into(
    tree: Tree, wanted: Wanted, deadline: Deadline, *, user: str = "nobody", identities: Identities = NOBODY
) -> dict[str, Any]:
    """Given a tree and what is wanted of its tarballs, return `contents`, `totals`, `notes` and `failures`.

    Of one that cannot be read the failure tells, and the others are read. Raise AltbackupError or OSError where none can.
    """
    sandbox: Sandbox | None = Sandbox(user)
    answer = _Answer(wanted.most)
    if sandbox is not None and not is_allowed(sandbox, deadline):
        sandbox = None
        answer.notes.append(_UNCONFINED)

    def read(number: int, take: Callable[[Member], None], digested: bool = False) -> None:
        paths = [tree.path(path) for path in (wanted.bases[number], wanted.relpaths[number]) if path]
        read_members(
            paths,
            wanted.tops[number],
            take,
            deadline=deadline,
            sandbox=sandbox,
            digested=digested,
            identities=identities,
        )

    {"list": _list, "find": _find, "diff": _diff}[wanted.step](wanted, read, answer)
    return {
        "changed": False,
        "contents": answer.entries,
        "totals": answer.totals,
        "notes": answer.notes,
        "failures": answer.failures,
    }


def _each_read(wanted: Wanted, answer: _Answer, read: Callable[[int, str], None]) -> None:
    """Read each of the tarballs; what goes wrong with one is a failure, and what there is no time for, one for all of them."""
    for number, relpath in enumerate(wanted.relpaths):
        try:
            read(number, relpath)
        except DeadlineExceeded as error:
            left = len(wanted.relpaths) - number
            answer.failures.append(failure(STAGE, f"{error}; {left} of {len(wanted.relpaths)} tarballs were not read"))
            return
        except (AltbackupError, OSError) as error:
            answer.failures.append(failure(STAGE, error, relpath=relpath))


def _list(wanted: Wanted, read: Callable[..., None], answer: _Answer) -> None:
    def each(number: int, relpath: str) -> None:
        folder = _Folder(wanted.path, wanted.recursive)
        read(number, folder.take)
        folder.require()
        answer.count("entries", folder.entries)
        answer.count("bytes", folder.bytes)
        answer.count("listed", folder.count)
        for path, entry in sorted(folder.found.items()):
            answer.add({"relpath": relpath, **entry, "path": shown_path(path)})

    _each_read(wanted, answer, each)


class _Folder:
    """What a folder of a tarball holds: what lies in it, each folder with what is below it, or with `recursive` all below."""

    def __init__(self, path: str, recursive: bool) -> None:
        self._path = path
        self._recursive = recursive
        self._is_there = not path
        self._alike: set[str] = set()
        self.found: dict[str, dict[str, Any]] = {}
        self.count = 0
        self.entries = 0
        self.bytes = 0

    def take(self, member: Member) -> None:
        """Take a member."""
        if member.path == self._path:
            self._is_there = True
            if member.type != FOLDER:
                self._note(member.path, member, own=True)
            return
        if self._path and not member.path.startswith(f"{self._path}/"):
            beside = member.path and os.path.dirname(member.path) == os.path.dirname(self._path)
            if beside and not self._is_there and len(self._alike) < MOST:
                self._alike.add(member.path)
            return
        self._is_there = True
        rest = member.path[len(self._path) + 1 :] if self._path else member.path
        child = rest if self._recursive else rest.partition("/")[0]
        self._note(f"{self._path}/{child}" if self._path else child, member, own=child == rest)

    def _note(self, path: str, member: Member, own: bool) -> None:
        self.entries += 1
        self.bytes += member.size
        entry = self.found.get(path)
        if entry is None:
            self.count += 1
            if len(self.found) >= _MOST_BELOW:
                return
            entry = self.found[path] = {"size": 0, "entries": 0}
        if own:
            entry.update(described(member), size=entry["size"] + member.size)
        else:
            entry["size"] += member.size
            entry["entries"] += 1

    def require(self) -> None:
        """Raise InvalidInput if there was nothing at the path."""
        if not self._is_there:
            hint = nearest(self._path, sorted(map(printable, self._alike)))
            if len(self._alike) > _NAMED and not hint.endswith("?"):
                hint = f"look into {printable(repr(os.path.dirname(self._path))) if '/' in self._path else 'all of it'} for what is"
            raise InvalidInput(f"{printable(repr(self._path))} is not in it, {hint}")


def described(member: Member) -> dict[str, Any]:
    """Return what a member's headers say of it, but for its path."""
    return {
        "type": member.type,
        "size": member.size,
        "mtime": member.mtime,
        "mode": f"{member.mode:04o}",
        "owner": shown_path(member.owner),
        "group": shown_path(member.group),
        "target": shown_path(member.target),
    }


def shown_path(path: str) -> str:
    """Given a path, return it as decode_name takes it back: what would steer a terminal, and bytes that are no text, as %XX."""
    return _ODD.sub(lambda match: "".join(f"%{byte:02X}" for byte in os.fsencode(match[0])), path)


def _find(wanted: Wanted, read: Callable[..., None], answer: _Answer) -> None:
    fits = matcher(wanted.name)
    answer.count("found", 0)

    def each(number: int, relpath: str) -> None:
        def take(member: Member) -> None:
            if fits(member.path):
                answer.count("found")
                answer.add({"relpath": relpath, "path": shown_path(member.path), **described(member)})

        read(number, take)
        answer.count("read")

    _each_read(wanted, answer, each)


def matcher(name: str) -> Callable[[str], bool]:
    """Given a name, a pattern with `*`, `?` or `[...]`, or the end of a path, return what tells whether a path is meant."""
    wanted = name.strip("/")
    pattern = re.compile(fnmatch.translate(wanted))
    ending = re.compile(fnmatch.translate(f"*/{wanted}"))
    whole = "/" in wanted

    def fits(path: str) -> bool:
        if whole:
            return path == wanted or path.endswith(f"/{wanted}") or bool(pattern.match(path) or ending.match(path))
        base = path.rpartition("/")[2]
        return base == wanted or bool(base and pattern.match(base))

    return fits


def _diff(wanted: Wanted, read: Callable[..., None], answer: _Answer) -> None:
    old, new = wanted.relpaths
    before: dict[str, Member] = {}
    changed: set[str] = set()
    # paths whose content did, which hard links to them have, too

    def is_meant(member: Member) -> bool:
        path = wanted.path
        return not path or member.path == path or member.path.startswith(f"{path}/")

    def keep(member: Member) -> None:
        if is_meant(member):
            add_within_limit(before, member, old)

    def compare(member: Member) -> None:
        if is_meant(member):
            _compare(before.pop(member.path, None), member, new, answer, changed)

    answer.totals.update(dict.fromkeys(("added", "removed", "changed", "same"), 0))
    answer.totals.update(dict.fromkeys(("bytes_added", "bytes_removed", "bytes_changed", "bytes_before"), 0))
    read(0, keep, True)
    if wanted.path and not before:
        answer.notes.append(f"{printable(repr(wanted.path))} is not in {old}")
    read(1, compare, True)
    for path in sorted(before):
        answer.count("removed")
        answer.count("bytes_removed", before[path].size)
        answer.add({"relpath": old, "path": shown_path(path), **described(before[path]), "what": "removed"})
    answer.entries.sort(key=lambda entry: str(entry["path"]))


def _compare(old: Member | None, new: Member, relpath: str, answer: _Answer, changed: set[str]) -> None:
    """Note what became of a member."""
    entry = {"relpath": relpath, "path": shown_path(new.path), **described(new)}
    if old is None:
        answer.count("added")
        answer.count("bytes_added", new.size)
        answer.add({**entry, "what": "added"})
        return
    words = _words(old, new)
    if new.type == HARD_LINK and new.target.partition("/")[2] in changed:
        words = ["content", *words]
    if "content" in words:
        changed.add(new.path)
    if not words:
        answer.count("same")
        return
    answer.count("changed")
    answer.count("bytes_changed", new.size)
    answer.count("bytes_before", old.size)
    answer.add({**entry, "what": "changed", "before": old.size, "differs": words})


def _words(old: Member, new: Member) -> list[str]:
    """Return in what two members of one path differ; times do not matter."""
    if old.type != new.type:
        return ["type"]
    pairs: Sequence[tuple[str, object, object]] = (
        ("content", (old.size, old.digest), (new.size, new.digest))
        if old.type == FILE
        else ("target", old.target, new.target),
        ("mode", old.mode, new.mode),
        ("owner", old.owner, new.owner),
        ("group", old.group, new.group),
    )
    return [word for word, one, other in pairs if one != other]
