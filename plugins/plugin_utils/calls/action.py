"""The controller's end of each call of a module, as the action plugins in plugins/action are.

Where a plan is in force, it completes the call by what the plan says, ends one that does not end itself, turns what keeps a node
from answering into a failure of that node, and notes what was found. What a node returns is read within its bounds before
anything else sees it.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action.normal import ActionModule as Normal

from ..planning.filter_values import plain, untrusted
from ..report.results import of_module
from . import run_state
from .handed import bound, handed
from .identities import KeyRefused, require_no_file
from .notes import noted
from .options import options_of
from .progress_poll import shown_while
from .run import CALL, PLAN, Run, run_of

_OURS = "altbackup.core."


class ActionModule(Normal):  # type: ignore[misc]
    """Runs a module as Ansible does. Without a plan it gets exactly what the user wrote."""

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        """Run the module; return what of its result is one."""
        variables = task_vars or {}
        host = str(variables.get("inventory_hostname") or "")
        if PLAN not in variables:
            return self._call(host, 0, tmp, task_vars)
        if not str(self._task._role or "").startswith(_OURS):
            self._hand(variables[PLAN], host, {})
            return self._call(host, self._limit(variables[PLAN], host), tmp, task_vars)
        return self._call_of_run(run_of(variables), plain(variables.get(CALL) or {}), tmp, task_vars)

    def _call_of_run(self, run: Run, about: Mapping[str, Any], tmp: Any, task_vars: Any) -> dict[str, Any]:
        """Make a call of a stage of the run, or say that there is nothing to do; return a result whose failures are noted."""
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
        """Give the call the options that it lacks, out of these and what the plan says of every call."""
        node = str(self._task.delegate_to or host)
        self._task.args = {**plain({**handed(self._module, plan, host, node), **options}), **self._task.args}

    def _limit(self, plan: Mapping[str, Any], host: str) -> int:
        """Return the seconds after which the call is ended from here, 0 for none, or where the task has a limit."""
        return 0 if self._task.timeout else bound(self._module, plan, host, self._task.args)

    def _call(self, host: str, limit: int, tmp: Any, task_vars: Any) -> dict[str, Any]:
        with shown_while(self, host):
            returned = self._bounded(limit, tmp, task_vars)
        result = of_module(returned, self._stage)
        if returned.get("unreachable"):
            result["unreachable"] = True
        key = self._discovered_interpreter_key
        if key and self._discovered_interpreter:
            result["ansible_facts"] = {key: self._discovered_interpreter}
        return result

    def _bounded(self, limit: int, tmp: Any, task_vars: Any) -> dict[str, Any]:
        """Run the module for so many seconds at most, 0 for as long as it takes; return its result, or what Ansible says of such a task."""
        try:
            with _alarm(limit):
                returned: dict[str, Any] = super().run(tmp, task_vars)
                return returned
        except _Overdue:
            said = f"The {self._task.action} action failed to execute in the expected time frame ({limit}) and was terminated"
            return {"failed": True, "changed": False, "msg": said, "timedout": {"period": limit}}
        except AnsibleConnectionFailure as error:
            if PLAN not in (task_vars or {}):
                raise
            return {"unreachable": True, "changed": False, "msg": str(error)}
        except AnsibleError as error:
            if PLAN not in (task_vars or {}):
                raise
            return {"failed": True, "changed": False, "msg": str(error)}


def _as_failures(result: Mapping[str, Any], failures: list[dict[str, Any]]) -> dict[str, Any]:
    """Given the result of a call and the failures that were noted of it, return it as one that has these, and has not failed itself.

    What is noted fails the run at its end, and what is told later is not told yet. Were the task to fail, its host would be lost to the rest of the run.
    """
    kept = {key: value for key, value in result.items() if key not in ("failed", "unreachable", "rc", "exception")}
    return untrusted({**kept, **({"failures": failures} if failures or "failures" in kept else {})})


class _Overdue(BaseException):
    """A call did not end in time. Nothing that catches exceptions of its work is meant."""


@contextlib.contextmanager
def _alarm(seconds: int) -> Iterator[None]:
    """Raise _Overdue in the block after so many seconds, if not 0; there is but one alarm in a process, and Ansible's is not set then."""
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
