"""The plan of a run: what every node does, from the variables of all hosts, as plain JSON values."""

from __future__ import annotations

import copy
import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...module_utils.kinds.items import Item, check_name, parse_item
from ...module_utils.kinds.registry import CATEGORIES
from ...module_utils.stages.controller import CONTROLLER, CONTROLLER_KEY
from ...module_utils.system.errors import InvalidInput
from ...module_utils.system.ssh import shown
from ...module_utils.system.values import nearest
from ...module_utils.system.visible import visible
from ...module_utils.tree.failures import failure
from ...module_utils.tree.stamps import Moment, day_of, earliest_moment, interpret_day, is_day, latest_stamp, stamp_at
from ..report.secrecy import mask, mask_text, quoted
from .marks import RETIRED, all_marks, given_marks
from .retention import item_keeps, item_rules, keeps_alone, node_rules, told_alone
from .settings import PREFIX, Unreadable, describe_unknown, distance, names, validate

SOURCES = "sources"
TARGETS = "targets"

_LATEST = 60
"""Seconds by which a given stamp may lie ahead of the controller's clock."""

_ONE_RUN = ("altbackup_purge_confirm", "altbackup_accept", "altbackup_release")
"""Variables that say what somebody has looked at, which the inventory cannot say beforehand, for every night"""
_LASTING = Unreadable(
    "is set in the inventory, where it would hold for all runs to come: take it out, and give it to one run, with -e"
)
_LEASED_STEPS, _LEASED = 2, 600.0
"""For how many of the longest steps, and how many seconds more, a node stays a run's after a call: others come in between."""

_OF_NODES = (
    "check_scope",
    "reverify_days",
    "max_age",
    "proof_age",
    "drill_share",
    "drill_limit",
    "drill_host",
    "drill_folder",
    "drill_user",
    "step_timeout",
    "nice",
    "ionice",
    "mail_to",
)
_OF_BOTH = (
    *_OF_NODES,
    "former_names",
    "keep",
    "trash_days",
    "ssh_key",
    "ssh_args",
    "rsync_host",
    "rsync_port",
    "rsync_user",
    "rrsync",
    "bwlimit",
    "min_rate",
    "connect_timeout",
    "io_timeout",
)
_TRASH_DAYS = {"source": 0, "target": 2}
"""For how many days what is removed stays in the trash, where nobody says it"""
_OF_SOURCES = (
    "min_copies",
    "base",
    "discover",
    "retired",
    "include_controller",
    "full_every",
    "verify_every",
    "ext",
    "compress_level",
    "shrink",
    "churn",
)
_OF_TARGETS = ("target_base",)
_OF_RESTORES = ("owner", "group", "mode", "selinux")
_CONNECTION = {"rsync_host": "ansible_host", "rsync_port": "ansible_port", "rsync_user": "ansible_user"}
_OF_PARTS = ("altbackup_items", "altbackup_discover", "altbackup_base", "altbackup_target_base")
"""Variables that only a host with a part in backups needs; the first two no other one has by chance"""
_LOCAL = ("local", "ansible.builtin.local")


@dataclass
class _Errors:
    """Errors of hosts, each told once with all the hosts that it concerns."""

    hosts: list[str]
    found: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def add(self, host: str, variable: str, text: str) -> None:
        where = self.found.setdefault((variable, text), [])
        if host not in where:
            where.append(host)

    def has(self, variable: str, host: str = "") -> bool:
        return any(name == variable and (not host or host in where) for (name, _), where in self.found.items())

    def sentences(self) -> list[str]:
        return [f"{self._where(where)}: {variable} {text}" for (variable, text), where in self.found.items()]

    def _where(self, where: Sequence[str]) -> str:
        if len(self.hosts) > 1 and len(where) == len(self.hosts):
            return "all hosts"
        return ", ".join(where)


