"""Set-up by the plan: the pairs, what each node needs, and when each job runs."""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from ...module_utils.system.units import readable
from .connections import connection, is_fetched
from .mailing import of_all
from .node_tools import node_tools, package_of
from .setting_values import HOURLY, WEEKDAYS
from .watch import watch_argv

COMMON_TOOLS = ("rsync", "ssh", "ssh-keygen", "tar", "zstd")
COMMANDS = {
    "backup": ("run", "backup"),
    "check": ("run", "check", "-e", "altbackup_check_scope=all"),
    "drill": ("run", "drill"),
}
"""{job of the controller: arguments of bin/altbackup}"""
_OF_RUNS = (
    *("HOME", "LANG", "TZ", "MAILTO", "ANSIBLE_CONFIG", "ALTBACKUP_HISTORY"),
    *("ALTBACKUP_ARTIFACTS", "XDG_STATE_HOME"),
    *("ALTBACKUP_PING_URL_FILE", "ALTBACKUP_PING_BODY", "ALTBACKUP_PING_TIMEOUT", "ALTBACKUP_PING_PLAYBOOKS"),
    *("ALTBACKUP_PUSH_URL_FILE", "ALTBACKUP_CHANNELS_FILE"),
)
_OF_MAIL = tuple(
    f"ALTBACKUP_MAIL_{name}"
    for name in ("TO", "FROM", "HOST", "PORT", "SECURITY", "USERNAME", "TIMEOUT", "SPOOL", "BODY_LIMIT", "LOG_LIMIT")
)
"""Settings of the mail that are not secret; those that bin/altbackup sets for its own runs are not among them"""
_PATH = "/usr/local/bin:/usr/bin:/bin"
_DAY_MINUTES, _WEEK_MINUTES = 1440, 7 * 1440


def pairs(plan: Mapping[str, Any], source: str) -> list[dict[str, Any]]:
    """Return the pairs of a source over ssh, with both ends, as modules pair_key and pair_access take them.

    Pairs bound by rrsync were set up by somebody else and are left out.
    """
    found = []
    entry = plan["sources"].get(source, {})
    for target in entry.get("targets", ()):
        fetched = is_fetched(plan, source, target)
        own, other = entry, plan["targets"][target]
        called = own if fetched else other
        if target in entry["local_targets"] or called["rrsync"]:
            continue
        peer = connection(plan, source, target)
        found.append(
            {
                "source": source,
                "target": target,
                "dials": target if fetched else source,
                "dialled": source if fetched else target,
                "base": other["target_base"] if fetched else own["base"],
                "peer": peer,
                "called_base": own["base"] if fetched else other["target_base"],
                "kind": "outgoing" if fetched else "incoming",
                "named": target if fetched else source,
                "owner": {
                    "role": "source" if fetched else "target",
                    "name": source if fetched else target,
                    "former_names": list(called.get("former_names") or ()),
                },
                "user": called["node_user"] or called["rsync_user"],
                "port": called["rsync_port"] or 0,
                "limit": 0 if fetched else other["incoming_limit"],
                "sources": "" if called["trust_from"] == "seen" else called["trust_from"],
                "seen": called["trust_from"] == "seen",
                "label": f"{source} {'<-' if fetched else '->'} {target}",
            }
        )
    return found


def node_setup(plan: Mapping[str, Any], node: str, family: str = "") -> dict[str, Any]:
    """Return `bases`, `tools`, `packages` ({tool: package}) and `user` of a node; `family` is that of its distribution."""
    source, target = plan["sources"].get(node, {}), plan["targets"].get(node, {})
    tools = list(dict.fromkeys([*COMMON_TOOLS, *node_tools(plan, node)]))
    either = {**source, **target}
    return {
        "bases": [base for base in (source.get("base"), target.get("target_base")) if base],
        "tools": tools,
        "packages": {tool: package_of(tool, family) for tool in tools},
        "user": either["node_user"],
        "allow_root_filesystem": either["allow_root_filesystem"],
    }


def base_lines(results: Sequence[Mapping[str, Any]], node: str, check_mode: bool) -> list[str]:
    """Return a line for each base of a node, with whether it was made, and its room; `results` are those of marked_base in a loop over bases."""
    made = "would be made, with its marker" if check_mode else "was made, with its marker"
    return [
        f"{node}: {one['__nodes_base']}{f' {made}' if one.get('changed') else ''}: {readable(int(one.get('free') or 0))} of "
        f"{readable(int(one.get('size') or 0))} free ({one.get('file_system')})"
        for one in results
    ]


