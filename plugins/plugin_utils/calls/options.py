"""The options of each module call, from the plan and the state of the run. Pure, except for the clock.

Each function takes the run, the call's entry of loops.py ({} for the host itself) and the options that the task gives, and returns the
options that it lacks, or None if there is nothing to do.
"""

from __future__ import annotations

import base64
import functools
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ...module_utils.kinds.registry import CATEGORIES
from ...module_utils.synchronize.send import CARRIED
from ...module_utils.tree.encryption import shared_proof
from ...module_utils.tree.layout import MARKER
from ...module_utils.tree.rekeyed import CAME, NEW
from ...module_utils.tree.rekeyed import FOLDER as REKEYING
from ...module_utils.tree.stamps import is_day
from ..planning import contents, copies, heal, purge_plan, rekeying, restore, stores, transfers, watch
from ..planning.connections import incoming_folder, peers, source_peers
from ..planning.host_variables import inventory_label
from ..planning.reaching import reached_by, reached_with, ssh_args
from ..planning.trees import base_owners, node_bases, node_trees, origin, source_trees
from . import watch_program
from .handed import SHORT
from .identities import KeyRefused, drilling_identity, handed_identity
from .loops import deliveries, errand_of, heal_errand_of, order_of, reading_of, rekey_of
from .run import Run

Options = dict[str, Any]
_GUIDES = Path(__file__).resolve().parents[3] / "roles" / "synchronize" / "files"
_OF_NO_RUN = {"seconds": 0}
"""For a run whose calls do not keep a tree locked between them"""


def options_of(module: str, run: Run, about: Mapping[str, Any], given: Mapping[str, Any]) -> Options | None:
    """Return the options of a call, as described above; {} for a module that needs none. `module` is the short name."""
    complete = COMPLETED.get(module)
    return complete(run, about, given) if complete else {}


def _preflight(run: Run, about: Mapping[str, Any], given: Mapping[str, Any]) -> Options:
    if about:
        return {**_preflight_of_target(run, about), "programs": _filling(run, str(about["node"]), run.host)}
    source = run.plan["sources"].get(run.host, {}) if run.plan["locked"] and "tar" in (given.get("tools") or ()) else {}
    filled = _filling(run, run.host, run.host if run.plan["locked"] else "")
    return {**_preflight_of_host(run), "programs": [*_sealing(source), *filled]}


def _filling(run: Run, server: str, source: str) -> list[str]:
    """Return the program that a node needs to fill stores, with one source or (empty) with all; none where it fills none."""
    return ["rclone"] if stores.store_trees(run.plan, server=server, source=source) else []


