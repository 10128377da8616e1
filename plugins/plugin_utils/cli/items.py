"""Finds the item that a user names: in full, source/category/name, or by a part that only one item has."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...module_utils.kinds.items import check_name, decode_name
from ...module_utils.kinds.registry import CATEGORIES
from ...module_utils.kinds.sets import flattened
from ...module_utils.system.errors import InvalidInput
from ...module_utils.system.units import first_of
from ...module_utils.system.values import nearest
from ...module_utils.system.visible import one_line

KINDS = {category: kind for kind, category in reversed(CATEGORIES.items())}
"""{category: its first kind}; where a category has several, the inventory tells which, or the record of a tarball"""
CONTROLLER = "folders/altbackup-controller"
_SHOWN = 12
"""Most candidates that a message names"""


@dataclass(frozen=True)
class Site:
    """What an inventory says without asking nodes."""

    items: Mapping[str, str] = field(default_factory=dict)
    """{source/category/name: path on the source, "" if not known}"""
    kinds: Mapping[str, str] = field(default_factory=dict)
    """{source/category/name: kind} of those of which the inventory tells it"""
    folders: Mapping[str, str] = field(default_factory=dict)
    """{source/category: folder below which its items are discovered}, of sources whose items are otherwise known"""
    unknown: Sequence[str] = ()
    """Sources that may have more items, because they discover them"""
    sources: Sequence[str] = ()
    targets: Sequence[str] = ()
    hosts: Sequence[str] = ()
    timezone: str = "UTC"

    def path_of(self, item: str) -> str:
        """Return the path of an item on its source, "" if it is not known."""
        above, _, name = item.rpartition("/")
        folder = self.folders.get(above, "")
        return self.items.get(item) or (os.path.join(folder, decode_name(name)) if folder else "")


def read_site(inventory: Mapping[str, Any]) -> Site:
    """Return the Site of the output of `ansible-inventory --list`."""
    variables = {
        str(host): values
        for host, values in ((inventory.get("_meta") or {}).get("hostvars") or {}).items()
        if isinstance(values, Mapping)
    }
    sources, targets = (_hosts_of(inventory, group, set()) for group in ("sources", "targets"))
    items: dict[str, tuple[str, str]] = {}
    folders: dict[str, str] = {}
    unknown = []
    for source in sources:
        found, below, whole = _items_of(variables.get(source, {}))
        items.update({f"{source}/{key}": of for key, of in found.items()})
        folders.update({f"{source}/{category}": folder for category, folder in below.items()})
        unknown += [] if whole and not below else [source]
    zones = [values["altbackup_timezone"] for values in variables.values() if "altbackup_timezone" in values]
    zone = zones[0] if zones and isinstance(zones[0], str) and not _is_template(zones[0]) else "UTC"
    hosts = list(dict.fromkeys([*sources, *targets, *variables]))
    paths = {item: path for item, (_, path) in items.items()}
    kinds = {item: kind for item, (kind, _) in items.items() if kind}
    return Site(paths, kinds, folders, tuple(unknown), tuple(sources), tuple(targets), tuple(hosts), zone)


def _hosts_of(inventory: Mapping[str, Any], group: str, seen: set[str]) -> list[str]:
    """Return the hosts of a group and its child groups, each once; `seen` are the groups already visited."""
    entry = inventory.get(group)
    if group in seen or not isinstance(entry, Mapping):
        return []
    seen.add(group)
    found = [str(host) for host in entry.get("hosts") or ()]
    for child in entry.get("children") or ():
        found += _hosts_of(inventory, str(child), seen)
    return list(dict.fromkeys(found))


def _items_of(values: Mapping[str, Any]) -> tuple[dict[str, tuple[str, str]], dict[str, str], bool]:
    """Return what a source's variables tell: items with kind and path, folders of discovery, and whether there are no items beside these.

    They are {category/name: (kind, path)}, retired ones included, each text empty where it is not known, and {category: folder}.
    """
    found: dict[str, tuple[str, str]] = {}
    declared = values.get("altbackup_items") or []
    discover = values.get("altbackup_discover") or {}
    whole = isinstance(declared, list) and isinstance(discover, Mapping)
    for item in flattened(declared) if isinstance(declared, list) else ():
        kind, name = (item.get("kind"), item.get("name")) if isinstance(item, Mapping) else (None, None)
        if kind not in CATEGORIES or not isinstance(name, str) or _is_template(name):
            whole = False
            continue
        found[f"{CATEGORIES[kind]}/{name}"] = kind, _path(item.get("path"))
        former = item.get("former_names") or []
        for old in former if isinstance(former, list) else ():
            found.setdefault(f"{CATEGORIES[kind]}/{old}", (kind, ""))
    below = {CATEGORIES[kind]: _path(path) for kind, path in discover.items() if kind in CATEGORIES} if whole else {}
    retired = values.get("altbackup_retired") or {}
    for key in retired if isinstance(retired, Mapping) else ():
        found.setdefault(str(key), ("", ""))
    if values.get("altbackup_include_controller"):
        found.setdefault(CONTROLLER, ("", ""))
    return found, below, whole


def _path(value: Any) -> str:
    return value if isinstance(value, str) and not _is_template(value) else ""


def _is_template(text: str) -> bool:
    return "{{" in text or "{%" in text


def is_whole(text: str, site: Site) -> bool:
    """Return whether `text` is the full name of a possible item of the site, known or not."""
    source, _, key = text.partition("/")
    category, _, name = key.partition("/")
    try:
        return source in site.sources and category in KINDS and bool(check_name(name))
    except InvalidInput:
        return False


def find_item(text: str, known: Iterable[str]) -> str:
    """Return the known item that `text` names. Raise InvalidInput, with the candidates, if it is none or several."""
    names = sorted(set(known))
    found = named_items(text, names)
    if len(found) == 1:
        return found[0]
    if found:
        more = first_of(list(map(one_line, found)), _SHOWN)
        raise InvalidInput(f"{text!r} may be {len(found)} items: {more}. Write more of it")
    alike = [*names, *dict.fromkeys(name.rpartition("/")[2] for name in names)]
    hint = nearest(text, alike) if names else "none is known"
    if len(names) > _SHOWN and not hint.endswith("?"):
        hint = f"{len(names)} are known: altbackup list shows them"
    raise InvalidInput(f"{text!r} is no item, {hint}")


def named_items(text: str, known: Iterable[str]) -> list[str]:
    """Return the known items that `text` names: itself, or those of which its parts, separated by slashes, are some, or else substrings of some.

    The parts of an item are source, category and name, in that order.
    """
    names = sorted(set(known))
    parts = text.strip("/").split("/")
    found = ([name for name in names if _follows(parts, name.split("/", 2), fits)] for fits in (_is_equal, _is_in))
    return [text] if text in names else next(filter(None, found), [])


def _is_equal(part: str, whole: str) -> bool:
    return part == whole


def _is_in(part: str, whole: str) -> bool:
    return part in whole


def _follows(parts: Sequence[str], whole: Sequence[str], fits: Any) -> bool:
    """Return whether each part fits a different element of `whole`, in the same order."""
    left = iter(whole)
    return all(any(fits(part, each) for each in left) for part in parts)


def split_item(item: str) -> tuple[str, str, str]:
    """Return (source, kind, name) of source/category/name."""
    source, category, name = item.split("/", 2)
    return source, KINDS[category], name
