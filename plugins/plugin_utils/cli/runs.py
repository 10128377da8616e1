"""`altbackup runs` and `altbackup log`: list runs, and show the output of one."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...module_utils.system.errors import AltbackupError
from ...module_utils.system.visible import one_line, visible
from ..history.standing import name_of, run_told
from ..history.store import opened
from ..planning.quantities import age
from .run_store import LOG, RUNNING, Run, all_runs, asked_runs, is_of_question, state_folder
from .screen import Row, show, table_of
from .status import named_inventory
from .supervised_run import say

FORMAT, VERSION = "altbackup runs", 1
LAST_FORMAT, LAST_VERSION = "altbackup last", 1
"""Formats and versions of the output of --json, see docs/monitoring.md"""
_TITLES = ("STARTED", "PLAYBOOK", "STATE", "TOOK", "FAILED", "RUN")
_MORE = ("INVENTORY",)
"""Title of a column that is there where the runs are of several"""
_MOST = 20
_DEAD = "ended without a word"


def add(commands: Any) -> None:
    """Add the commands to the program's subparsers."""
    runs = commands.add_parser("runs", help="list runs", description="List runs, the newest first.", allow_abbrev=False)
    runs.add_argument("--all", action="store_true", help=f"all of them, not the newest {_MOST}")
    runs.add_argument("--json", action="store_true", help="as JSON")
    runs.set_defaults(act=list_runs)
    log = commands.add_parser(
        "log", help="show the log of a run", description="Show what a run printed.", allow_abbrev=False
    )
    log.add_argument(
        "run",
        metavar="RUN",
        nargs="?",
        default="",
        help="a run as runs lists it, or a part of that, such as its playbook (default: the last)",
    )
    log.add_argument(
        "--asked",
        action="store_true",
        help="of a question, such as list or find, that could not be answered, not of a run",
    )
    log.set_defaults(act=show_log)
    for command in (runs, log):
        command.add_argument(
            "-i", "--inventory", action="append", default=[], metavar="INVENTORY", help="runs of this inventory alone"
        )
        command.add_argument("--artifacts", metavar="DIR", default="", help="where runs are kept (default: as of run)")


def list_runs(arguments: argparse.Namespace) -> int:
    """Print the runs; return the exit code."""
    try:
        found = _known(arguments)
    except AltbackupError as error:
        say(str(error))
        return 1
    chosen = found if arguments.all or arguments.json else found[:_MOST]
    if arguments.json:
        print(json.dumps({"format": FORMAT, "version": VERSION, "runs": [run_told(run) for run in chosen]}, indent=1))
    else:
        several = len({run["inventory"] for run in chosen} - {"", None}) > 1
        rows = [_row(run, several=several) for run in chosen]
        show(table_of((*_TITLES, *_MORE[:several]), rows, (3, 4), (5,)), sys.stdout, everything=True)
        if len(chosen) < len(found):
            print(f"and {len(found) - len(chosen)} older ones: altbackup runs --all")
    if not found:
        say("there is no run")
    return 0 if found else 1


def show_log(arguments: argparse.Namespace) -> int:
    """Print the log of a run; return the exit code."""
    try:
        found = _questions(arguments) if arguments.asked else [run for run in _known(arguments) if not run["rebuilt"]]
    except AltbackupError as error:
        say(str(error))
        return 1
    run = find_run(found, arguments.run)
    if run is None:
        called = f" called like {arguments.run!r}" if arguments.run else ""
        if arguments.asked:
            say(f"there is no question{called} that could not be answered in the last days")
        else:
            say(f"there is no run{called}: altbackup runs lists them")
        return 1
    path = Path(run["folder"] or os.devnull, LOG)
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            for line in stream:
                print(visible(line.rstrip("\n")))
    except BrokenPipeError:
        raise
    except OSError:
        why = (
            f"the log {path} is not kept any more"
            if run["folder"]
            else "no log is kept of what did not run under altbackup"
        )
        told = f": {run['message']}" if run["message"] else ""
        say(f"{run['playbook']} of {_moment(run['started'])}: {run['state']}{told}; {why}")
        return 1
    return 0


def find_run(runs: Sequence[Mapping[str, Any]], part: str) -> Mapping[str, Any] | None:
    """Return the newest run that `part` names: by run, folder or stamp in full, else by a part of its name or playbook. "" names any."""
    if not part:
        return next(iter(runs), None)
    exact = (run for run in runs if part in (run["run"], run["folder"], run["stamp"]))
    return next(exact, None) or next((run for run in runs if part in run["run"] or part in run["playbook"]), None)


