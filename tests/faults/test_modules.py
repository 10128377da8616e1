"""Modules killed at every system call that changes a file system, and with a full or broken disk at each: the next call heals."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from faults.conftest import Row
from faults.invariants import (
    Bytes,
    Tree,
    content_of,
    differences,
    final_files,
    last_links,
    lease_of,
    surroundings,
    tree_of,
    unhealed,
    verified,
    violations,
)
from faults.modules import FAILING, Caller, Ended, Point, unflushed
from helpers.age_keys import Key, age_key
from helpers.servers import live
from helpers.trac_servers import SERVED, live_trac

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs to be root")

DAY1, DAY2, DAY3 = (f"2013/05/{day:02}/104701" for day in (8, 9, 10))
RUN = {
    "controller": "ctl",
    "user": "scm",
    "command": "ansible-playbook backup.yml",
    "started": "2013-05-10 10:47:01 UTC",
    "host": "machine",
    "boot": "boot",
    "namespace": "pid:[1]",
    "pid": 77,
    "ticks": 1000,
    "seconds": 600,
    "alive": ["77/1000"],
}
NEXT = {**RUN, "pid": 99, "ticks": 2000, "alive": ["99/2000"]}
"""A later run of the same controller, which knows that the first is over"""
Results = dict[str, dict[str, Any]]
Step = tuple[str, Callable[["Scene", Results], dict[str, Any] | None]]


@dataclass
class Scene:
    """A source and its tree on a target, below one folder, and the steps of a stage on them."""

    folder: Path
    modules: Caller
    run: Mapping[str, Any] = field(default_factory=lambda: RUN)

    @property
    def source(self) -> Tree:
        """The source's base."""
        return Tree(self.folder / "source", self.folder / "source")

    @property
    def target(self) -> Tree:
        """The source's tree on the target."""
        return Tree(self.folder / "copies" / "dayabay", self.folder / "copies")

    @property
    def trees(self) -> tuple[Tree, Tree]:
        """Both."""
        return self.source, self.target

    def call(self, step: Step, results: Results, **options: Any) -> Ended | None:
        """Do a step, if it has anything to do."""
        module, arguments = step[0], step[1](self, results)
        if arguments is None:
            return None
        return self.modules.call(module, self._with_run(module, arguments), **options)

    def _with_run(self, module: str, arguments: dict[str, Any]) -> dict[str, Any]:
        return arguments if module in ("tarball_list", "dna") else {**arguments, "run": dict(self.run)}

    def arguments(self, step: Step, results: Results) -> dict[str, Any]:
        """Return the arguments with which a step calls its module."""
        arguments = step[1](self, results)
        assert arguments is not None, f"{step[0]} has nothing to do"
        return self._with_run(step[0], arguments)

    def go(self, steps: list[Step], before: Results | None = None) -> Results:
        """Do steps that must succeed; `results` are those of the steps before. Return the results of all."""
        results = dict(before or {})
        for step in steps:
            ended = self.call(step, results)
            if ended is not None:
                assert ended.status == 0, f"{step[0]}: {ended.output}"
                results[step[0]] = ended.result
        return results

    def shape(self) -> dict[str, str]:
        """Return the contents of both trees."""
        return tree_of(self.source.top) | {f"copies/{path}": what for path, what in tree_of(self.target.top).items()}


# The stages


def dump(*items: Mapping[str, str], stamp: str = DAY3, full_every: int = 1) -> Step:
    """Dump items of the live data."""
    return (
        "tarball_dump",
        lambda scene, _: {
            "base": str(scene.source.base),
            "stamp": stamp,
            "full_every": full_every,
            "ext": ".tar.zst",
            "items": [{**item, "path": str(scene.folder / "live" / item["path"])} for item in items],
        },
    )


_SERVERS = contextlib.ExitStack()


@functools.cache
def _served(kind: str) -> dict[str, Any]:
    """Return an item of a kind that is alive until the end of this module, read as root, to whom the base of these tests belongs.

    Raise Missing, which names the package, where its server is not installed.
    """
    if kind in SERVED:
        return _SERVERS.enter_context(live_trac(kind))
    return {**_SERVERS.enter_context(live(kind)), "user": "root"}


@pytest.fixture(scope="module", autouse=True)
def servers() -> Iterator[None]:
    """End the servers that these tests have started."""
    yield
    _SERVERS.close()
    _served.cache_clear()
    _key.cache_clear()


