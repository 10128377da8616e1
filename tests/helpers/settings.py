"""Settings of a source, and what is wrong with some."""

from __future__ import annotations

from typing import Any

from ansible_collections.altbackup.core.plugins.plugin_utils.planning.settings import validate

SOURCE = {"altbackup_base": "/backup", "altbackup_targets": ["cms01"]}
"""The required settings of a source"""


def problems_of(entry: str, values: dict[str, Any]) -> list[str]:
    """Return the problems of an entry point's variables, each with its variable."""
    return [f"{problem.variable} {problem.text}" for problem in validate(entry, values)[1]]
