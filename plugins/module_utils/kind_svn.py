"""Kind `svn`: an incremental hot copy, kept from night to night, checked and made the same for the same content.

A scratch copy alone is not to be trusted: what must not linger in it is removed before each copy, new revisions are
verified every night, and every few days it is built anew from empty and verified whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
import zlib
from collections.abc import Iterator
from datetime import date
from typing import Any

from .archive import Part
from .errors import AltbackupError, DeadlineExceeded, InvalidInput, ToolMissing
from .items import Item
from .kinds import Context, Kind, Prepared, owner_of, remove_folder, require_folder, walk
from .layout import Tree
from .processes import Deadline, find_tool, run
from .publish import make_folders, write_text
from .stamps import day_of

_NEVER_LINGERS = ("db/rep-cache.db", "db/rep-cache.db-journal", "db/locks", "hooks", "conf", "locks")
_NOT_ARCHIVED = ("db/pack-lock", "db/rep-cache.db-journal")
_NAMESPACE = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")  # RFC 4122, appendix C


def check(item: Item) -> None:
    """Raise InvalidInput unless the item's path is a Subversion repository."""
    require_folder(item)
    for member in ("format", "db/fs-type", "db/current"):
        if not os.path.isfile(os.path.join(item.path, member)):
            raise InvalidInput(f"item svn {item.name!r}: path {item.path} is not a Subversion repository: it has no {member}")
    for tool in ("svnadmin", "svnlook", "tar"):
        find_tool(tool)


def youngest(path: str, deadline: Deadline) -> int:
    """Given a repository, return its youngest revision. Raise ToolFailed."""
    return int(run([find_tool("svnlook"), "youngest", path], what=f"asking {path} for its youngest revision", deadline=deadline))


def identity(path: str, deadline: Deadline) -> str:
    """Given a repository, return its UUID. Raise ToolFailed."""
    return run([find_tool("svnlook"), "uuid", path], what=f"asking {path} for its UUID", deadline=deadline).decode().strip()


@contextlib.contextmanager
def copy(item: Item, context: Context) -> Iterator[Prepared]:
    """Given an item, bring its scratch copy up to date and yield it; its revision is the copy's, never the live one's."""
    scratch = Scratch(item, context)
    notes = scratch.update()
    revision = youngest(scratch.path, context.deadline)
    names = [name for name in walk(scratch.path)[0] if os.fsdecode(name[2:]) not in _NOT_ARCHIVED]
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
        reason = self._reason_to_rebuild()
        if reason is None:
            try:
                self._copy_new_revisions()
                return []
            except (DeadlineExceeded, ToolMissing):
                raise
            except (AltbackupError, OSError) as error:
                reason = str(error)
        routine = not reason
        self._rebuild()
        return [] if routine else [f"the scratch copy was built anew and verified whole: {reason}"]

    def _reason_to_rebuild(self) -> str | None:
        """Return None to go on with the copy, an empty text for a routine rebuild, else what is wrong with the copy."""
        if not os.path.isdir(self.path):
            return ""
        state = self._read_state()
        if not state:
            return f"{self._state} is missing or damaged"
        live = identity(self.item.path, self.context.deadline)
        if state["uuid"] != live:
            return f"the repository's UUID changed from {state['uuid']} to {live}: it was created anew"
        revision = youngest(self.item.path, self.context.deadline)
        if revision < state["revision"]:
            return f"the repository went back from revision {state['revision']} to {revision}"
        return "" if is_due(self.item.key, state["built"], day_of(self.context.stamp), self.context.verify_every) else None

    def _copy_new_revisions(self) -> None:
        verified = int(self._read_state()["revision"])
        for member in _NEVER_LINGERS:
            path = os.path.join(self.path, member)
            remove_folder(path)
            if os.path.lexists(path):
                os.unlink(path)
        self._hotcopy(self.path, "--incremental")
        revision = youngest(self.path, self.context.deadline)
        if identity(self.path, self.context.deadline) != identity(self.item.path, self.context.deadline):
            raise AltbackupError("the copy's UUID is not the repository's")
        if revision > verified:
            self._verify(self.path, f"--revision={verified + 1}:{revision}")
        self._finish(self.path)
        self._write_state(self.path, revision, self._read_state()["built"])

    def _rebuild(self) -> None:
        try:
            self._hotcopy(self._building)
            self._verify(self._building)
            self._finish(self._building)
            revision = youngest(self._building, self.context.deadline)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._state)  # until it is known again, the copy counts as damaged
            remove_folder(self.path)
            make_folders(os.path.dirname(self.path), self.context.tree.private)
            os.rename(self._building, self.path)
            self._write_state(self.path, revision, day_of(self.context.stamp))
        finally:
            remove_folder(self._building)

    def _hotcopy(self, destination: str, *options: str) -> None:
        make_folders(os.path.dirname(destination), self.context.tree.private)
        run(
            [find_tool("svnadmin"), "hotcopy", "--quiet", *options, self.item.path, destination],
            what=f"copying the repository {self.item.path}",
            deadline=self.context.deadline,
        )

    def _verify(self, path: str, *options: str) -> None:
        run(
            [find_tool("svnadmin"), "verify", "--quiet", *options, path],
            what=f"verifying the copy of {self.item.path}",
            deadline=self.context.deadline,
        )

    def _finish(self, path: str) -> None:
        """Replace the random instance id that each full copy gets: equal repositories give equal archives."""
        uuid_file = os.path.join(path, "db", "uuid")
        with open(uuid_file, encoding="ascii") as stream:
            lines = stream.read().splitlines()
        if len(lines) > 1:
            instance = str(uuid.uuid5(_NAMESPACE, f"urn:uuid:{lines[0]}"))
            if lines[1] != instance:
                write_text(uuid_file, f"{lines[0]}\n{instance}\n")
                os.chmod(uuid_file, 0o644)

    def _read_state(self) -> dict[str, Any]:
        try:
            with open(self._state, encoding="utf-8") as stream:
                state = json.load(stream)
            return {"uuid": str(state["uuid"]), "revision": int(state["revision"]), "built": str(state["built"])}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def _write_state(self, path: str, revision: int, built: str) -> None:
        make_folders(os.path.dirname(self._state), self.context.tree.private)
        state = {"uuid": identity(path, self.context.deadline), "revision": revision, "built": built}
        write_text(self._state, json.dumps(state) + "\n")


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


KIND = Kind(check, copy, lambda item, deadline: youngest(item.path, deadline))
