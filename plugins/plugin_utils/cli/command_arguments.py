"""The arguments of the daily commands, for the program's parser."""

from __future__ import annotations

import argparse
from typing import Any

from . import completion, doctor
from .command_context import DEFAULT_LIMIT
from .commands import COMMANDS

_READERS = ("list", "ls", "find", "diff")
_METAVARS = {"part": "PATH", "days": "DAY", "items": "ITEM", "nodes": "NODE"}
_DAY = "a weekday like tue, today, -1, a date like 2026/11/23 or a stamp"
_ITEM = "source/category/name, as list shows it, or a part that only one has"
_PLACE_HELP = {
    "item": _ITEM,
    "items": _ITEM,
    "path": "a folder or file in it, as ls shows it",
    "part": "one file or folder of it, as --file",
    "name": "a name, a pattern like '*.conf', or the end of a path",
    "days": f"{_DAY}; none is the last two, one is that and the last",
    "why": "why it is held",
    "nodes": "a node; none is all",
    "shell": "bash, zsh or fish",
}


def add_commands(commands: Any) -> None:
    """Add the daily commands to the program's subparsers."""
    for name, command in COMMANDS.items():
        parser = commands.add_parser(
            name, help=command.help, description=f"{command.help[0].upper()}{command.help[1:]}.", allow_abbrev=False
        )
        for place in command.places:
            word = place.rstrip("?*")
            metavar = _METAVARS.get(word, word.upper())
            added = parser.add_argument(
                word,
                metavar=metavar,
                nargs=place[-1] if place[-1] in "?*" else None,
                help=_PLACE_HELP[word],
                default="" if place[-1] == "?" else None,
            )
            completion.complete(added, word)
        if name == "completion":
            continue
        _add_own(parser, name)
        parser.add_argument("-i", "--inventory", action="append", metavar="INVENTORY", help="as for run")
        parser.add_argument("--show", action="store_true", help="show the command that this stands for, and do nothing")
        parser.add_argument(
            "--time-limit", metavar="TIME", default=DEFAULT_LIMIT, help="end it after this time (default: 24h)"
        )
        parser.add_argument("--artifacts", metavar="DIR", default="", help="where runs are kept, as for run")
        parser.epilog = "What stands behind -- is handed on to ansible-playbook."


def _add_own(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the options of one command."""
    add = parser.add_argument
    if name in ("list", "ls", "find", "restore", "hold", "release", "check"):
        add("--at", metavar="DAY", default="", help=_DAY)
    if name == "accept":
        add("--at", metavar="STAMP", default="", help="up to the one of this stamp, like 2026/11/23/013000")
    if name in ("ls", "find", "diff", "restore"):
        add("--from", dest="node", metavar="NODE", default="", help="take it from this node")
    if name == "find":
        completion.complete(add("--item", metavar="ITEM", default="", help=_ITEM), "item")
    if name == "diff":
        add("--path", metavar="PATH", default="", help=_PLACE_HELP["path"])
    if name == "ls":
        add("-R", "--recursive", action="store_true", help="all that is below, too")
    if name == "restore":
        add("--file", metavar="PATH", default="", help="one file or folder of it, as ls shows it")
        add("--to", metavar="PATH", default="", help="where it is to stand; on a terminal you are asked")
        add("--to-host", metavar="HOST", default="", help="on this host of the inventory, rather than on its source")
        add("--in-place", action="store_true", help="where the item has its place")
        add("--aside", action="store_true", help="move aside what stands there")
        add(
            "--into",
            metavar="DATABASE",
            default="",
            help="load it into this database of a server, or {database: ..., login: ...}",
        )
        add(
            "--end-sessions",
            action="store_true",
            help="with --into and --aside: end sessions of the database that makes way",
        )
    if name == "retire":
        add("--since", metavar="DAY", default="", help="the day from which on it is (default: today)")
        add("--undo", action="store_true", help="take it back")
    if name == "check":
        add("--everything", action="store_true", help="read all that is kept, not only that of the day")
    if name == "doctor":
        doctor.add_options(parser)
    elif name in _READERS:
        add("--json", action="store_true", help="as JSON, see docs/daily.md")
        add("--all", action="store_true", help="more lines than the screen has")
        add(
            "--most",
            metavar="N",
            type=_number,
            default=1000,
            help="entries that are told, of those inside tarballs (default: 1000)",
        )
    else:
        add("-C", "--check", action="store_true", help="predict, and change nothing")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)
