# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of restore.yml: thin, what is decided is decided in plugin_utils."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible import constants, context
from ansible.errors import AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.loader import connection_loader
from jinja2.exceptions import TemplateError

from ..module_utils.ssh_words import seal
from ..plugin_utils import restoring
from .outcomes import _guarded
from .plan import REACHED_BY, explain, plain, untrusted

SPEEDS = "~/.altbackup/restore-speeds.json"
_LOCAL = ("local", "ansible.builtin.local")
_SSH = ("ssh", "ansible.builtin.ssh", "smart")


def restore_plan(plan: Mapping[str, Any], hosts: Iterable[str]) -> dict[str, Any]:
    """Given the plan and all hosts, return what is to be restored and adopted, and what is wrong with it."""
    return untrusted(restoring.plan_restores(plain(plan), [str(host) for host in hosts]))


def restore_choice(
    hostvars: Mapping[str, Mapping[str, Any]],
    plan: Mapping[str, Any],
    restores: Mapping[str, Any],
    play_hosts: Sequence[str],
) -> dict[str, Any]:
    """Given hostvars, the plan, what is to be restored, and the hosts of the play, return what is taken from where."""
    orders, absent = restoring.absent_hosts(plain(restores), [str(host) for host in play_hosts])
    searched = [node for node in restores["searches"] if node in play_hosts]
    found = {str(node): plain(hostvars[node].get("__restore_found") or {}) for node in searched}
    involved = {str(host) for order in orders for host in (order["to_host"], *order["candidates"])}
    peers = {host: reached_by(hostvars, plan, host) for host in involved}
    run = plain(plan.get("run") or {})
    told = {
        "when": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
        "by": f"{run.get('user', '')} on {run.get('controller', '')}",
    }
    choice = restoring.choose(plain(plan), orders, found, peers, known_speeds(), told)
    return untrusted({**choice, "failures": [*choice["failures"], *absent]})


def reached_by(hostvars: Mapping[str, Mapping[str, Any]], plan: Mapping[str, Any], host: str) -> dict[str, Any]:
    """Given hostvars, the plan and a host, return how the controller reaches it by ssh: a peer without folder, or its `problem`."""
    entry = {**plan["sources"].get(host, {}), **plan["targets"].get(host, {})}
    limits = {name: float(entry[name]) for name in ("connect_timeout", "io_timeout", "min_rate") if entry.get(name)}
    try:
        variables = _variables(hostvars, host)
        way = str(variables.get("ansible_connection") or constants.DEFAULT_TRANSPORT)
        if way in _LOCAL:
            return {"node": host, **limits}
        if way not in _SSH:
            return {"node": host, "problem": f"is reached by {way}, not by ssh"}
        return {"node": host, **_ssh(host, variables), **_sudo(variables), **limits}
    except (AnsibleError, TemplateError, ValueError) as error:
        return {"node": host, "problem": f"is reached by variables of which one {explain(error)}"}


def _ssh(host: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return what Ansible's own connection takes these variables, ansible.cfg and the command line to mean."""
    connection_loader.get("ssh", class_only=True)  # which makes its options known

    def option(name: str) -> Any:
        return constants.config.get_config_value(name, plugin_type="connection", plugin_name="ssh", variables=variables)

    port = option("port")
    user = option("remote_user") or context.CLIARGS.get("remote_user")
    return {
        "host": str(variables.get("ansible_ssh_host") or variables.get("ansible_host") or host),
        "port": int(port) if port else None,
        "user": str(user or ""),
        "ssh_key": str(option("private_key_file") or context.CLIARGS.get("private_key_file") or ""),
    }


def reached_with(hostvars: Mapping[str, Mapping[str, Any]], host: str) -> str:
    """Given hostvars and a host, return the options of ssh with which the controller reaches it, sealed: they may hold secrets."""
    connection_loader.get("ssh", class_only=True)
    variables = _variables(hostvars, host)
    if str(variables.get("ansible_connection") or constants.DEFAULT_TRANSPORT) not in _SSH:
        return ""
    names = ("ssh_args", "ssh_common_args", "ssh_extra_args")
    values = [
        constants.config.get_config_value(name, plugin_type="connection", plugin_name="ssh", variables=variables)
        for name in names
    ]
    return seal([word for value in values for word in shlex.split(value or "")])


def _variables(hostvars: Mapping[str, Mapping[str, Any]], host: str) -> dict[str, Any]:
    """Return the variables of a host by which it is reached, evaluated. Raise AnsibleError or TemplateError."""
    names = [str(name) for name in hostvars[host] if REACHED_BY.fullmatch(str(name))]
    return {name: plain(hostvars[host][name], strict=True) for name in names}


def _sudo(variables: Mapping[str, Any]) -> dict[str, str]:
    become = variables.get("ansible_become", constants.DEFAULT_BECOME or context.CLIARGS.get("become") or False)
    user = str(
        variables.get("ansible_become_user") or context.CLIARGS.get("become_user") or constants.DEFAULT_BECOME_USER
    )
    return {"sudo": user} if boolean(become, strict=False) else {}


def known_speeds() -> dict[str, Any]:
    """Return what former restores of this controller's user took."""
    try:
        with open(os.path.expanduser(SPEEDS), encoding="utf-8") as stream:
            return restoring.read_speeds(stream.read(1 << 20))
    except OSError:
        return {}


def restore_speeds(hostvars: Mapping[str, Mapping[str, Any]], choice: Mapping[str, Any]) -> dict[str, Any]:
    """Given hostvars and what was chosen, return the speeds of former restores and of this one."""
    chosen = plain(choice["chosen"])
    hosts = {order["host"] for order in chosen}
    registered = [
        plain(hostvars[host].get(name) or {}) for host in hosts for name in ("__restore_carried", "__restore_restored")
    ]
    return untrusted(restoring.learn_speeds(known_speeds(), chosen, restoring.seconds_of(registered)))


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return them by name."""
        functions = (
            restore_plan,
            restore_choice,
            restore_speeds,
            reached_with,
            restoring.restore_ready,
            restoring.record_restore,
        )
        return {function.__name__: _guarded(function) for function in functions}
