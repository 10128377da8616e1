"""The mail on a run: subject, a text that is easy to read on a phone at night, the same as HTML, and the log."""

from __future__ import annotations

import gzip
import hashlib
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid

from ...module_utils.system.units import counted, first_of
from ...module_utils.system.visible import abridged
from ..report.command_line import command_line, rerun_command
from ..report.model import UNREACHABLE, Failure, Place, Report, heading, shared_lines, titles, together
from ..report.plain_text import cut, one_line
from ..report.run_log import log_text
from .page import render
from .settings import Settings

POLICY = policy.SMTP.clone(cte_type="7bit")
"""CRLF, encoded headers and ASCII only, which every server accepts."""
_MOST_LISTED = 100
_SUBJECT = 120
"""Most characters of a subject"""
_SMALLEST = 1500
"""Fewest characters in which a failure is worth showing in full"""
_COUNTS = ("ok", "changed", "unreachable", "failures", "skipped", "rescued", "ignored")


@dataclass(frozen=True)
class Block:
    """A section of the mail, for text and HTML."""

    title: str
    lines: tuple[str, ...] = ()
    fields: tuple[tuple[str, str], ...] = ()
    outputs: tuple[tuple[str, str], ...] = ()
    """(title, text) to be shown verbatim"""
    bad: bool = False
    recap: bool = False
    """Whether the recap of all hosts follows"""


def compose(report: Report, settings: Settings, recipients: Sequence[str]) -> EmailMessage:
    """Return the mail on a report without secrets."""
    report = _with_inventory(report)
    mail = EmailMessage(policy=POLICY)
    mail["Subject"] = subject(report)
    mail["From"] = settings.sender
    mail["To"] = ", ".join(recipients)
    mail["Date"] = format_datetime(report.ended or datetime.now(UTC))
    domain = settings.sender.rpartition("@")[2].strip("[]") or "localhost"
    mail["Message-ID"] = make_msgid("altbackup", domain)
    hosts = _hosts(report)
    mail["References"] = " ".join(_thread(report, host, domain) for host in hosts[:20])
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Altbackup-Status"] = report.status.lower()
    mail["X-Altbackup-Playbook"] = one_line(report.playbook)
    mail["X-Altbackup-Hosts"] = one_line(", ".join(hosts), 500)
    mail["X-Altbackup-Controller"] = one_line(report.node)
    if report.stamp:
        mail["X-Altbackup-Stamp"] = report.stamp
    parts = blocks(report, settings.body_limit)
    mail.set_content(text_of(report, parts, settings.body_limit))
    page = render(
        title=subject(report),
        good=report.status == "RECOVERED",
        opening=_opening(report),
        summary=_summary(report),
        parts=parts,
        columns=_COUNTS,
        rows=_recap_rows(report),
    )
    if page:
        mail.add_alternative(page, subtype="html")
    log = log_text(report.log)
    if log and settings.log_limit:
        mail.add_attachment(
            gzip.compress(cut(log, settings.log_limit).encode("utf-8", "replace"), mtime=0),
            maintype="application",
            subtype="gzip",
            filename="run.log.gz",
        )
    if all(str(value).isascii() for value in mail.values()):
        mail.policy = POLICY.clone(max_line_length=998)  # an unfolded subject is easier to search for
    return mail


def _with_inventory(report: Report) -> Report:
    """Return the report with its inventory put into the commands of its texts: the nodes that wrote them do not know it."""
    if not report.inventory:
        return report
    named = shlex.join(word for path in report.inventory for word in ("-i", path))

    def fill(texts: Iterable[str]) -> tuple[str, ...]:
        return tuple(text.replace("-i INVENTORY", named) for text in texts)

    failures = [
        replace(failure, message=fill([failure.message])[0], follows=fill(failure.follows))
        for failure in report.failures
    ]
    return replace(report, failures=tuple(failures), notes=fill(report.notes))


