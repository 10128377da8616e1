"""Commands that set marks: what is accepted, held, released, or given up."""

from __future__ import annotations

from ...module_utils.system.errors import InvalidInput
from ...module_utils.tree.stamps import is_stamp
from . import answers, orders
from .command_context import CommandContext


def accept_command(context: CommandContext) -> int:
    return context.do(
        orders.accepting(context.item(context.arguments.item), context.arguments.at, check=context.arguments.check)
    )


def hold_command(context: CommandContext) -> int:
    item = context.item(context.arguments.item)
    why = context.arguments.why or "held by hand"
    return context.do(orders.holding(item, _stamp(context, item), why, check=context.arguments.check))


def release_command(context: CommandContext) -> int:
    item = context.item(context.arguments.item)
    return context.do(orders.releasing(item, _stamp(context, item, held=True), check=context.arguments.check))


def _stamp(context: CommandContext, item: str, held: bool = False) -> str:
    """Return the stamp of an item's newest good tarball of a day, or of its only held one if `held`, asking nodes. Raise InvalidInput."""
    day = context.day(context.arguments.at)
    if is_stamp(day):
        return day
    if context.arguments.show:
        raise InvalidInput(
            "which nights there are is found out by asking; for --show give the stamp, like --at 2026/11/23/013000"
        )
    nights = answers.copies_of(context.listed(), item, day)
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


def retire_command(context: CommandContext) -> int:
    arguments = context.arguments
    day = "" if arguments.undo else context.day(arguments.since or "today")
    return context.do(orders.retiring(context.item(arguments.item), day, check=arguments.check))
