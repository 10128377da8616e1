"""The options of each call of a module, as the plan and what the run has found so far have them: pure, but for the clock.

Each function takes the run, what the call is about (an entry of loops.py, empty for the host itself) and the options that the task
gives, and returns the options that it lacks; None where there is nothing to do.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..planning import purge_plan, restore
from ..planning.connections import peers, source_peers
from ..planning.reaching import reached_with, ssh_args
from ..planning.trees import base_owners, node_bases, node_trees, origin
from .handed import SHORT
from .loops import deliveries, errand_of, order_of
from .run import Run

Options = dict[str, Any]
_GUIDES = Path(__file__).resolve().parents[3] / "roles" / "synchronize" / "files"
_OF_NO_RUN = {"seconds": 0}
"""Of a run whose calls do not keep a tree between them"""


def options_of(module: str, run: Run, about: Mapping[str, Any], given: Mapping[str, Any]) -> Options | None:
    """Given a module's short name, return the options of its call, as told above. A module that needs none has none."""
    complete = COMPLETED.get(module)
    return complete(run, about, given) if complete else {}


def _preflight(run: Run, about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options:
    return _preflight_of_target(run, about) if about else _preflight_of_host(run)


def _preflight_of_host(run: Run) -> Options:
    plan, host, locked = run.plan, run.host, run.plan["locked"]
    source = plan["sources"].get(host, {})
    return {
        "bases": [source["base"]] if locked else node_bases(plan, host),
        "owners": base_owners(plan, host),
        "ext": source.get("ext", ""),
        "discover": source.get("discover", {}),
        "trees": [] if locked else node_trees(plan, host),
        "items": source.get("items", []),
        "peers": peers(plan, host) if source else [],
        "ssh_args": ssh_args(run.hostvars, host) if source else "",
        "now": time.time(),
        "locks": [source["base"]] if locked else [],
    }


def _preflight_of_target(run: Run, about: Mapping[str, Any]) -> Options:
    plan, host, node = run.plan, run.host, about["node"]
    is_up = host not in run.state["down"]
    return {
        "bases": [plan["targets"][node]["target_base"]],
        "owners": base_owners(plan, node),
        "trees": [{**run.tree(about), "origin": origin(plan, host, run.state)}],
        "peers": source_peers(plan, host, node) if is_up else [],
        "ssh_args": ssh_args(run.hostvars, node),
        "fetch": True,
        "now": time.time(),
        "locks": [about["base"]] if plan["locked"] and is_up else [],
    }


def _lock(_run: Run, about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options:
    return {"bases": [about["base"]]}


def _dump(run: Run, _about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options:
    source, targets = run.source, run.plan["targets"]
    copies = [targets[name]["target_base"] for name in targets if name in (run.host, *source["local_targets"])]
    taken = ("base", "items", "ext", "compress_level", "algorithm", "verify_every")
    return {**{name: source[name] for name in taken}, "received": list(dict.fromkeys(filter(None, copies)))}


def _check(run: Run, about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options:
    tree = run.tree(about)
    return {
        "base": tree["base"],
        **_checking(run, tree),
        "predicted": run.state["predicted"],
        "listing": bool(run.plan["locked"] and tree["role"] == "source"),
    }


def _checking(run: Run, tree: Mapping[str, Any]) -> Options:
    """Return what is to be verified and counted of a tree."""
    return {
        "day": run.plan["day"],
        "scope": tree["check_scope"],
        "expect": tree["expect"],
        "items": tree["keys"],
        "source": tree["source"],
        "remembered": tree["discover"],
        "proof_age": tree["proof_age"],
        "node": tree["node"],
    }


def _list(run: Run, about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options | None:
    """List a tree for the user; or, of a source that no check has listed, what there is to send."""
    if about:
        return {"base": about["base"], "day": run.plan["list_day"]}
    if run.state["offer"] is not None:
        return None
    is_asked = not run.state["failures"] and not run.state["predicted"]
    return {"base": run.source["base"], "expected": run.plan["day"] if is_asked else "", "records": True}


def _prepare(run: Run, about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options:
    tree, node = run.tree(about), about["node"]
    return {
        "base": tree["base"],
        "tarballs": run.state["offer"],
        "day": run.plan["day"],
        "origin": origin(run.plan, run.host, run.state),
        "keep": tree["keep"],
        "keeps": tree["keeps"],
        "rules": tree["rules"],
        "items": tree["keys"],
        "discovered": run.state["discovered"],
        "predicted": run.state["predicted"],
        "guides": guides(),
        "basis": node not in run.source["local_targets"],
        "slots": run.plan["targets"][node]["slots"],
    }


@functools.cache
def guides() -> dict[str, str]:
    """Return the files that each target has beside its copies, for a restore with nothing else at hand: {name: text}."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(_GUIDES.iterdir()) if path.is_file()}


def _send(run: Run, _about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options | None:
    targets = [{name: entry[name] for name in ("tarballs", "fetched", "peer")} for entry in deliveries(run)]
    if not targets:
        return None
    return {"base": run.source["base"], "targets": targets, "ssh_args": ssh_args(run.hostvars, run.host)}


def _accept(run: Run, about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options | None:
    """Bytes that arrive otherwise are sent once more, and not a second time, whatever the target says."""
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
    """Purge what a check of this run has passed; on a target that is part of the call.

    A purge by itself reads what would count, instead. In check mode it says why each tarball stays, and where somebody reviewed that,
    nothing else goes than what he has seen.
    """
    tree, locked = run.tree(about), bool(run.plan["locked"])
    is_own = tree["role"] == "source"
    options = {
        "base": tree["base"],
        "keep": tree["keeps"],
        "rules": tree["rules"],
        "names": list(tree["keeps"]),
        "predicted": run.state["predicted"],
        "verify": not locked,
        "explain": not locked and run.check_mode,
        "unlock": locked,
        "origin": {} if is_own else origin(run.plan, tree["source"], run.known_of(tree["source"])),
    }
    if not locked:
        alone: Options = {"run": {**run.plan["run"], **_OF_NO_RUN}}
        if run.reviewed is not None and not run.check_mode:
            alone["only"] = purge_plan.of_tree(run.reviewed, tree)
        return {**options, **alone, "remembered": tree["keep"] if tree["discover"] else 0}
    if not is_own:
        return {**options, "check": _checking(run, tree)}
    passed = run.state["passed"].get("/".join((tree["node"], tree["source"], tree["role"])), [])
    return {**options, "names": [name for name in passed if name in tree["keeps"]]}


def _drill(run: Run, about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options:
    tree = run.tree(about)
    return {
        "base": tree["base"],
        "names": tree["keys"],
        "remembered": tree["discover"],
        **{name: tree[f"drill_{name}"] for name in ("share", "limit", "folder", "user")},
        "run": {**run.plan["run"], **_OF_NO_RUN},
    }


def _drill_away(run: Run, about: Mapping[str, Any], given: Mapping[str, Any]) -> Options:
    """Where no step is given, what arrived is drilled, and else its folder removed."""
    step = given.get("step")
    if step == "choose":
        tree = run.tree(about)
        return {
            "base": tree["base"],
            "names": tree["keys"],
            "remembered": tree["discover"],
            "share": tree["drill_share"],
        }
    errand = errand_of(run, about)
    if step == "make":
        return {"base": errand["away"], "size": errand["size"], "step_timeout": SHORT}
    if step == "keep":
        return {"base": errand["base"], "proofs": errand["proofs"], **_priority(errand), "step_timeout": SHORT}
    proved = {"chosen": errand["chosen"], "limit": errand["drill_limit"], "user": errand["drill_user"]}
    return {"step": "drill" if errand["arrived"] else "abandon", "base": errand["away"], **proved, **_priority(errand)}


def _priority(errand: Mapping[str, Any]) -> Options:
    return {name: errand[name] for name in ("nice", "ionice")}


def _carry(run: Run, about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options:
    """Carry what an errand of a drill or an order of a restore needs, by way of the controller."""
    found = errand_of(run, about) if about["stage"] == "drill" else order_of(run, about)
    carry = found["carry"]
    return {
        **{name: carry[name] for name in ("origin", "destination", "relpaths")},
        **{f"{end}_ssh_args": reached_with(run.hostvars, carry[end]["node"]) for end in ("origin", "destination")},
        "size": found["size"],
        **({"tree": True} if about["stage"] == "drill" else {"step_timeout": found["seconds"]}),
    }


def _find(run: Run, _about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options | None:
    searches = restore.plan_restores(run.plan, list(run.hostvars))["searches"]
    return {"trees": searches[run.host], "step_timeout": SHORT} if run.host in searches else None


def _restore(run: Run, about: Mapping[str, Any], given: Mapping[str, Any]) -> Options:
    """Where no step is given, what arrived is restored, and else what was prepared removed."""
    order = order_of(run, about)
    options = {**order["restore"], "step_timeout": order["seconds"]}
    if given.get("step") == "prepare":
        return {**options, "step_timeout": min(SHORT, order["seconds"])}
    if given.get("step") == "look":
        return {**options, "base": order["held_in"]}
    return options if "step" in given else {**options, "step": "restore" if order["arrived"] else "abandon"}


def _adopt(run: Run, _about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options | None:
    adoptions = restore.plan_restores(run.plan, list(run.hostvars))["adoptions"]
    return {"path": adoptions[run.host]} if run.host in adoptions else None


COMPLETED: dict[str, Callable[[Run, Mapping[str, Any], Mapping[str, Any]], Options | None]] = {
    "preflight": _preflight,
    "restore_adopt": _adopt,
    "run_lock": _lock,
    "tarball_accept": _accept,
    "tarball_carry": _carry,
    "tarball_check": _check,
    "tarball_drill": _drill,
    "tarball_drill_away": _drill_away,
    "tarball_dump": _dump,
    "tarball_find": _find,
    "tarball_list": _list,
    "tarball_prepare": _prepare,
    "tarball_purge": _purge,
    "tarball_restore": _restore,
    "tarball_send": _send,
}
"""Every module that the stages call, with what completes its calls"""
