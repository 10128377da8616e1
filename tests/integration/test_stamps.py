"""False stamps in whole playbooks: copies of the future, back-dated ones, and nodes that differ on one stamp."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import put
from helpers.restore_disk import archive
from integration.site import Site, item_of

NIGHTS = ("2013/05/08/104701", "2013/05/09/104701", "2013/05/10/104701")
TONIGHT = "2013/05/11/104701"
KEY = "folders/notes"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A source with one folder, and a target."""
    made = Site(tmp_path)
    (tmp_path / "live").mkdir()
    items = [{"kind": "folder", "name": "notes", "path": str(tmp_path / "live")}]
    made.add_source("dayabay", altbackup_targets=["cms01"], altbackup_items=items)
    made.add_target("cms01", altbackup_keep=3)
    return made


def write(site: Site, text: str) -> None:
    (site.folder / "live" / "text").write_text(text)


def base_of(site: Site, node: str) -> Path:
    return site.folder / node / ("backup" if node == "dayabay" else "copies/dayabay")


def nights(site: Site, *stamps: str) -> None:
    """Run some nights, each with its own content."""
    for stamp in stamps:
        write(site, stamp)
        run = site.run("backup", stamp=stamp)
        assert run.rc == 0, run.message


def stamps_of(base: Path) -> list[str]:
    return ["/".join(path.parts[-5:-1]) for path in item_of(base, "folder", "notes")]


def plant(base: Path, old: str, new: str) -> Path:
    """Copy a tarball with its dna to another stamp; return the folder."""
    folder = base / KEY / new
    shutil.copytree(base / KEY / old, folder)
    return folder


def restored(site: Site, name: str, **entry: Any) -> tuple[Any, Path]:
    """Restore the item beside the nodes; return the run and the destination."""
    to = site.folder / name
    order = {"source": "dayabay", "kind": "folder", "name": "notes", "to": str(to), **entry}
    return site.run("restore", restore=[order]), to


@pytest.mark.full
def test_a_copy_of_a_time_that_has_not_come_counts_nowhere_and_is_a_failure(site: Site) -> None:
    nights(site, NIGHTS[0], NIGHTS[2])
    base = base_of(site, "cms01")
    year = time.strftime("%Y")
    ahead = f"{int(year) + 1}/05/11/104701"
    folder = plant(base, NIGHTS[0], ahead)
    last = base / KEY / "last"
    last.unlink()
    last.symlink_to(ahead)
    told = f"{folder}/notes.tar.zst is stamped later than this run"

    run, to = restored(site, "back")
    assert (run.rc != 0, (to / "text").read_text()) == (True, NIGHTS[2])
    assert told in run.message and "cms01: restore of folders/notes" in run.message

    run = site.run(
        "restore", restore=[{"source": "dayabay", "kind": "folder", "name": "notes", "to": str(to) + "2", "at": ahead}]
    )
    assert run.rc != 0 and not os.path.exists(f"{to}2")

    run = site.run("drill")
    assert run.rc != 0 and run.message.count(told) == 1
    assert not list(folder.glob("*.proof"))
    assert list((base / KEY / NIGHTS[2]).glob("*.proof")), "the newest that counts was drilled"

    run = site.run("list", "--limit", "cms01")
    assert run.rc != 0 and told in run.message and "future" in run.stdout


@pytest.mark.full
def test_backed_up_anew_last_comes_back_and_the_run_tells_of_it_once(site: Site) -> None:
    nights(site, *NIGHTS)
    base = base_of(site, "cms01")
    folder = plant(base, NIGHTS[0], "2999/05/11/104701")
    last = base / KEY / "last"
    last.unlink()
    last.symlink_to("2999/05/11/104701")
    write(site, "new")
    run = site.run("backup", stamp=TONIGHT)
    assert run.rc != 0
    assert run.message.startswith("1 failure:\n") and f"{folder}/notes.tar.zst is stamped later than" in run.message
    assert "dayabay -> cms01: check of folders/notes: " in run.message
    assert os.readlink(last) == TONIGHT
    assert stamps_of(base) == [NIGHTS[1], NIGHTS[2], TONIGHT, "2999/05/11/104701"]


