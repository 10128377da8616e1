"""Scratch copies that are kept from night to night: where they are, what is known of them, and when they are built anew."""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping
from datetime import date
from typing import Any

from ..system.view import Place
from ..tree.layout import Tree
from .base import Arrangement, Context
from .items import Item


def building_folder(context: Context, item: Item) -> str:
    """Return the private folder in which a copy is built anew."""
    return context.tree.private_path("building", item.category, item.name)


def state_path(tree: Tree, item: Item) -> str:
    """Return the file that says what is known of the copy that is kept."""
    return tree.private_path("state", item.category, f"{item.name}.json")


def arrangement(
    item: Item, context: Context, owner: int, folder: str, state: Mapping[str, Any], known: Mapping[str, Any]
) -> Arrangement:
    """Return what a reader of an item sees: `folder` is where its copy is kept, `known` what is known beside the copy's `state`.

    That is the item, the copy that is kept, and an empty folder to build a new one in.
    """
    copied = os.path.isdir(folder) and not os.path.islink(folder)
    return Arrangement(
        owner,
        [Place(item.path)],
        scratch=[building_folder(context, item)],
        kept=[folder] if copied else [],
        known={"state": state, "copied": copied, **known},
    )


def is_due(key: str, built: str, today: str, every: int) -> bool:
    """Return whether a copy built on a day is to be built anew today: each `every` days, on a weekday by its name.

    The days of different items are spread, so that not all are rebuilt in one night.
    """
    try:
        age = date(*map(int, today.split("/"))).toordinal() - date(*map(int, built.split("/"))).toordinal()
        now = date(*map(int, today.split("/"))).toordinal()
    except ValueError:
        return True
    if age < 0 or age >= every:
        return True
    return age > 0 and (now + zlib.crc32(key.encode("utf-8", "surrogateescape"))) % every == 0
