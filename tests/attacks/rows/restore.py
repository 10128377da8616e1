"""What a user lays beside a restore's destination, or the script's: it is not obeyed, and nothing is written through it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from attacks.cells import ALL
from attacks.ground import GOOD, Ground, give
from attacks.registry import SCENES, Register, Scene
from attacks.rows.common import NIGHT, SOURCE, TARGET, add_item, item, link, one_source, write

LATER = "2026/11/02/010000"
ASIDE = "20261102-010000"


def prepare(ground: Ground) -> None:
    """One good night."""
    one_source(ground)
    ground.site.hosts[SOURCE]["altbackup_items"].append(item("sqlite", "base", ground.thing("base", "sqlite", 0)))
    assert ground.run("dump", stamp=NIGHT).rc == 0
    ground.runs.clear()
    ground.notes.update(orders=[], adopted=[], scripts={})


def order(ground: Ground, destination: Path, kind: str = "folder", **more: object) -> None:
    """Order another restore of the good item."""
    name = GOOD if kind == "folder" else "base"
    ground.notes["orders"].append({"source": SOURCE, "kind": kind, "name": name, "to": str(destination), **more})


def work_of(destination: Path) -> Path:
    """Return the name of the work folder of 0.1.0, which is well known."""
    return destination.with_name(f".altbackup-tmp-restore-{destination.name}")


def inode(path: Path) -> list[int]:
    """Return device and inode of a path: a user can see them in any folder that he can enter."""
    return [path.lstat().st_dev, path.lstat().st_ino]


def lay_work(
    files: Callable[[Ground, str, Path, Path], dict[str, str]], there: bool, ground: Ground, name: str
) -> None:
    """Lay a work folder of the user's with files beside his destination."""
    home = ground.home(name)
    destination = home / "docs"
    if there:
        write(destination / "x", "the user's own\n")
        give(destination)
    work = work_of(destination)
    work.mkdir()
    for filename, text in files(ground, name, destination, work).items():
        write(work / filename, text)
    give(work)
    order(ground, destination)


def journal(**entries: object) -> dict[str, str]:
    """Return a journal as a killed restore leaves it."""
    return {"journal": json.dumps({"path": "x", "aside": "", "marker": None, **entries}), "x": "of the attacker's\n"}


def journal_over(ground: Ground, name: str, destination: Path, work: Path) -> dict[str, str]:
    """A journal whose old copy is root's file: the user's file would be renamed over it."""
    victim = ground.witness.file(name)
    write(work / "x", "of the attacker's\n")
    return journal(new=inode(destination), old=inode(work / "x"), aside=str(victim))


def journal_back(ground: Ground, name: str, destination: Path, work: Path) -> dict[str, str]:
    """A journal that says that root's file was moved aside: it would be moved to the destination."""
    victim = ground.witness.file(name)
    return journal(new=[0, 0], old=inode(victim), aside=str(victim))


def journal_out(ground: Ground, name: str, destination: Path, work: Path) -> dict[str, str]:
    """A journal whose path leads from the work folder to root's file: it would be renamed to the user's."""
    victim = ground.witness.file(name)
    path = os.path.relpath(victim, work)
    return journal(new=inode(destination), old=inode(victim), path=path, aside=str(destination.with_name("taken")))


def journal_marker(ground: Ground, name: str, destination: Path, work: Path) -> dict[str, str]:
    """A journal with a marker text of the user's."""
    return journal(new=[0, 0], old=None, marker="\x1b[2J" * 100)


def journal_deep(ground: Ground, name: str, destination: Path, work: Path) -> dict[str, str]:
    """A journal nested as deep as its length allows."""
    return {"journal": "[" * 100000}


def journal_odd(ground: Ground, name: str, destination: Path, work: Path) -> dict[str, str]:
    """A journal whose values are of other types."""
    return {"journal": json.dumps({"new": {"a": 1}, "path": ["x"], "aside": {"b": 2}, "old": "x", "marker": 5})}


def made_up(ground: Ground, name: str, destination: Path, work: Path) -> dict[str, str]:
    """A work folder that claims to have been made for all folders above it."""
    return {"made": json.dumps("/"), "incoming": "a file where a folder belongs"}


def lay_work_link(what: str, ground: Ground, name: str) -> None:
    """Make the work folder, or something in it, a link to root's folder or file."""
    destination = ground.home(name) / "docs"
    work = work_of(destination)
    if what == "itself":
        link(ground, work, ground.witness.folder(name))
    else:
        work.mkdir()
        give(work)
        link(
            ground,
            work / what,
            ground.witness.folder(name) if what in ("incoming", "unpacked") else ground.witness.file(name),
        )
    order(ground, destination)


def lay_work_pipe(what: str, ground: Ground, name: str) -> None:
    """Make a file of the work folder a named pipe."""
    destination = ground.home(name) / "docs"
    work_of(destination).mkdir()
    give(work_of(destination))
    ground.lures.lay(name, work_of(destination) / what)
    order(ground, destination)


