"""Commands that bring items back, and take them for live data."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from ...module_utils.system.errors import InvalidInput
from ...module_utils.system.visible import one_line
from . import orders
from .command_context import NOTHING_DONE, CommandContext
from .items import split_item
from .supervised_run import say


def restore_command(context: CommandContext) -> int:
    arguments = context.arguments
    item = context.item(arguments.item)
    source, _, _ = split_item(item)
    path = context.site.path_of(item)
    if arguments.file and arguments.part:
        raise InvalidInput(f"one file or folder at a time, but there are {arguments.part} and --file {arguments.file}")
    file = arguments.file or arguments.part
    where = {
        "at": context.day(arguments.at),
        "file": file,
        "to_host": arguments.to_host,
        "node": arguments.node,
        "path": path,
        "kind": context.site.kinds.get(item, ""),
    }
    host = arguments.to_host or source
    part = orders.member(file, path)[2:] if file else ""
    place = os.path.join(path, part) if part and path else path
    to = arguments.to
    if arguments.into:
        if file:
            raise InvalidInput("--into takes all of an item, or a database of it, no file: leave one of them out")
        given = {"into": arguments.into, "ending": arguments.end_sessions, "aside": arguments.aside, "to": to}
        return context.do(orders.restoring(item, check=arguments.check, **given, **where))
    if arguments.in_place:
        to = place if part else ""
    elif not to:
        return _restore_asking(context, item, host, place, where)
    return context.do(orders.restoring(item, to=to, aside=arguments.aside, check=arguments.check, **where))


def _restore_asking(context: CommandContext, item: str, host: str, place: str, where: Mapping[str, Any]) -> int:
    """Show what a restore to the item's own place would find there, and ask where to. Raise InvalidInput without a terminal."""
    shown = one_line(place) or "a place that the inventory does not tell"
    if not (sys.stdin.isatty() and context.out.isatty()) or context.arguments.show:
        raise InvalidInput(
            f"say where {item} is to go: --to PATH, or --in-place for {shown} on {host}; with --aside what stands there is moved aside"
        )
    to, aside = place, False
    if place:
        say(f"looking what stands at {shown} on {host} ...")
        foreseen = context.predict(orders.restoring(item, to=place, check=True, **where))
        standing = _standing(foreseen.failures)
        if foreseen.code and not standing:
            print(foreseen.said, end="", file=sys.stderr)
            return foreseen.code
        aside = bool(standing)
        for line in standing or foreseen.notes or ["nothing stands there"]:
            print(one_line(line), file=context.out)
    if not to:
        to = _asked(f"Where on {host} is {item} to go? A path, or nothing to leave it: ")
    else:
        what = f", and move aside what stands there, to {shown}.DATE-TIME," if aside else ""
        reply = _asked(f"Restore to {shown} on {host}{what} [y], to another path [write it], or not at all [N]? ")
        to, aside = (to, aside) if reply.lower() in ("y", "yes") else (reply, False)
    if not to.startswith("/"):
        say("nothing was restored")
        return NOTHING_DONE
    return context.do(orders.restoring(item, to=to, aside=aside, check=context.arguments.check, **where))


def _asked(question: str) -> str:
    try:
        return input(question).strip()
    except EOFError:
        return ""


_IN_THE_WAY = ("is there already, and a restore replaces nothing by itself", "differs from the backup")
_STANDS = re.compile(r"\(([^()]+?),? stands there\)")


def _standing(failures: Sequence[str]) -> list[str]:
    """Return a line on what stands at the place of a restore for each failure, if that is the only obstacle to it, else []."""
    if not all(any(words in text for words in _IN_THE_WAY) for text in failures):
        return []
    known = [(text, _STANDS.search(text)) for text in failures]
    return [f"there is {found[1]}" if found else text for text, found in known]


def adopt_command(context: CommandContext) -> int:
    found = []
    for text in context.arguments.items:
        if text in context.site.hosts:
            raise InvalidInput(
                f"{text} is a node: that it is taken as it is now goes with a backup of it, altbackup run backup -e altbackup_adopt={text}"
            )
        found.append(context.item(text))
    return context.do(orders.adopting(found))
