"""Checks of an inventory that need more than one variable: each function returns or adds the errors of one subject."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...module_utils.kinds.items import check_name
from ...module_utils.stages.controller import CONTROLLER_KEY
from ...module_utils.system.errors import InvalidInput
from ...module_utils.system.paths import is_within
from ...module_utils.system.values import nearest
from ...module_utils.tree.stamps import is_day
from .groups import SOURCES, STORES, TARGETS
from .inventory_errors import Errors
from .plan_items import sort_items
from .recipients import check_recipients


@dataclass(frozen=True)
class Scope:
    """The groups that a playbook is for, and the hosts of its play."""

    parts: Sequence[str]
    """The groups whose nodes take part, empty for any; a playbook of sources alone locks their trees"""
    play_hosts: Sequence[str]
    limit: str
    """`--limit` as the user gave it"""


def check_scope(plan: Mapping[str, Any], scope: Scope) -> list[str]:
    """Return an error if no host of the play takes part in its playbook, or if no source there has a target left."""
    if not scope.parts:
        return []
    nodes = list(dict.fromkeys(node for part in scope.parts for node in plan[part]))
    left = [node for node in nodes if node in scope.play_hosts]
    if not left:
        limited = f" (limited to {scope.limit})" if scope.limit else ""
        here, all_nodes = (", ".join(names) or "none" for names in (scope.play_hosts, nodes))
        which, named = " or ".join(scope.parts), " and ".join(scope.parts)
        return [f"No {which} among the nodes of this playbook: {here}{limited}; its {named} are {all_nodes}"]
    sources = [node for node in left if node in plan[SOURCES]]
    if plan["locked"] and plan["only_targets"] and not any(plan[SOURCES][node]["targets"] for node in sources):
        none = f"none of {', '.join(plan['only_targets'])} is a target of {', '.join(sources)}"
        hint = "Name one of their altbackup_targets, or leave altbackup_only_targets out"
        return [f"altbackup_only_targets: {none}. {hint}"]
    return []


def check_names(sources: Iterable[str]) -> list[str]:
    """Return an error for each source whose name is not valid as a folder's name."""
    found = []
    for host in sources:
        try:
            check_name(host)
        except InvalidInput as error:
            found.append(f"{host}: a source's name is that of its folder on the targets. {error}")
    return found


def check_only_targets(only: Sequence[str], hosts: Sequence[str], targets: Sequence[str]) -> list[str]:
    """Return an error for each name in altbackup_only_targets that is not a target."""
    return [
        f"altbackup_only_targets: {name!r} {_no_target(name, hosts, targets)}" for name in only if name not in targets
    ]


