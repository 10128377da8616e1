"""False stamps on a target: restore, drill and restore.sh take the honest copy, and the false one is named."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from attacks.ground import GOOD, Ground
from attacks.registry import SCENES, Register, Scene
from attacks.rows.archives import put
from attacks.rows.common import NIGHT, SOURCE, TARGET, item
from helpers.hostile import folder, member, stream

OTHER = "cms02"
LATER = "2026/11/02/010000"


def prepare(ground: Ground) -> None:
    """A source with two targets."""
    ground.add_source(SOURCE, [item("folder", GOOD, ground.thing(GOOD, "folder", 0))], [TARGET, OTHER])
    ground.site.add_target(TARGET)
    ground.site.add_target(OTHER)
    ground.notes.update(mischief=[], orders=[])


def lay(mischief: Callable[[Ground, str], None], ground: Ground, name: str) -> None:
    """Add an item, and what root of the first target does to its copy after the night."""
    path = ground.thing(name, "folder", 0)
    ground.site.hosts[SOURCE]["altbackup_items"].append(item("folder", name, path))
    ground.notes["mischief"].append((mischief, name))
    to = str(ground.site.live / name / "restored")
    ground.notes["orders"].append({"source": SOURCE, "kind": "folder", "name": name, "to": to})


def evil(name: str) -> bytes:
    """Return an archive with content that the source never had."""
    return stream([folder(name), member(f"{name}/evil", b"of the target's\n")])


def at(stamp: str, ground: Ground, name: str) -> None:
    """Lay another tarball with a dna under a stamp."""
    put(ground, TARGET, f"folders/{name}", stamp, f"{name}.tar.zst", evil(name))


def copied(ground: Ground, name: str) -> None:
    """Copy the stamp's folder to a stamp one year ahead."""
    base = ground.base(TARGET, SOURCE) / "folders" / name
    shutil.copytree(base / NIGHT, base / NIGHT.replace("2026", "2027"))


def last(ground: Ground, name: str) -> None:
    """Let `last` lead to a tarball of the future."""
    at("2099/01/01/000000", ground, name)
    link = ground.base(TARGET, SOURCE) / "folders" / name / "last"
    link.unlink()
    link.symlink_to("2099/01/01/000000")


def other_content(ground: Ground, name: str) -> None:
    """Lay other bytes, with matching dna and record, under the honest stamp."""
    at(NIGHT, ground, name)
    path = ground.base(TARGET, SOURCE) / "folders" / name / NIGHT / f"{name}.tar.zst.dna"
    dna = json.loads(path.read_text())
    record = ground.folder / TARGET / "copies" / ".altbackup" / "records" / SOURCE / "folders" / name / f"{NIGHT}.json"
    relpath = f"folders/{name}/{NIGHT}/{name}.tar.zst"
    record.write_text(json.dumps({"kind": "folder", "name": name, "relpath": relpath, **dna}))


def play(ground: Ground) -> None:
    """A good night; what the target does; then restores, a drill and the script."""
    assert ground.run("backup", stamp=NIGHT).rc == 0
    ground.runs.clear()
    for mischief, name in ground.notes["mischief"]:
        mischief(ground, name)
    ground.home("well", 0)
    good = {"source": SOURCE, "kind": "folder", "name": GOOD, "to": str(ground.site.live / "well" / "docs")}
    ground.run("restore", stamp=LATER, restore=[good, *ground.notes["orders"]])
    ground.run("drill", f"--limit {TARGET}", stamp=LATER)
    ground.run("list", f"--limit {TARGET}", stamp=LATER)
    script = ground.folder / TARGET / "copies" / "restore.sh"
    ground.notes["list"] = ground.call("sh", script, "list")
    for _, name in ground.notes["mischief"]:
        destination = ground.site.live / name / "script"
        ground.notes[f"script {name}"] = ground.call("sh", script, "restore", f"{SOURCE}/folders/{name}", destination)


