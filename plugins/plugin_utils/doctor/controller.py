"""Findings on the controller: its schedule, its last run, its mail, and how it reaches nodes."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import smtplib
import socket
import sqlite3
import ssl
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...module_utils.system.errors import AltbackupError
from ...module_utils.system.opened import user_name
from ...module_utils.system.ssh import effective_settings
from ..history import store
from ..mail.settings import MAIL_OPTIONS, Settings, judge, variable_of
from ..planning.mailing import NONE, of_all
from ..planning.setup import at
from .finding import OK, UNKNOWN, WRONG, Commands, Finding

_MOST_BYTES = 1 << 20
_CHAIN = "backup.yml"
_BACKUP = re.compile(r" run +(?:\S*/)?backup(?:\.yml)? |[/ ]backup\.yml |altbackup\.core\.backup ")
"""Matches a line that starts the nightly chain"""
_BETWEEN = r"[\s'\"]+"
_LATE = 36 * 3600.0
"""Seconds without a run from which a nightly schedule has missed a night"""


@dataclass(frozen=True)
class LastRun:
    """The last run that made backups, from the history."""

    started: float = 0.0
    state: str = ""
    trees: tuple[tuple[str, str, str], ...] = ()
    """(node, source, role) of its inventory"""
    items: tuple[tuple[str, str], ...] = ()
    """(source, category/name)"""
    problem: str = ""


def last_run(inventory: Sequence[str]) -> LastRun:
    """Return the last run of the chain, not in check mode, from the histories of the inventories."""
    newest = LastRun()
    try:
        for history in store.opened(list(inventory)) if inventory else ():
            with contextlib.closing(history.database):
                rows = history.rows(
                    "SELECT id, started, state FROM runs WHERE playbook LIKE ? AND NOT checking ORDER BY started DESC LIMIT 1",
                    f"%{_CHAIN}",
                )
                if rows and rows[0]["started"] > newest.started:
                    copies = history.rows(
                        "SELECT DISTINCT source, category, name FROM copies WHERE run = ? AND role = 'source'",
                        rows[0]["id"],
                    )
                    items = tuple((str(row[0]), f"{row[1]}/{row[2]}") for row in copies)
                    trees = tuple(history.trees or ())
                    newest = LastRun(float(rows[0]["started"]), str(rows[0]["state"]), trees, items)
    except (AltbackupError, sqlite3.Error) as error:
        return LastRun(problem=str(error))
    return newest


def read_files(inventory: Iterable[str]) -> dict[str, list[str]]:
    """Return {file: its lines} of the text files in the inventories."""
    found = {}
    for name in inventory:
        top = Path(name)
        for path in (
            [top]
            if top.is_file()
            else sorted(each for each in top.rglob("*") if each.is_file())
            if top.is_dir()
            else []
        ):
            with contextlib.suppress(OSError, UnicodeDecodeError):
                if path.stat().st_size <= _MOST_BYTES:
                    found[str(path)] = path.read_text(encoding="utf-8").splitlines()
    return found


def scheduled(found: Iterable[Mapping[str, Any]], inventory: Sequence[str]) -> list[dict[str, Any]]:
    """Return the entries of schedules that back up these inventories."""
    names = {os.path.basename(os.path.normpath(name)) for name in inventory}
    lines = [(entry, f"{re.sub(_BETWEEN, ' ', str(entry['line']))} ") for entry in found]
    return [
        dict(entry)
        for entry, line in lines
        if _BACKUP.search(line) and (not names or any(re.search(rf"[/ =]{re.escape(name)}/? ", line) for name in names))
    ]


def unscheduled(plan: Mapping[str, Any], job: Mapping[str, Any], commands: Commands) -> Finding:
    """Return the finding on a missing schedule, with what makes it: set-up, or the same entry alone where set-up is to make none; `job` is of setup.jobs."""
    why = "no crontab and no timer here starts a backup of this inventory"
    if not job["enabled"]:
        mend = "# altbackup_schedule_at says never for backup: leave that out, and run the set-up, or have something else start it"
        return Finding("localhost", "schedule", WRONG, why, mend)
    if plan["setup"]["schedule"]:
        mend = commands.own("run", "setup")
        return Finding("localhost", "schedule", WRONG, why, mend, set_up=True)
    mend = commands.here("cron", name=job["name"], job=job["command"], **at(job))
    return Finding("localhost", "schedule", WRONG, why, mend)


def schedule(
    entries: Sequence[Mapping[str, Any]], last: LastRun, now: float, missing: Finding, commands: Commands, *, cron: bool
) -> list[Finding]:
    """Return the findings on the schedule and the last run; `missing` is that on a missing schedule, `cron` is whether one runs."""
    if not entries:
        found = [missing]
    elif not cron and not any(str(entry["where"]).endswith(".timer") for entry in entries):
        why = f"{entries[0]['where']}: an entry is there, and no cron is seen to run that would start it"
        found = [
            Finding(
                "localhost",
                "schedule",
                UNKNOWN,
                why,
                "# start cron, and have it start with the machine: systemctl enable --now cron",
            )
        ]
    else:
        found = [Finding("localhost", "schedule", OK, f"{entries[0]['where']}: {entries[0]['line']}")]
    if last.problem:
        return [*found, Finding("localhost", "last run", UNKNOWN, last.problem)]
    if not last.started:
        return [*found, Finding("localhost", "last run", UNKNOWN, "there was none yet")]
    age = now - last.started
    told = f"{last.state}, {age / 3600:.0f} h ago"
    if age > _LATE or last.state not in ("good", "running"):
        return [*found, Finding("localhost", "last run", WRONG, told, commands.own("run", "backup"))]
    return [*found, Finding("localhost", "last run", OK, told)]


def mail_settings(
    configured: Mapping[str, Any], entries: Sequence[Mapping[str, Any]], environment: Mapping[str, str]
) -> Settings:
    """Return the mail's settings of scheduled runs or, without a schedule, of this environment; `configured` are options of ansible.cfg."""
    scheduled_with = dict(entries[0].get("environment") or {}) if entries else {}
    around = {**({} if entries else environment), "PATH": environment.get("PATH", os.defpath), **scheduled_with}
    options = {name: around.get(variable_of(name), configured.get(name, "")) for name in MAIL_OPTIONS}
    return judge(options, around)


