"""One run over a simulated site: a backup, stage by stage, with the modules themselves and the controller's decisions between them.

The controller's decisions are here as far as they are no function of its own: which node is called, with the results of which earlier
calls.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from helpers.original_trees import run_module

from ansible_collections.altbackup.core.plugins.module_utils.stages.check import passed
from ansible_collections.altbackup.core.plugins.plugin_utils.planning import copies, heal

from .model import Rules
from .node import SOURCE, Node

KILLED = "the run was killed"
_OFFERED = ("relpath", "size", "dig", "alg", "base", "base_dig", "record")


class Killed(Exception):
    """A run was killed in its course."""


@dataclass(frozen=True)
class Asked:
    """The parameters of a run."""

    stamp: str
    clock: str
    jump: float
    """Seconds by which the controller's clock is wrong"""
    items: Mapping[str, Mapping[str, Any]]
    """{category/name: the item}"""
    marks: Mapping[str, Any]
    retired: Mapping[str, str]
    min_copies: int
    confirming: bool
    adopting: bool
    steps: int
    """Number of calls after which it is killed, 0 for never"""

    @property
    def moment(self) -> dict[str, str]:
        """Return the stamp and clock that each call is given."""
        return {"stamp": self.stamp, "clock": self.clock}

    @property
    def day(self) -> str:
        """The day of the run."""
        return self.stamp[:10]


