"""Kind `sqlite`: one database file, copied by the engine's backup API."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..archive.write import Part
from ..system.errors import InvalidInput
from ..system.twins import set_mode
from ..system.view import Place
from ..system.visible import printable
from . import sqlite_survey
from .base import BESIDE_A_DATABASE, Arrangement, Context, Kind, Snapshot, listed, opened, owner_of, scratch_folder
from .earlier import stamp_of
from .items import Item
from .sqlite_copy import check_database, copy_database
from .tables import judge_tables, measure, rows_of

if TYPE_CHECKING:
    from .proofs import Proof


def check(item: Item, context: Context) -> None:
    """Raise InvalidInput unless the item's path is an SQLite database."""
    check_database(context.known["path"], f"item sqlite {item.name!r}", context.identity)


@contextlib.contextmanager
def copy(item: Item, context: Context) -> Iterator[Snapshot]:
    """Yield a checked copy of one committed state of the item's database."""
    live, folder = context.known["path"], scratch_folder(context, item)
    filename = os.path.basename(item.path)
    destination = os.path.join(folder, filename)
    rows, notes = copy_database(live, destination, context.deadline, context.identity)
    set_mode(destination, stat.S_IMODE(os.stat(live).st_mode))
    parts = [Part(folder, [b".", os.fsencode(f"./{filename}")])]
    doubts, more = judge_tables(rows_of(context.good), rows, stamp_of(context.good), item.may_empty)
    record = {"rows": rows, **measure(rows, item.may_empty), "doubts": doubts}
    yield Snapshot(parts, record, owner=owner_of(live), fixed_times=True, notes=[*notes, *more])


def arrange(item: Item, context: Context) -> Arrangement:
    """Return what a reader of the database sees: its folder, where SQLite keeps what is not yet in the database itself."""
    with opened(item.path) as descriptor:
        status = os.fstat(descriptor)
        path = os.readlink(f"/proc/self/fd/{descriptor}")
    if not stat.S_ISREG(status.st_mode):
        raise InvalidInput(f"item sqlite {item.name!r}: path {item.path} is not a file")
    places = [Place(os.path.dirname(path), writable=True)]
    return Arrangement(status.st_uid, places, scratch=[scratch_folder(context, item)], known={"path": path})


def prove(proof: Proof) -> None:
    """Integrity, and the rows of each table as recorded."""
    names = [entry.name for entry in os.scandir(proof.path) if entry.is_file(follow_symlinks=False)]
    recorded = os.path.basename(str(proof.record.get("path", "")))
    if not recorded and len(names) != 1:
        raise proof.fail(f"it should hold one database, but holds {len(names)} files")
    survey(proof, recorded or names[0])


def survey(proof: Proof, relative: str) -> dict[str, Any]:
    """Let a database be surveyed in the sandbox, compare its rows with the record, and return what was found."""
    path = proof.plain(relative)
    for suffix in ("-wal", "-journal"):  # whoever opens the database next would take up what it says
        if os.path.lexists(path + suffix):
            reason = f"{printable(relative)}{suffix} stands beside its database, and may change it when that is opened"
            if proof.record:
                raise proof.fail(f"{reason}; its dump takes none")
            proof.notes.append(reason)
    with proof.opened(path) as database:
        text = proof.sandbox.run(
            [proof.inside(database)],
            proof.scratch,
            what=f"{proof.title}: surveying {printable(relative)}",
            deadline=proof.deadline,
            program=sqlite_survey,
        )
    found = proof.told(text)
    proof.versions["sqlite"] = str(found["version"])
    if found["problems"]:
        raise proof.fail(f"its database {printable(relative)} is damaged: {'; '.join(map(str, found['problems']))}")
    rows = found["rows"]
    proof.notes += sqlite_survey.notes_on(printable(relative), found["unchecked"], rows)
    proof.facts.update(tables=len(rows), rows=sum(count or 0 for count in rows.values()))
    recorded = proof.record.get("rows")
    if isinstance(recorded, Mapping):
        differing = sorted(table for table in {*rows, *recorded} if _differ(table, rows, recorded))
        if differing:
            raise proof.fail(
                f"its tables differ from its dump's: {listed([_rows(table, rows, recorded) for table in differing])}"
            )
    elif proof.record:
        proof.notes.append("its dump recorded no rows of tables")
    return found


def _differ(table: str, rows: Mapping[str, int | None], recorded: Mapping[str, int | None]) -> bool:
    """Return whether a table is not the one that was dumped; where one side could not count its rows, the other is believed."""
    if table not in rows or table not in recorded:
        return True
    return None not in (rows[table], recorded[table]) and rows[table] != recorded[table]


def _rows(table: str, rows: Mapping[str, int | None], recorded: Mapping[str, int | None]) -> str:
    found, expected = (f"{side[table]} rows" if table in side else "no such table" for side in (rows, recorded))
    return f"{table} ({found}, expected {expected})"


KIND = Kind(
    check,
    copy,
    arrange,
    prove,
    unforeseen="whether a database is damaged is not looked at in check mode; a dump does, on its copy",
    is_file=True,
    beside=BESIDE_A_DATABASE,
)
