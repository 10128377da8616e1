"""Encrypting anew, killed and with a full or broken disk at its system calls: each tarball is the old one or the new one, whole, and the next call ends it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faults.conftest import Row
from faults.invariants import Tree, content_of, last_links, surroundings, unhealed, violations
from faults.modules import FAILING, Caller, Ended, Point
from faults.test_modules import (
    DAY1,
    DAY2,
    DAY3,
    NEXT,
    PREFLIGHT,
    SYNCHRONIZE,
    WORDS,
    Results,
    Scene,
    Step,
    dump,
    encrypted,
)
from helpers.age_keys import Key, age_key

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs to be root")

NOTES = {"kind": "folder", "name": "notes", "path": "notes"}
GONE = {"kind": "folder", "name": "gone", "path": "gone"}
PRIVATE = Path(".altbackup", "rekey")
STEPS = {"of the source": 1, "of what came": 4, "at the target": 7}
"""The steps at which faults happen"""


class Rekeyed(Scene):
    """A source whose tarballs are encrypted to recipients of before, and its target, which alone has those of one item."""

    old: Key
    new: Key

    def to(self, key: Key) -> list[str]:
        """Return the recipients of before, or those of today."""
        return [key.recipient, self.both.recipient]

    both: Key

    @property
    def private(self) -> Path:
        """Where on the source lies what is on its way from the target and back."""
        return self.source.base / PRIVATE / "cms01"

    @property
    def incoming(self) -> Path:
        """Where it arrives on the target."""
        return self.target.top / ".altbackup/incoming/dayabay/carried"


def _common(scene: Scene) -> dict[str, Any]:
    assert isinstance(scene, Rekeyed)
    return {"base": str(scene.source.base), "encrypt_to": scene.to(scene.new), "identity": scene.old.text}


def _due(scene: Scene, results: Results) -> dict[str, Any]:
    return {**_common(scene), "step": "target", "target": "cms01", "tarballs": results["tarball_list"]["tarballs"]}


def _prepare(scene: Scene, results: Results) -> dict[str, Any]:
    made = results["tarball_rekey"]["rekeyed"]
    more = {"day": DAY3[:10], "stamp": DAY3, "keep": 9, "carried": True, "rekeyed": True}
    return {"base": str(scene.target.base), "tarballs": made, **more}


def _accept(scene: Scene, results: Results) -> dict[str, Any] | None:
    made = results["tarball_rekey"]["rekeyed"]
    more = {"retry": False, "stamp": DAY3, "carried": True, "rekeyed": True}
    return {"base": str(scene.target.base), "tarballs": made, **more} if made else None


def _carried(folder: Path, to: Path, relpaths: list[str]) -> None:
    """Bring files from one place to another, as rsync does by way of the controller."""
    if relpaths:
        to.mkdir(parents=True, exist_ok=True)
        names = "\n".join(relpaths)
        argv = ["rsync", "-a", "--files-from=-", "--chmod=D700,F600", f"{folder}/", f"{to}/"]
        subprocess.run(argv, input=names, text=True, check=True)


def _bring(scene: Scene, results: Results) -> None:
    assert isinstance(scene, Rekeyed)
    current = results["tarball_rekey"]["current"]
    held = [one["relpath"] for one in results["tarball_list"]["tarballs"]]
    _carried(scene.target.base, scene.private / "came", [one for one in held if one not in current])


def _bring_back(scene: Scene, results: Results) -> None:
    assert isinstance(scene, Rekeyed)
    _carried(scene.private / "new", scene.incoming, [entry["relpath"] for entry in results["tarball_rekey"]["rekeyed"]])


OWN: Step = ("tarball_rekey", lambda scene, _: {**_common(scene), "targets": ["cms01"]})
HELD: Step = ("tarball_list", lambda scene, _: {"base": str(scene.target.base), "records": True})
PLAY: list[Step] = [
    PREFLIGHT,
    OWN,
    HELD,
    ("", _bring),  # type: ignore[list-item]
    ("tarball_rekey", _due),
    ("tarball_prepare", _prepare),
    ("", _bring_back),  # type: ignore[list-item]
    ("tarball_accept", _accept),
    ("tarball_rekey", lambda scene, _: {"base": str(scene.source.base), "step": "tidy"}),
]
"""What the playbook does with a source and one target; what has no module is the way of the controller"""


def play(scene: Rekeyed, steps: list[Step], before: Results | None = None) -> Results:
    """Do steps of the play, which must succeed; return their results with those before."""
    results = dict(before or {})
    for step in steps:
        if step[0]:
            results = scene.go([step], results)
        else:
            step[1](scene, results)
    return results


class Trial:
    """A step of the play to be disturbed repeatedly, each time from the same state."""

    def __init__(self, folder: Path, modules: Caller, at: int) -> None:
        self.scene, self.again = Rekeyed(folder / "work", modules), Rekeyed(folder / "work", modules, NEXT)
        self.kept, self.at = folder / "kept", at
        old, new, both = (age_key(folder, name) for name in ("old", "new", "both"))
        for scene in (self.scene, self.again):
            scene.old, scene.new, scene.both = old, new, both
        self._as_before()
        self.plain = {relpath: old.opens(path) for tree in self.scene.trees for relpath, path in _tarballs(tree)}
        self.relpaths = [[relpath for relpath, _ in _tarballs(tree)] for tree in self.scene.trees]
        self.lasts = [last_links(tree.base) for tree in self.scene.trees]
        self.results = play(self.scene, PLAY[:at])
        subprocess.run(["cp", "-a", "--", self.scene.folder, self.kept], check=True)
        self.module = PLAY[at][0]
        self.arguments = self.scene.arguments(PLAY[at], self.results)
        found = []
        for _ in range(2):  # what differs from call to call, such as in how many parts a program writes, is not tried
            self.restore()
            ended, points = modules.points(self.module, self.arguments, self.scene.folder)
            assert ended.status == 0, ended.output
            found.append(points)
        self.points = [point for point in found[0] if point in set(found[1])]
        assert len(self.points) >= 25, self.points
        assert self.heal() == [], "undisturbed"

    def _as_before(self) -> None:
        scene = self.scene
        scene.folder.mkdir()
        for tree in scene.trees:
            (tree.top / ".altbackup").mkdir(parents=True, mode=0o700)
            tree.top.chmod(0o700)
        for name in ("notes", "gone"):
            (scene.folder / "live" / name).mkdir(parents=True)
            (scene.folder / "live" / name / "first").write_bytes(os.urandom(300_000))
        for stamp in (DAY1, DAY2):
            scene.go([encrypted(dump(NOTES, GONE, stamp=stamp, full_every=7), *scene.to(scene.old))])
            (scene.folder / "live" / "notes" / "second").write_text(stamp)
            (scene.folder / "live" / "gone" / "second").write_text(stamp)
        scene.go(SYNCHRONIZE[:1] + [("tarball_prepare", _everything), *SYNCHRONIZE[2:]])
        shutil.rmtree(scene.source.base / "folders/gone")
        shutil.rmtree(scene.source.base / ".altbackup/records/folders/gone")

    def restore(self) -> None:
        """Restore the state before the step."""
        shutil.rmtree(self.scene.folder)
        subprocess.run(["cp", "-a", "--", self.kept, self.scene.folder], check=True)
        self.outside = surroundings(self.scene.folder, [tree.top for tree in self.scene.trees])

    def disturbed(self, point: Point, fault: str) -> tuple[Ended, list[str]]:
        """Cause a fault at one point of the call; return how that ended, and what is wrong, including if the fault did not happen there."""
        return self.scene.modules.disturbed(self.module, self.arguments, point, fault, self.restore)

    def wrong(self, *, healed: bool = False) -> list[str]:
        """Return the violated invariants: all tarballs are there, open with a key of before or of today, and hold what they held."""
        found = []
        keys = (self.scene.new,) if healed else (self.scene.old, self.scene.new)
        for tree, relpaths, lasts in zip(self.scene.trees, self.relpaths, self.lasts, strict=True):
            now = dict(_tarballs(tree))
            whole = {relpath: content_of(path) for relpath, path in now.items()}
            told = violations(tree, lasts=lasts, whole=whole, marker=0o700)
            found += [what for what in told if not any(f"to {stamp}, which has no" in what for stamp in _begun(tree))]
            found += [f"lost, or new: {relpath}" for relpath in now.keys() ^ set(relpaths)]
            for relpath, path in now.items():
                fits = [key for key in keys if key.is_for(path)]
                if len(fits) != 1 or fits[0].opens(path) != self.plain[relpath]:
                    found.append(f"is not one of both: {path}, which {len(fits)} of {len(keys)} keys open")
                elif healed and self.scene.old.is_for(path):
                    found.append(f"the former key opens {path}")
            found += unhealed(tree) if healed else []
        if healed:
            found += [f"left: {path}" for path in (self.scene.source.base / PRIVATE).rglob("*")]
            found += [f"left: {path}" for tree in self.scene.trees for path in tree.top.rglob("*.rekeyed")]
        if surroundings(self.scene.folder, [tree.top for tree in self.scene.trees]) != self.outside:
            found.append("something outside of the bases was touched")
        return found

    def heal(self) -> list[str]:
        """Play all of it as the next run; return what is wrong after it."""
        try:
            play(self.again, PLAY)
            again = play(self.again, PLAY)
        except AssertionError as error:
            return [f"not healed: {error}"]
        found = self.wrong(healed=True)
        if again["tarball_accept"]["tarballs"] if "tarball_accept" in again else []:
            found.append("the run after that replaced something once more")
        return found


def _everything(scene: Scene, results: Results) -> dict[str, Any]:
    """Return the options by which the target asks for all that the source has."""
    tarballs = results["tarball_list"]["tarballs"]
    return {"base": str(scene.target.base), "tarballs": tarballs, "day": DAY2[:10], "stamp": DAY3, "keep": 9}


def _begun(tree: Tree) -> set[str]:
    """Return the stamps of the tarballs that were about to be replaced, which the next call gives their dna back."""
    return {
        "/".join(path.parts[-4:]).partition(".")[0] for path in tree.top.glob(".altbackup/records/**/*.json.rekeyed")
    }


def _tarballs(tree: Tree) -> Iterator[tuple[str, Path]]:
    """Yield the tarballs of a tree."""
    for path in tree.base.glob("folders/*/*/*/*/*/*.age"):
        if not path.name.startswith("."):
            yield str(path.relative_to(tree.base)), path


CASES = [
    *(pytest.param(name, False, id=f"{name}-quick") for name in STEPS),
    *(pytest.param(name, True, id=f"{name}-every", marks=pytest.mark.full) for name in STEPS),
]


def sample(points: list[Point], full: bool) -> list[Point]:
    """Return every other point, or a few for the quick part, spread evenly."""
    step = 2 if full else max(5, len(points) // 3)
    return points[step // 2 :: step]


@pytest.mark.sampled(4)
@pytest.mark.parametrize(("name", "full"), CASES)
def test_encrypting_anew_killed_at_a_system_call(
    name: str, full: bool, tmp_path: Path, modules: Caller, add_row: Callable[[Row], None]
) -> None:
    trial = Trial(tmp_path, modules, STEPS[name])
    points = sample(trial.points, full)
    seen: Counter[str] = Counter()
    bad = []
    for point in points:
        ended, missed = trial.disturbed(point, "signal=KILL")
        seen["killed" if ended.killed else "child killed" if ended.reasons else "went on"] += 1
        bad += [f"{point}: {what}" for what in missed or trial.wrong() or trial.heal()]
    assert not bad, f"{len(bad)} violations:\n" + "\n".join(bad[:20])
    shown = ", ".join(f"{what}: {count}" for what, count in seen.items())
    said = f"{len(points)} of {len(trial.points)} points; {shown}"
    add_row(Row(f"kill -9 at system calls of encrypting anew, {name}", said, rerun="all for today's recipients"))


@pytest.mark.sampled(8)
@pytest.mark.parametrize("error", WORDS)
@pytest.mark.parametrize(("name", "full"), CASES)
def test_disk_full_or_broken_while_it_is_encrypted_anew(
    name: str, error: str, full: bool, tmp_path: Path, modules: Caller, add_row: Callable[[Row], None]
) -> None:
    trial = Trial(tmp_path, modules, STEPS[name])
    points = sample([point for point in trial.points if point.syscall in FAILING], full)
    seen: Counter[str] = Counter()
    bad = []
    for point in points:
        ended, missed = trial.disturbed(point, f"error={error}")
        seen["failed and says so" if ended.reasons else "went on"] += 1
        wrong = trial.wrong()
        wrong += ended.unclear(WORDS[error], trial.scene.folder)
        bad += [f"{point}: {what}" for what in missed or wrong or trial.heal()]
    assert not bad, f"{len(bad)} violations:\n" + "\n".join(bad[:20])
    shown = ", ".join(f"{what}: {count}" for what, count in seen.items())
    said = f"{len(points)} points; {shown}"
    add_row(Row(f"{error} at encrypting anew, {name}", said, rerun="all for today's recipients"))
