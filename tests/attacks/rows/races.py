"""A thousand calls while a user swaps a path in a loop: no swap between check and use has an effect."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from attacks.cells import ALL
from attacks.ground import ATTACKER, GOOD, REPOSITORY, Ground, give
from attacks.registry import SCENES, Register, Scene
from attacks.rows.common import NIGHT, SOURCE, TARGET, item, link, one_source, write

COUNT = 1000
_TIMES = 20
"""How often a call dumps the same data, each time as another item"""
_LONGEST = 1800


def prepare(ground: Ground) -> None:
    """A source and a target, without a night yet."""
    one_source(ground)


def prepare_night(ground: Ground) -> None:
    """The same after a good night."""
    one_source(ground)
    assert ground.run("backup", stamp=NIGHT).rc == 0
    ground.runs.clear()


def race(ground: Ground) -> None:
    """Run the race that was laid."""
    for name, asked in ground.notes["races"].items():
        done = subprocess.run(
            [sys.executable, "-m", "attacks.race"],
            input=json.dumps({"count": calls(asked), "uid": ATTACKER, **asked}),
            capture_output=True,
            text=True,
            check=False,
            timeout=_LONGEST,
            env={
                **os.environ,
                "PYTHONPATH": f"{REPOSITORY}/tests:{REPOSITORY}/.collections",
                "HOME": str(ground.folder),
            },
        )
        assert done.returncode == 0, done.stderr[-2000:]
        ground.notes[name] = json.loads(done.stdout)
        ground.texts.append(done.stdout)


def calls(asked: dict[str, Any]) -> int:
    """Return how many calls make a thousand dumps or restores."""
    return COUNT // len(asked.get("arguments", {}).get("items", "x"))


def lay_dump(
    kind: str, swapped: Callable[[Path, Path], tuple[Path, Path]], canary: str, ground: Ground, name: str
) -> None:
    """Dump an item in which a place is exchanged for a link to root's files."""
    path = ground.thing(name, kind)
    secret = getattr(ground.witness, canary)(name)
    one, other = swapped(path, secret)
    base = ground.base(SOURCE)
    arguments = {
        "base": str(base),
        "items": [item(kind, f"{name}-{number}", path) for number in range(_TIMES)],
        "stamp": "2026/11/01/{clock}",
        "fail": False,
        "ext": ".tar",
    }
    ground.notes.setdefault("races", {})[name] = {
        "module": "tarball_dump",
        "arguments": arguments,
        "swap": [str(one), str(other)],
    }


def swapped_at(place: str, keep: str = "") -> Callable[[Path, Path], tuple[Path, Path]]:
    """Return a function that lays the link beside a place of an item."""

    def lay(path: Path, secret: Path) -> tuple[Path, Path]:
        one = path / place if place else path
        other = path.parent / "other"
        link(None, other, secret)  # type: ignore[arg-type]
        if keep:
            write(one / keep, "the user's own\n")
            give(one)
        return one, other

    return lay


def lay_restore(form: str, ground: Ground, name: str) -> None:
    """Restore to a place where a user swaps."""
    home = ground.home(name)
    vault = ground.witness.folder(name)
    tarball = ground.stored("folder", GOOD)[0]
    dna = json.loads(Path(f"{tarball}.dna").read_text())
    destination = home / "way" / "docs"
    (home / "way").mkdir()
    give(home)
    relpath = str(tarball.relative_to(ground.base(SOURCE)))
    arguments = {
        "destination": str(destination),
        "kind": "folder",
        "stamp": NIGHT,
        "base": str(ground.base(SOURCE)),
        "fail": False,
        "tarballs": [{"relpath": relpath, **dna}],
        "origin": {"source": SOURCE, "item": f"folders/{GOOD}"},
    }
    asked: dict[str, Any] = {
        "module": "tarball_restore",
        "arguments": arguments,
        "reset": [str(destination), f"{destination}.altbackup-restored"],
    }
    if form == "way":
        link(ground, home / "other", vault)
        asked["swap"] = [str(home / "way"), str(home / "other")]
        asked["reset"] += [str(home / "other" / "docs")]
    else:
        asked |= {"steal": str(home / "way"), "target": str(vault)}
    ground.notes.setdefault("races", {})[name] = asked


def lay_adopt(ground: Ground, name: str) -> None:
    """Adopt a copy while a user swaps the folder above it for a link to one of root's that has such a file, too."""
    home = ground.home(name)
    vault = ground.witness.folder(name)
    (vault / "docs.altbackup-restored").write_bytes((vault / "secret").read_bytes())
    write(home / "way" / "docs" / "x", "x")
    write(home / "way" / "docs.altbackup-restored", "{}")
    give(home)
    link(ground, home / "other", vault)
    arguments = {"path": [str(home / "way" / "docs")], "fail": False}
    ground.notes.setdefault("races", {})[name] = {
        "module": "restore_adopt",
        "arguments": arguments,
        "swap": [str(home / "way"), str(home / "other")],
    }


