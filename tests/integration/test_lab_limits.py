"""The nodes that a run reaches, between real hosts: limits to a source, a target and a site, and empty groups."""

from __future__ import annotations

import pytest
from integration.lab_site import DAY1, DAY2, DAY3, LabSite, plant, read_again, stamps_of
from integration.site import Run
from lab import Lab
from lab.lab_fixture import lab_fixture, needs_namespaces

pytestmark = needs_namespaces
PAIRS = {"dayabay": ["cms01", "sdu"], "lingao": ["sdu", "ntu"]}

sites = lab_fixture(["dayabay", "lingao", "cms01", "sdu", "ntu"], sources=["dayabay", "lingao"])


@pytest.fixture
def lab_site(sites: Lab, tmp_path_factory: pytest.TempPathFactory) -> LabSite:
    """Two sources, three targets, three sites."""
    site = LabSite(tmp_path_factory.mktemp("site"), lab=sites)
    for source, targets in PAIRS.items():
        site.add_source(source, altbackup_targets=targets, altbackup_keep=1)
    for target in ("cms01", "sdu", "ntu"):
        site.add_target(target, altbackup_keep=1)
    site.add_sites()
    return site


def lying(site: LabSite) -> dict[str, list[str]]:
    """Return the stamps in each tree that has tarballs."""
    pairs = [(source, "") for source in PAIRS] + [
        (source, target) for source, targets in PAIRS.items() for target in targets
    ]
    found = {" on ".join(filter(None, pair)): stamps_of(site.tree(*pair)) for pair in pairs}
    return {tree: stamps for tree, stamps in found.items() if stamps}


def nodes_of(run: Run) -> set[str]:
    """Return the hosts for which modules were called."""
    return {host for host, _, _ in run.calls}


@pytest.mark.full
def test_limits_choose_sources_for_a_backup_and_nodes_for_the_stages(lab_site: LabSite) -> None:
    target = lab_site.run("backup", "--limit sdu", stamp=DAY2)
    assert target.rc != 0
    assert "sdu" in target.message
    assert "dayabay, lingao" in target.message
    assert nodes_of(target) == set()

    narrowed = lab_site.run("backup", "--limit dayabay", stamp=DAY2, only_targets=["cms01"])
    assert narrowed.rc == 0, narrowed.stdout
    assert lying(lab_site) == {"dayabay": [DAY2], "dayabay on cms01": [DAY2]}

    site = lab_site.run("backup", "--limit shenzhen", stamp=DAY3)
    assert site.rc == 0, site.stdout
    trees = [
        "dayabay",
        *(f"dayabay on {name}" for name in PAIRS["dayabay"]),
        "lingao",
        *(f"lingao on {name}" for name in PAIRS["lingao"]),
    ]
    assert lying(lab_site) == {tree: [DAY3] for tree in trees}

    elsewhere = lab_site.run("backup", "--limit taipei")
    assert elsewhere.rc != 0
    assert nodes_of(elsewhere) == set()
    assert "cms01, ntu" in elsewhere.message


@pytest.mark.full
def test_check_list_and_purge_work_on_a_target_or_a_site_by_itself(lab_site: LabSite) -> None:
    for source, targets in PAIRS.items():
        for tree in (lab_site.tree(source), *(lab_site.tree(source, target) for target in targets)):
            for stamp in (DAY1, DAY2):
                plant(tree, "folders/notes", stamp, f"{source} {stamp}".encode())
    for playbook, modules in (("check", {"preflight", "tarball_check"}), ("list", {"tarball_list"})):
        run = lab_site.run(playbook, "--limit sdu", stamp=DAY2)
        assert run.rc == 0, run.stdout
        assert nodes_of(run) == {"sdu"}
        assert {module for _, module, _ in run.calls} == modules
    whole_site = lab_site.run("check", "--limit taipei", stamp=DAY2)
    assert (whole_site.rc, nodes_of(whole_site)) == (0, {"cms01", "ntu"}), whole_site.stdout

    assert lab_site.run("purge", "--limit sdu", stamp=DAY2).rc == 0
    assert lying(lab_site) == {
        **{tree: [DAY1, DAY2] for tree in ("dayabay", "dayabay on cms01", "lingao", "lingao on ntu")},
        **{tree: [DAY2] for tree in ("dayabay on sdu", "lingao on sdu")},
    }
    (copy,) = (lab_site.tree("lingao", "sdu") / "folders/notes" / DAY2).glob("*.zst")
    copy.write_bytes(b"?" * copy.stat().st_size)
    damaged = lab_site.run("check", "--limit jinan", stamp=DAY2)
    assert damaged.rc != 0
    assert "sdu" in damaged.message
    assert str(copy.relative_to(lab_site.tree("lingao", "sdu"))) in damaged.message
    read_again(lab_site.tree("dayabay", "sdu"), 1)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("playbook", ["backup", "check"])
@pytest.mark.parametrize("limit", [[], ["--limit cms01"], ["--limit shenzhen"]])
def test_group_without_hosts_is_an_error_whatever_the_limit(lab_site: LabSite, playbook: str, limit: list[str]) -> None:
    lab_site.groups["sources"] = []
    run = lab_site.run(playbook, *limit, stamp=DAY1)
    assert run.rc != 0
    assert "group sources" in run.message
    assert nodes_of(run) == set()


def test_no_targets_is_an_error_that_names_them(lab_site: LabSite) -> None:
    lab_site.groups["targets"] = []
    run = lab_site.run("backup", "--limit dayabay", stamp=DAY1)
    assert run.rc != 0
    assert "cms01" in run.message
    assert "group targets" in run.message
    assert nodes_of(run) == set()
