"""What a kind keeps of an item's content for later dumps to compare with, as JSON, beside the record of the dump that found it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..system.errors import AltbackupError
from ..tree.layout import stamp_in
from ..tree.noted import NotNoted, keep_noted, open_noted
from ..tree.stamps import is_stamp
from .base import Context
from .items import Item

_LONGEST = 64 << 20


def stamp_of(record: Mapping[str, Any]) -> str:
    """Return the stamp of a dump from its record, empty where the record tells none."""
    stamp = stamp_in(str(record.get("relpath", "")))
    return stamp if is_stamp(stamp) else ""


def recall(item: Item, context: Context, what: str) -> dict[str, Any]:
    """Return `facts`, what the item's last good dump noted under a word; or `lost`, why that cannot be known though it was noted; or nothing.

    In the process that holds the lock.
    """
    try:
        with open_noted(context.tree, item.key, context.good, what) as stream:
            facts = json.loads(stream.read(_LONGEST))
    except NotNoted:
        return {}
    except AltbackupError as error:
        return {"lost": str(error)}
    except (OSError, ValueError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no JSON"
        return {"lost": f"what the dump of {stamp_of(context.good)} noted of {item.key} ({what}) cannot be read: {why}"}
    return (
        {"facts": facts}
        if isinstance(facts, dict)
        else {"lost": f"what was noted of {item.key} ({what}) is no mapping"}
    )


def retain(item: Item, context: Context, what: str, facts: Mapping[str, Any]) -> dict[str, str]:
    """Keep what a dump notes under a word; return what its record says of that. In the process that holds the lock. Raise OSError."""
    text = json.dumps(facts, sort_keys=True).encode()
    return {what: keep_noted(context.tree, item.key, lambda: [text])}


def was_noted(context: Context, what: str) -> bool:
    """Return whether the record of the last good dump says that it noted something under a word."""
    noted = context.good.get("noted")
    return isinstance(noted, Mapping) and what in noted
