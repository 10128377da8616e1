"""Marks that people set on copies: accepted suspects, held tarballs, retired items.

`.altbackup/state/marks.json` on a source, `.altbackup/state/<source>/marks.json` on a target. Marks are the controller's, which hands them
to each node with its runs' calls; nothing that a node says becomes a mark of another one.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..system.errors import AltbackupError, BaseUnusable, InvalidInput
from ..system.values import quoted
from .layout import EXTENSIONS, Tarball, Tree
from .private import opened_private_file
from .publish import make_folders, write_text
from .stamps import is_day, is_stamp

MARKS: dict[str, Any] = {"marks": {"type": "dict", "default": {}}}
"""Argument spec of a module that stores marks"""
LONGEST_TEXT = 1000
"""Most characters of the text of a hold"""
_LONGEST = 16 << 20
"""Most bytes of the file"""


@dataclass(frozen=True)
class Marks:
    """The marks on the copies of one source."""

    accepted: Mapping[str, str] = field(default_factory=dict)
    """{category/name: stamp}: suspects of the item are accepted up to and including that stamp"""
    holds: Mapping[str, str] = field(default_factory=dict)
    """{category/name/stamp: reason}: tarballs that stay until they are released"""
    retired: Mapping[str, str] = field(default_factory=dict)
    """{category/name: day}: items that are given up on purpose"""

    def accepts(self, key: str, stamp: str) -> bool:
        """Return whether a suspect of an item (category/name) is accepted."""
        return stamp <= self.accepted.get(key, "")

    def hold_of(self, key: str, stamp: str) -> str | None:
        """Return why a tarball of an item (category/name) is held, None if it is not."""
        return self.holds.get(f"{key}/{stamp}") or None

    def held(self, tarballs: Iterable[Tarball]) -> dict[str, str]:
        """Return {relpath: why it is held} of the held tarballs."""
        found = {tarball.relpath: self.hold_of(tarball.key, tarball.stamp) for tarball in tarballs}
        return {relpath: text for relpath, text in found.items() if text is not None}


def parse_given(value: Mapping[str, Any] | None) -> Marks:
    """Return marks from a controller's mapping. Raise InvalidInput.

    An empty text releases a hold, an empty day takes a retirement back.
    """
    return Marks(**_parsed(value or {}, ("",)))


def added(known: Marks, given: Marks) -> Marks:
    """Return both marks, in the form that a controller hands over: of acceptances the later stamp, otherwise what is `given`."""
    accepted = dict(known.accepted)
    for key, stamp in given.accepted.items():
        accepted[key] = max(stamp, accepted.get(key, ""))
    return Marks(accepted, {**known.holds, **given.holds}, {**known.retired, **given.retired})


def merged(known: Marks, given: Marks) -> Marks:
    """Return the marks of a tree after a controller's marks were added and its releases applied."""
    both = added(known, given)
    return Marks(both.accepted, _without_empty(both.holds), _without_empty(both.retired))


def split_hold(text: str) -> tuple[str, str]:
    """Return item (category/name) and stamp of `category/name/YYYY/MM/DD/HHMMSS`. Raise InvalidInput."""
    category, _, rest = text.partition("/")
    name, _, stamp = rest.partition("/")
    if _is_key(f"{category}/{name}") and is_stamp(stamp):
        return f"{category}/{name}", stamp
    raise InvalidInput(f"{quoted(text)} is not <category>/<name>/YYYY/MM/DD/HHMMSS")


def marks_path(tree: Tree) -> str:
    """Return the path of a tree's marks."""
    return tree.private_path("state", "marks.json")


