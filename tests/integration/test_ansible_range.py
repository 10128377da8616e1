"""The promised range of ansible-core: the whole chain over real ssh under the oldest. Other tests use the newest for this Python."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from integration.lab_site import DAY1, NAMES, QUICK, LabSite, read_again
from integration.site import KINDS, REPOSITORY, tarballs_of
from lab import Lab
from lab.inventory import connection
from lab.lab_fixture import lab_fixture, needs_namespaces

pytestmark = needs_namespaces

OLDEST = "2.17"
ENVIRONMENTS = {"oldest": REPOSITORY / ".venv-oldest" / "bin", "newest": Path(sys.executable).parent}

ODD = ("[1, 2]", "{{ undefined }}", "None")
"""Names that older versions take for values or templates"""

hosts = lab_fixture(["dayabay", "cms01", "sdu", "fresh"], sources=["dayabay", "sdu"])


def version_of(programs: Path) -> str:
    """Return the version of the ansible-core in an environment."""
    done = subprocess.run([programs / "ansible-playbook", "--version"], capture_output=True, text=True, check=True)
    found = re.match(r"ansible-playbook \[core (\S+)\]", done.stdout)
    assert found, done.stdout
    return found[1]


def test_the_oldest_environment_has_the_oldest_promised_version() -> None:
    promised = re.search(r"requires_ansible: '>=([\d.]+)'", (REPOSITORY / "meta" / "runtime.yml").read_text())
    assert promised and promised[1] == f"{OLDEST}.0"
    assert version_of(ENVIRONMENTS["oldest"]).startswith(f"{OLDEST}.")
    assert version_of(ENVIRONMENTS["newest"]) != version_of(ENVIRONMENTS["oldest"])


@pytest.mark.parametrize(
    ("age", "more"), [("oldest", False), *(pytest.param(age, True, marks=pytest.mark.full) for age in ENVIRONMENTS)]
)
def test_the_chain_passes_and_with_more_a_restore_and_drills(
    age: str, more: bool, hosts: Lab, live_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    site = LabSite(
        tmp_path / f"under-{age}{'-with-more' if more else ''}", lab=hosts, limits=QUICK, programs=ENVIRONMENTS[age]
    )
    site.folder.mkdir()
    site.add_source("dayabay", altbackup_targets=["cms01", "sdu"], altbackup_transport={"sdu": "pull"})
    site.give_all_kinds("dayabay", live_template)
    live = site.live_of("dayabay")
    for name in ODD:
        shutil.copytree(live / "git", live / "repositories" / name, symlinks=True)
    site.hosts["dayabay"]["altbackup_discover"] = {"git": str(live / "repositories")}
    scratch = site.place("fresh") / "scratch"
    scratch.mkdir(parents=True)
    site.add_target("cms01", altbackup_drill_host="fresh", altbackup_drill_folder=str(scratch))
    site.add_target("sdu")
    site.hosts["fresh"] = {**connection(hosts, hosts["fresh"]), **QUICK}
    site.groups["ungrouped"] = ["fresh"]

    night = site.run("backup", stamp=DAY1)
    assert night.rc == 0, night.message or night.stdout
    for target in ("cms01", "sdu"):
        read_again(site.tree("dayabay", target), len(KINDS) + len(ODD))
    if more:
        assert_restores_and_drills(site)


def assert_restores_and_drills(site: LabSite) -> None:
    """Restore a folder and an oddly named repository to a fresh host, and drill both targets."""
    folder = site.place("fresh") / "restored"
    chosen = {"folder": NAMES["folder"], "git": ODD[0]}
    entries = [
        {"source": "dayabay", "kind": kind, "name": name, "to_host": "fresh", "to": str(folder / name)}
        for kind, name in chosen.items()
    ]
    restored = site.run("restore", restore=[{**entry, "special_modes": True} for entry in entries])
    assert restored.rc == 0, restored.message or restored.stdout
    assert (folder / NAMES["folder"] / "users.conf").read_text() == "[users]\n"
    assert (folder / ODD[0] / "HEAD").exists()

    drilled = site.run("drill", "--limit", "cms01,sdu")
    assert drilled.rc == 0, drilled.message or drilled.stdout
    for tree in (site.tree("dayabay", "cms01"), site.tree("dayabay", "sdu")):
        assert len(list(tree.rglob("*.proof"))) == len(tarballs_of(tree))
    names = {path.parts[-6] for path in tarballs_of(site.tree("dayabay", "cms01")) if path.parts[-7] == "git"}
    assert names == {NAMES["git"], *ODD}
