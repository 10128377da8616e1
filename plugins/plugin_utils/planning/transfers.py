"""What goes from a source to which target, as the plan and what both say have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...module_utils.tree.failures import failure
from ...module_utils.tree.layout import is_relpath
from ..report.outcomes import call_place, results_of
from ..report.results import shortened
from .connections import connection, incoming_folder, is_fetched


def sendable(listed: Mapping[str, Any], state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Given a source's listing and what a run knows, return the verified tarballs that no check found bad.

    One that is not named as a tarball of its item is left out: the listing has a note on it.
    """
    bad = {
        entry["relpath"] for entry in state.get("failures", []) if entry["stage"] == "check" and not entry["delegate"]
    }
    return [
        {key: entry.get(key) for key in ("relpath", "size", "dig", "alg", "record")}
        for result in results_of(listed)
        for entry in result.get("tarballs") or []
        if entry.get("state") == "verified" and entry["relpath"] not in bad and is_relpath(entry["relpath"])
    ]


def deliveries(
    plan: Mapping[str, Any],
    source: str,
    prepared: Mapping[str, Any],
    tarballs: Sequence[Mapping[str, Any]],
    predicted: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Given the plan, a source, what its targets asked for, its tarballs and those predicted, return what goes where and how.

    What a target asks for and the source does not have is left out: `unlisted` tells of it.
    Each entry has what tarball_send needs, and `base`, `node`, and the `source` as a peer where the target fetches, for
    tarball_accept. Targets that need nothing are left out, and those that are busy. Those that fetch come last.
    """
    known: dict[str, Mapping[str, Any]] = {
        **{path: {"relpath": path, "size": 0, "dig": "0", "alg": "sha256"} for path in predicted},
        **{entry["relpath"]: entry for entry in tarballs},
    }
    found = []
    for result in results_of(prepared):
        tree = result.get(str(result.get("ansible_loop_var") or "item")) or {}
        asked = [path for path in dict.fromkeys(result.get("send") or []) if path in known]
        if not asked or result.get("busy"):
            continue
        node, fetched = tree["node"], is_fetched(plan, source, tree["node"])
        entry = {
            "node": node,
            "base": tree["base"],
            "tarballs": [known[path] for path in asked],
            "fetched": fetched,
            "peer": {"node": node, "folder": incoming_folder(plan, source, node)}
            if fetched
            else connection(plan, source, node),
            "source": connection(plan, source, node) if fetched else {},
            **{name: tree[name] for name in ("nice", "ionice")},
        }
        found.append(entry)
    return sorted(found, key=lambda entry: entry["fetched"])


def deliveries_again(deliveries: Sequence[Mapping[str, Any]], accepted: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Given what went where and what accepting registered, return what is to go once more, as its bytes were wrong."""
    wrong = {
        call_place(result, ""): {entry["relpath"]: entry.get("wrong") or "" for entry in result.get("wrong") or []}
        for result in results_of(accepted)
    }
    again = []
    for entry in deliveries:
        told = wrong.get(entry["node"], {})
        tarballs = [
            {**tarball, "wrong": told[tarball["relpath"]]}
            for tarball in entry["tarballs"]
            if tarball["relpath"] in told
        ]
        again += [{**entry, "tarballs": tarballs}] if tarballs else []
    return again


def unlisted(registered: Mapping[str, Any], tarballs: Sequence[Any]) -> dict[str, Any]:
    """Given what preparing or accepting registered and the tarballs of the source, return what `record` takes: a failure for
    each target that asks for others."""
    known = {entry["relpath"] if isinstance(entry, Mapping) else entry for entry in tarballs}
    found = []
    for result in results_of(registered):
        asked = [*(result.get("send") or []), *(entry["relpath"] for entry in result.get("wrong") or [])]
        if others := [path for path in dict.fromkeys(asked) if path not in known]:
            more = f" and {len(others) - 3} more" if len(others) > 3 else ""
            reason = f"asks for what the source does not have, and does not get it: {', '.join(map(shortened, others[:3]))}{more}"
            loop = str(result.get("ansible_loop_var") or "item")
            entry = failure("synchronize", reason, relpath=others[0] if is_relpath(others[0]) else "")
            found.append({"ansible_loop_var": loop, loop: result.get(loop), "failures": [entry]})
    return {"results": found}