@dataclass(frozen=True)
class Scope:
    """What a playbook is for, and what of it is left."""

    parts: Sequence[str]
    """The groups whose nodes have a part in it, empty for any; that of sources alone takes their trees for itself"""
    play_hosts: Sequence[str]
    limit: str
    """As the user gave it"""


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
    hosts = list(
        dict.fromkeys([*variables, *groups.get("all", ()), *groups.get(SOURCES, ()), *groups.get(TARGETS, ())])
    )
    sources, targets = list(groups.get(SOURCES, ())), list(groups.get(TARGETS, ()))
    errors = _Errors(hosts)
    general: list[str] = []
    variables = _of_one_run(variables, extra)
    if scope and RETIRED in (extra or ()):
        variables, general = _retiring(variables, sources, scope.play_hosts)
    for host in hosts:
        for name in variables.get(host, {}):
            unknown = describe_unknown(name)
            if unknown:
                errors.add(host, name, f"is an {unknown}")
    if not sources:
        general.append(
            f"group {SOURCES} is missing or empty: add the hosts that hold live data to it (is this the inventory that was meant?)"
        )
    nodes = list(dict.fromkeys([*sources, *targets]))
    common = _run_settings(variables, nodes or hosts, errors, general)
    asked = bool(common["day"].strip())
    common["stamp"], common["day"], common["clock"] = _moment(common, now, stamp, chain, general)
    source_values = {host: _validated("source", host, variables, errors) for host in sources}
    target_values = {host: _validated("target", host, variables, errors) for host in targets}
    general += _check_only_targets(common["only_targets"], hosts, targets)
    general += _check_former_names(source_values, target_values)
    general += _check_adopted(common["adopt"], nodes)
    general += _check_undo(common["undo"], sources)
    general += _check_names(sources)
    for host, values in source_values.items():
        _check_source(host, values, hosts, targets, errors)
    for values in (source_values, target_values):
        _check_drill_hosts(values, hosts, errors)
    if not errors.has("altbackup_targets"):
        general += _check_named(targets, source_values)
    general += _check_bases(source_values, target_values)
    outside = [host for host in hosts if host not in nodes]
    notes = _check_outside(outside, variables, groups, errors)
    notes += [
        told_alone(host, values["altbackup_keep"])
        for host, values in target_values.items()
        if keeps_alone(variables.get(host, {}))
    ]
    plan: dict[str, Any] = {
        "stamp": common["stamp"],
        "clock": common["clock"],
        "day": common["day"],
        "list_day": common["day"] if asked else "all",
        "timezone": common["timezone"],
        "only_targets": common["only_targets"],
        "history_days": common["history_days"],
        "metrics_dir": common["metrics_dir"],
        "list_file": common["list_file"],
        "purge_plan": common["purge_plan"],
        "restore": common["restore"],
        "restore_settings": {name: common[f"restore_{name}"] for name in _OF_RESTORES},
        "adopt": [entry for entry in common["adopt"] if "/" in entry],
        "adopted_nodes": [entry for entry in common["adopt"] if "/" not in entry],
        "given": {},
        "marks": {},
        "failures": [],
        "purge_confirm": common["purge_confirm"],
        "undo": common["undo"],
        "contents": common["contents"],
        "locked": scope is not None and list(scope.parts) == [SOURCES],
        "errors": [],
        "notes": [visible(note) for note in notes],
        "sources": {},
        "targets": {},
        "nodes": {},
    }
    for host, values in target_values.items():
        rules = node_rules(values, variables.get(host, {}), target=True)
        plan["targets"][host] = _target(host, values, connection.get(host, {}), errors) | {"rules": rules}
    for host, values in source_values.items():
        plan["sources"][host] = _source(host, values, common["only_targets"], plan["targets"], connection, errors)
    plan["nodes"] = {host: _node(host, plan) for host in nodes}
    steps = [node["step_timeout"] for node in plan["nodes"].values()]
    plan["run"] = {**run, "seconds": _LEASED_STEPS * max(steps, default=0.0) + _LEASED} if run else {}
    plan = _completed(plan, plan["sources"])
    general += _mark(plan, common, {} if marks is None else marks, extra)
    found = [*general, *errors.sentences()] or (_check_scope(plan, scope) if scope else [])
    plan["errors"] = [visible(sentence) for sentence in found]
    return plan


