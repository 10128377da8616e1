"""People's marks on copies in whole playbooks: suspects stop purges until they are accepted, and held copies stay, on absent nodes, too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.original_trees import put
from integration.site import Run, Site, item_of, journal_of

from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.marks import marks_of
from ansible_collections.altbackup.core.plugins.module_utils.tree.publish import write_record

NIGHTS = [f"2013/05/{day:02}/104701" for day in range(1, 6)]
KEY = "folders/notes"
NODES = ("dayabay", "cms01")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A source with one folder and a target: both have three nights, of which the second is suspect."""
    made = Site(tmp_path)
    (tmp_path / "live").mkdir()
    items = [{"kind": "folder", "name": "notes", "path": str(tmp_path / "live")}]
    made.add_source("dayabay", altbackup_targets=["cms01"], altbackup_items=items, altbackup_keep=2)
    made.add_target("cms01", altbackup_keep=2)
    for node in NODES:
        for night in NIGHTS[:3]:
            put(base_of(made, node), f"{KEY}/{night}/notes.tar.zst", night.encode())
        write_record(open_tree(str(base_of(made, node))), KEY, NIGHTS[1], {"suspect": ["entries fell from 300 to 1"]})
    return made


def journal(site: Site) -> Path:
    """Return the path of the controller's journal of marks for this site."""
    return journal_of(site.folder)


def base_of(site: Site, node: str) -> Path:
    return site.folder / node / ("backup" if node == "dayabay" else "copies/dayabay")


def nights_on(site: Site, node: str) -> list[str]:
    return ["/".join(path.parts[-5:-1]) for path in item_of(base_of(site, node), "folder", "notes")]


def back_up(site: Site, night: str) -> Run:
    """Run a night with a content of its own."""
    (site.live / "text").write_text(night)
    return site.run("backup", stamp=night)


@pytest.mark.full
def test_a_suspect_stops_the_purge_until_it_is_accepted_and_what_is_held_stays(site: Site) -> None:
    run = back_up(site, NIGHTS[3])
    assert run.rc == 0, run.message
    assert [nights_on(site, node) for node in NODES] == [NIGHTS[:4]] * 2, "no good copy went"
    for node in NODES:
        told = f"{node}: 1 older copy of {KEY} stays: suspect {KEY}/{NIGHTS[1]}/notes.tar.zst is not accepted: entries fell from 300 to 1"
        assert told in run.text

    copies, away = site.folder / "cms01" / "copies", site.folder / "cms01" / "away"
    copies.rename(away)
    hold = f"{KEY}/{NIGHTS[0]}"
    run = site.run("mark", accept=[f"dayabay/{KEY}"], hold={f"dayabay/{hold}": "before the move"})
    assert run.rc == 0, run.message
    assert f"dayabay: holds {hold}: before the move" in run.text
    assert f"accepts {KEY} up to" in run.text and f"{KEY}/{NIGHTS[1]}/notes.tar.zst" in run.text
    assert "dayabay -> cms01: gets what was marked of dayabay in the next run that reaches it" in run.text
    assert [module for _, module, _ in run.calls] == ["tarball_mark"] * 2
    assert json.loads(journal(site).read_text())["sources"]["dayabay"]["holds"] == {hold: "before the move"}
    away.rename(copies)
    assert marks_of(open_tree(str(base_of(site, "cms01")))).holds == {}

    run = back_up(site, NIGHTS[4])
    assert run.rc == 0, run.message
    for node in NODES:
        assert marks_of(open_tree(str(base_of(site, node)))).holds == {hold: "before the move"}
        assert nights_on(site, node) == [NIGHTS[0], *NIGHTS[3:5]], node

    run = site.run("purge", stamp=NIGHTS[4], release=[f"dayabay/{hold}"])
    assert run.rc == 0, run.message
    assert [nights_on(site, node) for node in NODES] == [NIGHTS[3:5]] * 2


@pytest.mark.full
def test_what_is_suspect_and_what_is_held_is_listed(site: Site) -> None:
    hold = f"{KEY}/{NIGHTS[0]}"
    run = site.run("mark", hold={f"dayabay/{hold}": "before the move"})
    assert run.rc == 0, run.message
    run = site.run("list", list_file=str(site.folder / "list.json"))
    assert run.text.count("verified, hold: before the move") == 2
    listed = json.loads((site.folder / "list.json").read_text())
    assert [(entry["stamp"], entry["state"], entry["hold"]) for entry in listed if entry["node"] == "cms01"] == [
        (NIGHTS[0], "verified", "before the move"),
        (NIGHTS[1], "suspect", ""),
        (NIGHTS[2], "verified", ""),
    ]


@pytest.mark.full
def test_what_cannot_be_marked_is_a_failure_that_says_what_is_meant(site: Site) -> None:
    run = site.run("mark")
    assert run.rc != 0 and "There is nothing to mark: say what with -e" in run.message
    run = site.run("mark", accept=["dayabay/folders/note"])
    assert run.rc != 0 and "did you mean 'dayabay/folders/notes'" in run.message
    assert not journal(site).exists() and run.calls == []
    run = site.run("mark", hold={f"dayabay/{KEY}/{NIGHTS[4]}": "x"})
    assert run.rc != 0
    assert f"{KEY}/{NIGHTS[4]} is held, but no such tarball is there: on dayabay, dayabay -> cms01" in run.message
    before = journal(site).read_text()
    run = site.run("mark", "--check", hold={f"dayabay/{KEY}/{NIGHTS[0]}": "x"})
    assert run.rc == 0, run.message
    assert journal(site).read_text() == before
    assert f"holds {KEY}/{NIGHTS[0]}: x" in run.text
    journal(site).write_text("{")
    run = site.run("list")
    assert run.rc != 0 and f"{journal(site)}, this controller's journal" in run.message and run.calls