def _known(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return all known runs but those of questions, the newest first. Raise AltbackupError."""
    inventory = named_inventory(arguments.inventory) if arguments.inventory else []
    kept = _kept_of(all_runs(state_folder(arguments.artifacts, os.environ)), inventory)
    return merged((run for run in recorded(inventory) if not is_of_question(run["folder"] or "")), kept)


def _questions(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the questions that failed, the newest first. Raise AltbackupError."""
    inventory = named_inventory(arguments.inventory) if arguments.inventory else []
    return _kept_of(asked_runs(state_folder(arguments.artifacts, os.environ)), inventory)


def _kept_of(runs: Iterable[Run], inventory: Sequence[str]) -> list[dict[str, Any]]:
    return [run for run in map(_kept, runs) if _is_of(inventory, run)]


def recorded(inventory: Sequence[str]) -> list[dict[str, Any]]:
    """Return the runs in the histories of these inventories, of all for none. Raise AltbackupError."""
    found = []
    for history in opened(inventory):
        with closing(history.database):
            found += [_named(dict(row)) for row in history.rows("SELECT * FROM runs")]
    return found


def _named(run: dict[str, Any]) -> dict[str, Any]:
    return {**run, "run": name_of(run)}


def _kept(run: Run) -> dict[str, Any]:
    """Return a run's folder in the form of a history's row."""
    result = run.result
    state = result["state"]
    if state == RUNNING and run.hold():
        run.release()
        state = _DEAD
    failures = result.get("failures") or []
    ended = result.get("ended")
    return _named(
        {
            **{name: result.get(name) for name in ("playbook", "user", "exit_code")},
            "token": str(run.folder),
            "folder": str(run.folder),
            "stamp": "",
            "started": datetime.fromisoformat(result["started"]).timestamp(),
            "ended": datetime.fromisoformat(ended).timestamp() if ended else None,
            "state": state,
            "failures": len(failures),
            "message": str(failures[0].get("message", "")) if failures else "",
            "controller": result.get("node"),
            "inventory": ", ".join(map(str, result.get("inventory") or ())),
            "rebuilt": 0,
        }
    )


def last_run(state: Path, path: str, inventory: Sequence[str]) -> Run | None:
    """Return the last run of a playbook, "" for any, with one of these inventories, any for none; `state` is the state folder."""
    fitting = (run for run in all_runs(state) if not path or run.result.get("path") == path)
    return next((run for run in fitting if _is_of(inventory, _kept(run))), None)


def _is_of(inventory: Sequence[str], run: Mapping[str, Any]) -> bool:
    return not inventory or bool(set(inventory) & set(str(run["inventory"]).split(", ")))


def last_called(playbook: str, run: Run | None, inventory: Sequence[str] = ()) -> dict[str, Any] | None:
    """Return the last run outside altbackup since `run` (any for None), as JSON tells it; `playbook` is its name, "" for any.

    It is one of these inventories, of any for none.
    """
    found = [each for each in _readable(inventory) if not (each["folder"] or each["rebuilt"])]
    since = _kept(run)["started"] if run else 0.0
    fitting = [each for each in found if each["started"] > since and playbook in ("", each["playbook"])]
    return run_told(max(fitting, key=lambda each: float(each["started"]))) if fitting else None


def last_as_json(run: Run | None, called: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the JSON document, as docs/monitoring.md describes it, of a run, or of one outside altbackup (`called`)."""
    document = {"format": LAST_FORMAT, "version": LAST_VERSION}
    if run is None or called is not None:
        return {**document, **(called or {}), "seconds": None, "hosts": {}, "purged": [], "failed": [], "pings": []}
    result, kept = run.result, _kept(run)
    (told,) = merged([each for each in _readable(()) if each["folder"] == kept["folder"]], [kept])
    lists = {"purged": "purged", "failed": "failures", "pings": "pings"}
    return {
        **document,
        **run_told(told),
        "seconds": result.get("seconds"),
        "hosts": result.get("hosts") or {},
        **{name: list(result.get(key) or ()) for name, key in lists.items()},
    }


def _readable(inventory: Sequence[str]) -> list[dict[str, Any]]:
    """Return the runs in the histories of these inventories, all for none; if one cannot be read, that is told on stderr, and there are none."""
    try:
        return recorded(inventory)
    except AltbackupError as error:
        say(str(error))
        return []


def lines_of(told: Mapping[str, Any]) -> list[str]:
    """Return lines on how a run went; `told` is the run as JSON tells it."""
    ended = f", ended {told['ended']}" if told["ended"] else ""
    first = f"failures: {told['failures']}, the first: {one_line(told['message'])}"
    return [
        f"{told['playbook']}: {told['state']}",
        f"started {told['started']}{ended}, by {told['user']} on {told['controller']}",
        f"inventory: {told['inventory'] or 'none was named'}",
        *([first] if told["message"] else []),
        "no log is kept of what did not run under altbackup",
    ]


def merged(recorded: Iterable[Mapping[str, Any]], kept: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return each run once, the newest first; a history's row takes precedence over the folder's."""
    found = {run["folder"] or run["token"]: dict(run) for run in kept}
    for run in recorded:
        found[run["folder"] or run["token"]] = {**found.get(run["folder"] or run["token"], {}), **run}
    return sorted(found.values(), key=lambda run: float(run["started"]), reverse=True)


def _row(run: Mapping[str, Any], *, several: bool) -> Row:
    took = "" if run["ended"] is None else age(run["ended"] - run["started"])
    good = run["state"] in ("good", RUNNING, "rebuilt")
    told = (run["message"],) if run["message"] and not good else ()
    cells = (
        _moment(run["started"])[:-3],
        str(run["playbook"]).removesuffix(".yml"),
        str(run["state"]),
        took,
        str(run["failures"] or ""),
        str(run["run"]),
        *([str(run["inventory"])] if several else []),
    )
    return Row(cells, not good, told)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