@functools.cache
def _key() -> Key:
    """Return the key to which encrypted items of these tests are encrypted."""
    return age_key(Path(_SERVERS.enter_context(tempfile.TemporaryDirectory())))


def encrypted(step: Step, *to: str) -> Step:
    """Return a dump that encrypts to recipients, by default to one of its own."""
    return step[0], lambda scene, results: {
        **(step[1](scene, results) or {}),
        "encrypt_to": list(to) or [_key().recipient],
    }


def dump_of(kind: str, stamp: str = DAY3) -> Step:
    """Dump an item of a kind that needs a server, or a program."""
    options = {"stamp": stamp, "ext": ".tar.zst"}
    return ("tarball_dump", lambda scene, _: {"base": str(scene.source.base), "items": [_served(kind)], **options})


def _dumped(kind: str) -> Callable[[Scene], None]:
    """Return what dumps it the night before, so that what its kind keeps is there."""
    return lambda scene: scene.go([dump_of(kind, DAY2)]) and None


def _prepare(scene: Scene, results: Results) -> dict[str, Any]:
    return {
        "base": str(scene.target.base),
        "tarballs": results["tarball_list"]["tarballs"],
        "day": DAY3[:10],
        "stamp": DAY3,
        "keep": 3,
        "items": ["folders/notes"],
        "basis": True,
        "slots": 2,
        "guides": {"RESTORE.txt": "how to restore\n"},
    }


def _send(scene: Scene, results: Results) -> dict[str, Any] | None:
    tarballs = _missing(results)
    peer = {"node": "cms01", "folder": results["tarball_prepare"]["incoming"]}
    return {"base": str(scene.source.base), "targets": [{"peer": peer, "tarballs": tarballs}]} if tarballs else None


def _accept(scene: Scene, results: Results) -> dict[str, Any] | None:
    tarballs = _missing(results)
    return {"base": str(scene.target.base), "tarballs": tarballs, "retry": False, "stamp": DAY3} if tarballs else None


def _offer(scene: Scene, results: Results) -> dict[str, Any] | None:
    tarballs = _missing(results)
    target = {"peer": {"node": "cms01", "folder": ""}, "tarballs": tarballs, "fetched": True}
    return {"base": str(scene.source.base), "targets": [target]} if tarballs else None


def _fetch(scene: Scene, results: Results) -> dict[str, Any] | None:
    peer = {"node": "dayabay", "folder": str(scene.source.base / ".altbackup" / "outgoing" / "cms01")}
    arguments = _accept(scene, results)
    return {**arguments, "peer": peer} if arguments else None


def _preflight(scene: Scene, _: Results) -> dict[str, Any]:
    return {
        "bases": [str(tree.top) for tree in scene.trees],
        "locks": [str(tree.base) for tree in scene.trees],
    }


def _missing(results: Results) -> list[dict[str, Any]]:
    send = results["tarball_prepare"]["send"]
    return [tarball for tarball in results["tarball_list"]["tarballs"] if tarball["relpath"] in send]


def _lock(state: str) -> Step:
    return ("run_lock", lambda scene, _: {"bases": [str(tree.base) for tree in scene.trees], "state": state})


NOTES = {"kind": "folder", "name": "notes", "path": "notes", "shrink": "90%"}
MONITOR = {"kind": "sqlite", "name": "monitor", "path": "monitor.db"}
REPOSITORIES = {
    "svn": {"kind": "svn", "name": "svn", "path": "svn"},
    "git": {"kind": "git", "name": "code", "path": "code"},
    "hg": {"kind": "hg", "name": "project", "path": "project"},
}
LIST: Step = ("tarball_list", lambda scene, _: {"base": str(scene.source.base), "records": True})
PREPARE: Step = ("tarball_prepare", _prepare)
SEND: Step = ("tarball_send", _send)
ACCEPT: Step = ("tarball_accept", _accept)
FETCH: Step = ("tarball_accept", _fetch)
SYNCHRONIZE = [LIST, PREPARE, SEND, ACCEPT]
PREFLIGHT: Step = ("preflight", _preflight)


def _purge(tree_of_scene: Callable[[Scene], Tree]) -> Step:
    options = {"keep": 1, "names": ["folders/notes"], "stamp": DAY3}
    return ("tarball_purge", lambda scene, _: {"base": str(tree_of_scene(scene).base), **options})


