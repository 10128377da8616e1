"""`altbackup status`: shows how all copies stand, from the histories that runs leave on the controller."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...module_utils.system.errors import AltbackupError, InvalidInput
from ...module_utils.system.units import counted, readable
from ...module_utils.system.visible import one_line, visible
from ..history.rebuild import LOST, rebuilt
from ..history.standing import Standing, State, last_line, run_told, spark, state_of
from ..history.store import History, has_history, opened, write_records
from ..planning.quantities import age
from .items import named_items
from .job import ansible_settings, read_job, require_files
from .screen import Row, show, table_of
from .supervised_run import SupervisedRun, say

FORMAT, VERSION = "altbackup status", 1
"""Format and version of the output of --json, see docs/monitoring.md"""
_TITLES = ("ITEM", "NODE", "COPY", "PROOF", "SIZE", "CHANGE", "NIGHTS", "")
_RIGHT = (2, 3, 4, 5)
_LIST = "list.yml"
_ALL_DAYS = 36500


def add(commands: Any) -> None:
    """Add the command to the program's subparsers."""
    parser = commands.add_parser(
        "status",
        help="tell how all copies stand",
        description="Tell of each item on each node how old its newest verified copy and its last proof are, its size, and the trend of seven "
        "nights, by what runs have left here; no node is asked. The last line says whether all is well, and the exit code: 0, or 1 if not.",
        allow_abbrev=False,
    )
    parser.add_argument("item", metavar="ITEM", nargs="?", default="", help="an item, or a part of its name")
    parser.add_argument("-i", "--inventory", action="append", default=[], metavar="INVENTORY", help="which inventory")
    parser.add_argument("--json", action="store_true", help="as JSON")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--ask", action="store_true", help="ask the nodes first what they hold")
    how.add_argument(
        "--rebuild", action="store_true", help="ask the nodes, and fill what is lost of the history from that"
    )
    parser.add_argument("--artifacts", metavar="DIR", default="", help=argparse.SUPPRESS)
    parser.set_defaults(act=tell)


def tell(arguments: argparse.Namespace) -> int:
    """Print how copies stand; return the exit code."""
    try:
        inventory = chosen_inventory(arguments.inventory)
        asked = 0
        if arguments.ask or arguments.rebuild:
            asked = _ask(inventory, arguments.artifacts, rebuild=arguments.rebuild)
        state, count = _read(inventory)
    except AltbackupError as error:
        say(str(error))
        return 1
    if not count:
        where = f" of {', '.join(inventory)}" if inventory else ""
        hint = (
            "the run that was to ask the nodes has left none"
            if arguments.rebuild
            else "after a night there is, and what nodes hold already is entered by: altbackup status --rebuild"
        )
        say(f"there is no record of any run{where} here: {hint}")
        return 1
    items = {entry.item for entry in state.copies}
    named = named_items(arguments.item, items) if arguments.item else items
    copies = [entry for entry in state.copies if entry.item in named]
    if arguments.item and not copies:
        say(f"no item is called like {arguments.item!r}: altbackup status shows all")
        return 1
    chosen = State(tuple(copies), state.bases, state.runs, () if arguments.item else state.faults, state.pauses)
    if arguments.json:
        print(json.dumps(as_json(chosen, time.time()), indent=1))
    else:
        _show(chosen)
    return 0 if chosen.is_well and not asked else 1


def named_inventory(given: Sequence[str]) -> list[str]:
    """Return the inventories that the command line or the environment names, [] if none.

    Raise InvalidInput, also for one that does not exist, unless it has a history.
    """
    options = [word for name in given for word in ("-i", name)]
    named = list(read_job(_LIST, options, (), ansible_settings(os.environ), os.environ).inventory)
    require_files([name for name in named if not has_history([name])])
    return named


def chosen_inventory(given: Sequence[str]) -> list[str]:
    """Return the named inventories or, if none is named, the only one that has a history.

    Raise AltbackupError, also if several have one.
    """
    named = named_inventory(given)
    if named:
        return named
    with ExitStack() as stack:
        places = [history.inventory for history in _opened((), stack)]
    if len(places) > 1:
        names = ", ".join(place or "(without a file)" for place in places)
        raise InvalidInput(f"several inventories have records here, say which one with -i: {names}")
    return [place for place in places if place]


def _read(inventory: Sequence[str]) -> tuple[State, int]:
    """Return (how copies stand, number of histories). Raise AltbackupError."""
    with ExitStack() as stack:
        histories = _opened(inventory, stack)
        return state_of(histories, time.time()), len(histories)


