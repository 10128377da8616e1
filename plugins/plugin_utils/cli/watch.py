"""`altbackup watch`: prints the cron line with which a target checks, without the controller, that its sources deliver."""

from __future__ import annotations

import argparse
import hashlib
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...module_utils.system.errors import AltbackupError, InvalidInput
from ...module_utils.system.values import nearest
from ..calls.watch_program import build
from ..planning.watch import watch_argv
from .inventory import read_inventory
from .job import ansible_settings, read_job, require_files
from .supervised_run import say

_LIST = "list.yml"


def add(commands: Any) -> None:
    """Add the command to the program's subparsers."""
    parser = commands.add_parser(
        "watch",
        help="print the cron line with which a target watches its sources",
        description="Print the line for the crontab of a target (altbackup_watch) with which that notices by itself, with this machine dead, that a source "
        "does not come; or write its program, which runs leave there by themselves.",
        allow_abbrev=False,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--cron-line", metavar="HOST", help="print the line for this target")
    what.add_argument("--program", metavar="FILE", help="write the program to a file")
    parser.add_argument("-i", "--inventory", action="append", default=[], metavar="INVENTORY", help="which inventory")
    parser.set_defaults(act=act)


def act(arguments: argparse.Namespace) -> int:
    """Print the cron line, or write the program; return the exit code."""
    try:
        if arguments.program:
            _write(Path(arguments.program))
        else:
            print("\n".join(_lines(arguments)))
    except (AltbackupError, OSError) as error:
        say(str(error))
        return 1
    return 0


def _write(path: Path) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o700), "wb") as stream:
        stream.write(build())


def _lines(arguments: argparse.Namespace) -> list[str]:
    """Return the cron line below its notes. Raise InvalidInput."""
    options = [word for name in arguments.inventory for word in ("-i", name)]
    job = read_job(_LIST, options, (), ansible_settings(os.environ), os.environ)
    if not job.inventory:
        raise InvalidInput("no inventory is named: say which with -i INVENTORY, or with ALTBACKUP_INVENTORY")
    require_files(job.inventory)
    hosts = (read_inventory(job, (), os.environ).get("_meta") or {}).get("hostvars") or {}
    host = str(arguments.cron_line)
    if host not in hosts:
        raise InvalidInput(f"{host!r} is no host of the inventory, {nearest(host, list(hosts))}")
    return cron_lines(host, hosts[host])


def cron_lines(host: str, variables: Mapping[str, Any]) -> list[str]:
    """Return the cron line of a target below notes as comments; `variables` are the target's. Raise InvalidInput."""
    base = variables.get("altbackup_target_base")
    if not isinstance(base, str) or not os.path.isabs(base) or "{{" in base or "\n" in base:
        raise InvalidInput(f"{host}: altbackup_target_base is not a path that can be read here: is {host} a target?")
    become = variables.get("ansible_become") in (True, "true", "yes", "True")
    user = variables.get("ansible_become_user", "root") if become else variables.get("ansible_user")
    given = str(variables.get("ansible_python_interpreter") or "")
    python = [given] if given.startswith("/") and "{{" not in given else []
    command = shlex.join(watch_argv(base, *python)).replace("%", r"\%")
    minute = int(hashlib.sha256(host.encode()).hexdigest(), 16) % 60
    whose = f"{user}, as whom runs work there" if user else "the user as whom runs work there"
    notes = [f"# For the crontab of {whose}, on {host}. MAILTO there gets what could not be told otherwise."]
    if not variables.get("altbackup_watch"):
        notes.append(
            f"# Set altbackup_watch: true for {host} first, and let a backup run: it leaves the program there."
        )
    return [*notes, f"{minute} * * * *  {command}"]
