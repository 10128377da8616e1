"""What the plan of a run says of a call: the run it belongs to, its moment, its limits and its priority."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_RUN = ("run",)
_MOMENT = ("stamp", "clock", "timezone")
_LIMIT = ("step_timeout",)
_PRIORITY = ("nice", "ionice")
_ALL = (*_RUN, *_MOMENT, *_LIMIT, *_PRIORITY)
_WITHOUT_LIMIT = ("restore_adopt",)
TAKES: dict[str, tuple[str, ...]] = {
    "dna_verify": (*_MOMENT, *_LIMIT, *_PRIORITY),
    "node_examine": (*_LIMIT, *_PRIORITY),
    "preflight": (*_RUN, *_LIMIT, *_PRIORITY),
    "restore_adopt": (),
    "run_lock": _RUN,
    "store_fetch": (*_MOMENT, *_LIMIT, *_PRIORITY),
    "store_sync": _ALL,
    "tarball_accept": _ALL,
    "tarball_carry": _LIMIT,
    "tarball_check": _ALL,
    "tarball_contents": (*_LIMIT, *_PRIORITY),
    "tarball_count": (*_MOMENT, *_LIMIT, *_PRIORITY),
    "tarball_drill": _ALL,
    "tarball_drill_away": _ALL,
    "tarball_dump": _ALL,
    "tarball_heal": _ALL,
    "tarball_find": (*_RUN, *_LIMIT, *_PRIORITY),
    "tarball_list": (*_MOMENT, *_LIMIT, *_PRIORITY),
    "tarball_mark": (*_RUN, *_LIMIT, *_PRIORITY),
    "tarball_prepare": _ALL,
    "tarball_purge": _ALL,
    "tarball_restore": (*_RUN, "stamp", *_LIMIT, *_PRIORITY),
    "tarball_send": (*_RUN, *_LIMIT, *_PRIORITY),
    "tarball_undo": _ALL,
}
"""The options of each module that a plan gives, if the call does not"""
GRACE = 60
"""Seconds after its own limit at which a call is ended from here"""
SHORT = 240
"""Seconds that a call may take that only looks, or notes something"""


def handed(module: str, plan: Mapping[str, Any], host: str, node: str) -> dict[str, Any]:
    """Given a module's short name, the plan, the host in the play and the node of the call, return options as the plan has them.

    The limit is the host's, in seconds, the priority the node's own. A module of which no plan says anything gets none.
    """
    if module not in TAKES:
        return {}
    nodes = plan["nodes"]
    known = {
        **{name: plan[name] for name in (*_RUN, *_MOMENT)},
        **({"step_timeout": int(nodes[host]["step_timeout"])} if host in nodes else {}),
        **{name: nodes[node][name] for name in _PRIORITY if node in nodes},
    }
    return {**{name: known[name] for name in TAKES[module] if name in known}, "fail": False}


def bound(module: str, plan: Mapping[str, Any], host: str, options: Mapping[str, Any]) -> int:
    """Given a module's short name, the plan, the host in the play and the options of a call, return the seconds after which it is ended.

    That is its own limit, or the host's, and a minute for it to end by itself; 0 for none, where neither is known.
    """
    own = SHORT if module in _WITHOUT_LIMIT else options.get("step_timeout")
    limit = own or plan["nodes"].get(host, {}).get("step_timeout") or 0
    return int(float(limit)) + GRACE if limit else 0
