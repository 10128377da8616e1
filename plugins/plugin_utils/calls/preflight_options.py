"""The options of calls that look at nodes before anything is done."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from typing import Any

from ..planning import stores, watch
from ..planning.connections import peers, source_peers
from ..planning.node_tools import node_tools, sealing
from ..planning.reaching import ssh_args
from ..planning.trees import base_owners, node_bases, node_trees, origin
from . import watch_program
from .handed import SHORT, Options
from .run import Run


def preflight_options(run: Run, about: Mapping[str, Any], given: Mapping[str, Any]) -> Options:
    if about:
        return {**_preflight_of_target(run, about), "programs": _filling(run, str(about["node"]), run.host)}
    source = run.plan["sources"].get(run.host, {}) if run.plan["locked"] and "tar" in (given.get("tools") or ()) else {}
    filled = _filling(run, run.host, run.host if run.plan["locked"] else "")
    return {**_preflight_of_host(run), "programs": [*sealing(source), *filled]}


def _filling(run: Run, server: str, source: str) -> list[str]:
    """Return the program that a node needs to fill stores, with one source or (empty) with all; none where it fills none."""
    return ["rclone"] if stores.store_trees(run.plan, server=server, source=source) else []


def examine_options(run: Run, _about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options:
    """Return options that examine the host, and what its peers see of it, as far as a plan with errors allows."""
    plan, host = run.plan, run.host
    source = plan["sources"].get(host, {})
    entries = [plan[part][host] for part in ("sources", "targets") if host in plan[part]]
    fetched = [peer for name in plan["sources"] for peer in _fetched_by(_sound(plan), name, host)]
    return {
        "owners": [one for one in base_owners(plan, host) if one["base"]],
        "tools": list(dict.fromkeys(["tar", "rsync", *node_tools(plan, host)])),
        "stores": [stores.module_store(plan, name) for name in stores.filled_by(plan, host)],
        "ext": source.get("ext") or "",
        "items": source.get("item_list", []),
        "key_files": [str(plan["identity_file"])] if plan.get("identity_file") else [],
        "discover": source.get("discover") or {},
        "trees": [_inspected(tree) for tree in node_trees(plan, host) if tree["role"] == "target" and tree["base"]],
        "keeps": source.get("keeps", {}),
        "rules": source.get("rules", {}),
        "peers": peers(_sound(plan), host) if source else [],
        "fetched": fetched,
        "logins": sorted({str(entry["rsync_user"]) for entry in entries}),
        "port": next((entry["rsync_port"] for entry in entries if entry["rsync_port"]), 0),
        "ssh_args": ssh_args(run.hostvars, host),
        "now": time.time(),
        "step_timeout": SHORT,
    }


def _sound(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return a plan that may have errors, without pairs of which a side has no base."""
    lacking = [name for name, entry in plan["targets"].items() if not entry["target_base"]]
    sources = {
        name: {**entry, "targets": [target for target in entry["targets"] if target not in lacking and entry["base"]]}
        for name, entry in plan["sources"].items()
    }
    return {**plan, "sources": sources}


def _fetched_by(plan: Mapping[str, Any], source: str, target: str) -> list[dict[str, Any]]:
    return source_peers(plan, source, target) if target in plan["sources"][source]["targets"] else []


def _preflight_of_host(run: Run) -> Options:
    plan, host, locked = run.plan, run.host, run.plan["locked"]
    source = plan["sources"].get(host, {})
    return {
        "bases": [source["base"]] if locked else node_bases(plan, host),
        "owners": base_owners(plan, host),
        "ext": source.get("ext", ""),
        "discover": source.get("discover", {}),
        "trees": [] if locked else [_inspected(tree) for tree in node_trees(plan, host)],
        "items": source.get("item_list", []),
        "keeps": source.get("keeps", {}),
        "rules": source.get("rules", {}),
        "peers": peers(plan, host) if source else [],
        "ssh_args": ssh_args(run.hostvars, host) if source else "",
        "now": time.time(),
        "locks": [source["base"]] if locked else [],
    }


def _inspected(tree: Mapping[str, Any]) -> Options:
    """Return a tree of the plan with the keys that preflight takes."""
    return {**tree, "keys": tree["item_keys"]}


def _preflight_of_target(run: Run, about: Mapping[str, Any]) -> Options:
    plan, host, node = run.plan, run.host, about["node"]
    is_up = host not in run.state["down"]
    return {
        "bases": [plan["targets"][node]["target_base"]],
        "owners": base_owners(plan, node),
        "trees": [{**_inspected(run.tree(about)), "origin": origin(plan, host, run.state)}],
        "peers": source_peers(plan, host, node) if is_up else [],
        "ssh_args": ssh_args(run.hostvars, node),
        "fetch": True,
        "now": time.time(),
        "locks": [about["base"]] if plan["locked"] and is_up else [],
        **_watch(run, about),
    }


def _watch(run: Run, about: Mapping[str, Any]) -> Options:
    """Return the watch that a target keeps on a source, {} in a run that is no backup."""
    if not run.plan["locked"]:
        return {}
    complete = bool(run.state["discovered"]) or not run.tree(about)["discover"]
    told = watch.watched(run.plan, run.host, run.tree(about), complete=complete)
    if not told:
        return {"watch": {}}
    program = base64.b64encode(watch_program.build()).decode("ascii")
    return {"watch": told, "watch_secrets": watch.secrets(run.hostvars, about["node"]), "watch_program": program}
