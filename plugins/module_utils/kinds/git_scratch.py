"""The copy of a Git repository that is kept from night to night: what is new comes to it as one more pack.

Packs that are kept are never written again: they stay where they are, and what an archive has of them is compared with what the
last one had. All else in the copy is made anew each night. Every few days a second copy is made from empty, which reads all
of the live repository; where it has all that is kept, and that is whole, what is kept stays.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Collection
from typing import Any, Mapping, Sequence

from ..system.digest import digest_file
from ..system.errors import AltbackupError, DeadlineExceeded, InvalidInput, SourceChanged, ToolMissing
from ..system.holes import copy_file
from ..system.twins import set_mode
from ..system.units import first_of
from ..system.visible import printable
from ..tree.publish import remove_folder
from ..tree.stamps import day_of
from .base import Asked, Context, scratch_folder
from .git_copy import Copied, Kept, copy_repository
from .git_packs import are_within, indexes_of, objects_in_pack, packs_folder
from .git_tool import Git
from .items import Item
from .kept import building_folder, is_due, state_path

_COPY = "copy"
_DAMAGED = "damaged"
"""What stands beside a copy that is not to be used again, and says why"""
_MOST_ENDS = 300_000
"""Most objects of which it is kept that the copy has all that they lead to: without them all of the history is gone through"""
_MOST_WASTE = 0.25
"""The share of objects to which nothing leads any more from which on the copy is made anew"""
_LONGEST_REASON = 1000
_SHOWN = 3
_FILE = re.compile(r"pack-[0-9a-f]{40,64}\.[a-z]+")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_END = re.compile(r"[0-9a-f]{40,64}")

Packs = Mapping[str, Sequence[Any]]
"""{file name: (bytes, sha256)} of what is in a folder of packs"""


class Scratch:
    """The copies of an item's repositories, its own and those of submodules, and what is known of them."""

    def __init__(self, item: Item, context: Context, folder: str, within: str, paths: Sequence[str]) -> None:
        """`folder` is the item's own repository, which is at `within` in the archive, and `paths` are all of them below it."""
        self._item = item
        self._context = context
        self._folder = folder
        self._places = {path: os.path.normpath(os.path.join(within, path)) for path in paths}
        self._kept: Mapping[str, Any] = context.known["state"].get("repositories", {})
        self._root = scratch_folder(context, item)
        self._building = building_folder(context, item)
        self._built = str(context.known["state"].get("built", ""))
        self._copies: dict[str, Copied] = {}
        self._anew: dict[str, Copied] = {}
        """Copies that were made from empty"""
        self.rebuilt = False
        self.notes: list[str] = []

    @property
    def top(self) -> str:
        """The folder of the copies, as it is archived."""
        return os.path.join(self._building if self.rebuilt else self._root, _COPY)

    def fill(self) -> dict[str, Copied]:
        """Bring the copies to one state of the live repositories; return them by path.

        Any error that is not of the live ones leads to copies from empty, which is reported; a second one is raised.
        """
        today, every = day_of(self._context.stamp), self._context.verify_every
        reason = self._doubt()
        if reason is not None:
            return self._build(reason)
        due = is_due(self._item.key, self._built, today, every)
        reason = self._try(self._root, whole=due)
        if reason:
            return self._recover(reason)
        if reason is None and not due:
            return self._copies
        kept = self._copies
        self._build()
        if reason is None and self._holds_what_is_kept():
            self._copies, self.rebuilt = kept, False
        return self._copies

    def do_without(self, error: AltbackupError) -> dict[str, Copied]:
        """Return other copies than those with which an error was met. Raise it where there are none."""
        if not self.rebuilt and not self._anew:
            return self._recover(str(error))
        if self.rebuilt and self._anew:
            raise error
        return self._build(str(error))

    def _recover(self, reason: str) -> dict[str, Copied]:
        """Use what is kept in another place after an error, if it is whole nevertheless, else make copies from empty."""
        try:
            self._take_along()
        except (DeadlineExceeded, ToolMissing):
            raise
        except (AltbackupError, OSError):
            return self._build(reason)
        if self._try(self._building, whole=True) is not None:
            return self._build(reason)
        self.rebuilt = True
        self.notes.append(f"the scratch copy was verified whole, after an error: {reason}")
        return self._copies

    def _take_along(self) -> None:
        """Copy what is kept to where copies are made. Raise AltbackupError where it is not what it was, or OSError."""
        strip(self._building, ())
        for path, (_, digest) in self._files().items():
            source = os.path.join(self._root, path)
            folder = self._make(self._building, os.path.dirname(path))
            copied = os.path.join(folder, os.path.basename(path))
            copy_file(source, copied)
            set_mode(copied, os.stat(source).st_mode & 0o777)
            self._context.identity.own(copied)
            if digest_file(copied, "sha256")[0] != digest:
                raise AltbackupError(f"{printable(path)} is not what it was at the last dump")

    def _build(self, reason: str = "") -> dict[str, Copied]:
        """Make copies from empty, and tell why."""
        self._copies = self._anew = self._copy(self._building, {})
        self._built, self.rebuilt = day_of(self._context.stamp), True
        if reason:
            self.notes.append(f"the scratch copy was built anew: {reason}")
        return self._copies

    def _doubt(self) -> str | None:
        """Return None if what is kept can be used, as far as can be seen without reading it; else why not, empty if there is nothing."""
        if not self._context.known["copied"]:
            return ""
        if not self._context.known["state"]:
            return f"{state_path(self._context.tree, self._item)} is missing or damaged"
        with contextlib.suppress(FileNotFoundError), open(
            os.path.join(self._root, _DAMAGED), encoding="utf-8", errors="replace"
        ) as stream:
            return stream.read(_LONGEST_REASON)
        for path, (size, _) in self._files().items():
            try:
                status = os.lstat(os.path.join(self._root, path))
            except (FileNotFoundError, NotADirectoryError):
                return f"{printable(path)} is missing in it"
            if not stat.S_ISREG(status.st_mode) or status.st_size != size:
                return f"{printable(path)} is not what it was at the last dump"
        return None

    def _files(self) -> dict[str, Sequence[Any]]:
        """Return {path from the root: (bytes, sha256)} of the packs that are kept of repositories that there are."""
        return {
            os.path.normpath(os.path.join(_COPY, packs_folder(place), name)): known
            for place in self._places.values()
            for name, known in self._kept.get(place, {"packs": {}})["packs"].items()
        }

    def _try(self, root: str, *, whole: bool) -> str | None:
        """Bring what is kept up to date, and verify the `whole` of it; return None, or why it is not to be used, empty for a routine matter."""
        try:
            self._copies = self._copy(root, self._kept)
            for copied in self._copies.values() if whole else ():
                indexes = indexes_of(copied.fresh)
                if indexes:
                    Git(copied.fresh, self._context.deadline, self._context.identity).run("verify-pack", *indexes)
            wasteful = [copied.waste > _MOST_WASTE * objects_in_pack(copied.fresh) for copied in self._copies.values()]
        except (DeadlineExceeded, ToolMissing, InvalidInput, SourceChanged):
            raise
        except (AltbackupError, OSError) as error:
            return str(error)
        return "" if any(wasteful) else None

    def _copy(self, root: str, kept: Mapping[str, Any]) -> dict[str, Copied]:
        """Copy all repositories to their places below a root folder, where nothing stays but what is kept."""
        strip(root, set(self._files()) if kept else set())
        copies = {}
        for path, place in self._places.items():
            folder = self._make(root, os.path.normpath(os.path.join(_COPY, place)))
            known = kept.get(place)
            copies[path] = copy_repository(
                self._folder,
                path,
                list(self._places),
                root,
                folder,
                self._context,
                known and Kept(known["form"], known["shallow"], frozenset(end.encode() for end in known["ends"])),
            )
        return copies

    def _make(self, root: str, path: str) -> str:
        """Make a folder below a root, and those above it, where there are none, so that they belong to whom git runs as; return its path."""
        folder = root
        for name in path.split("/"):
            folder = os.path.join(folder, name)
            if not os.path.isdir(folder):
                os.mkdir(folder, 0o700)
                self._context.identity.own(folder)
        return folder

    def _holds_what_is_kept(self) -> bool:
        """Return whether copies that were made from empty have all objects that were kept, so that these need not go."""
        for path, place in self._places.items():
            packs = [name for name in self._kept.get(place, {"packs": {}})["packs"] if name.endswith(".idx")]
            folder = os.path.join(self._root, _COPY, packs_folder(place))
            if not are_within([os.path.join(folder, name) for name in packs], indexes_of(self._anew[path].fresh)):
                return False
        return True

    def examine(self, asked: Asked) -> dict[str, Any]:
        """Return what the next dump is to know of the copies; `asked` knows what the archive holds.

        Raise SourceChanged where a pack that was kept is not what it was: the next try makes the copies anew.
        """
        repositories, changed = {}, []
        for path, place in self._places.items():
            copied = self._copies[path]
            if copied.partial:
                continue
            below = os.path.normpath(packs_folder(place))
            names = sorted(os.listdir(os.path.join(self.top, below)))
            told = asked([f"{below}/{name}" for name in names])
            packs = {name: [*told[f"{below}/{name}"]] for name in names}
            kept: Packs = {} if self.rebuilt else self._kept.get(place, {"packs": {}})["packs"]
            changed += [f"{below}/{name}" for name, known in kept.items() if name in packs and packs[name] != [*known]]
            ends = sorted(end.decode() for end in copied.ends) if len(copied.ends) <= _MOST_ENDS else []
            repositories[place] = {"form": copied.form, "shallow": copied.shallow, "ends": ends, "packs": packs}
        if changed:
            reason = f"it holds something else than at the last dump: {printable(first_of(changed, _SHOWN))}"
            with open(os.path.join(self._root, _DAMAGED), "w", encoding="utf-8", errors="replace") as stream:
                stream.write(reason)
            raise SourceChanged(f"{self._root}: {reason}")
        return {"built": self._built, "repositories": repositories}


