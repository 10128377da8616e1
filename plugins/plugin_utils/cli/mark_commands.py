"""Commands that set marks: what is accepted, held, released, or given up."""

from __future__ import annotations

from ...module_utils.system.errors import InvalidInput
from ...module_utils.tree.stamps import is_stamp
from . import answers, orders
from .command_context import Desk


def accept_command(desk: Desk) -> int:
    return desk.do(orders.accepting(desk.item(desk.arguments.item), desk.arguments.at, check=desk.arguments.check))


def hold_command(desk: Desk) -> int:
    item = desk.item(desk.arguments.item)
    why = desk.arguments.why or "held by hand"
    return desk.do(orders.holding(item, _stamp(desk, item), why, check=desk.arguments.check))


def release_command(desk: Desk) -> int:
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


def retire_command(desk: Desk) -> int:
    arguments = desk.arguments
    day = "" if arguments.undo else desk.day(arguments.since or "today")
    return desk.do(orders.retiring(desk.item(arguments.item), day, check=arguments.check))
