"""The daily commands: list tarballs, look into them, compare them, restore, and set marks."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TextIO

from ...module_utils.system.errors import InvalidInput
from ...module_utils.system.visible import one_line, visible
from ...module_utils.tree.failures import explain
from ...module_utils.tree.stamps import earliest_moment, is_stamp, today_in
from . import answers, completion, doctor, inventory, orders
from .days import read_day
from .items import Site, find_item, is_whole, split_item
from .job import PROGRAM, Job, ansible_settings, check_job, read_job
from .orders import Order
from .run_store import ASKED, Run, private_folder, state_folder
from .screen import Table, show
from .supervised_run import SupervisedRun, say
from .verdict import EXIT_CODES, INTERRUPTED, NOT_STARTED

_KEPT_DAYS = 7
"""Days for which the log of a question that failed is kept"""
_DEFAULT_LIMIT = "24h"
NOTHING_DONE = EXIT_CODES[NOT_STARTED]


class _Restored:
    """Restores signal handlers on exit, as a supervised run replaces them."""

    def __enter__(self) -> None:
        self._before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


@dataclass
class Desk:
    """One call of a command: its arguments, and what it can ask and run."""

    arguments: argparse.Namespace
    passed: Sequence[str] = ()
    """Options for ansible-playbook"""
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    out: TextIO = field(default_factory=lambda: sys.stdout)
    failures: list[str] = field(default_factory=list)
    """Messages of the last question's failures"""

    @property
    def inventory(self) -> list[str]:
        """The values of the options -i."""
        return list(self.arguments.inventory or ())

    @cached_property
    def job(self) -> Job:
        """The job of list.yml with the inventories that `altbackup run` would choose. Raise InvalidInput."""
        words = Order("list.yml").words(self.inventory, self.passed)[2:]
        job = read_job("list.yml", words, (PROGRAM,), ansible_settings(self.environment), self.environment)
        check_job(job)
        return job

    @cached_property
    def state(self) -> Path:
        """The state folder, where runs are kept."""
        return state_folder(self.arguments.artifacts, self.environment)

    @cached_property
    def site(self) -> Site:
        """What the inventory says without asking nodes. Raise InvalidInput."""
        return inventory.load_site(self.job, self.passed, self.environment)

    def item(self, text: str) -> str:
        """Return the item that `text` names. Raise InvalidInput, Failed.

        If the inventory does not list all items, search those of its last list, then ask the nodes, unless with --show.
        """
        site = self.site
        if is_whole(text, site):
            return text
        known = list(site.items)
        kept = inventory.kept_items(self.state, self.job.inventory)
        if not site.unknown:
            return find_item(text, known)
        if kept is not None:
            with contextlib.suppress(InvalidInput):
                return find_item(text, [*known, *kept])
        if self.arguments.show:
            raise InvalidInput(
                f"which items {', '.join(site.unknown)} may have is found out by asking; for --show write the item as source/category/name"
            )
        return find_item(text, [*known, *(answers.item_of(entry) for entry in self.listed())])

    def day(self, text: str) -> str:
        """Return the day or stamp that `text` names, "" for "". Raise InvalidInput."""
        if not text or is_stamp(text):
            return text
        return read_day(text, today_in(self.site.timezone))

    def listed(self) -> list[dict[str, Any]]:
        """Ask the nodes for their tarballs and return them. Raise Failed."""
        code, found, _ = self.ask(lambda file: orders.listing(file=file))
        if code and not found:
            raise Failed(code)
        return list(found or [])

    def show(self, order: Order) -> int:
        """Print the `altbackup run` command of an order; return the exit code."""
        words = order.words(self.inventory or self.job.inventory, self.passed)
        print(visible(shlex.join([PROGRAM, *words, *self._own()])), file=self.out)
        return 0

    def _own(self) -> list[str]:
        limit = self.arguments.time_limit
        return ["--time-limit", limit] if limit != _DEFAULT_LIMIT else []

    def do(self, order: Order) -> int:
        """Run an order, or with --show only print its command; return the exit code."""
        return self.show(order) if self.arguments.show else self.run(order)

    def run(self, order: Order) -> int:
        """Run an order as `altbackup run` does; return the exit code."""
        words = order.words(self.inventory, self.passed)
        with _Restored():
            night = SupervisedRun(words, self.arguments.artifacts)
            return night.run(words[1], words[2:], self.arguments.time_limit, 60, 90)

    def predict(self, order: Order) -> tuple[int, Run | None]:
        """Run an order in check mode, kept and unmailed like a question; return (exit code, run)."""
        words = order.words(self.inventory, self.passed)
        with _Restored(), _unmailed():
            night = SupervisedRun(words, str(self._folder_to_ask()))
            return night.run(words[1], words[2:], self.arguments.time_limit, 1, 1), night.last

    def ask(self, order: Callable[[str], Order]) -> tuple[int, Any, dict[str, int]]:
        """Run an order that writes its answer to the file that it is given, without output; return (exit code, answer, {node: free bytes}).

        Questions are kept apart from the runs of nights, run beside them, and mail nobody: the user sees what failed.
        """
        asked = self.job.inventory
        folder = self._folder_to_ask()
        path = folder / "answer.json"
        words = order(str(path)).words(self.inventory, self.passed)
        free: dict[str, int] = {}
        if sys.stderr.isatty():
            say(f"asking the nodes of {', '.join(asked)} ...")
        with _Restored(), _unmailed():
            night = SupervisedRun(words, str(folder), shown=False)
            code = night.run(words[1], words[2:], self.arguments.time_limit, 1, 1)
            if night.last is not None:
                free = answers.free_of(night.last.events())
                self.failures = _messages(night.last)
        answer = None
        with contextlib.suppress(FileNotFoundError):
            answer = json.loads(path.read_text(encoding="utf-8"))
        if code == 0:
            shutil.rmtree(folder, ignore_errors=True)
        if isinstance(answer, list):
            try:
                inventory.keep_items(self.state, asked, (answers.item_of(entry) for entry in answer))
            except OSError as error:
                say(f"the names of items are not kept for the next question: {explain(error)}")
        return code, answer, free

    def _folder_to_ask(self) -> Path:
        """Make the folder of a question, and remove those older than _KEPT_DAYS."""
        name = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.getpid()}-{time.monotonic_ns() % 1000000}"
        try:
            above = private_folder(private_folder(self.state) / ASKED)
            for old in above.iterdir():
                with contextlib.suppress(OSError):
                    if time.time() - old.stat().st_mtime > _KEPT_DAYS * 86400:
                        shutil.rmtree(old)
            return private_folder(above / name)
        except OSError as error:
            raise InvalidInput(f"runs cannot be kept in {self.state}: {error}") from error

    def tell(self, code: int, tables: Sequence[Table | str], **told: Any) -> int:
        """Print an answer, as JSON with --json; return `code`."""
        if self.arguments.json:
            whole = answers.document(self.arguments.command, self.job.inventory, code, failures=self.failures, **told)
            text = json.dumps(whole, indent=1, ensure_ascii=False)
            print(text if visible(text) == text else json.dumps(whole, indent=1), file=self.out)
            return code
        for each in tables:
            if isinstance(each, Table):
                show(each, self.out, everything=self.arguments.all)
            else:
                print(one_line(each), file=self.out)
        return code


