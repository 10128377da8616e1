"""Restores over real ssh: the source is gone, and a host that only has an address gets everything back as it was dumped."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from helpers.trees import describe_tree
from integration.lab_site import DAY1, DAY2, DAY3, DAY4, NAMES, QUICK, LabSite, failures_of, left_behind
from integration.site import KINDS, Run, call, git
from lab import Lab
from lab.inventory import connection
from lab.lab_fixture import lab_fixture, needs_namespaces

pytestmark = [needs_namespaces, pytest.mark.full]

hosts = lab_fixture(["dayabay", "cms01", "fresh"], sources=["dayabay"])


def state_of(kind: str, path: Path) -> Any:
    """Return the content of an item of a kind: streams of all revisions, all references, all rows, whole trees."""
    if kind == "svn":
        return call("svnadmin", "dump", "--quiet", path)
    if kind == "git":
        return git(path, "for-each-ref"), git(path, "fsck", "--full", "--strict")
    if kind == "folder":
        return describe_tree(path)
    database = sqlite3.connect(path / "db" / "trac.db" if kind == "trac" else path)
    try:
        rows = "\n".join(database.iterdump())
    finally:
        database.close()
    files = (
        {name: value for name, value in describe_tree(path).items() if b"trac.db" not in name} if kind == "trac" else {}
    )
    return rows, {name: value[:4] for name, value in files.items()}


def trees_of(lab: Lab, folder: str) -> dict[str, Any]:
    """Return everything in a test's folder on every host."""
    return {name: describe_tree(lab[name].data / folder) for name in lab.names if (lab[name].data / folder).exists()}


@dataclass(repr=False)
class Story:
    """The events, in order; each test looks at a part of them."""

    site: LabSite
    dumped: dict[str, Any]
    predicted: Run
    untouched: bool
    restored: Run
    states: dict[str, Any]
    again: Run
    unharmed: bool
    mixed: Run
    renewed: dict[str, Run] = field(default_factory=dict)
    leftovers: list[str] = field(default_factory=list)


def entries(site: LabSite, **more: Any) -> list[dict[str, Any]]:
    """Return an entry for every kind, to be restored to the fresh host."""
    folder = site.place("fresh") / "restored"
    return [
        {"source": "dayabay", "kind": kind, "name": NAMES[kind], "to_host": "fresh", "to": str(folder / kind), **more}
        for kind in KINDS
    ]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of the controller's user, where restores leave their state."""
    folder = tmp_path_factory.mktemp("home")
    before = os.environ["HOME"]
    os.environ["HOME"] = str(folder)
    yield folder
    os.environ["HOME"] = before


