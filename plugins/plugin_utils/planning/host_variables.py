"""Variables of a host from which the plan is made, evaluated, as plain values."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ansible import context
from ansible.errors import AnsibleError
from jinja2.exceptions import TemplateError

from .filter_values import explain, plain
from .settings import PREFIX, Unreadable
from .variable_names import intended_name
from .yaml_text import whole_value

SOURCES = "sources"
CONNECTION = ("ansible_host", "ansible_port", "ansible_user", "ansible_connection")


def read_host(variables: Mapping[str, Any], only: str = "") -> dict[str, Any]:
    """Return the relevant variables of a host, or `only` one, evaluated, as plain values or Unreadable."""
    found: dict[str, Any] = {}
    for name in [str(name) for name in variables]:
        if not only and intended_name(name):
            found[name] = None  # the error is the name
        elif name == only or (not only and (name.startswith(PREFIX) or name in CONNECTION)):
            try:
                found[name] = _uncut_value(name, plain(variables[name], strict=True))
            except (AnsibleError, TemplateError) as error:
                hint = f"to see why: ansible HOST -m ansible.builtin.debug -a var={name}"
                found[name] = Unreadable(f"{explain(error)}; {hint}")
    return found


def _uncut_value(name: str, value: Any) -> Any:
    """Return the whole value of a variable given with -e, which Ansible cut at the first blank."""
    return (
        whole_value(name, value, map(str, context.CLIARGS.get("extra_vars") or ())) if isinstance(value, str) else value
    )


def inventory_files(hostvars: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Any]) -> dict[str, str]:
    """Return {source: inventory file that names it}, "" if there is none."""
    return {str(host): str(hostvars[host].get("inventory_file") or "") for host in groups.get(SOURCES, ())}


def given_inventory() -> str:
    """Return the first inventory of the command line that is a path, "" for none."""
    given = map(str, context.CLIARGS.get("inventory") or ())
    return next((name for name in given if "," not in name), "")


def inventory_label(hostvars: Mapping[str, Mapping[str, Any]], source: str) -> str:
    """Return the label of a source's inventory in metrics, which keeps sources of the same name apart."""
    return label_of(str(hostvars[source].get("inventory_file") or "") or given_inventory())


def label_of(inventory: str) -> str:
    """Return the label of an inventory file in metrics."""
    return os.path.realpath(inventory) if inventory else ""


def extra_names(hostvars: Any) -> list[str] | None:
    """Return the names of the variables given with -e, None if Ansible does not provide them."""
    given = getattr(getattr(hostvars, "_variable_manager", None), "extra_vars", None)
    return None if given is None else [str(name) for name in given]
