"""What runs leave on the controller, and what `altbackup` shows of it: by whole playbooks under the entry point."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import time
from contextlib import closing
from typing import Any

import pytest
from helpers.entry_point import PROGRAM
from helpers.page_reader import Page, pages_of
from integration.site import Site

from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import stamp_at

ITEM = "dayabay/folders/notes"


@pytest.fixture
def site(bare_site: Site) -> Site:
    """A source with one folder, and a target."""
    live = bare_site.folder / "live"
    live.mkdir()
    (live / "text").write_text("x" * 1000)
    items = [{"kind": "folder", "name": "notes", "path": str(live)}]
    bare_site.add_source("dayabay", altbackup_targets=["cms01"], altbackup_items=items)
    bare_site.add_target("cms01", altbackup_max_age="2d")
    bare_site.write_inventory()
    return bare_site


def call(site: Site, *words: str) -> subprocess.CompletedProcess[str]:
    """Call the entry point as a user of this site."""
    own = {"ALTBACKUP_HISTORY": str(site.folder / "history"), "ALTBACKUP_ARTIFACTS": str(site.folder / "state")}
    environment = {
        **os.environ,
        **own,
        "PATH": f"{site.programs}:{os.environ['PATH']}",
        "ALTBACKUP_INVENTORY": str(site.folder / "inventory"),
        "ALTBACKUP_MAIL_TO": "none",
    }
    return subprocess.run(
        [str(PROGRAM), *words], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )


def rows(site: Site, query: str) -> list[dict[str, Any]]:
    """Return the rows of a query on the one history."""
    (path,) = (site.folder / "history").glob("*.sqlite")
    with closing(sqlite3.connect(path)) as database:
        database.row_factory = sqlite3.Row
        return [dict(row) for row in database.execute(query)]


def status(site: Site, *words: str) -> tuple[int, dict[str, Any]]:
    """Return the exit code and the output of status."""
    done = call(site, "status", "--json", *words)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def pages(site: Site) -> list[Page]:
    """Return the written pages, which must be sound: the first one, then those of items."""
    found = pages_of(site.folder / "page")
    assert [link for page in found.values() for link in page.dead_links()] == []
    return list(found.values())


@pytest.mark.full
@pytest.mark.slow
def test_the_page_of_nights_with_a_suspect_a_hold_and_a_target_that_was_away(site: Site) -> None:
    live = site.folder / "live"
    for number in range(300):
        (live / f"file {number}").write_text(f"content {number}\n")
    page = site.folder / "page"
    stamps = [stamp_at(time.time() - back * 86400, "UTC") for back in (3, 2, 1, 0)]

    def run(stamp: str, code: int) -> None:
        done = call(site, "run", "backup", "-e", f"altbackup_stamp={stamp}", "-e", f"altbackup_report_dir={page}")
        assert done.returncode == code, done.stdout + done.stderr

    run(stamps[0], 0)
    assert call(site, "hold", "notes", "--at", stamps[0]).returncode == 0
    (live / "text").write_text("another content")
    run(stamps[1], 0)
    index, item = pages(site)
    assert "all is well" not in index.text and "NOT well" in index.text, "the newest is two days old"
    assert f"{ITEM} dayabay {stamps[0]}" in index.text and "2 of 2 nights" in item.text
    for number in range(280):
        (live / f"file {number}").unlink()
    run(stamps[2], 2)
    index, item = pages(site)
    assert f"{ITEM} has no new good copy and is suspect" in index.text and "entries fell from" in index.text
    assert "2 of 3 nights" in item.text and f"{stamps[2][:10]} cms01 suspect: " in item.text
    assert call(site, "accept", "notes").returncode == 0
    (site.folder / "cms01" / "copies").rename(site.folder / "cms01" / "away")
    (live / "text").write_text("yet another content")
    run(stamps[3], 2)
    index, item = pages(site)
    assert "dayabay -> cms01 could not be used" in index.text and "has no marker" in index.text
    assert f"{stamps[3][:10]} cms01 failed: " in item.text
    before = {path: path.read_bytes() for path in page.rglob("*.html")}
    (page / "index.html").unlink()
    (page / "items").chmod(0o700)
    done = call(site, "report", "--html", str(page))
    assert (done.returncode, done.stdout) == (0, f"{page / 'index.html'}\n"), done.stderr
    assert set(before) == set(page.rglob("*.html"))
    assert f"nights since {stamps[0][:10]} left a good copy" in pages(site)[1].text
    refused = call(site, "report", "--html", str(live))
    assert refused.returncode == 1 and "holds other things" in refused.stderr
    noted = call(site, "run", "list", "-e", f"altbackup_report_dir={live}")
    assert "the page was not written" in call(site, "log").stdout
    assert noted.returncode == call(site, "run", "list").returncode


@pytest.mark.full
@pytest.mark.slow
def test_a_night_leaves_its_record_which_is_told_lost_and_rebuilt(site: Site) -> None:
    done = call(site, "run", "backup", "-e", f"altbackup_report_dir={site.folder / 'page'}")
    assert (done.returncode, done.stderr) == (0, "")
    index, item = pages(site)
    assert "all is well: 2 copies of 1 item on 2 nodes" in index.text and "1 of 1 night" in item.text
    (folder,) = (site.folder / "state" / "runs").iterdir()
    (run,) = rows(site, "SELECT * FROM runs")
    assert {name: run[name] for name in ("playbook", "state", "exit_code", "failures", "folder", "inventory")} == {
        "playbook": "backup.yml",
        "state": "good",
        "exit_code": 0,
        "failures": 0,
        "folder": str(folder),
        "inventory": str(site.folder / "inventory"),
    }
    assert f"{PROGRAM} run backup" in run["command"] and run["ended"] > run["started"]
    copies = {row["node"]: row for row in rows(site, "SELECT * FROM copies")}
    size = copies["dayabay"]["size"]
    assert {name: copies["dayabay"][name] for name in ("dumped", "checked", "stamp")} == {
        "dumped": 1,
        "checked": 1,
        "stamp": run["stamp"],
    }
    assert {name: copies["cms01"][name] for name in ("sent", "size", "checked", "stamp", "suspect")} == {
        "sent": size,
        "size": size,
        "checked": 1,
        "stamp": run["stamp"],
        "suspect": "",
    }
    trees = {row["node"]: row for row in rows(site, "SELECT * FROM trees")}
    assert trees["cms01"]["sent"] == size and all(row["free"] > 0 and row["whole"] for row in trees.values())
    assert [trees[node]["max_age"] for node in ("dayabay", "cms01")] == [129600, 172800]

    code, told = status(site)
    assert (code, told["well"], [entry["item"] for entry in told["copies"]]) == (0, True, [ITEM] * 2)
    assert call(site, "log").stdout == (folder / "stdout").read_text()

    shutil.rmtree(site.folder / "history")
    assert call(site, "status").returncode == 1
    code, again = status(site, "--rebuild")
    assert code == 0
    for before, after in zip(told["copies"], again["copies"], strict=True):
        assert {**after, "age": 0} == {**before, "age": 0}
    assert [(row["playbook"], row["rebuilt"]) for row in rows(site, "SELECT * FROM runs ORDER BY started")] == [
        ("backup.yml", 1),
        ("list.yml", 0),
    ]

    (site.folder / "live" / "text").write_text("y" * 1000)
    (site.folder / "cms01" / "copies").rename(site.folder / "cms01" / "away")
    assert call(site, "run", "backup").returncode == 2
    code, told = status(site)
    assert (code, told["well"], told["runs"][0]["state"]) == (1, False, "failed")
    assert any(fault.startswith("dayabay -> cms01: ") for fault in told["faults"]), told["faults"]
    new, old = (entry["stamp"] for entry in told["copies"])
    assert new > old == run["stamp"], "the source has a copy of tonight, the target that of before"
