"""Items: what a source backs up, as the user wrote it."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from ..system.errors import InvalidInput
from ..system.paths import is_within
from ..system.recipients import parse_recipients
from ..system.values import closest, nearest, parse_count, parse_keep, parse_part, quoted
from ..tree.rulings import parse_rules
from .hooks import KEYS as _HOOKS
from .hooks import NO_HOOKS, Hooks, parse_hooks
from .keys import PARSERS
from .patterns import find_faults
from .registry import CATEGORIES, KINDS
from .sets import flattened, problems_of_sets

_PATTERNS = ("exclude", "changing")
MOST_NIGHTS = 100
"""Most nights from one full tarball to the next"""
_GLOBS = {"may_move": "references, such as refs/heads/wip/*", "may_empty": "tables, such as session*"}
_OWN_KEYS = tuple(dict.fromkeys(key for entry in KINDS.values() for key in entry.keys))
_PARTS = ("shrink", "churn")
_KEEP = "keep"
_FULL_EVERY = "full_every"
_ENCRYPT_TO = "encrypt_to"
_KEYS = ("kind", "name", "path", _KEEP, "former_names", *_PARTS, _FULL_EVERY, _ENCRYPT_TO, *_HOOKS, *_OWN_KEYS)


@dataclass(frozen=True)
class Item:
    """One thing to back up."""

    kind: str
    name: str
    path: str
    keep: int | None = None
    exclude: tuple[str, ...] = ()
    """Patterns of what is left out, as in a .gitignore"""
    require: str = ""
    changing: tuple[str, ...] = ()
    """Patterns, of the same form, of what is stored though it changes while it is read"""
    exclude_caches: bool = False
    """Whether folders that CACHEDIR.TAG marks are left out"""
    exclude_if_present: tuple[str, ...] = ()
    """Names that mark the folders in which they are as left out"""
    shrink: float | None = None
    """By which part it may become less before a dump is suspect"""
    churn: float | None = None
    """Which part of its files may change at once, and become such that cannot be compressed"""
    former_names: tuple[str, ...] = ()
    """The items, `<category>/<name>`, as which it was backed up before"""
    may_move: tuple[str, ...] = ()
    """Patterns of the references of a Git repository that may be rewritten and vanish, in which `*` stands for any text"""
    may_empty: tuple[str, ...] = ()
    """Patterns, of the same form, of the tables of a database that may lose all their rows, and vanish"""
    full_every: int | None = None
    """Nights from one full tarball to the next"""
    encrypt_to: tuple[str, ...] | None = None
    """The recipients that can read it; none at all where that is empty, those of its source where it is None"""
    rules: tuple[tuple[str, float], ...] = ()
    """(rule, number) of the rules of retention that it has of its own, beside `keep`"""
    options: tuple[tuple[str, Any], ...] = ()
    """(key, value) of what its kind alone takes, in the forms of keys.py; only what is given"""
    hooks: Hooks = NO_HOOKS
    """Programs that run before and after its dump"""

    @property
    def category(self) -> str:
        """The folder that its kind goes to."""
        return CATEGORIES[self.kind]

    @property
    def place(self) -> str:
        """What messages call the thing itself: its path, or where it has none the item."""
        return self.path or f"{self.kind} {self.name!r}"

    def option(self, key: str, default: Any = None) -> Any:
        """Return what is given under a key of its kind."""
        return dict(self.options).get(key, default)

    def plain_options(self) -> dict[str, Any]:
        """Return its options as users write them."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in self.options}

    @property
    def key(self) -> str:
        """What identifies it in its source, `<category>/<name>`."""
        return f"{self.category}/{self.name}"


def check_name(name: object) -> str:
    """Return the name of an item. Raise InvalidInput if it cannot be a folder's name in the tree."""
    if not isinstance(name, str) or not name:
        raise InvalidInput(f"item name {quoted(name)} is not a text")
    for character, what in (("/", "a slash"), ("\0", "a NUL byte"), ("\n", "a newline")):
        if character in name:
            raise InvalidInput(f"item name {quoted(name)} contains {what}: choose a name without")
    if name.startswith("."):
        raise InvalidInput(f"item name {quoted(name)} begins with a dot: choose a name that does not")
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        raise InvalidInput(f"item name {quoted(name)} is not UTF-8 text: choose a name that is") from None
    if length > 200:
        raise InvalidInput(f"item name {quoted(name)} is longer than 200 bytes: choose a shorter one")
    return name


