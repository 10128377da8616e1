"""The options of calls that find, read, restore and drill tarballs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...module_utils.tree.encryption import shared_proof
from ..planning import contents, heal, restore
from .handed import OF_NO_RUN, SHORT, Options
from .identities import drilling_identity, handed_identity
from .loops import errand_of, order_of, reading_of
from .run import Run


def drill_options(run: Run, about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options | None:
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
        "run": {**run.plan["run"], **OF_NO_RUN},
    }


def drill_away_options(run: Run, about: Mapping[str, Any], given: Mapping[str, Any]) -> Options:
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


def contents_options(run: Run, about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options:
    reading = reading_of(run, about)
    opened = drilling_identity(run.plan, str(reading["server"]), str(reading["source"]))
    return {**reading["options"], "user": run.plan["nodes"][run.host]["drill_user"], **opened}


def find_options(run: Run, about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options | None:
    if about.get("stage") == "contents":
        return {"trees": contents.searches(run.plan, run.host), "step_timeout": SHORT}
    if about:
        tree = {name: about[name] for name in ("source", "base")}
        keys = heal.keys_of(run.state["rotten"])
        return {"trees": [{**tree, "own": about["role"] == "source", "keys": keys}], "step_timeout": SHORT}
    searches = restore.plan_restores(run.plan, list(run.hostvars))["searches"]
    return {"trees": searches[run.host], "step_timeout": SHORT} if run.host in searches else None


def restore_options(run: Run, about: Mapping[str, Any], given: Mapping[str, Any]) -> Options:
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


def adopt_options(run: Run, _about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options | None:
    adoptions = restore.plan_restores(run.plan, list(run.hostvars))["adoptions"]
    return {"path": adoptions[run.host]} if run.host in adoptions else None
