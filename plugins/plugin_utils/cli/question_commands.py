"""Commands that ask what there is: list tarballs, look into them, and compare them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ...module_utils.system.units import noun
from ...module_utils.tree.stamps import earliest_moment
from . import answers, orders
from .command_context import NOTHING_DONE, CommandContext, Failed
from .screen import Table
from .supervised_run import say


def list_command(context: CommandContext) -> int:
    arguments = context.arguments
    if arguments.show:
        return context.show(orders.listing())
    item = context.item(arguments.item) if arguments.item else ""
    day = context.day(arguments.at)
    code, listed, free = context.ask(lambda file: orders.listing(file=file))
    entries = list(listed or [])
    if item:
        nights = answers.copies_of(entries, item, day)
        if not nights and not code:
            say(f"no node has a tarball of {item}{f' of {day}' if day else ''}")
            code = NOTHING_DONE
        return context.tell(code, [item, answers.copies_table(nights)], item=item, nights=nights)
    entries = [entry for entry in entries if not day or str(entry["stamp"]).startswith(day)]
    zone = context.site.timezone
    ages = {stamp: time.time() - earliest_moment(stamp, zone) for stamp in {str(entry["stamp"]) for entry in entries}}
    items, nodes = answers.items_of(entries, ages), answers.nodes_of(entries, free)
    return context.tell(code, [answers.items_table(items), *answers.node_lines(nodes)], items=items, nodes=nodes)


def _look(context: CommandContext, step: str, **wanted: Any) -> tuple[int, dict[str, Any]]:
    """Ask for the contents of tarballs; return (exit code, answer). Raise Failed if there is no answer."""
    most = 0 if context.arguments.most == 1000 else context.arguments.most
    code, answer, _ = context.ask(lambda file: orders.looking(step, file, most=most, **wanted))
    if not answer or not (answer["entries"] or answer["answers"] or code == 0):
        raise Failed(code or NOTHING_DONE)
    return code, answer


def ls_command(context: CommandContext) -> int:
    arguments = context.arguments
    wanted = {
        "at": context.day(arguments.at),
        "from_": arguments.node,
        "path": arguments.path,
        "recursive": arguments.recursive,
    }
    item = context.item(arguments.item)
    if arguments.show:
        return context.show(orders.looking("list", item=item, **wanted))
    code, answer = _look(context, "list", item=item, **wanted)
    totals = answer["totals"]
    cut = totals.get("listed", 0) - len(answer["entries"])
    last = f"{_counted(totals, 'entries', 'entry', 'entries')}, {_counted(totals, 'bytes', 'byte')}" + (
        f"; {cut:,} more: --most shows them" if cut > 0 else ""
    )
    lines: list[Table | str] = [*answers.title(answer), answers.inside_table(answer), last]
    return context.tell(code, lines, item=item, tarballs=answer["tarballs"], entries=_plain(answer), totals=totals)


def _counted(totals: Mapping[str, int], key: str, thing: str, things: str = "") -> str:
    """Return one of the numbers of an answer with its noun, thousands separated."""
    number = totals.get(key, 0)
    return f"{number:,} {noun(number, thing, things)}"


def _plain(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{name: value for name, value in entry.items() if name != "source"} for entry in answer["entries"]]


def find_command(context: CommandContext) -> int:
    arguments = context.arguments
    item = context.item(arguments.item) if arguments.item else ""
    wanted = {"item": item, "name": arguments.name, "at": context.day(arguments.at), "from_": arguments.node}
    if arguments.show:
        return context.show(orders.looking("find", **wanted))
    code, answer = _look(context, "find", **wanted)
    versions, totals = answers.versions_of(answer), answer["totals"]
    last = f"{totals.get('found', 0):,} found in {_counted(totals, 'read', 'tarball')}"
    return context.tell(code, [answers.versions_table(versions), last], versions=versions, totals=totals)


def diff_command(context: CommandContext) -> int:
    arguments = context.arguments
    days = [context.day(text) for text in arguments.days]
    wanted = dict(zip(("at", "other"), days, strict=False))
    wanted |= {"path": arguments.path, "from_": arguments.node}
    item = context.item(arguments.item)
    if arguments.show:
        return context.show(orders.looking("diff", item=item, **wanted))
    code, answer = _look(context, "diff", item=item, **wanted)
    lines: list[Table | str] = [*answers.difference_lines(answer), answers.difference_table(answer)]
    lines += [answers.difference_total(answer["totals"])] if "added" in answer["totals"] else []
    told = {"nights": answer["answers"], "entries": _plain(answer), "totals": answer["totals"]}
    return context.tell(code, lines, item=item, **told)
