"""Ansible inventories of the hosts of a lab."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from .host import Host
from .lab import Lab
from .ssh_files import client_options


def connection(lab: Lab, host: Host) -> dict[str, Any]:
    """Return the variables by which Ansible reaches a host, its host key checked."""
    return {
        "ansible_host": host.address,
        "ansible_port": host.port,
        "ansible_user": host.user,
        "ansible_ssh_private_key_file": str(lab.key),
        "ansible_ssh_common_args": shlex.join(["-F", "none", *client_options(lab.known_hosts)]),
        "ansible_control_path_dir": str(lab.control_sockets),
        "ansible_python_interpreter": host.python,
    }


def write_inventory(
    lab: Lab,
    folder: Path,
    *,
    hosts: Iterable[str] | None = None,
    groups: Mapping[str, Iterable[str]] | None = None,
    host_vars: Mapping[str, Mapping[str, Any]] | None = None,
    group_vars: Mapping[str, Mapping[str, Any]] | None = None,
) -> Path:
    """Write an inventory directory of the given hosts (default: all) and return it.

    A group's members are hosts or, by name, other groups of `groups`. Variables of the caller take precedence over the lab's.
    """
    groups = {name: list(members) for name, members in (groups or {}).items()}
    names = list(lab.hosts if hosts is None else hosts)
    children: dict[str, Any] = {}
    for group, members in groups.items():
        nested = dict.fromkeys(member for member in members if member in groups)
        own = dict.fromkeys(member for member in members if member not in groups)
        children[group] = {"hosts": own, **({"children": nested} if nested else {})}
    folder.mkdir(parents=True, exist_ok=True)
    write_yaml(folder / "hosts.yml", {"all": {"hosts": dict.fromkeys(names), "children": children}})
    for name in names:
        own_vars = {**connection(lab, lab[name]), **(host_vars or {}).get(name, {})}
        write_yaml(folder / "host_vars" / f"{name}.yml", own_vars)
    for group, variables in (group_vars or {}).items():
        write_yaml(folder / "group_vars" / f"{group}.yml", dict(variables))
    return folder


def write_yaml(path: Path, value: Any) -> None:
    """Write a value as YAML, in the order given."""
    path.parent.mkdir(exist_ok=True)
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=1000, explicit_start=True)
    path.write_text(text, encoding="utf-8")