def check_former_names(*values: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return an error for each former name that is not unique; each argument is {host: settings} of one role."""
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


def check_adopted(adopted: Sequence[str], nodes: Sequence[str]) -> list[str]:
    """Return an error for each name to adopt that is neither an item nor a node."""
    return [
        f"altbackup_adopt: {name!r} is neither an item, written as source/category/name, nor a source, target or store, {nearest(name, nodes)}"
        for name in adopted
        if "/" not in name and name not in nodes
    ]


def check_undo(asked: Sequence[str], sources: Sequence[str]) -> list[str]:
    """Return an error for each tarball to put back whose source is unknown."""
    named = [(text, text.partition("/")[0]) for text in asked if not is_day(text)]
    return [
        f"altbackup_undo: {text}: {source!r} is no source, {nearest(source, sources)}"
        for text, source in named
        if source not in sources
    ]


def check_rekey(asked: Sequence[str], sources: Sequence[str]) -> list[str]:
    """Return an error for each item that is to be encrypted anew of what is no source."""
    named = [(text, text.partition("/")[0]) for text in asked]
    return [
        f"altbackup_rekey: {text}: {source!r} is no source, {nearest(source, sources)}"
        for text, source in named
        if source not in sources
    ]


def _no_target(name: str, hosts: Sequence[str], targets: Sequence[str]) -> str:
    """Return what is wrong with the name of a target, as the end of a sentence."""
    if name in hosts:
        return f"is a host of the inventory, but not in group {TARGETS}: add it there, or name a target"
    hint = nearest(name, targets) if targets else "add it to the inventory"
    return f"is no host of the inventory, but should be one of group {TARGETS}: {hint}"


def check_source(
    host: str, values: Mapping[str, Any], hosts: Sequence[str], targets: Sequence[str], errors: Errors
) -> None:
    """Add the errors of one source that need more than one variable."""
    named = values["altbackup_targets"]
    if named is not None:
        if not named:
            errors.add(host, "altbackup_targets", "is empty: name at least one host of group targets, like [cms01]")
        for name, count in Counter(named).items():
            if name not in targets:
                errors.add(host, "altbackup_targets", f"names {name!r}, which {_no_target(name, hosts, targets)}")
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
        for item in sort_items(values["altbackup_items"] or ())[0]:
            if item.key == CONTROLLER_KEY:
                text = f"names {item.key}, which altbackup_include_controller makes: give it another name"
                errors.add(host, "altbackup_items", text)
    _check_memory(host, values, errors)
    _check_nights(host, values, errors)
    check_recipients(host, values, errors)
    wrong = any(errors.has(name, host) for name in ("altbackup_items", "altbackup_discover"))
    if not (values["altbackup_items"] or values["altbackup_discover"] or wrong):
        text = "is empty and altbackup_discover, too, so nothing would be backed up: name an item in one of them"
        errors.add(host, "altbackup_items", text)


def _check_nights(host: str, values: Mapping[str, Any], errors: Errors) -> None:
    """Add the errors of full_every with md5: the original scripts, which use it, do not know differentials."""
    if values["altbackup_dna_algorithm"] != "md5":
        return
    many = {"altbackup_full_every": values["altbackup_full_every"]}
    many.update(
        {item.key: item.full_every for item in sort_items(values["altbackup_items"] or ())[0] if item.full_every}
    )
    for name, nights in many.items():
        if nights and nights > 1:
            where = "" if name == "altbackup_full_every" else f"of {name}, full_every, "
            text = f"{where}{nights} makes differentials, which the original scripts do not know, but altbackup_dna_algorithm is md5: leave it at 1"
            errors.add(host, "altbackup_full_every", text)


def _check_memory(host: str, values: Mapping[str, Any], errors: Errors) -> None:
    """Add the errors of retired items and former names."""
    items = sort_items(values["altbackup_items"] or ())[0]
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


def check_drill_hosts(nodes: Mapping[str, Mapping[str, Any]], hosts: Sequence[str], errors: Errors) -> None:
    """Add the errors of nodes whose tarballs are drilled on another host; `nodes` is {node: settings}."""
    for node, values in nodes.items():
        host = values["altbackup_drill_host"]
        if host and host not in hosts:
            errors.add(node, "altbackup_drill_host", f"{host!r} is no host of the inventory, {nearest(host, hosts)}")
        elif host and host != node and not values["altbackup_drill_folder"]:
            text = f"is empty, but drills are to unpack on {host} (altbackup_drill_host): name the folder there, like /scratch"
            errors.add(node, "altbackup_drill_folder", text)


def check_named(targets: Sequence[str], source_values: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return an error for each target that no source names."""
    named = {target for values in source_values.values() for target in values["altbackup_targets"] or ()}
    if not source_values:
        return []
    return [
        f"{target}: no source names this target: add it to the altbackup_targets of one, or take it out of group {TARGETS}"
        for target in targets
        if target not in named
    ]


def check_stores(
    stores: Mapping[str, Mapping[str, Any]],
    nodes: Mapping[str, Sequence[Mapping[str, Any]]],
    hosts: Sequence[str],
    errors: Errors,
) -> None:
    """Add the errors of stores; `stores` is {store: settings}, `nodes` {node: its settings as a source and as a target}."""
    named: dict[str, list[str]] = {}
    for node, of_roles in nodes.items():
        given = [name for values in of_roles for name in values["altbackup_stores"] or ()]
        for name in dict.fromkeys(given):
            if name not in stores:
                where = (
                    f"is a host of the inventory, but not in group {STORES}: add it there"
                    if name in hosts
                    else f"is no host of the inventory, but should be one of group {STORES}: {nearest(name, list(stores)) if stores else 'add it there'}"
                )
                errors.add(node, "altbackup_stores", f"names {name!r}, which {where}")
            else:
                named.setdefault(name, []).append(node)
    for name, values in stores.items():
        if name in nodes:
            text = f"{name}: a store is a place that no play connects to, but this one is in group {SOURCES} or {TARGETS}, too: give it a name of its own"
            errors.general.append(text)
        if name not in named:
            text = f"{name}: no node fills this store: add it to the altbackup_stores of a target or source, or take it out of group {STORES}"
            errors.general.append(text)
        remote = values["altbackup_store_remote"] or ""
        if values["altbackup_store_lock_days"] and remote.startswith("/"):
            errors.add(
                name,
                "altbackup_store_lock_days",
                "is for a bucket of S3 with object lock, but the store is a disk: leave it out",
            )
        for node in named.get(name, ()):
            bases = [of_role.get("altbackup_base") or of_role.get("altbackup_target_base") for of_role in nodes[node]]
            for base in filter(None, bases):
                if remote.startswith("/") and (is_within(remote, base) or is_within(base, remote)):
                    text = (
                        f"{remote} is in the place of {base}, from which {node} fills it: that would be no second copy"
                    )
                    errors.add(name, "altbackup_store_remote", text)
    _check_same_places(stores, named, errors)


def _check_same_places(
    stores: Mapping[str, Mapping[str, Any]], named: Mapping[str, Sequence[str]], errors: Errors
) -> None:
    """Add an error for each two stores that one node would fill at one place."""
    places: dict[tuple[str, str, str], str] = {}
    for name, values in stores.items():
        for node in named.get(name, ()):
            place = (node, str(values["altbackup_store_config"]), str(values["altbackup_store_remote"]).rstrip("/"))
            other = places.setdefault(place, name)
            if other != name and place[2] != "None":
                errors.add(
                    name,
                    "altbackup_store_remote",
                    f"{place[2]} is that of {other}, too: each would take the other's copies for its own",
                )


def check_bases(
    source_values: Mapping[str, Mapping[str, Any]], target_values: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Return an error for each node whose own base is, or lies in, a tree of a source's copies, or is the base of these trees."""
    found = []
    for host in source_values:
        base = source_values[host]["altbackup_base"]
        above = target_values.get(host, {}).get("altbackup_target_base")
        kept = [os.path.join(above, name) for name in source_values] if above else []
        if base and above and (base == above or any(is_within(base, tree) for tree in kept)):
            found.append(
                f"{host}: altbackup_base {base} is also where it keeps the copies that it receives (altbackup_target_base {above}): "
                "choose another folder for one of them"
            )
    return found
