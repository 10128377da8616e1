"""A call of a module, from what it does to how it exits. The module is Ansible's, and is handed in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .failures import as_failures, summarize, with_good

CALL: dict[str, Any] = {"fail": {"type": "bool", "default": True}}
"""What a call of every module may be told: whether what went wrong makes it fail, or is only returned"""


def run_module(
    module: Any,
    stage: str,
    empty: Mapping[str, Any],
    function: Callable[[], dict[str, Any]],
    *,
    good: Mapping[str, Any] | None = None,
) -> None:
    """Given an AnsibleModule, its stage, what it returns where nothing was done, and what it does, do that and exit.

    The keys of `empty`, `changed` and `failures` are always returned. With `good`, the
    options of what was looked at, each failure tells the last good copy of its item, see with_good.
    """
    result = {"changed": False, "failures": [], **empty, **as_failures(stage, empty, function)}
    if good is not None:
        result = with_good(result, good)
    if result["failures"] and module.params["fail"]:
        module.fail_json(msg=summarize(result["failures"]), **result)
    module.exit_json(**result)