def subject(report: Report) -> str:
    """Return the subject: one line with the first failure, and how many more failures or hosts there are."""
    hosts, failures = len(_hosts(report)), len(together(report.failures))
    of_inventory = all(failure.of_inventory for failure in report.failures)
    number, what = (failures, "failure") if failures > hosts or of_inventory else (hosts, "host")
    more = f" (+{counted(number - 1, what)})" if number > 1 else ""
    mode = " (check mode)" if report.check else ""
    opening = one_line(f"[altbackup] {report.status}{mode} {report.playbook}: ", _SUBJECT // 2)
    return f"{opening} {one_line(_first_line(report), _SUBJECT - len(opening) - len(more) - 1)}{more}"


def _first_line(report: Report) -> str:
    if not report.failures:
        return f"{', '.join(report.unfinished)}: did not finish"
    first = report.failures[0]
    if first.of_inventory and not first.names_its_hosts and len(_hosts(report)) > 1:
        return f"inventory: {first.headline}"
    return heading([first])


def _hosts(report: Report) -> list[str]:
    return list(dict.fromkeys([*(failure.host for failure in report.failures), *report.unfinished]))


def _thread(report: Report, host: str, domain: str) -> str:
    """Return the identifier by which mail programs group the mails on a host."""
    digest = hashlib.sha256(f"{report.node}\0{report.playbook}\0{host}".encode("utf-8", "replace")).hexdigest()[:24]
    return f"<altbackup.{digest}@{domain}>"


def blocks(report: Report, limit: int) -> list[Block]:
    """Return the sections of a mail of about `limit` characters; of too many failures the last are only listed."""
    groups = together(report.failures)
    shown = max(1, min(len(groups), limit * 3 // 4 // _SMALLEST))
    room = limit * 3 // 4 // shown
    parts = [_failure_block(number, group, room) for number, group in enumerate(groups[:shown], 1)] if groups else []
    listed = [abridged(heading(group)) for group in groups[shown:]]
    if listed:
        more = [f"and {len(listed) - _MOST_LISTED} more, see the log"] if len(listed) > _MOST_LISTED else []
        parts.append(Block(counted(len(listed), "further failure"), (*listed[:_MOST_LISTED], *more), bad=True))
    if report.unfinished:
        text = f"{first_of(report.unfinished, _MOST_LISTED)}: stopped by the failure of another host, or never begun."
        parts.append(Block("Did not finish", (text,), bad=True))
    if report.notes:
        parts.append(Block("Notes", tuple(map(abridged, report.notes[:_MOST_LISTED]))))
    if report.fine:
        parts.append(Block("What was fine", report.fine[:_MOST_LISTED]))
    parts.append(Block("The run", fields=tuple(_context(report))))
    if report.recap:
        parts.append(Block("Recap", recap=True))
    if report.mend and report.status != "RECOVERED":
        told = (
            "A check only looks. A backup fetches good copies of what is damaged, and makes and sends what is missing."
        )
        parts.append(Block("To mend it", (told, *_masked(report.mend)), outputs=(("", report.mend),)))
    if report.rerun and report.status != "RECOVERED":
        whole = report.stamp and report.playbook != "restore.yml"  # what is restored already is not replaced
        hint = (
            () if not whole else ("It looks again.",) if report.mend else ("It does what is missing and nothing else.",)
        )
        parts.append(Block("To run again", (*hint, *_masked(report.rerun)), outputs=(("", report.rerun),)))
    return parts


def _masked(command: str) -> tuple[str, ...]:
    return ("Put in what is masked.",) if "********" in command else ()


def _failure_block(number: int, group: Sequence[Failure], room: int) -> Block:
    failure = group[0]
    place = failure.place
    full_message = " ".join(failure.message.split())
    outputs = [
        (title, text) for title, text in failure.outputs if " ".join(text.split()) not in full_message or len(text) < 8
    ]
    short = tuple((title, text) for title, text in outputs if "\n" not in text and len(text) < 200)
    long = [(title, text) for title, text in outputs if (title, text) not in short]
    message = cut(failure.message, room // 2)
    share = max((room - len(message)) // max(len(long), 1), 300)
    task = " ".join(part for part in (place.name and f'"{place.name}"', place.role and f"of role {place.role}") if part)
    fields = [
        ("hosts", titles(group) if len(group) > 1 else ""),
        ("unreachable", "yes" if failure.kind == UNREACHABLE else ""),
        ("history", failure.since),
        ("handler" if place.handler else "task", task),
        ("file", place.path),
        ("play", place.play),
        ("remote user", place.user),
        ("become", place.become),
        ("run once", "for all hosts of its play" if place.run_once else ""),
        *short,
        ("fine before", failure.before),
    ]
    several = len(group) > 1 and not failure.names_its_hosts
    title = f"{number}. {f'{len(group)} hosts: {failure.headline}' if several else heading(group)}"
    first, _, rest = message.partition("\n")
    told = rest if " ".join(first.split()) == failure.headline else message
    return Block(
        abridged(title),
        lines=tuple(map(abridged, (*(told.split("\n") if told.strip() else ()), *shared_lines(group)[:_MOST_LISTED]))),
        fields=tuple((name, value) for name, value in fields if value),
        outputs=tuple((name, cut(text, share)) for name, text in long[:20]),
        bad=True,
    )


def _context(report: Report) -> list[tuple[str, str]]:
    duration = report.ended - report.started if report.started and report.ended else None
    fields = [
        ("command", report.command),
        ("folder", report.folder),
        ("controller", f"{report.user}@{report.node}" if report.user else report.node),
        ("inventory", ", ".join(report.inventory)),
        ("stamp", report.stamp),
        ("mode", "check mode: nothing was changed" if report.check else ""),
        ("started", report.started.strftime("%Y-%m-%d %H:%M:%S %Z") if report.started else ""),
        ("took", str(duration).partition(".")[0] if duration is not None else ""),
        ("ended", report.state),
    ]
    return [(name, value) for name, value in fields if value]


def text_of(report: Report, parts: Iterable[Block], limit: int) -> str:
    """Return the mail's text, at most about `limit` characters."""
    lines = [_opening(report), *_summary(report)]
    for part in parts:
        lines += [
            "",
            part.title,
            *(f"  {line}" for line in part.lines),
            *(f"  {name}: {value}" for name, value in part.fields),
        ]
        for name, text in part.outputs:
            lines += [f"  {name}:"] if name else []
            lines += [f"    {line}".rstrip() for line in text.split("\n")]
        lines += [f"  {line}" for line in _recap(report)] if part.recap else []
    return cut("\n".join(lines), limit) + "\n"


def _opening(report: Report) -> str:
    return f"{report.status} {_first_line(report)}"


def _summary(report: Report) -> list[str]:
    """Return the second line of the mail: how many failures on how many hosts."""
    if report.status == "RECOVERED":
        return [f"{report.playbook} was good again on {report.node}. What had failed:"]
    if report.status == "TEST":
        return ["A test: nothing has failed. This is what a mail on two failures looks like."]
    failures, hosts = len(together(report.failures)), len(_hosts(report))
    told = f"{counted(failures, 'failure')} on {counted(hosts, 'host')}"
    if report.failures and all(failure.of_inventory for failure in report.failures):
        told = f"{counted(failures, 'error')} of the inventory: nothing was begun on any host,"
    mode = " (check mode)" if report.check else ""
    return [f"{told} in {report.playbook}{mode}, started on {report.node}."]


def _recap(report: Report) -> list[str]:
    return [
        f"{host}: {', '.join(f'{name}={counts[name]}' for name in _COUNTS if counts.get(name)) or 'nothing'}"
        for host, counts in _shown_recap(report)
    ]


def _shown_recap(report: Report) -> list[tuple[str, Mapping[str, int]]]:
    return list(report.recap.items())[: 2 * _MOST_LISTED]


def _recap_rows(report: Report) -> list[tuple[str, bool, list[int]]]:
    """Return (host, whether something failed there, its counts) of each host."""
    wrong = {*(failure.host for failure in report.failures), *report.unfinished}
    return [
        (
            host,
            host in wrong or bool(counts.get("failures") or counts.get("unreachable")),
            [int(counts.get(name) or 0) for name in _COUNTS],
        )
        for host, counts in _shown_recap(report)
    ]


def specimen(node: str = "backup.example.org", user: str = "scm") -> Report:
    """Return an invented report of a run with two failures, to be sent as a test or looked at."""
    started = datetime(2013, 5, 10, 2, 0, 3, tzinfo=UTC)
    stamp = "2013/05/10/020003"
    check = Place(
        name="Count the tarballs of the day",
        role="altbackup.core.check",
        path="roles/check/tasks/main.yml:21",
        play="(2/3) Back up every source",
        user="scm",
    )
    send = replace(check, name="exchange | Send what they asked for, to all at once", role="altbackup.core.synchronize")
    argv = ["ansible-playbook", "-i", "inventory/sites", "playbooks/backup.yml", "-e", "db_password=swordfish"]
    return Report(
        playbook="backup.yml",
        failures=(
            Failure(
                "dayabay",
                "check of svn/dybsvn: expecting 2 tarballs for dybsvn of dayabay on 2013/05/10 but got 1: "
                f"svn/dybsvn/{stamp}/dybsvn-20496.tar.gz\n(tracs/dybsvn/{stamp}/dybsvn.tar.gz has no dna: still arriving, "
                "or its transfer failed)",
                delegate="cms01",
                kind="recorded",
                place=check,
                before="14 tasks, the last: exchange | Send what they asked for, to all at once",
                since="still failing since 2013-05-08 02:41 UTC, 3 runs",
            ),
            Failure(
                "lingao",
                "synchronize of svn/lingao: the connection ended before all was sent",
                delegate="ntu",
                kind="recorded",
                place=replace(send, path="roles/synchronize/tasks/exchange.yml:11"),
                outputs=(
                    ("return code", "255"),
                    (
                        "stderr",
                        "client_loop: send disconnect: Broken pipe\nrsync error: unexplained error (code 255) at io.c(231)",
                    ),
                ),
                before="9 tasks, the last: prepare_targets | Note what was found",
            ),
        ),
        fine=("dayabay: svn/dybsvn: 2401310024 bytes, 96 s", "dayabay -> sdu: 2401310024 bytes sent"),
        recap={
            "dayabay": {"ok": 21, "changed": 4, "ignored": 1},
            "lingao": {"ok": 17, "changed": 2},
            "localhost": {"ok": 5, "failures": 1},
        },
        state="2 of 3 hosts failed",
        command=command_line(argv),
        folder="/home/scm/altbackup.core",
        node=node,
        user=user,
        inventory=("inventory/sites",),
        started=started,
        ended=started.replace(hour=3, minute=12),
        stamp=stamp,
        rerun=rerun_command(argv, "/home/scm/altbackup.core", stamp),
        log=(("", "This is a test: nothing has failed."),),
        status="TEST",
    )
