# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of set-up: thin, what they return is made in plugin_utils."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..plugin_utils.planning import setup
from ..plugin_utils.planning.filter_values import guarded, plain, untrusted
from ..plugin_utils.planning.reaching import ssh_args

_ROOT = str(Path(__file__).resolve().parents[2])


def setup_pairs(
    planned: Mapping[str, Any], source: str, hostvars: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Given the plan, a source and hostvars, return the pairs of that source over ssh."""
    found = setup.pairs(plain(planned), str(source))
    return untrusted([{**pair, "ssh_args": ssh_args(hostvars, pair["dials"])} for pair in found])


def setup_node(planned: Mapping[str, Any], node: str, family: str = "") -> dict[str, Any]:
    """Given the plan, a node and its family of distributions, return what it needs."""
    return untrusted(setup.node_setup(plain(planned), str(node), str(family)))


def setup_jobs(planned: Mapping[str, Any], node: str, inventories: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Given the plan and a node, return its jobs; with inventories those of the controller."""
    if inventories:
        return untrusted(setup.jobs(plain(planned), plain(inventories), _ROOT, dict(os.environ)))
    return untrusted(setup.watch_jobs(plain(planned), str(node)))


def setup_report(pair: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Given a pair and what was returned of it, return `failures` and `line`."""
    return untrusted(setup.pair_report(plain(pair), plain(results)))


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return them by name."""
        return {
            function.__name__: guarded(function) for function in (setup_pairs, setup_node, setup_jobs, setup_report)
        }
