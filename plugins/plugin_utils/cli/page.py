"""`altbackup report`: writes a page for a browser on how copies stand and runs went."""

from __future__ import annotations

import argparse
import time
from typing import Any

from ...module_utils.system.errors import AltbackupError
from ...module_utils.system.visible import one_line
from ...module_utils.tree.failures import explain
from ..page.write import write_page
from .status import chosen_inventory
from .supervised_run import say


def add(commands: Any) -> None:
    """Add the command to the program's subparsers."""
    parser = commands.add_parser(
        "report",
        help="write a page for a browser: how all stands, and how it went",
        description="Write a page of how all copies stand and how nights went, by what runs have left here; no node is asked. It needs no server: "
        "open index.html in its folder.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--html", metavar="DIR", required=True, help="the folder for it, empty or not there yet, or one of such a page"
    )
    parser.add_argument("-i", "--inventory", action="append", default=[], metavar="INVENTORY", help="which inventory")
    parser.set_defaults(act=write)


def write(arguments: argparse.Namespace) -> int:
    """Write the page and print its path; return the exit code."""
    try:
        path = write_page(arguments.html, chosen_inventory(arguments.inventory), time.time())
    except (AltbackupError, OSError) as error:
        say(explain(error))
        return 1
    print(one_line(str(path)))
    return 0
