"""Turns what a run found and did into the rows of its history's record. Pure."""

from __future__ import annotations

import calendar
import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ...module_utils.kinds.registry import CATEGORIES
from ...module_utils.system.visible import one_line
from ...module_utils.tree.incomplete import missing_of
from ...module_utils.tree.layout import item_key, stamp_in
from ...module_utils.tree.suspects import doubts_of
from ..planning.stores import store_trees
from ..planning.trees import node_trees, source_trees
from ..report.bounds import shortened
from ..report.secrecy import mask_text
from .store import Record

Plan = Mapping[str, Any]
State = Mapping[str, Any]
_STARTED = "%Y-%m-%d %H:%M:%S UTC"
_LONGEST = 500
"""Most characters of a reason"""
GOOD, FAILED, REBUILT = "good", "failed", "rebuilt"


@dataclass(frozen=True)
class Circumstances:
    """Facts about a run that are not in its plan."""

    playbook: str
    inventory: str
    folder: str
    """Folder of its log, "" outside a supervised run"""
    now: float
    versions: Mapping[str, str]
    gone: Sequence[str] = ()
    """Hosts that Ansible lost"""


def record_of(
    plan: Plan, states: Mapping[str, State], failures: Sequence[Mapping[str, Any]], told: Circumstances
) -> Record:
    """Return the record of a run from its plan, the state of each host, all failures and the circumstances."""
    trees, copies, late = [], [], []
    for tree in covered(plan, states):
        look = _Look(plan, states, tree, [entry for entry in failures if concerns(entry, tree)])
        rows = look.copies()
        copies += rows
        late += look.late()
        trees.append({**look.place, **look.tree_row(), "whole": int(look.is_whole)})
    first = one_line(_reason(failures[0])) if failures else ""
    lost = f"{', '.join(told.gone)}: given up by Ansible" if told.gone else ""
    run = {
        "token": token_of(plan["run"]),
        "stamp": plan["stamp"],
        "timezone": plan["timezone"],
        "playbook": told.playbook,
        "command": plan["run"].get("command", ""),
        "inventory": told.inventory,
        "user": plan["run"].get("user", ""),
        "controller": plan["run"].get("controller", ""),
        "started": _began(plan["run"], told.now),
        "ended": told.now,
        "state": FAILED if failures or told.gone else GOOD,
        "failures": len(failures) or len(told.gone),
        "message": first or lost,
        "folder": told.folder,
        "versions": json.dumps(told.versions, sort_keys=True),
    }
    return Record(run, trees, copies, [_failure_row(entry) for entry in failures], _inventory_of(plan), late)


def _inventory_of(plan: Plan) -> list[tuple[str, str, str]] | None:
    """Return (node, source, role) of all trees of the inventory, None if the plan covers only some targets."""
    if plan["only_targets"]:
        return None
    trees = [tree for node in plan["nodes"] for tree in node_trees(plan, node)]
    return [_place(tree) for tree in (*trees, *store_trees(plan))]


def token_of(run: Mapping[str, Any]) -> str:
    """Return the id of a run, unique for its process and boot; `run` is the plan's."""
    parts = [str(run.get(name, "")) for name in ("host", "boot", "namespace", "pid", "ticks")]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _began(run: Mapping[str, Any], now: float) -> float:
    try:
        return float(calendar.timegm(time.strptime(str(run["started"]), _STARTED)))
    except (KeyError, ValueError):
        return now


def _reason(entry: Mapping[str, Any]) -> str:
    return shortened(mask_text(str(entry["reason"])), _LONGEST)


def _failure_row(entry: Mapping[str, Any]) -> dict[str, Any]:
    names = ("node", "delegate", "tree", "stage", "category", "name", "relpath")
    return {
        **{name: one_line(str(entry.get(name) or "")) for name in names},
        "reason": _reason(entry),
        "good": entry.get("good"),
    }


def covered(plan: Plan, states: Mapping[str, State]) -> list[dict[str, Any]]:
    """Return the trees that the run was about.

    In a backup these are each source's own and those on its targets, else all trees of each node.
    """
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for host in states:
        if plan["locked"]:
            own = (
                [
                    *source_trees(plan, host),
                    *source_trees(plan, host, targets=True),
                    *store_trees(plan, source=host),
                ]
                if host in plan["sources"]
                else ()
            )
        else:
            own = [*node_trees(plan, host), *store_trees(plan, server=host)]
        found.update({_place(tree): tree for tree in own})
    return list(found.values())


