"""Named pipes, sockets and devices where a kind reads files: nothing waits for them, and the other items are dumped."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from attacks.ground import Ground, as_attacker
from attacks.registry import SCENES, Register, Scene
from attacks.rows.common import NIGHT, SOURCE, add_item, good_went_on, link, link_judge, one_source

PIPES = {
    "git": (
        "HEAD", "config", "config.worktree", "description", "packed-refs", "shallow", "commondir", "info/exclude", "info/grafts",
        "hooks/update", "logs/HEAD", "logs/refs/heads/main", "lfs/objects/x", "objects/info/alternates",
        "refs/heads/.x", "refs/heads/x", "refs/x.lock", "worktrees/w/HEAD", "custom_hooks/update", "modules/sub/HEAD", "ORIG_HEAD",
    ),
    "svn": (
        "format", "conf/svnserve.conf", "hooks/pre-commit", "locks/db.lock", "db/format", "db/fs-type", "db/fsfs.conf",
        "db/uuid", "db/current", "db/rep-cache.db", "db/write-lock", "db/revs/0/2", "db/revprops/0/2", "db/min-unpacked-rev",
    ),
    "trac": (
        "VERSION", "conf/trac.ini", "db/trac.db", "db/trac.db-journal", "db/trac.db-wal", "log/trac.log", "htdocs/x",
    ),
    "sqlite": ("", "-journal", "-wal"),
    "folder": ("users.conf",),
}  # fmt: skip
ENDLESS = {
    "git": ("HEAD", "config", "packed-refs", "info/grafts"),
    "svn": ("format", "db/current", "db/fsfs.conf"),
    "trac": ("conf/trac.ini", "VERSION", "log/trac.log", "db/trac.db"),
    "sqlite": ("",),
}
SOCKETS = {"git": ("hooks/update",), "svn": ("conf/passwd",), "trac": ("log/trac.log",), "sqlite": ("",)}
_LIMIT = "90s"


def path_of(ground: Ground, kind: str, place: str, name: str) -> Path:
    """Make an item; return the path of a place in it."""
    path = ground.thing(name, kind)
    add_item(ground, kind, name, path)
    return path.with_name(path.name + place) if kind == "sqlite" else path / place


def lay_pipe(kind: str, place: str, ground: Ground, name: str) -> None:
    """Put a named pipe at a place."""
    ground.lures.lay(name, path_of(ground, kind, place, name))


def lay_endless(kind: str, place: str, ground: Ground, name: str) -> None:
    """Put a link to an endless device at a place."""
    link(ground, path_of(ground, kind, place, name), "/dev/zero")


def lay_socket(kind: str, place: str, ground: Ground, name: str) -> None:
    """Put a socket at a place, by a short path, since its length is limited."""
    import os

    path = path_of(ground, kind, place, name)
    if path.exists():
        path.unlink()
    before = os.getcwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(before)


def play(ground: Ground) -> None:
    """A dump with a time limit, then a drill of what it published."""
    ground.site.hosts[SOURCE]["altbackup_step_timeout"] = _LIMIT
    ground.run("dump", stamp=NIGHT)
    ground.run("drill", f"--limit {SOURCE}", stamp=NIGHT)


def lay_hang(ground: Ground, name: str) -> None:
    """Put a named pipe that nobody releases below refs/heads."""
    path = ground.thing(name, "git")
    add_item(ground, "git", name, path)
    as_attacker("mkfifo", path / "refs" / "heads" / ".x")


def play_hang(ground: Ground) -> None:
    """Run two nights with a short limit."""
    ground.site.hosts[SOURCE]["altbackup_step_timeout"] = "20s"
    ground.run("dump", stamp=NIGHT)
    ground.run("dump", stamp="2026/11/02/010000")


def judge_hang(ground: Ground, name: str) -> Iterator[str]:
    """Both nights reported the pipe, and none of them lasted to its limit."""
    for number, (_, run, seconds) in enumerate(ground.runs, 1):
        if not ground.said(name, ".x"):
            yield f"night {number}: nobody was told of .x"
        if seconds > 75:
            yield f"night {number} lasted {seconds:.0f} s: something waited until its limit"
        if "is in use" in run.message:
            yield f"night {number} found the tree still locked"


def rest_hang(ground: Ground) -> Iterator[str]:
    """The good item is stored in both nights."""
    if len(ground.stored("folder", "good")) < 2:
        yield f"the good item was stored {len(ground.stored('folder', 'good'))} times in two nights"


SCENES["dump pipes"] = Scene("dump pipes", one_source, play, good_went_on)
_rows = Register("dump pipes", "user", "dump", good_went_on)
for _form, _places, _lay, _what in (
    ("pipe", PIPES, lay_pipe, "a named pipe"),
    ("endless", ENDLESS, lay_endless, "a link to /dev/zero"),
    ("socket", SOCKETS, lay_socket, "a socket"),
):
    for _kind, _named in _places.items():
        for _place in _named:
            _short = _place.strip("-").replace("/", "-").replace(".", "-").lower() or "itself"
            _rows.add(
                f"{_kind}-{_form}-{_short}",
                _kind,
                f"{_place or 'the path itself'} is {_what}",
                partial(_lay, _kind, _place),
                link_judge(_kind, _place),
            )
SCENES["dump hang"] = Scene("dump hang", one_source, play_hang, rest_hang)
Register("dump hang", "user", "dump", judge_hang).add(
    "git-hang", "git", "a named pipe below refs/heads, with a limit of 20 s, in two nights", lay_hang
)
