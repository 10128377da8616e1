"""A purge reports what it removed, and why; and a reviewed plan limits what goes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.entry_point import PROGRAM, REPOSITORY
from helpers.original_trees import put
from integration.site import Site, tree_of, unwrapped


@pytest.mark.full
def test_what_was_purged_is_told_by_the_report_and_by_last(bare_site: Site) -> None:
    site = bare_site
    live = site.live / "docs"
    live.mkdir(parents=True)
    items = [{"kind": "folder", "name": "docs", "path": str(live)}]
    site.add_source("dayabay", altbackup_targets=["cms01"], altbackup_items=items, altbackup_keep=1)
    site.add_target("cms01", altbackup_keep=1)
    home = site.folder / "home"
    home.mkdir()
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(home),
        "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"),
        "ALTBACKUP_MAIL_TO": "none",
        "ALTBACKUP_HISTORY": str(home / "history"),
    }

    def call(*words: str) -> str:
        done = subprocess.run([PROGRAM, *words], env=environment, capture_output=True, encoding="utf-8")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    playbook, inventory = str(REPOSITORY / "playbooks" / "backup.yml"), str(site.write_inventory())
    for day in ("09", "10"):
        (live / "file").write_text(day * 3000)
        call("run", playbook, "-i", inventory, "-e", f"altbackup_stamp=2013/05/{day}/104701")
    lines = [line.strip() for line in call("last").splitlines()]
    log = next((home / ".local").rglob("runs/*-backup-*"))
    log = max(log.parent.iterdir()) / "stdout"
    purged = json.loads(call("last", "--json"))["purged"]
    assert [(entry["node"], entry["tarballs"], entry["items"]) for entry in purged] == [
        ("dayabay", 1, {"folders/docs": 1}),
        ("cms01", 1, {"folders/docs": 1}),
    ]
    for tree, node, more in (
        ("dayabay", "dayabay", ""),
        ("dayabay -> cms01", "cms01", r" \(\d+ bytes more when the trash is emptied\)"),
    ):
        (line,) = [line for line in lines if line.startswith(f"{tree}: purged 1 tarball on {node}, ")]
        assert re.search(rf" freed{more}: 1 of folders/docs$", line), line
        assert line in unwrapped(log.read_text())


@pytest.mark.full
def test_a_purge_in_check_mode_says_why_and_a_second_call_does_just_that(bare_site: Site) -> None:
    site = bare_site
    items = [{"kind": "folder", "name": "docs", "path": str(site.live / "docs")}]
    base = site.add_source("dayabay", altbackup_targets=["cms01"], altbackup_items=items)
    rules = {"keep": 1, "keep_daily": 0, "keep_weekly": 2, "keep_monthly": 0, "keep_within": 0}
    copies = site.add_target("cms01", **{f"altbackup_{name}": value for name, value in rules.items()}) / "dayabay"
    put(base, "folders/docs/2013/05/11/104701/docs.tar.zst", b"05/11")
    for day in ("04/28", "05/04", "05/05", "05/10", "05/11"):
        put(copies, f"folders/docs/2013/{day}/104701/docs.tar.zst", day.encode())
    file, before = site.folder / "plan.json", tree_of(copies)

    run = site.run("purge", stamp="2013/05/11/104702", purge_plan=str(file))
    assert (run.rc != 0, tree_of(copies) == before) == (True, True)
    assert (
        f"{file} (altbackup_purge_plan) cannot be read (No such file or directory): make it with --check first"
        in run.message
    )

    run = site.run("purge", "--check", stamp="2013/05/11/104702", purge_plan=str(file))
    assert (run.rc, tree_of(copies) == before) == (0, True), run.stdout
    said = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", run.stdout).split())  # long lines are folded there
    assert "dayabay -> cms01: folders/docs: 5 tarballs, 25 bytes, of which 1 would go" in said
    for fate, day, why in (
        ("stays", "05/11", "newest, content 1/1, day 1/1, weekly 1/2"),
        ("waits", "05/10", "no rule demands it, but a run removes at most one more of an item than it added"),
        ("stays", "05/05", "weekly 2/2"),
        ("waits", "05/04", "no rule demands it, but"),
        ("goes", "04/28", "no rule demands it"),
    ):
        digest = hashlib.sha256(day.encode()).hexdigest()[:12]
        assert f"{fate} 2013/{day}/104701/docs.tar.zst 5 {digest} {why}" in said
    plan = json.loads(file.read_text())
    fates: dict[str, list[str]] = {}
    for entry in plan["tarballs"]:
        fates.setdefault(entry["node"], []).append(f"{entry['relpath'].split('/', 3)[3][:5]} {entry['fate']}")
    assert fates["cms01"] == ["05/11 stays", "05/10 waits", "05/05 stays", "05/04 waits", "04/28 goes"]
    assert (fates["dayabay"], file.stat().st_mode & 0o777) == (["05/11 stays"], 0o600)

    run = site.run("purge", stamp="2013/05/11/104703", purge_plan=str(file))
    assert run.rc == 0, run.message
    gone = {path for path in before if path not in tree_of(copies)}
    assert {path for path in gone if path.endswith(".zst")} == {"folders/docs/2013/04/28/104701/docs.tar.zst"}

    before = tree_of(copies)
    run = site.run("purge", stamp="2013/05/11/104704", purge_plan=str(file))
    assert (run.rc != 0, tree_of(copies) == before) == (True, True)
    assert "was not removed, which the reviewed plan says to do: no tarball that counts is there now" in run.message
