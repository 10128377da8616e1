"""Rot heals over real ssh, by way of the controller: from a target to the source, and from the source to a target."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.original_trees import put
from integration.lab_site import DAY1, DAY2, QUICK, LabSite
from lab import Lab
from lab.lab_fixture import lab_fixture, needs_namespaces

pytestmark = [needs_namespaces, pytest.mark.full]

hosts = lab_fixture(["dayabay", "cms01"], sources=["dayabay"])
MINE, OTHER = (f"folders/notes/2013/05/{day}/104701/notes.tar.zst" for day in ("05", "06"))
GOOD = {MINE: b"one" * 100_000, OTHER: b"two" * 100_000}


def test_what_rots_comes_back_over_ssh(hosts: Lab, tmp_path_factory: pytest.TempPathFactory) -> None:
    site = LabSite(tmp_path_factory.mktemp("heal"), lab=hosts, limits=QUICK)
    site.add_source("dayabay", altbackup_targets=["cms01"], altbackup_keep=10)
    site.add_target("cms01", altbackup_keep=10)
    trees = {"dayabay": site.tree("dayabay"), "cms01": site.tree("dayabay", "cms01")}
    for tree in trees.values():
        for relpath, content in GOOD.items():
            put(tree, relpath, content)
    rotten(trees["dayabay"] / MINE)
    rotten(trees["cms01"] / OTHER)
    run = site.run("backup", stamp=DAY1, check_scope="all")
    assert run.rc != 0 and "2 failures:" in run.message, run.message
    assert "healed from cms01" in run.message and "healed from dayabay" in run.message
    for tree in trees.values():
        assert {relpath: (tree / relpath).read_bytes() for relpath in GOOD} == GOOD
    assert site.run("backup", stamp=DAY2, check_scope="all").rc == 0


def rotten(path: Path) -> None:
    """Change a byte in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
