"""The options of calls that fill stores, fetch from them and drill them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..planning import stores
from .backup_options import guides, marks
from .handed import OF_NO_RUN, Options
from .identities import drilling_identity
from .loops import order_of, reading_of
from .run import Run


def store_fetch_options(run: Run, about: Mapping[str, Any], given: Mapping[str, Any]) -> Options:
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
    return {"store": stores.module_store(run.plan, name), "base": base, "source": source, "step_timeout": limit, **more}


def store_drill_options(run: Run, about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options:
    """Prove a few items of what a store has, on the node that fills it."""
    name, source, server = str(about["node"]), str(about["source"]), str(about["server"])
    plan, store = run.plan, run.plan["stores"][name]
    tree, node = stores.tree_in(plan, name, source), plan["nodes"][server]
    return {
        "store": stores.module_store(plan, name),
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
        "run": {**plan["run"], **OF_NO_RUN},
    }


def store_options(run: Run, about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options:
    """Fill, check or purge a store by what its node holds of a source, as the task says."""
    name, source = str(about["node"]), str(about["source"])
    plan, store = run.whole_plan, run.plan["stores"][name]
    tree = next(tree for tree in plan["stores"][name]["trees"] if tree["source"] == source)
    return {
        "store": stores.module_store(plan, name),
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
        "run": {**plan["run"], **OF_NO_RUN},
    }
