"""The options of calls that make, check and spread tarballs."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...module_utils.kinds.registry import CATEGORIES
from ..planning import transfers
from ..planning.plan_items import unclear_categories
from ..planning.reaching import ssh_args
from ..planning.trees import origin
from .handed import Options
from .loops import deliveries
from .rekey_options import accept_rekeyed, prepare_rekeyed
from .run import Run

_GUIDES = Path(__file__).resolve().parents[3] / "roles" / "synchronize" / "files"


def lock_options(_run: Run, about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options:
    return {"bases": [about["base"]]}


def dump_options(run: Run, _about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options:
    source, targets = run.source, run.plan["targets"]
    copies = [targets[name]["target_base"] for name in targets if name in (run.host, *source["local_targets"])]
    taken = (
        "base",
        "ext",
        "compress_level",
        "algorithm",
        "full_every",
        "verify_every",
        "shrink",
        "churn",
        "encrypt_to",
        "signing_key",
    )
    received = list(dict.fromkeys(filter(None, copies)))
    options = {name: source[name] for name in taken}
    told = {"hooks": source["hooks"], "max_age": source["max_age"], "marks": marks(run, run.host)}
    followed = {"read_ahead": bool(run.plan["locked"])}  # by a check
    return {**options, "items": source["item_list"], "received": received, **told, **followed}


def marks(run: Run, source: str) -> dict[str, Any]:
    """Return the marks of a source's copies, which nodes keep."""
    return dict(run.plan["marks"].get(source, {}))


def check_options(run: Run, about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options:
    tree = run.tree(about)
    is_backed_up = bool(run.plan["locked"] and tree["role"] == "source")
    return {
        "base": tree["base"],
        **checking(run, tree),
        "predicted": run.state["predicted"],
        "listing": is_backed_up,
        "quarantine": is_backed_up,
        "reverify_days": tree["reverify_days"] if is_backed_up else 0,
    }


def checking(run: Run, tree: Mapping[str, Any]) -> Options:
    """Return what to verify and count in a tree."""
    return {
        "day": run.plan["day"],
        "scope": tree["check_scope"],
        "expect": tree["expect"],
        "items": tree["item_keys"],
        "source": tree["source"],
        "remembered": tree["discover"],
        "proof_age": tree["proof_age"],
        "node": tree["node"],
        "not_now": not_now(run, str(tree["source"])),
        "memory": {**tree["memory"], "undiscovered": undiscovered(run, str(tree["source"]))},
    }


def not_now(run: Run, source: str) -> list[str]:
    """Return the items that a source says were skipped, as far as they, or their set, have a hook that can have said so."""
    entry = run.whole_plan["sources"][source]
    able = [
        key
        for item in entry["item_list"]
        if item.get("before")
        for key in (f"{CATEGORIES[item['kind']]}/{item['name']}", *item.get("members", ()))
    ]
    able = entry["item_keys"] if entry["hooks"].get("before") else able
    return [key for key in run.known_of(source).get("not_now") or () if key in able]


def undiscovered(run: Run, source: str) -> list[str]:
    """Return the categories of which not all items of a source are known, because it could not discover them or an error hides what they are.

    Discovery counts on the source alone, as elsewhere the target's memory counts; errors of items in a backup alone, which tells them.
    """
    entry = run.whole_plan["sources"][source]
    hidden = unclear_categories(entry["item_errors"]) if run.plan["locked"] else []
    if source != run.host or run.state["discovered"]:
        return hidden
    return sorted({*hidden, *(CATEGORIES[kind] for kind in entry["discover"])})


def list_options(run: Run, about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options | None:
    """Return options to list a tree for the user, the source's own if no check listed it, or one target's for another."""
    if about.get("stage") == "refill":
        return {"base": run.tree({**about, "node": about["from"]})["base"], "records": True}
    if about.get("stage") == "rekey":
        return {"base": about["base"], "records": True}
    if about:
        return {"base": about["base"], "day": "all" if about.get("shelf") else run.plan["list_day"]}
    if run.state["offer"] is not None:
        return None
    is_asked = not run.state["failures"] and not run.state["predicted"]
    return {"base": run.source["base"], "expected": run.plan["day"] if is_asked else "", "records": True}


def prepare_options(run: Run, about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options | None:
    tree, node = run.tree(about), about["node"]
    options = {
        "base": tree["base"],
        "tarballs": run.state["offer"],
        "day": run.plan["day"],
        "origin": origin(run.plan, run.host, run.state),
        "marks": marks(run, run.host),
        "keep": tree["keep"],
        "keeps": tree["keeps"],
        "rules": tree["rules"],
        "items": tree["item_keys"],
        "discovered": run.state["discovered"],
        "predicted": run.state["predicted"],
        "guides": guides(),
        "basis": node not in run.source["local_targets"],
        "slots": run.plan["targets"][node]["slots"],
        "pair": transfers.pair_of(run.plan, run.state["pairs"], node),
        "adopt": node in run.plan["adopted_nodes"],
        "node": node,
    }
    if about.get("stage") == "rekey":
        return prepare_rekeyed(run, about, options)
    if about.get("stage") != "refill":
        return options
    offer = run.state["refills"].get(about["label"], {}).get("offer")
    others = {"items": [], "predicted": [], "guides": {}, "basis": False, "pair": {}}
    return {**options, **others, "tarballs": offer, "carried": True} if offer else None


@functools.cache
def guides() -> dict[str, str]:
    """Return {name: text} of the files that each target keeps beside its copies, for a restore with nothing else at hand."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(_GUIDES.iterdir()) if path.is_file()}


def send_options(run: Run, _about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options | None:
    targets = [{name: entry[name] for name in ("tarballs", "fetched", "peer")} for entry in deliveries(run)]
    if not targets:
        return None
    return {"base": run.source["base"], "targets": targets, "ssh_args": ssh_args(run.hostvars, run.host)}


def accept_options(run: Run, about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options | None:
    """Return options that accept what arrived; bytes that differ are sent again once only, whatever the target reports."""
    if about.get("stage") == "rekey":
        return accept_rekeyed(run, about)
    if about.get("stage") == "refill":
        told = {"tarballs": transfers.refill_offer(run.state, about["label"]), "carried": True, "retry": False}
        is_there = run.state["refills"].get(about["label"], {}).get("arrived")
        return {"base": about["base"], "origin": origin(run.plan, run.host, run.state), **told} if is_there else None
    for entry in deliveries(run):
        if entry["node"] == about["node"]:
            return {
                "base": entry["base"],
                "tarballs": entry["tarballs"],
                "peer": entry["source"],
                "ssh_args": ssh_args(run.hostvars, entry["node"]) if entry["fetched"] else "",
                "origin": origin(run.plan, run.host, run.state),
                "retry": entry["node"] not in run.state["again"],
            }
    return None
