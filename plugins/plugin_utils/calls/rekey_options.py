"""The options of calls that encrypt tarballs anew, and of those that bring a target's to its source and back for that."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ...module_utils.synchronize.offer import CARRIED
from ...module_utils.tree.layout import MARKER
from ...module_utils.tree.rekeyed import CAME, NEW
from ...module_utils.tree.rekeyed import FOLDER as REKEYING
from ..planning import rekeying
from ..planning.connections import incoming_folder
from ..planning.reaching import controller_peer, controller_ssh_args
from ..planning.trees import origin, source_trees
from .handed import Options
from .identities import KeyRefused, drilling_identity
from .loops import rekey_of
from .run import Run


def rekey_options(run: Run, about: Mapping[str, Any], given: Mapping[str, Any]) -> Options | None:
    """Return options to encrypt anew a source's own tarballs, or those of a target."""
    source, step = run.source, str(given.get("step", "own"))
    if step == "tidy":
        return {"base": source["base"]}
    options = {
        "base": source["base"],
        **{name: source[name] for name in ("encrypt_to", "signing_key")},
        "items": [item for item in source["item_list"] if item.get("encrypt_to") is not None],
        "names": rekeying.names_of(run.plan["rekey"], run.host),
        **drilling_identity(run.plan, run.host, run.host),
    }
    if run.plan["rekey"] and not options["names"]:
        return None
    if step == "own":
        return {**options, "targets": [entry["node"] for entry in source_trees(run.plan, run.host, targets=True)]}
    work = rekey_of(run, about)
    return {**options, "target": about["node"], "tarballs": work["holds"]} if work["due"] else None


def prepare_rekeyed(run: Run, about: Mapping[str, Any], options: Options) -> Options | None:
    """Return options by which a target makes ready for what takes the places of its tarballs."""
    work = rekey_of(run, about)
    if not work["made"]:
        return None
    others = {"items": [], "predicted": [], "guides": {}, "basis": False, "pair": {}, "marks": {}}
    return {**options, **others, "tarballs": work["made"], "carried": True, "rekeyed": True}


def carry_rekeyed(run: Run, about: Mapping[str, Any], *, back: bool) -> Options | None:
    """Return options to bring a target's tarballs to their source, or back."""
    work, node = rekey_of(run, about), str(about["node"])
    tarballs = work["wanted" if back else "fetched"]
    if not tarballs:
        return None
    folder = os.path.join(run.source["base"], MARKER, REKEYING, node)
    source = (run.host, os.path.join(folder, NEW if back else CAME))
    here = os.path.join(incoming_folder(run.plan, run.host, node), CARRIED) if back else run.tree(about)["base"]
    ends = {"origin": source if back else (node, here), "destination": (node, here) if back else source}
    reached = {end: controller_peer(run.hostvars, run.plan, name) for end, (name, _) in ends.items()}
    problem = next((f"{peer['node']} {peer['problem']}" for peer in reached.values() if peer.get("problem")), "")
    if problem:
        raise KeyRefused(
            f"what {node} holds cannot be brought to its source, as {problem}: nothing of it was encrypted anew"
        )
    return {
        **{end: {**reached[end], "folder": path} for end, (_, path) in ends.items()},
        **{f"{end}_ssh_args": controller_ssh_args(run.hostvars, name) for end, (name, _) in ends.items()},
        "relpaths": [entry["relpath"] for entry in tarballs],
        "size": sum({entry["dig"]: entry["size"] for entry in tarballs}.values()),
        "tree": True,
    }


def accept_rekeyed(run: Run, about: Mapping[str, Any]) -> Options | None:
    """Return options by which a target accepts what takes the places of its tarballs."""
    work = rekey_of(run, about)
    if not work["is_back"]:
        return None
    told = {"tarballs": work["wanted"], "carried": True, "rekeyed": True, "retry": False}
    return {"base": about["base"], "origin": origin(run.plan, run.host, run.state), **told}
