"""Nodes with different clocks and zones, a run over midnight, and the hour in which clocks are set back."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from faults.conftest import Row
from faults.pairs import Pairs, said
from integration.lab_site import (
    LabSite,
    command,
    environment,
    failures_of,
    read_again,
    renew_sessions,
    repaired,
    stamps_of,
)
from integration.site import REPOSITORY, Run
from lab import Lab
from lab.lab_fixture import lab_fixture, needs_namespaces
from lab.namespaced import fast_clock

pytestmark = [needs_namespaces, pytest.mark.full]

sites = lab_fixture(["dayabay", "cms01", "sdu"], sources=["dayabay", "cms01", "sdu"])


@pytest.fixture
def lab_site(sites: Lab, tmp_path: Path) -> Iterator[LabSite]:
    """A source and two targets whose clocks are right again afterwards."""
    with repaired(sites, tmp_path) as site:
        site.add_source(
            "dayabay", altbackup_targets=["cms01", "sdu"], altbackup_transport={"cms01": "push", "sdu": "pull"}
        )
        for name in ("cms01", "sdu"):
            site.add_target(name)
        yield site


def rewrite(site: LabSite) -> None:
    """Change the live data."""
    (site.live_of("dayabay") / "notes" / "note").write_bytes(os.urandom(1000))


def check(site: LabSite, count: int, stamps: list[str]) -> None:
    """Assert that all trees hold tarballs of these stamps, and nothing else."""
    for tree in (site.tree("dayabay"), site.tree("dayabay", "cms01"), site.tree("dayabay", "sdu")):
        assert stamps_of(tree) == sorted(stamps), tree
        if count:
            read_again(tree, count)


def test_nodes_in_other_time_zones(lab_site: LabSite, add_row: Callable[[Row], None]) -> None:
    lab = lab_site.lab
    lab["dayabay"].set_timezone("Asia/Shanghai")
    lab["cms01"].set_timezone("Pacific/Kiritimati")  # there it is tomorrow, for most of the day
    lab["sdu"].set_timezone("Pacific/Pago_Pago")
    pairs = Pairs(lab_site, {"dayabay": ["cms01", "sdu"]})
    run = lab_site.run("backup")
    assert run.rc == 0, run.stdout
    assert pairs.wrong(healed=True) == []
    (stamp,) = stamps_of(lab_site.tree("dayabay"))
    assert abs(datetime.strptime(stamp, "%Y/%m/%d/%H%M%S").replace(tzinfo=UTC).timestamp() - time.time()) < 600
    check(lab_site, 1, [stamp])
    pairs.look()
    again = lab_site.run("backup", stamp=stamp)
    assert (again.rc, again.changed) == (0, 0), again.message or changes(again)
    assert pairs.wrong(healed=True) == []
    add_row(Row("nodes at UTC+8, UTC+14 and UTC-11", "rc 0, all under one stamp of UTC", rerun="nothing changed"))


@pytest.mark.parametrize("node", ["dayabay", "cms01"])
def test_node_more_than_an_hour_fast(lab_site: LabSite, node: str, add_row: Callable[[Row], None]) -> None:
    pairs = Pairs(lab_site, {"dayabay": ["cms01", "sdu"]})
    renew_sessions(lab_site.lab[node], fast_clock(4000))
    first = lab_site.run("backup")
    where = node if node == "dayabay" else f"dayabay -> {node}"
    assert list(failures_of(first)) == [where]
    assert "s apart: this node's says " in failures_of(first)[where]
    assert pairs.wrong(healed=True) == []
    (stamp,) = stamps_of(lab_site.tree("dayabay"))
    check(lab_site, 1, [stamp])
    pairs.look()
    renew_sessions(lab_site.lab[node])
    again = lab_site.run("backup", stamp=stamp)
    assert (again.rc, again.changed) == (0, 0), again.message or changes(again)
    check(lab_site, 1, [stamp])
    assert pairs.wrong(healed=True) == []
    role = "source" if node == "dayabay" else "target"
    add_row(Row(f"{role} more than an hour fast", f"{said(first, where)}; all else done", rerun="nothing changed"))


def at_moment(
    site: LabSite, moment: datetime, zone: str, border: datetime | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a backup with the clocks of controller and nodes at a given moment, so that a border of days or hours passes during it."""
    shift = int(moment.timestamp() - time.time())
    for name in ("dayabay", "cms01", "sdu"):
        renew_sessions(site.lab[name], fast_clock(shift))
    words = [str(REPOSITORY / "playbooks/backup.yml"), "-e", f"altbackup_timezone={zone}"]
    done = subprocess.run(
        command(site, "ansible-playbook", *words),
        env={**environment(), **dict(word.split("=", 1) for word in fast_clock(shift))},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert border is None or time.time() + shift >= border.timestamp(), f"it was over before {border}"
    return done


def changes(run: Run) -> list[tuple[str, str, dict[str, Any]]]:
    """Return the calls of a run that changed something."""
    return [call for call in run.calls if call[2].get("changed")]


def stamp_of(run: subprocess.CompletedProcess[str]) -> str:
    """Return the stamp that a run reported."""
    found = re.search(r"\d{4}/\d\d/\d\d/\d{6}", run.stdout)
    assert found, run.stdout
    return found.group()


def test_run_over_midnight(lab_site: LabSite, add_row: Callable[[Row], None]) -> None:
    pairs = Pairs(lab_site, {"dayabay": ["cms01", "sdu"]})
    midnight = datetime(2026, 3, 5, tzinfo=UTC)
    stamp = stamp_of(at_moment(lab_site, midnight - timedelta(seconds=5), "UTC", midnight))
    assert stamp.startswith("2026/03/04/2359")
    check(lab_site, 1, [stamp])
    assert pairs.wrong(healed=True) == []
    rewrite(lab_site)
    pairs.look()
    next_day = stamp_of(at_moment(lab_site, midnight + timedelta(minutes=5), "UTC"))
    check(lab_site, 2, [stamp, next_day])
    assert pairs.wrong(healed=True) == []
    add_row(Row("run over midnight", f"rc 0, all of it under {stamp[:10]}", rerun="the next day's beside it"))


def test_hour_that_the_clock_is_set_back(lab_site: LabSite, add_row: Callable[[Row], None]) -> None:
    """At 01:00 UTC on 2026-10-25 it is 03:00 in Berlin, and 02:00 once more."""
    pairs = Pairs(lab_site, {"dayabay": ["cms01", "sdu"]})
    border = datetime(2026, 10, 25, 1, tzinfo=UTC)
    zone = "Europe/Berlin"
    first = stamp_of(at_moment(lab_site, border - timedelta(seconds=5), zone, border))
    assert first.startswith("2026/10/25/0259")
    check(lab_site, 1, [first])
    assert pairs.wrong(healed=True) == []
    rewrite(lab_site)
    pairs.look()
    second = stamp_of(at_moment(lab_site, border + timedelta(minutes=10), zone))
    assert second.startswith("2026/10/25/0210")
    check(lab_site, 2, [first, second])
    assert pairs.wrong(healed=True) == []
    rewrite(lab_site)
    pairs.look()
    third = stamp_of(at_moment(lab_site, border + timedelta(days=1, minutes=10), zone))
    check(lab_site, 3, [first, second, third])
    assert pairs.wrong(healed=True) == []
    seen = "rc 0 before and after 03:00 became 02:00, both kept, rc 0 the day after"
    add_row(
        Row(f"two runs in the hour that comes twice, altbackup_timezone {zone}", seen, rerun="the next day's beside it")
    )
