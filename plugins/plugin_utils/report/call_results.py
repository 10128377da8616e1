"""The results of a task's calls, each with its subject: the only place that knows how Ansible registers loops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .results import read_result


@dataclass(frozen=True)
class CallResult:
    """The result of one module call, within the bounds of `report.results`, for a host of the play."""

    values: Mapping[str, Any]
    host: str

    @cached_property
    def is_of_loop(self) -> bool:
        """Whether the call is an item of a loop."""
        return "ansible_loop_var" in self.values

    @cached_property
    def about(self) -> Mapping[str, Any]:
        """The loop item of the call: a tree, or {node: name} for an item that is a name; {} without a loop."""
        item = self.values.get(str(self.values.get("ansible_loop_var") or "item"))
        return item if isinstance(item, Mapping) else {"node": item} if item else {}

    @cached_property
    def node(self) -> str:
        """The node on which the call ran, or whose tree it is about."""
        return str(self.about.get("node", self.about.get("target")) or self.host)

    @property
    def delegate(self) -> str:
        """That node, or "" if it is the play's host itself."""
        return "" if self.node == self.host else self.node

    @cached_property
    def tree(self) -> str:
        """`source -> target` for a source's copies on a target, else ""."""
        is_copy = self.about.get("role") in ("target", "store") and "source" in self.about
        return f"{self.about['source']} -> {self.about.get('node', self.host)}" if is_copy else ""

    @cached_property
    def title(self) -> str:
        """The title of the call's notes: `source -> target` for copies on a target, which holds those of several sources, else the node."""
        pair = f"{self.host} -> {self.node}" if self.delegate and "base" in self.about else self.node
        return self.tree or pair

    @cached_property
    def place(self) -> tuple[str, str, str]:
        """(node, source, role) of the tree that the call read: a source can be a target as well. Source and role are "" without a tree."""
        if "source" not in self.about:
            return (self.host, "", "")
        return (self.node, str(self.about["source"]), str(self.about.get("role", "source")))

    @property
    def source(self) -> str:
        """The source of that tree, or the host if there is no tree."""
        return self.place[1] or self.host

    def entries(self, key: str) -> list[Any]:
        """Return the result's list under `key`, [] if it has none."""
        return list(self.values.get(key) or ())


def nodes_of(registered: Mapping[str, Any], host: str) -> list[str]:
    """Return the nodes on which a task's calls ended, whatever they found: none that failed, was unreachable, or was skipped."""
    results = registered.get("results", [registered]) if registered else []
    ended = [
        CallResult(result, host)
        for result in (results if isinstance(results, (list, tuple)) else ())
        if isinstance(result, Mapping) and not any(result.get(key) for key in ("failed", "unreachable", "skipped"))
    ]
    return list(dict.fromkeys(call.node for call in ended))


def calls_of(registered: Mapping[str, Any], host: str) -> list[CallResult]:
    """Return the results of the calls in what a task registered: each item of a loop, or the one call; none that was skipped."""
    results = registered.get("results", [registered]) if registered else []
    return [CallResult(read_result(result), host) for result in results if not result.get("skipped")]