def mail(settings: Settings, entries: Sequence[Mapping[str, Any]], recipients: str, config: str) -> Finding:
    """Return the finding on whether runs could send mail; `recipients` would get it, `config` is the settings file."""
    if not settings.wanted:
        return Finding("localhost", "mail", OK, "the recipient is none: no mail is wanted")
    whose = "runs of the schedule" if entries else "runs of this shell"
    if settings.problems:
        mend = _mail_mend(settings, entries, recipients, config)
        return Finding("localhost", "mail", WRONG, f"{whose}: {'; '.join(settings.problems)}", mend)
    if not settings.host:
        return Finding("localhost", "mail", OK, f"{whose}: to {', '.join(settings.recipients)} by {settings.sendmail}")
    where = f"{settings.host}:{settings.port}"
    refused = greeted(settings)
    if refused:
        mend = (
            f"# correct host, port and security in {config}, or the account there; then: altbackup doctor --send-mail"
        )
        return Finding("localhost", "mail", WRONG, f"{whose}: {where}: {refused}", mend)
    return Finding(
        "localhost", "mail", OK, f"{whose}: to {', '.join(settings.recipients)} by {where}, which takes them"
    )


def _mail_mend(settings: Settings, entries: Sequence[Mapping[str, Any]], recipients: str, config: str) -> str:
    is_stuck = not settings.host and not settings.sendmail and recipients != NONE
    if settings.recipients and not is_stuck:
        return f"# correct that in {config}, under [callback_error_mail], or where ALTBACKUP_MAIL_... is set"
    if settings.recipients:
        return f"# say in {config}, under [callback_error_mail], or as ALTBACKUP_MAIL_HOST in the crontab: host = mail.example.org"
    if entries and re.search(r"\benv\b.* -i\b", str(entries[0]["line"])):  # MAILTO of the crontab does not get there
        server = (
            " export ALTBACKUP_MAIL_HOST with the name of your server, or install a sendmail here;" if is_stuck else ""
        )
        return f"# name who gets mail as altbackup_mail_to in the inventory;{server} then run the set-up again, which writes that into the entry"
    if is_stuck:
        where = str(entries[0]["where"]) if entries else "this shell, and in the schedule"
        return f"# set ALTBACKUP_MAIL_TO={recipients} and, with the name of your server, ALTBACKUP_MAIL_HOST in {where}; or install a sendmail here"
    if not entries:
        return f"export ALTBACKUP_MAIL_TO={shlex.quote(recipients)}  # and MAILTO in the schedule"
    if str(entries[0]["where"]).startswith("crontab of"):
        return f"{{ printf '%s\\n' {shlex.quote(f'MAILTO={recipients}')}; crontab -l; }} | crontab -"
    return f"# set ALTBACKUP_MAIL_TO={recipients} in {entries[0]['where']}"


