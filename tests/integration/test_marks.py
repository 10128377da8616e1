"""What people say of copies, by whole playbooks: suspects stop purges until they are accepted, and what is held stays, on absent nodes, too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.site import Site, item_of

from ansible_collections.altbackup.core.plugins.module_utils.system.own_state import state_folder
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.marks import marks_of
from ansible_collections.altbackup.core.plugins.module_utils.tree.publish import read_record, write_record
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.journal import FOLDER, journal_name

NIGHTS = [f"2013/05/{day:02}/104701" for day in range(1, 6)]
KEY = "folders/notes"
NODES = ("dayabay", "cms01", "sdu")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A source with one folder, and two targets."""
    made = Site(tmp_path)
    (tmp_path / "live").mkdir()
    items = [{"kind": "folder", "name": "notes", "path": str(tmp_path / "live")}]
    made.add_source("dayabay", altbackup_targets=["cms01", "sdu"], altbackup_items=items, altbackup_keep=2)
    made.add_target("cms01", altbackup_keep=2)
    made.add_target("sdu", altbackup_keep=2)
    yield made
    journal(made).unlink(missing_ok=True)


def journal(site: Site) -> Path:
    """Return where the controller notes what it was told of this site."""
    return Path(state_folder(), FOLDER, journal_name(str(site.folder / "inventory" / "hosts.yml")))


def base_of(site: Site, node: str) -> Path:
    return site.folder / node / ("backup" if node == "dayabay" else "copies/dayabay")


def nights_on(site: Site, node: str) -> list[str]:
    return ["/".join(path.parts[-5:-1]) for path in item_of(base_of(site, node), "folder", "notes")]


def fill(site: Site, files: int, text: str) -> None:
    """Let the live folder have so many files."""
    for path in site.live.iterdir():
        path.unlink()
    for number in range(files):
        (site.live / f"file{number}").write_text(f"{text} {number}\n")


def make_suspect(site: Site, stamp: str) -> None:
    """Let the records of a night say that it is suspect, on all nodes, as those of a dump that found it so do."""
    for node in NODES:
        tree = open_tree(str(base_of(site, node)))
        record = {"suspect": ["entries fell from 300 to 1"], **read_record(tree, KEY, stamp)}
        write_record(tree, KEY, stamp, record)


@pytest.mark.full
def test_suspects_stop_purges_until_they_are_accepted_and_what_is_held_stays(site: Site) -> None:
    fill(site, 300, NIGHTS[0])
    run = site.run("backup", stamp=NIGHTS[0])
    assert run.rc == 0, run.message
    fill(site, 1, NIGHTS[1])
    site.run("backup", stamp=NIGHTS[1])
    make_suspect(site, NIGHTS[1])
    for night in NIGHTS[2:4]:
        fill(site, 300, night)
        run = site.run("backup", stamp=night)
    for node in NODES:
        assert nights_on(site, node) == NIGHTS[:4], f"a good copy went on {node}"
    assert f"1 older copy of {KEY} stays: suspect {KEY}/{NIGHTS[1]}/notes.tar.zst is not accepted" in run.stdout
    assert "ansible-playbook -i INVENTORY altbackup.core.mark -e" in run.stdout

    run = site.run("list", list_file=str(site.folder / "list.json"))
    listed = json.loads((site.folder / "list.json").read_text())
    assert {entry["state"] for entry in listed if entry["stamp"] == NIGHTS[1]} == {"suspect"}

    away = site.folder / "sdu" / "copies"
    away.rename(site.folder / "sdu" / "away")
    hold = f"{KEY}/{NIGHTS[0]}"
    run = site.run("mark", accept=[f"dayabay/{KEY}"], hold={f"dayabay/{hold}": "before the move"})
    assert run.rc == 0, run.message
    assert f"cms01: holds {hold}: before the move" in run.stdout
    assert "gets what was marked of dayabay in the next run that reaches it" in run.stdout
    assert [module for _, module, _ in run.calls] == ["tarball_mark"] * 3
    assert json.loads(journal(site).read_text())["sources"]["dayabay"]["holds"] == {hold: "before the move"}
    (site.folder / "sdu" / "away").rename(away)
    assert marks_of(open_tree(str(base_of(site, "sdu")))).holds == {}

    fill(site, 300, NIGHTS[4])
    run = site.run("backup", stamp=NIGHTS[4])
    assert run.rc == 0, run.message
    for node in NODES:
        assert marks_of(open_tree(str(base_of(site, node)))).holds == {hold: "before the move"}
        assert nights_on(site, node) == [NIGHTS[0], *NIGHTS[3:5]], node
    run = site.run("list")
    assert (run.rc, run.stdout.count("verified, hold: before the move")) == (0, 3)

    run = site.run("purge", stamp=NIGHTS[4], release=[f"dayabay/{hold}"])
    assert run.rc == 0, run.message
    assert [nights_on(site, node) for node in NODES] == [NIGHTS[3:5]] * 3


@pytest.mark.full
def test_what_cannot_be_marked_is_a_failure_that_says_what_is_meant(site: Site) -> None:
    fill(site, 3, NIGHTS[0])
    assert site.run("backup", stamp=NIGHTS[0]).rc == 0
    run = site.run("mark")
    assert run.rc != 0 and "There is nothing to mark: say what with -e" in run.message
    run = site.run("mark", accept=["dayabay/folders/note"])
    assert run.rc != 0 and "did you mean 'dayabay/folders/notes'" in run.message
    assert not journal(site).exists() and run.calls == []
    run = site.run("mark", hold={f"dayabay/{KEY}/{NIGHTS[1]}": "x"})
    assert (
        run.rc != 0
        and f"{KEY}/{NIGHTS[1]} is held, but no such tarball is there: on dayabay, dayabay -> cms01" in run.message
    )
    before = journal(site).read_text()
    run = site.run("mark", "--check", hold={f"dayabay/{KEY}/{NIGHTS[0]}": "x"})
    assert run.rc == 0, run.message
    assert journal(site).read_text() == before
    assert f"holds {KEY}/{NIGHTS[0]}: x" in run.stdout
    journal(site).write_text("{")
    run = site.run("backup", stamp=NIGHTS[0])
    assert run.rc != 0 and f"{journal(site)}, this controller's journal" in run.message and run.calls
