"""The options of calls that carry tarballs through the controller, or heal a tree with what was carried."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ...module_utils.synchronize.offer import CARRIED
from ..planning import heal, transfers
from ..planning.connections import incoming_folder
from ..planning.reaching import controller_peer, controller_ssh_args
from ..planning.trees import origin
from .handed import OF_NO_RUN, Options
from .loops import errand_of, heal_errand_of, order_of, rekey_of
from .rekey_options import carry_rekeyed
from .run import Run


def carry_options(run: Run, about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options | None:
    """Return options to carry, through the controller, what a drill, a restore, a refill, a healing or an encryption anew needs."""
    if about["stage"] == "heal":
        return _carry_to_heal(run, about)
    if about["stage"] == "refill":
        return _refill(run, about)
    if about["stage"] == "rekey":
        return carry_rekeyed(run, about, back=rekey_of(run, about)["is_wanted"])
    found = errand_of(run, about) if about["stage"] == "drill" else order_of(run, about)
    carry = found["carry"]
    return {
        **{name: carry[name] for name in ("origin", "destination", "relpaths")},
        **{
            f"{end}_ssh_args": controller_ssh_args(run.hostvars, carry[end]["node"])
            for end in ("origin", "destination")
        },
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
        **{
            end: {**controller_peer(run.hostvars, run.plan, node), "folder": path}
            for end, (node, path) in places.items()
        },
        **{f"{end}_ssh_args": controller_ssh_args(run.hostvars, node) for end, (node, _) in places.items()},
        "relpaths": [entry["relpath"] for entry in offer],
        "size": sum({entry["dig"]: entry["size"] for entry in offer}.values()),
        "tree": True,
    }


def _carry_to_heal(run: Run, about: Mapping[str, Any]) -> Options:
    errand = heal_errand_of(run, about)
    holder, node = errand["holder"].partition(" ")[2], errand["node"]
    peers = {name: controller_peer(run.hostvars, run.plan, name) for name in (holder, node)}
    ends = (("origin", holder), ("destination", node))
    return {
        **heal.carry_of(errand, run.state["holders"][errand["holder"]]["base"], peers),
        **{f"{end}_ssh_args": controller_ssh_args(run.hostvars, name) for end, name in ends},
    }


def heal_options(run: Run, about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options:
    is_own = about["role"] == "source"
    return {
        "base": about["base"],
        "tarballs": heal_errand_of(run, about)["tarballs"],
        "origin": {} if is_own else origin(run.plan, about["source"], run.state),
        "run": {**run.plan["run"], **OF_NO_RUN},
    }