@pytest.fixture(scope="module")
def story(hosts: Lab, live_template: Path, home: Path, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """A source is backed up and lost; everything is restored elsewhere, again, aside, in part; then the source is set up anew."""
    site = LabSite(tmp_path_factory.mktemp("restore"), lab=hosts, limits=QUICK)
    site.add_source("dayabay", altbackup_targets=["cms01"])
    site.give_all_kinds("dayabay", live_template)
    site.add_target("cms01")
    site.hosts["fresh"] = {**connection(hosts, hosts["fresh"]), **QUICK}
    site.groups["ungrouped"] = ["fresh"]
    live = site.live_of("dayabay")
    dress(live / "folder")
    dumped = {kind: state_of(kind, live / (f"{kind}.db" if kind == "sqlite" else kind)) for kind in KINDS}
    night = site.run("backup", stamp=DAY1)
    assert night.rc == 0, night.stdout
    hosts["dayabay"].stop_sshd()
    shutil.rmtree(site.place("dayabay"))
    before = trees_of(hosts, site.folder.name)
    predicted = site.run("restore", "--check", restore=entries(site), stamp=DAY2)
    untouched = trees_of(hosts, site.folder.name) == before
    restored = site.run("restore", restore=entries(site, special_modes=True), stamp=DAY2)
    folder = site.place("fresh") / "restored"
    assert restored.rc == 0, restored.stdout
    states = {kind: state_of(kind, folder / kind) for kind in KINDS if (folder / kind).exists()}
    before = describe_tree(folder)
    again = site.run("restore", restore=entries(site), stamp=DAY2)
    unharmed = describe_tree(folder) == before
    svn, trac = entries(site)[:2]
    (folder / "folder" / "users.conf").write_text("[mine]\n")
    mixed = site.run(
        "restore",
        "--diff",
        restore=[
            {**entries(site)[KINDS.index("folder")], "replace": "move_aside"},
            {**svn, "replace": "move_aside"},
            {**trac, "member": "dybsvn/db/trac.db", "to": f"{folder}/trac.db"},
            {**svn, "name": "dybsnv", "to": f"{folder}/x"},
            {**svn, "to_host": "frech", "to": f"{folder}/y"},
            {**svn, "from": "dayabay", "to": f"{folder}/z"},
            {"source": "dayabay", "kind": "git", "name": "toolbox"},
        ],
        stamp=DAY3,
    )
    made = Story(site, dumped, predicted, untouched, restored, states, again, unharmed, mixed)
    made.renewed = renew(site, hosts)
    made.leftovers = left_behind(hosts, ["cms01", "fresh"])
    return made


def dress(folder: Path) -> None:
    """Give a folder owners, modes, attributes and links that must be restored."""
    os.chown(folder / "users.conf", 12345, 54321)
    os.chown(folder / "link", 3000, 4000, follow_symlinks=False)
    os.setxattr(folder / "users.conf", "user.comment", b"binary \0\xff")
    (folder / "users.conf").chmod(0o640)
    (folder / "empty").mkdir(mode=0o710)
    os.utime(folder / "empty", ns=(0, 1_234_567_890_123_456_789))
    (folder / "mode").chmod(0o4711)


def renew(site: LabSite, lab: Lab) -> dict[str, Run]:
    """Give the source's name to the fresh host, restore a repository to its place there, dump, adopt."""
    del site.hosts["fresh"], site.groups["ungrouped"]
    site.hosts["dayabay"]["lab_way"] = connection(lab, lab["fresh"])
    path = site.place("fresh") / "live" / "svn"
    base = site.place("fresh") / "backup"
    notes = path.parent / "notes"
    site.hosts["dayabay"]["altbackup_base"] = str(base)
    site.hosts["dayabay"]["altbackup_items"] = [
        {"kind": "svn", "name": "dybsvn", "path": str(path)},
        {"kind": "folder", "name": "notes", "path": str(notes)},
    ]
    entry = {"source": "dayabay", "kind": "svn", "name": "dybsvn"}
    runs = {"restored": site.run("restore", restore=[entry], stamp=DAY3)}
    (base / ".altbackup").mkdir(parents=True, mode=0o700)
    notes.mkdir()
    (notes / "note").write_text("x")
    runs["skipped"] = site.run("dump", stamp=DAY3)
    runs["adopted"] = site.run("restore", adopt=["dayabay/svn/dybsvn", "dayabay/svn/dybsnv"], stamp=DAY4)
    return runs


def test_check_mode_says_what_would_happen_and_changes_nothing(story: Story) -> None:
    run = story.predicted
    assert run.rc == 0, run.stdout
    assert story.untouched
    said = run.text
    for part in (
        f"would restore svn/dybsvn/{DAY1}/dybsvn-3.tar.zst of dayabay from cms01 to",
        "on fresh, by way of the controller:",
        "no speed was measured yet from cms01 to fresh",
    ):
        assert part in said


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_comes_back_as_it_was_dumped(story: Story, kind: str) -> None:
    assert story.restored.rc == 0, story.restored.stdout
    assert story.states[kind] == story.dumped[kind]


def test_a_restored_copy_bears_a_marker_and_nothing_else_is_left(story: Story) -> None:
    folder = story.site.place("fresh") / "restored"
    markers = {path.name for path in folder.glob("*.altbackup-restored")}
    assert {f"{kind}.altbackup-restored" for kind in KINDS} <= markers
    marker = json.loads((folder / "git.altbackup-restored").read_text())
    assert {name: marker[name] for name in ("source", "item", "stamp", "node", "host")} == {
        "source": "dayabay",
        "item": "git/toolbox",
        "stamp": DAY1,
        "node": "cms01",
        "host": "fresh",
    }
    assert not list(folder.glob(".altbackup-tmp-*"))
    assert story.leftovers == []


def test_the_controller_keeps_nothing_but_the_speed(story: Story, home: Path) -> None:
    assert list((home / ".altbackup" / "restore").iterdir()) == []
    speeds = json.loads((home / ".altbackup" / "restore-speeds.json").read_text())
    assert speeds["cms01 -> fresh"]["bytes"] > 0


def test_a_source_that_is_gone_is_passed_over_and_said(story: Story) -> None:
    assert "passed over dayabay: unreachable: " in story.restored.text


def test_a_second_restore_is_refused_for_each_and_harms_nothing(story: Story) -> None:
    assert (story.again.rc, story.again.changed) == (2, 0)
    assert story.unharmed
    assert story.again.message.startswith(f"{len(KINDS)} failures:")
    assert story.again.message.count("is there already, and a restore replaces nothing by itself") == len(KINDS)


def test_good_entries_go_on_where_others_are_bad(story: Story) -> None:
    folder = story.site.place("fresh") / "restored"
    failures = "\n".join(failures_of(story.mixed).values())
    assert story.mixed.message.startswith("5 failures:"), story.mixed.message
    assert "no node holds what the restore of svn/dybsnv of dayabay needs" in failures
    assert "did you mean 'svn/dybsvn'?" in failures
    assert "to_host 'frech' is no host of the inventory, did you mean 'fresh'?" in failures
    assert "dayabay: unreachable" in failures
    assert "restore: unreachable: " in story.mixed.message, "where it was to go"
    aside = folder / "svn.20130509-104701"
    assert state_of("svn", aside) == state_of("svn", folder / "svn") == story.dumped["svn"]
    assert not [name for name in "xyz" if (folder / name).exists()]


def test_a_folder_that_differs_needs_consent_and_its_lines_are_shown_to_who_asks(story: Story) -> None:
    assert "users.conf differs in content" in story.mixed.message
    assert "[mine]" not in story.mixed.message
    assert "-[mine] +[users]" in story.mixed.text
    users = story.site.place("fresh") / "restored" / "folder" / "users.conf"
    assert users.read_text() == "[mine]\n"


def test_a_member_comes_back_alone(story: Story) -> None:
    folder = story.site.place("fresh") / "restored"
    database = sqlite3.connect(folder / "trac.db")
    try:
        assert "\n".join(database.iterdump()) == story.dumped["trac"][0]
    finally:
        database.close()


def test_a_source_set_up_anew_is_restored_to_its_place(story: Story) -> None:
    run = story.renewed["restored"]
    assert run.rc == 0, run.stdout
    assert "passed over dayabay: base" in run.text
    assert state_of("svn", story.site.place("fresh") / "live" / "svn") == story.dumped["svn"]


def test_a_restored_copy_is_told_every_night_until_it_is_adopted(story: Story) -> None:
    skipped = story.renewed["skipped"]
    (reason,) = failures_of(skipped).values()
    assert "is a copy that was restored at" in reason
    assert "altbackup adopt dayabay/svn/dybsvn -i INVENTORY" in reason
    base = story.site.place("fresh") / "backup"
    assert (base / "folders" / "notes" / DAY3).exists(), "other items go on"
    assert not (base / "svn" / "dybsvn" / DAY3).exists()
    assert (story.renewed["adopted"].rc, story.renewed["adopted"].changed) == (2, 1)
    assert story.renewed["adopted"].message.startswith("1 failure:")
    assert "did you mean 'dayabay/svn/dybsvn'?" in story.renewed["adopted"].message
    assert not (story.site.place("fresh") / "live" / "svn.altbackup-restored").exists()
