"""Silent loss of history, one example of each over the lab: reported in the first night, with every good copy still on all nodes."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from faults.conftest import Row
from faults.invariants import MARKER
from faults.pairs import Pairs, said, short
from integration.lab_site import (
    DAY1,
    DAY2,
    DAY3,
    DAY4,
    LabSite,
    command,
    environment,
    failures_of,
    plant,
    repaired,
    stamps_of,
)
from integration.site import REPOSITORY, Run, item_of
from lab import Lab
from lab.lab_fixture import lab_fixture, needs_namespaces
from lab.namespaced import fast_clock
from simulation.live import KINDS, Live

pytestmark = [needs_namespaces, pytest.mark.full]

sites = lab_fixture(["dayabay", "cms01", "sdu", "ntu"], sources=["dayabay"])
OLD = [f"2013/04/{day:02}/104701" for day in range(20, 28)]
"""Nights before everything that tests do"""
AHEAD = "2999/05/11/104701"
NOON = f"{DAY2[:10]}/120000"
"""A time after the second night"""
WAYS = {
    "unmounted": "a service writes into a path whose disk is not mounted",
    "emptied": "a folder of an item is emptied",
    "ransom": "all files of a folder are encrypted",
    "repointed": "the link that is an item's path leads elsewhere",
    "git recreated": "a Git repository is made anew",
    "git rewritten": "another history is pushed over a Git branch by force",
    "svn recreated": "a Subversion repository is made anew",
    "svn older": "a Subversion repository is restored from long ago, and goes on",
    "rowless": "a database loses its rows",
}


@pytest.fixture
def lab_site(sites: Lab, tmp_path: Path) -> Iterator[LabSite]:
    """A site without hosts, whose lab is repaired afterwards, and whose marks the controller forgets."""
    with repaired(sites, tmp_path) as site:
        yield site


def trees(site: LabSite, *targets: str) -> dict[str, Path]:
    """Return the source's tree and those on its targets, under their names in failures."""
    return {"dayabay": site.tree("dayabay"), **{f"dayabay -> {it}": site.tree("dayabay", it) for it in targets}}


def things(folder: Path) -> dict[str, tuple[dict[str, Any], Live, str]]:
    """Return one live item for each way in which one can go bad, with that way."""
    found = {}
    for name in WAYS:
        kind, _, way = name.rpartition(" ")
        live = next(it for it in KINDS.values() if way in it.ways and kind in ("", it.kind))(folder / name)
        for number in range(4):
            live.change(number)
        found[name] = ({**live.item(), "name": name.replace(" ", "-")}, live, way)
    return found


def test_suspects(lab_site: LabSite, add_row: Callable[[Row], None]) -> None:
    live = things(lab_site.live_of("dayabay"))
    items = [item for item, _, _ in live.values()]
    lab_site.add_source("dayabay", altbackup_targets=["cms01", "sdu"], altbackup_keep=1, altbackup_items=items)
    for name in ("cms01", "sdu"):
        lab_site.add_target(name, altbackup_keep=1)
    pairs = Pairs(lab_site, {"dayabay": ["cms01", "sdu"]})
    first = lab_site.run("backup", stamp=DAY1)
    assert first.rc == 0, first.stdout
    for _, thing, way in live.values():
        thing.spoil(way, 5)
    pairs.look()
    bad = lab_site.run("backup", stamp=DAY2)
    rows = []
    for name, (item, _, _) in live.items():
        words = f"/{item['name']}: the new copy is suspect: "
        seen = f"rc {bad.rc}: {short(_told(bad, words).partition(' is ')[2])}"
        rows.append(Row(WAYS[name], seen, rerun="accepted: the old goes"))
    assert bad.message.startswith(f"{len(rows)} failures:"), f"and nothing else: {bad.message}"
    assert pairs.wrong(healed=True) == []
    for tree in trees(lab_site, "cms01", "sdu").values():
        for item in items:
            assert _nights(tree, item) == [DAY1, DAY2], (tree, item["name"])
    told = lab_site.run("mark", accept=[f"dayabay/{_category(item)}/{item['name']}" for item in items], stamp=NOON)
    assert told.rc == 0, told.message
    for number, (_, thing, _) in enumerate(live.values()):
        thing.accept()
        thing.change(6 + number)
    good = lab_site.run("backup", stamp=DAY3)
    assert good.rc == 0, good.message
    for tree in trees(lab_site, "cms01", "sdu").values():
        for item in items:
            assert _nights(tree, item) == [DAY3], (tree, item["name"])
    for row in rows:
        add_row(row)


def _told(run: Run, words: str) -> str:
    """Return the first line of a run's message with these words, without its number."""
    lines = [line for line in run.message.splitlines() if words in line]
    assert lines, f"{words!r} is not said: {run.message}"
    return re.sub(r"^ *\d+\. ", "", lines[0])


def _category(item: Mapping[str, Any]) -> str:
    return KINDS[item["kind"]].category


def _nights(tree: Path, item: Mapping[str, Any]) -> list[str]:
    return sorted("/".join(path.parts[-5:-1]) for path in item_of(tree, item["kind"], item["name"]))