def _place(tree: Mapping[str, Any]) -> tuple[str, str, str]:
    return str(tree["node"]), str(tree["source"]), str(tree["role"])


def concerns(entry: Mapping[str, Any], tree: Mapping[str, Any]) -> bool:
    """Return whether a failure concerns the tree, or its node."""
    node, source, role = _place(tree)
    at, of = str(entry.get("delegate") or entry.get("node") or ""), str(entry.get("tree") or "")
    if role == "source":
        return at == node and not of
    return of == f"{source} -> {node}" or (at == node and not of and entry.get("node") in (source, node))


class _Look:
    """What a run knows of one tree."""

    def __init__(
        self, plan: Plan, states: Mapping[str, State], tree: Mapping[str, Any], failures: Sequence[Mapping[str, Any]]
    ) -> None:
        self.plan, self.tree, self.failures = plan, tree, failures
        self.node, self.source, self.role = _place(tree)
        self.states = states
        self.place = {"node": self.node, "source": self.source, "role": self.role}
        self.title = self.node if self.role == "source" else f"{self.source} -> {self.node}"
        places = ["/".join(_place(tree))]
        if self.role == "source":
            places.append(f"{self.node}//")
        self._places = places
        self.own = states.get(self.source, {})
        self.passed = self._of_place("passed")
        self.newest = self._of_place("newest") or {}
        self.suspects = self._of_place("suspects") or {}
        self.made = self.own.get("tarballs") or {} if self.role == "source" else {}
        self.came = (self.own.get("arrived") or {}).get(self.node) if self.role == "target" else None
        self.listed = [
            entry for entry in self._all("listed") if (entry["node"], entry["source"], entry["role"]) == _place(tree)
        ]

    def _of_place(self, name: str) -> Any:
        """Return the value under key `name` for this tree from any host's state."""
        for state in self.states.values():
            for place in self._places:
                if place in (state.get(name) or {}):
                    return state[name][place]
        return None

    def _all(self, name: str) -> Iterator[Mapping[str, Any]]:
        for state in self.states.values():
            yield from state.get(name) or ()

    def _titled(self, name: str) -> Any:
        for state in self.states.values():
            if self.title in (state.get(name) or {}):
                return state[name][self.title]
        return None

    @property
    def is_whole(self) -> bool:
        """Whether the run examined all items of the tree, or should have."""
        return bool(self.plan["locked"] or self.passed is not None or self.newest or self.listed)

    def keys(self) -> list[str]:
        """Return the items that the tree should have, and others that the run found in it."""
        found = dict.fromkeys(self.tree["item_keys"])
        found.update(
            dict.fromkeys(f"{CATEGORIES[item['kind']]}/{item['name']}" for item in self.own.get("items") or ())
        )
        marked = (self.plan["marks"].get(self.source) or {}).get("retired") or {}
        gone = {*self.tree["memory"]["retired"], *self.tree["memory"]["former"]}
        gone.update(key for key, day in marked.items() if day)
        if self.tree.get("discover"):
            listed = [f"{entry['category']}/{entry['name']}" for entry in self.listed]
            failed = [] if self.is_whole else filter(None, map(_of, self.failures))
            there = [*(self.passed or ()), *listed, *self._proofs, *failed]
            found.update(dict.fromkeys(key for key in there if key not in gone))
        return list(found)

    def tree_row(self) -> dict[str, Any]:
        """Return the columns of the tree's row in `trees`."""
        checked = self._titled("checked") or {}
        purged = [entry for entry in self._all("purged") if entry["tree"] == self.title]
        steady = self._titled_base("steady") or {}
        sent = self.own.get("sent") or {} if self.role == "target" else {}
        wire = self.own.get("wire") or {} if self.role == "target" else {}
        problem = next((entry for entry in self.failures if not entry.get("name")), None)
        return {
            "base": self.tree["base"],
            "max_age": self.plan["stores" if self.role == "store" else "nodes"][self.node].get("max_age"),
            "free": self._free(),
            "held": steady.get("held"),
            "needed": steady.get("needed"),
            "sent": sent.get(self.node),
            "wire": wire.get(self.node),
            "matched": checked.get("match"),
            "bytes_read": checked.get("bytes"),
            "purged": sum(entry["tarballs"] for entry in purged),
            "bytes_freed": sum(entry["bytes"] for entry in purged),
            "bytes_in_trash": sum(entry["in_trash"] for entry in purged),
            "problem": _reason(problem) if problem else "",
        }

    def _titled_base(self, name: str) -> Any:
        title = f"{self.node}:{self.tree['base']}"
        return next((state[name][title] for state in self.states.values() if title in (state.get(name) or {})), None)

    def _free(self) -> Any:
        above = self.plan["targets"].get(self.node, {}).get("target_base") if self.role == "target" else None
        names = [f"{self.node}:{base}" for base in (self.tree["base"], above) if base]
        told = [
            state["free"][name] for name in names for state in self.states.values() if name in (state.get("free") or {})
        ]
        return int(told[-1] if self.role == "source" else told[0]) if told else None

    def copies(self) -> list[dict[str, Any]]:
        """Return a row for each item, or, if the run did not examine all, for those of which it knows something."""
        rows = [self._copy(key) for key in self.keys()]
        return rows if self.is_whole else [row for row in rows if set(row) - _NAMES]

    def late(self) -> list[dict[str, Any]]:
        """Return the good copies of earlier stamps that arrived in this tree."""
        offered = {entry["relpath"]: entry for entry in self.own.get("offer") or ()}
        bad = {entry.get("relpath") for entry in self.failures}
        found = []
        for path in self.came or ():
            entry = offered.get(path)
            if entry is None or path in bad or stamp_in(path) >= self.plan["stamp"]:
                continue
            record = entry.get("record") or {}
            if not (doubts_of(record) or missing_of(record)):
                category, name = item_key(path).split("/", 1)
                found.append(
                    {**self.place, "category": category, "name": name, "stamp": stamp_in(path), "size": entry["size"]}
                )
        return sorted(found, key=lambda row: str(row["stamp"]))

    def _copy(self, key: str) -> dict[str, Any]:
        category, _, name = key.partition("/")
        row: dict[str, Any] = {**self.place, "category": category, "name": name}
        row.update(self._dump(key))
        if self.came is not None:
            row["sent"] = sum(size for _, size in self._came.get(key, ()))
        if self.passed is not None:
            row["checked"] = int(key in self.passed)
        proofs = self._proofs.get(key)
        if proofs:
            row["proved"] = max(entry["when"] for entry in proofs)
            row["proof_seconds"] = sum(entry.get("seconds") or 0 for entry in proofs)
        gone = sum(entry["items"].get(key, 0) for entry in self._all("purged") if entry["tree"] == self.title)
        row.update({"purged": gone} if gone else {})
        holds = self._titled("held")
        if holds is not None:
            row["holds"] = " ".join(hold[len(key) + 1 :] for hold in holds if hold.startswith(f"{key}/"))
        problem = next((entry for entry in self.failures if _of(entry) == key), None)
        row.update({"problem": _reason(problem)} if problem else {})
        row.update(self._standing(key, problem))
        return row

    @cached_property
    def _proofs(self) -> dict[str, list[Mapping[str, Any]]]:
        """{item: proofs of it in this tree}"""
        read = {*(self._titled("looked") or ())}  # a node may hold items of the same name from several sources
        found: dict[str, list[Mapping[str, Any]]] = {}
        for entry in self._all("proved"):
            if entry["node"] == self.node and entry["relpath"] in read and entry.get("when"):
                found.setdefault(item_key(entry["relpath"]), []).append(entry)
        return found

    @cached_property
    def _came(self) -> dict[str, list[tuple[str, Any]]]:
        """{item: (relpath, bytes) of tarballs that arrived in this tree}"""
        return _by_item((self.came or {}).items())

    @cached_property
    def _made(self) -> dict[str, list[tuple[str, Any]]]:
        """{item: (relpath, tarball) of tarballs that the dump made}"""
        return _by_item((path, entry) for path, entry in self.made.items() if entry.get("dig"))

    def _dump(self, key: str) -> dict[str, Any]:
        """Return the columns on the dump of an item."""
        if key not in self._made:
            return {"dumped": 0} if self.made and key in self.tree["item_keys"] else {}
        _, entry = self._made[key][-1]
        told = {name: entry[name] for name in ("bytes", "seconds") if entry.get(name) is not None}
        return {"dumped": 1, **told}

    def _standing(self, key: str, problem: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return the stamp and size of an item's newest good copy, and why a newer one is suspect; {} if not known."""
        if self.listed and self.plan["list_day"] == "all":
            return standing_of(entry for _, entry in self._listed.get(key, ()))
        suspect = dict(self._doubtful.get(key, ()))
        found: dict[str, Any] = {}
        for path, size in self._good.get(key, ()):
            if path not in suspect and stamp_in(path) >= found.get("stamp", ""):
                found = {"stamp": stamp_in(path), "size": size}
        if not found and problem is not None and problem.get("good") is not None:
            found = {"stamp": problem["good"]}
        newer = [path for path in sorted(suspect) if stamp_in(path) > found.get("stamp", "")]
        return {**found, **({"suspect": _told(suspect[newer[-1]])} if newer else {"suspect": ""} if found else {})}

    @cached_property
    def _listed(self) -> dict[str, list[tuple[str, Any]]]:
        return _by_item((entry["relpath"], entry) for entry in self.listed)

    @cached_property
    def _good(self) -> dict[str, list[tuple[str, Any]]]:
        """{item: (relpath, size) of tarballs in this tree that calls reported as verified and complete}"""
        partial = {path for state in self.states.values() for path in state.get("incomplete") or ()}
        bad = {entry.get("relpath") for entry in self.failures}
        offered = {entry["relpath"]: entry for entry in self.own.get("offer") or ()}
        made = [
            (path, entry.get("size"))
            for several in self._made.values()
            for path, entry in several
            if f"{self.source}/{path}" not in partial and path not in bad
        ]
        came = [
            (path, offered[path].get("size"))
            for path in self._there
            if path in offered and path not in bad and not missing_of(offered[path].get("record") or {})
        ]
        return _by_item([*self.newest.items(), *made, *came])

    @cached_property
    def _there(self) -> Sequence[str]:
        """The source's newest tarballs that a target reported to hold"""
        delivered: Mapping[str, Sequence[str]] = self.own.get("delivered") or {}
        return delivered.get(self.node, ()) if self.role == "target" else ()

    @cached_property
    def _doubtful(self) -> dict[str, list[tuple[str, Any]]]:
        """{item: (relpath, reasons) of known suspects that nobody accepted}"""
        accepted = (self.plan["marks"].get(self.source) or {}).get("accepted") or {}
        offered = [*(self.own.get("tarballs") or {}).values(), *(self.own.get("offer") or ())]
        told = {entry["relpath"]: doubts_of(entry.get("record") or {}) for entry in offered}
        doubts = {
            path: why
            for path, why in told.items()
            if why
            and stamp_in(path) > accepted.get(item_key(path), "")
            and (self.role == "source" or path in self._there)
        }
        return _by_item({**doubts, **self.suspects}.items())


def standing_of(entries: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the columns of `copies` from all listed tarballs of an item in a tree."""
    entries = sorted(entries, key=lambda entry: entry["stamp"])
    good = [entry for entry in entries if entry["state"] == "verified"]
    stamp = good[-1]["stamp"] if good else ""
    newer = [entry["suspect"] for entry in entries if entry["state"] == "suspect" and entry["stamp"] > stamp]
    proofs = [entry["proved"] for entry in entries if entry.get("proved")]
    return {
        "stamp": stamp,
        **({"size": good[-1]["size"]} if good else {}),
        "suspect": _told(newer[-1]) if newer else "",
        "holds": " ".join(entry["stamp"] for entry in entries if entry.get("hold")),
        **({"proved": max(proofs)} if proofs else {}),
    }


_NAMES = {"node", "source", "role", "category", "name", "dumped", "suspect"}


def _told(reasons: Iterable[Any]) -> str:
    return shortened(mask_text("; ".join(map(str, reasons))), _LONGEST)


def _by_item(entries: Iterable[tuple[str, Any]]) -> dict[str, list[tuple[str, Any]]]:
    """Return {item: its (relpath, value) pairs}."""
    found: dict[str, list[tuple[str, Any]]] = {}
    for path, value in entries:
        found.setdefault(item_key(path), []).append((path, value))
    return found


def _of(entry: Mapping[str, Any]) -> str:
    return f"{entry.get('category')}/{entry.get('name')}" if entry.get("name") and entry.get("category") else ""