def _mark(
    plan: dict[str, Any],
    common: Mapping[str, Any],
    known: Mapping[str, Mapping[str, Any]] | str,
    extra: Collection[str] | None,
) -> list[str]:
    """Enter what is marked of the copies of each source, what of that is `given` now, and as a failure why more is not known; return errors."""
    moment = Moment(plan["stamp"], plan["clock"])
    plan["given"], wrong = given_marks(common, plan["sources"], moment, extra)
    if isinstance(known, str):
        plan["failures"] = [{**failure("mark", known), "node": "localhost"}]
        wrong += [known] if plan["given"] else []
        known = {}
    plan["marks"] = all_marks(known, plan["given"], plan["sources"])
    return wrong


def _of_one_run(variables: Mapping[str, Mapping[str, Any]], extra: Collection[str] | None) -> dict[str, dict[str, Any]]:
    """Given the variables of all hosts and the names of what was given with -e, return them with those of one run unreadable that were not."""
    lasting = {name for name in _ONE_RUN if extra is not None and name not in extra}
    return {
        host: {name: _LASTING if name in lasting and value else value for name, value in own.items()}
        for host, own in variables.items()
    }


def _retiring(
    variables: Mapping[str, Mapping[str, Any]], sources: Sequence[str], play_hosts: Sequence[str]
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Given what is retired with -e, which names no source, return (the variables, with it at the sources of the play alone, errors)."""
    elsewhere = {source for source in sources if source not in play_hosts}
    kept = {
        host: {name: value for name, value in own.items() if name != RETIRED or host not in elsewhere}
        for host, own in variables.items()
    }
    if len(elsewhere) < len(sources):
        return kept, []
    here = ", ".join(play_hosts)
    return kept, [
        f"{RETIRED}: it is said of the sources of a run, and there is none among {here}: name one in --limit, too"
    ]


def _check_scope(plan: Mapping[str, Any], scope: Scope) -> list[str]:
    """Return an error if no host of the play has a part in its playbook, or if no source there has a target left."""
    if not scope.parts:
        return []
    nodes = list(dict.fromkeys(node for part in scope.parts for node in plan[part]))
    left = [node for node in nodes if node in scope.play_hosts]
    if not left:
        limited = f" (limited to {scope.limit})" if scope.limit else ""
        here, all_nodes = ", ".join(scope.play_hosts), ", ".join(nodes)
        which, named = " or ".join(scope.parts), " and ".join(scope.parts)
        return [f"No {which} among the nodes of this playbook: {here}{limited}; its {named} are {all_nodes}"]
    sources = [node for node in left if node in plan[SOURCES]]
    if plan["locked"] and plan["only_targets"] and not any(plan[SOURCES][node]["targets"] for node in sources):
        none = f"none of {', '.join(plan['only_targets'])} is a target of {', '.join(sources)}"
        hint = "Name one of their altbackup_targets, or leave altbackup_only_targets out"
        return [f"altbackup_only_targets: {none}. {hint}"]
    return []


def with_items(plan: Mapping[str, Any], source: str, discovered: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Given a plan, a source and the items discovered there, return the plan with those that are not explicit items already.

    Raise InvalidInput if the plan has no such source.
    """
    if source not in plan["sources"]:
        raise InvalidInput(f"{source!r} is no source of this plan, {nearest(source, list(plan['sources']))}")
    result: dict[str, Any] = copy.deepcopy(dict(plan))
    entry = result["sources"][source]
    known = [*entry["items"], *entry["item_errors"]]
    paths = {item["path"] for item in known if item.get("path")}
    explicit = {f"{CATEGORIES[item['kind']]}/{item['name']}": item for item in known if item["kind"] in CATEGORIES}
    good, bad = _sorted_items([item for item in discovered if not _is_known(item, paths)])
    for item in good:
        if item.key not in explicit:
            entry["items"].append(_plain_item(item))
        elif explicit[item.key] not in entry["item_errors"]:
            bad.append(
                _item_error(
                    _plain_item(item),
                    f"discovered {item.kind} {item.path} would be {item.key}, which is the item of path "
                    f"{explicit[item.key]['path']}: give that item another name",
                )
            )
    entry["item_errors"] += [error for error in bad if error not in entry["item_errors"]]
    return _completed(result, [source])


def effective(plan: Mapping[str, Any], host: str) -> dict[str, Any]:
    """Given a plan and a host, return what holds for it, to be shown: secrets are masked."""
    shown: dict[str, Any] = {"host": host, **{key: plan[key] for key in ("stamp", "day", "timezone", "only_targets")}}
    for part, title in (("sources", "source"), ("targets", "target")):
        if host in plan[part]:
            shown[title] = plan[part][host]
    masked: dict[str, Any] = mask(shown)
    return masked


def _run_settings(
    variables: Mapping[str, Mapping[str, Any]], holders: Sequence[str], errors: _Errors, general: list[str]
) -> dict[str, Any]:
    """Return the settings that all nodes share, adding an error for each that differs between them."""
    chosen: dict[str, Any] = validate("main", {})[0]
    values = {host: _validated("main", host, variables, errors) for host in holders}
    for name in names("main"):
        distinct: dict[str, list[str]] = {}
        for host in holders:
            distinct.setdefault(repr(values[host][name]), []).append(host)
            chosen[name] = values[holders[0]][name]
        if len(distinct) > 1:
            where = "; ".join(f"{quoted(values[same[0]][name])} on {', '.join(same)}" for same in distinct.values())
            general.append(
                f"{name} is one for the whole run, but is {where}: set it for all hosts, in group_vars/all or with -e"
            )
    return {name.removeprefix(PREFIX): value for name, value in chosen.items()}


def _moment(run: dict[str, Any], now: float, stamp: str, chain: bool, general: list[str]) -> tuple[str, str, str]:
    """Return stamp and day of the run, and what the controller's clock has shown, adding errors; an unknown zone counts as UTC."""
    zone = run["timezone"]
    try:
        stamp_at(now, zone)
    except InvalidInput as error:
        general.append(f"altbackup_timezone: {error}")
        zone = "UTC"
    moment = run["stamp"].strip() or stamp or stamp_at(now, zone)
    try:
        if earliest_moment(moment, zone) > now + _LATEST:
            general.append(
                f"altbackup_stamp {moment} is later than now, {stamp_at(now, zone)} ({zone}): give one that has passed, or none"
            )
    except InvalidInput as error:
        general.append(f"altbackup_stamp: {error}")
        moment = stamp_at(now, zone)
    day = day_of(moment)
    try:
        asked = interpret_day(run["day"], day)
    except InvalidInput as error:
        general.append(f"altbackup_day: {error}")
        asked = day
    return moment, day if chain else asked, latest_stamp(now, zone)


def _validated(entry: str, host: str, variables: Mapping[str, Mapping[str, Any]], errors: _Errors) -> dict[str, Any]:
    values, problems = validate(entry, variables.get(host, {}))
    for problem in problems:
        errors.add(host, problem.variable, problem.text)
    return values


def _check_names(sources: Iterable[str]) -> list[str]:
    """Return an error for each source whose name cannot be that of a folder."""
    found = []
    for host in sources:
        try:
            check_name(host)
        except InvalidInput as error:
            found.append(f"{host}: a source's name is that of its folder on the targets. {error}")
    return found


def _check_only_targets(only: Sequence[str], hosts: Sequence[str], targets: Sequence[str]) -> list[str]:
    return [f"altbackup_only_targets: {_no_target(name, hosts, targets)}" for name in only if name not in targets]


def _check_former_names(*values: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Given the settings of all sources, and of all targets, return an error for each former name that is not one node's alone."""
    found = []
    for of_role in values:
        owners: dict[str, list[str]] = {}
        for host, settings in of_role.items():
            for name in settings["altbackup_former_names"] or ():
                owners.setdefault(name, []).append(host)
        for name, hosts in owners.items():
            if name in of_role:
                found.append(
                    f"{', '.join(hosts)}: altbackup_former_names names {name!r}, which is a node of this inventory itself: two histories are never made one"
                )
            elif len(hosts) > 1:
                found.append(
                    f"{', '.join(hosts)}: altbackup_former_names names {name!r} for each of them: leave it with the one that was called so"
                )
    return found


def _check_adopted(adopted: Sequence[str], nodes: Sequence[str]) -> list[str]:
    """Return an error for each name that is no node's, of what is adopted and is no item."""
    return [
        f"altbackup_adopt: {name!r} is neither an item, written as source/category/name, nor a source or target, {nearest(name, nodes)}"
        for name in adopted
        if "/" not in name and name not in nodes
    ]


def _check_undo(asked: Sequence[str], sources: Sequence[str]) -> list[str]:
    """Return an error for each tarball that is to be put back of what is no source."""
    named = [(text, text.partition("/")[0]) for text in asked if not is_day(text)]
    return [
        f"altbackup_undo: {text}: {source!r} is no source, {nearest(source, sources)}"
        for text, source in named
        if source not in sources
    ]


def _no_target(name: str, hosts: Sequence[str], targets: Sequence[str]) -> str:
    if name in hosts:
        return f"{name!r} is a host of the inventory, but not in group {TARGETS}: add it there, or name a target"
    hint = nearest(name, targets) if targets else "add it to the inventory"
    return f"{name!r} is no host of the inventory, but should be one of group {TARGETS}: {hint}"


def _check_source(
    host: str, values: Mapping[str, Any], hosts: Sequence[str], targets: Sequence[str], errors: _Errors
) -> None:
    """Add the errors of one source that need more than one variable."""
    named = values["altbackup_targets"]
    if named is not None:
        if not named:
            errors.add(host, "altbackup_targets", "is empty: name at least one host of group targets, like [cms01]")
        for name, count in Counter(named).items():
            if name not in targets:
                errors.add(host, "altbackup_targets", f"names {_no_target(name, hosts, targets)}")
            if count > 1:
                errors.add(host, "altbackup_targets", f"names {name!r} {count} times: name each target once")
        if named and values["altbackup_min_copies"] > len(named):
            text = f"{values['altbackup_min_copies']} asks for more than altbackup_targets names, {len(named)}: nothing would ever be purged"
            errors.add(host, "altbackup_min_copies", text)
        if isinstance(values["altbackup_transport"], dict):
            for name in values["altbackup_transport"]:
                if name not in named:
                    errors.add(
                        host,
                        "altbackup_transport",
                        f"names {name!r}, to which it does not send: {nearest(name, named, values['altbackup_transport'])}",
                    )
    if values["altbackup_include_controller"]:
        for item in _sorted_items(values["altbackup_items"] or ())[0]:
            if item.key == CONTROLLER_KEY:
                text = f"names {item.key}, which altbackup_include_controller makes: give it another name"
                errors.add(host, "altbackup_items", text)
    _check_memory(host, values, errors)
    _check_nights(host, values, errors)
    wrong = any(errors.has(name, host) for name in ("altbackup_items", "altbackup_discover"))
    if not (values["altbackup_items"] or values["altbackup_discover"] or wrong):
        text = "is empty and altbackup_discover, too, so nothing would be backed up: name an item in one of them"
        errors.add(host, "altbackup_items", text)


def _check_nights(host: str, values: Mapping[str, Any], errors: _Errors) -> None:
    """Add the errors of full_every where sidecars are to be those of the original scripts, which know no differentials."""
    if values["altbackup_dna_algorithm"] != "md5":
        return
    many = {"altbackup_full_every": values["altbackup_full_every"]}
    many.update(
        {item.key: item.full_every for item in _sorted_items(values["altbackup_items"] or ())[0] if item.full_every}
    )
    for name, nights in many.items():
        if nights and nights > 1:
            where = "" if name == "altbackup_full_every" else f"of {name}, full_every, "
            text = f"{where}{nights} makes differentials, which the original scripts do not know, but altbackup_dna_algorithm is md5: leave it at 1"
            errors.add(host, "altbackup_full_every", text)


def _check_memory(host: str, values: Mapping[str, Any], errors: _Errors) -> None:
    """Add the errors of what is said of items that are none any more."""
    items = _sorted_items(values["altbackup_items"] or ())[0]
    keys = {item.key for item in items}
    retired = values["altbackup_retired"] or {}
    for key, day in retired.items():
        if day and key in keys:
            text = f"names {key}, which is declared in altbackup_items, too: take it out of altbackup_retired if it is to be backed up"
            errors.add(host, "altbackup_retired", text)
    owners: dict[str, list[str]] = {}
    for item in items:
        for former in dict.fromkeys(item.former_names):
            owners.setdefault(former, []).append(item.key)
    for former, several in owners.items():
        if former in keys:
            text = f"names {former} among the former_names of {several[0]}, but it is an item itself: two histories are never made one"
            errors.add(host, "altbackup_items", text)
        if retired.get(former):
            text = f"names {former}, which is among the former_names of {several[0]}, too: leave it out of one of them"
            errors.add(host, "altbackup_retired", text)
        if len(several) > 1:
            text = f"names {former} among the former_names of {' and '.join(several)}: leave it with the one that has its place now"
            errors.add(host, "altbackup_items", text)


def _check_drill_hosts(nodes: Mapping[str, Mapping[str, Any]], hosts: Sequence[str], errors: _Errors) -> None:
    """Add the errors of nodes whose tarballs are to be drilled on another host."""
    for node, values in nodes.items():
        host = values["altbackup_drill_host"]
        if host and host not in hosts:
            errors.add(node, "altbackup_drill_host", f"{host!r} is no host of the inventory, {nearest(host, hosts)}")
        elif host and host != node and not values["altbackup_drill_folder"]:
            text = f"is empty, but drills are to unpack on {host} (altbackup_drill_host): name the folder there, like /scratch"
            errors.add(node, "altbackup_drill_folder", text)


def _check_named(targets: Sequence[str], source_values: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return an error for each target that no source names."""
    named = {target for values in source_values.values() for target in values["altbackup_targets"] or ()}
    if not source_values:
        return []
    return [
        f"{target}: no source names this target: add it to the altbackup_targets of one, or take it out of group {TARGETS}"
        for target in targets
        if target not in named
    ]


def _check_outside(
    outside: Sequence[str],
    variables: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Sequence[str]],
    errors: _Errors,
) -> list[str]:
    """Given the hosts in neither group, add an error for each that was surely meant to be in one; return notes on those that may have been.

    A variable that each host has may come from the group of all, and tells nothing.
    """
    notes = []
    telling = [name for name in _OF_PARTS if any(name not in variables.get(host, {}) for host in errors.hosts)]
    for host in outside:
        own = [name for name in telling if variables.get(host, {}).get(name) not in (None, "", [], {})]
        near = [(group, meant) for group, members in groups.items() if host in members for meant in _meant_group(group)]
        if own and near:
            group, meant = near[0]
            text = (
                f"is set, but the host is in neither group {SOURCES} nor {TARGETS}, so it has no part in backups; it is in "
                f"{group!r}, did you mean {meant!r}?"
            )
            errors.add(host, own[0], text)
        elif own and own[0] in _OF_PARTS[:2]:
            notes.append(
                f"{host}: {own[0]} is set, but the host is in neither group {SOURCES} nor {TARGETS}, so nothing of it is backed up: "
                f"add it to {SOURCES}, or take the variable away"
            )
    return notes


def _meant_group(name: str) -> list[str]:
    """Given the name of a group, return which of the two it was meant to be, if it is but a slip away from one."""
    lower = name.lower()
    return [
        meant
        for meant in (SOURCES, TARGETS)
        if name != meant and distance(lower, meant, 2) <= (2 if sorted(lower) == sorted(meant) else 1)
    ]


def _check_bases(
    source_values: Mapping[str, Mapping[str, Any]], target_values: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Return an error for each node whose own tarballs would lie in a tree that it keeps for a source, or beside those trees."""
    found = []
    for host in source_values:
        base = source_values[host]["altbackup_base"]
        above = target_values.get(host, {}).get("altbackup_target_base")
        if base and above and base in {above, *(os.path.join(above, name) for name in source_values)}:
            found.append(
                f"{host}: altbackup_base {base} is also where it keeps the copies that it receives (altbackup_target_base {above}): "
                "choose another folder for one of them"
            )
    return found


def _common(host: str, values: Mapping[str, Any], connection: Mapping[str, Any], errors: _Errors) -> dict[str, Any]:
    """Return the settings that sources and targets share, with how peers reach the node."""
    entry = {name: values[PREFIX + name] for name in _OF_BOTH}
    entry["ssh_args"] = shown(entry["ssh_args"])
    for name, origin in _CONNECTION.items():
        value = connection.get(origin)
        if entry[name] in (None, "") and isinstance(value, Unreadable):
            errors.add(host, origin, value.reason)
        elif entry[name] in (None, "") and value not in (None, ""):
            entry[name] = value
    entry["drill_host"] = "" if entry["drill_host"] == host else entry["drill_host"]
    entry["rsync_host"] = str(entry["rsync_host"] or host)
    entry["rsync_user"] = str(entry["rsync_user"] or "")
    try:
        entry["rsync_port"] = int(entry["rsync_port"]) if entry["rsync_port"] else None
    except (ValueError, TypeError, OverflowError):
        errors.add(host, "ansible_port", f"is {quoted(entry['rsync_port'])}, not a whole number: write one, like 22")
        entry["rsync_port"] = None
    return entry


def _target(host: str, values: Mapping[str, Any], connection: Mapping[str, Any], errors: _Errors) -> dict[str, Any]:
    entry = {name: values[PREFIX + name] for name in _OF_TARGETS}
    return (
        entry
        | _common(host, values, connection, errors)
        | {"slots": values["altbackup_target_slots"], "absent_for": values["altbackup_absent_for"], "sources": []}
    )


def _source(
    host: str,
    values: Mapping[str, Any],
    only: Sequence[str],
    targets: dict[str, Any],
    connection: Mapping[str, Mapping[str, Any]],
    errors: _Errors,
) -> dict[str, Any]:
    """Return what a source does, and enter it at its targets."""
    good, bad = _sorted_items(values["altbackup_items"] or ())
    chosen = [
        name
        for name in dict.fromkeys(values["altbackup_targets"] or ())
        if name in targets and (not only or name in only)
    ]
    for name in chosen:
        targets[name]["sources"].append(host)
    transport = values["altbackup_transport"]
    modes = transport if isinstance(transport, dict) else dict.fromkeys(chosen, transport)
    entry = {name: values[PREFIX + name] for name in _OF_SOURCES} | _common(
        host, values, connection.get(host, {}), errors
    )
    return entry | {
        "items": [_plain_item(item) for item in good],
        "item_errors": bad,
        "targets": chosen,
        "rules": node_rules(values, {}, target=False),
        "local_targets": [name for name in chosen if _is_local(host, name, connection, targets[name])],
        "transport": {name: modes.get(name, "push") for name in chosen},
        "algorithm": values["altbackup_dna_algorithm"],
    }


def _is_local(source: str, target: str, connection: Mapping[str, Mapping[str, Any]], entry: Mapping[str, Any]) -> bool:
    """Return whether both are one machine, so that nothing needs ssh: one host, or both the controller itself."""
    if source == target:
        return True
    both = [connection.get(host, {}).get("ansible_connection") for host in (source, target)]
    dialled = connection.get(target, {}).get("ansible_host") or target
    return all(plugin in _LOCAL for plugin in both) and entry["rsync_host"] == dialled


def _node(host: str, plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return the trees of a node: its own, and those that it keeps for sources."""
    source, target = plan["sources"].get(host), plan["targets"].get(host)
    trees = []
    if source:
        trees.append({"role": "source", "source": host, "base": source["base"], **_purged_by("source", source, source)})
    if target:
        for name in target["sources"]:
            base = os.path.join(target["target_base"], name) if target["target_base"] else None
            purged_by = _purged_by("target", target, plan["sources"][name])
            former = plan["sources"][name]["former_names"]
            trees.append({"role": "target", "source": name, "base": base, **purged_by, "former_names": former})
    either = source or target
    return {name: either[name] for name in _OF_NODES} | {"trees": trees}


def _purged_by(role: str, node: Mapping[str, Any], source: Mapping[str, Any]) -> dict[str, Any]:
    """Given the role of a tree, the settings of its node and those of its source, return by what it is purged."""
    days = _TRASH_DAYS[role] if node["trash_days"] is None else node["trash_days"]
    return {"keep": node["keep"], "rules": dict(node["rules"]), "trash_days": days, "min_copies": source["min_copies"]}


def _completed(plan: dict[str, Any], sources: Iterable[str]) -> dict[str, Any]:
    """Return the plan with what follows from the items of these sources set anew, at the sources and in all trees."""
    for source in sources:
        entry = plan["sources"][source]
        identities = {
            (CATEGORIES[item["kind"]], item["name"])
            for item in [*entry["items"], *entry["item_errors"]]
            if item["kind"] in CATEGORIES and item["name"]
        }
        if entry["include_controller"]:
            identities.add((CATEGORIES["folder"], CONTROLLER))
        keys = sorted("/".join(identity) for identity in identities)
        expect = dict(sorted(Counter(name for _, name in identities).items()))
        trees = [tree for node in plan["nodes"].values() for tree in node["trees"] if tree["source"] == source]
        for place in [entry, *trees]:
            place["keys"] = list(keys)
            place["expect"] = dict(expect)
            place["keeps"] = item_keeps(place, entry["items"])
            place["rules"] = item_rules(place, entry["items"])
            place["verify"] = {
                f"{CATEGORIES[item['kind']]}/{item['name']}": item["verify"]
                for item in entry["items"]
                if "verify" in item
            }
            if entry["include_controller"]:
                place["keeps"][CONTROLLER_KEY] = place["keep"]
            place["memory"] = {
                "retired": {key: day for key, day in entry["retired"].items() if day},
                "former": {
                    former: f"{CATEGORIES[item['kind']]}/{item['name']}"
                    for item in entry["items"]
                    for former in item.get("former_names", ())
                },
            }
        for tree in trees:
            tree["discover"] = bool(entry["discover"])
    return plan


def _sorted_items(values: Iterable[Any]) -> tuple[list[Item], list[dict[str, str]]]:
    """Given items as written, return the good ones and an item error for each other; of items with one identity none is good."""
    good: list[tuple[Any, Item]] = []
    bad: list[dict[str, str]] = []
    for value in values:
        try:
            good.append((value, parse_item(value)))
        except InvalidInput as error:
            bad.append(_item_error(value, mask_text(str(error))))
        except (TypeError, ValueError):
            bad.append(
                _item_error(
                    value,
                    f"item {quoted(value)}: a value has a wrong type: kind, name and path are texts, exclude is a list",
                )
            )
    counts = Counter(item.key for _, item in good)
    for value, item in good:
        if counts[item.key] > 1:
            paths = ", ".join(other.path for _, other in good if other.key == item.key)
            reason = f"item {item.kind} {item.name!r}: {item.key} stands {counts[item.key]} times ({paths}): give each a name of its own"
            bad.append(_item_error(value, reason))
    return [item for _, item in good if counts[item.key] == 1], bad


def _item_error(value: Any, reason: str) -> dict[str, str]:
    """Given an item as written and what is wrong with it, return the item error; what is not known of the item is empty."""
    fields = value if isinstance(value, Mapping) else {}
    kind, path = fields.get("kind"), fields.get("path")
    try:
        name = check_name(fields.get("name"))
    except (InvalidInput, ValueError):
        name = ""
    return {
        "kind": kind if isinstance(kind, str) and kind in CATEGORIES else "",
        "name": name,
        "path": os.path.normpath(path) if isinstance(path, str) and path else "",
        "reason": reason,
    }


def _plain_item(item: Item) -> dict[str, Any]:
    """Given an item, return it as modules take it, without what is not set."""
    rules = {**({} if item.keep is None else {"keep": item.keep}), **dict(item.rules)}
    optional = {
        "keep": rules if item.rules else item.keep,
        "shrink": item.shrink,
        "churn": item.churn,
        "full_every": item.full_every,
        "exclude": list(item.exclude),
        "exclude_caches": item.exclude_caches,
        "exclude_if_present": list(item.exclude_if_present),
        "changing": list(item.changing),
        "may_move": list(item.may_move),
        "may_empty": list(item.may_empty),
        "require": item.require,
        "former_names": list(item.former_names),
    }
    return {
        "kind": item.kind,
        "name": item.name,
        "path": item.path,
        **{key: value for key, value in optional.items() if value},
        **item.plain_options(),
    }


def _is_known(item: Mapping[str, Any], paths: Iterable[str]) -> bool:
    path = item.get("path")
    return isinstance(path, str) and os.path.normpath(path) in paths
