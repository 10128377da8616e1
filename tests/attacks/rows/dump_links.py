"""Links at every place that a kind reads: what they lead to is not read, and they are reported."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from attacks.ground import GOOD, Ground
from attacks.registry import SCENES, Register, Scene
from attacks.rows.common import NIGHT, SOURCE, add_item, good_went_on, link, link_judge, one_source

PLACES: dict[str, dict[str, str]] = {
    "git": {
        "HEAD": "file:ref: refs/heads/main\n",
        "config": "file:[core]\n\tbare = true\n# ",
        "config.worktree": "file:[core]\n# ",
        "description": "file:",
        "git-daemon-export-ok": "file:",
        "packed-refs": "file:# pack-refs with: peeled fully-peeled sorted \n# ",
        "shallow": "file:",
        "commondir": "file:",
        "gitdir": "file:",
        "info": "folder:exclude",
        "info/exclude": "file:",
        "info/grafts": "file:# ",
        "info/attributes": "file:",
        "hooks": "folder:update",
        "hooks/update": "file:",
        "logs": "folder:HEAD",
        "logs/HEAD": "file:",
        "logs/refs/heads": "folder:main",
        "lfs": "folder:objects",
        "lfs/objects": "folder:aa",
        "objects": "repository:objects",
        "objects/pack": "repository:objects/pack",
        "objects/info": "repository:objects/info",
        "objects/info/alternates": "file:",
        "objects/info/commit-graph": "file:",
        "refs": "repository:refs",
        "refs/heads": "repository:refs/heads",
        "refs/heads/stolen": "file:",
        "refs/tags": "folder:v9",
        "modules": "folder:config",
        "worktrees": "folder:HEAD",
        "branches": "folder:main",
        "modules/sub": "repository:",
        "worktrees/w": "folder:HEAD",
        "worktrees/w/HEAD": "file:",
        "custom_hooks": "folder:update",
        "custom_hooks/update": "file:",
        "gl-conf": "file:",
        "annex": "folder:objects",
    },
    "svn": {
        "format": "file:5\n",
        "README.txt": "file:",
        "conf": "folder:svnserve.conf",
        "conf/passwd": "file:[users]\n# ",
        "hooks": "folder:pre-commit",
        "hooks/pre-commit": "file:",
        "locks": "folder:db.lock",
        "locks/db.lock": "file:",
        "db": "repository:db",
        "db/format": "file:8\nlayout sharded 1000\naddressing logical\n",
        "db/fs-type": "file:fsfs\n",
        "db/fsfs.conf": "file:# ",
        "db/uuid": "file:",
        "db/current": "file:3\n",
        "db/rep-cache.db": "database:",
        "db/rep-cache.db-journal": "file:",
        "db/revs": "repository:db/revs",
        "db/revs/0": "repository:db/revs/0",
        "db/revprops": "repository:db/revprops",
        "db/revprops/0/3": "file:K 7\nsvn:log\nV 30\n",
        "db/locks": "folder:abc",
        "db/txn-current": "file:0\n",
        "db/min-unpacked-rev": "file:0\n",
        "db/write-lock": "file:",
        "db/transactions": "folder:1-1.txn",
    },
    "trac": {
        "VERSION": "file:Trac Environment Version 1\n",
        "README": "file:",
        "conf": "folder:trac.ini",
        "conf/trac.ini": "file:[trac]\ndatabase = sqlite:db/trac.db\n# ",
        "db": "folder:trac.db",
        "db/trac.db": "database:",
        "db/trac.db-wal": "file:",
        "db/trac.db-shm": "file:",
        "db/trac.db-journal": "file:",
        "attachments": "folder:wiki",
        "files": "folder:attachments",
        "files/attachments": "folder:wiki",
        "files/attachments/wiki": "folder:aaa",
        "log": "folder:trac.log",
        "log/trac.log": "file:",
        "plugins": "folder:x.py",
        "htdocs/x": "file:",
    },
    "sqlite": {
        "": "database:",
        "-wal": "file:",
        "-shm": "file:",
        "-journal": "file:",
    },
    "folder": {
        "": "folder:x",
        "inner": "folder:x",
        "inner/file": "file:",
        "users.conf": "file:",
    },
}
_MAKE: dict[str, Callable[[Ground, str, str], Path]] = {
    "file": lambda ground, name, detail: ground.witness.file(name, begin=detail),
    "folder": lambda ground, name, detail: ground.witness.folder(name, filename=detail),
    "database": lambda ground, name, _: ground.witness.database(name),
}


def lay_link(kind: str, place: str, form: str, ground: Ground, name: str) -> None:
    """Put a link to a canary at a place of an item."""
    path = ground.thing(name, kind)
    add_item(ground, kind, name, path)
    shape, _, detail = form.partition(":")
    if shape == "repository":
        whole = ground.witness.folder_of(name) / "whole"
        import shutil

        shutil.copytree(ground.templates / kind, whole, symlinks=True)
        target = whole / detail
    else:
        target = _MAKE[shape](ground, name, detail)
    if kind == "sqlite":
        link(ground, path.with_name(path.name + place), target)
    else:
        link(ground, path / place if place else path, target)


def lay_above(ground: Ground, name: str) -> None:
    """Replace the folder above the item's by a link to one of root's."""
    vault = ground.witness.folder(name)
    (vault / "thing").mkdir(mode=0o700)
    (vault / "thing" / "file").write_bytes((vault / "secret").read_bytes())
    home = ground.home(name)
    link(ground, home / "above", vault)
    add_item(ground, "folder", name, home / "above" / "thing")


def rest(ground: Ground) -> Iterator[str]:
    """The good item is stored, and proved."""
    yield from good_went_on(ground)
    drilled = [entry for playbook, run, _ in ground.runs if playbook == "drill" for entry in run.calls]
    proved = [entry["name"] for _, _, result in drilled for entry in result.get("proved") or []]
    if GOOD not in proved:
        yield "the good item was not proved by the drill"


def play(ground: Ground) -> None:
    """A dump, then a drill of what it published."""
    ground.run("dump", stamp=NIGHT)
    ground.run("drill", f"--limit {SOURCE}", stamp=NIGHT)


SCENES["dump links"] = Scene("dump links", one_source, play, rest)
_rows = Register("dump links", "user", "dump", good_went_on, quick=("git-link-hooks", "svn-link-db-fsfs-conf"))
for _kind, _places in PLACES.items():
    for _place, _form in _places.items():
        _what = _form.partition(":")[0]
        _rows.add(
            "-".join(
                filter(None, [_kind, "link", _place.strip("-").replace("/", "-").replace(".", "-").lower() or "itself"])
            ),
            _kind,
            f"{_place or 'the path itself'} is a link to a {'folder of a repository' if _what == 'repository' else _what} of root's",
            partial(lay_link, _kind, _place, _form),
            link_judge(_kind, _place),
        )
_rows.add(
    "folder-link-above",
    "folder",
    "the folder above the path is a link to a folder of root's",
    lay_above,
    link_judge("folder", "above"),
)
