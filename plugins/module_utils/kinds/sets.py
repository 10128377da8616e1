"""Sets: items that are one application, copied at one point in time. Pure; the plan and the nodes judge alike."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..system.errors import InvalidInput
from ..system.values import quoted
from .registry import CATEGORIES

if TYPE_CHECKING:
    from .items import Item

SET = "set"
DUMPED = "dumped"
"""The key of a context's `known` under which the dump of a set's list finds the tarballs of its members, as the module returns them"""
_COMMON = ("encrypt_to",)
"""Keys of a set that hold for its members, too: the list of a set alone has nothing to hide"""


def flattened(values: Iterable[Any]) -> list[Any]:
    """Return items as written with the members of each set as items before it, and by their names, category/name, in it.

    Members that say nothing of it are encrypted as their set is. What is none of a form that is known stays as it is, for whoever reads it.
    """
    found: list[Any] = []
    for value in values:
        members = value.get("members") if isinstance(value, Mapping) and value.get("kind") == SET else None
        if not isinstance(members, (list, tuple)):
            found.append(value)
            continue
        common = {key: value[key] for key in _COMMON if key in value}
        found += [{**common, **member} for member in members if isinstance(member, Mapping)]
        found.append({**value, "members": [_key_of(member) for member in members]})
    return found


def _key_of(member: Any) -> Any:
    """Return category/name of an item as written; what has none is left as it is, and is no name."""
    if not isinstance(member, Mapping):
        return member
    kind, name = member.get("kind"), member.get("name")
    is_named = isinstance(kind, str) and kind in CATEGORIES and isinstance(name, str) and name
    return f"{CATEGORIES[kind]}/{name}" if is_named else member  # type: ignore[index]


def of_one_set(items: Sequence[Item], keys: Collection[str]) -> set[str]:
    """Return `keys`, some items (category/name), with those of all items that are of one set with one of them."""
    found = set(keys)
    for one in items:
        whole = {one.key, *one.option("members")} if one.kind == SET else set()
        found |= whole if whole & found else set()
    return found


def problems_of_sets(items: Sequence[Item], values: Iterable[Any]) -> dict[str, str]:
    """Return {category/name: why it cannot be dumped} of sets and their members; `items` are good by themselves, `values` are all as written but
    flattened.

    A set of which anything is wrong is not dumped, and none of its members: without its hooks they would be of no one time.
    """
    known = {item.key: item for item in items}
    found: dict[str, str] = {}
    owners: dict[str, list[str]] = {}
    sets = [item for item in items if item.kind == SET]
    for one in sets:
        for key in one.option("members"):
            owners.setdefault(key, []).append(one.key)
    for one in sets:
        try:
            _check(one, known, owners)
        except InvalidInput as error:
            found[one.key] = f"item set {one.name!r}: {error}"
    written = [_as_written(value) for value in values if isinstance(value, Mapping) and value.get("kind") == SET]
    for owner, members in written:
        for key in members if owner in found or owner not in known else ():
            if key in known and key not in found:
                item = known[key]
                found[key] = (
                    f"item {item.kind} {item.name!r}: it is a member of {owner}, which has an error, and is not copied by itself"
                )
    return found


def _as_written(value: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Return category/name of a set as written, and those of its members, as far as it has them."""
    members, name = value.get("members"), value.get("name")
    named = members if isinstance(members, (list, tuple)) else [members]
    return f"{CATEGORIES[SET]}/{name}", [key for key in named if isinstance(key, str)]


def _check(one: Item, known: Mapping[str, Item], owners: Mapping[str, Sequence[str]]) -> None:
    for key in one.option("members"):
        if key not in known:
            raise InvalidInput(
                f"its member {key} is no item here, or one that has an error: declare it among the members, or beside the set"
            )
        if known[key].kind == SET:
            raise InvalidInput(f"its member {key} is a set itself: name the members of that")
        if len(owners[key]) > 1:
            raise InvalidInput(f"{key} is a member of {' and '.join(owners[key])}: leave it in one of them")


def parse_members(value: object, key: str) -> tuple[str, ...]:
    """Parse the members of a set, which are their names. Raise InvalidInput."""
    if not isinstance(value, (list, tuple)) or not value:
        raise InvalidInput(f"{key} {quoted(value)} is not a list of items")
    for member in value:
        category, _, name = member.partition("/") if isinstance(member, str) else ("", "", "")
        if category not in CATEGORIES.values() or not name:
            raise InvalidInput(
                f"{key} {quoted(member)}: it is neither an item, with kind and name, nor the name of one, like git/forge"
            )
    if len(set(value)) < len(value):
        raise InvalidInput(f"{key} {quoted(value)} names an item twice")
    return tuple(value)
