"""How the controller reaches hosts by ssh: what Ansible's ssh connection makes of their variables."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from ansible import constants, context
from ansible.errors import AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.loader import connection_loader
from jinja2.exceptions import TemplateError

from ...module_utils.system.ssh import seal
from .filter_values import explain, plain
from .host_variables import read_host
from .settings import PREFIX, validate

CONNECTION_VARIABLES = re.compile(
    r"ansible_(host|port|user|password|pass|connection|timeout|ssh_\w+|private_key_file|become(_\w+)?|python_interpreter|remote_tmp"
    r"|pipelining|shell_\w+|control_path\w*)"
)
"""Variables that decide how Ansible reaches a host and what it starts there"""
_LOCAL = ("local", "ansible.builtin.local")
_SSH = ("ssh", "ansible.builtin.ssh", "smart")


def controller_peer(hostvars: Mapping[str, Mapping[str, Any]], plan: Mapping[str, Any], host: str) -> dict[str, Any]:
    """Return how the controller reaches a host: a peer without folder, or its `problem`."""
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
    """Return what Ansible's ssh connection makes of these variables, ansible.cfg and the command line."""
    connection_loader.get("ssh", class_only=True)  # loads the definitions of its options

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


def controller_ssh_args(hostvars: Mapping[str, Mapping[str, Any]], host: str) -> str:
    """Return the ssh options with which the controller reaches a host, sealed since they may hold secrets; "" if not by ssh."""
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


def ssh_args(hostvars: Mapping[str, Mapping[str, Any]], host: str) -> str:
    """Return further ssh options of the host that runs rsync, sealed; the plan, which is displayed, lacks them. Raise AnsibleError."""
    name = f"{PREFIX}ssh_args"
    values, problems = validate("source", read_host(hostvars[host], name))
    if any(problem.variable == name for problem in problems):
        raise AnsibleError(f"{host}: {name} cannot be read")
    return seal(values[name])


def _variables(hostvars: Mapping[str, Mapping[str, Any]], host: str) -> dict[str, Any]:
    """Return the evaluated variables by which a host is reached. Raise AnsibleError or TemplateError."""
    names = [str(name) for name in hostvars[host] if CONNECTION_VARIABLES.fullmatch(str(name))]
    return {name: plain(hostvars[host][name], strict=True) for name in names}


def _sudo(variables: Mapping[str, Any]) -> dict[str, str]:
    become = variables.get("ansible_become", constants.DEFAULT_BECOME or context.CLIARGS.get("become") or False)
    user = str(
        variables.get("ansible_become_user") or context.CLIARGS.get("become_user") or constants.DEFAULT_BECOME_USER
    )
    return {"sudo": user} if boolean(become, strict=False) else {}