def _messages(run: Run) -> list[str]:
    """Return the messages of a run's failures."""
    return [str(entry.get("message")) for entry in run.result.get("failures") or ()]


class Failed(Exception):
    """A question without an answer; its run has printed why, and `code` is its exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@contextlib.contextmanager
def _unmailed() -> Iterator[None]:
    before = os.environ.get("ALTBACKUP_MAIL_TO")
    os.environ["ALTBACKUP_MAIL_TO"] = "none"
    try:
        yield
    finally:
        if before is None:
            del os.environ["ALTBACKUP_MAIL_TO"]
        else:
            os.environ["ALTBACKUP_MAIL_TO"] = before


def _list(desk: Desk) -> int:
    arguments = desk.arguments
    if arguments.show:
        return desk.show(orders.listing())
    item = desk.item(arguments.item) if arguments.item else ""
    day = desk.day(arguments.at)
    code, listed, free = desk.ask(lambda file: orders.listing(file=file))
    entries = list(listed or [])
    if item:
        nights = answers.copies_of(entries, item, day)
        if not nights and not code:
            say(f"no node has a tarball of {item}{f' of {day}' if day else ''}")
            code = NOTHING_DONE
        return desk.tell(code, [item, answers.copies_table(nights)], item=item, nights=nights)
    entries = [entry for entry in entries if not day or str(entry["stamp"]).startswith(day)]
    zone = desk.site.timezone
    ages = {stamp: time.time() - earliest_moment(stamp, zone) for stamp in {str(entry["stamp"]) for entry in entries}}
    items, nodes = answers.items_of(entries, ages), answers.nodes_of(entries, free)
    return desk.tell(code, [answers.items_table(items), *answers.node_lines(nodes)], items=items, nodes=nodes)


def _look(desk: Desk, step: str, **wanted: Any) -> tuple[int, dict[str, Any]]:
    """Ask for the contents of tarballs; return (exit code, answer). Raise Failed if there is no answer."""
    most = 0 if desk.arguments.most == 1000 else desk.arguments.most
    code, answer, _ = desk.ask(lambda file: orders.looking(step, file, most=most, **wanted))
    if not answer or not (answer["entries"] or answer["answers"] or code == 0):
        raise Failed(code or NOTHING_DONE)
    return code, answer


def _ls(desk: Desk) -> int:
    arguments = desk.arguments
    wanted = {
        "at": desk.day(arguments.at),
        "from_": arguments.node,
        "path": arguments.path,
        "recursive": arguments.recursive,
    }
    item = desk.item(arguments.item)
    if arguments.show:
        return desk.show(orders.looking("list", item=item, **wanted))
    code, answer = _look(desk, "list", item=item, **wanted)
    totals = answer["totals"]
    cut = totals.get("listed", 0) - len(answer["entries"])
    last = f"{totals.get('entries', 0):,} entries, {totals.get('bytes', 0):,} bytes" + (
        f"; {cut:,} are not shown: --most" if cut > 0 else ""
    )
    lines: list[Table | str] = [*answers.title(answer), answers.inside_table(answer), last]
    return desk.tell(code, lines, item=item, tarballs=answer["tarballs"], entries=_plain(answer), totals=totals)


def _plain(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{name: value for name, value in entry.items() if name != "source"} for entry in answer["entries"]]


def _find(desk: Desk) -> int:
    arguments = desk.arguments
    item = desk.item(arguments.item) if arguments.item else ""
    wanted = {"item": item, "name": arguments.name, "at": desk.day(arguments.at), "from_": arguments.node}
    if arguments.show:
        return desk.show(orders.looking("find", **wanted))
    code, answer = _look(desk, "find", **wanted)
    versions, totals = answers.versions_of(answer), answer["totals"]
    last = f"{totals.get('found', 0):,} found in {totals.get('read', 0):,} tarballs"
    return desk.tell(code, [answers.versions_table(versions), last], versions=versions, totals=totals)


def _diff(desk: Desk) -> int:
    arguments = desk.arguments
    days = [desk.day(text) for text in arguments.days]
    wanted = dict(zip(("at", "other"), days, strict=False))
    wanted |= {"path": arguments.path, "from_": arguments.node}
    item = desk.item(arguments.item)
    if arguments.show:
        return desk.show(orders.looking("diff", item=item, **wanted))
    code, answer = _look(desk, "diff", item=item, **wanted)
    lines: list[Table | str] = [*answers.difference_lines(answer), answers.difference_table(answer)]
    lines += [answers.difference_total(answer["totals"])] if "added" in answer["totals"] else []
    told = {"nights": answer["answers"], "entries": _plain(answer), "totals": answer["totals"]}
    return desk.tell(code, lines, item=item, **told)


def _restore(desk: Desk) -> int:
    arguments = desk.arguments
    item = desk.item(arguments.item)
    source, _, _ = split_item(item)
    path = desk.site.items.get(item, "")
    if arguments.file and arguments.part:
        raise InvalidInput(f"one file or folder at a time, but there are {arguments.part} and --file {arguments.file}")
    file = arguments.file or arguments.part
    where = {
        "at": desk.day(arguments.at),
        "file": file,
        "to_host": arguments.to_host,
        "node": arguments.node,
        "path": path,
    }
    host = arguments.to_host or source
    part = orders.member(file, path)[2:] if file else ""
    place = os.path.join(path, part) if part and path else path
    to = arguments.to
    if arguments.into:
        if file:
            raise InvalidInput("--into takes all of an item, or a database of it, no file: leave one of them out")
        given = {"into": arguments.into, "ending": arguments.end_sessions, "aside": arguments.aside, "to": to}
        return desk.do(orders.restoring(item, check=arguments.check, **given, **where))
    if arguments.in_place:
        to = place if part else ""
    elif not to:
        return _restore_asking(desk, item, host, place, where)
    return desk.do(orders.restoring(item, to=to, aside=arguments.aside, check=arguments.check, **where))


def _restore_asking(desk: Desk, item: str, host: str, place: str, where: Mapping[str, Any]) -> int:
    """Show what a restore to the item's own place would find there, and ask where to. Raise InvalidInput without a terminal."""
    shown = one_line(place) or "a place that the inventory does not tell"
    if not (sys.stdin.isatty() and desk.out.isatty()) or desk.arguments.show:
        raise InvalidInput(
            f"say where {item} is to go: --to PATH, or --in-place for {shown} on {host}; with --aside what stands there is moved aside"
        )
    to, aside = place, False
    if place:
        code, is_in_the_way = _foreseen(desk, orders.restoring(item, to=place, check=True, **where))
        if code and not is_in_the_way:
            return code
        aside = is_in_the_way
    if not to:
        to = _asked(f"Where on {host} is {item} to go? A path, or nothing to leave it: ")
    else:
        what = f", and move aside what stands there, to {shown}.DATE-TIME," if aside else ""
        reply = _asked(f"Restore to {shown} on {host}{what} [y], to another path [write it], or not at all [N]? ")
        to, aside = (to, aside) if reply.lower() in ("y", "yes") else (reply, False)
    if not to.startswith("/"):
        say("nothing was restored")
        return NOTHING_DONE
    return desk.do(orders.restoring(item, to=to, aside=aside, check=desk.arguments.check, **where))