def lay_work_open(ground: Ground, name: str) -> None:
    """Lay a work folder writable by all, with folders named like those of a restore."""
    destination = ground.home(name) / "docs"
    for folder in ("unpacked", "incoming", "scratch"):
        write(work_of(destination) / folder / "x", "x")
    give(work_of(destination)).chmod(0o777)
    order(ground, destination)


def lay_beside(suffix: str, form: str, ground: Ground, name: str) -> None:
    """Make what stands beside a destination a link to root's file, or a named pipe."""
    destination = ground.home(name) / "docs"
    if suffix.startswith("."):
        write(destination / "x", "the user's own\n")
        give(destination)
    path = destination.with_name(destination.name + suffix)
    if form == "pipe":
        ground.lures.lay(name, path)
    else:
        link(ground, path, ground.witness.folder(name) if form == "folder" else ground.witness.file(name))
    order(
        ground,
        destination,
        "sqlite" if suffix.startswith("-") else "folder",
        **({"replace": "move_aside", "consent": True} if suffix.startswith(".") else {}),
    )


def lay_through(below: str, ground: Ground, name: str) -> None:
    """Make a folder on the way to the destination a link to root's folder."""
    home = ground.home(name)
    link(ground, home / "way", ground.witness.folder(name))
    order(ground, home / "way" / below)


def lay_destination_link(ground: Ground, name: str) -> None:
    """Make the destination a link to root's folder."""
    link(ground, ground.home(name) / "docs", ground.witness.folder(name))
    order(ground, ground.home(name) / "docs", replace="move_aside", consent=True)


def lay_inside(form: str, ground: Ground, name: str) -> None:
    """Make a file inside what stands at the destination a link, a named pipe or a device: it is compared with the backup."""
    destination = ground.home(name) / "docs"
    shutil.copytree(ground.templates / "folder", destination, symlinks=True)
    give(destination)
    if form == "pipe":
        ground.lures.lay(name, destination / "users.conf")
    else:
        link(ground, destination / "users.conf", ground.witness.file(name) if form == "file" else "/dev/zero")
    order(ground, destination, replace="move_aside")


def lay_marked(form: str, ground: Ground, name: str) -> None:
    """Make the marker of an item to be adopted something else, or put it behind a link."""
    home = ground.home(name)
    path = home / "docs"
    write(path / "x", "x")
    give(path)
    marker = path.with_name("docs.altbackup-restored")
    if form == "pipe":
        ground.lures.lay(name, marker)
    elif form == "folder":
        write(marker / "x", "x")
        give(marker)
    elif form == "behind":
        vault = ground.witness.folder(name)
        (vault / "docs.altbackup-restored").write_bytes((vault / "secret").read_bytes())
        (vault / "docs").mkdir()
        link(ground, home / "way", vault)
        path = home / "way" / "docs"
    else:
        link(ground, marker, ground.witness.file(name))
    add_item(ground, "folder", name, path)
    ground.notes["adopted"].append(f"{SOURCE}/folders/{name}")


def lay_script(form: str, ground: Ground, name: str) -> None:
    """Lay what restore.sh would write to, or through, where a user can write."""
    home = ground.home(name)
    destination = home / "new"
    if form == "way":
        link(ground, home / "way", ground.witness.folder(name))
        destination = home / "way" / "new"
    elif form == "destination":
        link(ground, destination, ground.witness.folder(name) / "not-there")
    else:
        vault = ground.witness.folder(name)
        last = int(Path("/proc/sys/kernel/ns_last_pid").read_text())
        for number in range(last, last + 4000):
            os.symlink(vault, home / f".altbackup-restore-{number}")
        give(home)
    ground.notes["scripts"][name] = destination


def play(ground: Ground) -> None:
    """All restores in one run, with a good one; the adoptions; the script."""
    ground.home("well", 0)
    good = {"source": SOURCE, "kind": "folder", "name": GOOD, "to": str(ground.site.live / "well" / "docs")}
    if ground.notes["orders"]:
        ground.run("restore", stamp=LATER, restore=[good, *ground.notes["orders"]])
    if ground.notes["adopted"]:
        ground.run("restore", stamp=LATER, adopt=ground.notes["adopted"])
    if ground.notes["scripts"]:
        ground.run("synchronize", stamp=NIGHT)
    for name, destination in ground.notes["scripts"].items():
        script = ground.folder / TARGET / "copies" / "restore.sh"
        done = ground.call("sh", script, "restore", f"{SOURCE}/folders/{GOOD}", destination)
        ground.notes[f"script {name}"] = done


