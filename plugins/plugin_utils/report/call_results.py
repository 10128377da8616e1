"""The results of a task's calls, each with what the call was about: the one place that knows how Ansible registers loops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .results import read_result


@dataclass(frozen=True)
class CallResult:
    """What a call of a module returned, within its bounds, for a host of the play."""

    values: Mapping[str, Any]
    host: str

    @cached_property
    def is_of_loop(self) -> bool:
        """Whether it is one of several."""
        return "ansible_loop_var" in self.values

    @cached_property
    def about(self) -> Mapping[str, Any]:
        """What a call of a loop was about, a tree or the name of a node; nothing without a loop."""
        item = self.values.get(str(self.values.get("ansible_loop_var") or "item"))
        return item if isinstance(item, Mapping) else {"node": item} if item else {}

    @cached_property
    def node(self) -> str:
        """The node on which it ran, or of whose tree it tells."""
        return str(self.about.get("node", self.about.get("target")) or self.host)

    @property
    def delegate(self) -> str:
        """That node, if it is another one than the host."""
        return "" if self.node == self.host else self.node

    @cached_property
    def tree(self) -> str:
        """`source -> target` for a source's copies on a target, else empty."""
        is_copy = self.about.get("role") in ("target", "store") and "source" in self.about
        return f"{self.about['source']} -> {self.about.get('node', self.host)}" if is_copy else ""

    @cached_property
    def title(self) -> str:
        """Whose a note is: `source -> target` for a source's copies on a target, which has those of several, else the node."""
        pair = f"{self.host} -> {self.node}" if self.delegate and "base" in self.about else self.node
        return self.tree or pair

    @cached_property
    def place(self) -> tuple[str, str, str]:
        """(node, source, role) of the tree that it looked at, as a source may be a target of its own."""
        if "source" not in self.about:
            return (self.host, "", "")
        return (self.node, str(self.about["source"]), str(self.about.get("role", "source")))

    @property
    def source(self) -> str:
        """The source of that tree."""
        return self.place[1] or self.host

    def entries(self, key: str) -> list[Any]:
        """Return what it has under a key, in a list."""
        return list(self.values.get(key) or ())


def calls_of(registered: Mapping[str, Any], host: str) -> list[CallResult]:
    """Given what a task registered for a host, return the results of its calls: those of a loop, or the one; none if it was skipped."""
    results = registered.get("results", [registered]) if registered else []
    return [CallResult(read_result(result), host) for result in results if not result.get("skipped")]
