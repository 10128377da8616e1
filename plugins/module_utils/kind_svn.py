"""Kind `svn`: an incremental hot copy, kept from night to night, checked and made the same for the same content.

A scratch copy alone is not to be trusted: what must not linger in it is removed before each copy, new revisions are
verified every night, and every few days it is built anew from empty and verified whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import uuid
import zlib
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from .archive import Part
from .errors import AltbackupError, DeadlineExceeded, InvalidInput, ToolFailed, ToolMissing
from .items import Item
from .kinds import Context, Kind, Prepared, members_of, owner_of, require_folder, walk
from .layout import Tree
from .processes import Deadline, find_tool, run
from .publish import make_folders, remove_folder, remove_if_there, write_text
from .stamps import day_of

# A hot copy takes a file of equal size for unchanged unless the live one is newer than the copy, and removes nothing.
_NEVER_LINGERS = ("db/rep-cache.db", "db/rep-cache.db-journal", "db/locks", "db/revprops", "db/node-origins")
_KEPT = ("db", "format")
_MEMBERS = (
    "format",
    "conf/svnserve.conf",
    "locks/db.lock",
    "db/format",
    "db/fs-type",
    "db/current",
    "db/uuid",
    "db/revs",
)
_NOT_ARCHIVED = ("db/pack-lock", "db/rep-cache.db-journal", "db/node-origins")
_ATTEMPTS = 3
_VANISHED = "E000002"  # APR's ENOENT, as svnadmin shows it
_NAMESPACE = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")  # RFC 4122, appendix C


def looks_like(path: str) -> bool:
    """Given a path, return whether a Subversion repository is there, or what is left of one."""
    return members_of(path, _MEMBERS) >= 2


def check(item: Item) -> None:
    """Raise InvalidInput unless the item's path is a Subversion repository."""
    require_folder(item)
    for member in ("format", "db/fs-type", "db/current"):
        if not os.path.isfile(os.path.join(item.path, member)):
            raise InvalidInput(
                f"item svn {item.name!r}: path {item.path} is not a Subversion repository: it has no {member}"
            )
    for tool in ("svnadmin", "svnlook", "tar"):
        find_tool(tool)


def youngest(path: str, deadline: Deadline) -> int:
    """Given a repository, return its youngest revision. Raise ToolFailed."""
    return int(
        run(
            [find_tool("svnlook"), "youngest", path], what=f"asking {path} for its youngest revision", deadline=deadline
        )
    )


def identity(path: str, deadline: Deadline) -> str:
    """Given a repository, return its UUID. Raise ToolFailed."""
    return (
        run([find_tool("svnlook"), "uuid", path], what=f"asking {path} for its UUID", deadline=deadline)
        .decode()
        .strip()
    )


def date_of(path: str, revision: int, deadline: Deadline) -> str:
    """Given a repository, return the date of a revision to the microsecond, empty if it has none. Raise ToolFailed."""
    argv = [find_tool("svnlook"), "proplist", "--revprop", f"--revision={revision}", "--verbose", "--xml", path]
    listing = run(argv, what=f"asking {path} for the date of revision {revision}", deadline=deadline)
    match = re.search(rb'<property\s+name="svn:date"[^>]*>([^<]*)<', listing)
    return match.group(1).decode() if match else ""


@contextlib.contextmanager
def copy(item: Item, context: Context) -> Iterator[Prepared]:
    """Given an item, bring its scratch copy up to date and yield it; its revision is the copy's, never the live one's."""
    scratch = Scratch(item, context)
    notes = scratch.update()
    revision = youngest(scratch.path, context.deadline)
    left_out = tuple(f"./{member}/".encode() for member in _NOT_ARCHIVED)
    names = [name for name in walk(scratch.path)[0] if not (name + b"/").startswith(left_out)]
    yield Prepared(
        [Part(scratch.path, names)],
        {"uuid": identity(scratch.path, context.deadline), "revision": revision},
        revision=revision,
        owner=owner_of(item.path),
        fixed_times=True,
        notes=notes,
    )