def encode_name(path: str) -> str:
    """Return an item name for the relative path of a repository, reversibly: `group/project` is `group%2Fproject`.

    Bytes that are no UTF-8 text, as `os.fsdecode` has them, are encoded, too.
    """
    name = re.sub("[%/\n\0\udc80-\udcff]", lambda match: f"%{ord(match.group()) & 0xFF:02X}", path)
    return f"%2E{name[1:]}" if name.startswith(".") else name


def decode_name(name: str) -> str:
    """Return the relative path of a discovered repository from its item name."""
    return unquote(name, errors="surrogateescape")


def parse_item(values: Mapping[str, Any]) -> Item:
    """Parse an item as the user wrote it. Raise InvalidInput, naming the item and the key."""
    if not isinstance(values, Mapping):
        raise InvalidInput(f"item {quoted(values)} is not a mapping of kind, name and path")
    values = {key: value for key, value in values.items() if value is not None}
    title = _title(values)
    errors = _misspelt(values)
    if errors:
        raise InvalidInput(f"{title}: {'; '.join(errors)}")
    kind = values["kind"]
    for key in _OWN_KEYS:
        owners = [other for other, entry in KINDS.items() if key in entry.keys]
        if kind not in owners and values.get(key):
            raise InvalidInput(f"{title}: key {quoted(key)} is for kind {' and '.join(owners)} only")
    path = _parse_path(values, kind, title)
    options = _parse_options(values, kind, title)
    keep, rules = _parse_keep(values.get("keep"), title)
    parts = {key: _parse_part(key, values[key], title) for key in _PARTS if key in values}
    nights = parse_full_every(values[_FULL_EVERY], f"{title}: {_FULL_EVERY}") if _FULL_EVERY in values else None
    recipients = parse_recipients(values[_ENCRYPT_TO], f"{title}: {_ENCRYPT_TO}") if _ENCRYPT_TO in values else None
    patterns: dict[str, Any] = {key: _parse_patterns(key, values.get(key, ()), path, title) for key in _PATTERNS}
    caches = values.get("exclude_caches", False)
    if not isinstance(caches, bool):
        raise InvalidInput(f"{title}: exclude_caches {quoted(caches)} is neither true nor false")
    marks = _parse_names("exclude_if_present", values.get("exclude_if_present", ()), title)
    require = values.get("require", "")
    if not isinstance(require, str) or os.path.isabs(require) or ".." in require.split("/"):
        raise InvalidInput(f"{title}: require {quoted(require)} is not a path inside the folder")
    globs = {key: _parse_globs(key, values.get(key, ()), title) for key in _GLOBS}
    name = check_name(values["name"])
    former = _parse_former_names(values.get("former_names", ()), f"{CATEGORIES[kind]}/{name}", title)
    return Item(
        kind,
        name,
        path,
        keep,
        rules=rules,
        shrink=parts.get("shrink"),
        churn=parts.get("churn"),
        full_every=nights,
        encrypt_to=recipients,
        require=require,
        exclude_caches=caches,
        exclude_if_present=marks,
        former_names=former,
        options=options,
        hooks=_parse_hooks(values, title),
        **patterns,
        **globs,
    )


