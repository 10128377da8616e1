"""Contents of tarballs: list a folder, find names, compare two. Nothing is unpacked or written."""

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
"""Default limit of returned entries"""
MOST_EVER = 100_000
_NAMED = 20
"""Most names that a message lists beside one that was not found"""
_MOST_SORTED = 200_000
"""Most entries of one folder kept in memory, to be sorted by name"""
_ESCAPED = re.compile(f"%(?=[0-9A-Fa-f]{{2}})|[\t\n\ud800-\udfff]|{STEERING.pattern}")
_UNCONFINED = "this host's kernel does not allow to confine programs: the tarballs were read unconfined"


@dataclass(frozen=True)
class Query:
    """The parsed options of a call."""

    step: str
    relpaths: tuple[str, ...]
    tops: tuple[str, ...]
    """The top folder in each tarball"""
    bases: tuple[str, ...]
    """The full tarball that each differential needs, empty for a full one"""
    path: str = ""
    name: str = ""
    recursive: bool = False
    most: int = MOST


@dataclass
class _Result:
    """Result of a call: at most `most` entries, totals, failures and notes."""

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


def parse_query(options: Mapping[str, Any]) -> Query:
    """Return the module's options, checked. Raise InvalidInput."""
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
    return Query(step, *places, path, decode_name(name), bool(options["recursive"]), most)


def _top_of(relpath: str) -> str:
    """Return the name of the top folder in a full tarball, by its relpath."""
    _, name, _, filename = split_relpath(relpath)
    _, extension = parse_filename(filename, name) or (None, "")
    return filename[: -len(extension)] if extension else name


def look_into(
    tree: Tree, query: Query, deadline: Deadline, *, user: str = "nobody", identities: Identities = NOBODY
) -> dict[str, Any]:
    """Read tarballs of a tree; return `contents` (entries), `totals`, `notes` and `failures`.

    A tarball that cannot be read is a failure, and the others are read. `user` runs the confined programs. Raise AltbackupError or OSError
    if no tarball can be read.
    """
    sandbox: Sandbox | None = Sandbox(user)
    result = _Result(query.most)
    if sandbox is not None and not is_allowed(sandbox, deadline):
        sandbox = None
        result.notes.append(_UNCONFINED)

    def read(number: int, take: Callable[[Member], None], digested: bool = False) -> None:
        paths = [tree.path(path) for path in (query.bases[number], query.relpaths[number]) if path]
        read_members(
            paths,
            query.tops[number],
            take,
            deadline=deadline,
            sandbox=sandbox,
            digested=digested,
            identities=identities,
        )

    {"list": _list, "find": _find, "diff": _diff}[query.step](query, read, result)
    return {
        "changed": False,
        "contents": result.entries,
        "totals": result.totals,
        "notes": result.notes,
        "failures": result.failures,
    }


def _each_read(query: Query, result: _Result, read: Callable[[int, str], None]) -> None:
    """Call `read` with number and relpath of each tarball; an error is a failure of that tarball, a passed deadline one of all that are left."""
    for number, relpath in enumerate(query.relpaths):
        try:
            read(number, relpath)
        except DeadlineExceeded as error:
            left = len(query.relpaths) - number
            result.failures.append(failure(STAGE, f"{error}; {left} of {len(query.relpaths)} tarballs were not read"))
            return
        except (AltbackupError, OSError) as error:
            result.failures.append(failure(STAGE, error, relpath=relpath))


def _list(query: Query, read: Callable[..., None], result: _Result) -> None:
    def each(number: int, relpath: str) -> None:
        folder = _Folder(query.path, query.recursive)
        read(number, folder.take)
        folder.require()
        result.count("entries", folder.entries)
        result.count("bytes", folder.bytes)
        result.count("listed", folder.count)
        for path, entry in sorted(folder.found.items()):
            result.add({"relpath": relpath, **entry, "path": shown_path(path)})

    _each_read(query, result, each)


