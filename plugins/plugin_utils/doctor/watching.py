"""Whether a target that is to check by itself is started to do so, by its own schedule. Pure."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from typing import Any

from ..planning.setup import watch_jobs
from .finding import OK, UNKNOWN, WRONG, Commands, Finding

_WHAT = "schedule"


def findings(plan: Mapping[str, Any], node: str, facts: Mapping[str, Any], commands: Commands) -> list[Finding]:
    """Return the finding on the schedule of a target with altbackup_watch, none on another node; `facts` are the node's."""
    target = plan["targets"].get(node)
    if target is None or not target["watch"] or not target["target_base"]:
        return []
    if "schedules" not in facts:
        return [Finding(node, _WHAT, UNKNOWN, "it did not say what it starts by the clock")]
    base = os.path.normpath(str(target["target_base"]))
    for entry in facts["schedules"]:
        if base in _words(entry["line"]):
            return [Finding(node, _WHAT, OK, f"{entry['where']}: {entry['line']}")]
    why = f"no crontab and no timer of {facts.get('user')} there starts its own check (altbackup_watch) of {base}"
    return [Finding(node, _WHAT, WRONG, why, _mend(plan, node, commands))]


def _words(line: str) -> list[str]:
    """Return the words of a line of a crontab, or of ExecStart of a unit of systemd; [] if no shell would split it."""
    is_unit = line.startswith("ExecStart=")
    plain = line.replace("%%", "%").replace("$$", "$") if is_unit else line.replace("\\%", "%")
    try:
        return shlex.split(plain)
    except ValueError:
        return []


def _mend(plan: Mapping[str, Any], node: str, commands: Commands) -> str:
    """Return the command that makes the entry: set-up, or the entry alone where set-up is to make none."""
    (job,) = watch_jobs(plan, node)
    if plan["setup"]["schedule"] and job["enabled"]:
        return commands.own("run", "setup", "--limit", node)
    when = {name: job[name] for name in ("minute", "hour", "weekday")}
    return commands.on(node, "cron", name=job["name"], job=job["command"], **when)