def _opened(inventory: Sequence[str], stack: ExitStack) -> list[History]:
    histories = opened(inventory)
    for history in histories:
        stack.enter_context(closing(history.database))
    return histories


def _ask(inventory: Sequence[str], artifacts: str, *, rebuild: bool) -> int:
    """Run list.yml, which records what nodes hold, and with `rebuild` fill the history from that; return the run's exit code."""
    options = [word for name in inventory for word in ("-i", name)]
    words = ["run", _LIST, *options]
    with tempfile.TemporaryDirectory(prefix="altbackup-status-") as folder:
        listed = Path(folder, "listed.json")
        more = ["-e", f"altbackup_list_file={listed}"] if rebuild else []
        run = SupervisedRun([*words, *more], artifacts)
        code = run.run(_LIST.partition(".")[0], [*options, *more], "24h", 60, 90)
        if rebuild and listed.exists():
            _rebuild(inventory, json.loads(listed.read_text(encoding="utf-8")))
    return code


def _rebuild(inventory: Sequence[str], listed: list[dict[str, Any]]) -> None:
    """Add the nights that nodes know of and no history does. Raise AltbackupError."""
    with ExitStack() as stack:
        for history in _opened(inventory, stack):
            sources = {row[0] for row in history.rows("SELECT DISTINCT source FROM trees")}
            zone = history.rows("SELECT timezone FROM runs WHERE NOT rebuilt ORDER BY started DESC LIMIT 1")
            known = [row[0] for row in history.rows("SELECT DISTINCT stamp FROM runs WHERE NOT rebuilt")]
            own = [entry for entry in listed if entry["source"] in sources]
            records = rebuilt(own, zone[0][0] if zone else "UTC", known)
            place = history.inventory
            history.database.close()
            for note in write_records(place, records, _ALL_DAYS, time.time()):
                say(note)
            say(f"{counted(len(records), 'night was', 'nights were')} entered from what nodes hold: {LOST}")


def as_json(state: State, now: float) -> dict[str, Any]:
    """Return the JSON document that docs/monitoring.md describes; `now` is in seconds since 1970."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "now": _iso(now),
        "well": state.is_well,
        "faults": list(state.faults),
        "copies": [_copy_as_json(entry) for entry in state.copies],
        "bases": [asdict(base) for base in state.bases],
        "pauses": {node: _iso(until) for node, until in state.pauses.items()},
        "runs": [run_told(run) for run in state.runs],
    }


def _iso(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).isoformat(timespec="seconds")


def moment(epoch: float) -> str:
    """Return seconds since 1970 as date, time and zone of this machine."""
    return datetime.fromtimestamp(epoch).astimezone().strftime("%Y-%m-%d %H:%M %Z")


def _copy_as_json(entry: Standing) -> dict[str, Any]:
    ages = {name: None if (age := getattr(entry, name)) is None else round(age) for name in ("age", "proof_age")}
    return {"item": entry.item, **asdict(entry), **ages, "faults": entry.faults}


def _show(state: State) -> None:
    """Print how copies stand, faulty ones last, where they are seen, and the verdict below all."""
    ordered = sorted(state.copies, key=lambda entry: bool(entry.faults))
    show(table_of(_TITLES, [_row(entry) for entry in ordered], _RIGHT), sys.stdout, everything=True)
    free = {
        (base.node, base.free): f"{base.node} {readable(base.free)}" for base in state.bases if base.free is not None
    }
    if free:
        print(one_line(f"free: {', '.join(free.values())}"))
    paused = [f"{node} is paused until {moment(until)}" for node, until in state.pauses.items()]
    print("\n".join(visible(line) for line in (*paused, *state.faults, last_line(state))))


def _row(entry: Standing) -> Row:
    change = "" if entry.change is None else f"{'+' if entry.change >= 0 else '-'}{readable(abs(entry.change))}"
    held = ["held"] if entry.holds else []
    cells = (
        entry.item,
        entry.node,
        "none" if entry.age is None else age(entry.age),
        age(entry.proof_age),
        "" if entry.size is None else readable(entry.size),
        "=" if entry.change == 0 else change,
        spark(entry.nights),
        ", ".join([*entry.faults, *held]),
    )
    below = [f"suspect: {entry.suspect}"] if entry.suspect else [entry.problem] if entry.problem else []
    return Row(cells, bool(entry.faults), tuple(below))
