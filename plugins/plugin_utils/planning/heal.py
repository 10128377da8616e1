"""Healing: copies that rotted on a node are fetched again from another one; as plain JSON values.

A *file* is one rotted content of one tree, under one or more stamps. A *holder* is a tree of the same source, its own or one on a target,
identified by `<role> <node>`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ...module_utils.tree.encryption import shared
from ...module_utils.tree.layout import MARKER, is_relpath, item_key

File = dict[str, Any]
_NOT_YET = "no good copy was fetched in this run: the next one tries again"
_LONGEST = 10
"""Most reasons that are reported why no good copy came"""


def holder_of(tree: Mapping[str, Any]) -> str:
    """Return the identifier of a tree among those of its source."""
    return f"{tree['role']} {tree['node']}"


def files_of(
    place: Mapping[str, Any], entries: Sequence[Mapping[str, Any]], failures: Sequence[Mapping[str, Any]]
) -> list[File]:
    """Return the files of a tree (node, source, role, base), by the quarantine's entries and the failures of its check.

    A failure that was found now is attached to its file, and reported after the search for a good copy.
    """
    files: dict[tuple[str, ...], File] = {}
    taken: set[int] = set()
    for entry in entries:
        if not is_relpath(entry["relpath"]):
            continue
        about, content = str(entry.get("told") or ""), (entry["alg"], entry["dig"], str(entry["size"]))
        if (about, *content) not in files:
            mine = [
                one
                for one in failures
                if about and one["relpath"] == about and one["reason"] == entry.get("reason") and id(one) not in taken
            ]
            taken.update(map(id, mine))
            files[about, *content] = {
                "place": {name: place[name] for name in ("node", "source", "role", "base")},
                "failures": [dict(one) for one in mine],
                "names": [],
                "tried": [],
                "why": [],
                "healed": {},
                "outcome": _NOT_YET,
            }
        read = {"dig": entry.get("read") or "", "size": entry.get("read_size") or 0, "alg": entry["alg"]}
        dna = {name: entry[name] for name in ("dig", "size", "alg")}
        files[about, *content]["names"].append({"relpath": entry["relpath"], "dna": dna, "read": read})
    return list(files.values())


def unattached(failures: Sequence[Mapping[str, Any]], files: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the failures that are not attached to a file."""
    told = [(one["relpath"], one["reason"]) for file in files for one in file["failures"]]
    return [dict(one) for one in failures if (one.get("relpath"), one.get("reason")) not in told]


