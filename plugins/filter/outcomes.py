# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that show a person the outcome of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..plugin_utils.planning.filter_values import guarded
from ..plugin_utils.report import run_summary, tarball_table


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return {name: filter}."""
        return {function.__name__: guarded(function) for function in (run_summary.report, tarball_table.table)}
