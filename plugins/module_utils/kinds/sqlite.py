"""Kind `sqlite`: one database file, copied by the engine's backup API."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

from ..archive.write import Part
from ..system.errors import InvalidInput
from ..system.processes import find_tool
from ..system.twins import set_mode
from ..system.view import Place
from .base import Arrangement, Context, Kind, Prepared, opened, owner_of, scratch_folder
from .items import Item
from .sqlite_copy import check_database, copy_database


def check(item: Item, context: Context) -> None:
    """Raise InvalidInput unless the item's path is an SQLite database."""
    check_database(context.known["path"], f"item sqlite {item.name!r}", context.identity)
    find_tool("tar")


@contextlib.contextmanager
def copy(item: Item, context: Context) -> Iterator[Prepared]:
    """Given an item, yield a checked copy of one committed state."""
    live, folder = context.known["path"], scratch_folder(context, item)
    filename = os.path.basename(item.path)
    destination = os.path.join(folder, filename)
    rows, notes = copy_database(live, destination, context.deadline, context.identity)
    set_mode(destination, stat.S_IMODE(os.stat(live).st_mode))
    parts = [Part(folder, [b".", os.fsencode(f"./{filename}")])]
    yield Prepared(parts, {"rows": rows}, owner=owner_of(live), fixed_times=True, notes=notes)


def arrange(item: Item, context: Context) -> Arrangement:
    """Return what a reader of the database sees: its folder, where SQLite keeps what is not yet in the database itself."""
    with opened(item.path) as descriptor:
        status = os.fstat(descriptor)
        path = os.readlink(f"/proc/self/fd/{descriptor}")
    if not stat.S_ISREG(status.st_mode):
        raise InvalidInput(f"item sqlite {item.name!r}: path {item.path} is not a file")
    places = [Place(os.path.dirname(path), writable=True)]
    return Arrangement(status.st_uid, places, scratch=[scratch_folder(context, item)], known={"path": path})


KIND = Kind(check, copy, arrange)
