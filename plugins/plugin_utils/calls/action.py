"""The controller's side of each module call, shared by the action plugins in plugins/action.

With a plan in force it adds the plan's options to the call, limits its time, turns an unreachable node or a crash into a failure of that
node, and records the outcome. What a node returns is reduced to known keys and bounds before anything else sees it.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action.normal import ActionModule as Normal

from ...module_utils.system import compiled_once  # noqa: F401  # isort: skip
from ..planning.filter_values import plain, untrusted
from ..report.results import of_module
from . import run_state
from .handed import bound, handed
from .identities import KeyRefused, require_no_file
from .notes import noted
from .options import COMPLETED, options_of
from .payloads import kept_payload
from .progress_poll import shown_while
from .run import CALL, PLAN, Run, run_of

_OURS = "altbackup.core."
_INTERPRETER = "discovered_interpreter_python"
"""Ansible's fact on where Python is on a node that does not say so"""


class ActionModule(Normal):  # type: ignore[misc]
    """Runs a module as Ansible does. Without a plan the module gets exactly the user's options."""

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        """Run the module; return its result within bounds."""
        variables = task_vars or {}
        host = str(variables.get("inventory_hostname") or "")
        if PLAN not in variables:
            return self._call(host, 0, tmp, task_vars)
        if not str(self._task._role or "").startswith(_OURS) or self._module not in COMPLETED:
            self._hand(variables[PLAN], host, {})
            return self._call(host, self._limit(variables[PLAN], host), tmp, task_vars)
        return self._call_of_run(run_of(variables), plain(variables.get(CALL) or {}), tmp, task_vars)

    def _call_of_run(self, run: Run, about: Mapping[str, Any], tmp: Any, task_vars: Any) -> dict[str, Any]:
        """Make a stage's call, or return a skipped result if there is nothing to do; record the result in the state of the run."""
        node = str(self._task.delegate_to or "")
        delegated = ((task_vars or {}).get("ansible_delegated_vars") or {}).get(node)
        known = run.state["interpreters"]
        if delegated is not None and node in known:
            delegated.setdefault("ansible_facts", {}).setdefault(_INTERPRETER, known[node])
        try:
            options = options_of(self._module, run, about, self._task.args)
        except KeyRefused as error:
            result = of_module({"failed": True, "changed": False, "msg": str(error)}, self._stage)
        else:
            if options is None:
                return {"changed": False, "skipped": True, "skip_reason": "There is nothing to do"}
            self._hand(run.plan, run.host, options)
            result = self._call(run.host, self._limit(run.plan, run.host), tmp, task_vars)
        state = noted(self._module, self._stage, run, about, self._task.args, result)
        found = ((delegated or {}).get("ansible_facts") or {}).get(_INTERPRETER)
        if found:  # of a node to which a call is delegated Ansible forgets it, and asks again in each call
            state = {**state, "interpreters": {**state["interpreters"], node: str(found)}}
        run_state.save(run.host, state)
        return _as_failures(result, state["failures"][len(run.state["failures"]) :])

    def _is_pipelining_enabled(self, module_style: str, wrap_async: bool = False) -> bool:
        """Return whether the module goes to the node without a file; what is a secret goes in no other way."""
        enabled = bool(super()._is_pipelining_enabled(module_style, wrap_async))
        require_no_file(self._task.args, enabled)
        return enabled

    @property
    def _module(self) -> str:
        return str(self._task.action).rpartition(".")[2]

    @property
    def _stage(self) -> str:
        return str(self._task._role or "").rpartition(".")[2]

    def _hand(self, plan: Mapping[str, Any], host: str, options: Mapping[str, Any]) -> None:
        """Add `options`, and those that the plan gives every call, to the task's own, which take precedence."""
        node = str(self._task.delegate_to or host)
        self._task.args = {**plain({**handed(self._module, plan, host, node), **options}), **self._task.args}

    def _limit(self, plan: Mapping[str, Any], host: str) -> int:
        """Return the seconds after which the controller ends the call; 0 for none, also if the task has a timeout of its own."""
        return 0 if self._task.timeout else bound(self._module, plan, host, self._task.args)

    def _call(self, host: str, limit: int, tmp: Any, task_vars: Any) -> dict[str, Any]:
        with shown_while(self, host), kept_payload(self._module):
            returned = self._bounded(limit, tmp, task_vars)
        result = of_module(returned, self._stage)
        if returned.get("unreachable"):
            result["unreachable"] = True
        key = self._discovered_interpreter_key
        if key and self._discovered_interpreter:
            result["ansible_facts"] = {key: self._discovered_interpreter}
        return result

    def _bounded(self, limit: int, tmp: Any, task_vars: Any) -> dict[str, Any]:
        """Run the module for at most `limit` seconds, 0 for no limit; return its result or, under a plan, Ansible's errors as a result."""
        try:
            with _alarm(limit):
                returned: dict[str, Any] = super().run(tmp, task_vars)
                return returned
        except _Overdue:
            message = f"The {self._task.action} action failed to execute in the expected time frame ({limit}) and was terminated"
            return {"failed": True, "changed": False, "msg": message, "timedout": {"period": limit}}
        except AnsibleConnectionFailure as error:
            if PLAN not in (task_vars or {}):
                raise
            return {"unreachable": True, "changed": False, "msg": str(error)}
        except AnsibleError as error:
            if PLAN not in (task_vars or {}):
                raise
            return {"failed": True, "changed": False, "msg": str(error)}


def _as_failures(result: Mapping[str, Any], failures: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a call's result as one that carries the recorded failures and has not failed itself.

    Recorded failures fail the run at its end; those reported later are not in it yet. A task that failed would lose its host to the rest of
    the run.
    """
    kept = {key: value for key, value in result.items() if key not in ("failed", "unreachable", "rc", "exception")}
    return untrusted({**kept, **({"failures": failures} if failures or "failures" in kept else {})})


class _Overdue(BaseException):
    """Raised when a call did not end in time; a BaseException, so that no handler for Exception catches it."""


@contextlib.contextmanager
def _alarm(seconds: int) -> Iterator[None]:
    """Raise _Overdue in the block after so many seconds, unless 0. A process has one alarm, which Ansible does not use meanwhile."""
    if not seconds or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_: Any) -> None:
        raise _Overdue

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
