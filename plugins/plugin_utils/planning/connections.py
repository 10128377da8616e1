"""Connections between nodes, by the plan: how the node that runs rsync reaches the other one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any


def peers(plan: Mapping[str, Any], source: str) -> list[dict[str, Any]]:
    """Return the peer for each target on another machine to which a source sends."""
    return [
        connection(plan, source, target)
        for target in plan["sources"][source]["targets"]
        if target not in plan["sources"][source]["local_targets"] and not is_fetched(plan, source, target)
    ]


def source_peers(plan: Mapping[str, Any], source: str, target: str) -> list[dict[str, Any]]:
    """Return the peer by which a target reaches a source from which it fetches, [] if it does not or both are one machine."""
    local = target in plan["sources"][source]["local_targets"]
    return [connection(plan, source, target)] if is_fetched(plan, source, target) and not local else []


def is_fetched(plan: Mapping[str, Any], source: str, target: str) -> bool:
    """Return whether the target fetches from the source, instead of being sent to."""
    return bool(plan["sources"][source]["transport"].get(target) == "pull")


def connection(plan: Mapping[str, Any], source: str, target: str) -> dict[str, Any]:
    """Return the peer of the node that runs rsync, as modules take it: the target, or the source if the target fetches."""
    fetched = is_fetched(plan, source, target)
    ends = plan["sources"][source], plan["targets"][target]
    caller, called = reversed(ends) if fetched else ends
    found: dict[str, Any] = {"node": source if fetched else target}
    found["folder"] = (
        os.path.join(called["base"], ".altbackup", "outgoing", target)
        if fetched
        else incoming_folder(plan, source, target)
    )
    found.update({name: max(caller[name], called[name]) for name in ("connect_timeout", "io_timeout")})
    if limits := [end["bwlimit"] for end in ends if end.get("bwlimit")]:
        found["bwlimit"] = f"{min(limits)}b"  # rsync reads a number without unit as KiB
    found["min_rate"] = min(*(end["min_rate"] for end in ends), *limits)
    if target not in plan["sources"][source]["local_targets"]:
        found.update({name: called[f"rsync_{name}"] for name in ("host", "port", "user") if called[f"rsync_{name}"]})
        found.update({"ssh_key": caller["ssh_key"]} if caller["ssh_key"] else {})
        if own := caller["target_base" if fetched else "base"]:
            found["trust"] = os.path.join(own, ".altbackup", "trust", found["node"])
        if called["rrsync"]:
            found["folder"] = "."  # the key is bound to that folder, and to rsync alone
        else:
            found.update({name: called[name] for name in ("nice", "ionice") if called[name]})
    return found


def incoming_folder(plan: Mapping[str, Any], source: str, target: str) -> str:
    """Return the folder of a target into which a source's tarballs are transferred."""
    return os.path.join(plan["targets"][target]["target_base"], ".altbackup", "incoming", source)
