"""Kind `sqlite`: one database file, copied by the engine's backup API."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator

from .archive import Part
from .items import Item
from .kinds import Context, Kind, Prepared, owner_of, scratch_folder
from .processes import find_tool
from .publish import remove_folder
from .sqlite_copy import check_database, copy_database


def check(item: Item) -> None:
    """Raise InvalidInput unless the item's path is an SQLite database."""
    check_database(item.path, f"item sqlite {item.name!r}")
    find_tool("tar")


@contextlib.contextmanager
def copy(item: Item, context: Context) -> Iterator[Prepared]:
    """Given an item, yield a checked copy of one committed state."""
    folder = scratch_folder(context, item)
    try:
        filename = os.path.basename(item.path)
        destination = os.path.join(folder, filename)
        rows, notes = copy_database(item.path, destination, context.deadline)
        shutil.copymode(item.path, destination)
        parts = [Part(folder, [b".", os.fsencode(f"./{filename}")])]
        yield Prepared(parts, {"rows": rows}, owner=owner_of(item.path), fixed_times=True, notes=notes)
    finally:
        remove_folder(folder)


KIND = Kind(check, copy)