class _Folder:
    """Collects the entries of one folder of a tarball: its direct children, each with the totals below it, or with `recursive` all below."""

    def __init__(self, path: str, recursive: bool) -> None:
        self._path = path
        self._recursive = recursive
        self._is_there = not path
        self._siblings: set[str] = set()
        self.found: dict[str, dict[str, Any]] = {}
        self.count = 0
        self.entries = 0
        self.bytes = 0

    def take(self, member: Member) -> None:
        """Count a member if it lies in the folder."""
        if member.path == self._path:
            self._is_there = True
            if member.type != FOLDER:
                self._note(member.path, member, own=True)
            return
        if self._path and not member.path.startswith(f"{self._path}/"):
            beside = member.path and os.path.dirname(member.path) == os.path.dirname(self._path)
            if beside and not self._is_there and len(self._siblings) < MOST:
                self._siblings.add(member.path)
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
            if len(self.found) >= _MOST_SORTED:
                return
            entry = self.found[path] = {"size": 0, "entries": 0}
        if own:
            entry.update(described(member), size=entry["size"] + member.size)
        else:
            entry["size"] += member.size
            entry["entries"] += 1

    def require(self) -> None:
        """Raise InvalidInput if the tarball has nothing at the path."""
        if not self._is_there:
            hint = nearest(self._path, sorted(map(printable, self._siblings)))
            if len(self._siblings) > _NAMED and not hint.endswith("?"):
                hint = f"look into {printable(repr(os.path.dirname(self._path))) if '/' in self._path else 'all of it'} for what is"
            raise InvalidInput(f"{printable(repr(self._path))} is not in it, {hint}")


def described(member: Member) -> dict[str, Any]:
    """Return a member's metadata as plain JSON values, without its path."""
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
    """Return a path with terminal control characters and undecodable bytes as %XX, which decode_name reverses."""
    return _ESCAPED.sub(lambda match: "".join(f"%{byte:02X}" for byte in os.fsencode(match[0])), path)


def _find(query: Query, read: Callable[..., None], result: _Result) -> None:
    fits = matcher(query.name)
    result.count("found", 0)

    def each(number: int, relpath: str) -> None:
        def take(member: Member) -> None:
            if fits(member.path):
                result.count("found")
                result.add({"relpath": relpath, "path": shown_path(member.path), **described(member)})

        read(number, take)
        result.count("read")

    _each_read(query, result, each)


def matcher(name: str) -> Callable[[str], bool]:
    """Return a predicate of paths, by a name, a pattern with `*`, `?` or `[...]`, or the end of a path."""
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


def _diff(query: Query, read: Callable[..., None], result: _Result) -> None:
    old, new = query.relpaths
    before: dict[str, Member] = {}
    changed: set[str] = set()  # paths whose content changed; their hard links count as changed, too

    def is_meant(member: Member) -> bool:
        path = query.path
        return not path or member.path == path or member.path.startswith(f"{path}/")

    def keep(member: Member) -> None:
        if is_meant(member):
            add_within_limit(before, member, old)

    def compare(member: Member) -> None:
        if is_meant(member):
            _compare(before.pop(member.path, None), member, new, result, changed)

    result.totals.update(dict.fromkeys(("added", "removed", "changed", "same"), 0))
    result.totals.update(dict.fromkeys(("bytes_added", "bytes_removed", "bytes_changed", "bytes_before"), 0))
    read(0, keep, True)
    if query.path and not before:
        result.notes.append(f"{printable(repr(query.path))} is not in {old}")
    read(1, compare, True)
    for path in sorted(before):
        result.count("removed")
        result.count("bytes_removed", before[path].size)
        result.add({"relpath": old, "path": shown_path(path), **described(before[path]), "what": "removed"})
    result.entries.sort(key=lambda entry: str(entry["path"]))


def _compare(old: Member | None, new: Member, relpath: str, result: _Result, changed: set[str]) -> None:
    """Count one member of the newer tarball, and add an entry if it is new or changed; `changed` collects paths with other content."""
    entry = {"relpath": relpath, "path": shown_path(new.path), **described(new)}
    if old is None:
        result.count("added")
        result.count("bytes_added", new.size)
        result.add({**entry, "what": "added"})
        return
    differences = _differences(old, new)
    if new.type == HARD_LINK and new.target.partition("/")[2] in changed:
        differences = ["content", *differences]
    if "content" in differences:
        changed.add(new.path)
    if not differences:
        result.count("same")
        return
    result.count("changed")
    result.count("bytes_changed", new.size)
    result.count("bytes_before", old.size)
    result.add({**entry, "what": "changed", "before": old.size, "differs": differences})


def _differences(old: Member, new: Member) -> list[str]:
    """Return the properties in which two members of one path differ; times are not compared."""
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