def judge(stamp: str, named: bool, ground: Ground, name: str) -> Iterator[str]:
    """Copies ahead of all clocks were not restored, proved or starred; they were named.

    The script knows no run, and uses its machine's clock.
    """
    for how in ("restored", "script") if named else ("restored",):
        where = ground.site.live / name / how
        if (where / "evil").exists():
            yield f"{how}: the lie was restored"
        if not where.is_dir():
            yield f"{how}: nothing was restored, though an honest copy is there"
    for _, run, _ in ground.runs:
        for _, _, result in run.calls:
            yield from (
                f"drill: {entry['relpath']} was proved"
                for entry in result.get("proved") or []
                if stamp in entry["relpath"] and entry["name"] == name
            )
    starred = [
        line for line in ground.notes["list"].stdout.splitlines() if line.startswith("*") and f"/{name} " in line
    ]
    if named and any(stamp in line for line in starred):
        yield "restore.sh list: the lie has the star"
    for stage in ("restore", "drill") if named else ():
        if not any(stamp in text for text in ground.about(name, stage)):
            yield f"{stage}: {stamp} was not named"


def judge_disagreement(ground: Ground, name: str) -> Iterator[str]:
    """A restore refuses, and names nodes and digests."""
    if (ground.site.live / name / "restored").exists():
        yield "restored: it was restored, though the targets hold different bytes under one stamp"
    if not any(TARGET in text and OTHER in text for text in ground.about(name, "restore")):
        yield "restore: the two nodes were not named"


def rest(ground: Ground) -> Iterator[str]:
    """The good restore is done."""
    if not (ground.site.live / "well" / "docs" / "users.conf").is_file():
        yield "the good restore beside the attacked ones was not done"


SCENES["stamps"] = Scene("stamps", prepare, play, rest)
_rows = Register("stamps", "target", "restore", rest)
for _stamp, _named, _what in (
    ("2099/01/01/000000", True, "of 2099"),
    ("9999/12/31/235959", True, "of 9999"),
    ("2026/11/20/010000", False, "later than the run's stamp, but not than the controller's clock"),
):
    _rows.add(
        f"stamp-{_stamp[:10].replace('/', '')}",
        "folder",
        f"another tarball with a dna, {_what}",
        partial(lay, partial(at, _stamp)),
        partial(judge, _stamp, _named),
    )
_rows.add("stamp-copied", "folder", copied.__doc__ or "", partial(lay, copied), partial(judge, "2027/11/01", True))
_rows.add(
    "stamp-last", "folder", last.__doc__ or "", partial(lay, last), partial(judge, "2099/01/01", True), "restore.sh"
)
_rows.add("stamp-disagree", "folder", other_content.__doc__ or "", partial(lay, other_content), judge_disagreement)


NIGHTS = ("2026/10/01/010000", "2026/10/10/010000", "2026/10/20/010000")
FOURTH, FIFTH = "2026/10/21/010000", "2026/10/22/010000"


def prepare_flood(ground: Ground) -> None:
    """A source and a target that keep three."""
    ground.add_source(SOURCE, [item("folder", GOOD, ground.thing(GOOD, "folder", 0))], [TARGET], altbackup_keep=3)
    ground.site.add_target(TARGET, altbackup_keep=3)
    ground.notes.update(mischief=[], second=[])


def lay_flood(
    first: Callable[[Ground, str], None], second: Callable[[Ground, str], None] | None, ground: Ground, name: str
) -> None:
    """Add an item, and what root of the source does before the fourth and the fifth night."""
    path = ground.thing(name, "folder", 0)
    ground.site.hosts[SOURCE]["altbackup_items"].append(item("folder", name, path))
    ground.notes["mischief"].append((first, name))
    if second:
        ground.notes["second"].append((second, name))


def lay_here(ground: Ground, name: str, stamp: str, number: int) -> None:
    """Lay a tarball with a dna under a stamp in the source's own tree."""
    data = stream([folder(name), member(f"{name}/evil", f"{number}\n".encode())])
    put(ground, SOURCE, f"folders/{name}", stamp, f"{name}.tar.zst", data)


def flood(stamps: tuple[str, ...], distinct: bool, ground: Ground, name: str) -> None:
    """Lay tarballs under stamps, of one content or of different ones."""
    for number, stamp in enumerate(stamps):
        lay_here(ground, name, stamp, number if distinct else 0)


def rewrite(ground: Ground, name: str) -> None:
    """Replace the honest nights by other bytes."""
    for number, stamp in enumerate(NIGHTS):
        shutil.rmtree(ground.base(SOURCE) / "folders" / name / stamp, ignore_errors=True)
        lay_here(ground, name, stamp, number)