DNA: Step = (
    "dna",
    lambda scene, _: {"path": [str(path) for path in sorted(scene.source.base.glob("folders/*/*/*/*/*/*.zst"))]},
)


# The state before a stage


def _live(folder: Path, text: str) -> None:
    """Change the live data; the initial data are enough for deltas to pay off, and for more than one write."""
    (folder / "live" / "notes").mkdir(parents=True, exist_ok=True)
    (folder / "live" / "notes" / text).write_bytes(os.urandom(1_200_000 if text == "first" else 100_000))
    os.utime(folder / "live" / "notes", (0, 0))
    with sqlite3.connect(folder / "live" / "monitor.db") as database:
        database.execute("CREATE TABLE IF NOT EXISTS readings (value)")
        database.execute("INSERT INTO readings VALUES (randomblob(100000))")
    database.close()


def _as_before(scene: Scene) -> None:
    """One night, dumped and synchronized, and changed live data."""
    for tree in scene.trees:
        (tree.top / ".altbackup").mkdir(parents=True, mode=0o700)
        tree.top.chmod(0o700)
    _live(scene.folder, "first")
    scene.go([dump(NOTES, MONITOR, stamp=DAY1)])
    scene.go(SYNCHRONIZE)
    _live(scene.folder, "second")
    (scene.folder / "beside").write_text("somebody else's")
    (scene.folder / "copies-of-others").mkdir()


def _unchanged(scene: Scene) -> None:
    scene.go([dump(NOTES, stamp=DAY2)])


def _encrypted(scene: Scene) -> None:
    """An encrypted night, after which the live data change."""
    scene.go([encrypted(dump(NOTES, stamp=DAY2))])
    _live(scene.folder, "third")


def _encrypted_unchanged(scene: Scene) -> None:
    scene.go([encrypted(dump(NOTES, stamp=DAY2))])


def _known(scene: Scene) -> None:
    """A full tarball to which the next one is a differential."""
    scene.go([dump(NOTES, stamp=DAY2, full_every=7)])
    _live(scene.folder, "third")


def _sent_tonight(scene: Scene) -> None:
    """Two more nights on the source, of which the second was unchanged."""
    scene.go([dump(NOTES, MONITOR, stamp=DAY2)])
    scene.go([dump(NOTES, stamp=DAY3)])


def _with_leftovers(scene: Scene) -> None:
    """Two more nights, of which the second equals the target's; and on the target a killed run's leftovers, and an old guide."""
    scene.go([dump(NOTES, MONITOR, stamp=DAY2)])
    (scene.folder / "live" / "notes" / "second").unlink()
    os.utime(scene.folder / "live" / "notes", (0, 0))
    scene.go([dump(NOTES, stamp=DAY3)])
    incoming = scene.target.top / ".altbackup" / "incoming" / "dayabay"
    incoming.mkdir(parents=True, exist_ok=True, mode=0o700)
    for path in (incoming / ("sha256-" + "0" * 64), scene.target.base / "folders/notes/.altbackup-tmp-9-last"):
        path.write_text("half")
        path.chmod(0o600)
    _leave(scene.target.top / ".altbackup", f"incoming/dayabay/basis/sha256-{'0' * 64}")
    (scene.target.top / "RESTORE.txt").write_text("how it was\n")


def _three_nights(scene: Scene) -> None:
    """Two nights to be purged: one has its folder to itself, one lies beside a user's file; and an older purge's trash."""
    scene.go([dump(NOTES, stamp=DAY2)])
    beside = scene.source.base / "folders/notes" / DAY2 / "README"
    beside.write_text("do not touch")
    beside.chmod(0o600)
    _live(scene.folder, "third")
    scene.go([dump(NOTES, stamp=DAY3)])
    _leave(scene.source.top / ".altbackup", "trash/x/y")


def _three_nights_there(scene: Scene) -> None:
    """The same on the target, where nothing is dumped."""
    scene.go([dump(NOTES, stamp=DAY2)])
    scene.go(SYNCHRONIZE)
    beside = scene.target.base / "folders/notes" / DAY2 / "README"
    beside.write_text("do not touch")
    beside.chmod(0o600)
    _live(scene.folder, "third")
    scene.go([dump(NOTES, stamp=DAY3)])
    scene.go(SYNCHRONIZE)
    _leave(scene.target.top / ".altbackup", "trash/dayabay/x/y")


