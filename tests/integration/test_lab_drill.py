"""Drills over real ssh: a target proves what it received, or a scratch host does for it; what cannot be proved is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.drills import recompute
from integration.lab_site import DAY1, QUICK, LabSite
from integration.site import KINDS, tarballs_of
from lab import Lab
from lab.lab_fixture import lab_fixture, needs_namespaces

pytestmark = [needs_namespaces, pytest.mark.full]

sites = lab_fixture(["dayabay", "cms01", "sdu"], sources=["dayabay"])


@pytest.fixture(scope="module")
def site(sites: Lab, live_template: Path, tmp_path_factory: pytest.TempPathFactory) -> LabSite:
    """Return a site with a source of all kinds and two targets, after a night's backup."""
    site = LabSite(tmp_path_factory.mktemp("drill"), lab=sites, limits=QUICK)
    site.add_source("dayabay", altbackup_targets=["cms01", "sdu"])
    for name in ("cms01", "sdu"):
        site.add_target(name)
    site.give_all_kinds("dayabay", live_template)
    assert site.run("backup", stamp=DAY1).rc == 0
    return site


def git_of(tree: Path) -> Path:
    """Return the tarball of the git item in a tree."""
    (path,) = [path for path in tarballs_of(tree) if "git" in path.parts]
    return path


def proofs_in(tree: Path) -> list[Path]:
    """Return the proofs in a tree."""
    return list(tree.glob("*/*/*/*/*/*/*.proof"))


def test_targets_prove_what_they_received_and_name_what_they_cannot(site: LabSite) -> None:
    damaged = git_of(site.tree("dayabay", "sdu"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    run = site.run("drill", "--limit", "cms01,sdu", stamp=DAY1)
    assert run.rc != 0
    assert run.message.startswith("1 failure:"), run.message
    assert "dayabay -> sdu: drill of git/" in run.message and "does not match its dna" in run.message
    for name, count in (("cms01", len(KINDS)), ("sdu", len(KINDS) - 1)):
        tree = site.tree("dayabay", name)
        assert len(proofs_in(tree)) == count
        assert not list((tree.parent / ".altbackup").glob("scratch/**/drill"))


def test_a_scratch_host_proves_for_a_target_and_keeps_nothing(site: LabSite, sites: Lab) -> None:
    scratch, tree = site.place("sdu") / "scratch", site.tree("dayabay", "cms01")
    scratch.mkdir(parents=True)
    site.hosts["cms01"] |= {"altbackup_drill_host": "sdu", "altbackup_drill_folder": str(scratch)}
    for proof in proofs_in(tree):
        proof.unlink()
    damaged = git_of(tree)
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-1] + b"x")
    recompute(damaged)

    predicted = site.run("drill", "--check", "--limit", "cms01", stamp=DAY1)
    assert predicted.rc == 0 and "to sdu to drill them there" in predicted.stdout
    assert not proofs_in(tree) and not list(scratch.iterdir())

    run = site.run("drill", "--limit", "cms01", stamp=DAY1)
    assert run.message.startswith("1 failure:"), run.message
    assert "dayabay -> cms01: drill of git/toolbox: drilled on sdu: git/toolbox/" in run.message
    assert "does not match what its dump recorded" in run.message
    assert len(site.events_in("tarball_drill_away")) == 4 and len(site.events_in("tarball_carry")) == 1
    assert len(proofs_in(tree)) == len(KINDS) - 1
    assert not list(scratch.iterdir()) and not list((tree.parent / ".altbackup").glob("scratch/**/drill"))

    damaged.write_bytes(content)
    recompute(damaged)
    again = site.run("drill", "--limit", "cms01", stamp=DAY1)
    assert again.rc == 0, again.message
    assert len(proofs_in(tree)) == len(KINDS) and not list(scratch.iterdir())

    sites["sdu"].stop_sshd()
    try:
        down = site.run("drill", "--limit", "cms01", stamp=DAY1)
    finally:
        sites["sdu"].start_sshd()
    assert down.message.startswith("1 failure:"), down.message
    assert "dayabay -> cms01: drill: drilled on sdu: unreachable" in down.message
