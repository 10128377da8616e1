"""Restores: a look writes nothing, and one killed anywhere is healed by the next."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from helpers.environments import execute
from helpers.killing import killed_at
from helpers.orders import NOW, order
from helpers.trees import Base, item

from ansible_collections.altbackup.core.plugins.module_utils.restore.order import parse_order
from ansible_collections.altbackup.core.plugins.module_utils.restore.replace import clear
from ansible_collections.altbackup.core.plugins.module_utils.restore.restore import look, prepare, restore
from ansible_collections.altbackup.core.plugins.module_utils.restore.work_folder import discard, working
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import (
    AltbackupError,
    Locked,
)
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.tree.publish import remove_folder


@pytest.fixture
def base(tmp_path: Path) -> Base:
    return Base(tmp_path / "base")


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return tmp_path / "new" / "place" / "thing"


def test_a_look_reads_all_and_writes_nothing(base: Base, tmp_path: Path, destination: Path) -> None:
    (tmp_path / "live").mkdir()
    (tmp_path / "live" / "file").write_text("x")
    tarball = base.dump_one(item("folder", tmp_path / "live"))
    values = {"destination": str(destination), "kind": "folder", "tarballs": [tarball], "base": str(base.path)}
    before = base.files()
    assert look(order(**values), Deadline(60))["changed"] is False
    with pytest.raises(AltbackupError, match="thing/fil"):
        look(order(**values, member="thing/fil"), Deadline(60))
    assert (base.files(), destination.parent.parent.exists()) == (before, False)
    path = Path(tarball["path"])
    path.write_bytes(bytes(tarball["size"]))
    with pytest.raises(AltbackupError, match="does not match its dna"):
        look(order(**values), Deadline(60))


@pytest.mark.full
def test_killed_between_two_entries_or_anywhere_a_rerun_does_what_is_missing(
    base: Base, tmp_path: Path, destination: Path
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    orders = []
    for name in ("one", "two"):
        tarball = base.dump_one(item("folder", tmp_path / name, name))
        values = {"destination": str(destination.parent / name), "kind": "folder", "base": str(base.path)}
        orders.append(parse_order({**values, "tarballs": [tarball], "record": tarball["record"]}, NOW))

    def whole(check: bool = False) -> list[bool]:
        found = []
        for given in orders:
            deadline = time.monotonic() + 20
            while True:
                try:
                    result = prepare(given, check_mode=check)
                    break
                except Locked:  # what a killed one had started ends by itself, and holds the place until then
                    assert time.monotonic() < deadline
                    time.sleep(0.02)
            found.append(bool(result.get("done")))
        for given, is_done in zip(orders, found, strict=True):
            if not is_done and not check:
                assert restore(given, Deadline(60))["changed"]
        return found

    point, seen = 0, set()
    while killed_at(point, whole):
        there = [(destination.parent / name).exists() for name in ("one", "two")]
        assert whole(check=True) == there, f"predicted at point {point}"
        assert whole() == there, f"done at point {point}"
        assert whole() == [True, True]
        seen.add(tuple(there))
        for name in ("one", "two"):
            assert (destination.parent / name / "file").read_text() == name
            remove_folder(str(destination.parent / name))
            Path(f"{destination.parent / name}.altbackup-restored").unlink()
        point += 5
    assert seen >= {(False, False), (True, False)}, seen


@pytest.mark.full
@pytest.mark.parametrize("step", [17, pytest.param(1, marks=pytest.mark.full)])
@pytest.mark.parametrize("kind", ["folder", "sqlite"])
def test_killed_at_points_all_over_a_restore_the_next_one_heals(
    base: Base, tmp_path: Path, destination: Path, kind: str, step: int
) -> None:
    live = tmp_path / "live"
    if kind == "folder":
        live.mkdir()
        (live / "file").write_text("new")
    else:
        execute(live, "CREATE TABLE t (a)")
    tarball = base.dump_one(item(kind, live))
    destination.mkdir(parents=True)
    (destination / "file").write_text("old")
    values = {"destination": str(destination), "kind": kind, "tarballs": [tarball], "base": str(base.path)}
    values |= {"record": tarball["record"], "replace": "move_aside", "consent": True}
    given = parse_order(values, NOW)
    assert given.aside
    aside = Path(given.aside)

    def whole() -> None:
        deadline = time.monotonic() + 20
        while True:  # what a killed one had started ends by itself, and holds the place until then
            try:
                prepare(given)
                restore(given, Deadline(60))
                return
            except Locked:
                assert time.monotonic() < deadline
                time.sleep(0.02)

    point = 0
    while killed_at(point, whole):
        old = [path for path in (destination / "file", aside / "file") if path.exists() and path.read_text() == "old"]
        hidden = [path for path in destination.parent.glob(".altbackup-tmp-*/**/file") if path.read_text() == "old"]
        assert old or hidden, f"lost at point {point}"
        if not aside.exists():
            reasons = []
            try:
                whole()
            except AltbackupError as error:
                reasons.append(str(error))
            assert all("was restored by an attempt that was killed at its end" in reason for reason in reasons)
        assert (aside / "file").read_text() == "old"
        if list(destination.parent.glob(".altbackup-tmp-*")):
            with working(str(destination)) as work:
                clear(work)
                discard(work)
        left = sorted(path.name for path in destination.parent.iterdir())
        assert left == ["thing", aside.name, "thing.altbackup-restored"]
        remove_folder(str(destination)) if kind == "folder" else destination.unlink()
        aside.rename(destination)
        Path(f"{destination}.altbackup-restored").unlink()
        point += step
    print(f"{kind}: {point // step} of {point} points")
    assert point > 20
    assert sorted(path.name for path in destination.parent.iterdir()) == [
        "thing",
        aside.name,
        "thing.altbackup-restored",
    ]
