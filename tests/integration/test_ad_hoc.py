"""One host by hand, or by its own cron: modules ad hoc, and a check on the target itself without ssh."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from integration.lab_site import DAY1, LabSite, ansible, command, environment, plant
from integration.site import REPOSITORY
from lab import Lab
from lab.lab_fixture import lab_fixture, needs_namespaces

pytestmark = needs_namespaces
DAY = "2013/05/07"
TARBALL = f"folders/notes/{DAY1}/notes.tar.zst"

pair = lab_fixture(["dayabay", "cms01"], sources=["dayabay"])


@pytest.fixture
def site(pair: Lab, tmp_path: Path) -> LabSite:
    """A source and a target with a verified tarball each."""
    made = LabSite(tmp_path, lab=pair)
    made.add_source("dayabay", altbackup_targets=["cms01"])
    made.add_target("cms01")
    for tree in (made.tree("dayabay"), made.tree("dayabay", "cms01")):
        plant(tree, "folders/notes", DAY1, b"a tarball's bytes")
    return made


@pytest.fixture
def copy(site: LabSite) -> Path:
    """The tarball on the target."""
    return site.tree("dayabay", "cms01") / TARBALL


def test_dna_verify_of_one_host(site: LabSite, copy: Path) -> None:
    arguments = ("cms01", "-m", "altbackup.core.dna_verify", "-a", f"base={site.tree('dayabay', 'cms01')} day={DAY}")
    good = ansible(site, "ansible", *arguments, "-v")
    assert good.returncode == 0, good.stdout + good.stderr
    assert f"match:\n    - {TARBALL}" in good.stdout.replace("\r", "")
    copy.write_bytes(b"A tarball's bytes")
    bad = ansible(site, "ansible", *arguments)
    assert bad.returncode == 2
    assert f"{TARBALL} does not match its dna" in " ".join((bad.stdout + bad.stderr).split())


def test_tarball_count_of_one_host(site: LabSite) -> None:
    options = {"base": str(site.tree("dayabay")), "day": DAY, "source": "dayabay"}

    def count(expected: int) -> subprocess.CompletedProcess[str]:
        arguments = json.dumps({**options, "expect": {"notes": expected}})
        return ansible(site, "ansible", "dayabay", "-m", "altbackup.core.tarball_count", "-a", arguments)

    good, bad = count(1), count(2)
    assert good.returncode == 0, good.stdout + good.stderr
    assert bad.returncode == 2
    assert f"expecting 2 tarballs for notes of dayabay on {DAY} but got 1: {TARBALL}" in " ".join(
        (bad.stdout + bad.stderr).split()
    )


def test_check_started_on_the_target_itself_needs_no_ssh(site: LabSite, copy: Path) -> None:
    target = site.lab["cms01"]
    arguments = ["-c", "local", "--limit", "cms01", "-e", f"altbackup_stamp={DAY1}"]
    argv = command(site, "ansible-playbook", *arguments, str(REPOSITORY / "playbooks" / "check.yml"))
    own = {**environment(), "HOME": str(target.home)}
    logins = target.log.count("Accepted publickey")
    good = target.run(argv, env=own, cwd=REPOSITORY, timeout=120)
    assert good.returncode == 0, good.stdout + good.stderr
    assert "cms01: check: 1 tarball matches its dna" in good.stdout
    copy.unlink()
    bad = target.run(argv, env=own, cwd=REPOSITORY, timeout=120)
    assert bad.returncode == 2
    assert f"expecting 1 tarball for notes of dayabay on {DAY} but got 0" in " ".join(bad.stdout.split()), bad.stdout
    assert target.log.count("Accepted publickey") == logins
