"""Whether a target that is to check by itself is started to do so, by its own schedule, and has a way to tell what it finds. Pure."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from typing import Any

from ..planning.mailing import NONE, named
from ..planning.setup import at, watch_jobs
from .finding import OK, UNKNOWN, WRONG, Commands, Finding

_WHAT, _MAIL = "schedule", "watch mail"


def findings(plan: Mapping[str, Any], node: str, facts: Mapping[str, Any], commands: Commands) -> list[Finding]:
    """Return the findings on the schedule and the mail of a target with altbackup_watch, none on another node; `facts` are the node's."""
    target = plan["targets"].get(node)
    if target is None or not target["watch"] or not target["target_base"]:
        return []
    return [_schedule(plan, node, target, facts, commands), _mail(node, target, facts)]


def _mail(node: str, target: Mapping[str, Any], facts: Mapping[str, Any]) -> Finding:
    """Return the finding on whether its own check has a way to tell what it finds; a server is not tried, as only its user may log in there."""
    setting = str(target["watch_mail_to"] or target["mail_to"] or "")
    to, host = ", ".join(named(setting)), str(target["watch_mail_host"] or "")
    if not to and (setting or target["watch_pinged"]):
        return Finding(node, _MAIL, why="it pings" if target["watch_pinged"] else f"the recipient is {NONE}")
    if host and to:
        return Finding(node, _MAIL, why=f"to {to} by {host}")
    if "sendmail" not in facts:
        return Finding(node, _MAIL, UNKNOWN, "it did not say whether it has a sendmail")
    if facts["sendmail"]:
        return Finding(node, _MAIL, why=f"to {to or 'whom its cron mails'} by {facts['sendmail']}")
    if to:
        why = f"its own check (altbackup_watch) cannot mail {to}: altbackup_watch_mail_host is not set, and there is no sendmail there"
    else:
        why = "its own check (altbackup_watch) is to tell nobody but its cron, which can mail nothing: there is no sendmail there"
    settings = "altbackup_watch_mail_host" if to else "altbackup_watch_mail_to and altbackup_watch_mail_host"
    return Finding(
        node, _MAIL, WRONG, why, f"# set {settings} of {node} in the inventory, or set up a sendmail on {node}"
    )


def _schedule(
    plan: Mapping[str, Any], node: str, target: Mapping[str, Any], facts: Mapping[str, Any], commands: Commands
) -> Finding:
    """Return the finding on what starts its own check."""
    if "schedules" not in facts:
        return Finding(node, _WHAT, UNKNOWN, "it did not say what it starts by the clock")
    base = os.path.normpath(str(target["target_base"]))
    for entry in facts["schedules"]:
        if base in _words(entry["line"]):
            return Finding(node, _WHAT, OK, f"{entry['where']}: {entry['line']}")
    why = f"no crontab and no timer of {facts.get('user')} there starts its own check (altbackup_watch) of {base}"
    return _unscheduled(plan, node, why, commands)


def _words(line: str) -> list[str]:
    """Return the words of a line of a crontab, or of ExecStart of a unit of systemd; [] if no shell would split it."""
    is_unit = line.startswith("ExecStart=")
    plain = line.replace("%%", "%").replace("$$", "$") if is_unit else line.replace("\\%", "%")
    try:
        return shlex.split(plain)
    except ValueError:
        return []


def _unscheduled(plan: Mapping[str, Any], node: str, why: str, commands: Commands) -> Finding:
    """Return the finding on an entry that is missing, with what makes it: set-up, or the same entry alone where set-up is to make none."""
    (job,) = watch_jobs(plan, node)
    if plan["setup"]["schedule"] and job["enabled"]:
        return Finding(node, _WHAT, WRONG, why, commands.own("run", "setup", "--limit", node), set_up=True)
    mend = commands.on(node, "cron", name=job["name"], job=job["command"], **at(job))
    return Finding(node, _WHAT, WRONG, why, mend)