@dataclass
class Chain:
    """A run and its state."""

    asked: Asked
    nodes: Sequence[Node]
    """The source, then its targets"""
    failures: list[str] = field(default_factory=list)
    usable: set[str] = field(default_factory=set)
    purged: set[str] = field(default_factory=set)
    """Nodes that were purged"""
    judged: set[tuple[str, str]] = field(default_factory=set)
    """(node, item) of those that a purge may remove from"""
    entries: list[dict[str, Any]] = field(default_factory=list)
    """Tarballs on offer"""
    delivered: dict[str, set[str]] = field(default_factory=dict)
    doubted: set[str] = field(default_factory=set)
    refilled: list[str] = field(default_factory=list)
    """Targets that are being refilled"""
    pairs: dict[str, Any] = field(default_factory=dict)
    pairs_now: dict[str, Any] = field(default_factory=dict)
    origin: dict[str, Any] = field(default_factory=dict)
    rotten: list[dict[str, Any]] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)
    calls: int = 0

    @property
    def source(self) -> Node:
        """Return the source."""
        return self.nodes[0]

    @property
    def killed(self) -> bool:
        """Whether it was killed in its course."""
        return KILLED in self.failures

    def run(self) -> None:
        """Run a backup, stage by stage. Raise Killed."""
        self._preflight()
        if SOURCE not in self.usable:
            return
        options = {"items": list(self.asked.items.values()), "ext": ".tar", "marks": self.asked.marks}
        self._call("tarball_dump", self.source, **options)
        checked = self._call(
            "tarball_check", self.source, **self._checking(), listing=True, quarantine=True, reverify_days=7
        )
        self.rotten += self._rotten(self.source, checked)
        bad = {entry["relpath"] for entry in checked.get("failures", [])}
        self.entries = _offered(entry for entry in checked.get("tarballs", []) if entry["relpath"] not in bad)
        self.passed = passed(checked)
        targets = [node for node in self.nodes[1:] if node.name in self.usable]
        for node in targets:
            self._deliver(node, self.entries, pair=self.pairs.get(node.name, {}), adopt=self.asked.adopting)
        for node in targets:
            for other in [other for other in targets if other is not node and node.name in self.refilled]:
                self._refill(node, other)
        for node in targets:
            result = self._purge(node, more={"check": self._checking()}, quarantine=True)
            self.rotten += self._rotten(node, result)
            if result.get("pair") and node.name not in self.doubted:
                self.pairs_now[node.name] = result["pair"]
        self._purge(self.source, pairs=self.pairs_now)
        self._heal()

    def _preflight(self) -> None:
        """Find the nodes that can be used."""
        for node in self.nodes:
            if node.away:
                self.failures.append(f"{node.name} is unreachable")
                continue
            options = {
                "bases": [str(node.top)],
                "owners": [{"base": str(node.top), "role": node.role, "name": node.name}],
                "space": False,
                "now": time.time() + self.asked.jump,
            }
            if node is not self.source:
                options["trees"] = [{"base": str(node.base), "origin": dict(self.origin)}]
            result = self._count(run_module, "preflight", fail=False, **options)
            is_usable = result.get("usable") and not result.get("unusable")
            self.usable.update([node.name] if is_usable else [])
            if node is self.source and is_usable:
                self.pairs = result["pairs"]
                identity = result["identities"][0]
                told = {name: identity[name] for name in ("name", "base", "id", "machine")}
                self.origin = {**told, "adopt": self.asked.adopting}

    def _checking(self) -> dict[str, Any]:
        """Return what to verify and count in a tree."""
        keys = list(self.asked.items)
        return {
            "expect": {key.partition("/")[2]: 1 for key in keys},
            "items": keys,
            "source": SOURCE,
            "day": self.asked.day,
            "memory": {"retired": self.asked.retired, "former": {}, "undiscovered": []},
        }

    def _deliver(
        self,
        node: Node,
        entries: Sequence[Mapping[str, Any]],
        *,
        carried: Node | None = None,
        **more: Any,
    ) -> None:
        """Let a target say what it lacks, transfer that, and let the target accept it."""
        offer = [dict(entry) for entry in entries]
        day = self.asked.day
        options = {
            "marks": self.asked.marks,
            "origin": self.origin,
            "node": node.name,
            **_as_options(node.rules),
            **more,
        }
        if carried is None:
            options["items"] = list(self.asked.items)
        prepared = self._call("tarball_prepare", node, tarballs=offer, day=day, carried=carried is not None, **options)
        if carried is None:
            self.doubted.update([node.name] if prepared.get("doubted") else [])
            self.refilled += [node.name] if prepared.get("refilled") else []
        there = [*prepared.get("have", []), *prepared.get("linked", [])]
        wanted = [entry for entry in offer if entry["relpath"] in prepared.get("send", [])]
        incoming = node.private / "incoming" / SOURCE
        for entry in wanted:
            path = (
                incoming
                / ("carried" if carried else "")
                / (entry["relpath"] if carried else f"{entry['alg']}-{entry['dig']}")
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile((carried or self.source).base / entry["relpath"], path)
        if wanted:
            options = {"origin": self.origin, "carried": carried is not None}
            accepted = self._call("tarball_accept", node, tarballs=wanted, **options)
            there += [entry["relpath"] for entry in accepted.get("tarballs", [])]
        self.delivered.setdefault(node.name, set()).update(there)

    def _refill(self, node: Node, other: Node) -> None:
        """Refill a target with another one's copies."""
        if other.name in self.doubted:
            return
        listed = self._call("tarball_list", other, records=True)
        entries = _offered(listed.get("tarballs", []))
        self._deliver(node, entries, carried=other, adopt=self.asked.adopting)

    def _purge(self, node: Node, **more: Any) -> dict[str, Any]:
        """Purge a node, as far as what arrived allows that."""
        names = [key for key in self.asked.items if key not in heal.unhealed_items(self.rotten)]
        if node is self.source:
            names = [key for key in names if key in self.passed]
        if node.name in self.doubted:
            names = []
        self.judged.update((node.name, key) for key in names)
        plan = {"stamp": self.asked.stamp, "sources": {SOURCE: {"targets": [it.name for it in self.nodes[1:]]}}}
        known = {"predicted": [], "offer": self.entries, "delivered": self.delivered, "passed": {}}
        self.purged.add(node.name)
        return self._call(
            "tarball_purge",
            node,
            **_as_options(node.rules),
            names=names,
            marks=self.asked.marks,
            reverify_days=7,
            trash_days=node.trash_days,
            confirm=self.asked.confirming,
            copies=copies.delivered(plan, SOURCE, known),
            min_copies=self.asked.min_copies,
            remember=True,
            origin={} if node is self.source else self.origin,
            **more,
        )

    def _rotten(self, node: Node, checked: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the files that a check set apart."""
        place = {"node": node.name, "source": SOURCE, "role": node.role, "base": str(node.base)}
        return heal.files_of(place, checked.get("quarantined", []), [])

    def _heal(self) -> None:
        """Fetch what rotted from any node that has it."""
        if not self.rotten:
            return
        held = {}
        nodes = {f"{node.role} {node.name}": node for node in self.nodes if node.name in self.usable}
        for holder, node in nodes.items():
            listed = self._call("tarball_list", node, records=True)
            found = heal.good_copies(self.rotten, listed.get("tarballs", []))
            held[holder] = {"base": str(node.base), "copies": found, "problem": ""}
        for _ in range(heal.rounds(self.rotten, held)):
            for errand in heal.errands(self.rotten, held):
                place = nodes[heal.holder_of(errand)]
                into = Path(heal.healing_folder(errand))
                for one in errand["tarballs"] if not errand["here"] else ():
                    (into / one["held"]).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(nodes[errand["holder"]].base / one["held"], into / one["held"])
                origin = {} if place is self.source else self.origin
                result = self._call("tarball_heal", place, tarballs=errand["tarballs"], origin=origin)
                why = [entry["reason"] for entry in result.get("failures", [])]
                self.rotten = heal.after_errand(self.rotten, errand, result.get("healed", []), why)

    def _call(self, module: str, node: Node, /, **options: Any) -> dict[str, Any]:
        return self._count(run_module, module, base=str(node.base), fail=False, **self.asked.moment, **options)

    def _count(self, call: Callable[..., dict[str, Any]], *given: Any, **options: Any) -> dict[str, Any]:
        """Call a module, and note its failures. Raise Killed instead if the run must end."""
        self.calls += 1
        if self.calls == self.asked.steps:
            raise Killed
        result = call(*given, **options)
        self.failures.extend(entry["reason"] for entry in result.get("failures", []))
        if result.get("failed"):
            self.failures.append(result["msg"])
        return result


def _as_options(rules: Rules) -> dict[str, Any]:
    names = ("daily", "weekly", "monthly", "yearly")
    return {
        "keep": rules.keep,
        "rules": {**{name: getattr(rules, name) for name in names}, "within": rules.within.total_seconds()},
    }


def _offered(tarballs: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{name: entry.get(name) for name in _OFFERED} for entry in tarballs if entry["state"] == "verified"]
