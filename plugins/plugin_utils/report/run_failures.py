"""All failures of a run, each once, with those that only several nodes together show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...module_utils.tree.failures import KEYS, failure, identity
from ...module_utils.tree.stamps import is_day
from .identities import shared_bases


def all_failures(states: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return all failures of the run, each once, with those that only several nodes together show: shared bases and different contents."""
    states = list(states)
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    contents: dict[str, str] = {}
    for state in states:
        for entry in [*state.get("failures", []), *_of_rotten(state)]:
            add_failure(found, entry)
        contents.update(state.get("contents") or {})
    return [*found.values(), *shared_bases(base_identities(states)), *_disagreements(contents), *_not_undone(states)]


def _of_rotten(state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the failures of rotten tarballs that this run found, each with whether a good copy replaced it, which comes first."""
    return [
        {**entry, "reason": f"{file['outcome']}; {entry['reason']}", **_good_now(entry, file["healed"])}
        for file in state.get("rotten") or ()
        for entry in file["failures"]
    ]


def _good_now(entry: Mapping[str, Any], healed: Iterable[str]) -> dict[str, str]:
    """Return the stamp of the item's newest good copy after some of its tarballs were healed, {} if it is that which the failure has."""
    known = entry.get("good")
    stamps = ["/".join(relpath.split("/")[2:6]) for relpath in healed]
    return {"good": max([known, *stamps])} if isinstance(known, str) and stamps else {}


def add_failure(found: dict[tuple[str, ...], dict[str, Any]], entry: Mapping[str, Any]) -> None:
    """Add a failure to {identity: failure} unless it is there; what is known of good copies does not make it another one."""
    known = found.setdefault(identity(entry), dict(entry))
    if "good" in entry:
        known.setdefault("good", entry["good"])


def _not_undone(states: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a failure for each day or tarball to be put back that no node had in its trash."""
    found: dict[str, bool] = {}
    for state in states:
        for text, is_there in (state.get("undone") or {}).items():
            found[text] = found.get(text, False) or is_there
    return [
        {**dict.fromkeys((*KEYS, "tree"), ""), "rc": None, "node": "all nodes", **failure_of_undo(text)}
        for text, is_there in found.items()
        if not is_there
    ]


def failure_of_undo(text: str) -> dict[str, Any]:
    """Return the failure that nothing of a day or tarball was put back."""
    what = f"of what was removed on {text}" if is_day(text) else f"of {text}"
    reason = f"nothing {what} was put back: the trash of no node of this run holds any of it (see altbackup_trash_days)"
    return failure("undo", reason)


def base_identities(states: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return {"role node": identity of its base} of all states."""
    return {owner: entry for state in states for owner, entry in (state.get("identities") or {}).items()}


def _disagreements(contents: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return a failure for each item and stamp whose contents differ between nodes; `contents` is {node/source/relpath: dna}."""
    stamps: dict[tuple[str, ...], dict[str, str]] = {}
    for path, dna in sorted(contents.items()):
        node, *stamp = path.split("/")[:8]
        stamps.setdefault(tuple(stamp), {})[node] = dna
    found = []
    for (source, category, name, *stamp), nodes in stamps.items():
        if len(set(nodes.values())) > 1:
            entry = failure("check", disagreement("/".join(stamp), nodes), key=f"{category}/{name}")
            found.append({**entry, "node": source, "tree": ""})
    return found


def disagreement(stamp: str, nodes: Mapping[str, str]) -> str:
    """Return the message that nodes hold different contents under one stamp; `nodes` is {node: algorithm:digest:size}."""
    held = "; ".join(f"{node} has {dna}" for node, dna in sorted(nodes.items()))
    return (
        f"nodes hold different contents under the one stamp {stamp}: {held}. One of them was changed after the dump: find out which, by its "
        "proof, its size or another copy, and move that one out of its base"
    )
