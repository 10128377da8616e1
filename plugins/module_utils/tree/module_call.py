"""A module's call, from its function to its exit. The AnsibleModule is handed in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .failures import as_failures, summarize, with_good

CALL: dict[str, Any] = {"fail": {"type": "bool", "default": True}}
"""Argument spec of every module's call: whether failures make it fail, or are only returned"""


def run_module(
    module: Any,
    stage: str,
    empty: Mapping[str, Any],
    function: Callable[[], dict[str, Any]],
    *,
    good: Mapping[str, Any] | None = None,
) -> None:
    """Call a module's function and exit with its result; `module` is an AnsibleModule.

    The keys of `empty`, the result if nothing was done, and `changed` and `failures` are always returned. With `good`, the options of what
    was looked at, each failure has the last good copy of its item, see with_good.
    """
    result = {"changed": False, "failures": [], **empty, **as_failures(stage, empty, function)}
    if good is not None:
        result = with_good(result, good)
    if result["failures"] and module.params["fail"]:
        module.fail_json(msg=summarize(result["failures"]), **result)
    module.exit_json(**result)