def _asked(question: str) -> str:
    try:
        return input(question).strip()
    except EOFError:
        return ""


_IN_THE_WAY = ("is there already, and a restore replaces nothing by itself", "differs from the backup")


def _foreseen(desk: Desk, order: Order) -> tuple[int, bool]:
    """Predict a restore on the terminal; return (exit code, whether the only obstacle is what is at its place)."""
    code, run = desk.predict(order)
    failures = _messages(run) if run else []
    return code, bool(failures) and all(any(words in text for words in _IN_THE_WAY) for text in failures)


def _adopt(desk: Desk) -> int:
    found = []
    for text in desk.arguments.items:
        if text in desk.site.hosts:
            raise InvalidInput(
                f"{text} is a node: that it is taken as it is now goes with a backup of it, altbackup run backup -e altbackup_adopt={text}"
            )
        found.append(desk.item(text))
    return desk.do(orders.adopting(found))


def _accept(desk: Desk) -> int:
    return desk.do(orders.accepting(desk.item(desk.arguments.item), desk.arguments.at, check=desk.arguments.check))


def _hold(desk: Desk) -> int:
    item = desk.item(desk.arguments.item)
    why = desk.arguments.why or "held by hand"
    return desk.do(orders.holding(item, _stamp(desk, item), why, check=desk.arguments.check))