def marks_of(tree: Tree) -> Marks:
    """Return a tree's marks, empty if there are none. Raise BaseUnusable if they cannot be read, or are damaged."""
    try:
        with opened_private_file(tree, marks_path(tree)) as stream:
            text = stream.read(_LONGEST + 1)
        if len(text) > _LONGEST:
            raise InvalidInput(f"it has more than {_LONGEST} bytes")
        value = json.loads(text)
        if not isinstance(value, Mapping):
            raise InvalidInput("it is no mapping")
        return Marks(**_parsed(value))
    except FileNotFoundError:
        return Marks()
    except OSError as error:
        raise _unusable(tree, f"cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError, InvalidInput) as error:
        why = str(error) if isinstance(error, InvalidInput) else "it is no JSON"
        raise _unusable(tree, f"is damaged ({why})") from error


def keep_marks(tree: Tree, given: Mapping[str, Any]) -> Marks:
    """Add marks, as modules take them, to those of a tree that this process has locked; return all marks of the tree.

    Nothing is written if nothing is new. Raise InvalidInput, BaseUnusable or OSError.
    """
    known, told = marks_of(tree), parse_given(given)
    marks = merged(known, told)
    if marks != known:
        path = marks_path(tree)
        make_folders(os.path.dirname(path), tree.private)
        write_text(path, json.dumps(asdict(marks), sort_keys=True) + "\n")
    return marks


def try_keep(tree: Tree, given: Mapping[str, Any]) -> dict[str, Any]:
    """Add marks, as modules take them, to those of a tree that this process has locked; return `marks_kept` and `held`.

    For calls that remove nothing: damaged marks, or a full disk, are left for purge to report.
    """
    try:
        return {"marks_kept": True, "held": held_here(tree, keep_marks(tree, given))}
    except (AltbackupError, OSError):
        return {"marks_kept": False, "held": []}


def held_here(tree: Tree, marks: Marks) -> list[str]:
    """Return the holds (category/name/stamp) of existing tarballs. Raise OSError."""
    return sorted(hold for hold in marks.holds if _has_tarball(tree.path(hold)))


def _has_tarball(folder: str) -> bool:
    try:
        return any(name.endswith(EXTENSIONS) for name in os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return False


def _unusable(tree: Tree, what: str) -> BaseUnusable:
    path = marks_path(tree)
    return BaseUnusable(
        f"{path} tells what is accepted, held and retired in {tree.base}, but {what}: nothing there is removed. Mend it, or move it away, and the "
        "next run writes there what its controller knows; what others marked has to be marked again: "
        f"mv {shlex.quote(path)} {shlex.quote(f'{path}.damaged')}"
    )


def _parsed(value: Mapping[str, Any], also: tuple[str, ...] = ()) -> dict[str, dict[str, str]]:
    """Return marks from a mapping; texts and days may also be one of `also`. Raise InvalidInput."""
    unknown = [str(name) for name in value if name not in Marks.__dataclass_fields__]
    if unknown:
        raise InvalidInput(f"marks have no {quoted(unknown[0])}")
    found: dict[str, dict[str, str]] = {}
    for name in Marks.__dataclass_fields__:
        entries = value.get(name, {})
        if not isinstance(entries, Mapping):
            raise InvalidInput(f"{name} is no mapping")
        for key, entry in entries.items():
            _check(name, key, entry, also)
        found[name] = dict(entries)
    return found


def _check(name: str, key: Any, entry: Any, also: tuple[str, ...]) -> None:
    """Raise InvalidInput if an entry of marks is invalid."""
    if not isinstance(key, str) or not isinstance(entry, str):
        raise InvalidInput(f"{name}: {quoted(key)}: {quoted(entry)} are no texts")
    if name == "holds":
        split_hold(key)
    elif not _is_key(key):
        raise InvalidInput(f"{name}: {quoted(key)} is not <category>/<name>")
    good = {"accepted": is_stamp(entry), "holds": 0 < len(entry) <= LONGEST_TEXT, "retired": is_day(entry)}[name]
    if not good and (name == "accepted" or entry not in also):
        what = {"accepted": "stamp", "holds": f"text of 1 to {LONGEST_TEXT} characters", "retired": "day"}[name]
        raise InvalidInput(f"{name}: {quoted(key)}: {quoted(entry)} is no {what}")


def _is_key(text: str) -> bool:
    return re.fullmatch(r"[^/.\0\n][^/\0\n]*/[^/.\0\n][^/\0\n]*", text) is not None


def _without_empty(entries: Mapping[str, str]) -> dict[str, str]:
    return {key: entry for key, entry in entries.items() if entry}
