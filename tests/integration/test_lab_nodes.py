"""Different nodes over real ssh: sources that are targets, other Pythons and zones, wrong clocks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from integration.lab_site import DAY1, LabSite, read_again, renew_sessions, stamps_of
from integration.site import KINDS
from lab import Lab
from lab.lab_fixture import lab_fixture, needs_namespaces

pytestmark = [needs_namespaces, pytest.mark.full]

mixed = lab_fixture(
    ["dayabay", "lingao", "ntu"],
    sources=["dayabay", "lingao"],
    pythons={"dayabay": "oldest", "lingao": "newest", "ntu": "3.9"},
)


@pytest.fixture
def mixed_site(mixed: Lab, tmp_path: Path) -> Iterator[LabSite]:
    """One source that is its own target and sends to another source, which is a target, too; zones and Pythons differ."""
    site = LabSite(tmp_path, lab=mixed)
    site.add_source("dayabay", altbackup_targets=["dayabay", "lingao"])
    site.add_source("lingao", altbackup_targets=["ntu"])
    for target in ("dayabay", "lingao", "ntu"):
        site.add_target(target)
    yield site
    renew_sessions(mixed["ntu"])


def test_nodes_may_be_source_and_target_of_any_zone_and_python(mixed_site: LabSite, live_template: Path) -> None:
    zones = {"dayabay": "Asia/Shanghai", "lingao": "America/New_York", "ntu": "Pacific/Kiritimati"}
    for name, zone in zones.items():
        mixed_site.lab[name].set_timezone(zone)
    for source in ("dayabay", "lingao"):
        mixed_site.give_all_kinds(source, live_template)
    run = mixed_site.run("backup")
    assert run.rc == 0, run.stdout
    trees = [("dayabay", ""), ("dayabay", "dayabay"), ("dayabay", "lingao"), ("lingao", ""), ("lingao", "ntu")]
    stamps = {stamp for pair in trees for stamp in stamps_of(mixed_site.tree(*pair))}
    assert len(stamps) == 1, "one stamp for all nodes, whatever their zones"
    taken = datetime.strptime(stamps.pop(), "%Y/%m/%d/%H%M%S").replace(tzinfo=UTC)
    assert timedelta(0) < datetime.now(UTC) - taken < timedelta(minutes=10)
    for pair in trees:
        read_again(mixed_site.tree(*pair), len(KINDS))
    checked = mixed_site.run("check")
    assert checked.rc == 0, checked.stdout


def test_node_whose_clock_is_fast_is_named_with_both_clocks_and_how_far_they_are_apart(mixed_site: LabSite) -> None:
    ntu = mixed_site.lab["ntu"]
    ntu.stop_sshd()
    ntu.skew_clock(4000)
    ntu.start_sshd()
    run = mixed_site.run("backup", stamp=DAY1)
    assert run.rc != 0
    (line,) = [line for line in run.message.splitlines() if "clock" in line]
    assert "ntu" in line
    offset = float(line.split("clocks are ")[1].split(" s")[0])
    assert 3940 < offset < 4060
    assert "this node's says " in line and "the controller's " in line
    assert stamps_of(mixed_site.tree("dayabay", "lingao")) == [DAY1]
