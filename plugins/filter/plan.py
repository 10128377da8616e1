"""The plan of a run as filters, which call `plugin_utils.planning`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleError, AnsibleFilterError
from jinja2.exceptions import TemplateError

from ..module_utils.system.errors import AltbackupError
from ..module_utils.tree.failures import explain as explain_error
from ..plugin_utils.planning import plan as plans
from ..plugin_utils.planning.checks import Scope
from ..plugin_utils.planning.filter_values import explain, guarded, is_template, plain, untrusted
from ..plugin_utils.planning.host_variables import CONNECTION, extra_names, inventory_files, read_host
from ..plugin_utils.planning.journal import known_marks
from ..plugin_utils.planning.reaching import CONNECTION_VARIABLES
from ..plugin_utils.planning.recipients import with_recipients
from ..plugin_utils.planning.run_identity import identify_run
from ..plugin_utils.planning.variable_names import is_ours


def plan(
    hostvars: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Sequence[str]],
    now: float | None = None,
    stamp: str = "",
    chain: bool = False,
    *,
    parts: Sequence[str] = (),
    play_hosts: Sequence[str] = (),
    limit: str = "",
) -> dict[str, Any]:
    """Return the plan of the run from hostvars and groups.

    `now` is in seconds since 1970. `parts` are the groups whose nodes the playbook is for; `play_hosts` are the hosts of the play, to which
    `limit` has reduced them.
    """
    hosts = [str(host) for host in groups.get("all", ())]
    read = {host: read_host(hostvars[host]) for host in hosts}
    moment = time.time() if now is None else float(now)
    files = inventory_files(hostvars, groups)
    scope = Scope([str(part) for part in parts], [str(host) for host in play_hosts], str(limit))
    return untrusted(
        plans.build_plan(
            {
                host: with_recipients({name: value for name, value in read[host].items() if is_ours(name)})
                for host in hosts
            },
            plain(groups),
            {host: {name: value for name, value in read[host].items() if name in CONNECTION} for host in hosts},
            moment,
            stamp=str(stamp),
            chain=bool(chain),
            scope=scope,
            run=identify_run(moment),
            marks=_known(files),
            extra=extra_names(hostvars),
        )
    )


def _known(files: Mapping[str, str]) -> Mapping[str, Mapping[str, Any]] | str:
    """Return the marks of each source from the journals, or the reason why they cannot be read."""
    try:
        return known_marks(files)
    except (AltbackupError, OSError) as error:
        return explain_error(error)


def connection_facts(
    hostvars: Mapping[str, Mapping[str, Any]], planned: Mapping[str, Any], play_hosts: Iterable[str]
) -> list[dict[str, Any]]:
    """Return {node, name, value} of connection variables of hosts to which a play's hosts delegate: targets, and scratch hosts of drills.

    Only templates are returned, evaluated with that host's variables, because a delegated task would use the source's. Raise
    AnsibleFilterError if one of a target fails; one of a scratch host is left to the drill.
    """
    sources = [str(host) for host in play_hosts if host in planned["sources"]]
    pairs = [(source, str(target)) for source in sources for target in planned["sources"][source]["targets"]]
    nodes = dict.fromkeys(target for source, target in pairs if target != source)
    found = []
    drills = [str(planned["nodes"][host]["drill_host"]) for host in play_hosts if host in planned["nodes"]]
    for node in dict.fromkeys([*nodes, *filter(None, drills)]):
        variables = hostvars[node]
        raw = hostvars.raw_get(node)  # type: ignore[attr-defined]
        for name in sorted(
            name for name in raw if CONNECTION_VARIABLES.fullmatch(str(name)) and is_template(raw[name])
        ):
            try:
                value = plain(variables[name], strict=True)
            except (AnsibleError, TemplateError) as error:
                if node not in nodes:
                    break
                raise AnsibleFilterError(f"{node}: {name} {explain(error)}") from error
            found.append({"node": node, "name": str(name), "value": value})
    return untrusted(found)


def effective(planned: Mapping[str, Any], host: str) -> dict[str, Any]:
    """Return the settings of a host in a plan, to be shown."""
    return untrusted(plans.effective(plain(planned), str(host)))


class FilterModule:
    """The filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return {name: filter}."""
        return {function.__name__: guarded(function) for function in (plan, effective, connection_facts)}
