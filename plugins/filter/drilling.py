# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of drills on a scratch host: thin, what is decided is decided in plugin_utils."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..plugin_utils.planning import drill
from ..plugin_utils.planning.filter_values import guarded, plain, untrusted
from ..plugin_utils.planning.reaching import reached_by


def drill_errands(
    hostvars: Mapping[str, Mapping[str, Any]], plan: Mapping[str, Any], node: str, chosen: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Given hostvars, the plan, a node and what choosing registered there, return what is to be drilled on its scratch host."""
    ends = (str(node), str(plan["nodes"][node]["drill_host"]))
    peers = {host: reached_by(hostvars, plan, host) for host in ends}
    return untrusted(drill.plan_errands(plain(chosen), peers))


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return them by name."""
        functions = (drill_errands, drill.drill_ready, drill.record_drill)
        return {function.__name__: guarded(function) for function in functions}