class Scratch:
    """The copy of a repository that is kept in the private folder, and what is known of it."""

    def __init__(self, item: Item, context: Context) -> None:
        self.item = item
        self.context = context
        self.path = context.tree.private_path("scratch", item.category, item.name)
        self._state = _state_path(context.tree, item)
        self._building = context.tree.private_path("building", item.category, item.name)

    def update(self) -> list[str]:
        """Bring the copy to one committed state of the live repository, verified; return notes on what had to be done.

        Any error of an update leads to one rebuild from empty, which is reported; a second one is raised.
        """
        remove_folder(self._building)
        state = self._read_state()
        reason = self._reason_to_rebuild(state)
        if reason is None:
            try:
                self._copy_new_revisions(state)
                return []
            except (DeadlineExceeded, ToolMissing):
                raise
            except (AltbackupError, OSError) as error:
                reason = str(error)
                self._forget()
        routine = not reason
        self._rebuild()
        return [] if routine else [f"the scratch copy was built anew and verified whole: {reason}"]

    def _reason_to_rebuild(self, state: Mapping[str, Any]) -> str | None:
        """Return None to go on with the copy, an empty text for a routine rebuild, else what is wrong with the copy."""
        if not os.path.isdir(self.path):
            return ""
        if not state:
            return f"{self._state} is missing or damaged"
        live = identity(self.item.path, self.context.deadline)
        if state["uuid"] != live:
            return f"the repository's UUID changed from {state['uuid']} to {live}: it was created anew"
        revision = youngest(self.item.path, self.context.deadline)
        if revision < state["revision"]:
            return f"the repository went back from revision {state['revision']} to {revision}"
        if date_of(self.item.path, state["revision"], self.context.deadline) != state["date"]:
            return f"revision {state['revision']} is no longer the one that was copied: the repository was restored from an older copy"
        return (
            "" if is_due(self.item.key, state["built"], day_of(self.context.stamp), self.context.verify_every) else None
        )

    def _copy_new_revisions(self, state: Mapping[str, Any]) -> None:
        members = [name for name in os.listdir(self.path) if name not in _KEPT]
        for member in (*_NEVER_LINGERS, *members):
            path = os.path.join(self.path, member)
            remove_folder(path)
            remove_if_there(path)
        before = _revision_files(self.path)
        self._hotcopy(self.path, "--incremental")
        revision = youngest(self.path, self.context.deadline)
        if identity(self.path, self.context.deadline) != identity(self.item.path, self.context.deadline):
            raise AltbackupError("the copy's UUID is not the repository's")
        first = min([state["revision"] + 1, *(number for file, number in _revision_files(self.path) - before)])
        if first <= revision:
            self._verify(self.path, f"--revision={first}:{revision}")
        self._finish(self.path)
        self._write_state(self.path, revision, state["built"])

    def _rebuild(self) -> None:
        try:
            self._hotcopy(self._building)
            self._verify(self._building)
            self._finish(self._building)
            revision = youngest(self._building, self.context.deadline)
            self._forget()
            remove_folder(self.path)
            make_folders(os.path.dirname(self.path), self.context.tree.private)
            os.rename(self._building, self.path)
            self._write_state(self.path, revision, day_of(self.context.stamp))
        finally:
            remove_folder(self._building)

    def _hotcopy(self, destination: str, *options: str) -> None:
        """Copy, again if a lock was broken or revisions were packed meanwhile: then a file vanishes under the hot copy."""
        make_folders(os.path.dirname(destination), self.context.tree.private)
        for attempt in range(_ATTEMPTS):
            try:
                run(
                    [find_tool("svnadmin"), "hotcopy", "--quiet", *options, self.item.path, destination],
                    what=f"copying the repository {self.item.path}",
                    deadline=self.context.deadline,
                )
                return
            except ToolFailed as error:
                if attempt + 1 == _ATTEMPTS or _VANISHED not in error.stderr:
                    raise
            if not options:
                remove_folder(destination)

    def _verify(self, path: str, *options: str) -> None:
        run(
            [find_tool("svnadmin"), "verify", "--quiet", *options, path],
            what=f"verifying the copy of {self.item.path}",
            deadline=self.context.deadline,
        )

    def _finish(self, path: str) -> None:
        """Replace the random instance id that each full copy gets, and take the live modes: equal repositories give equal archives."""
        uuid_file = os.path.join(path, "db", "uuid")
        with open(uuid_file, encoding="ascii") as stream:
            lines = stream.read().splitlines()
        if len(lines) > 1:
            instance = str(uuid.uuid5(_NAMESPACE, f"urn:uuid:{lines[0]}"))
            if lines[1] != instance:
                write_text(uuid_file, f"{lines[0]}\n{instance}\n")
                os.chmod(uuid_file, 0o644)
        self._take_modes(path)

    def _take_modes(self, path: str) -> None:
        """Give folders and files the modes of their live counterparts, which a hot copy masks; a folder without one that of db."""
        usual = os.stat(os.path.join(self.item.path, "db")).st_mode
        for name, (mode, *_) in walk(path)[0].items():
            live = 0
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                live = os.lstat(os.path.join(os.fsencode(self.item.path), name)).st_mode
            if stat.S_ISDIR(mode):
                wanted = stat.S_IMODE(live if stat.S_ISDIR(live) else usual) | 0o700
            elif stat.S_ISREG(mode) and stat.S_ISREG(live):
                wanted = live & 0o777 | 0o400
            else:
                continue
            if wanted != stat.S_IMODE(mode):
                os.chmod(os.path.join(os.fsencode(path), name), wanted)

    def _forget(self) -> None:
        """Forget what is known of the copy: until it is built anew, it counts as damaged."""
        remove_if_there(self._state)

    def _read_state(self) -> dict[str, Any]:
        try:
            with open(self._state, encoding="utf-8") as stream:
                state = json.load(stream)
            texts = {key: str(state[key]) for key in ("uuid", "date", "built")}
            return {**texts, "revision": int(state["revision"])}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def _write_state(self, path: str, revision: int, built: str) -> None:
        make_folders(os.path.dirname(self._state), self.context.tree.private)
        deadline = self.context.deadline
        state = {
            "uuid": identity(path, deadline),
            "revision": revision,
            "date": date_of(path, revision, deadline),
            "built": built,
        }
        write_text(self._state, json.dumps(state) + "\n")