def _leave(private: Path, *relpaths: str) -> None:
    """Put files into private folders."""
    for path in (private / relpath for relpath in relpaths):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half")
        path.chmod(0o600)
        for folder in path.parents:
            if private in folder.parents:
                folder.chmod(0o700)


def _after_a_kill(scene: Scene) -> None:
    """Leftovers of killed runs in all private folders."""
    _leave(
        scene.source.top / ".altbackup",
        "tmp/.altbackup-tmp-9-notes",
        "records/.altbackup-tmp-9-x.json",
        "state/.altbackup-tmp-9-x",
        "outgoing/cms01/sha256-" + "0" * 64,
        "scratch/drill/x/y",
        "trash/x/y",
    )
    _leave(
        scene.target.top / ".altbackup",
        "records/dayabay/.altbackup-tmp-9-x.json",
        "scratch/dayabay/drill/x/y",
        "trash/dayabay/x/y",
    )


_GIT = "git -c user.name=scm -c user.email=scm@example.org -C code"
_HG = "HGRCPATH= hg --config ui.username=scm --cwd project"
_CHANGES = {
    "svn": ("svnadmin create svn", "svn mkdir -q --config-dir ../../settings -m {0} file://$PWD/svn/{0}"),
    "git": ("git init -q -b main code", f"{_GIT} commit -q --allow-empty -m {{0}}"),
    "hg": ("HGRCPATH= hg init project", f"echo {{0}} >project/{{0}} && {_HG} commit -q -A -m {{0}}"),
}
"""How a repository is made below the live data, and how it is changed"""


def _with_scratch_copy(kind: str) -> Callable[[Scene], None]:
    """Return a function that makes a repository, dumps it and changes it."""

    def before(scene: Scene) -> None:
        create, change = _CHANGES[kind]
        for commands in ((create, change.format("first")), (change.format("second"),)):
            for command in commands:
                subprocess.run(["sh", "-c", command], check=True, cwd=scene.folder / "live")
            scene.go([dump(REPOSITORIES[kind], stamp=DAY2)])

    return before


def _opens(path: Path) -> bool:
    """Return whether a tarball opens with the key of these tests."""
    return path.suffix == ".age" and _key().is_for(path)


def _has_history(path: Path) -> bool:
    """Return whether a tarball holds a sound Mercurial repository; one that was pulled at once has other bytes than one that grew."""
    with tempfile.TemporaryDirectory() as folder:
        unpacked = subprocess.run(["tar", "--zstd", "--extract", f"--file={path}", f"--directory={folder}"])
        repository = Path(folder, "project")
        words = ("hg", "--repository", str(repository), "verify", "--quiet")
        sound = subprocess.run(words, env={**os.environ, "HGRCPATH": ""}, capture_output=True)
        return unpacked.returncode == 0 and sound.returncode == 0 and (repository / ".hg/store/00changelog.i").exists()


def _without_sidecars(scene: Scene) -> None:
    """An item whose sidecars were lost."""
    item = scene.source.base / "folders" / "notes"
    for path in (*item.rglob("*.dna"), item / "last"):
        path.unlink()


@dataclass(frozen=True)
class Stage:
    """The initial state, the steps of a stage, and the step at which faults happen."""

    before: Callable[[Scene], None]
    steps: list[Step]
    at: int = 0
    removable: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """{name of a tree's folder: paths that may be removed}"""
    at_least: int = 10
    """Least number of points; fewer mean that they were miscounted"""
    one_of: int = 1
    """One of so many points is tried: those of other programs, except on files with random names"""
    alone: bool = False
    """Whether what cannot be linked is stored as a file of its own, and reported"""
    drawn: Callable[[Path], bool] | None = None
    """Where tarballs have other bytes each time: tells whether one is whole"""


