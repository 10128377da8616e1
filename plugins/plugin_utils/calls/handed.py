"""The options that a plan gives to a call: its run, its moment, its limit and its priority."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_RUN = ("run",)
_MOMENT = ("stamp", "clock", "timezone")
_LIMIT = ("step_timeout",)
_PRIORITY = ("nice", "ionice")
_ALL = (*_RUN, *_MOMENT, *_LIMIT, *_PRIORITY)
_WITHOUT_LIMIT = ("marked_base", "pair_access", "pair_key", "restore_adopt")
TAKES: dict[str, tuple[str, ...]] = {
    "dna_verify": (*_MOMENT, *_LIMIT, *_PRIORITY),
    "node_examine": (*_LIMIT, *_PRIORITY),
    "pair_access": (),
    "pair_key": (),
    "preflight": (*_RUN, *_LIMIT, *_PRIORITY),
    "restore_adopt": (),
    "run_lock": _RUN,
    "store_drill": _ALL,
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
    "tarball_rekey": _ALL,
    "tarball_restore": (*_RUN, "stamp", *_LIMIT, *_PRIORITY),
    "tarball_send": (*_RUN, *_LIMIT, *_PRIORITY),
    "tarball_undo": _ALL,
}
"""{module: options that the plan gives unless the call does}"""

Options = dict[str, Any]
OF_NO_RUN = {"seconds": 0}
"""For a run whose calls do not keep a tree locked between them"""
GRACE = 60
"""Seconds after a call's own limit at which the controller ends it"""
SHORT = 240
"""Limit in seconds of a call that only inspects or records something"""


def handed(module: str, plan: Mapping[str, Any], host: str, node: str) -> dict[str, Any]:
    """Return the plan's options for a call; `module` is the short name, `host` in the play, `node` where the call runs.

    The limit is the host's, in seconds, the priority the node's. A module that is not in TAKES gets none.
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
    """Return the seconds after which a call is ended; `module` is the short name, `host` in the play.

    That is the call's own limit or the host's, plus GRACE in which it may end by itself; 0, for none, if neither is known.
    """
    own = SHORT if module in _WITHOUT_LIMIT else options.get("step_timeout")
    limit = own or plan["nodes"].get(host, {}).get("step_timeout") or 0
    return int(float(limit)) + GRACE if limit else 0