def job_lines(
    changed: Sequence[Mapping[str, Any]], node: str, starter: str, check_mode: bool, *, removed: bool = False
) -> list[str]:
    """Return a line for each job whose entry was changed, with when it is started, or that it no longer is; `starter` is cron or systemd."""
    lines = []
    for job in changed:
        if removed or not job["enabled"]:
            lines.append(
                f"{node}: {starter} {'would no longer start' if check_mode else 'no longer starts'} {job['name']}"
            )
            continue
        hour = (
            f"each hour at :{int(job['minute']):02}"
            if job["hour"] == "*"
            else f"at {int(job['hour']):02}:{int(job['minute']):02}"
        )
        day = "" if job["weekday"] == "*" else f" on {WEEKDAYS[int(job['weekday'])]}"
        when = f"{hour}{day}" if starter == "cron" else str(job["calendar"])
        lines.append(f"{node}: {starter} {'would start' if check_mode else 'starts'} {job['name']}, {when}")
    return lines


def search_path(root: str, python: str) -> str:
    """Return the PATH by which bin/altbackup in `root` finds this `python`, in whose environment Ansible is, where cron or systemd starts it."""
    own = os.path.dirname(python)
    if own in _PATH.split(":") or os.access(os.path.join(root, ".venv", "bin", "python"), os.X_OK):
        return _PATH
    return f"{own}:{_PATH}"


def jobs(
    plan: Mapping[str, Any], inventories: Sequence[str], root: str, python: str, environment: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return the jobs of the controller; `root` is the folder of the collection, `python` the path of the one that runs Ansible.

    Each has a `name`, `enabled`, `argv`, `when`, `delay` (seconds), `minute`, `hour` and `weekday` for cron, which include a delay of the
    job's own, and `calendar` for systemd. Of the `environment` only variables that runs need are kept; without a recipient of mail in it,
    those of the inventory are used. Passwords and secret addresses are not included, as everybody can read the list of processes: only
    files of them are.
    """
    where = [word for inventory in inventories for word in ("-i", os.path.abspath(inventory))]
    kept = {name: environment[name] for name in sorted({*_OF_RUNS, *_OF_MAIL} & set(environment))}
    if not {"MAILTO", "ALTBACKUP_MAIL_TO"} & set(kept):
        recipients = of_all(str(entry.get("mail_to") or "") for entry in plan["nodes"].values())
        kept.update({"ALTBACKUP_MAIL_TO": recipients} if recipients else {})
    words = [
        "/usr/bin/env",
        "-i",
        f"PATH={search_path(root, python)}",
        *(f"{name}={value}" for name, value in kept.items()),
    ]
    found = []
    for job, options in COMMANDS.items():
        argv = [*words, os.path.join(root, "bin", "altbackup"), *options, *where]
        found += _job(plan, job, f"altbackup {job} of {', '.join(inventories)}", argv)
    return found


def watch_jobs(plan: Mapping[str, Any], node: str) -> list[dict[str, Any]]:
    """Return the job of a target that checks by itself, not enabled if it is not to watch; [] if the node is not a target."""
    target = plan["targets"].get(node)
    if target is None:
        return []
    argv = ["/usr/bin/env", f"PATH={_PATH}", *watch_argv(str(target["target_base"]))]
    job = _job(plan, "watch", f"altbackup watch of {node}", argv)
    return [{**entry, "enabled": entry["enabled"] and target["watch"]} for entry in job]


def at(job: Mapping[str, Any]) -> dict[str, Any]:
    """Return when a job is started, as ansible.builtin.cron takes it."""
    return {name: str(job[name]) for name in ("minute", "hour", "weekday")}


def _job(plan: Mapping[str, Any], job: str, name: str, argv: Sequence[str]) -> list[dict[str, Any]]:
    setup = plan["setup"]
    when = setup["schedule_at"].get(job, "")
    hourly = when == HOURLY
    day, _, time = ("00:00" if hourly else when or "00:00").rpartition(" ")
    hour, minute = map(int, time.split(":"))
    spread = 59 if hourly else int(setup["schedule_delay"] // 60)
    own = int(hashlib.sha256(name.encode()).hexdigest(), 16) % (spread + 1)
    at = 60 * hour + minute + own
    weekday = WEEKDAYS.index(day) + at // _DAY_MINUTES if day else 0
    at %= _DAY_MINUTES
    return [
        {
            "name": name,
            "enabled": bool(when),
            "unit": f"altbackup-{job}-{hashlib.sha256(name.encode()).hexdigest()[:8]}",
            "argv": list(argv),
            "command": " ".join(shlex.quote(word).replace("%", "\\%") for word in argv),
            "exec": " ".join(map(_systemd_word, argv)),
            "when": when,
            "delay": 60 * spread if hourly else int(setup["schedule_delay"]),
            "minute": str(at % 60),
            "hour": "*" if hourly else str(at // 60),
            "weekday": str(weekday % 7) if day else "*",
            "calendar": f"{day.capitalize()} " * bool(day) + f"*-*-* {'*' if hourly else f'{hour:02}'}:{minute:02}:00",
        }
    ]


def _systemd_word(word: str) -> str:
    """Return a word quoted for ExecStart, so that systemd does not interpret it: see systemd.service(5)."""
    text = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{text}"'
