"""Corruptions of tarballs on a target, and whether check or drill finds each; `make corruptions` prints the table.

    python tests/faults/corruptions.py [number of corruptions] [seed]

Seeded: the same number and seed give the same damage. Check is module dna_verify, drill is module tarball_drill, both on small real
tarballs of every kind. Corruptions in `BYTES` damage the tarball alone. Those in `RECOMPUTED` also recompute its sidecar, so that its
digest agrees, and those in `CONSISTENT` the recorded digest, too: then only the tarball's content can show the damage.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

if __name__ == "__main__":
    tests = Path(__file__).resolve().parents[1]
    sys.path[:0] = [str(tests.parent / ".collections"), str(tests)]

from helpers.drills import KINDS, PAIR, Copies, add_more, add_pair, alter, key_of, make_copies, recompute
from helpers.original_trees import run_module
from helpers.servers import MORE
from helpers.trac_servers import SERVED

VERIFY = {"commands/command": ["/bin/grep", "-q", "^line 100$"]}
Change = Callable[[Path, random.Random], None]
"""Changes what an unpacked tarball holds, given its top folder and a source of chance"""
Corruption = Callable[[Copies, str, random.Random, Path], None]
"""Damages the tarball of a kind, given the copies, the kind, a source of chance and the path of a folder to make"""


def flip(copies: Copies, kind: str, chance: random.Random, _folder: Path) -> None:
    """Flip one bit."""
    path = copies.tarball(kind)
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def truncate(copies: Copies, kind: str, chance: random.Random, _folder: Path) -> None:
    """Cut off the end."""
    path = copies.tarball(kind)
    content = path.read_bytes()
    path.write_bytes(content[: chance.randrange(len(content))])


def blank(copies: Copies, kind: str, chance: random.Random, _folder: Path) -> None:
    """Overwrite a block of random length with zeros, as a failing disk does."""
    path = copies.tarball(kind)
    content = bytearray(path.read_bytes())
    first = chance.randrange(len(content) - 64)
    content[first : first + 64] = bytes(64)
    path.write_bytes(content)


def swap(copies: Copies, kind: str, chance: random.Random, _folder: Path) -> None:
    """Replace it by the tarball of another item."""
    other = chance.choice([name for name in KINDS if name != kind])
    shutil.copy(copies.tarball(other), copies.tarball(kind))


def lose_file(copies: Copies, kind: str, chance: random.Random, folder: Path) -> None:
    """Remove a random file from the tarball."""

    def change(top: Path) -> None:
        chance.choice(sorted(path for path in top.rglob("*") if path.is_file() and not path.is_symlink())).unlink()

    alter(copies.tarball(kind), folder, change)


def recomputed(damage: Corruption) -> Corruption:
    """Return a corruption after which the sidecar is recomputed."""

    def corrupt(copies: Copies, kind: str, chance: random.Random, folder: Path) -> None:
        damage(copies, kind, chance, folder)
        recompute(copies.tarball(kind))

    return corrupt


def consistent(change: Callable[[Path, random.Random], None]) -> Corruption:
    """Return a corruption of a tarball's content, after which its sidecar and the recorded digest agree."""

    def corrupt(copies: Copies, kind: str, chance: random.Random, folder: Path) -> None:
        alter(copies.tarball(kind), folder, lambda top: change(top, chance))
        recompute(copies.tarball(kind), copies.record(kind))

    return corrupt


def _revisions(top: Path) -> list[Path]:
    return sorted((top / "db" / "revs" / "0").iterdir(), key=lambda path: int(path.name))


def drop_newest_revisions(top: Path, chance: random.Random) -> None:
    """Remove the last revisions, and the repository's knowledge of them."""
    files = _revisions(top)
    for path in files[-chance.randint(1, 3) :]:
        path.unlink()
        (top / "db" / "revprops" / "0" / path.name).unlink()
    (top / "db" / "current").write_text(f"{len(_revisions(top)) - 1}\n")


def drop_revision(top: Path, chance: random.Random) -> None:
    """Remove one revision."""
    chance.choice(_revisions(top)).unlink()


def damage_revision(top: Path, chance: random.Random) -> None:
    """Flip one bit of a revision."""
    _flip_in(chance.choice(_revisions(top)[1:]), chance)


def _flip_in(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.chmod(0o600)
    path.write_bytes(content)


@contextlib.contextmanager
def _database(top: Path) -> Iterator[sqlite3.Connection]:
    (path,) = [path for path in (top / "db" / "trac.db", *top.glob("live sqlite")) if path.exists()]
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        yield database


def _tables(database: sqlite3.Connection) -> list[str]:
    listing = database.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
    )
    return [name for (name,) in listing]


def drop_table(top: Path, chance: random.Random) -> None:
    """Drop one table."""
    with _database(top) as database:
        database.execute(f'DROP TABLE "{chance.choice(_tables(database))}"')


