"""What of a source's targets is to be encrypted anew, by what they say that they hold, and what the source has done so far. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...module_utils.kinds.registry import CATEGORIES
from ...module_utils.system.age import is_encrypted
from ...module_utils.tree.encryption import recipients_of
from ...module_utils.tree.layout import ALONE, is_relpath, item_key


def names_of(asked: Sequence[str], source: str) -> list[str]:
    """Return the items (category/name) of a source among those asked for (source/category/name)."""
    return [text.partition("/")[2] for text in asked if text.partition("/")[0] == source]


def recipients(source: Mapping[str, Any], asked: Sequence[str], name: str, key: str) -> list[str]:
    """Return to whom an item of a source is encrypted today; nobody where it is not encrypted, or not asked for."""
    if asked and key not in names_of(asked, name):
        return []
    for item in source["item_list"]:
        if f"{CATEGORIES.get(item['kind'])}/{item['name']}" == key and item.get("encrypt_to") is not None:
            return list(item["encrypt_to"])
    return list(source["encrypt_to"] or ())


def held(listed: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the encrypted tarballs among those that a target lists, in the form in which modules take them."""
    return [
        {
            **{key: entry.get(key) for key in ("relpath", "size", "dig", "alg", "record")},
            **{key: entry[key] for key in ("base", "base_dig") if entry.get(key)},
        }
        for entry in listed
        if is_relpath(str(entry.get("relpath")))
        and is_encrypted(str(entry["relpath"]))
        and entry.get("state") in ("verified", ALONE)
    ]


def work(
    source: Mapping[str, Any], asked: Sequence[str], name: str, known: Mapping[str, Any], target: str
) -> dict[str, Any]:
    """Return what a target `holds`, what of that is `due`, and what of that the source has no more; `known` is what a run knows of the source.

    `made` is what the source has encrypted for it, and `wanted` what of that the target asks for.
    """
    progress = known.get("targets", {}).get(target, {})
    holds = progress.get("holds", [])
    due = []
    for entry in holds:
        to = recipients(source, asked, name, item_key(entry["relpath"]))
        if to and sorted(recipients_of(entry.get("record") or {})) != sorted(to):
            due.append(entry)
    here = set(known.get("current", ()))
    made, wanted = progress.get("made", []), set(progress.get("wanted", ()))
    return {
        "holds": holds,
        "due": due,
        "fetched": [entry for entry in due if entry["relpath"] not in here],
        "made": made,
        "wanted": [entry for entry in made if entry["relpath"] in wanted],
        "is_made": "made" in progress,
        "is_wanted": "wanted" in progress,
        "is_back": bool(progress.get("back")),
    }


def unanswered(entries: Sequence[Mapping[str, Any]], result: Mapping[str, Any]) -> list[str]:
    """Return the paths that the answer of a target, which is to take `entries`, does not mention; none where it tells why it took none."""
    if any(result.get(name) for name in ("failures", "failed", "unreachable", "busy")):
        return []
    told = {*(result.get("send") or ()), *(result.get("have") or ())}
    told |= {entry.get("relpath") for entry in result.get("tarballs") or ()}
    return sorted({str(entry["relpath"]) for entry in entries} - told)