def meant(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return an item as written, what is under a misspelt key as that of the nearest one which is not there."""
    given = {key: value for key, value in values.items() if value is not None}
    found = {key: value for key, value in given.items() if key in _KEYS}
    for key, value in given.items():
        near = closest(key, _KEYS) if key not in _KEYS and isinstance(key, str) else ""
        if near:
            found.setdefault(near, value)
    return found


def _title(values: Mapping[str, Any]) -> str:
    """Return what messages call an item as written: its kind, and its name or else what is known of it."""
    known = meant(values)
    kind = f"item {quoted(known['kind']).strip(chr(39))}" if "kind" in known else "item"
    if "name" in known:
        return f"{kind} {quoted(known['name'])}"
    return f"{kind} of path {quoted(known['path'])}" if "path" in known else f"{kind} with neither name nor path"


def _misspelt(values: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the keys of an item as written, and with its kind."""
    errors = [f"unknown key {quoted(key)}, {nearest(str(key), _KEYS)}" for key in values if key not in _KEYS]
    there = meant(values)
    errors += [f"key {quoted(key)} is missing" for key in ("kind", "name") if key not in there]
    kind = there.get("kind")
    if kind is not None and not (isinstance(kind, str) and kind in CATEGORIES):
        errors.append(f"unknown kind {quoted(kind)}, {nearest(str(kind), tuple(CATEGORIES))}")
    return errors


def _parse_path(values: Mapping[str, Any], kind: str, title: str) -> str:
    """Return the path of an item as written, empty for one of a kind that is nothing at a path. Raise InvalidInput."""
    if not KINDS[kind].placed:
        if "path" in values and values["path"] != "":
            raise InvalidInput(f"{title}: key 'path' is not for kind {kind}, which is nothing at a path: leave it out")
        return ""
    if "path" not in values:
        raise InvalidInput(f"{title}: key 'path' is missing")
    path = values["path"]
    if not isinstance(path, str) or not os.path.isabs(path) or "\0" in path:
        raise InvalidInput(f"{title}: path {quoted(path)} is not an absolute path")
    return os.path.normpath(path)


def _parse_options(values: Mapping[str, Any], kind: str, title: str) -> tuple[tuple[str, Any], ...]:
    """Return the options of an item as written that its kind alone takes. Raise InvalidInput, naming the key."""
    for key in KINDS[kind].required:
        if key not in values:
            raise InvalidInput(f"{title}: key {quoted(key)} is missing")
    try:
        return tuple((key, parse(values[key], key)) for key, parse in PARSERS.items() if key in values)
    except InvalidInput as error:
        raise InvalidInput(f"{title}: {error}") from error


def _parse_hooks(values: Mapping[str, Any], title: str) -> Hooks:
    """Parse the hooks of an item as written. Raise InvalidInput, naming the key."""
    try:
        return parse_hooks(values)
    except InvalidInput as error:
        raise InvalidInput(f"{title}: {error}") from error


def parse_full_every(value: object, title: str) -> int:
    """Parse a number of nights. Raise InvalidInput."""
    number = parse_count(value, title)
    if not 1 <= number <= MOST_NIGHTS:
        raise InvalidInput(
            f"{title} {quoted(value)} is not a whole number from 1 to {MOST_NIGHTS}: write one, like 7, or 1 for a full tarball every night"
        )
    return number


def _parse_part(key: str, value: object, title: str) -> float:
    """Parse a part of a whole. Raise InvalidInput."""
    try:
        return parse_part(value)
    except InvalidInput as error:
        raise InvalidInput(f"{title}: {key} {error}") from error


def _parse_former_names(value: object, key: str, title: str) -> tuple[str, ...]:
    """Parse names that an item (category/name) had, each by itself or with its category; return them as items. Raise InvalidInput."""
    if not isinstance(value, (list, tuple)):
        raise InvalidInput(
            f"{title}: former_names {quoted(value)} is not a list of names{_as_list('former_names', value)}"
        )
    category = key.partition("/")[0]
    found = []
    for name in value:
        plain = name[len(category) + 1 :] if isinstance(name, str) and name.startswith(f"{category}/") else name
        try:
            former = f"{category}/{check_name(plain)}"
        except InvalidInput as error:
            raise InvalidInput(f"{title}: former_names: {error}") from None
        if former == key:
            raise InvalidInput(
                f"{title}: former_names names {quoted(name)}, which is what it is called now: leave that out"
            )
        found.append(former)
    return tuple(found)


def _parse_keep(value: object, title: str) -> tuple[int | None, tuple[tuple[str, float], ...]]:
    """Parse an item's number of days and contents, or a mapping of it and further rules; return (number, rules). Raise InvalidInput."""
    if not isinstance(value, Mapping):
        return (None if value is None else parse_keep(value, title)), ()
    given = {rule: number for rule, number in value.items() if number is not None}
    keep = parse_keep(given.pop(_KEEP), f"{title}: keep") if _KEEP in given else None
    return keep, tuple(parse_rules(given, f"{title}: keep", (_KEEP,)).items())


def _parse_patterns(key: str, value: object, path: str, title: str) -> tuple[str, ...]:
    """Parse patterns of what is in a folder. Raise InvalidInput, telling of each that cannot be meant."""
    if not isinstance(value, (list, tuple)) or not all(isinstance(pattern, str) and pattern for pattern in value):
        raise InvalidInput(f"{title}: {key} {quoted(value)} is not a list of patterns{_as_list(key, value)}")
    faults = find_faults(value, path)
    if faults:
        raise InvalidInput(f"{title}: {key}: {'; '.join(faults)}")
    return tuple(value)


def _as_list(key: str, value: object) -> str:
    """Return how to write a text that stands where a list belongs, empty for what is none."""
    return f": write {key}: [{json.dumps(value, ensure_ascii=False)}]" if isinstance(value, str) and value else ""


def _parse_names(key: str, value: object, title: str) -> tuple[str, ...]:
    """Parse names of files. Raise InvalidInput."""
    good = isinstance(value, (list, tuple)) and all(isinstance(name, str) and name for name in value)
    if not good or any("/" in name or "\0" in name or name in (".", "..") for name in value):  # type: ignore[attr-defined]
        raise InvalidInput(f"{title}: {key} {quoted(value)} is not a list of names of files{_as_list(key, value)}")
    return tuple(value)  # type: ignore[arg-type]


def _parse_globs(key: str, value: object, title: str) -> tuple[str, ...]:
    """Parse patterns of whole names. Raise InvalidInput, telling of each that cannot be meant."""
    good = isinstance(value, (list, tuple)) and all(isinstance(glob, str) and glob for glob in value)
    if not good:
        raise InvalidInput(
            f"{title}: {key} {quoted(value)} is not a list of names or patterns of {_GLOBS[key]}{_as_list(key, value)}"
        )
    for glob in value if key == "may_move" else ():  # type: ignore[attr-defined]
        if glob != "HEAD" and not glob.startswith(("refs/", "*", "?", "[")):
            raise InvalidInput(
                f"{title}: {key}: {quoted(glob)} is no reference, which begin with refs/: write {quoted(f'refs/heads/{glob}')} if a branch is "
                "meant"
            )
    return tuple(value)  # type: ignore[arg-type]


def find_problems(
    values: Sequence[Mapping[str, Any]],
    base: str,
    received: Sequence[str] = (),
    hung: Callable[[Sequence[Item]], Mapping[Item, str]] = lambda items: {},
) -> tuple[list[Item], list[tuple[Mapping[str, Any], str]]]:
    """Return the good ones of items as written, and (item as written, why not) for each other.

    Of items with one identity none is good: which of them is meant cannot be known. `received` are folders where the
    node keeps copies that it receives; `hung` says of items why those do not answer, at which nothing else looks then.
    """
    written: list[tuple[Mapping[str, Any], Item]] = []
    good: list[Item] = []
    bad: list[tuple[Mapping[str, Any], str]] = []
    flat = flattened(values)
    for value in flat:
        try:
            written.append((value, parse_item(value)))
        except InvalidInput as error:
            bad.append((value, str(error)))
    paths: dict[str, list[str]] = {}
    for _, item in written:
        paths.setdefault(item.key, []).append(item.path)
    reasons = hung([item for _, item in written if len(paths[item.key]) == 1])
    folders = [(folder, os.path.realpath(folder)) for folder in (base, *received)]
    for value, item in written:
        same = paths[item.key]
        try:
            if len(same) > 1:
                raise InvalidInput(
                    f"{item.key} stands {len(same)} times ({', '.join(same)}): give each a name of its own"
                )
            if item in reasons:
                raise InvalidInput(reasons[item])
            check_outside(item, *folders)
            good.append(item)
        except InvalidInput as error:
            bad.append((value, f"item {item.kind} {item.name!r}: {error}"))
    problems = problems_of_sets(good, flat)
    bad += [(value, problems[item.key]) for value, item in written if item in good and item.key in problems]
    return [item for item in good if item.key not in problems], bad


def readable(values: Iterable[Mapping[str, Any]]) -> list[Item]:
    """Return those of items as written that can be read."""
    found = []
    for value in values:
        with contextlib.suppress(InvalidInput):
            found.append(parse_item(value))
    return found


def check_outside(item: Item, base: tuple[str, str], *received: tuple[str, str]) -> None:
    """Raise InvalidInput if the base, or a folder of received copies, each as (folder, real path), lies in what is backed up.

    Each tarball would hold the ones before.
    """
    if not item.path:
        return
    real_path = os.path.realpath(item.path)
    for folder, real in (base, *received):
        if is_within(real, real_path):
            if folder == base[0]:
                raise InvalidInput(
                    f"the base {folder} lies inside its path {item.path}: "
                    "every tarball would hold all earlier ones; choose a base elsewhere"
                )
            raise InvalidInput(
                f"{folder} (altbackup_target_base), where this node keeps the copies that it receives, lies inside its path "
                f"{item.path}: every tarball would hold all of them; choose a path without it, or a folder elsewhere"
            )