def judge_restore(ground: Ground, name: str) -> Iterator[str]:
    """It is restored as in the backup, or refused with a message; nothing of the user's is lost."""
    destination = Path(next(entry["to"] for entry in ground.notes["orders"] if f"/live/{name}/" in entry["to"]))
    reference = ground.templates / "folder" / "users.conf"
    good = destination.is_dir() and (destination / "users.conf").is_file() and not destination.is_symlink()
    restored = good and (destination / "users.conf").read_bytes() == reference.read_bytes()
    if not restored and not ground.about(name, "restore"):
        yield "it was neither restored nor refused with a word"
    own = [*ground.home(name).rglob("x")]
    if "journal" in name and (destination.is_dir() and not restored) and not own:
        yield "what the user had at the destination is gone"


def judge_adopt(ground: Ground, name: str) -> Iterator[str]:
    """The marker is gone, or its absence was reported."""
    there = os.path.lexists(ground.home(name) / "docs.altbackup-restored") or name.endswith("behind")
    if there and not ground.about(name, "restore"):
        yield "the marker is still there, and nobody was told"


def judge_script(ground: Ground, name: str) -> Iterator[str]:
    """It refused with a message, or restored to the destination only."""
    done = ground.notes[f"script {name}"]
    if done.returncode and not done.stderr.strip():
        yield "it failed without a word"
    if not done.returncode and not (ground.notes["scripts"][name] / "users.conf").is_file():
        yield "it says that it restored, but nothing is there"


def say_script(ground: Ground, name: str) -> str:
    """Return the exit code and the first line."""
    done = ground.notes[f"script {name}"]
    return f"exit {done.returncode}: {(done.stderr or done.stdout).strip().splitlines()[-1][:200]}"


def rest(ground: Ground) -> Iterator[str]:
    """The good restore is done."""
    if ground.notes["orders"] and not (ground.site.live / "well" / "docs" / "users.conf").is_file():
        yield "the good restore beside the attacked ones was not done"


SCENES["restore"] = Scene("restore", prepare, play, rest)
_rows = Register("restore", "user", "restore", judge_restore, quick=("restore-journal-over", "restore-journal-back"))
for _make, _there in (
    (journal_over, True), (journal_back, False), (journal_out, True), (journal_marker, False), (journal_deep, True), (journal_odd, True),
    (made_up, False),
):  # fmt: skip
    _rows.add(f"restore-{_make.__name__.replace('_', '-')}", ALL, str(_make.__doc__), partial(lay_work, _make, _there))
for _what in ("itself", "journal", "made", "incoming", "unpacked", "marker"):
    _rows.add(
        f"restore-work-link-{_what}",
        ALL,
        f"{_what} of the work folder is a link of the user's",
        partial(lay_work_link, _what),
    )
for _what in ("journal", "made"):
    _rows.add(
        f"restore-work-pipe-{_what}",
        ALL,
        f"{_what} of the work folder is a named pipe",
        partial(lay_work_pipe, _what),
    )
_rows.add(
    "restore-work-open",
    ALL,
    "the work folder is the user's, open to all, with folders of the names that a restore makes",
    lay_work_open,
)
for _suffix, _form, _what in (
    (".altbackup-restored", "file", "the marker is a link to a file of root's"), (".altbackup-restored", "pipe", "the marker is a named pipe"),
    (f".{ASIDE}", "folder", "the name for what is moved aside is a link to a folder of root's"),
    ("-wal", "file", "-wal beside is a link"), ("-journal", "pipe", "-journal beside is a named pipe"),
):  # fmt: skip
    _rows.add(
        f"restore-beside-{_suffix.strip('.-')[:9]}-{_form}",
        "sqlite" if _suffix.startswith("-") else "folder",
        _what,
        partial(lay_beside, _suffix, _form),
    )
_rows.add("restore-through-link", ALL, "a folder on the way is a link to one of root's", partial(lay_through, "docs"))
_rows.add(
    "restore-through-link-new",
    ALL,
    "the same, and the destination's own folder is still to be made",
    partial(lay_through, "more/docs"),
)
_rows.add("restore-destination-link", ALL, "the destination is a link to a folder of root's", lay_destination_link)
for _form, _what in (
    ("file", "a link to a file of root's"),
    ("pipe", "a named pipe"),
    ("device", "a link to /dev/zero"),
):
    _rows.add(
        f"restore-inside-{_form}", "folder", f"a file in what is to be replaced is {_what}", partial(lay_inside, _form)
    )
_adopt = Register("restore", "user", "adopt", judge_adopt)
for _form, _what in (
    ("folder", "a folder"),
    ("link", "a link to a file of root's"),
    ("pipe", "a named pipe"),
    ("behind", "root's, behind a link on the way to the item"),
):
    _adopt.add(f"adopt-marker-{_form}", ALL, f"the marker is {_what}", partial(lay_marked, _form))
_script = Register("restore", "user", "restore.sh", judge_script, say_script)
for _form, _what in (
    ("way", "the folder of DEST is a link to one of root's"),
    ("destination", "DEST is a link to what is not there in a folder of root's"),
    ("temporary", "all names of its work folder are links to a folder of root's"),
):
    _script.add(f"script-{_form}", ALL, _what, partial(lay_script, _form))
