"""Drills over real ssh: a target proves what it received, and one that cannot is told by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from integration.lab_site import DAY1, LabSite
from integration.site import KINDS, tarballs_of
from lab import Lab
from lab.lab_fixture import lab_fixture, needs_namespaces

pytestmark = needs_namespaces

sites = lab_fixture(["dayabay", "cms01", "sdu"], sources=["dayabay"])


def test_targets_prove_what_they_received_and_name_what_they_cannot(
    sites: Lab, live_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    site = LabSite(tmp_path_factory.mktemp("drill"), lab=sites)
    site.add_source("dayabay", altbackup_targets=["cms01", "sdu"])
    for name in ("cms01", "sdu"):
        site.add_target(name)
    site.give_all_kinds("dayabay", live_template)
    assert site.run("backup", stamp=DAY1).rc == 0
    (damaged,) = [path for path in tarballs_of(site.tree("dayabay", "sdu")) if "git" in path.parts]
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    run = site.run("drill", "--limit", "cms01,sdu", stamp=DAY1)
    assert run.rc != 0
    assert run.message.startswith("1 failure:"), run.message
    assert "dayabay -> sdu: drill of git/" in run.message and "does not match its dna" in run.message
    for name, count in (("cms01", len(KINDS)), ("sdu", len(KINDS) - 1)):
        tree = site.tree("dayabay", name)
        assert len(list(tree.glob("*/*/*/*/*/*/*.proof"))) == count
        assert not list((tree.parent / ".altbackup").glob("scratch/**/drill"))
