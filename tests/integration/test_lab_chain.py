"""The whole chain over real ssh, between the hosts of several sites: what a night leaves, and what it costs."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import pytest
from integration.lab_site import DAY1, DAY2, DAY3, NAMES, LabSite, left_behind, read_again
from integration.site import KINDS, Run, call, git, item_of, tarballs_of, tree_of, unpack
from lab import Lab
from lab.lab_fixture import lab_fixture, needs_namespaces

pytestmark = needs_namespaces
BULK = 6_000_000
PAIRS = {"dayabay": ["cms01", "sdu"], "lingao": ["ntu"]}
TREES = [(source, target) for source, targets in PAIRS.items() for target in targets]

sites = lab_fixture(["dayabay", "lingao", "cms01", "sdu", "ntu"], sources=["dayabay", "lingao"])


@dataclass(repr=False)
class Night:
    """A run, the bytes that each target's link received meanwhile, and what lay there afterwards."""

    run: Run
    received: dict[str, int]
    inodes: dict[tuple[str, str], set[int]]


@dataclass(repr=False)
class Nights:
    """A site after its nights, the same for all tests of this module."""

    site: LabSite
    first: Night
    unchanged: Night
    again: Night
    changed: Night
    touched: list[str]
    leftovers: list[str]


def night_of(site: LabSite, stamp: str) -> Night:
    """Run a night, and count the bytes over the links of the targets."""
    before = {name: site.lab[name].bytes_received() for name in ("cms01", "sdu", "ntu")}
    run = site.run("backup", stamp=stamp)
    received = {name: site.lab[name].bytes_received() - count for name, count in before.items()}
    return Night(
        run, received, {pair: {path.stat().st_ino for path in tarballs_of(site.tree(*pair))} for pair in TREES}
    )