def _revision_files(path: str) -> set[tuple[tuple[str, int], int]]:
    """Given a repository, return ((path, time of writing), first revision in it) of each file that holds revisions."""
    with open(os.path.join(path, "db", "format"), encoding="ascii") as stream:
        sharded = re.search(r"^layout sharded (\d+)$", stream.read(), re.MULTILINE)
    found = set()
    for parent, _, files in os.walk(os.path.join(path, "db", "revs")):
        shard, packed, _ = os.path.basename(parent).partition(".pack")
        for name in files:
            if packed or name.isdigit():
                file = os.path.join(parent, name)
                first = int(shard) * int(sharded.group(1)) if packed and sharded else int(name)
                found.add(((file, os.stat(file).st_mtime_ns), first))
    return found


def _state_path(tree: Tree, item: Item) -> str:
    return tree.private_path("state", item.category, f"{item.name}.json")


def is_due(key: str, built: str, today: str, every: int) -> bool:
    """Return whether a copy built on a day is to be built anew today: each `every` days, on a weekday by its name.

    The days of different items are spread, so that not all are rebuilt in one night.
    """
    try:
        age = date(*map(int, today.split("/"))).toordinal() - date(*map(int, built.split("/"))).toordinal()
        now = date(*map(int, today.split("/"))).toordinal()
    except ValueError:
        return True
    if age < 0 or age >= every:
        return True
    return age > 0 and (now + zlib.crc32(key.encode("utf-8", "surrogateescape"))) % every == 0


KIND = Kind(check, copy, lambda item, deadline: youngest(item.path, deadline), looks_like)
