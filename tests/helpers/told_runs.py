"""A run on one host, whose calls are answered by a test."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from ansible_collections.altbackup.core.plugins.plugin_utils.calls.loops import calls
from ansible_collections.altbackup.core.plugins.plugin_utils.calls.notes import noted
from ansible_collections.altbackup.core.plugins.plugin_utils.calls.options import options_of
from ansible_collections.altbackup.core.plugins.plugin_utils.calls.run import Run
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.checks import Scope
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.plan import build_plan
from ansible_collections.altbackup.core.plugins.plugin_utils.report.outcomes import EMPTY

NOW = 1368182821.0
STAMP = "2013/05/10/104701"
SVN = f"svn/dybsvn/{STAMP}/dybsvn-1.tar.zst"
VARIABLES: dict[str, dict[str, Any]] = {
    "dayabay": {
        "altbackup_base": "/backup",
        "altbackup_items": [{"kind": "svn", "name": "dybsvn", "path": "/svn/dybsvn"}],
        "altbackup_discover": {"git": "/git"},
        "altbackup_targets": ["cms01", "sdu"],
        "altbackup_drill_host": "scratch",
        "altbackup_drill_folder": "/scratch",
    },
    "cms01": {"altbackup_target_base": "/copies"},
    "sdu": {"altbackup_target_base": "/copies"},
    "scratch": {},
}
CHAIN, EVERY = ["sources"], ["sources", "targets"]


def plan_of(parts: list[str], **more: Any) -> dict[str, Any]:
    """Return a plan of one source and two targets, for a playbook of these parts."""
    variables = {host: {**values, **(more if values else {})} for host, values in VARIABLES.items()}
    groups = {"all": list(VARIABLES), "sources": ["dayabay"], "targets": ["cms01", "sdu"]}
    scope = Scope(parts, list(VARIABLES), "")
    plan = build_plan(variables, groups, {}, NOW, scope=scope, run={"id": "r"})
    assert plan["errors"] == []
    return plan


class Told:
    """A run on one host, whose calls are answered by the test."""

    def __init__(self, parts: list[str] = CHAIN, host: str = "dayabay", check_mode: bool = False, **more: Any) -> None:
        hostvars = {name: {"ansible_connection": "ssh"} for name in VARIABLES}
        self.states: dict[str, dict[str, Any]] = {}
        self.run = Run(
            plan_of(parts, **more), host, EMPTY, hostvars, {}, check_mode, lambda name: self.states.get(name, {})
        )

    def call(self, module: str, stage: str, result: dict[str, Any], about: Any = None, **given: Any) -> dict[str, Any]:
        """Make a call that has this result; return the options that completed it."""
        options = options_of(module, self.run, about or {}, given)
        assert options is not None
        state = noted(module, stage, self.run, about or {}, {**options, **given}, result)
        self.run = self.run.knowing(state)
        return options

    def over(self, name: str, nodes: Iterable[str] = ()) -> list[dict[str, Any]]:
        """Return what is gone over."""
        return calls(name, self.run, nodes)

    def nodes(self, name: str) -> list[str]:
        """Return the nodes of what is gone over."""
        return [entry["node"] for entry in self.over(name)]


def offered(**settings: Any) -> Told:
    """Return a run whose source, with these settings, has something to send."""
    told = Told(**settings)
    entry = {"relpath": SVN, "size": 7, "dig": "aa", "alg": "sha256", "state": "verified", "record": {}}
    told.call("tarball_check", "check", {"listed": True, "tarballs": [entry]}, told.over("check")[0])
    return told


APART = {"relpath": SVN, "size": 7, "dig": "aa", "alg": "sha256", "read": "bb", "read_size": 7}
SEEN = {"id": "1" * 32, "copies": 2, "purged": 0, "newest": STAMP, "run": "2013/05/09/104701"}
HELD = "svn/dybsvn/2013/05/09/104701"
SAID = {"altbackup_accept": ["dayabay/svn/dybsvn"], "altbackup_hold": {f"dayabay/{HELD}": "x"}}
MARKS = {"accepted": {"svn/dybsvn": "2013/05/10/104700"}, "holds": {HELD: "x"}, "retired": {}}


def filling(parts: list[str], host: str, drill: int = 1, **more: Any) -> Told:
    """Return a run in whose inventory a target fills a store."""
    told = Told(parts, host, **more)
    known = {
        "remote": "/drawer",
        "config": "",
        "environment": "",
        "lock_days": 0,
        "lock_mode": "governance",
        "absent_for": 0,
    }
    limits = {"bwlimit": None, "connect_timeout": 15.0, "io_timeout": 60.0, "step_timeout": 99.0}
    tree = {"role": "store", "node": "drawer", "server": "cms01", "source": "dayabay", "base": "/copies/dayabay"}
    tree.update(item_keys=["svn/dybsvn"], discover=True, verify={})
    told.run = replace(
        told.run, plan={**told.run.plan, "stores": {"drawer": {**known, **limits, "drill": drill, "trees": [tree]}}}
    )
    return told


def drilled(result: dict[str, Any], check_mode: bool = False) -> tuple[Told, dict[str, Any]]:
    """Return a run with an errand for which room was made with this result."""
    told = Told(EVERY, check_mode=check_mode)
    assert told.over("drill") == []
    (tree,) = told.over("drill_away")
    chosen = [{"relpath": SVN, "record": {"kind": "svn"}, "tarballs": [{"relpath": SVN, "size": 7}]}]
    told.call("tarball_drill_away", "drill", {"chosen": chosen}, tree, step="choose")
    (errand,) = told.over("errands")
    assert (errand["node"], errand["host"]) == ("dayabay", "scratch")
    told.call("tarball_drill_away", "drill", result, errand, step="make")
    return told, errand
