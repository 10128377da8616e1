# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of setup.yml, which call `plugin_utils.planning`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..plugin_utils.planning import setup
from ..plugin_utils.planning.filter_values import guarded, plain, untrusted

_ROOT = str(Path(__file__).resolve().parents[2])


def setup_node(planned: Mapping[str, Any], node: str, family: str = "") -> dict[str, Any]:
    """Return what a node needs; `family` is its family of distributions."""
    return untrusted(setup.node_setup(plain(planned), str(node), str(family)))


def setup_jobs(planned: Mapping[str, Any], node: str, inventories: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return the scheduled jobs of a node, with inventories those of the controller, too, which may be a target."""
    given = plain(planned)
    own = setup.jobs(given, plain(inventories), _ROOT, sys.executable, dict(os.environ)) if inventories else []
    return untrusted([*own, *setup.watch_jobs(given, str(node))])


def setup_lines(
    made: Sequence[Mapping[str, Any]], node: str, starter: str = "", check_mode: bool = False, removed: bool = False
) -> list[str]:
    """Return a line for each base, from what marked_base said of it, or, with the starter of jobs, for each job whose entry was changed."""
    done, where = plain(made), str(node)
    if not starter:
        return untrusted(setup.base_lines(done, where, bool(check_mode)))
    return untrusted(setup.job_lines(done, where, str(starter), bool(check_mode), removed=bool(removed)))


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return {name: filter}."""
        return {function.__name__: guarded(function) for function in (setup_node, setup_jobs, setup_lines)}
