"""What hangs, is cut off or falls silent is given up at its own limits, and delays nobody else by more."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.lab_site import (
    DAY1,
    DAY2,
    LabSite,
    failures_of,
    left_behind,
    read_again,
    renew_sessions,
    repaired,
    stamps_of,
    when,
)
from integration.site import commit_svn, item_of, tarballs_of
from lab import Lab
from lab.lab_fixture import lab_fixture, needs_namespaces

pytestmark = needs_namespaces
SILENCE = 5 + 6  # seconds, the connect and io limits of such a site

sites = lab_fixture(["dayabay", "lingao", "cms01", "sdu", "ntu"], sources=["dayabay", "lingao"])


@pytest.fixture
def lab_site(sites: Lab, tmp_path: Path) -> Iterator[LabSite]:
    """A site without hosts, whose lab is repaired afterwards."""
    with repaired(sites, tmp_path) as site:
        yield site


@pytest.mark.full
def test_dump_that_hangs_delays_nobody_else_and_leaves_no_child(lab_site: LabSite, live_template: Path) -> None:
    lab_site.add_source("dayabay", altbackup_targets=["cms01"], altbackup_step_timeout="15s")
    lab_site.give_all_kinds("dayabay", live_template)
    lab_site.add_source("lingao", altbackup_targets=["sdu"])
    for name in ("cms01", "sdu"):
        lab_site.add_target(name)
    baseline = lab_site.run("backup", stamp=DAY1)
    assert baseline.rc == 0, baseline.stdout
    undisturbed = lab_site.seconds_of("lingao")

    dayabay = lab_site.lab["dayabay"]
    stuck = lab_site.place("dayabay") / "stuck" / "bin" / "svnadmin"  # a view has folders of this name alone
    stuck.parent.mkdir(parents=True)
    stuck.write_text("#!/bin/sh\ntrap '' TERM\nsleep 600 &\nwait\nsleep 600\n")
    stuck.chmod(0o755)
    renew_sessions(dayabay, [f"PATH={stuck.parent}:/usr/bin:/bin:/usr/sbin:/sbin"])
    (lab_site.live_of("lingao") / "notes" / "note").write_text("changed")
    (lab_site.live_of("dayabay") / "folder" / "users.conf").write_text("changed")
    commit_svn(lab_site.live_of("dayabay") / "svn", "more", "more\n")
    run = lab_site.run("backup", stamp=DAY2)
    failures = failures_of(run)
    assert left_behind(lab_site.lab, ["dayabay"]) == []
    assert "svn/dybsvn" in failures["dayabay"]
    assert "15 s" in failures["dayabay"]
    assert all("dybsvn" in what for what in failures.values()), "nothing else failed"
    assert lab_site.seconds_of("dayabay") > 15
    assert lab_site.seconds_of("lingao") < undisturbed + 10
    assert stamps_of(lab_site.tree("lingao", "sdu")) == [DAY1, DAY2]
    counts = Counter(path.parts[-7] for path in tarballs_of(lab_site.tree("dayabay", "cms01")))
    assert counts == {"svn": 1, "tracs": 2, "git": 2, "folders": 2, "databases": 2}

    renew_sessions(dayabay)
    again = lab_site.run("backup", stamp=DAY2)
    assert again.rc == 0, again.stdout
    (svn,) = [path for path in item_of(lab_site.tree("dayabay"), "svn", "dybsvn") if DAY2 in str(path)]
    assert lab_site.sent(again) == {"cms01": svn.stat().st_size}


@pytest.mark.full
def test_cut_links_and_a_silent_target_hold_nobody_up_for_longer_than_the_limits(lab_site: LabSite) -> None:
    lab_site.add_source("dayabay", altbackup_targets=["cms01", "sdu", "ntu", "lingao"], altbackup_step_timeout="40s")
    (lab_site.live_of("dayabay") / "notes" / "bulk").write_bytes(os.urandom(4_000_000))
    for name in ("cms01", "sdu", "ntu", "lingao"):
        lab_site.add_target(name)
    for name in ("sdu", "ntu"):
        lab_site.lab[name].limit_rate(400_000)

    def arrives(name: str) -> bool:
        return any(
            path.stat().st_size > 300_000
            for path in (lab_site.place(name) / "copies/.altbackup/incoming/dayabay").glob("*")
        )

    def fall_silent() -> None:
        for process in lab_site.lab["ntu"].processes("sshd"):
            os.kill(process.pid, signal.SIGSTOP)

    with (
        when(lambda: lab_site.has_begun("tarball_send"), lab_site.lab["cms01"].cut),
        when(lambda: arrives("sdu"), lab_site.lab["sdu"].cut),
        when(lambda: arrives("ntu"), fall_silent),
    ):
        run = lab_site.run("backup", stamp=DAY1)
    failures = failures_of(run)
    assert set(failures) == {"dayabay -> cms01", "dayabay -> sdu", "dayabay -> ntu"}
    for name, words in (("cms01", "timed out"), ("sdu", "imeout"), ("ntu", "imeout")):
        assert words in failures[f"dayabay -> {name}"]
        assert "synchronize" in failures[f"dayabay -> {name}"]
        assert f"{lab_site.lab[name].user}@{lab_site.lab[name].address}" in failures[f"dayabay -> {name}"]
    read_again(lab_site.tree("dayabay", "lingao"), 1)
    assert left_behind(lab_site.lab, ["dayabay"]) == []
    assert lab_site.seconds_in("tarball_send") < SILENCE + 10
    order = [event["event_data"]["res"]["_ansible_item_label"] for event in lab_site.events_in("tarball_accept")]
    assert order[0].startswith("lingao"), "a target that has failed is tried again when the others are done"

    for name in ("cms01", "sdu", "ntu"):
        for process in lab_site.lab[name].processes("sshd"):
            os.kill(process.pid, signal.SIGCONT)
        lab_site.lab[name].restore()
        lab_site.lab[name].limit_rate(None)
    again = lab_site.run("backup", stamp=DAY1)
    assert again.rc == 0, again.stdout
    assert set(lab_site.sent(again)) == {"cms01", "sdu", "ntu"}
    for name in ("cms01", "sdu", "ntu", "lingao"):
        read_again(lab_site.tree("dayabay", name), 1)
