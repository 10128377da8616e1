"""Items of sources in a plan: parsed, separated from those with an error, in the shape that modules take."""

from __future__ import annotations

import copy
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from ...module_utils.kinds.items import Item, check_name, meant, parse_item
from ...module_utils.kinds.registry import CATEGORIES
from ...module_utils.kinds.sets import flattened, problems_of_sets
from ...module_utils.stages.controller import CONTROLLER, CONTROLLER_KEY
from ...module_utils.system.errors import InvalidInput
from ...module_utils.system.values import nearest
from ..report.secrecy import mask_text, quoted
from .retention import item_keeps, item_rules


def with_items(plan: Mapping[str, Any], source: str, discovered: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the plan with the items discovered on a source added, unless they are explicit items already.

    Raise InvalidInput if the plan has no such source.
    """
    if source not in plan["sources"]:
        raise InvalidInput(f"{source!r} is no source of this plan, {nearest(source, list(plan['sources']))}")
    result: dict[str, Any] = copy.deepcopy(dict(plan))
    entry = result["sources"][source]
    known = [*entry["item_list"], *entry["item_errors"]]
    paths = {item["path"] for item in known if item.get("path")}
    explicit = {f"{CATEGORIES[item['kind']]}/{item['name']}": item for item in known if item["kind"] in CATEGORIES}
    good, bad = sort_items([item for item in discovered if not _is_known(item, paths)])
    for item in good:
        if item.key not in explicit:
            entry["item_list"].append(plain_item(item))
        elif explicit[item.key] not in entry["item_errors"]:
            bad.append(
                _item_error(
                    plain_item(item),
                    f"discovered {item.kind} {item.path} would be {item.key}, which is the item of path "
                    f"{explicit[item.key]['path']}: give that item another name",
                )
            )
    entry["item_errors"] += [error for error in bad if error not in entry["item_errors"]]
    return completed(result, [source])


def completed(plan: dict[str, Any], sources: Iterable[str]) -> dict[str, Any]:
    """Return the plan with all values set that follow from the items of these sources, at the sources and in all trees."""
    for source in sources:
        entry = plan["sources"][source]
        identities = {
            (CATEGORIES[item["kind"]], item["name"])
            for item in [*entry["item_list"], *entry["item_errors"]]
            if item["kind"] in CATEGORIES and item["name"]
        }
        if entry["include_controller"]:
            identities.add((CATEGORIES["folder"], CONTROLLER))
        keys = sorted("/".join(identity) for identity in identities)
        expect = dict(sorted(Counter(name for _, name in identities).items()))
        places = [*plan["nodes"].values(), *plan.get("stores", {}).values()]
        trees = [tree for place in places for tree in place["trees"] if tree["source"] == source]
        for place in [entry, *trees]:
            place["item_keys"] = list(keys)
            place["expect"] = dict(expect)
            place["keeps"] = item_keeps(place, entry["item_list"])
            place["rules"] = item_rules(place, entry["item_list"])
            place["verify"] = {
                f"{CATEGORIES[item['kind']]}/{item['name']}": item["verify"]
                for item in entry["item_list"]
                if "verify" in item
            }
            if entry["include_controller"]:
                place["keeps"][CONTROLLER_KEY] = place["keep"]
            place["memory"] = {
                "retired": {key: day for key, day in entry["retired"].items() if day},
                "former": {
                    former: f"{CATEGORIES[item['kind']]}/{item['name']}"
                    for item in entry["item_list"]
                    for former in item.get("former_names", ())
                },
            }
        for tree in trees:
            tree["discover"] = bool(entry["discover"])
    return plan


def sort_items(values: Iterable[Any]) -> tuple[list[Item], list[dict[str, str]]]:
    """Return the valid items and an item error for each other; items that share an identity are all errors."""
    good: list[tuple[Any, Item]] = []
    bad: list[dict[str, str]] = []
    flat = flattened(values)
    for value in flat:
        try:
            good.append((value, parse_item(value)))
        except InvalidInput as error:
            bad.append(_item_error(value, mask_text(str(error))))
        except (TypeError, ValueError):
            bad.append(
                _item_error(
                    value,
                    f"item {quoted(value)}: a value has a wrong type: kind, name and path are texts, exclude is a list",
                )
            )
    counts = Counter(item.key for _, item in good)
    for value, item in good:
        if counts[item.key] > 1:
            paths = ", ".join(other.path for _, other in good if other.key == item.key)
            reason = f"item {item.kind} {item.name!r}: {item.key} stands {counts[item.key]} times ({paths}): give each a name of its own"
            bad.append(_item_error(value, reason))
    single = [(value, item) for value, item in good if counts[item.key] == 1]
    problems = problems_of_sets([item for _, item in single], flat)
    bad += [_item_error(value, mask_text(problems[item.key])) for value, item in single if item.key in problems]
    return [item for _, item in single if item.key not in problems], bad


def _item_error(value: Any, reason: str) -> dict[str, str]:
    """Return the item error of an item as written, what is under a misspelt key included; fields that are not known are empty."""
    fields = meant(value) if isinstance(value, Mapping) else {}
    kind, path = fields.get("kind"), fields.get("path")
    try:
        name = check_name(fields.get("name"))
    except (InvalidInput, ValueError):
        name = ""
    return {
        "kind": kind if isinstance(kind, str) and kind in CATEGORIES else "",
        "name": name,
        "path": os.path.normpath(path) if isinstance(path, str) and path else "",
        "reason": reason,
    }


def unclear_categories(errors: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the categories of which items may be those of item errors of which kind or name is not known: all for an unknown kind."""
    unclear = [error for error in errors if not (error["kind"] and error["name"])]
    if all(error["kind"] for error in unclear):
        return sorted({CATEGORIES[error["kind"]] for error in unclear})
    return sorted(set(CATEGORIES.values()))


def plain_item(item: Item) -> dict[str, Any]:
    """Return an item as modules take it, without unset options."""
    rules = {**({} if item.keep is None else {"keep": item.keep}), **dict(item.rules)}
    optional = {
        "keep": rules if item.rules else item.keep,
        "shrink": item.shrink,
        "churn": item.churn,
        "full_every": item.full_every,
        "exclude": list(item.exclude),
        "exclude_caches": item.exclude_caches,
        "exclude_if_present": list(item.exclude_if_present),
        "changing": list(item.changing),
        "may_move": list(item.may_move),
        "may_empty": list(item.may_empty),
        "require": item.require,
        "former_names": list(item.former_names),
    }
    return {
        "kind": item.kind,
        "name": item.name,
        "path": item.path,
        **{key: value for key, value in optional.items() if value},
        **({} if item.encrypt_to is None else {"encrypt_to": list(item.encrypt_to)}),
        **item.plain_options(),
        **item.hooks.plain(),
    }


def _is_known(item: Mapping[str, Any], paths: Iterable[str]) -> bool:
    path = item.get("path")
    return isinstance(path, str) and os.path.normpath(path) in paths