def greeted(settings: Settings) -> str:
    """Talk to the mail server as far as a mail would without sending one; return why it would be refused, "" if it would not."""
    context = ssl.create_default_context()
    name = socket.gethostname()
    own = name if "." in name else "[127.0.0.1]"
    try:
        if settings.security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                settings.host, settings.port, own, timeout=settings.timeout, context=context
            )
        else:
            server = smtplib.SMTP(settings.host, settings.port, own, timeout=settings.timeout)
        with server:
            server.ehlo_or_helo_if_needed()
            if settings.security == "starttls":
                server.starttls(context=context)
            if settings.username:
                server.login(settings.username, settings.password)
            code, reply = server.mail(settings.sender)
            for recipient in settings.recipients if code == 250 else ():
                code, reply = server.rcpt(recipient)
                if code not in (250, 251):
                    break
            server.rset()
    except (OSError, ValueError, smtplib.SMTPException) as error:
        return " ".join(str(error).split())[:500] or type(error).__name__
    return "" if code in (250, 251) else f"{code} {reply.decode('utf-8', 'replace')[:300]}"


def dialled(peer: Mapping[str, Any], options: Sequence[str]) -> dict[str, Any]:
    """Return ssh's effective address, number (IP address), port, user, known_hosts and ssh_key for a node, {} without a host.

    `peer` is how the controller reaches it, `options` are those of ssh.
    """
    if not peer.get("host"):
        return {}
    port = ["-p", str(peer["port"])] if peer.get("port") else []
    user = f"{peer['user']}@" if peer.get("user") else ""
    found = effective_settings(["ssh", *options, *port], f"{user}{peer['host']}")
    address = found.get("hostname", str(peer["host"]))
    known = os.path.expanduser((found.get("userknownhostsfile") or "~/.ssh/known_hosts").split()[0].strip('"'))
    number = ""
    with contextlib.suppress(OSError, UnicodeError):
        number = str(socket.getaddrinfo(address, None, type=socket.SOCK_STREAM)[0][4][0])
    return {
        "address": address,
        "number": number,
        "port": int(found.get("port") or peer.get("port") or 22),
        "user": found.get("user", str(peer.get("user") or "")),
        "known_hosts": known,
        "ssh_key": str(peer.get("ssh_key") or ""),
    }


def own_recipients(plan_addresses: Iterable[str]) -> str:
    """Return the recipients of mail: the inventory's addresses, or else this user."""
    return of_all(plan_addresses) or user_name()


def clock() -> float:
    """Return the time in seconds since 1970."""
    return time.time()
