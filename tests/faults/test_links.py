"""A transfer of half a gigabyte whose link is cut ten times: each run continues where the last one was cut."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from faults.conftest import Row
from faults.pairs import SLACK, Pairs, await_that, plant_older, said
from integration.lab_site import DAY1, LabSite, plant, repaired, when
from integration.site import Run
from lab import Lab
from lab.host import Host
from lab.lab_fixture import lab_fixture, needs_namespaces

pytestmark = [needs_namespaces, pytest.mark.full]

SIZE = 500_000_000
CUTS = 10
RATE = 100_000_000
SOCKET = 1_000_000
"""Most bytes that a socket of these hosts holds at either end, and loses with a cut"""
LOST = 4_000_000
"""Most bytes that a cut may cost: a socket's, what ssh reads ahead of rsync (2 MiB), and pipes; the calls of modules come in addition"""
sites = lab_fixture(["dayabay", "cms01", "sdu", "ntu"], sources=["dayabay", "sdu"])
WAYS = {"cms01": "push", "sdu": "pull", "ntu": "push"}


@pytest.fixture
def lab_site(sites: Lab, tmp_path: Path) -> Iterator[LabSite]:
    """A site without hosts, whose lab is repaired afterwards."""
    with repaired(sites, tmp_path) as site:
        yield site


@contextmanager
def cut_at(pairs: Pairs, name: str, victim: Host, point: int) -> Iterator[None]:
    """Cut the link of a host when a target has received so many bytes, until rsync has given up."""
    dialling = pairs.site.lab["dayabay" if WAYS[name] == "push" else name]

    def cut() -> None:
        victim.cut()
        await_that(lambda: not dialling.processes("rsync"), "the end of rsync")
        victim.restore()

    with when(lambda: pairs.arrived("dayabay", name) >= point, cut):
        yield


def test_link_cut_at_ten_points_of_a_transfer(lab_site: LabSite, add_row: Callable[[Row], None]) -> None:
    lab_site.add_source("dayabay", altbackup_targets=[*WAYS], altbackup_transport=WAYS)
    for name in WAYS:
        lab_site.add_target(name)
    for name in ("", *WAYS):
        plant_older(lab_site, "dayabay", name)
    plant(lab_site.tree("dayabay"), "folders/notes", DAY1, os.urandom(SIZE))
    pairs = Pairs(lab_site, {"dayabay": [*WAYS]})
    lab = lab_site.lab
    tried = ["cms01", "sdu"]
    for name in ("dayabay", *tried):
        for kind in ("tcp_rmem", "tcp_wmem"):
            lab[name].run(["sysctl", "-w", f"net.ipv4.{kind}=4096 65536 {SOCKET}"], check=True)
    for name in tried:
        lab[name].limit_rate(RATE)
    rows = []
    total = dict.fromkeys(tried, 0)

    def run(names: list[str], point: int = 0) -> tuple[Run, dict[str, int]]:
        """Run, with a cut when so many bytes have arrived; return the bytes over the links, which must be hardly more than the new ones."""
        before = {name: pairs.arrived("dayabay", name) for name in names}
        received = {name: lab[name].bytes_received() for name in tried}
        done = lab_site.run("synchronize", stamp=DAY1, only_targets=names)
        moved = {name: lab[name].bytes_received() - received[name] for name in tried}
        for name in tried:
            total[name] += moved[name]
        for name in names if point else ():
            after = pairs.arrived("dayabay", name)
            assert before[name] < point <= after < SIZE, name
            assert moved[name] <= 1.1 * (after - before[name]) + LOST + SLACK, (name, moved, before, after)
        assert bool(done.rc) == bool(point), done.stdout
        assert pairs.wrong(healed=not point) == []
        return done, moved

    for number in range(1, CUTS + 1):
        point = SIZE * number // (CUTS + 1)
        with cut_at(pairs, "cms01", lab["cms01"], point), cut_at(pairs, "sdu", lab["sdu"], point):
            done, moved = run(tried, point)
        for name in tried:
            fault = f"{number:2}. link of {name} cut at {point // 1_000_000} MB of {SIZE // 1_000_000} ({WAYS[name]})"
            rows.append(Row(fault, said(done, f"dayabay -> {name}"), bytes=f"{moved[name] / 1e6:.1f} MB"))
    point = SIZE * (2 * CUTS + 1) // (2 * CUTS + 2)
    with cut_at(pairs, "cms01", lab["dayabay"], point):
        done, moved = run(["cms01"], point)
    fault = f"{CUTS + 1:2}. link of the source cut at {point // 1_000_000} MB of {SIZE // 1_000_000} (push)"
    rows.append(Row(fault, said(done, "dayabay -> cms01"), bytes=f"{moved['cms01'] / 1e6:.1f} MB"))

    for name in tried:
        lab[name].limit_rate(None)
    run([*WAYS])
    for name in tried:
        assert pairs.differences("dayabay", name, "ntu") == []
        assert total[name] <= 1.1 * SIZE + (CUTS + 1) * LOST + (CUTS + 2) * SLACK, total
        fault = f"all cuts of a transfer of {SIZE // 1_000_000} MB, and the last run ({WAYS[name]})"
        rows.append(Row(fault, "rc 0", bytes=f"{total[name] / 1e6:.1f} MB = {total[name] / SIZE:.3f} x"))
    for row in rows:
        add_row(row)
