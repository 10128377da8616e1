"""The plan of a run: what every node does, from the variables of all hosts, as plain JSON values."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...module_utils.system.visible import visible
from ...module_utils.tree.failures import failure
from ...module_utils.tree.stamps import Moment
from ..report.secrecy import mask
from .checks import (
    Scope,
    check_adopted,
    check_bases,
    check_drill_hosts,
    check_former_names,
    check_named,
    check_names,
    check_only_targets,
    check_rekey,
    check_scope,
    check_source,
    check_stores,
    check_undo,
)
from .groups import SOURCES, STORES, TARGETS, check_outside
from .inventory_errors import Errors
from .marks import RETIRED, all_marks, given_marks
from .pauses import set_pauses
from .plan_items import completed
from .plan_nodes import node_entry, source_entry, target_entry
from .retention import has_keep_alone, keep_alone_note, node_rules
from .run_settings import moment_of_run, of_one_run, retiring, run_settings, validated
from .stores import enter_trees, store_entry
from .variable_names import describe_unknown

_LEASE_STEPS, _LEASE_SECONDS = 2, 600.0
"""How many of the longest steps, and how many seconds more, a node stays leased to a run after a call: other calls come in between"""
_OF_SETUP = ("rotate_keys", "schedule", "schedule_at", "schedule_delay", "schedule_folder")
_OF_RUNS = (
    "stamp",
    "clock",
    "day",
    "list_day",
    "timezone",
    "only_targets",
    "history_days",
    "metrics_dir",
    "report_dir",
    "list_file",
    "purge_plan",
    "restore",
    "identity_file",
    "key_drill",
    "purge_confirm",
    "undo",
    "rekey",
    "contents",
)
_OF_RESTORES = ("owner", "group", "mode", "selinux")


@dataclass(frozen=True)
class _Inventory:
    """The settings of all hosts, and their errors."""

    variables: Mapping[str, Mapping[str, Any]]
    hosts: Sequence[str]
    nodes: Sequence[str]
    """The sources, then the other targets"""
    common: Mapping[str, Any]
    """Settings of the run, by names without the prefix"""
    sources: Mapping[str, Mapping[str, Any]]
    """{source: its settings}"""
    targets: Mapping[str, Mapping[str, Any]]
    stores: Mapping[str, Mapping[str, Any]]
    errors: Errors


def build_plan(
    variables: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Sequence[str]],
    connection: Mapping[str, Mapping[str, Any]],
    now: float,
    *,
    stamp: str = "",
    chain: bool = False,
    scope: Scope | None = None,
    run: Mapping[str, Any] | None = None,
    marks: Mapping[str, Mapping[str, Any]] | str | None = None,
    extra: Collection[str] | None = None,
) -> dict[str, Any]:
    """Return the plan, by the `altbackup_*` variables ({host: variables}), the groups and the connection variables; errors are in its `errors`.

    `now` is in seconds since 1970. `stamp` is that of an earlier play of the same run, used if no host has one. In a `chain` of plays the
    day is the stamp's, whatever day is given. It is an error if nothing is left to do in the `scope`. `marks` are those in the controller's
    journal, or the error in reading it; `extra` are the names of variables given with -e. README.md of role altbackup shows the plan's
    shape.
    """
    inventory = _read(variables, groups, now, stamp=stamp, chain=chain, scope=scope, extra=extra)
    notes = _check(inventory, groups)
    plan = _assemble(inventory, connection, notes, scope, run or {}, now)
    _mark(plan, inventory, {} if marks is None else marks, extra)
    found = inventory.errors.sentences() or (check_scope(plan, scope) if scope else [])
    plan["errors"] = [visible(sentence) for sentence in found]
    return plan


def _read(
    variables: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Sequence[str]],
    now: float,
    *,
    stamp: str,
    chain: bool,
    scope: Scope | None,
    extra: Collection[str] | None,
) -> _Inventory:
    """Return the settings of all hosts, each checked alone."""
    hosts = list(
        dict.fromkeys(
            [
                *variables,
                *groups.get("all", ()),
                *groups.get(SOURCES, ()),
                *groups.get(TARGETS, ()),
                *groups.get(STORES, ()),
            ]
        )
    )
    sources, targets = list(groups.get(SOURCES, ())), list(groups.get(TARGETS, ()))
    errors = Errors(hosts)
    variables = of_one_run(variables, extra)
    if scope and RETIRED in (extra or ()):
        variables, errors.general = retiring(variables, sources, scope.play_hosts)
    for host in hosts:
        for name in variables.get(host, {}):
            unknown = describe_unknown(name)
            if unknown:
                errors.add(host, name, f"is an {unknown}")
    if not sources:
        errors.general.append(
            f"group {SOURCES} is missing or empty: add the hosts that hold live data to it (is this the inventory that was meant?)"
        )
    nodes = list(dict.fromkeys([*sources, *targets]))
    common = run_settings(variables, nodes or hosts, errors)
    asked = bool(common["day"].strip())
    common["stamp"], common["day"], common["clock"] = moment_of_run(common, now, stamp, chain, errors)
    return _Inventory(
        variables,
        hosts,
        nodes,
        {**common, "list_day": common["day"] if asked else "all"},
        {host: validated("source", host, variables, errors) for host in sources},
        {host: validated("target", host, variables, errors) for host in targets},
        {host: validated("store", host, variables, errors) for host in groups.get(STORES, ())},
        errors,
    )


def _check(inventory: _Inventory, groups: Mapping[str, Sequence[str]]) -> list[str]:
    """Add the errors of settings that contradict each other; return notes."""
    hosts, nodes, common, errors = inventory.hosts, inventory.nodes, inventory.common, inventory.errors
    sources, targets = list(inventory.sources), list(inventory.targets)
    errors.general += check_only_targets(common["only_targets"], hosts, targets)
    errors.general += check_former_names(inventory.sources, inventory.targets)
    errors.general += check_adopted(common["adopt"], [*nodes, *inventory.stores])
    errors.general += check_undo(common["undo"], sources)
    errors.general += check_rekey(common["rekey"], sources)
    errors.general += check_names(sources)
    for host, values in inventory.sources.items():
        check_source(host, values, hosts, targets, errors)
    for of_role in (inventory.sources, inventory.targets):
        check_drill_hosts(of_role, hosts, errors)
    if not errors.has("altbackup_targets"):
        errors.general += check_named(targets, inventory.sources)
    errors.general += check_bases(inventory.sources, inventory.targets)
    of_nodes = {host: [part[host] for part in (inventory.sources, inventory.targets) if host in part] for host in nodes}
    check_stores(inventory.stores, of_nodes, hosts, errors)
    notes = check_outside(
        [host for host in hosts if host not in nodes and host not in inventory.stores],
        inventory.variables,
        groups,
        errors,
    )
    return notes + [
        keep_alone_note(host, values["altbackup_keep"])
        for host, values in inventory.targets.items()
        if has_keep_alone(inventory.variables.get(host, {}))
    ]


def _assemble(
    inventory: _Inventory,
    connection: Mapping[str, Mapping[str, Any]],
    notes: Iterable[str],
    scope: Scope | None,
    run: Mapping[str, Any],
    now: float,
) -> dict[str, Any]:
    """Return the plan without its marks; add errors of connections, stores and pauses."""
    common, errors = inventory.common, inventory.errors
    plan: dict[str, Any] = {
        **{name: common[name] for name in _OF_RUNS},
        "restore_settings": {name: common[f"restore_{name}"] for name in _OF_RESTORES},
        "adopt": [entry for entry in common["adopt"] if "/" in entry],
        "adopted_nodes": [entry for entry in common["adopt"] if "/" not in entry],
        "setup": {name: common[name] for name in _OF_SETUP},
        "given": {},
        "marks": {},
        "failures": [],
        "locked": scope is not None and list(scope.parts) == [SOURCES],
        "errors": [],
        "notes": [visible(note) for note in notes],
        "sources": {},
        "targets": {},
        "stores": {},
        "nodes": {},
    }
    for host, values in inventory.targets.items():
        rules = node_rules(values, inventory.variables.get(host, {}), target=True)
        plan["targets"][host] = target_entry(host, values, connection.get(host, {}), errors) | {"rules": rules}
    for host, values in inventory.sources.items():
        plan["sources"][host] = source_entry(host, values, common["only_targets"], plan["targets"], connection, errors)
    plan["nodes"] = {host: node_entry(host, plan) for host in inventory.nodes}
    for host, values in inventory.stores.items():
        rules = node_rules(values, inventory.variables.get(host, {}), target=True)
        plan["stores"][host] = store_entry(values, rules)
    filled = {
        host: [
            name for part in ("sources", "targets") if host in plan[part] for name in plan[part][host]["stores"] or ()
        ]
        for host in inventory.nodes
    }
    errors.general += enter_trees(plan, filled)
    zone = "UTC" if errors.has("altbackup_timezone") else common["timezone"]
    for settings in (inventory.sources, inventory.targets):
        errors.general += set_pauses(plan["nodes"], settings, zone, now)
    steps = [node["step_timeout"] for part in ("nodes", "stores") for node in plan[part].values()]
    plan["run"] = {**run, "seconds": _LEASE_STEPS * max(steps, default=0.0) + _LEASE_SECONDS} if run else {}
    return completed(plan, plan["sources"])


def _mark(
    plan: dict[str, Any],
    inventory: _Inventory,
    known: Mapping[str, Mapping[str, Any]] | str,
    extra: Collection[str] | None,
) -> None:
    """Enter `marks` of all sources and those `given` now; a journal that cannot be read is a failure. Add errors."""
    moment = Moment(plan["stamp"], plan["clock"])
    plan["given"], wrong = given_marks(inventory.common, plan["sources"], moment, extra)
    if isinstance(known, str):
        plan["failures"] = [{**failure("mark", known), "node": "localhost"}]
        wrong += [known] if plan["given"] else []
        known = {}
    inventory.errors.general += wrong
    plan["marks"] = all_marks(known, plan["given"], plan["sources"])


def effective(plan: Mapping[str, Any], host: str) -> dict[str, Any]:
    """Return the part of a plan that concerns a host, for display: secrets are masked."""
    shown: dict[str, Any] = {"host": host, **{key: plan[key] for key in ("stamp", "day", "timezone", "only_targets")}}
    for part, title in (("sources", "source"), ("targets", "target"), ("stores", "store")):
        if host in plan[part]:
            shown[title] = plan[part][host]
    masked: dict[str, Any] = mask(shown)
    return masked
