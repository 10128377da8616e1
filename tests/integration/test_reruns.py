"""A restore of several entries that is killed: the same command again does what is missing."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.site import REPOSITORY, Site, tree_of

from ansible_collections.altbackup.core.plugins.module_utils.system import own_state
from ansible_collections.altbackup.core.plugins.module_utils.tree import completed

DAY = "2013/05/08/104701"
NAMES = ("one", "two")


@pytest.fixture
def entries(tmp_path: Path) -> Iterator[list[dict[str, Any]]]:
    """Entries to restore two folders; their remembered state is removed at the end."""
    places = {name: tmp_path / "new" / name for name in NAMES}
    yield [{"source": "dayabay", "kind": "folder", "name": name, "to": str(places[name])} for name in NAMES]
    for place in places.values():
        Path(own_state.state_folder(), "restored", completed._key(str(place))).unlink(missing_ok=True)


@pytest.fixture
def dumped(tmp_path: Path) -> Site:
    """A site with a night's tarballs of two folders."""
    site = Site(tmp_path)
    for name in NAMES:
        (site.live / name).mkdir(parents=True)
        (site.live / name / "file").write_text(name)
    items = [{"kind": "folder", "name": name, "path": str(site.live / name)} for name in NAMES]
    site.add_source("dayabay", altbackup_items=items, altbackup_targets=["cms01"])
    site.add_target("cms01")
    assert site.run("backup", stamp=DAY).rc == 0
    return site


def words(text: str) -> str:
    """Return a text without colours and line breaks."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).split())


def with_all_below(process: int) -> list[int]:
    """Return a process and all its descendants."""
    children: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            fields = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(name))
    found = [process]
    for each in found:
        found += children.get(each, [])
    return found


def kill_once_there(site: Site, entries: list[dict[str, Any]], place: Path) -> None:
    """Run a restore and kill it, with all its descendants, once something stands at a place."""
    command = [site.programs / "ansible-playbook", "-i", site.write_inventory(), REPOSITORY / "playbooks/restore.yml"]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"), "ALTBACKUP_MAIL_TO": "none"}
    run = subprocess.Popen(
        [*command, "-e", json.dumps({"altbackup_restore": entries})],
        env={**environment, "PATH": f"{site.programs}:{os.environ['PATH']}"},
        stdout=subprocess.DEVNULL,
        cwd=site.folder,
    )
    while not place.exists():
        assert run.poll() is None, "it ended before"
        time.sleep(0.002)
    for process in with_all_below(run.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL


@pytest.mark.full
def test_a_restore_that_was_killed_between_two_entries_is_finished_by_a_rerun(
    dumped: Site, entries: list[dict[str, Any]]
) -> None:
    one, two = (Path(entry["to"]) for entry in entries)
    kill_once_there(dumped, entries, one)
    assert not two.exists()
    inode = one.stat().st_ino
    predicted = dumped.run("restore", "--check", restore=entries)
    assert predicted.rc == 0, predicted.stdout
    said = words(predicted.stdout)
    assert f"{one} is already restored" in said
    assert f"to {two} on dayabay" in said
    assert f"to {one} on dayabay" not in said
    rerun = dumped.run("restore", restore=entries)
    assert rerun.rc == 0, rerun.stdout
    said = words(rerun.stdout)
    assert f"{one} is already restored (folders/one of dayabay, {DAY}, from " in said
    assert f"{two} is already restored" not in said
    assert one.stat().st_ino == inode
    assert [(path / "file").read_text() for path in (one, two)] == ["one", "two"]
    before = tree_of(one.parent)
    again = dumped.run("restore", restore=entries)
    assert again.rc == 0, again.stdout
    for place in (one, two):
        assert f"{place} is already restored" in words(again.stdout)
    assert tree_of(one.parent) == before
    (two / "file").write_text("changed")
    refused = dumped.run("restore", restore=entries)
    assert refused.rc != 0
    assert f"{two} is there already" in refused.message
    assert "but it was changed since" in refused.message
    assert f"{one} is there already" not in refused.message