def waiting(file: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the names of a file for which no good copy has come."""
    return [dict(name) for name in file["names"] if name["relpath"] not in file["healed"]]


def unhealed_items(files: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return the items (category/name) of which a good copy is still awaited."""
    return {item_key(name["relpath"]) for file in files for name in waiting(file)}


def awaited(files: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return {item: dna of each content that is still awaited}; copies with that content must not be purged."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for file in files:
        for name in waiting(file):
            own = {_content(dna): dna for dna in (name["dna"], name["read"]) if dna["dig"]}
            found.setdefault(item_key(name["relpath"]), {}).update(own)
    return {item: list(contents.values()) for item, contents in found.items()}


def keys_of(files: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the items about which holders are asked."""
    return sorted(unhealed_items(files))


def copies(file: Mapping[str, Any], held: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return {holder: its copy that may replace a file}, nearest first; `held` is {holder: its good copies}.

    The copy has the same content, under the same stamp or another. The file's own tree comes first, then the source's, then the others.
    """
    own = holder_of(file["place"])
    found = {}
    for holder in sorted(held, key=lambda name: (name != own, not name.startswith("source "))):
        if held[holder].get("problem") and holder != own:
            continue
        for name in waiting(file):
            same = [one for content in _contents(name) for one in held[holder]["copies"].get(content, ())]
            if same:
                found[holder] = min(same, key=lambda one: one["relpath"] != name["relpath"])
                break
    return found


def good_copies(
    files: Sequence[Mapping[str, Any]], tarballs: Sequence[Mapping[str, Any]]
) -> dict[str, list[Mapping[str, Any]]]:
    """Return {content: copies} among a holder's tarballs that may replace a file: those under the file's stamps, and at most one other.

    A holder may report many more.
    """
    names = [name for file in files for name in waiting(file)]
    wanted, stamps = {content for name in names for content in _contents(name)}, {name["relpath"] for name in names}
    found: dict[str, list[Mapping[str, Any]]] = {}
    for one in tarballs:
        content = _content(one)
        is_needed = content in wanted and (one["relpath"] in stamps or content not in found)
        if is_needed and one.get("state") == "verified" and is_relpath(one["relpath"]):
            found.setdefault(content, []).append(one)
    return found


def _contents(name: Mapping[str, Any]) -> list[str]:
    """Return the contents that may replace a name: that in its sidecar, or that which was read, as the sidecar may have rotted."""
    return list(dict.fromkeys(map(_content, (name["dna"], name["read"]))))


def _content(values: Mapping[str, Any]) -> str:
    return ":".join(str(values.get(key)) for key in ("alg", "size", "dig"))


def rounds(files: Sequence[Mapping[str, Any]], held: Mapping[str, Mapping[str, Any]]) -> int:
    """Return how many holders may have to be tried one after the other."""
    return max((len(copies(file, held)) for file in files), default=0)


def errands(files: Sequence[Mapping[str, Any]], held: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what is to be fetched now: one errand for each tree and the holder that is tried next; `held` is {holder: its good copies}."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for file in files:
        candidates = {name: one for name, one in copies(file, held).items() if name not in file["tried"]}
        if not waiting(file) or not candidates:
            continue
        holder, copy = next(iter(candidates.items()))
        place = file["place"]
        errand = found.setdefault(
            (holder_of(place), holder),
            {
                **place,
                "stage": "heal",
                "holder": holder,
                "here": holder == holder_of(place),
                "label": f"{place['source']}: {holder_of(place)} from {holder}",
                "tarballs": [],
            },
        )
        content = {key: copy[key] for key in ("dig", "size", "alg", "base", "base_dig") if copy.get(key)}
        errand["tarballs"] += [
            {
                "relpath": name["relpath"],
                **content,
                "record": shared(copy.get("record") or {}),
                "held": copy["relpath"],
                "here": errand["here"],
            }
            for name in waiting(file)
            if _content(copy) in _contents(name)
        ]
    return list(found.values())


def carry_of(errand: Mapping[str, Any], base: str, peers: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the options of tarball_carry for an errand, by the base of its holder and how the controller reaches nodes."""
    sizes = {one["held"]: one["size"] for one in errand["tarballs"]}
    holder = errand["holder"].partition(" ")[2]
    return {
        "origin": {**peers[holder], "folder": base},
        "destination": {**peers[errand["node"]], "folder": healing_folder(errand)},
        "relpaths": list(sizes),
        "size": sum(sizes.values()),
        "tree": True,
    }


def healing_folder(tree: Mapping[str, Any]) -> str:
    """Return the folder on a tree's node in which good copies arrive."""
    if tree["role"] == "source":
        return os.path.join(tree["base"], MARKER, "healing")
    above, source = os.path.split(tree["base"])
    return os.path.join(above, MARKER, "healing", source)


def after_errand(
    files: Sequence[Mapping[str, Any]], errand: Mapping[str, Any], healed: Sequence[str], why: Sequence[str]
) -> list[File]:
    """Return the files after an errand, which healed some relpaths and, for the reasons in `why`, not the others."""
    of_errand = {one["relpath"] for one in errand["tarballs"]}
    node = errand["holder"].partition(" ")[2]
    found = []
    for file in files:
        mine = [name["relpath"] for name in waiting(file) if name["relpath"] in of_errand]
        if mine and holder_of(file["place"]) == holder_of(errand):
            done = {relpath: node for relpath in mine if relpath in healed}
            left = [relpath for relpath in mine if relpath not in healed]
            told = [f"from {node}: {text}" for text in why] if left else []
            file = {  # noqa: PLW2901 (the file as it is now)
                **file,
                "healed": {**file["healed"], **done},
                "tried": [*file["tried"], errand["holder"]],
                "why": [*file["why"], *told][:_LONGEST],
            }
        found.append(dict(file))
    return found


def with_outcomes(files: Sequence[Mapping[str, Any]], held: Mapping[str, Mapping[str, Any]]) -> list[File]:
    """Return the files with their `outcome`: whether a good copy came, and from where."""
    return [{**file, "outcome": _outcome(file, held)} for file in files]


def _outcome(file: Mapping[str, Any], held: Mapping[str, Mapping[str, Any]]) -> str:
    left = waiting(file)
    nodes = list(dict.fromkeys(file["healed"].values()))
    if not left:
        return f"healed from {', '.join(nodes)}: a good copy was read and stands in its place again"
    part = f"in part healed from {', '.join(nodes)}, but " if nodes else ""
    failed = f": {'; '.join(file['why'])}" if file["why"] else ""
    unasked = [f"{name.partition(' ')[2]} ({known['problem']})" for name, known in held.items() if known.get("problem")]
    also = f". Not asked: {', '.join(unasked)}" if unasked else ""
    if copies(file, held):
        return f"{part}NOT healed, the next run tries again{failed}{also}"
    if not held:
        return _NOT_YET
    asked = [name.partition(" ")[2] for name, known in held.items() if not known.get("problem")]
    names = f" (asked: {', '.join(dict.fromkeys(asked))})" if asked else ""
    return f"{part}NOT healed: NO NODE HAS A GOOD COPY of it{names}{failed}{also}"