def drop_rows(top: Path, chance: random.Random) -> None:
    """Delete some rows of a table."""
    with _database(top) as database:
        tables = [name for name in _tables(database) if database.execute(f'SELECT 1 FROM "{name}"').fetchone()]
        table = chance.choice(tables)
        database.execute(
            f'DELETE FROM "{table}" WHERE rowid IN (SELECT rowid FROM "{table}" LIMIT {chance.randint(1, 5)})'
        )


def damage_pages(top: Path, chance: random.Random) -> None:
    """Overwrite a page of a database with noise."""
    (path,) = top.iterdir()
    content = bytearray(path.read_bytes())
    size = int.from_bytes(content[16:18], "big")
    used = range(size, len(content), size)
    first = chance.choice(used)
    content[first : first + size] = chance.randbytes(size)
    path.write_bytes(content)


def drop_attachment(top: Path, chance: random.Random) -> None:
    """Remove the file of one attachment of Trac."""
    chance.choice(sorted(path for path in (top / "files" / "attachments").rglob("*") if path.is_file())).unlink()


def _references(top: Path) -> tuple[str, list[str]]:
    header, *lines = (top / "packed-refs").read_text().splitlines()
    return header, lines


def drop_reference(top: Path, chance: random.Random) -> None:
    """Remove one reference."""
    header, lines = _references(top)
    lines.remove(chance.choice(lines))
    (top / "packed-refs").write_text("\n".join([header, *lines, ""]))


def move_reference(top: Path, chance: random.Random) -> None:
    """Point one reference to the commit of another one."""
    header, lines = _references(top)
    pairs = [line.split(" ") for line in lines]
    moved = chance.choice(pairs)
    moved[0] = chance.choice([other[0] for other in pairs if other[0] != moved[0]])
    (top / "packed-refs").write_text("\n".join([header, *map(" ".join, pairs), ""]))


def damage_object(top: Path, chance: random.Random) -> None:
    """Flip one bit of a pack."""
    (path,) = (top / "objects" / "pack").glob("*.pack")
    _flip_in(path, chance)


def _files(top: Path) -> list[Path]:
    return sorted(path for path in top.rglob("*") if path.is_file() and not path.is_symlink())


def drop_file(top: Path, chance: random.Random) -> None:
    """Remove one file."""
    chance.choice(_files(top)).unlink()


def change_file(top: Path, chance: random.Random) -> None:
    """Flip one bit of a file."""
    _flip_in(chance.choice(_files(top)), chance)


def rename_file(top: Path, chance: random.Random) -> None:
    """Rename one file."""
    path = chance.choice(_files(top))
    path.rename(path.with_name("another name"))


def drop_line(name: str, words: str) -> Change:
    """Return a change that drops all lines of a file that contain some words."""

    def change(top: Path, _chance: random.Random) -> None:
        lines = (top / name).read_text().splitlines(True)
        (top / name).write_text("".join(line for line in lines if words not in line))

    return change


