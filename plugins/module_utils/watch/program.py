"""A target's own check, from its crontab, that every source still delivers.

It needs nothing but Python's standard library, and neither Ansible nor a controller. It reads what runs left below `.altbackup/`, and
sidecars, but no byte of a tarball. Its output is for cron: empty if all is well and everybody could be told.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Any

from ..system import mail_transport, pings
from ..system.digest import open_plain
from ..system.errors import AltbackupError, InvalidInput
from ..system.journal import tell_journal
from ..system.opened import owner_name, walked
from ..system.proc import boot_id
from ..system.visible import visible
from ..tree.layout import open_tree
from ..tree.publish import make_folders, write_text
from ..tree.scan import newest_verified
from ..tree.stamps import DAY, earliest_moment, stamp_at
from ..tree.watching import (
    FOLDER,
    NAME,
    PINGS,
    Watched,
    cannot_mail,
    find_sendmail,
    note_check,
    read_watched,
    sources_of,
)
from .clock import Reading, Reckoned, reckon
from .judge import STATE, UNREADABLE, Fault, News, after_telling, clock_faults, hours, judge, news_of, pause_of

WELL, FAULTY, UNABLE = 0, 1, 2
MAILED, CRON = "mail", "cron"
"""Ways to tell, beside PINGS"""
_DELIVER = "--deliver"
_SECONDS = 20.0
_MEMORY = "memory.json"
_MOST_MEMORY = 32 << 20
_MOST_LISTED = 40
_PORTS = {"none": 25, "starttls": 587, "tls": 465}


def main(words: Sequence[str]) -> int:
    """Check a target's base; return the exit code: 0 all well, 1 something is wrong, 2 it could not be checked."""
    if list(words) == [_DELIVER]:
        return _deliver()
    if len(words) != 1 or words[0].startswith("-"):
        print("usage: altbackup-watch BASE, where BASE is the target's altbackup_target_base", file=sys.stderr)
        return UNABLE
    try:
        require_own(os.path.abspath(sys.argv[0]))
        return check(os.path.normpath(words[0]), reading(), sys.argv[0])
    except (AltbackupError, OSError) as error:
        print(f"altbackup-watch: {visible(str(error))}", file=sys.stderr)
        return UNABLE


def reading() -> Reading:
    """Return the readings of the clocks."""
    running = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return Reading(time.time(), time.clock_gettime(running), boot_id())


def require_own(program: str) -> None:
    """Raise AltbackupError unless only root and this user can replace a program: no other may own it or write where it lies."""
    with walked(os.path.dirname(program)) as (steps, missing):
        if missing or not steps[-1].keeps:
            raise AltbackupError(f"{program} lies where others could replace it, so it is not used")
        status = os.stat(program)
        if status.st_uid not in (0, os.geteuid()) or stat.S_IMODE(status.st_mode) & 0o022:
            raise AltbackupError(
                f"{program} is of {owner_name(status.st_uid)}, or others can write it: it is for its owner, not for {owner_name(os.geteuid())}"
            )


def check(base: str, shown: Reading, program: str) -> int:
    """Check a target's base, tell which sources are late, and return the exit code. Raise AltbackupError or OSError.

    `program` is the path of this program.
    """
    private = open_tree(base).private
    if os.path.dirname(private) != base:
        raise InvalidInput(f"{base} is not the base of a target: it has no marker of its own")
    folder = os.path.join(private, FOLDER)
    make_folders(folder, private)
    with _alone(folder) as is_alone:
        if not is_alone:  # a check that hangs does not update its note, so its absence is noticed
            return WELL
        unwritten = _unwritten(private, shown.wall)
        memory = _read_memory(folder)
        watched, faults = _watched(base, private)
        faults += unwritten
        reckoned, clock = reckon(_mapping(memory.get("clock")), shown, [entry.written for entry in watched])
        first = _first_seen(_mapping(memory.get("first")), watched, reckoned.now)
        faults += clock_faults(reckoned)
        for entry in watched:
            faults += _judged(base, entry, first.get(entry.source, {}), reckoned)
        told, lines, lost = _tell(watched, faults, _mapping(memory.get("told")), reckoned.now, program)
        complained = _complained(memory.get("complained"), lost, reckoned.now)
        kept = {
            "clock": clock,
            "first": first,
            "told": told,
            "complained": reckoned.now if complained else memory.get("complained"),
        }
        with contextlib.suppress(OSError):  # a full disk is a fault already; telling too often is the smaller evil
            write_text(os.path.join(folder, _MEMORY), json.dumps(kept) + "\n")
    for sentence in (*lines, *(lost if complained else ())):
        print(f"altbackup-watch: {visible(sentence)}", file=sys.stderr)
    return FAULTY if faults else WELL


