"""What the controller knows when a call begins: the plan, the host in the play, and the state of the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ansible.errors import AnsibleError

from ..planning.filter_values import plain
from ..planning.plan_items import with_items
from ..planning.trees import node_trees
from ..report.outcomes import EMPTY
from . import run_state

PLAN = "__altbackup_plan"
CHOICES = ("__restore_choice", "__contents_choice")
"""Facts with what a playbook chose to restore or to read; no playbook sets both"""
REVIEWED = "__purge_reviewed"
CALL = "__call"
"""Loop variable of loops over calls"""


@dataclass(frozen=True)
class Run:
    """The run as one host of the play sees it."""

    plan: Mapping[str, Any]
    host: str
    state: Mapping[str, Any]
    """State of the run for the host, with all keys of EMPTY"""
    hostvars: Mapping[str, Any]
    choice: Mapping[str, Any]
    """What is restored or read from where, {} until that is chosen"""
    check_mode: bool = False
    state_of: Callable[[str], Mapping[str, Any]] = run_state.load
    """Returns the state of another host"""
    play_hosts: Sequence[str] = ()
    """The hosts of the play, [] if not known"""
    reviewed: Sequence[Mapping[str, Any]] | None = None
    """The only tarballs that a purge may remove, if somebody reviewed them"""

    def known_of(self, host: str) -> Mapping[str, Any]:
        """Return the state of any host."""
        return self.state if host == self.host else self.state_of(host)

    def knowing(self, state: Mapping[str, Any]) -> Run:
        """Return the run with another state of its host."""
        return replace(self, state=state)

    @cached_property
    def source(self) -> Mapping[str, Any]:
        """The host's source in the plan, with the items discovered there; {} if it is none."""
        found: Mapping[str, Any] = self.whole_plan["sources"].get(self.host, {})
        return found

    @cached_property
    def whole_plan(self) -> Mapping[str, Any]:
        """The plan with the items that were discovered on the host."""
        items = self.state["items"]
        return (
            with_items(plain(self.plan), self.host, items) if items and self.host in self.plan["sources"] else self.plan
        )

    def tree(self, about: Mapping[str, Any]) -> dict[str, Any]:
        """Return the plan's tree of a call. Raise KeyError if there is none."""
        name = tuple(about[key] for key in ("node", "source", "role"))
        for tree in node_trees(self.whole_plan, str(about["node"])):
            if (tree["node"], tree["source"], tree["role"]) == name:
                return tree
        raise KeyError(f"no tree {'/'.join(map(str, name))} in the plan")


def run_of(variables: Mapping[str, Any]) -> Run:
    """Return the run from a task's variables. Raise AnsibleError if no plan is in force."""
    if PLAN not in variables:
        raise AnsibleError("there is no plan of a run: let role altbackup.core.altbackup make it, in a play before")
    host = str(variables["inventory_hostname"])
    return Run(
        plan=variables[PLAN],
        host=host,
        state={**EMPTY, **run_state.load(host)},
        hostvars=variables.get("hostvars") or {},
        choice=next((variables[name] for name in CHOICES if variables.get(name)), {}),
        check_mode=bool(variables.get("ansible_check_mode")),
        play_hosts=[str(name) for name in variables.get("ansible_play_hosts_all") or ()],
        reviewed=(variables.get(REVIEWED) or {}).get("tarballs"),
    )