PURGED = tuple(f"folders/notes/{stamp}/notes.tar.zst" for stamp in (DAY1, DAY2))
STAGES = {
    "lock": Stage(lambda _: None, [_lock("present")], at_least=4),
    "unlock": Stage(lambda scene: scene.go([_lock("present")]) and None, [_lock("absent")], at_least=2),
    "dump of a folder": Stage(lambda _: None, [dump(NOTES)], at_least=25),
    "dump of an SQLite database": Stage(lambda _: None, [dump(MONITOR)], at_least=25),
    "dump of an unchanged folder": Stage(_unchanged, [dump(NOTES)], at_least=25, alone=True),
    "dump of a differential": Stage(_known, [dump(NOTES, full_every=7)], at_least=25),
    "dump of a Subversion repository": Stage(_with_scratch_copy("svn"), [dump(REPOSITORIES["svn"])], one_of=3),
    "dump of a Git repository": Stage(_with_scratch_copy("git"), [dump(REPOSITORIES["git"])], one_of=3),
    "dump of a Mercurial repository": Stage(
        _with_scratch_copy("hg"), [dump(REPOSITORIES["hg"])], one_of=8, drawn=_has_history
    ),
    "dump of an encrypted folder": Stage(_encrypted, [encrypted(dump(NOTES))], at_least=25, one_of=3, drawn=_opens),
    "dump of an unchanged encrypted folder": Stage(
        _encrypted_unchanged, [encrypted(dump(NOTES))], at_least=25, one_of=3, alone=True, drawn=_opens
    ),
    "dump of a command": Stage(lambda _: None, [dump_of("command")], at_least=25),
    "dump of a PostgreSQL cluster": Stage(_dumped("postgresql"), [dump_of("postgresql")], one_of=3, alone=True),
    "dump of a MariaDB server": Stage(_dumped("mysql"), [dump_of("mysql")], one_of=3, alone=True),
    "dump of an LDAP directory": Stage(lambda _: None, [dump_of("ldap")], one_of=3),
    "dump of Trac in PostgreSQL": Stage(_dumped("trac-postgresql"), [dump_of("trac-postgresql")], one_of=6, alone=True),
    "dump of Trac in MariaDB": Stage(_dumped("trac-mysql"), [dump_of("trac-mysql")], one_of=6, alone=True),
    "sidecars": Stage(_without_sidecars, [DNA, dump(NOTES)], at_least=4),
    "prepare": Stage(_with_leftovers, SYNCHRONIZE, 1),
    "send": Stage(_sent_tonight, [*SYNCHRONIZE, PREFLIGHT], 2),
    "accept": Stage(_sent_tonight, SYNCHRONIZE, 3, at_least=25),
    "fetch": Stage(_sent_tonight, [LIST, PREPARE, ("tarball_send", _offer), FETCH, PREFLIGHT], 3, at_least=25),
    "preflight": Stage(_after_a_kill, [PREFLIGHT], at_least=10),
    "purge": Stage(
        _three_nights, [dump(NOTES), _purge(lambda scene: scene.source)], 1, removable={"source": PURGED}, at_least=15
    ),
    "purge of a target": Stage(
        _three_nights_there,
        [*SYNCHRONIZE, _purge(lambda scene: scene.target)],
        4,
        removable={"dayabay": PURGED},
        at_least=15,
    ),
}


