"""Watch: what a target must know of a source to notice by itself that its backups do not come."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleError

from ...module_utils.tree.layout import MARKER
from ...module_utils.tree.watching import FOLDER, PROGRAM
from .host_variables import read_host
from .mailing import named
from .pauses import pause_of
from .settings import PREFIX, validate

_PYTHON = "/usr/bin/python3"
SECRETS = {"password": "watch_mail_password", "ping_url": "watch_ping_url", "push_url": "watch_push_url"}
"""{key for the target: variable}; the plan, which is displayed, lacks them"""


def watch_argv(base: str, python: str = _PYTHON) -> list[str]:
    """Return the argv with which a target checks by itself: the program that runs leave in its base."""
    base = os.path.normpath(base)
    return [python, "-I", os.path.join(base, MARKER, FOLDER, PROGRAM), base]


def watched(plan: Mapping[str, Any], source: str, tree: Mapping[str, Any], *, complete: bool) -> dict[str, Any]:
    """Return what a target is to know of a source, {} if it is not to watch; `complete`: all items of the source are known."""
    node = str(tree["node"])
    target = plan["targets"][node]
    if not target["watch"]:
        return {}
    names = ("from", "host", "port", "security", "username")
    mail = {name: str(target[f"watch_mail_{name}"] or "") for name in names}
    return {
        "source": source,
        "target": node,
        "items": list(tree["item_keys"]),
        "complete": complete,
        "max_age": plan["nodes"][node]["max_age"],
        "timezone": plan["timezone"],
        "stamp": plan["stamp"],
        "controller": str(plan["run"].get("controller", "")),
        "pause_until": pause_of(plan, source, node),
        "mail": {"to": ",".join(named(target["watch_mail_to"] or target["mail_to"] or "")), **mail},
    }


def secrets(hostvars: Mapping[str, Mapping[str, Any]], node: str) -> dict[str, str]:
    """Return the secrets of a target's watch. Raise AnsibleError if one cannot be read."""
    found = {}
    for told, name in SECRETS.items():
        variable = f"{PREFIX}{name}"
        values, problems = validate("target", read_host(hostvars[node], variable))
        if any(problem.variable == variable for problem in problems):
            raise AnsibleError(f"{node}: {variable} cannot be read, or is no address")
        found[told] = str(values[variable] or "")
    return found
