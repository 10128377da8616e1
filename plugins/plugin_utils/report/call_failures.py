"""Failures of one call: those that its module reports, an unreachable node, and a module that ended without a result."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping, Sequence
from typing import Any

from ...module_utils.tree.failures import KEYS, unframed
from .bounds import shortened
from .call_results import CallResult, calls_of


def failures_of(registered: Mapping[str, Any], stage: str, node: str) -> list[dict[str, Any]]:
    """Return the failures in what a task registered: those that modules report, unreachable nodes, and crashed calls."""
    return [entry for call in calls_of(registered, node) for entry in failures_in(call, stage)]


def failures_in(call: CallResult, stage: str) -> list[dict[str, Any]]:
    result = call.values
    entries: list[Mapping[str, Any]] = call.entries("failures")
    if result.get("unreachable"):
        entries = [{"reason": unreachable(result)}]
    elif result.get("failed") and not entries:
        entries = [{"reason": _reason(result), "rc": result.get("rc"), "stderr": _tail(result)}]
    found = []
    for entry in [*entries, *_unsaid(call, entries)]:
        whole = {**dict.fromkeys(KEYS, ""), "rc": None, **entry, "node": call.host}
        whole["stage"] = entry.get("stage") or stage
        whole["delegate"] = call.delegate or str(entry.get("delegate") or "")
        whole["tree"] = call.tree
        if call.delegate and entry.get("node") == call.delegate:  # the target reports it to each source
            whole.update(node=call.delegate, delegate="", tree="")
        found.append(whole)
    return found


def _unsaid(call: CallResult, told: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a failure for each base that a call reports as unusable, and each peer as unreachable, without giving a reason."""
    found: list[dict[str, Any]] = []
    unusable = call.entries("unusable")
    if (call.values.get("usable") is False or unusable) and not told:
        what = ", ".join(map(shortened, unusable[:10])) or "it"
        found.append({"reason": f"says that {what} cannot be used, and not why"})
    about = {entry.get("delegate") for entry in told}
    peers = [] if call.delegate else call.entries("unreachable_peers")
    reason = "says that it cannot reach this one, and not why"
    return [*found, *({"reason": reason, "delegate": peer} for peer in peers if peer not in about)]


def unreachable(result: Mapping[str, Any]) -> str:
    """Return why a call did not reach its node; the first line is the message of ssh, if it gave one."""
    message = unframed(_text(result.get("msg"))).removeprefix("Task failed: ")
    if message.endswith(":"):
        message = f"{message[:-1]}; ssh said nothing"
    return f"unreachable: {message}"


def _text(value: object) -> str:
    return str(value).strip() if value not in (None, "") else "it said nothing"


_SAID = ("module_stderr", "stderr", "module_stdout", "stdout")
_NO_PYTHON = re.compile(
    r"[^\n]*?(\S*python[\d.]*): (?:command |inaccessible or )?(?:not found|No such file or directory|Permission denied)"
)


def _reason(result: Mapping[str, Any]) -> str:
    """Return why a call failed: its message, or how its module ended if it gave no result."""
    if "module_stdout" not in result:
        return _text(result.get("msg"))
    code = result.get("rc")
    number = abs(code) % 128 if isinstance(code, int) and (code < 0 or code > 128) else 0
    ended = f"exit code {code}"
    if number in set(signal.Signals):
        ended = f"killed by {signal.Signals(number).name}"
        ended += " (was memory short? the kernel's log of that node tells)" if number == signal.SIGKILL else ""
    last = next(reversed(_tail(result).strip().splitlines()), "")
    if code in (126, 127) and (python := _NO_PYTHON.search("\n".join(str(result.get(key) or "") for key in _SAID))):
        return (
            f"Python is missing on this node, or ansible_python_interpreter names another place ({python[1]}): install python3 there, or "
            f"set that variable to where it is: {python[0].strip()}"
        )
    return f"the module ended without a result: {ended}{f': {last.strip()}' if last else ''}"


def _tail(result: Mapping[str, Any]) -> str:
    return str(result.get("module_stderr") or result.get("stderr") or result.get("module_stdout") or "")[-4096:]
