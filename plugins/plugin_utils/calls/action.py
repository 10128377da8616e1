"""The controller's end of each call of a module, as the action plugins in plugins/action are.

Where a plan is in force, it completes the call by what the plan says and ends one that does not end itself. What a node returns
is read within its bounds before anything else sees it.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from ansible.plugins.action.normal import ActionModule as Normal

from ..planning.filter_values import plain
from ..report.results import of_module
from .handed import bound, handed
from .progress_poll import shown_while

_PLAN = "__altbackup_plan"


class ActionModule(Normal):  # type: ignore[misc]
    """Runs a module as Ansible does. Without a plan it gets exactly what the user wrote."""

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        """Run the module; return what of its result is one."""
        variables = task_vars or {}
        host = str(variables.get("inventory_hostname") or "")
        limit = self._complete(variables[_PLAN], host) if _PLAN in variables else 0
        with shown_while(self, host):
            returned = self._bounded(limit, tmp, task_vars)
        result = of_module(returned, str(self._task._role or "").rpartition(".")[2])
        key = self._discovered_interpreter_key
        if key and self._discovered_interpreter:
            result["ansible_facts"] = {key: self._discovered_interpreter}
        return result

    def _complete(self, plan: Mapping[str, Any], host: str) -> int:
        """Given the plan and the host in the play, give the call the options that it lacks; return its limit in seconds, 0 for none."""
        module = str(self._task.action).rpartition(".")[2]
        node = str(self._task.delegate_to or host)
        self._task.args = {**plain(handed(module, plan, host, node)), **self._task.args}
        return 0 if self._task.timeout else bound(plan, host, self._task.args)

    def _bounded(self, limit: int, tmp: Any, task_vars: Any) -> dict[str, Any]:
        """Run the module for so many seconds at most, 0 for as long as it takes; return its result, or what Ansible says of such a task."""
        try:
            with _alarm(limit):
                returned: dict[str, Any] = super().run(tmp, task_vars)
                return returned
        except _Overdue:
            said = f"The {self._task.action} action failed to execute in the expected time frame ({limit}) and was terminated"
            return {"failed": True, "changed": False, "msg": said, "timedout": {"period": limit}}


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
