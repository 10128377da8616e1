"""What set-up does, as the plan has it: which pairs there are, what each node needs, and when which job runs."""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from ...module_utils.kinds.registry import kind_of
from ...module_utils.system.programs import PACKAGES
from .connections import connection, is_fetched
from .settings import WEEKDAYS
from .watch import watch_argv

EVERYWHERE = ("rsync", "ssh", "ssh-keygen", "tar", "zstd")
_OTHERWISE: Mapping[str, Mapping[str, str]] = {"RedHat": {"ssh": "openssh-clients", "ssh-keygen": "openssh-clients"}}
"""{family of distributions: {program: its package, where that has another name than in Debian}}"""
COMMANDS = {
    "backup": ("run", "backup"),
    "check": ("run", "check", "-e", "altbackup_check_scope=all"),
    "drill": ("run", "drill"),
}
"""What bin/altbackup is told by each job of the controller"""
_HANDED = (
    *("HOME", "LANG", "TZ", "MAILTO", "ANSIBLE_CONFIG", "ALTBACKUP_HISTORY"),
    *("ALTBACKUP_ARTIFACTS", "XDG_STATE_HOME"),
    *("ALTBACKUP_PING_URL_FILE", "ALTBACKUP_PING_BODY", "ALTBACKUP_PING_TIMEOUT", "ALTBACKUP_PING_PLAYBOOKS"),
    *("ALTBACKUP_PUSH_URL_FILE", "ALTBACKUP_CHANNELS_FILE"),
)
_OF_MAIL = tuple(
    f"ALTBACKUP_MAIL_{name}"
    for name in ("TO", "FROM", "HOST", "PORT", "SECURITY", "USERNAME", "TIMEOUT", "SPOOL", "BODY_LIMIT", "LOG_LIMIT")
)
"""Settings of the mail that everybody may see; what bin/altbackup tells a run of itself is not among them"""
_PATH = "/usr/local/bin:/usr/bin:/bin"
_DAY_MINUTES, _WEEK_MINUTES = 1440, 7 * 1440


def pairs(plan: Mapping[str, Any], source: str) -> list[dict[str, Any]]:
    """Given the plan and a source, return its pairs over ssh, each with who dials and who is dialled, as modules pair_key and pair_access take it.

    One whose keys are bound by rrsync is somebody's own work, and left alone.
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
    """Given the plan, a node and its family of distributions, return its `bases`, `tools`, `packages` ({tool: package}) and `user`."""
    source, target = plan["sources"].get(node, {}), plan["targets"].get(node, {})
    kinds = {item["kind"] for item in source.get("item_list", ())} | set(source.get("discover", ()))
    tools = [*EVERYWHERE, *(tool for kind in sorted(kinds) for tool in kind_of(kind).tools)]
    names = {**PACKAGES, **_OTHERWISE.get(family, {})}
    either = {**source, **target}
    return {
        "bases": [base for base in (source.get("base"), target.get("target_base")) if base],
        "tools": tools,
        "packages": {tool: names.get(tool, tool) for tool in tools},
        "user": either["node_user"],
        "allow_root_filesystem": either["allow_root_filesystem"],
    }


def jobs(
    plan: Mapping[str, Any], inventories: Sequence[str], root: str, environment: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Given the plan, the inventories of the run, where the collection lies, and an environment, return the jobs of the controller.

    Each has a `name`, whether it is `enabled`, the `argv`, `when`, `delay` (seconds), `minute`, `hour` and `weekday` of cron with a delay of its own,
    and `calendar` of systemd. Of the environment only what runs need is taken; where it names nobody who gets mail, those whom the inventory names
    do. A password stays out of it, and addresses that are secrets, since everybody could read them in the list of processes: only files of them
    are named.
    """
    where = [word for inventory in inventories for word in ("-i", os.path.abspath(inventory))]
    kept = {name: environment[name] for name in sorted({*_HANDED, *_OF_MAIL} & set(environment))}
    if not {"MAILTO", "ALTBACKUP_MAIL_TO"} & set(kept):
        named = list(dict.fromkeys(str(entry["mail_to"]) for entry in plan["nodes"].values() if entry.get("mail_to")))
        kept.update({"ALTBACKUP_MAIL_TO": ",".join(named)} if named else {})
    words = ["/usr/bin/env", "-i", f"PATH={_PATH}", *(f"{name}={value}" for name, value in kept.items())]
    found = []
    for job, options in COMMANDS.items():
        argv = [*words, os.path.join(root, "bin", "altbackup"), *options, *where]
        found += _job(plan, job, f"altbackup {job} of {', '.join(inventories)}", argv)
    return found


def watch_jobs(plan: Mapping[str, Any], node: str) -> list[dict[str, Any]]:
    """Given the plan and a node, return the job by which that target checks by itself, one that is not enabled where it is not to watch."""
    target = plan["targets"].get(node)
    if target is None:
        return []
    argv = ["/usr/bin/env", f"PATH={_PATH}", *watch_argv(str(target["target_base"]))]
    job = _job(plan, "watch", f"altbackup watch of {node}", argv)
    return [{**entry, "enabled": entry["enabled"] and target["watch"]} for entry in job]


def _job(plan: Mapping[str, Any], job: str, name: str, argv: Sequence[str]) -> list[dict[str, Any]]:
    setup = plan["setup"]
    when = setup["schedule_at"].get(job, "")
    day, _, time = (when or "00:00").rpartition(" ")
    hour, minute = map(int, time.split(":"))
    spread = int(setup["schedule_delay"] // 60)
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
            "exec": " ".join(map(_of_systemd, argv)),
            "when": when,
            "delay": int(setup["schedule_delay"]),
            "minute": str(at % 60),
            "hour": str(at // 60),
            "weekday": str(weekday % 7) if day else "*",
            "calendar": f"{day.capitalize()} " * bool(day) + f"*-*-* {hour:02}:{minute:02}:00",
        }
    ]


def _of_systemd(word: str) -> str:
    """Return a word of ExecStart, so that systemd takes it as it is: see systemd.service(5)."""
    text = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{text}"'


def pair_report(entry: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Given a pair and what the modules returned of it, in order, return `failures`, and what was set up as `line`."""
    failures = []
    for result in results:
        if result.get("skipped"):
            continue
        found = [str(one.get("reason", "")) for one in result.get("failures") or ()]
        if not found and ("failures" not in result or result.get("unreachable")):
            found = [str(result.get("msg") or "it returned nothing")[:1000]]
        failures += [f"{entry['label']}: {text}" for text in found]
    answers = [result["answer"] for result in results if result.get("answer")]
    last = answers[-1] if answers else {}
    where = f" from {last['address']}" if last.get("address") else ""
    confined = "" if last.get("landlock") else ", not confined by the kernel, which has no Landlock"
    line = f"{entry['label']}: {last['does']}s{where}{confined}" if last else f"{entry['label']}: not tried"
    return {"failures": list(dict.fromkeys(failures)), "line": line}