class Trial:
    """A stage to be disturbed repeatedly, each time from the same state."""

    def __init__(self, folder: Path, modules: Caller, stage: Stage) -> None:
        self.stage = stage
        self.scene = Scene(folder / "work", modules)
        self.again = Scene(folder / "work", modules, NEXT)
        self.kept = folder / "kept"
        self.scene.folder.mkdir()
        _as_before(self.scene)
        stage.before(self.scene)
        self.before = [(verified(tree.base), last_links(tree.base)) for tree in self.scene.trees]
        self.results = self.scene.go(stage.steps[: stage.at])
        self._copy(self.scene.folder, self.kept)
        self.outside = surroundings(self.scene.folder, [tree.top for tree in self.scene.trees])
        self.step = stage.steps[stage.at]
        self.arguments = self.scene.arguments(self.step, self.results)
        ended, self.points = modules.points(self.step[0], self.arguments, self.scene.folder)
        assert ended.status == 0, ended.output
        self.flushes = unflushed(modules.lines)
        self.drawn = 0
        if stage.one_of > 1:
            self.restore()
            again = set(modules.points(self.step[0], self.arguments, self.scene.folder)[1])
            self.drawn = len(self.points) - len(again.intersection(self.points))
            self.points = [point for point in self.points if point in again]
        self.again.go(stage.steps)
        self.undisturbed = self.scene.shape()
        self.leases = [lease_of(tree) for tree in self.scene.trees]
        self.whole = [verified(tree.base) for tree in self.scene.trees]
        self.size = sum(size for size, _ in self.whole[0].values())
        wrong = self.wrong(healed=True)
        assert wrong == [], "undisturbed"
        assert len(self.points) >= stage.at_least, self.points

    def _copy(self, source: Path, destination: Path) -> None:
        subprocess.run(["cp", "-a", "--", source, destination], check=True)

    def restore(self) -> None:
        """Restore the state before the call."""
        shutil.rmtree(self.scene.folder)
        self._copy(self.kept, self.scene.folder)
        self.outside = surroundings(self.scene.folder, [tree.top for tree in self.scene.trees])

    def wrong(self, *, healed: bool = False) -> list[str]:
        """Return the violated invariants."""
        found = []
        for tree, (before, lasts), whole in zip(self.scene.trees, self.before, self.whole, strict=True):
            removable = self.stage.removable.get(tree.base.name, ())
            known = {**self.whole[0], **whole, **self._whole(tree)}
            found += violations(tree, before=before, lasts=lasts, removable=removable, whole=known, marker=0o700)
            found += unhealed(tree) if healed else []
        found += self._false_leases(healed)
        if surroundings(self.scene.folder, [tree.top for tree in self.scene.trees]) != self.outside:
            found.append("something outside of the bases was touched")
        return found

    def _whole(self, tree: Tree) -> dict[str, Bytes]:
        """Return {path: size and digest} of the tarballs that are whole, where their bytes do not tell."""
        is_whole = self.stage.drawn
        found = [path for path in final_files(tree.base) if path.suffix != ".dna"] if is_whole else []
        return {str(path.relative_to(tree.base)): content_of(path) for path in found if is_whole and is_whole(path)}

    def _false_leases(self, healed: bool) -> Iterator[str]:
        """Yield the locks that are neither free nor that of the run that is over, or differ afterwards from an undisturbed run's.

        What the next run need not repeat need not be locked again.
        """
        first, then = (str(run["pid"]) for run in (RUN, NEXT))
        for tree, undisturbed in zip(self.scene.trees, self.leases, strict=True):
            if healed:
                right = {undisturbed} if self.step[0] == "run_lock" else {undisturbed, first, then}
            else:
                right = {"", first, f"{first} transfer"}
            if (lease := lease_of(tree)) not in right:
                yield f"lock of {tree.base} is that of {lease!r}, and right is {right}"

    def disturbed(self, point: Point, fault: str) -> tuple[Ended, list[str]]:
        """Cause a fault at one point of the call; return how that ended, and what is wrong, including if the fault did not happen there."""
        return self.scene.modules.disturbed(self.step[0], self.arguments, point, fault, self.restore)

    def lacking(self, result: dict[str, Any]) -> list[str]:
        """Return what a run without failures still lacks; `result` is that of its call."""
        try:
            self.scene.go(self.stage.steps[self.stage.at + 1 :], {**self.results, self.step[0]: result})
        except AssertionError:
            return []
        shapes = [self._shown(shape) for shape in (self.scene.shape(), self.undisturbed)]
        return [f"said to be done: {what}" for what in differences(*shapes)]

    def _shown(self, shape: Mapping[str, str], *, alone: bool = False) -> dict[str, str]:
        """Return the shape of a scene as it can be compared: links apart if `alone`, bytes apart where they are others each time."""
        parts = {path: what.partition(" as ") for path, what in shape.items()}
        return {
            path: ("" if self.stage.drawn and twin else content) + ("" if alone else twin)
            for path, (content, _, twin) in parts.items()
        }

    def heal(self, *, alone: bool = False) -> list[str]:
        """Repeat the stage; return what is wrong after it, or differs from an undisturbed run, links apart if `alone`."""
        try:
            results = self.again.go(self.stage.steps)
        except AssertionError as error:
            return [f"not healed: {error}"]
        shapes = [self._shown(shape, alone=alone) for shape in (self.scene.shape(), self.undisturbed)]
        found = self.wrong(healed=True) + differences(*shapes)
        wire = sum(results.get("tarball_send", {}).get("wire", {}).values())
        if self.step in (ACCEPT, FETCH) and wire > self.size / 10:
            found.append(f"sent again: {wire} bytes of {self.size}")
        return found


