"""Hooks in whole nights: what is told of them, and that a run that is killed leaves nothing stopped."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.waiting import wait_until
from integration.site import REPOSITORY, ZONE, Site, tarballs_of, unwrapped

DAY1, DAY2, DAY3, DAY4 = (f"2013/05/{day:02}/104701" for day in (8, 9, 10, 11))
WRITE = """
import os, sys, time
with open(sys.argv[1], "a") as stream:
    stream.write(f"{sys.argv[2]} {os.environ['ALTBACKUP_ITEM']} {os.environ['ALTBACKUP_STATE']}\\n")
if sys.argv[2] == "before":
    while os.path.exists(sys.argv[1] + ".hang"):
        time.sleep(0.01)
    if os.path.exists(sys.argv[1] + ".code"):
        print("the wiki is being upgraded")
        sys.exit(int(open(sys.argv[1] + ".code").read()))
"""


@pytest.fixture
def wiki(bare_site: Site) -> Site:
    """A source with a wiki that is to stand still, and another item."""
    live = bare_site.live
    for name in ("wiki", "other"):
        (live / name).mkdir(parents=True)
        (live / name / "file").write_text(name)
    program = bare_site.folder / "program.py"
    program.write_text(WRITE)
    words = [sys.executable, str(program), str(bare_site.folder / "log")]
    hooks = {when: [[*words, when]] for when in ("before", "after", "on_failure")}
    items = [
        {"kind": "folder", "name": "wiki", "path": str(live / "wiki"), **hooks},
        {"kind": "folder", "name": "other", "path": str(live / "other")},
    ]
    bare_site.add_source("dayabay", altbackup_targets=["cms01"], altbackup_items=items)
    bare_site.add_target("cms01")
    return bare_site


def said(site: Site) -> list[str]:
    """Return what the hooks wrote down, and forget it."""
    log = site.folder / "log"
    lines = log.read_text().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return lines


@pytest.mark.full
def test_nights_with_hooks(wiki: Site) -> None:
    foretold = wiki.run("backup", "--check", stamp=DAY1)
    assert foretold.rc == 0 and said(wiki) == []
    told = unwrapped(foretold.stdout)
    assert "folders/wiki: before would run" in told and "check mode runs none" in told

    assert wiki.run("backup", stamp=DAY1).rc == 0
    assert said(wiki) == ["before folders/wiki begun", "after folders/wiki done"]
    assert wiki.run("backup", stamp=DAY1).rc == 0
    assert said(wiki) == []

    code = wiki.folder / "log.code"
    code.write_text("75")
    busy = wiki.run("backup", stamp=DAY2)
    assert busy.rc == 0, busy.stdout
    told = unwrapped(busy.stdout)
    assert "folders/wiki: not now" in told and "the wiki is being upgraded" in told
    assert said(wiki) == ["before folders/wiki begun", "after folders/wiki skipped"]
    target = wiki.folder / "cms01" / "copies" / "dayabay"
    assert [path.parts[-6] for path in tarballs_of(target) if "/".join(path.parts[-5:-1]) == DAY2] == ["other"]

    late = wiki.run("backup", stamp=DAY3)
    assert late.rc != 0 and "older than 36 h" in late.message
    assert said(wiki)[-1] == "on_failure folders/wiki failed"

    code.write_text("1")
    failed = wiki.run("backup", stamp=DAY4)
    assert failed.rc != 0 and "the wiki is being upgraded" in failed.message
    assert failed.message.startswith("1 failure:")  # the tarball that is missing follows from it
    assert said(wiki) == ["before folders/wiki begun", "after folders/wiki failed", "on_failure folders/wiki failed"]
    assert DAY4 in {"/".join(path.parts[-5:-1]) for path in tarballs_of(target)}


@pytest.mark.full
def test_a_controller_that_is_killed_leaves_nothing_stopped(wiki: Site) -> None:
    hang = wiki.folder / "log.hang"
    hang.touch()
    playbook = [str(wiki.programs / "ansible-playbook"), "-i", str(wiki.write_inventory())]
    run = subprocess.Popen(
        [*playbook, str(REPOSITORY / "playbooks" / "backup.yml"), "-e", json.dumps({"altbackup_stamp": DAY1})],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **wiki.mail, **ZONE, "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg")},
        start_new_session=True,
    )
    log = wiki.folder / "log"
    assert wait_until(log.exists, 120)
    for pid in _group(run.pid):
        os.kill(pid, signal.SIGKILL)
    run.wait()
    hang.unlink()
    assert wait_until(lambda: "after" in log.read_text(), 30)
    said(wiki)
    assert wiki.run("backup", stamp=DAY2).rc == 0


def _group(pid: int) -> list[int]:
    """Return the processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(path.read_text().rpartition(")")[2].split()[3]) == pid:
                found.append(int(path.parent.name))
        except (OSError, ValueError):
            continue
    return found


@pytest.mark.full
def test_an_application_of_files_and_a_database_is_one_thing(bare_site: Site) -> None:
    live, log = bare_site.live, bare_site.folder / "log"
    (live / "files").mkdir(parents=True)
    (live / "files" / "page").write_text("as of the first night")
    with sqlite3.connect(live / "db") as database:
        database.execute("CREATE TABLE t (x)")
        database.execute("INSERT INTO t VALUES ('as of the first night')")
    database.close()
    program = bare_site.folder / "program.py"
    program.write_text(WRITE)
    words = [sys.executable, str(program), str(log)]
    members = [
        {"kind": "sqlite", "name": "wiki", "path": str(live / "db")},
        {"kind": "folder", "name": "wiki", "path": str(live / "files")},
    ]
    wiki = {
        "kind": "set",
        "name": "wiki",
        "members": members,
        "before": [[*words, "before"]],
        "after": [[*words, "after"]],
    }
    bare_site.add_source("dayabay", altbackup_targets=["cms01"], altbackup_items=[wiki])
    bare_site.add_target("cms01")
    assert bare_site.run("backup", stamp=DAY1).rc == 0
    assert said(bare_site) == ["before sets/wiki begun", "after sets/wiki done"]
    target = bare_site.folder / "cms01" / "copies" / "dayabay"
    assert sorted(path.parts[-7] for path in tarballs_of(target)) == ["databases", "folders", "sets"]

    (live / "files" / "page").write_text("later")
    (live / "db").write_text("no database")
    broken = bare_site.run("backup", stamp=DAY2)
    assert broken.rc != 0 and "its member databases/wiki was not copied" in broken.message
    there = {(path.parts[-7], path.parts[-3]) for path in tarballs_of(target)}
    assert ("folders", "09") in there and ("sets", "09") not in there

    entry = {"source": "dayabay", "kind": "set", "name": "wiki", "from": "cms01", "to": str(bare_site.folder / "back")}
    restored = bare_site.run("restore", restore=[entry])
    assert restored.rc == 0, restored.stdout
    assert (bare_site.folder / "back" / "folders" / "wiki" / "page").read_text() == "as of the first night"
    with sqlite3.connect(bare_site.folder / "back" / "databases" / "wiki") as database:
        assert database.execute("SELECT x FROM t").fetchall() == [("as of the first night",)]
    database.close()
