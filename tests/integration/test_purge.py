"""What a purge removed is told: in the report of the run, and by `altbackup last`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.entry_point import PROGRAM, REPOSITORY
from integration.site import Site


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
    for tree, node in (("dayabay", "dayabay"), ("dayabay -> cms01", "cms01")):
        (line,) = [line for line in lines if line.startswith(f"{tree}: purged 1 tarball on {node}, ")]
        assert line.endswith(" freed: 1 of folders/docs")
        assert line in log.read_text()
