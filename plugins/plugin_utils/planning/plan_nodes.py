"""Entries of sources, targets and nodes in a plan, from their settings."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ...module_utils.kinds.hooks import KEYS as HOOKS
from ...module_utils.system.ssh import shown
from ..report.secrecy import quoted
from .inventory_errors import Errors
from .plan_items import plain_item, sort_items
from .retention import node_rules
from .settings import PREFIX, Unreadable

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
    "node_metrics_dir",
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
    "trust_from",
    "node_user",
    "allow_root_filesystem",
    "stores",
)
_TRASH_DAYS = {"source": 0, "target": 2}
"""{role: default days for which removed tarballs stay in the trash}"""
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
    "encrypt_to",
    "signing_key",
)
_OF_TARGETS = (
    "target_base",
    "watch",
    "watch_mail_to",
    "watch_mail_from",
    "watch_mail_host",
    "watch_mail_port",
    "watch_mail_security",
    "watch_mail_username",
    "incoming_limit",
)
_CONNECTION = {"rsync_host": "ansible_host", "rsync_port": "ansible_port", "rsync_user": "ansible_user"}
_LOCAL = ("local", "ansible.builtin.local")


def _common(host: str, values: Mapping[str, Any], connection: Mapping[str, Any], errors: Errors) -> dict[str, Any]:
    """Return the settings that sources and targets share, and how peers reach the node."""
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


def target_entry(host: str, values: Mapping[str, Any], connection: Mapping[str, Any], errors: Errors) -> dict[str, Any]:
    """Return a target's entry; `sources` is filled by source_entry."""
    entry = {name: values[PREFIX + name] for name in _OF_TARGETS}
    return (
        entry
        | _common(host, values, connection, errors)
        | {"slots": values["altbackup_target_slots"], "absent_for": values["altbackup_absent_for"], "sources": []}
        | {"watch_pinged": any(values[PREFIX + name] for name in ("watch_ping_url", "watch_push_url"))}
    )


def source_entry(
    host: str,
    values: Mapping[str, Any],
    only: Sequence[str],
    targets: dict[str, Any],
    connection: Mapping[str, Mapping[str, Any]],
    errors: Errors,
) -> dict[str, Any]:
    """Return a source's entry, and enter it in the `sources` of its targets; `only` limits these, if not empty."""
    good, bad = sort_items(values["altbackup_items"] or ())
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
        "item_list": [plain_item(item) for item in good],
        "item_errors": bad,
        "targets": chosen,
        "rules": node_rules(values, {}, target=False),
        "local_targets": [name for name in chosen if _is_local(host, name, connection, targets[name])],
        "transport": {name: modes.get(name, "push") for name in chosen},
        "algorithm": values["altbackup_dna_algorithm"],
        "hooks": {when: values[PREFIX + when] for when in HOOKS if values[PREFIX + when]},
    }


def _is_local(source: str, target: str, connection: Mapping[str, Mapping[str, Any]], entry: Mapping[str, Any]) -> bool:
    """Return whether source and target are one machine, so that no ssh is needed: the same host, or both the controller."""
    if source == target:
        return True
    both = [connection.get(host, {}).get("ansible_connection") for host in (source, target)]
    dialled = connection.get(target, {}).get("ansible_host") or target
    return all(plugin in _LOCAL for plugin in both) and entry["rsync_host"] == dialled


def node_entry(host: str, plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return a node's settings and trees: its own, and those of sources that it holds."""
    source, target = plan["sources"].get(host), plan["targets"].get(host)
    trees = []
    if source:
        trees.append(
            {"role": "source", "source": host, "base": source["base"], **_purge_rules("source", source, source)}
        )
    if target:
        for name in target["sources"]:
            base = os.path.join(target["target_base"], name) if target["target_base"] else None
            purged_by = _purge_rules("target", target, plan["sources"][name])
            former = plan["sources"][name]["former_names"]
            trees.append({"role": "target", "source": name, "base": base, **purged_by, "former_names": former})
    either = source or target
    return {name: either[name] for name in _OF_NODES} | {"trees": trees}


def _purge_rules(role: str, node: Mapping[str, Any], source: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rules by which a tree is purged; `role` is the tree's, `node` and `source` are the settings of its node and its source."""
    days = _TRASH_DAYS[role] if node["trash_days"] is None else node["trash_days"]
    return {"keep": node["keep"], "rules": dict(node["rules"]), "trash_days": days, "min_copies": source["min_copies"]}