def emptied(ground: Ground, name: str) -> None:
    """Remove all honest nights, and lay five others."""
    shutil.rmtree(ground.base(SOURCE) / "folders" / name)
    flood(BACK_DATED, True, ground, name)


BACK_DATED = tuple(f"2026/10/{day}/010000" for day in (12, 13, 14, 15, 16))
ONE_DAY = tuple(f"2026/10/20/{hour:02}3000" for hour in range(2, 9))
TONIGHT = tuple(f"2026/10/21/00{minute:02}00" for minute in range(10, 60, 10))


def next_night(ground: Ground, stamp: str) -> None:
    """Change all items, back them up, and remember which honest copies the target then has."""
    for entry in ground.site.hosts[SOURCE]["altbackup_items"]:
        (Path(entry["path"]) / "users.conf").write_text(f"[users]\n{stamp} {os.urandom(8).hex()}\n")
    ground.run("backup", stamp=stamp)


def play_flood(ground: Ground) -> None:
    """Three good nights, mischief, a fourth, mischief, a fifth."""
    for stamp in NIGHTS:
        next_night(ground, stamp)
    assert all(run.rc == 0 for _, run, _ in ground.runs), ground.runs[-1][1].message
    ground.runs.clear()
    for number, (key, stamp) in enumerate((("mischief", FOURTH), ("second", FIFTH))):
        for mischief, name in ground.notes[key]:
            mischief(ground, name)
        next_night(ground, stamp)
        for entry in ground.site.hosts[SOURCE]["altbackup_items"]:
            kept = {
                path.parent.relative_to(path.parents[4]).as_posix()
                for path in ground.stored("folder", entry["name"], TARGET, SOURCE)
            }
            ground.notes[f"{entry['name']} {number}"] = kept


def judge_flood(silent: bool, ground: Ground, name: str) -> Iterator[str]:
    """The target still has the last honest nights, and something was reported."""
    wanted = ({*NIGHTS[1:], FOURTH}, {NIGHTS[2], FOURTH, FIFTH})
    for number, honest in enumerate(wanted):
        # the fourth night may fail for an item whose source's own tree lies
        gone = sorted(honest - ground.notes[f"{name} {number}"] - {FOURTH, FIFTH})
        if gone:
            yield f"night {4 + number}: the good copies of {', '.join(gone)} are gone from the target"
    if not silent and not ground.about(name, "backup"):
        yield "nobody was told of anything"


def rest_flood(ground: Ground) -> Iterator[str]:
    """The good item has its last three nights."""
    missing = {NIGHTS[2], FOURTH, FIFTH} - ground.notes[f"{GOOD} 1"]
    if missing:
        yield f"the target lacks {', '.join(sorted(missing))} of the good item"


SCENES["flood"] = Scene("flood", prepare_flood, play_flood, rest_flood)
_rows = Register("flood", "source", "purge", partial(judge_flood, False))
for _name, _what, _first, _second in (
    ("flood-backdated", "five back-dated copies of one tarball", partial(flood, BACK_DATED, False), None),
    ("flood-distinct", "five back-dated tarballs of different contents", partial(flood, BACK_DATED, True), None),
    ("flood-day", "seven tarballs of the hours after the last honest one", partial(flood, ONE_DAY, True), None),
    ("flood-tonight", "five tarballs of the hour before this night's", partial(flood, TONIGHT, True), None),
    ("flood-slow", "a back-dated tarball before each of two nights", partial(flood, BACK_DATED[:1], True), partial(flood, BACK_DATED[1:2], True)),
    ("flood-future", "five tarballs of 2099", partial(flood, tuple(f"2099/01/0{n}/010000" for n in range(1, 6)), True), None),
    ("flood-rewrite", "other bytes under the honest stamps", rewrite, None),
    ("flood-emptied", "no honest night any more, and five back-dated ones", emptied, None),
    ("flood-old", "five tarballs of years ago", partial(flood, tuple(f"20{n}/01/01/010000" for n in range(10, 15)), True), None),
):  # fmt: skip
    # what takes nobody's place, and is not even sent, is no news
    _rows.add(_name, "folder", _what, partial(lay_flood, _first, _second), partial(judge_flood, _name == "flood-slow"))
