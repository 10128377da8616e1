# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters with which the stage roles gather what their module calls returned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible import context

from ..module_utils.system.visible import one_line
from ..plugin_utils.planning import connections, transfers, trees
from ..plugin_utils.planning.filter_values import guarded, untrusted
from ..plugin_utils.report import outcomes
from ..plugin_utils.report.night_table import night_rows, without_covered


def states_of(hostvars: Mapping[str, Any]) -> dict[str, Any]:
    """Given hostvars, return {node: what this run knows of it}."""
    return {node: hostvars[node]["__altbackup_run"] for node in hostvars if "__altbackup_run" in hostvars[node]}


def outcome(hostvars: Mapping[str, Any], plan: Mapping[str, Any]) -> dict[str, Any]:
    """Given hostvars and the plan, return all failures that this run recorded, what it did, and its inventory.

    What it did is told in lines (`fine`), and the same as rows of a table and the lines that these do not cover (`told`).
    """
    states = states_of(hostvars)
    return untrusted(
        {
            "failures": outcomes.all_failures(states.values()),
            "fine": outcomes.summary(plan, states),
            "purged": outcomes.purges(states.values()),
            "looked": outcomes.all_looked(states.values()),
            "table": night_rows(states),
            "told": outcomes.summary(plan, without_covered(states)),
            "inventory": one_line(", ".join(map(str, context.CLIARGS.get("inventory") or ()))),
        }
    )


def all_listed(hostvars: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Given hostvars, return all tarballs that list found on the nodes of this run."""
    found = [entry for node in hostvars for entry in outcomes.listed(hostvars[node].get("__list_result") or {}, node)]
    return [{key: entry[key] for key in outcomes.LISTED_KEYS} for entry in found]


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return them by name."""
        functions = (
            outcomes.record,
            outcomes.record_check,
            trees.open_trees,
            trees.source_trees,
            trees.serving_rounds,
            trees.node_trees,
            transfers.sendable,
            transfers.deliveries,
            transfers.deliveries_again,
            trees.busy_trees,
            transfers.unlisted,
            outcomes.report,
            trees.base_owners,
            trees.origin,
            trees.node_bases,
            connections.peers,
            connections.source_peers,
            outcomes.without_keys,
            outcomes.listed,
            outcomes.table,
            all_listed,
            outcome,
        )
        return {function.__name__: guarded(function) for function in functions}