@pytest.mark.full
def test_what_a_source_dates_ahead_is_told_of_the_source_and_reaches_no_target(site: Site) -> None:
    nights(site, *NIGHTS)
    folder = plant(base_of(site, "dayabay"), NIGHTS[0], "2999/05/11/104701")
    write(site, "new")
    run = site.run("backup", stamp=TONIGHT)
    assert run.rc != 0
    assert f"1. dayabay: check of folders/notes: {folder}/notes.tar.zst is stamped later than" in run.message
    assert stamps_of(base_of(site, "cms01")) == [*NIGHTS[1:], TONIGHT]
    assert os.readlink(base_of(site, "dayabay") / KEY / "last") == TONIGHT


@pytest.mark.full
def test_a_rerun_with_an_older_stamp_neither_counts_nor_fails_what_came_after(site: Site) -> None:
    nights(site, *NIGHTS)
    run = site.run("backup", stamp="2013/05/10/000000")
    assert run.rc == 0, run.message
    write(site, "other")
    assert (
        site.run(
            "restore",
            stamp=NIGHTS[1],
            restore=[{"source": "dayabay", "kind": "folder", "name": "notes", "to": str(site.folder / "back")}],
        ).rc
        == 0
    )
    assert (site.folder / "back" / "text").read_text() == NIGHTS[1]


@pytest.mark.full
def test_back_dated_copies_of_a_source_cost_its_targets_nothing_that_came_in_time(site: Site) -> None:
    nights(site, *NIGHTS)
    base = base_of(site, "dayabay")
    for number in range(5):
        plant(base, NIGHTS[0], f"2013/05/{8 + number % 2:02}/12000{number}")
    write(site, "new")
    run = site.run("backup", stamp=TONIGHT)
    assert run.rc == 0, run.message
    assert stamps_of(base_of(site, "cms01")) == [*NIGHTS[1:], TONIGHT]
    write(site, "one more")
    assert site.run("backup", stamp="2013/05/12/104701").rc == 0
    assert stamps_of(base_of(site, "cms01")) == [NIGHTS[2], TONIGHT, "2013/05/12/104701"]


@pytest.mark.full
def test_a_run_removes_one_more_than_it_added_and_the_rest_waits_with_its_number(site: Site) -> None:
    nights(site, *NIGHTS, TONIGHT)
    for settings in site.hosts.values():
        settings["altbackup_keep"] = 1
    run = site.run("purge", stamp="2013/05/11/120000", purge_confirm=True)
    assert run.rc == 0, run.message
    for node in ("dayabay", "cms01"):
        assert stamps_of(base_of(site, node)) == [NIGHTS[2], TONIGHT]
    assert run.stdout.count("1 tarballs in ") == 2
    assert "no longer to be kept, but wait for the next runs (1 of folders/notes): a run removes" in " ".join(
        run.stdout.split()
    )
    assert site.run("purge", stamp="2013/05/11/120001").rc == 0
    assert stamps_of(base_of(site, "cms01")) == [TONIGHT]


@pytest.mark.full
def test_nodes_that_differ_on_one_stamp_are_named_by_check_and_drill_and_refused_by_restore(site: Site) -> None:
    nights(site, NIGHTS[0])
    base = base_of(site, "cms01")
    shutil.rmtree(base / KEY / NIGHTS[0])
    shutil.rmtree(base.parent / ".altbackup" / "records" / "dayabay")
    put(base, f"{KEY}/{NIGHTS[0]}/notes.tar", archive([("notes", None), ("notes/text", b"forged")]))
    said = f"nodes hold different contents under the one stamp {NIGHTS[0]}: cms01 has sha256:"
    for playbook in ("check", "drill"):
        run = site.run(playbook, stamp=NIGHTS[0])
        assert run.rc != 0
        assert f"1. dayabay: check of folders/notes: {said}" in run.message
        assert "; dayabay has sha256:" in run.message
    run, to = restored(site, "back")
    assert run.rc != 0 and not to.exists()
    assert f"is refused: {said}" in run.message
    for node, text in (("dayabay", NIGHTS[0]), ("cms01", "forged")):
        run, to = restored(site, f"from_{node}", **{"from": node})
        assert (run.rc, (to / "text").read_text()) == (0, text)
