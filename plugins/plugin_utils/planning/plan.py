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
from .retention import keeps_alone, node_rules, told_alone
from .run_settings import moment_of_run, of_one_run, retiring, run_settings, validated
from .settings import describe_unknown
from .stores import enter_trees, store_entry

_LEASED_STEPS, _LEASED = 2, 600.0
"""For how many of the longest steps, and how many seconds more, a node stays a run's after a call: others come in between."""
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
    """What the variables of all hosts say, and what is wrong with that."""

    variables: Mapping[str, Mapping[str, Any]]
    hosts: Sequence[str]
    nodes: Sequence[str]
    """The sources, then the other targets"""
    common: Mapping[str, Any]
    """The settings of the run, without their prefix"""
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
    """Given the `altbackup_*` and connection variables of all hosts and the groups, return the plan; errors stand in its `errors`.

    `now` is in seconds since 1970. `stamp` is that of an earlier play of the same run, used where no host gives one.
    In a `chain` the day is the stamp's, whatever day is given. With a `scope` in which there is nothing to do, that is an error.
    `marks` are those that the controller knows of sources, or why it does not know them, and `extra` the names of what was given with -e.
    README.md of role altbackup shows the plan's shape.
    """
    given = _read(variables, groups, now, stamp=stamp, chain=chain, scope=scope, extra=extra)
    notes = _check(given, groups)
    plan = _assemble(given, connection, notes, scope, run or {}, now)
    _mark(plan, given, {} if marks is None else marks, extra)
    found = given.errors.sentences() or (check_scope(plan, scope) if scope else [])
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
    """Read the variables of all hosts, each by itself; what is wrong with one of them is an error."""
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


def _check(given: _Inventory, groups: Mapping[str, Sequence[str]]) -> list[str]:
    """Add the errors of what does not go together; return notes."""
    hosts, nodes, common, errors = given.hosts, given.nodes, given.common, given.errors
    sources, targets = list(given.sources), list(given.targets)
    errors.general += check_only_targets(common["only_targets"], hosts, targets)
    errors.general += check_former_names(given.sources, given.targets)
    errors.general += check_adopted(common["adopt"], [*nodes, *given.stores])
    errors.general += check_undo(common["undo"], sources)
    errors.general += check_rekey(common["rekey"], sources)
    errors.general += check_names(sources)
    for host, values in given.sources.items():
        check_source(host, values, hosts, targets, errors)
    for of_role in (given.sources, given.targets):
        check_drill_hosts(of_role, hosts, errors)
    if not errors.has("altbackup_targets"):
        errors.general += check_named(targets, given.sources)
    errors.general += check_bases(given.sources, given.targets)
    of_nodes = {host: [part[host] for part in (given.sources, given.targets) if host in part] for host in nodes}
    check_stores(given.stores, of_nodes, hosts, errors)
    notes = check_outside(
        [host for host in hosts if host not in nodes and host not in given.stores], given.variables, groups, errors
    )
    return notes + [
        told_alone(host, values["altbackup_keep"])
        for host, values in given.targets.items()
        if keeps_alone(given.variables.get(host, {}))
    ]


def _assemble(
    given: _Inventory,
    connection: Mapping[str, Mapping[str, Any]],
    notes: Iterable[str],
    scope: Scope | None,
    run: Mapping[str, Any],
    now: float,
) -> dict[str, Any]:
    """Return the plan, but for what is marked; how a node is reached may be an error, too."""
    common, errors = given.common, given.errors
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
    for host, values in given.targets.items():
        rules = node_rules(values, given.variables.get(host, {}), target=True)
        plan["targets"][host] = target_entry(host, values, connection.get(host, {}), errors) | {"rules": rules}
    for host, values in given.sources.items():
        plan["sources"][host] = source_entry(host, values, common["only_targets"], plan["targets"], connection, errors)
    plan["nodes"] = {host: node_entry(host, plan) for host in given.nodes}
    for host, values in given.stores.items():
        rules = node_rules(values, given.variables.get(host, {}), target=True)
        plan["stores"][host] = store_entry(values, rules)
    filled = {
        host: [
            name for part in ("sources", "targets") if host in plan[part] for name in plan[part][host]["stores"] or ()
        ]
        for host in given.nodes
    }
    errors.general += enter_trees(plan, filled)
    zone = "UTC" if errors.has("altbackup_timezone") else common["timezone"]
    for settings in (given.sources, given.targets):
        errors.general += set_pauses(plan["nodes"], settings, zone, now)
    steps = [node["step_timeout"] for part in ("nodes", "stores") for node in plan[part].values()]
    plan["run"] = {**run, "seconds": _LEASED_STEPS * max(steps, default=0.0) + _LEASED} if run else {}
    return completed(plan, plan["sources"])


def _mark(
    plan: dict[str, Any],
    given: _Inventory,
    known: Mapping[str, Mapping[str, Any]] | str,
    extra: Collection[str] | None,
) -> None:
    """Enter what is marked of the copies of each source, what of that is `given` now, and as a failure why more is not known; add errors."""
    moment = Moment(plan["stamp"], plan["clock"])
    plan["given"], wrong = given_marks(given.common, plan["sources"], moment, extra)
    if isinstance(known, str):
        plan["failures"] = [{**failure("mark", known), "node": "localhost"}]
        wrong += [known] if plan["given"] else []
        known = {}
    given.errors.general += wrong
    plan["marks"] = all_marks(known, plan["given"], plan["sources"])


def effective(plan: Mapping[str, Any], host: str) -> dict[str, Any]:
    """Given a plan and a host, return what holds for it, to be shown: secrets are masked."""
    shown: dict[str, Any] = {"host": host, **{key: plan[key] for key in ("stamp", "day", "timezone", "only_targets")}}
    for part, title in (("sources", "source"), ("targets", "target"), ("stores", "store")):
        if host in plan[part]:
            shown[title] = plan[part][host]
    masked: dict[str, Any] = mask(shown)
    return masked
