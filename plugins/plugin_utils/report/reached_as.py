"""As whom hosts are reached, by their variables and their tasks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean

from ...module_utils.system.opened import user_name
from .model import RUN, Failure


def host_variable(hostvars: Any, host: str, name: str, *, keep: bool = False) -> str:
    """Return a host's variable as text, "" if it is missing or cannot be evaluated; "" also for a false value, unless `keep`."""
    try:
        value = hostvars[host].get(name)
        return str(value) if keep and value is not None else str(value or "")
    except Exception:  # noqa: BLE001 # an invalid template, or a host that is not in the inventory
        return ""


def with_user(failure: Failure, hostvars: Any, remote_user: str | None) -> Failure:
    """Return the failure with the user as whom its host, or delegate, is reached; `remote_user` is that of the command line."""
    if failure.kind == RUN:
        return failure
    host = failure.delegate or failure.host
    inventory = host_variable(hostvars, host, "ansible_user")
    user = inventory or failure.place.user or remote_user or user_name()
    become = _become(hostvars, host, failure.place.become)
    return replace(failure, place=replace(failure.place, user=user, become=become))


def _become(hostvars: Any, host: str, of_task: str) -> str:
    """Return the user that a host's tasks become, `no` for none; as in Ansible, the host's variables take precedence over the task."""
    become = host_variable(hostvars, host, "ansible_become", keep=True)
    if not (boolean(become, strict=False) if become else of_task):
        return "no"
    return host_variable(hostvars, host, "ansible_become_user") or of_task or "root"
