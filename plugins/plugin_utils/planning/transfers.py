"""Transfers from a source to its targets, by the plan and what both report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...module_utils.system.units import counted
from ...module_utils.tree.failures import failure
from ...module_utils.tree.layout import is_relpath
from ..report.bounds import shortened
from .connections import connection, incoming_folder, is_fetched
from .trees import source_trees


def sendable(listed: Sequence[Mapping[str, Any]], state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the listed tarballs of a source that are verified and did not fail a check; `state` is the run's.

    A file that is not named as a tarball of its item is left out; the listing has a note on it.
    """
    bad = {
        entry["relpath"] for entry in state.get("failures", []) if entry["stage"] == "check" and not entry["delegate"]
    }
    return [
        {
            **{key: entry.get(key) for key in ("relpath", "size", "dig", "alg", "record")},
            **{key: entry[key] for key in ("base", "base_dig") if entry.get(key)},
        }
        for entry in listed
        if entry.get("state") == "verified" and entry["relpath"] not in bad and is_relpath(entry["relpath"])
    ]


def deliveries(plan: Mapping[str, Any], source: str, state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what is sent to or fetched by each target; `state` is the run's of the source.

    That is what each target has `asked` for, among the tarballs on `offer` and those `predicted`; unlisted_requests reports the rest. Each entry has
    the options of tarball_send, and `base`, `node` and, if the target fetches, the `source` as a peer, for tarball_accept. Targets that
    fetch come last.
    """
    known: dict[str, Mapping[str, Any]] = {
        **{path: {"relpath": path, "size": 0, "dig": "0", "alg": "sha256"} for path in state["predicted"]},
        **{entry["relpath"]: entry for entry in state["offer"] or ()},
    }
    trees = {tree["node"]: tree for tree in source_trees(plan, source, targets=True)}
    found = []
    for node, paths in state["asked"].items():
        tarballs = [
            {**known[path], **({"wrong": wrong} if wrong else {})} for path, wrong in paths.items() if path in known
        ]
        if not tarballs:
            continue
        fetched = is_fetched(plan, source, node)
        entry = {
            "node": node,
            "base": trees[node]["base"],
            "tarballs": tarballs,
            "fetched": fetched,
            "peer": {"node": node, "folder": incoming_folder(plan, source, node)}
            if fetched
            else connection(plan, source, node),
            "source": connection(plan, source, node) if fetched else {},
        }
        found.append(entry)
    return sorted(found, key=lambda entry: entry["fetched"])


def pair_of(plan: Mapping[str, Any], pairs: Mapping[str, Mapping[str, Any]], target: str) -> dict[str, Any]:
    """Return a source's state of a target, also under a former name; {} if there is none. `pairs` is {target: state}."""
    names = [target, *plan["targets"].get(target, {}).get("former_names", ())]
    return next((dict(pairs[name]) for name in names if name in pairs), {})


def refilled_note(source: str, target: str, known: Mapping[str, Any], pair: Mapping[str, Any]) -> str:
    """Return the note on a target that was filled again; `known` is its earlier state, `pair` the present one."""
    before, now = known.get("copies") or 0, pair["copies"]
    rest = (
        f" of the {before} that it held: the others are on no node that was reached, or its rules do not ask for them"
    )
    return f"{source} -> {target}: holds {counted(now, 'copy', 'copies')}{rest if now < before else ''}"


def refill_offer(state: Mapping[str, Any], label: str) -> list[dict[str, Any]]:
    """Return the tarballs of a refill that its target asked for, among those that the other node offers."""
    progress = state["refills"].get(label, {})
    asked = set(progress.get("asked", ()))
    return [entry for entry in progress.get("offer", ()) if entry["relpath"] in asked]


def unlisted_requests(result: Mapping[str, Any], state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a failure, in a list, if a target asks for tarballs that its source does not have."""
    known = {*state["predicted"], *(entry["relpath"] for entry in state["offer"] or ())}
    asked = [*(result.get("send") or []), *(entry["relpath"] for entry in result.get("wrong") or [])]
    others = [path for path in dict.fromkeys(asked) if path not in known]
    if not others:
        return []
    more = f" and {len(others) - 3} more" if len(others) > 3 else ""
    reason = (
        f"asks for what the source does not have, and does not get it: {', '.join(map(shortened, others[:3]))}{more}"
    )
    return [failure("synchronize", reason, relpath=others[0] if is_relpath(others[0]) else "")]