def _unwritten(private: str, now: float) -> list[Fault]:
    """Note that this check runs; return a fault if that cannot be written, as on a full disk."""
    try:
        note_check(private, now)
    except OSError as error:
        return [Fault("", STATE, f"what this check has to keep cannot be written: {error}")]
    return []


@contextlib.contextmanager
def _alone(folder: str) -> Iterator[bool]:
    """Yield whether no other check of this target is at work."""
    descriptor = os.open(os.path.join(folder, "lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(descriptor)


def _watched(base: str, private: str) -> tuple[list[Watched], list[Fault]]:
    """Return what runs left about each expected source, and a fault for each that cannot be read."""
    found, faults = [], []
    for name in sources_of(private):
        path = os.path.join(private, "state", name, NAME)
        try:
            entry = read_watched(path)
            if entry.source != name:
                raise AltbackupError(f"{path} is of {entry.source!r}, not of {name!r}")
            found.append(entry)
        except (AltbackupError, OSError) as error:
            faults.append(Fault(name, UNREADABLE, str(error)))
    return found, faults


def _first_seen(before: Mapping[str, Any], watched: Sequence[Watched], now: float) -> dict[str, dict[str, float]]:
    """Return {source: {item: when it was first watched}}."""
    return {
        entry.source: {key: _moment(_mapping(before.get(entry.source)).get(key), now) for key in entry.items}
        for entry in watched
    }


def _moment(value: Any, now: float) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < now else now


def _judged(base: str, watched: Watched, first: Mapping[str, float], reckoned: Reckoned) -> list[Fault]:
    """Return the faults of a source."""
    newest = {}
    try:
        tree = open_tree(os.path.join(base, watched.source))
        latest = stamp_at(reckoned.now + DAY, watched.timezone)
        for key in watched.items:
            stamp = newest_verified(tree, key, latest)
            newest[key] = earliest_moment(stamp, watched.timezone) if stamp else 0.0
    except (AltbackupError, OSError) as error:
        return [Fault(watched.source, UNREADABLE, str(error))]
    return judge(watched, newest, first, reckoned)


def _tell(
    watched: Sequence[Watched], faults: Sequence[Fault], before: Mapping[str, Any], now: float, program: str
) -> tuple[dict[str, Any], list[str], list[str]]:
    """Tell news by all ways; return what each was told, lines for cron, and sentences on what could not be told."""
    told: dict[str, Any] = {}
    lines: list[str] = []
    lost: list[str] = []
    groups: dict[str, list[Watched]] = {}
    for entry in watched:
        groups.setdefault(json.dumps([dict(entry.mail), dict(entry.pings)], sort_keys=True), []).append(entry)
    own = {entry.source for entry in watched}
    general = [fault for fault in faults if fault.source not in own]
    for group in groups.values() or [[]]:
        sources = sorted(entry.source for entry in group)
        concerned = [*general, *(fault for fault in faults if fault.source in sources)]
        for way in _ways(group):
            name = "\0".join((way, *sources))
            known = _mapping(before.get(name))
            news = news_of(known, concerned, now)
            problem = _tell_by(way, group, news, now, program)
            if way == CRON and news.is_due:
                lines += _lines(group, news, now)
            lost += [problem] if problem else []
            told[name] = after_telling(known, concerned, now) if news.is_due and not problem else known
            if told[name] is not known and way == _ways(group)[0]:
                tell_journal(_events(group[0].target if group else "", news))
    return told, lines, lost


def _ways(group: Sequence[Watched]) -> list[str]:
    """Return the ways by which news of some sources is told; CRON, the mail of cron, if there is no other."""
    first = group[0] if group else None
    pinged = [name for name in PINGS if first and first.pings.get(name)]
    mailed = [MAILED] if first and first.mail.get("to") else []
    return [*mailed, *pinged] or [CRON]


def _tell_by(way: str, group: Sequence[Watched], news: News, now: float, program: str) -> str:
    """Tell news by one way; return why that failed, empty if it did not. A ping is sent each time, even if all is well."""
    if way == CRON or not (news.is_due or (way != MAILED and not news.faults)):
        return ""
    subject, text = message(group, news, now)
    if way == MAILED:
        how = _way(group[0].mail)
        refused = cannot_mail(group[0].mail) or _refused(how)
        return refused or _handed_over({"mail": _mail(group[0], subject, text), **how}, program)
    kind = pings.HEALTHCHECKS if way == PINGS[0] else pings.KUMA
    signal = pings.FAIL if news.faults else pings.SUCCESS
    return _handed_over({"ping": [kind, group[0].pings[way], signal, subject]}, program)


def _lines(group: Sequence[Watched], news: News, now: float) -> list[str]:
    if not group:
        return [f"{fault.source or 'this target'}: {fault.message}" for fault in news.faults] or ["all is well again"]
    subject, text = message(group, news, now)
    return [subject, *text.splitlines()]


def _events(target: str, news: News) -> list[dict[str, Any]]:
    return [
        {
            "event": "watch",
            "target": target,
            "source": fault.source,
            "item": fault.what,
            "message": fault.message,
            "bad": True,
        }
        for fault in news.faults
    ] + [
        {"event": "watch", "target": target, "item": name, "message": "well again", "bad": False} for name in news.ended
    ]


def message(group: Sequence[Watched], news: News, now: float) -> tuple[str, str]:
    """Return subject and text of the news about some sources."""
    target, faults = group[0].target, news.faults
    if not faults:
        lines = ["All is well again:", *(f"  {name}" for name in news.ended[:_MOST_LISTED])]
        return f"[altbackup] WATCH {target}: all is well", "\n".join(lines) + "\n"
    names = list(dict.fromkeys(fault.source or target for fault in faults))
    more = f" (+{len(faults) - 1})" if len(faults) > 1 else ""
    first = faults[0]
    subject = f"[altbackup] WATCH {target}: {first.source or target}: {first.what}: {first.message}{more}"
    lines = [f"{target} looked at what it holds by itself, without the controller.", ""]
    for name in names:
        entry = next((entry for entry in group if entry.source == name), None)
        if entry is not None:
            lines.append(
                f"{name}: the last run that came here was {hours(now - entry.written)} ago, from {entry.controller or 'a controller'}"
            )
        own = [fault for fault in faults if (fault.source or target) == name]
        lines += [
            f"  {fault.what}: {fault.message}{'' if fault in news.new else ' (told before)'}"
            for fault in own[:_MOST_LISTED]
        ]
        lines += [f"  and {len(own) - _MOST_LISTED} more"] if len(own) > _MOST_LISTED else []
    if news.ended:
        lines += ["", "Well again:", *(f"  {name}" for name in news.ended[:_MOST_LISTED])]
    paused = [entry for entry in group if pause_of(entry, now)[1]]
    lines += [
        f"{entry.source} is not to come before {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime(entry.pause_until))}"
        for entry in paused
    ]
    lines += [
        "",
        "If no run came: does the controller live, and its crontab? If runs came: bin/altbackup status there says what failed.",
    ]
    return " ".join(subject.split())[:200], "\n".join(lines) + "\n"


def _mail(watched: Watched, subject: str, text: str) -> str:
    mail = EmailMessage()
    sender = watched.mail.get("from") or f"altbackup@{socket.gethostname()}"
    mail["Subject"], mail["From"], mail["To"] = (
        visible(subject),
        sender,
        ", ".join(watched.mail["to"].replace(",", " ").split()),
    )
    mail["Date"], mail["Message-ID"] = formatdate(), make_msgid("altbackup", sender.rpartition("@")[2] or "localhost")
    mail["Auto-Submitted"], mail["X-Altbackup-Target"] = "auto-generated", visible(watched.target)
    mail.set_content("\n".join(map(visible, text.split("\n"))), cte="quoted-printable")
    return mail.as_string()


def _refused(mail: Mapping[str, Any]) -> str:
    """Return why a mail must not be sent this way, empty if it may be."""
    if mail["username"] and mail["security"] == "none" and mail["host"] not in ("", "localhost", "127.0.0.1", "::1"):
        return f"no mail to {mail['host']}: without encryption it would show the password to the network (altbackup_watch_mail_security)"
    return ""


def _way(mail: Mapping[str, str]) -> dict[str, Any]:
    """Return how to send a mail, as mail_transport takes it."""
    security = mail.get("security") or "none"
    port = mail.get("port") or ""
    return {
        "host": mail.get("host", ""),
        "port": int(port) if port.isdigit() else _PORTS.get(security, 25),
        "security": security,
        "username": mail.get("username", ""),
        "password": mail.get("password", ""),
        "sendmail": find_sendmail(),
    }


def _handed_over(job: Mapping[str, Any], program: str) -> str:
    """Send one mail or ping in a process of its own with a time limit; return why that failed, empty if it did not."""
    if "mail" in job:
        where = f"the mail by {job['host'] or job['sendmail']}"
    else:
        where = f"the ping to {pings.shown(job['ping'][1])}" if not pings.problem_of(job["ping"][1]) else "the ping"
    try:
        done = subprocess.run(
            [sys.executable, "-I", program, _DELIVER],
            input=json.dumps(job).encode(),
            capture_output=True,
            timeout=_SECONDS + 10,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{where} could not be sent: no answer"
    if done.returncode == 0:
        return ""
    output = " ".join(done.stdout.decode("utf-8", "replace").split())[-500:]
    return f"{where} could not be sent: {output or f'no answer within {_SECONDS:g} s'}"


def _deliver() -> int:
    """Send the one mail or ping on standard input; return 0 if it was taken, else print why not."""
    job = json.load(sys.stdin)
    signal.setitimer(signal.ITIMER_REAL, _SECONDS)
    deadline = time.monotonic() + _SECONDS * 0.9
    try:
        if "mail" in job:
            refused = mail_transport.send(job, job["mail"].encode("utf-8"), deadline)
            if refused:
                raise mail_transport.Refused(f"refused for {', '.join(refused)}")
        else:
            kind, url, what, text = job["ping"]
            if pings.problem_of(url):
                raise pings.Refused(f"it {pings.problem_of(url)}")
            pings.send(pings.Ping(kind, url, what, message=text), deadline)
    except (mail_transport.Refused, pings.Refused) as error:
        print(str(error))
        return 1
    return 0


def _complained(last: Any, lost: Sequence[str], now: float) -> bool:
    """Return whether cron is to be told now what could not be told: once a day. `last` is when it was told last."""
    at = float(last) if isinstance(last, (int, float)) and not isinstance(last, bool) else 0.0
    return bool(lost) and not 0 <= now - at < DAY - 600


def _read_memory(folder: str) -> dict[str, Any]:
    """Return what the last check kept; empty if that is damaged."""
    with contextlib.suppress(OSError, ValueError, RecursionError), open_plain(os.path.join(folder, _MEMORY)) as stream:
        return _mapping(json.loads(stream.read(_MOST_MEMORY)))
    return {}


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}
