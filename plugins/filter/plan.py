"""The plan of a run as filters: thin, the plan itself is made in plugin_utils."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible import context
from ansible.errors import AnsibleError, AnsibleFilterError
from jinja2.exceptions import TemplateError

from ..module_utils.system.errors import InvalidInput
from ..module_utils.system.ssh import seal
from ..plugin_utils.planning import plan as plans
from ..plugin_utils.planning.filter_values import explain, is_template, plain, untrusted
from ..plugin_utils.planning.reaching import REACHED_BY
from ..plugin_utils.planning.run_identity import identify_run
from ..plugin_utils.planning.settings import PREFIX, Unreadable, is_ours, meant, validate
from ..plugin_utils.planning.yaml_text import uncut
from ..plugin_utils.report.results import read_value

CONNECTION = ("ansible_host", "ansible_port", "ansible_user", "ansible_connection")


def plan(
    hostvars: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Sequence[str]],
    now: float | None = None,
    stamp: str = "",
    chain: bool = False,
) -> dict[str, Any]:
    """Given hostvars and groups, return the plan of the run."""
    hosts = [str(host) for host in groups.get("all", ())]
    read = {host: read_host(hostvars[host]) for host in hosts}
    moment = time.time() if now is None else float(now)
    return untrusted(
        plans.build_plan(
            {host: {name: value for name, value in read[host].items() if is_ours(name)} for host in hosts},
            plain(groups),
            {host: {name: value for name, value in read[host].items() if name in CONNECTION} for host in hosts},
            moment,
            stamp=str(stamp),
            chain=bool(chain),
            run=identify_run(moment),
        )
    )


def with_items(planned: Mapping[str, Any], source: str, discovered: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Given a plan, a source and what was discovered there, return the plan with those items, too."""
    try:
        return untrusted(plans.with_items(plain(planned), str(source), read_value("items", plain(discovered))))
    except InvalidInput as error:
        raise AnsibleFilterError(str(error)) from error


def connection_facts(
    hostvars: Mapping[str, Mapping[str, Any]], planned: Mapping[str, Any], play_hosts: Iterable[str]
) -> list[dict[str, Any]]:
    """Given hostvars, the plan and the hosts of a play, return {node, name, value} of variables by which hosts that they need are reached.

    These are their targets, and the hosts on which their tarballs are drilled, of which one that is not understood is left to
    the drill. Only templates are returned, evaluated with the variables of that host: a delegated task would take the source's.
    """
    sources = [str(host) for host in play_hosts if host in planned["sources"]]
    pairs = [(source, str(target)) for source in sources for target in planned["sources"][source]["targets"]]
    nodes = dict.fromkeys(target for source, target in pairs if target != source)
    found = []
    drills = [str(planned["nodes"][host]["drill_host"]) for host in play_hosts if host in planned["nodes"]]
    for node in dict.fromkeys([*nodes, *filter(None, drills)]):
        variables = hostvars[node]
        raw = hostvars.raw_get(node)  # type: ignore[attr-defined]
        for name in sorted(name for name in raw if REACHED_BY.fullmatch(str(name)) and is_template(raw[name])):
            try:
                value = plain(variables[name], strict=True)
            except (AnsibleError, TemplateError) as error:
                if node not in nodes:
                    break
                raise AnsibleFilterError(f"{node}: {name} {explain(error)}") from error
            found.append({"node": node, "name": str(name), "value": value})
    return untrusted(found)


def ssh_args(hostvars: Mapping[str, Mapping[str, Any]], host: str) -> str:
    """Given hostvars and the host that runs rsync, return its further options of ssh, sealed: no plan has them, as it is shown."""
    name = f"{PREFIX}ssh_args"
    values, problems = validate("source", read_host(hostvars[host], name))
    if any(problem.variable == name for problem in problems):
        raise AnsibleFilterError(f"{host}: {name} cannot be read")
    return seal(values[name])


def effective(planned: Mapping[str, Any], host: str) -> dict[str, Any]:
    """Given a plan and a host, return its settings to be shown."""
    return untrusted(plans.effective(plain(planned), str(host)))


def read_host(variables: Mapping[str, Any], only: str = "") -> dict[str, Any]:
    """Given the variables of a host, return those that matter, or one, evaluated, as plain values or Unreadable."""
    found: dict[str, Any] = {}
    for name in [str(name) for name in variables]:
        if not only and meant(name):
            found[name] = None  # it is its name that is wrong
        elif name == only or (not only and (name.startswith(PREFIX) or name in CONNECTION)):
            try:
                found[name] = _whole(name, plain(variables[name], strict=True))
            except (AnsibleError, TemplateError) as error:
                hint = f"to see why: ansible HOST -m ansible.builtin.debug -a var={name}"
                found[name] = Unreadable(f"{explain(error)}; {hint}")
    return found


def _whole(name: str, value: Any) -> Any:
    """Return a value as it was given with -e, of which Ansible took what stands before the first blank."""
    return uncut(name, value, map(str, context.CLIARGS.get("extra_vars") or ())) if isinstance(value, str) else value


class FilterModule:
    """The filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "plan": plan,
            "with_items": with_items,
            "effective": effective,
            "connection_facts": connection_facts,
            "ssh_args": ssh_args,
        }