def _examine(run: Run, _about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options:
    """Return options that examine the host, and what its peers see of it, as far as a plan with errors allows."""
    plan, host = run.plan, run.host
    source = plan["sources"].get(host, {})
    fetched = [peer for name in plan["sources"] for peer in _fetched_by(_sound(plan), name, host)]
    return {
        "owners": [one for one in base_owners(plan, host) if one["base"]],
        "tools": ["tar", "rsync", *_sealing(source), *_filling(run, host, "")],
        "stores": [stores.told(plan, name) for name in stores.filled_by(plan, host)],
        "kinds": sorted({*(item["kind"] for item in source.get("item_list", ())), *(source.get("discover") or ())}),
        "ext": source.get("ext") or "",
        "items": source.get("item_list", []),
        "discover": source.get("discover") or {},
        "trees": [_inspected(tree) for tree in node_trees(plan, host) if tree["role"] == "target" and tree["base"]],
        "keeps": source.get("keeps", {}),
        "rules": source.get("rules", {}),
        "peers": peers(_sound(plan), host) if source else [],
        "fetched": fetched,
        "logins": sorted(
            {str(plan[part][host]["rsync_user"]) for part in ("sources", "targets") if host in plan[part]}
        ),
        "ssh_args": ssh_args(run.hostvars, host),
        "now": time.time(),
        "step_timeout": SHORT,
    }


def _sealing(source: Mapping[str, Any]) -> list[str]:
    """Return the programs that a source needs to encrypt, none where it does not."""
    asked = [source.get("encrypt_to"), *(item.get("encrypt_to") for item in source.get("item_list", ()))]
    return ["age", "ssh-keygen"] if any(asked) else []


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


def _metrics(run: Run, tree: Mapping[str, Any]) -> Options:
    """Return the options for the metrics that a node writes for Prometheus, {} without a folder for them."""
    node = run.plan["nodes"][tree["node"]]
    if not node["node_metrics_dir"]:
        return {}
    told = {"node": tree["node"], "source": tree["source"], "max_age": node["max_age"]}
    return {**told, "folder": node["node_metrics_dir"], "inventory": inventory_label(run.hostvars, tree["source"])}


def _lock(_run: Run, about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options:
    return {"bases": [about["base"]]}


def _dump(run: Run, _about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options:
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
    return {**options, "items": source["item_list"], "received": received, **told}


def marks(run: Run, source: str) -> dict[str, Any]:
    """Return the marks of a source's copies, which nodes keep."""
    return dict(run.plan["marks"].get(source, {}))


def _check(run: Run, about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options:
    tree = run.tree(about)
    is_backed_up = bool(run.plan["locked"] and tree["role"] == "source")
    return {
        "base": tree["base"],
        **_checking(run, tree),
        "predicted": run.state["predicted"],
        "listing": is_backed_up,
        "quarantine": is_backed_up,
        "reverify_days": tree["reverify_days"] if is_backed_up else 0,
    }


def _checking(run: Run, tree: Mapping[str, Any]) -> Options:
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
    """Return the categories whose items the source could not all discover; [] on another host, where the target's memory counts."""
    if source != run.host or run.state["discovered"]:
        return []
    return sorted({CATEGORIES[kind] for kind in run.plan["sources"][source]["discover"]})


def _list(run: Run, about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options | None:
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


def _prepare(run: Run, about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options | None:
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
        return _prepare_rekeyed(run, about, options)
    if about.get("stage") != "refill":
        return options
    offer = run.state["refills"].get(about["label"], {}).get("offer")
    others = {"items": [], "predicted": [], "guides": {}, "basis": False, "pair": {}}
    return {**options, **others, "tarballs": offer, "carried": True} if offer else None


@functools.cache
def guides() -> dict[str, str]:
    """Return {name: text} of the files that each target keeps beside its copies, for a restore with nothing else at hand."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(_GUIDES.iterdir()) if path.is_file()}


def _send(run: Run, _about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options | None:
    targets = [{name: entry[name] for name in ("tarballs", "fetched", "peer")} for entry in deliveries(run)]
    if not targets:
        return None
    return {"base": run.source["base"], "targets": targets, "ssh_args": ssh_args(run.hostvars, run.host)}


def _rekey(run: Run, about: Mapping[str, Any], given: Mapping[str, Any]) -> Options | None:
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


def _prepare_rekeyed(run: Run, about: Mapping[str, Any], options: Options) -> Options | None:
    """Return options by which a target makes ready for what takes the places of its tarballs."""
    work = rekey_of(run, about)
    if not work["made"]:
        return None
    others = {"items": [], "predicted": [], "guides": {}, "basis": False, "pair": {}, "marks": {}}
    return {**options, **others, "tarballs": work["made"], "carried": True, "rekeyed": True}


def _carry_rekeyed(run: Run, about: Mapping[str, Any], *, back: bool) -> Options | None:
    """Return options to bring a target's tarballs to their source, or back."""
    work, node = rekey_of(run, about), str(about["node"])
    tarballs = work["wanted" if back else "fetched"]
    if not tarballs:
        return None
    folder = os.path.join(run.source["base"], MARKER, REKEYING, node)
    source = (run.host, os.path.join(folder, NEW if back else CAME))
    here = os.path.join(incoming_folder(run.plan, run.host, node), CARRIED) if back else run.tree(about)["base"]
    ends = {"origin": source if back else (node, here), "destination": (node, here) if back else source}
    reached = {end: reached_by(run.hostvars, run.plan, name) for end, (name, _) in ends.items()}
    problem = next((f"{peer['node']} {peer['problem']}" for peer in reached.values() if peer.get("problem")), "")
    if problem:
        raise KeyRefused(
            f"what {node} holds cannot be brought to its source, as {problem}: nothing of it was encrypted anew"
        )
    return {
        **{end: {**reached[end], "folder": path} for end, (_, path) in ends.items()},
        **{f"{end}_ssh_args": reached_with(run.hostvars, name) for end, (name, _) in ends.items()},
        "relpaths": [entry["relpath"] for entry in tarballs],
        "size": sum({entry["dig"]: entry["size"] for entry in tarballs}.values()),
        "tree": True,
    }


def _accept(run: Run, about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options | None:
    """Return options that accept what arrived; bytes that differ are sent again once only, whatever the target reports."""
    if about.get("stage") == "rekey":
        told = {"tarballs": rekey_of(run, about)["wanted"], "carried": True, "rekeyed": True, "retry": False}
        is_there = rekey_of(run, about)["is_back"]
        return {"base": about["base"], "origin": origin(run.plan, run.host, run.state), **told} if is_there else None
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


def _purge(run: Run, about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options:
    """Return options to purge what a check of this run passed; on a target the check is part of the call.

    A purge on its own reads what would count instead. In check mode it explains why each tarball stays; after a review it removes only
    what was reviewed.
    """
    tree, locked = run.tree(about), bool(run.plan["locked"])
    is_own = tree["role"] == "source"
    options = {
        "base": tree["base"],
        "keep": tree["keeps"],
        "names": list(tree["keeps"]),
        "awaited": heal.awaited(run.state["rotten"]),
        "rules": tree["rules"],
        "predicted": run.state["predicted"],
        "verify": not locked,
        "explain": not locked and run.check_mode,
        "unlock": locked,
        "remember": True,
        "marks": marks(run, tree["source"]),
        "quarantine": locked and not is_own,
        "reverify_days": tree["reverify_days"] if locked else 0,
        "origin": {} if is_own else origin(run.plan, tree["source"], run.known_of(tree["source"])),
        "trash_days": tree["trash_days"],
        "confirm": run.plan["purge_confirm"],
        "copies": _copies(run, tree["source"]),
        "min_copies": tree["min_copies"],
        "metrics": _metrics(run, tree),
    }
    if not locked:
        alone: Options = {"run": {**run.plan["run"], **_OF_NO_RUN}}
        if run.reviewed is not None and not run.check_mode:
            alone["only"] = purge_plan.of_tree(run.reviewed, tree)
        return {**options, **alone, "remembered": tree["keep"] if tree["discover"] else 0}
    if not is_own:
        doubted = tree["node"] in run.state["doubted"]
        return {**options, "check": _checking(run, tree), **({"names": []} if doubted else {})}
    passed = run.state["passed"].get("/".join((tree["node"], tree["source"], tree["role"])), [])
    return {**options, "names": [name for name in passed if name in options["names"]], "pairs": run.state["pairs_now"]}


def _mark(run: Run, about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options:
    """Return options to mark a tree; on a target only if the tree holds the copies of the source with the given id."""
    tree = run.tree(about)
    source = tree["source"]
    is_own = tree["role"] == "source"
    return {
        "base": tree["base"],
        "marks": marks(run, source),
        "source": source if is_own else "",
        "origin": {} if is_own else origin(run.plan, source, run.known_of(source)),
        "run": {**run.plan["run"], **_OF_NO_RUN},
        "step_timeout": SHORT,
    }


def _copies(run: Run, source: str) -> dict[str, int]:
    """Return {item: number of targets on which its newest tarball is verified}: in a backup from deliveries, else from listings."""
    if run.plan["locked"]:
        return copies.delivered(run.plan, source, run.state)
    return copies.shelved(run.plan, source, map(run.known_of, run.plan["nodes"]))


def _undo(run: Run, about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options:
    asked, start = run.plan["undo"], f"{about['source']}/"
    return {
        "base": about["base"],
        "days": [text for text in asked if is_day(text)],
        "stamps": [text[len(start) :] for text in asked if text.startswith(start)],
        "run": {**run.plan["run"], **_OF_NO_RUN},
    }


def _drill(run: Run, about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options | None:
    """Drill a tree, or try the keys on that of a source."""
    tree = run.tree(about)
    if run.plan["key_drill"] and tree["role"] != "source":
        return None
    return {
        **({"keys": True} if run.plan["key_drill"] else {}),
        **drilling_identity(run.plan, str(tree["node"]), str(tree["source"])),
        "base": tree["base"],
        "names": tree["item_keys"],
        "remembered": tree["discover"],
        **{name: tree[f"drill_{name}"] for name in ("share", "limit", "folder", "user")},
        "verify": tree["verify"],
        "run": {**run.plan["run"], **_OF_NO_RUN},
    }


def _drill_away(run: Run, about: Mapping[str, Any], given: Mapping[str, Any]) -> Options:
    """Return the options of a drill's step; without a step, drill what arrived, or else remove its folder."""
    step = given.get("step")
    if step == "choose":
        tree = run.tree(about)
        return {
            "base": tree["base"],
            "names": tree["item_keys"],
            "remembered": tree["discover"],
            "share": tree["drill_share"],
        }
    errand = errand_of(run, about)
    if step == "make":
        return {"base": errand["away"], "size": errand["size"], "step_timeout": SHORT}
    if step == "keep":
        proofs = [shared_proof(proof, str(proof["relpath"])) for proof in errand["proofs"]]
        return {"base": errand["base"], "proofs": proofs, **_priority(errand), "step_timeout": SHORT}
    proved = {
        "chosen": errand["chosen"],
        "limit": errand["drill_limit"],
        "user": errand["drill_user"],
        "verify": errand["verify"],
        **drilling_identity(run.plan, str(errand["host"]), str(errand["source"])),
    }
    return {"step": "drill" if errand["arrived"] else "abandon", "base": errand["away"], **proved, **_priority(errand)}


def _priority(errand: Mapping[str, Any]) -> Options:
    return {name: errand[name] for name in ("nice", "ionice")}


def _carry(run: Run, about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options | None:
    """Return options to carry, through the controller, what a drill, a restore, a refill or a healing needs."""
    if about["stage"] == "heal":
        return _carry_to_heal(run, about)
    if about["stage"] == "refill":
        return _refill(run, about)
    if about["stage"] == "rekey":
        return _carry_rekeyed(run, about, back=rekey_of(run, about)["is_wanted"])
    found = errand_of(run, about) if about["stage"] == "drill" else order_of(run, about)
    carry = found["carry"]
    return {
        **{name: carry[name] for name in ("origin", "destination", "relpaths")},
        **{f"{end}_ssh_args": reached_with(run.hostvars, carry[end]["node"]) for end in ("origin", "destination")},
        "size": found["size"],
        **({"tree": True} if about["stage"] == "drill" else {"step_timeout": found["seconds"]}),
    }


def _refill(run: Run, about: Mapping[str, Any]) -> Options | None:
    """Return options to carry to a target what it asked for of another target's tarballs."""
    offer = transfers.refill_offer(run.state, about["label"])
    if not offer:
        return None
    places = {
        "origin": (about["from"], run.tree({**about, "node": about["from"]})["base"]),
        "destination": (about["node"], os.path.join(incoming_folder(run.plan, run.host, about["node"]), CARRIED)),
    }
    return {
        **{end: {**reached_by(run.hostvars, run.plan, node), "folder": path} for end, (node, path) in places.items()},
        **{f"{end}_ssh_args": reached_with(run.hostvars, node) for end, (node, _) in places.items()},
        "relpaths": [entry["relpath"] for entry in offer],
        "size": sum({entry["dig"]: entry["size"] for entry in offer}.values()),
        "tree": True,
    }


def _carry_to_heal(run: Run, about: Mapping[str, Any]) -> Options:
    errand = heal_errand_of(run, about)
    holder, node = errand["holder"].partition(" ")[2], errand["node"]
    peers = {name: reached_by(run.hostvars, run.plan, name) for name in (holder, node)}
    ends = (("origin", holder), ("destination", node))
    return {
        **heal.carry_of(errand, run.state["holders"][errand["holder"]]["base"], peers),
        **{f"{end}_ssh_args": reached_with(run.hostvars, name) for end, name in ends},
    }


def _heal(run: Run, about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options:
    is_own = about["role"] == "source"
    return {
        "base": about["base"],
        "tarballs": heal_errand_of(run, about)["tarballs"],
        "origin": {} if is_own else origin(run.plan, about["source"], run.state),
        "run": {**run.plan["run"], **_OF_NO_RUN},
    }


def _contents(run: Run, about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options:
    reading = reading_of(run, about)
    opened = drilling_identity(run.plan, str(reading["server"]), str(reading["source"]))
    return {**reading["options"], "user": run.plan["nodes"][run.host]["drill_user"], **opened}


def _find(run: Run, about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options | None:
    if about.get("stage") == "contents":
        return {"trees": contents.searches(run.plan, run.host), "step_timeout": SHORT}
    if about:
        tree = {name: about[name] for name in ("source", "base")}
        keys = heal.keys_of(run.state["rotten"])
        return {"trees": [{**tree, "own": about["role"] == "source", "keys": keys}], "step_timeout": SHORT}
    searches = restore.plan_restores(run.plan, list(run.hostvars))["searches"]
    return {"trees": searches[run.host], "step_timeout": SHORT} if run.host in searches else None


def _restore(run: Run, about: Mapping[str, Any], given: Mapping[str, Any]) -> Options:
    """Return the options of a restore's step; without a step, restore what arrived, or else remove what was prepared."""
    order = order_of(run, about)
    options = {**order["restore"], "step_timeout": order["seconds"]}
    if given.get("step") != "look":  # that is where the tarball lies
        options |= _identity_for(run, order)
    if given.get("step") == "prepare":
        return {**options, "step_timeout": min(SHORT, order["seconds"])}
    if given.get("step") == "look":
        return {**options, "base": order["held_in"]}
    return options if "step" in given else {**options, "step": "restore" if order["arrived"] else "abandon"}


def _identity_for(run: Run, order: Mapping[str, Any]) -> Options:
    """Return what opens the tarballs of an order, where it is to be restored."""
    if not run.plan.get("identity_file"):
        return {}
    relpaths = [entry["relpath"] for entry in order["restore"]["tarballs"]]
    return dict(handed_identity(run.plan, order["host"], relpaths, order["restore"]["origin"]["source"]))


def _adopt(run: Run, _about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options | None:
    adoptions = restore.plan_restores(run.plan, list(run.hostvars))["adoptions"]
    return {"path": adoptions[run.host]} if run.host in adoptions else None


def _store_fetch(run: Run, about: Mapping[str, Any], given: Mapping[str, Any]) -> Options:
    """List a store, find in it what is ordered, or bring that, as the task says."""
    if given["step"] in ("find", "list"):
        name, source, more = (
            about["node"],
            about["source"],
            {"keys": about.get("keys", []), "day": run.plan["list_day"]},
        )
    elif about["stage"] == "contents":
        reading = reading_of(run, about)
        name, source, more = reading["store"], reading["source"], {"tarballs": reading["fetch"]}
    else:
        order = order_of(run, about)
        tarballs = [
            {key: entry[key] for key in ("relpath", "size", "dig", "alg")} for entry in order["restore"]["tarballs"]
        ]
        name, source, more = order["store"], order["source"], {"tarballs": tarballs}
    base = stores.tree_in(run.plan, name, source)["base"]
    limit = run.plan["stores"][name]["step_timeout"]
    return {"store": stores.told(run.plan, name), "base": base, "source": source, "step_timeout": limit, **more}


def _store_drill(run: Run, about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options:
    """Prove a few items of what a store has, on the node that fills it."""
    name, source, server = str(about["node"]), str(about["source"]), str(about["server"])
    plan, store = run.plan, run.plan["stores"][name]
    tree, node = stores.tree_in(plan, name, source), plan["nodes"][server]
    return {
        "store": stores.told(plan, name),
        "base": tree["base"],
        "source": source,
        "names": tree["item_keys"],
        "remembered": tree["discover"],
        "items": store["drill"],
        "limit": node["drill_limit"],
        "folder": "" if node["drill_host"] else node["drill_folder"],  # else it is one of that host
        "user": node["drill_user"],
        "verify": tree["verify"],
        **drilling_identity(plan, server, source),
        "step_timeout": store["step_timeout"],
        "run": {**plan["run"], **_OF_NO_RUN},
    }


def _store(run: Run, about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options:
    """Fill, check or purge a store by what its node holds of a source, as the task says."""
    name, source = str(about["node"]), str(about["source"])
    plan, store = run.whole_plan, run.plan["stores"][name]
    tree = next(tree for tree in plan["stores"][name]["trees"] if tree["source"] == source)
    return {
        "store": stores.told(plan, name),
        "base": tree["base"],
        "source": source,
        "scope": plan["nodes"][tree["server"]]["check_scope"],
        "reverify_days": store["reverify_days"],
        "day": plan["day"],
        "expect": tree["expect"],
        "items": tree["item_keys"],
        "keep": tree["keeps"] or store["keep"],
        "rules": tree["rules"],
        "marks": marks(run, source),
        "confirm": plan["purge_confirm"],
        "adopt": name in plan["adopted_nodes"],
        "guides": guides(),
        "predicted": run.state["predicted"],
        "step_timeout": store["step_timeout"],
        "run": {**plan["run"], **_OF_NO_RUN},
    }


COMPLETED: dict[str, Callable[[Run, Mapping[str, Any], Mapping[str, Any]], Options | None]] = {
    "node_examine": _examine,
    "preflight": _preflight,
    "restore_adopt": _adopt,
    "run_lock": _lock,
    "store_drill": _store_drill,
    "store_fetch": _store_fetch,
    "store_sync": _store,
    "tarball_accept": _accept,
    "tarball_carry": _carry,
    "tarball_check": _check,
    "tarball_contents": _contents,
    "tarball_drill": _drill,
    "tarball_drill_away": _drill_away,
    "tarball_dump": _dump,
    "tarball_find": _find,
    "tarball_heal": _heal,
    "tarball_list": _list,
    "tarball_mark": _mark,
    "tarball_prepare": _prepare,
    "tarball_purge": _purge,
    "tarball_rekey": _rekey,
    "tarball_restore": _restore,
    "tarball_send": _send,
    "tarball_undo": _undo,
}
"""{module: returns the options of its calls}, for every module that stages call"""