def lay_script(ground: Ground, name: str) -> None:
    """Restore by the script to a place where a user moves its work folder away."""
    home = ground.home(name)
    (home / "way").mkdir()
    give(home)
    vault = ground.witness.folder(name)
    script = ground.folder / TARGET / "copies" / "restore.sh"
    destination = home / "way" / "docs"
    ground.notes.setdefault("races", {})[name] = {
        "argv": ["sh", str(script), "restore", f"{SOURCE}/folders/{GOOD}", str(destination)],
        "steal": str(home / "way"),
        "target": str(vault),
        "reset": [str(destination)],
    }


def lay_drill(ground: Ground, name: str) -> None:
    """Drill in a user's folder; the user moves the drill's folder away."""
    home = ground.home(name)
    vault = ground.witness.folder(name)
    shutil.rmtree(ground.base(SOURCE) / "nothing", ignore_errors=True)
    arguments = {"base": str(ground.base(SOURCE)), "folder": str(home), "fail": False}
    ground.notes.setdefault("races", {})[name] = {
        "module": "tarball_drill",
        "arguments": arguments,
        "steal": str(home),
        "target": str(vault),
    }


def judge(ground: Ground, name: str) -> Iterator[str]:
    """All calls were made while the user swapped, and none crashed; the witness checks the rest."""
    found = ground.notes[name]
    if found["calls"] < COUNT // _TIMES or found["swaps"] < 100:
        yield f"{found['calls']} calls and {found['swaps']} swaps are no race"
    for text, count in found["said"].items():
        if text.startswith("crashed") or "unexpected" in text:
            yield f"{count} times: {text}"


def judge_refused(ground: Ground, name: str) -> Iterator[str]:
    """Each call refused the place, in which there was nothing to swap."""
    for text in ground.notes[name]["said"]:
        if "others could replace what is made there" not in text:
            yield f"not refused: {text}"


def say(ground: Ground, name: str) -> str:
    """Return how the calls ended."""
    found = ground.notes[name]
    done = found["said"].get("done", 0) + sum(count for text, count in found["said"].items() if text.startswith("0:"))
    refused = found["calls"] - done
    return (
        f"{found['calls']} calls, {found['swaps']} swaps: {done} done, {refused} refused in {len(found['said'])} ways"
    )


_RACES: tuple[tuple[str, str, str, str, Callable[[Ground, str], None]], ...] = (
    (
        "race-folder-file",
        "folder",
        "dump",
        "a file of a folder, and a link to one of root's",
        partial(lay_dump, "folder", swapped_at("users.conf"), "file"),
    ),
    (
        "race-folder-inner",
        "folder",
        "dump",
        "a folder in a folder, and a link to one of root's with the same names",
        partial(lay_dump, "folder", swapped_at("inner", "secret"), "folder"),
    ),
    (
        "race-folder-itself",
        "folder",
        "dump",
        "the path itself, and a link to a folder of root's",
        partial(lay_dump, "folder", swapped_at(""), "folder"),
    ),
    (
        "race-sqlite-file",
        "sqlite",
        "dump",
        "the database, and a link to one of root's",
        partial(lay_dump, "sqlite", swapped_at(""), "database"),
    ),
    (
        "race-trac-ini",
        "trac",
        "dump",
        "conf, and a link to a folder of root's",
        partial(lay_dump, "trac", swapped_at("conf"), "folder"),
    ),
    (
        "race-git-hooks",
        "git",
        "dump",
        "hooks, and a link to a folder of root's",
        partial(lay_dump, "git", swapped_at("hooks"), "folder"),
    ),
    (
        "race-svn-conf",
        "svn",
        "dump",
        "conf, and a link to a folder of root's",
        partial(lay_dump, "svn", swapped_at("conf"), "folder"),
    ),
    (
        "race-restore-way",
        "folder",
        "restore",
        "the folder of the destination, and a link to one of root's",
        partial(lay_restore, "way"),
    ),
    (
        "race-restore-work",
        "folder",
        "restore",
        "the work folder is taken away, and a link to a folder of root's put there",
        partial(lay_restore, "work"),
    ),
    ("race-adopt", "folder", "adopt", "the folder above a copy, and a link to one of root's with a marker", lay_adopt),
    (
        "race-script",
        "folder",
        "restore.sh",
        "its work folder is taken away, and a link to a folder of root's put there",
        lay_script,
    ),
    (
        "race-drill",
        ALL,
        "drill",
        "in a drill folder of a user's its work folder is taken away, and a link put there",
        lay_drill,
    ),
)
for _name, _kind, _stage, _what, _lay in _RACES:
    SCENES[_name] = Scene(_name, prepare if _stage == "dump" else prepare_night, race, lambda ground: ())
    _judge = judge_refused if _name == "race-drill" else judge
    Register(_name, "user", _stage, _judge, say).add(
        _name, _kind, f"1,000 times while these are swapped: {_what}", _lay
    )
