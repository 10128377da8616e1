"""What runs leave on the controller, and what `altbackup` tells of it: by whole playbooks under the entry point."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from typing import Any

import pytest
from helpers.entry_point import PROGRAM
from integration.site import Site

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
    """Return what a query finds in the one history."""
    (path,) = (site.folder / "history").glob("*.sqlite")
    with closing(sqlite3.connect(path)) as database:
        database.row_factory = sqlite3.Row
        return [dict(row) for row in database.execute(query)]


def status(site: Site, *words: str) -> tuple[int, dict[str, Any]]:
    """Return the exit code of status, and what it tells."""
    done = call(site, "status", "--json", *words)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.slow
def test_a_night_leaves_its_record_which_is_told_lost_and_rebuilt(site: Site) -> None:
    done = call(site, "run", "backup")
    assert (done.returncode, done.stderr) == (0, "")
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
