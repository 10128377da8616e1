"""The controller's end of each call of a module: what a node returns is read within its bounds before anything else sees it.

Each module has it as its action plugin, in plugins/action.
"""

from __future__ import annotations

from typing import Any

from ansible.plugins.action.normal import ActionModule as Normal

from ..report.results import of_module
from .progress_poll import shown_while


class ActionModule(Normal):  # type: ignore[misc]
    """Runs a module as Ansible does."""

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        """Run the module; return what of its result is one."""
        with shown_while(self, str((task_vars or {}).get("inventory_hostname") or "")):
            returned = super().run(tmp, task_vars)
        result = of_module(returned, str(self._task._role or "").rpartition(".")[2])
        key = self._discovered_interpreter_key
        if key and self._discovered_interpreter:
            result["ansible_facts"] = {key: self._discovered_interpreter}
        return result