def strip(root: str, kept: Collection[str]) -> None:
    """Remove all below a folder but the files with the paths that are kept and the folders that these are in; follow no link."""
    parts = [path.split("/") for path in kept]
    above = {"/".join(part[:count]) for part in parts for count in range(1, len(part))}
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        with os.scandir(os.path.join(root, folder)) as entries:
            found = [(os.path.join(folder, entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries]
        for path, is_folder in found:
            if is_folder and path in above:
                waiting.append(path)
            elif is_folder:
                remove_folder(os.path.join(root, path))
            elif path not in kept:
                os.unlink(os.path.join(root, path))


def checked(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of the copies of an item, with its types. Raise KeyError, TypeError or ValueError."""
    repositories = {str(place): _checked(known) for place, known in state["repositories"].items()}
    return {"built": str(state["built"]), "repositories": repositories}


def _checked(known: Mapping[str, Any]) -> dict[str, Any]:
    packs = {
        _matching(_FILE, name): [int(size), _matching(_DIGEST, digest)]
        for name, (size, digest) in known["packs"].items()
    }
    ends = [_matching(_END, end) for end in known["ends"]]
    return {"form": str(known["form"]), "shallow": str(known["shallow"]), "ends": ends, "packs": packs}


def _matching(pattern: re.Pattern[str], text: str) -> str:
    if not pattern.fullmatch(text):
        raise ValueError(text)
    return text