@pytest.fixture(scope="module")
def nights(sites: Lab, live_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Nights:
    """Two sources and three targets at three sites, after a first night, an unchanged one, its repetition, and a changed one."""
    site = LabSite(tmp_path_factory.mktemp("nights"), lab=sites)
    for source, targets in PAIRS.items():
        site.add_source(source, altbackup_targets=targets)
        site.give_all_kinds(source, live_template, BULK)
    for target in ("cms01", "sdu", "ntu"):
        site.add_target(target)
    site.add_sites()
    first, unchanged = night_of(site, DAY1), night_of(site, DAY2)
    folders = [sites[name].data / site.folder.name for name in sites.names]
    before = [tree_of(folder) for folder in folders]
    again = night_of(site, DAY2)
    after = [tree_of(folder) for folder in folders]
    touched = [
        path
        for old, new in zip(before, after, strict=True)
        for path in {**old, **new}
        if old.get(path) != new.get(path)
    ]
    (site.live_of("dayabay") / "folder" / "bulk").write_bytes(os.urandom(BULK))
    changed = night_of(site, DAY3)
    return Nights(site, first, unchanged, again, changed, touched, left_behind(sites, sites.names))


def test_first_night_brings_every_kind_to_every_target(nights: Nights) -> None:
    assert nights.first.run.rc == 0, nights.first.run.stdout
    for source, target in TREES:
        own, copy = nights.site.tree(source), nights.site.tree(source, target)
        relpaths = [path.relative_to(own) for path in tarballs_of(own) if DAY1 in str(path)]
        assert sorted(path.parts[0] for path in relpaths) == ["databases", "folders", "git", "svn", "tracs"]
        assert [path.relative_to(copy) for path in tarballs_of(copy) if DAY1 in str(path)] == relpaths
        assert all((copy / path).read_bytes() == (own / path).read_bytes() for path in relpaths)
    for target, sources in (("cms01", {"dayabay"}), ("sdu", {"dayabay"}), ("ntu", {"lingao"})):
        assert {path.name for path in (nights.site.place(target) / "copies").iterdir()} == sources | {
            ".altbackup",
            "RESTORE.txt",
            "restore.sh",
        }


def test_copies_are_as_their_sidecars_say_and_private(nights: Nights) -> None:
    for source, target in TREES:
        changed = 1 if source == "dayabay" else 0
        for base in (nights.site.tree(source), nights.site.tree(source, target)):
            read_again(base, 3 * len(KINDS))
            assert len({path.stat().st_ino for path in tarballs_of(base)}) == len(KINDS) + changed


@pytest.mark.parametrize(("source", "target"), [("dayabay", "cms01"), ("lingao", "ntu")])
def test_copies_restore_by_plain_tools(nights: Nights, source: str, target: str, tmp_path: Path) -> None:
    live, tree = nights.site.live_of(source), nights.site.tree(source, target)
    top = {kind: unpack(item_of(tree, kind, NAMES[kind])[0], tmp_path / kind) for kind in KINDS}
    assert {kind: path.name for kind, path in top.items()} == {**NAMES, "svn": "dybsvn-3"}
    call("svnadmin", "verify", "--quiet", top["svn"])
    assert call("svnadmin", "dump", "--quiet", top["svn"]) == call("svnadmin", "dump", "--quiet", live / "svn")
    git(top["git"], "fsck", "--strict")
    assert git(top["git"], "for-each-ref") == git(live / "git", "for-each-ref") != ""
    for restored, original in (
        ("trac/dybsvn/db/trac.db", "trac/db/trac.db"),
        ("sqlite/monitor/sqlite.db", "sqlite.db"),
    ):
        assert database_text(tmp_path / restored) == database_text(live / original)
    changed = {"bulk"} if source == "dayabay" else set()
    call("diff", "-r", "--no-dereference", *(f"--exclude={name}" for name in changed), top["folder"], live / "folder")


def database_text(path: Path) -> str:
    """Return a database as SQL."""
    database = sqlite3.connect(path)
    try:
        return "\n".join(database.iterdump())
    finally:
        database.close()


def test_unchanged_night_moves_no_tarball_and_stores_none(nights: Nights) -> None:
    assert nights.unchanged.run.rc == 0, nights.unchanged.run.stdout
    assert nights.site.sent(nights.unchanged.run) == {}
    assert nights.unchanged.inodes == nights.first.inodes
    for target, received in nights.unchanged.received.items():
        print(
            f"{target}: {nights.first.received[target]} bytes on the first night, {received} on the next, {nights.again.received[target]} on its rerun"
        )
        assert received < nights.again.received[target] * 1.2 + 100_000, "no more than a run that has nothing to do"
        assert received < BULK * len([pair for pair in TREES if pair[1] == target]) / 2


def test_rerun_of_a_night_changes_nothing(nights: Nights) -> None:
    assert (nights.again.run.rc, nights.again.run.changed) == (0, 0), nights.again.run.stdout
    assert nights.touched == []


def test_changed_item_alone_is_sent(nights: Nights) -> None:
    assert nights.changed.run.rc == 0, nights.changed.run.stdout
    size = item_of(nights.site.tree("dayabay"), "folder", "svnsetup")[-1].stat().st_size
    assert size > BULK
    assert nights.site.sent(nights.changed.run) == {"cms01": size, "sdu": size}
    more = {
        target: received - nights.unchanged.received[target] for target, received in nights.changed.received.items()
    }
    assert size <= more["cms01"] < 1.1 * size + 500_000
    assert size <= more["sdu"] < 1.1 * size + 500_000
    assert more["ntu"] < 200_000


def test_an_unchanged_pair_takes_seven_module_calls_and_a_changed_one_nine(nights: Nights) -> None:
    always, for_a_target = 4, 3
    changed = {source: 1 + len(targets) if source == "dayabay" else 0 for source, targets in PAIRS.items()}
    for source, targets in PAIRS.items():
        unchanged = always + for_a_target * len(targets)
        for night, wanted in ((nights.unchanged, unchanged), (nights.changed, unchanged + changed[source])):
            calls = [module for host, module, _ in night.run.calls if host == source]
            assert len(calls) == wanted, f"{source} with {len(targets)} targets: {sorted(calls)}"


def test_the_play_of_a_source_takes_at_most_twenty_two_tasks(nights: Nights) -> None:
    for night in (nights.unchanged, nights.changed):
        (play,) = {play for play, _ in night.run.tasks if play.startswith("(2/3)")}
        for source in PAIRS:
            assert 10 < night.run.tasks[play, source] <= 22


def test_nothing_stays_at_work_on_any_host(nights: Nights) -> None:
    assert nights.leftovers == []
