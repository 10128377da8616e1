"""Backups from day to day: what there is, bring it back, run playbooks so that no failure goes unseen."""

from __future__ import annotations

import argparse
import json
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ...module_utils.system.errors import AltbackupError, InvalidInput
from ...module_utils.system.opened import user_name
from ...module_utils.system.units import counted
from ...module_utils.system.visible import visible
from ..mail import channels, delivery
from ..mail.spool import MAIL, put
from ..mail.text import compose, specimen
from ..report import run_summary
from ..report.causes import good_copies, titled
from . import completion, runs, status
from .job import PROGRAM, Job, ansible_settings, find_playbook, mail_settings
from .run_store import LOG, RUNNING, Run, state_folder
from .screen import while_read
from .supervised_run import SupervisedRun, say
from .verdict import EXIT_CODES, NOT_STARTED

_ALONE = ("run", "mail", "last")
"""Commands that import nothing that is to be installed, so that a run can tell, and mail, what is missing"""
_OWN = ("--time-limit", "--artifacts", "--keep-runs", "--keep-days", "-h", "--help")
_EPILOG = (
    "Exit codes of run: 0 all good; 2 something failed; 3 hosts were unreachable, and nothing else failed; 4 it could not "
    "start, or there was nothing to do; 5 it reached its time limit; 6 it is already running; 7 it was interrupted or killed. "
    "The other commands have the same, but for mail, last, runs, log and report: 0, or 1 if that could not be done; and for status: 1 also if all is not well."
)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InvalidInput(f"{message} ({' '.join(self.format_usage().split())})")


