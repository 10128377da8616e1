# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of restore.yml: thin, what is decided is decided in plugin_utils."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..plugin_utils.planning import restore
from ..plugin_utils.planning.filter_values import guarded, plain, untrusted
from ..plugin_utils.planning.reaching import reached_by, reached_with

SPEEDS = "~/.altbackup/restore-speeds.json"


def restore_plan(plan: Mapping[str, Any], hosts: Iterable[str]) -> dict[str, Any]:
    """Given the plan and all hosts, return what is to be restored and adopted, and what is wrong with it."""
    return untrusted(restore.plan_restores(plain(plan), [str(host) for host in hosts]))


def restore_choice(
    hostvars: Mapping[str, Mapping[str, Any]],
    plan: Mapping[str, Any],
    restores: Mapping[str, Any],
    play_hosts: Sequence[str],
) -> dict[str, Any]:
    """Given hostvars, the plan, what is to be restored, and the hosts of the play, return what is taken from where."""
    orders, absent = restore.absent_hosts(plain(restores), [str(host) for host in play_hosts])
    searched = [node for node in restores["searches"] if node in play_hosts]
    found = {str(node): plain(hostvars[node].get("__restore_found") or {}) for node in searched}
    involved = {str(host) for order in orders for host in (order["to_host"], *order["candidates"])}
    peers = {host: reached_by(hostvars, plan, host) for host in involved}
    run = plain(plan.get("run") or {})
    told = {
        "when": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
        "by": f"{run.get('user', '')} on {run.get('controller', '')}",
    }
    choice = restore.choose(plain(plan), orders, found, peers, known_speeds(), told)
    return untrusted({**choice, "failures": [*choice["failures"], *absent]})


def known_speeds() -> dict[str, Any]:
    """Return what former restores of this controller's user took."""
    try:
        with open(os.path.expanduser(SPEEDS), encoding="utf-8") as stream:
            return restore.read_speeds(stream.read(1 << 20))
    except OSError:
        return {}


def restore_speeds(hostvars: Mapping[str, Mapping[str, Any]], choice: Mapping[str, Any]) -> dict[str, Any]:
    """Given hostvars and what was chosen, return the speeds of former restores and of this one."""
    chosen = plain(choice["chosen"])
    hosts = {order["host"] for order in chosen}
    registered = [
        plain(hostvars[host].get(name) or {}) for host in hosts for name in ("__restore_carried", "__restore_restored")
    ]
    return untrusted(restore.learn_speeds(known_speeds(), chosen, restore.seconds_of(registered)))


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return them by name."""
        functions = (
            restore_plan,
            restore_choice,
            restore_speeds,
            reached_with,
            restore.restore_ready,
            restore.record_restore,
        )
        return {function.__name__: guarded(function) for function in functions}