def test_disks_rules_rot_and_stamps(lab_site: LabSite, add_row: Callable[[Row], None]) -> None:
    """Two targets have other disks than before; the third one, and the source, have everything else."""
    site, targets = lab_site, ("cms01", "sdu", "ntu")
    live = site.live_of("dayabay")
    names = ("mistyped", "rotten", "ahead", "past", "lost")
    items = {name: {"kind": "folder", "name": name, "path": str(live / name), "keep": 10} for name in names}
    for name in names:
        (live / name).mkdir(parents=True)
    _write(live, names, "first")
    site.add_source("dayabay", altbackup_targets=list(targets), altbackup_items=list(items.values()))
    for name in targets:
        site.add_target(name)
    for tree in trees(site, *targets).values():
        for stamp in OLD:
            plant(tree, "folders/mistyped", stamp, stamp.encode())
        plant(tree, "folders/rotten", OLD[0], b"one" * 100_000)
    assert (first := site.run("backup", stamp=DAY1)).rc == 0, first.message
    snapshot = site.place("ntu") / "snapshot"
    _copy(site.place("ntu") / "copies", snapshot)
    _write(live, names, "second")
    assert (second := site.run("backup", stamp=DAY2)).rc == 0, second.message
    _write(live, names, "third")
    pairs = Pairs(site, {"dayabay": ["cms01"]})

    shutil.rmtree(site.place("sdu") / "copies")
    (site.place("sdu") / "copies" / MARKER).mkdir(parents=True, mode=0o700)
    shutil.rmtree(site.place("ntu") / "copies")
    snapshot.rename(site.place("ntu") / "copies")
    rot = item_of(site.tree("dayabay", "cms01"), "folder", "rotten")[0]
    with rot.open("r+b") as stream:
        stream.write(b"O")
    plant(site.tree("dayabay"), "folders/ahead", AHEAD, b"of a time that has not come")
    for stamp in OLD:
        plant(site.tree("dayabay"), "folders/past", stamp, f"forged {stamp}".encode())
    for name in ("ahead", "past"):
        last = site.tree("dayabay") / "folders" / name / "last"
        last.unlink()
        last.symlink_to(DAY2)
    items["mistyped"]["keep"] = 1
    lost = items.pop("lost")
    site.hosts["dayabay"]["altbackup_items"] = list(items.values())
    run = site.run("backup", stamp=DAY3, check_scope="all")
    assert pairs.wrong(healed=True) == []
    told = {
        "an empty disk in the place of a target's": "sdu is not what it was after the run of 2013/05/08/104701",
        "an older state of a target's disk": "ntu is not what it was after the run of 2013/05/08/104701",
        "keep of an item mistyped, 1 for 10": "keep from 10 to 1: 10 tarballs would go",
        "an old copy on a target rots": "healed from dayabay",
        "a copy of a time that has not come on a source": "is stamped later than this run",
        "an item is declared no more": "declared or found no more: folders/lost",
    }
    rows = [Row(fault, f"rc {run.rc}: {short(_told(run, words))}") for fault, words in told.items()]
    assert rot.read_bytes() == b"one" * 100_000
    for where, tree in trees(site, "cms01").items():
        assert _nights(tree, items["mistyped"]) == [*OLD, DAY1, DAY2, DAY3], where
        assert _nights(tree, lost) == [DAY1, DAY2], where
        assert {DAY1, DAY2, DAY3} <= set(_nights(tree, items["past"])), where
    for name in ("sdu", "ntu"):
        assert DAY3 in stamps_of(site.tree("dayabay", name)), "tonight's copies go to any disk"
    past = "many copies of the past forged on a source"
    rows.append(Row(past, f"rc {run.rc}, nothing is said of it: what came in time stays"))

    shutil.rmtree(site.tree("dayabay") / "folders/ahead" / AHEAD.partition("/")[0])
    site.hosts["dayabay"]["altbackup_retired"] = {"folders/lost": "2013/05/09"}
    _write(live, names, "fourth")
    again = site.run("backup", stamp=DAY4, adopt=["sdu", "ntu"], purge_confirm=True)
    assert again.rc == 0, again.message
    source = set(stamps_of(site.tree("dayabay")))
    for name in ("sdu", "ntu"):
        assert {DAY1, DAY2, DAY3, DAY4} <= set(_nights(site.tree("dayabay", name), items["rotten"])), name
    assert len(_nights(site.tree("dayabay"), items["mistyped"])) == 11 + 1 - 2, "one more goes than came"
    assert source
    for row in rows:
        add_row(Row(row.fault, row.seen, rerun="accepted: rc 0, filled again"))


def _write(live: Path, names: tuple[str, ...], text: str) -> None:
    for name in names:
        (live / name / "note").write_text(f"{text} of {name}\n")


def _copy(one: Path, other: Path) -> None:
    subprocess.run(["cp", "-a", "--", one, other], check=True)


def test_controller_whose_clock_jumps(lab_site: LabSite, add_row: Callable[[Row], None]) -> None:
    site = lab_site
    site.add_source("dayabay", altbackup_targets=["cms01"], altbackup_keep=1)
    site.add_target("cms01", altbackup_keep=1)
    for tree in trees(site, "cms01").values():
        for stamp in OLD:
            plant(tree, "folders/notes", stamp, stamp.encode())
    words = command(site, "ansible-playbook", str(REPOSITORY / "playbooks/backup.yml"))
    clock = dict(word.split("=", 1) for word in fast_clock(40 * 86400))
    done = subprocess.run(
        words, env={**environment(), **clock}, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode != 0 and " s apart: this node's says " in done.stdout, done.stdout[-3000:]
    for where, tree in trees(site, "cms01").items():
        assert set(OLD) < set(stamps_of(tree)), where
    run = site.run("backup")
    for where, tree in trees(site, "cms01").items():
        assert "is stamped later than this run" in failures_of(run)[where], where
        assert len(stamps_of(tree)) == len(OLD) + 2 - 2, where
    seen = f"the clocks are so far apart, nothing is removed; the next night {said(run, 'dayabay', 'stamped later')}"
    add_row(Row("controller whose clock jumps by 40 days for a night", seen, rerun="purges by its own stamp"))