def main(words: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    own, passed = _split(words)
    try:
        parser = _arguments(words[:1])
        completion.answer(parser)
        arguments, options = parser.parse_known_args(own)
        if _is_interactive(arguments.command):
            return while_read(lambda: int(_commands().act(arguments, options, passed)))
        if arguments.command == "run" and words[1].startswith("-") and words[1].partition("=")[0] not in _OWN:
            raise InvalidInput(f"the playbook comes first, then {words[1]}")
        if arguments.command != "run" and options:
            raise InvalidInput(f"unknown: {' '.join(options)}")
    except InvalidInput as error:
        if words[:1] == ["run"]:
            return SupervisedRun(words).refuse(Job(Path("altbackup run"), argv=(PROGRAM, *words)), str(error))
        say(str(error))
        return EXIT_CODES[NOT_STARTED] if words[:1] and _is_interactive(words[0]) else 1
    if hasattr(arguments, "act"):
        return while_read(lambda: int(arguments.act(arguments)))
    if arguments.command == "run":
        night = SupervisedRun(words, arguments.artifacts)
        return night.run(arguments.playbook, options, arguments.time_limit, arguments.keep_runs, arguments.keep_days)
    if arguments.command == "last":
        return while_read(lambda: _tell_last(arguments))
    return _flush_mail() if arguments.flush else send_specimen()


def _split(words: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Return the words before and after `--`; for commands that pass nothing on, all words and none."""
    if words[:1] and "--" in words and _is_interactive(words[0]):
        place = list(words).index("--")
        return words[:place], words[place + 1 :]
    return words, ()


def _commands() -> Any:
    """Return the module of the interactive commands, which needs ansible-core."""
    from . import commands

    return commands


def _is_interactive(command: str) -> bool:
    return command not in _ALONE and command in _commands().COMMANDS


def _arguments(first: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Return the parser of all commands, or of those of _ALONE if it is for one of them; `first` is the first word, if there is one."""
    parser = _Parser(prog="altbackup", description=__doc__, epilog=_EPILOG, allow_abbrev=False)
    known = parser.add_subparsers(dest="command", required=True)
    run = known.add_parser(
        "run",
        help="run a playbook",
        usage="altbackup run PLAYBOOK [-i INVENTORY] [--limit HOSTS] [-e NAME=VALUE] [--check] [more of ansible-playbook] "
        "[--time-limit TIME] [--artifacts DIR] [--keep-runs N] [--keep-days N]",
        description="Run a playbook. Options that are not named here are handed on to ansible-playbook. Without -i the inventory is that "
        "of $ALTBACKUP_INVENTORY, of $ANSIBLE_INVENTORY, or of your own ansible.cfg; there is no other.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    run.add_argument(
        "playbook", metavar="PLAYBOOK", help="a path, or the name of one of this collection, such as backup"
    )
    run.add_argument("--time-limit", metavar="TIME", default="24h", help="end the run after this time (default: 24h)")
    run.add_argument("--keep-runs", metavar="N", type=_number, default=60, help="runs to keep (default: 60)")
    run.add_argument("--keep-days", metavar="N", type=_number, default=90, help="days to keep them (default: 90)")
    mail = known.add_parser("mail", help="test the mail, or send what is in its spool", allow_abbrev=False)
    what = mail.add_mutually_exclusive_group(required=True)
    what.add_argument("--test", action="store_true", help="send a specimen")
    what.add_argument("--flush", action="store_true", help="send what could not be sent before")
    last = known.add_parser("last", help="tell how the last run went", allow_abbrev=False)
    last.add_argument("playbook", metavar="PLAYBOOK", nargs="?", default="", help="the last run of this playbook")
    last.add_argument("--json", action="store_true", help="as JSON")
    last.add_argument(
        "-i", "--inventory", action="append", default=[], metavar="INVENTORY", help="the last run with this inventory"
    )
    if not first or first[0] not in _ALONE:
        from . import command_arguments, init, page, watch

        for reader in (status, runs, page, watch, init):
            reader.add(known)
        command_arguments.add_commands(known)
    for command in (run, last):
        command.add_argument(
            "--artifacts",
            metavar="DIR",
            default="",
            help="where runs are kept (default: $ALTBACKUP_ARTIFACTS, or altbackup below $XDG_STATE_HOME or ~/.local/state)",
        )
    return parser


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def send_specimen() -> int:
    """Send a specimen of the failure mail to recipients and channels; return the exit code."""
    settings = mail_settings(ansible_settings(os.environ), os.environ)
    for problem in (*settings.problems, *settings.flaws):
        say(problem)
    report = specimen(socket.gethostname(), user_name())
    others = channels.tell(report, settings)
    for sentence in others:
        say(sentence)
    if settings.channels and not others:
        print(f"{counted(len(settings.channels), 'channel')} took it over")
    if not settings.wanted:
        say("the recipient is none: no mail is wanted")
        return 0 if settings.channels and not others else 1
    if not settings.recipients:
        return 1
    way = f"{settings.host}:{settings.port} (security {settings.security})" if settings.host else settings.sendmail
    print(f"from {settings.sender} to {', '.join(settings.recipients)} by {way or 'nothing'}")
    try:
        path = put(settings.spool, compose(report, settings, settings.recipients).as_bytes(), MAIL)
    except OSError as error:
        say(f"the spool {settings.spool} cannot be used: {error.strerror or error}")
        return 1
    (outcome,) = delivery.finish(delivery.start([path], settings), [path], settings.timeout)
    path.unlink(missing_ok=True)
    if not outcome.sent or outcome.reason:
        say(f"the mail was not taken over{'' if not outcome.sent else ' for all'}: {outcome.reason}")
        return 1
    print("the mail was taken over")
    return 1 if others else 0


def _flush_mail() -> int:
    """Send what is in the spool; return the exit code."""
    settings = mail_settings(ansible_settings(os.environ), os.environ)
    told = delivery.flush(settings)
    print(f"sent from {settings.spool}: {told.delivered} of {counted(told.mails, 'mail')}")
    others = channels.flush(settings)
    for sentence in (*told.problems, *others):
        say(sentence)
    return 1 if told.spooled or others else 0


def _tell_last(arguments: argparse.Namespace) -> int:
    """Print how the last run went; return the exit code."""
    state = state_folder(arguments.artifacts, os.environ)
    wanted = str(find_playbook(arguments.playbook)) if arguments.playbook else ""
    try:
        inventory = status.named_inventory(arguments.inventory) if arguments.inventory else []
    except AltbackupError as error:
        say(str(error))
        return 1
    run = runs.last_run(state, wanted, inventory)
    called = runs.last_called(Path(wanted).name, run, inventory)
    if run is None and called is None:
        of = f" of {arguments.playbook}" if wanted else ""
        where = f" with the inventory {', '.join(inventory)}" if inventory else ""
        say(f"there is no run{of}{where} in {state}")
        return 1
    if arguments.json:
        told = runs.last_as_json(run, called)
        text = json.dumps(told, indent=1, ensure_ascii=False)
        print(json.dumps(told, indent=1) if visible(text) != text else text)
    elif called is not None:
        print("\n".join(map(visible, runs.lines_of(called))))
    elif run is not None:
        result = {**run.result}
        if result["state"] == RUNNING and run.hold():
            result["state"] = "ended without a word"
        print("\n".join(map(visible, _lines(result, run))))
    return 0


def _lines(result: dict[str, Any], run: Run) -> list[str]:
    """Return lines on how a run went."""
    code = f" (exit code {result['exit_code']})" if "exit_code" in result else ""
    took = f", took {result['seconds']:g} s" if "seconds" in result else ""
    failures = _failure_lines(result.get("failures", ()))
    purges = [f"  {run_summary.describe_purge(entry)}" for entry in result.get("purged", ())]
    hosts = [
        f"  {name}: {', '.join(f'{key}={count}' for key, count in counts.items())}"
        for name, counts in result.get("hosts", {}).items()
    ]
    return [
        f"{result['playbook']}: {result['state']}{code}",
        f"started {result['started']}{took}, by {result['user']} on {result['node']}",
        f"inventory: {', '.join(map(str, result.get('inventory', ()))) or 'none was named'}",
        *(["hosts:", *hosts] if hosts else []),
        *(["purged:", *purges] if purges else []),
        *(["failures:", *failures] if failures else []),
        f"log: {run.folder / LOG}",
    ]


def _failure_lines(failures: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return lines on the failures in a run's result, equal ones of several hosts as one."""
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for failure in failures:
        groups.setdefault(tuple(str(failure.get(key)) for key in ("kind", "message", "task", "path")), []).append(
            failure
        )
    lines = []
    for group in groups.values():
        places = [
            str(failure.get("title") or " -> ".join(filter(None, (failure["host"], failure["delegate"]))))
            for failure in group
        ]
        told = [(place, str(failure.get("good") or "")) for place, failure in zip(places, group, strict=True)]
        follows = dict.fromkeys(line for failure in group for line in failure.get("follows", ()))
        lines.append(f"  {titled(places)}: {group[0]['message']}")
        lines += [f"    {line}" for line in (*good_copies(told), *follows)]
    return lines
