"""Clocks and zones of nodes that differ, a run over midnight, and the hour that the clocks are set back."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
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
from lab.namespaced import FAKETIME, fast_clock

pytestmark = [needs_namespaces, pytest.mark.full]

sites = lab_fixture(["dayabay", "cms01", "sdu"], sources=["dayabay", "cms01", "sdu"])
needs_faketime = pytest.mark.skipif(FAKETIME is None, reason="libfaketime is not installed")


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
    """See that all trees hold tarballs of these stamps, and nothing else."""
    for tree in (site.tree("dayabay"), site.tree("dayabay", "cms01"), site.tree("dayabay", "sdu")):
        assert stamps_of(tree) == sorted(stamps), tree
        if count:
            read_again(tree, count)


def test_nodes_in_other_time_zones(lab_site: LabSite, add_row: Callable[[Row], None]) -> None:
    lab = lab_site.lab
    lab["dayabay"].set_timezone("Asia/Shanghai")
    lab["cms01"].set_timezone("Pacific/Kiritimati")  # there it is tomorrow, for most of the day
    lab["sdu"].set_timezone("Pacific/Pago_Pago")
    run = lab_site.run("backup")
    assert run.rc == 0, run.stdout
    pairs = Pairs(lab_site, {"dayabay": ["cms01", "sdu"]})
    assert pairs.wrong(healed=True) == []
    (stamp,) = stamps_of(lab_site.tree("dayabay"))
    assert abs(datetime.strptime(stamp, "%Y/%m/%d/%H%M%S").replace(tzinfo=UTC).timestamp() - time.time()) < 600
    check(lab_site, 1, [stamp])
    again = lab_site.run("backup", stamp=stamp)
    assert (again.rc, again.changed) == (0, 0), again.message or changes(again)
    add_row(Row("nodes at UTC+8, UTC+14 and UTC-11", "rc 0, all under one stamp of UTC", rerun="nothing changed"))


@needs_faketime
@pytest.mark.parametrize("node", ["dayabay", "cms01"])
def test_node_an_hour_fast(lab_site: LabSite, node: str, add_row: Callable[[Row], None]) -> None:
    renew_sessions(lab_site.lab[node], fast_clock(3600))
    first = lab_site.run("backup")
    where = node if node == "dayabay" else f"dayabay -> {node}"
    assert list(failures_of(first)) == [where]
    assert "off the controller's" in failures_of(first)[where]
    pairs = Pairs(lab_site, {"dayabay": ["cms01", "sdu"]})
    assert pairs.wrong(healed=True) == []
    (stamp,) = stamps_of(lab_site.tree("dayabay"))
    check(lab_site, 1, [stamp])
    renew_sessions(lab_site.lab[node])
    again = lab_site.run("backup", stamp=stamp)
    assert (again.rc, again.changed) == (0, 0), again.message or changes(again)
    check(lab_site, 1, [stamp])
    role = "source" if node == "dayabay" else "target"
    add_row(Row(f"{role} an hour fast", f"{said(first, where)}; all else done", rerun="nothing changed"))


def at_moment(site: LabSite, moment: datetime, zone: str) -> subprocess.CompletedProcess[str]:
    """Run a backup on a controller and nodes for which it is a given moment."""
    shift = int(moment.timestamp() - time.time())
    for name in ("dayabay", "cms01", "sdu"):
        renew_sessions(site.lab[name], fast_clock(shift))
    words = [str(REPOSITORY / "playbooks/backup.yml"), "-e", f"altbackup_timezone={zone}"]
    return subprocess.run(
        command(site, "ansible-playbook", *words),
        env={**environment(), **dict(word.split("=", 1) for word in fast_clock(shift))},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def changes(run: Run) -> list[tuple[str, str, dict[str, Any]]]:
    """Return the calls of a run that changed something."""
    return [call for call in run.calls if call[2].get("changed")]


def stamp_of(run: subprocess.CompletedProcess[str]) -> str:
    """Return the stamp that a run has said it has."""
    found = re.search(r"\d{4}/\d\d/\d\d/\d{6}", run.stdout)
    assert found, run.stdout
    return found.group()


@needs_faketime
def test_run_over_midnight(lab_site: LabSite, add_row: Callable[[Row], None]) -> None:
    run = at_moment(lab_site, datetime(2026, 3, 4, 23, 59, 55, tzinfo=UTC), "UTC")
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    stamp = stamp_of(run)
    assert stamp.startswith("2026/03/04/2359")
    check(lab_site, 1, [stamp])
    rewrite(lab_site)
    next_day = at_moment(lab_site, datetime(2026, 3, 5, 0, 5, tzinfo=UTC), "UTC")
    assert next_day.returncode == 0, next_day.stdout
    check(lab_site, 2, [stamp, stamp_of(next_day)])
    assert Pairs(lab_site, {"dayabay": ["cms01", "sdu"]}).wrong(healed=True) == []
    add_row(Row("run over midnight", f"rc 0, all of it under {stamp[:10]}", rerun="the next day's beside it"))


@needs_faketime
def test_hour_that_the_clock_is_set_back(lab_site: LabSite, add_row: Callable[[Row], None]) -> None:
    """At 01:00 UTC on 2026-10-25 it is 03:00 in Berlin, and 02:00 once more."""
    first = at_moment(lab_site, datetime(2026, 10, 25, 0, 59, 55, tzinfo=UTC), "Europe/Berlin")
    assert first.returncode == 0, first.stdout
    assert stamp_of(first).startswith("2026/10/25/0259")
    check(lab_site, 1, [stamp_of(first)])
    rewrite(lab_site)
    second = at_moment(lab_site, datetime(2026, 10, 25, 1, 10, tzinfo=UTC), "Europe/Berlin")
    assert second.returncode == 0, second.stdout
    assert stamp_of(second).startswith("2026/10/25/0210")
    check(lab_site, 2, [stamp_of(first), stamp_of(second)])
    assert Pairs(lab_site, {"dayabay": ["cms01", "sdu"]}).wrong(healed=True) == []
    rewrite(lab_site)
    third = at_moment(lab_site, datetime(2026, 10, 26, 1, 10, tzinfo=UTC), "Europe/Berlin")
    assert third.returncode == 0, third.stdout
    assert Pairs(lab_site, {"dayabay": ["cms01", "sdu"]}).wrong(healed=True) == []
    seen = "rc 0 before and after 03:00 became 02:00, both kept, rc 0 the day after"
    add_row(
        Row(
            "two runs in the hour that comes twice, altbackup_timezone Europe/Berlin",
            seen,
            rerun="the next day's beside it",
        )
    )
