"""One call of a command: its arguments, and what it can ask and run."""

from __future__ import annotations

import argparse
import contextlib
import io
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
from ...module_utils.tree.stamps import is_stamp, today_in
from . import answers, inventory, orders
from .days import read_day
from .items import Site, find_item, is_whole
from .job import PROGRAM, Job, ansible_settings, check_job, read_job
from .orders import Order
from .run_store import ASKED, Run, private_folder, state_folder
from .screen import Table, show
from .supervised_run import SupervisedRun, say
from .verdict import EXIT_CODES, NOT_STARTED

_KEPT_DAYS = 7
"""Days for which the log of a question that failed is kept"""
DEFAULT_LIMIT = "24h"
NOTHING_DONE = EXIT_CODES[NOT_STARTED]


class _SignalsRestored:
    """Restores signal handlers on exit, as a supervised run replaces them."""

    def __enter__(self) -> None:
        self._before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


@dataclass(frozen=True)
class Prediction:
    """What a run in check mode foresees."""

    code: int
    """Its exit code"""
    notes: Sequence[str] = ()
    failures: Sequence[str] = ()
    """Their messages"""
    said: str = ""
    """What it would have printed on stderr"""


@dataclass
class CommandContext:
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
        return ["--time-limit", limit] if limit != DEFAULT_LIMIT else []

    def do(self, order: Order) -> int:
        """Run an order, or with --show only print its command; return the exit code."""
        return self.show(order) if self.arguments.show else self.run(order)

    def run(self, order: Order) -> int:
        """Run an order as `altbackup run` does; return the exit code."""
        words = order.words(self.inventory, self.passed)
        with _SignalsRestored():
            night = SupervisedRun(words, self.arguments.artifacts)
            return night.run(words[1], words[2:], self.arguments.time_limit, 60, 90)

    def predict(self, order: Order) -> Prediction:
        """Run an order in check mode, without output, kept and unmailed like a question; return what it foresees."""
        words = order.words(self.inventory, self.passed)
        folder = str(self._folder_to_ask())
        with _SignalsRestored(), _unmailed():
            night = SupervisedRun(words, folder, shown=False)
            kept = io.BytesIO()
            stream = io.TextIOWrapper(kept, "utf-8", "backslashreplace", write_through=True)
            with contextlib.redirect_stderr(stream):
                code = night.run(words[1], words[2:], self.arguments.time_limit, 1, 1)
            said = kept.getvalue().decode()
            stream.detach()
        if night.last is None:
            return Prediction(code, said=said)
        return Prediction(code, answers.notes_of(night.last.events()), messages_of(night.last), said)

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
        with _SignalsRestored(), _unmailed():
            night = SupervisedRun(words, str(folder), shown=False)
            code = night.run(words[1], words[2:], self.arguments.time_limit, 1, 1)
            if night.last is not None:
                free = answers.free_of(night.last.events())
                self.failures = messages_of(night.last)
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


def messages_of(run: Run) -> list[str]:
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