def _sample(trial: Trial, points: list[Point], full: bool, always: tuple[str, ...] = ()) -> list[Point]:
    """Return all points, or as many as the stage is worth and each of the calls `always`, or for the quick subset a few, spread evenly."""
    step = trial.stage.one_of if full else max(5, len(points) // 3)
    return [point for at, point in enumerate(points) if at % step == step // 2 or (full and point.syscall in always)]


def _tried(trial: Trial, points: list[Point]) -> str:
    all_of_them = len(trial.points) + trial.drawn
    shown = f"{len(points)} of {all_of_them} points" if len(points) < all_of_them else f"{len(points)} points"
    return f"{shown} ({trial.drawn} at names drawn at random)" if trial.drawn else shown


_SAYING_LESS = (
    "readonly database",
    "failed to write new configuration file",
)
"""Messages of programs that do not say why: SQLite opens read-only what it cannot open for writing"""
WORDS = {
    "ENOSPC": ("No space left on device", *_SAYING_LESS),
    "EIO": ("Input/output error", "disk I/O error", *_SAYING_LESS),
}
CASES = [
    *(pytest.param(name, False, id=f"{name}-quick") for name, stage in STAGES.items() if stage.one_of == 1),
    *(pytest.param(name, True, id=f"{name}-every", marks=pytest.mark.full) for name in STAGES),
]


@pytest.mark.sampled(4)
@pytest.mark.parametrize(("name", "full"), CASES)
def test_module_killed_at_a_system_call(
    name: str, full: bool, tmp_path: Path, modules: Caller, add_row: Callable[[Row], None]
) -> None:
    trial = Trial(tmp_path, modules, STAGES[name])
    points = _sample(trial, trial.points, full)
    seen: Counter[str] = Counter()
    bad = []
    for point in points:
        ended, missed = trial.disturbed(point, "signal=KILL")
        seen["killed" if ended.killed else "child killed" if ended.reasons else "went on"] += 1
        wrong = missed or trial.wrong() or trial.heal()
        bad += [f"{point}: {what}" for what in wrong]
    assert not bad, f"{len(bad)} violations:\n" + "\n".join(bad[:20])
    shown = ", ".join(f"{what}: {count}" for what, count in seen.items())
    add_row(Row(f"kill -9 at system calls of {trial.step[0]}, {name}", f"{_tried(trial, points)}; {shown}"))


NAMING = (
    "dump of a folder",
    "dump of an SQLite database",
    "dump of an unchanged folder",
    "dump of a differential",
    "sidecars",
    "prepare",
    "accept",
    "fetch",
)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", NAMING)
def test_nothing_gets_its_final_name_before_it_is_flushed(
    name: str, tmp_path: Path, modules: Caller, add_row: Callable[[Row], None]
) -> None:
    trial = Trial(tmp_path, modules, STAGES[name])
    count, wrong = trial.flushes
    assert wrong == []
    assert count >= 1
    seen = f"{count} files, each flushed before it got its name, and its folder after"
    add_row(Row(f"power cut: order of flush and rename in {trial.step[0]}, {name}", seen, rerun=""))


@pytest.mark.sampled(8)
@pytest.mark.parametrize("error", WORDS)
@pytest.mark.parametrize(("name", "full"), CASES)
def test_disk_full_or_broken_at_a_system_call(
    name: str, error: str, full: bool, tmp_path: Path, modules: Caller, add_row: Callable[[Row], None]
) -> None:
    trial = Trial(tmp_path, modules, STAGES[name])
    points = _sample(trial, [point for point in trial.points if point.syscall in FAILING], full, always=("write",))
    seen: Counter[str] = Counter()
    bad = []
    for point in points:
        ended, missed = trial.disturbed(point, f"error={error}")
        said = "failed and says so" if ended.reasons else "went on"
        seen[said] += 1
        wrong = trial.wrong()
        wrong += ended.unclear(WORDS[error], trial.scene.folder)
        if ended.result and not ended.killed and not ended.reasons:
            wrong += trial.lacking(ended.result)
        wrong = missed or wrong or trial.heal(alone=trial.stage.alone)
        bad += [f"{point}: {what}" for what in wrong]
    assert not bad, f"{len(bad)} violations:\n" + "\n".join(bad[:20])
    shown = ", ".join(f"{what}: {count}" for what, count in seen.items())
    rerun = "same contents, links or copies" if trial.stage.alone else "same tree"
    add_row(Row(f"{error} at {trial.step[0]}, {name}", f"{_tried(trial, [*points])}; {shown}", rerun=rerun))