def _release(desk: Desk) -> int:
    item = desk.item(desk.arguments.item)
    return desk.do(orders.releasing(item, _stamp(desk, item, held=True), check=desk.arguments.check))


def _stamp(desk: Desk, item: str, held: bool = False) -> str:
    """Return the stamp of an item's newest good tarball of a day, or of its only held one if `held`, asking nodes. Raise InvalidInput."""
    day = desk.day(desk.arguments.at)
    if is_stamp(day):
        return day
    if desk.arguments.show:
        raise InvalidInput(
            "which nights there are is found out by asking; for --show give the stamp, like --at 2026/11/23/013000"
        )
    nights = answers.copies_of(desk.listed(), item, day)
    fitting = [
        str(night["stamp"])
        for night in nights
        if any(
            copy["hold"] if held else copy["state"] in (answers.GOOD, "suspect", "incomplete")
            for copy in night["copies"]
        )
    ]
    if not fitting:
        what = "held" if held else "good"
        raise InvalidInput(f"no node has a {what} tarball of {item}{f' of {day}' if day else ''}")
    if held and len(fitting) > 1:
        raise InvalidInput(
            f"{item} has {len(fitting)} tarballs that are held: say which with --at, {', '.join(fitting[:12])}"
        )
    return fitting[0]


def _retire(desk: Desk) -> int:
    arguments = desk.arguments
    day = "" if arguments.undo else desk.day(arguments.since or "today")
    return desk.do(orders.retiring(desk.item(arguments.item), day, check=arguments.check))