def cut_file(name: str) -> Change:
    """Return a change that cuts the end off a file."""

    def change(top: Path, chance: random.Random) -> None:
        content = (top / name).read_bytes()
        (top / name).write_bytes(content[: chance.randrange(len(content) // 2, len(content) - 20)])

    return change


def damage_file(pattern: str) -> Change:
    """Return a change that flips one bit of a file."""

    def change(top: Path, chance: random.Random) -> None:
        _flip_in(chance.choice(sorted(top.glob(pattern))), chance)

    return change


def make_secret(top: Path, _chance: random.Random) -> None:
    """Make a public changeset a draft."""
    (top / ".hg/store/phaseroots").unlink()


ALL = (*KINDS, *PAIR, *MORE, *SERVED)
"""The corrupted tarballs: one of each kind, each of a pair, and Trac in each server"""
BYTES: dict[str, Corruption] = {"bit flipped": flip, "truncated": truncate, "block of zeros": blank, "swapped": swap}
RECOMPUTED: dict[str, Corruption] = {
    f"{name}, dna recomputed": recomputed(damage)
    for name, damage in (("bit flipped", flip), ("swapped", swap), ("file lost", lose_file))
}
CONSISTENT: dict[str, dict[str, Corruption]] = {
    "svn": {
        "newest revisions dropped": consistent(drop_newest_revisions),
        "revision dropped": consistent(drop_revision),
        "revision damaged": consistent(damage_revision),
    },
    "trac": {
        "table dropped": consistent(drop_table),
        "rows dropped": consistent(drop_rows),
        "attachment dropped": consistent(drop_attachment),
    },
    "git": {
        "reference dropped": consistent(drop_reference),
        "reference moved": consistent(move_reference),
        "object damaged": consistent(damage_object),
    },
    "folder": {
        "file dropped": consistent(drop_file),
        "file changed": consistent(change_file),
        "file renamed": consistent(rename_file),
    },
    "sqlite": {
        "table dropped": consistent(drop_table),
        "rows dropped": consistent(drop_rows),
        "page damaged": consistent(damage_pages),
    },
    "hg": {
        "file's history damaged": consistent(damage_file(".hg/store/data/*.i")),
        "phases lost": consistent(make_secret),
        "bookmark lost": consistent(drop_line(".hg/bookmarks", "main")),
    },
    "command": {
        "line dropped": consistent(drop_line("output", "line 7")),
        "output cut": consistent(cut_file("output")),
    },
    "postgresql": {
        "role dropped": consistent(drop_line("globals.sql", "staff")),
        "dump cut": consistent(cut_file("wiki.dump")),
    },
    "mysql": {
        "row dropped": consistent(drop_line("wiki.sql", "(7,")),
        "user dropped": consistent(drop_line("users.sql", "alice")),
        "dump cut": consistent(cut_file("wiki.sql")),
    },
    "trac-postgresql": {
        "attachment dropped": consistent(drop_attachment),
        "dump cut": consistent(cut_file("altbackup/trac.dump")),
    },
    "trac-mysql": {
        "attachment dropped": consistent(drop_attachment),
        "row dropped": consistent(drop_line("altbackup/trac.sql", "(7,")),
        "dump cut": consistent(cut_file("altbackup/trac.sql")),
    },
    "ldap": {
        "entry changed": consistent(drop_line("1.ldif", "sn: 7")),
        "module dropped": consistent(drop_line("config.ldif", "olcModuleLoad")),
        "database cut": consistent(cut_file("1.ldif")),
    },
}


def corruptions() -> list[tuple[str, str, Corruption]]:
    """Return (kind, name, corruption) of all corruptions."""
    return _corruptions(KINDS)


def _corruptions(kinds: Iterable[str]) -> list[tuple[str, str, Corruption]]:
    return [
        (kind, name, damage)
        for kind in kinds
        for name, damage in {
            **BYTES,
            **RECOMPUTED,
            **{f"{name}, all digests agree": damage for name, damage in CONSISTENT.get(kind, {}).items()},
        }.items()
    ]


def find(copies: Copies, kind: str) -> tuple[list[str], list[str]]:
    """Return what check and drill report of a kind's tarball."""
    check = run_module("dna_verify", path=[str(copies.tarball(kind))], fail=False)
    key = key_of(kind)
    drill = run_module("tarball_drill", base=str(copies.base), names=[key], verify=VERIFY, fail=False)
    proved = list(copies.base.glob(f"{key}/**/*.proof"))
    assert bool(proved) != bool(drill["failures"]), "a proof is kept if, and only if, nothing failed"
    return [entry["reason"] for entry in check["failures"]], [entry["reason"] for entry in drill["failures"]]


def attempt(copies: Copies, kind: str, damage: Corruption, seed: str, folder: Path) -> tuple[list[str], list[str]]:
    """Damage a copy of the copies and return what check and drill report; the copy is removed."""
    damaged = copies.copy(folder / "damaged")
    try:
        damage(damaged, kind, random.Random(seed), folder / "unpacked")
        return find(damaged, kind)
    finally:
        shutil.rmtree(folder / "damaged")


def main(number: int = 200, seed: int = 1) -> int:
    """Try a number of corruptions, print the table, and return how many were missed, plus false alarms."""
    rows: dict[tuple[str, str], list[int]] = {}
    missed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copies = make_copies(folder)
        add_pair(copies, folder)
        missing = add_more(copies)
        for kind, reason in missing.items():
            print(f"{kind} is not tried: {reason}")
        there = [kind for kind in ALL if kind not in missing]
        for kind in there:
            said = attempt(copies, kind, lambda *_: None, "", folder)
            missed += bool(said[0] or said[1])
            print(f"undamaged {kind}: {said if said[0] or said[1] else 'nothing found, as it should be'}")
        every = _corruptions(there)
        for trial in range(number):
            kind, title, damage = every[trial % len(every)]
            check, drill = attempt(copies, kind, damage, f"{seed}/{trial}", folder)
            row = rows.setdefault((kind, title), [0, 0, 0, 0])
            for column, found in enumerate((True, check, drill, check or drill)):
                row[column] += bool(found)
            if not (check or drill):
                missed += 1
                print(f"not found: {kind}, {title}, seed {seed}/{trial}")
    print(f"\n{'kind':12} {'corruption':46} {'tried':>6} {'check':>6} {'drill':>6} {'found':>6}")
    for (kind, title), counts in sorted(rows.items(), key=lambda entry: ALL.index(entry[0][0])):
        print(f"{kind:12} {title:46} " + " ".join(f"{count:6}" for count in counts))
    totals = [sum(row[column] for row in rows.values()) for column in range(4)]
    print(f"{'all':12} {'':46} " + " ".join(f"{count:6}" for count in totals))
    return missed


if __name__ == "__main__":
    sys.exit(1 if main(*map(int, sys.argv[1:])) else 0)