def _drill(desk: Desk) -> int:
    return desk.do(orders.drilling(desk.arguments.nodes, check=desk.arguments.check))


def _check(desk: Desk) -> int:
    arguments = desk.arguments
    return desk.do(
        orders.checking(arguments.nodes, desk.day(arguments.at), everything=arguments.everything, check=arguments.check)
    )


def _completion(desk: Desk) -> int:
    print(completion.script(desk.arguments.shell), file=desk.out)
    return 0


@dataclass(frozen=True)
class Command:
    """A command: its function and help, and its positional arguments."""

    act: Callable[[Desk], int]
    help: str
    places: Sequence[str] = ()
    """Positional arguments that may follow options; a last one that ends with * takes all that remain"""


COMMANDS: dict[str, Command] = {
    "list": Command(_list, "what there is, where, and how old it is; of one item every night", ("item?",)),
    "ls": Command(_ls, "what is in a tarball", ("item", "path?")),
    "find": Command(_find, "where a file is, over items and nights", ("name",)),
    "diff": Command(_diff, "what changed between two nights", ("item", "days*")),
    "restore": Command(_restore, "bring an item back, or one file of it", ("item", "part?")),
    "adopt": Command(_adopt, "take restored items for live data, so that they are backed up", ("items*",)),
    "accept": Command(_accept, "accept the suspects of an item", ("item",)),
    "hold": Command(_hold, "keep a tarball until it is released", ("item", "why?")),
    "release": Command(_release, "keep a tarball no longer than the rules do", ("item",)),
    "retire": Command(_retire, "say that an item was given up", ("item",)),
    "drill": Command(_drill, "prove that copies restore", ("nodes*",)),
    "check": Command(_check, "read the tarballs of a day again", ("nodes*",)),
    "doctor": Command(doctor.act, "what of a set-up is right, what is not, and what mends it"),
    "completion": Command(_completion, "print what makes a shell complete the commands", ("shell",)),
}
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
    """Add the commands of this module to the program's subparsers."""
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
            "--time-limit", metavar="TIME", default=_DEFAULT_LIMIT, help="end it after this time (default: 24h)"
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


def take_rest(arguments: argparse.Namespace, rest: Sequence[str]) -> list[str]:
    """Fill positional arguments that follow options from the unparsed words; return the words that remain."""
    left = list(rest)
    for place in COMMANDS[arguments.command].places:
        word = place.rstrip("?*")
        if place.endswith("*"):
            given = [each for each in left if not _is_option(each)]
            setattr(arguments, word, [*(getattr(arguments, word) or ()), *given])
            left = [each for each in left if _is_option(each)]
        elif place.endswith("?") and not getattr(arguments, word) and left and not _is_option(left[0]):
            setattr(arguments, word, left.pop(0))
    return left


def _is_option(word: str) -> bool:
    return word.startswith("-") and not word[1:].isdigit()


def act(arguments: argparse.Namespace, rest: Sequence[str], passed: Sequence[str]) -> int:
    """Run the command of a parsed command line; return the exit code. `rest` was not parsed, `passed` is for ansible-playbook."""
    desk = Desk(arguments, passed)
    try:
        left = take_rest(arguments, rest)
        if left:
            raise InvalidInput(f"unknown: {' '.join(left)}")
        if arguments.command == "adopt" and not arguments.items:
            raise InvalidInput("say which items are adopted")
        if arguments.command == "diff" and len(arguments.days) > 2:
            raise InvalidInput("two nights are compared, no more")
        return COMMANDS[arguments.command].act(desk)
    except InvalidInput as error:
        say(str(error))
        return NOTHING_DONE
    except Failed as failed:
        return desk.tell(failed.code, []) if getattr(arguments, "json", False) else failed.code
    except BrokenPipeError:  # the reader of the pipe has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return EXIT_CODES[INTERRUPTED]
