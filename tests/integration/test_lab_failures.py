"""What fails between real hosts, fails by itself: the others are done, it is named, and the run says so and can be repeated."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.lab_site import DAY1, DAY2, DAY3, QUICK, LabSite, left_behind, plant, read_again, stamps_of, when
from integration.site import Run, commit_svn, item_of, tarballs_of
from lab import Lab
from lab.lab_fixture import lab_fixture, needs_namespaces

pytestmark = needs_namespaces
SILENCE = 5 + 6  # seconds, the connect and io limits of QUICK

sites = lab_fixture(["dayabay", "lingao", "cms01", "sdu", "ntu"], sources=["dayabay", "lingao"])


@pytest.fixture
def lab_site(sites: Lab, tmp_path: Path) -> Iterator[LabSite]:
    """A site without hosts; afterwards every host of the lab is as it was."""
    homes = {name: (sites[name].home / ".ssh" / "known_hosts").read_text() for name in sites.names}
    yield LabSite(tmp_path, lab=sites, limits=QUICK)
    for name, host in sites.hosts.items():
        host.limit_rate(None)
        host.restore()
        (host.home / ".ssh" / "known_hosts").write_text(homes[name])
        host.stop_sshd()
        host.set_environment(())
        host.start_sshd()


def failing(run: Run) -> dict[str, str]:
    """Return {where: what failed there} of a run's last message."""
    assert run.rc != 0, run.stdout
    found: dict[str, str] = {}
    for line in run.message.splitlines()[1:]:
        if line[:6].strip().rstrip(".").split(".")[0].isdigit():
            where, _, what = line.partition(". ")[2].partition(": ")
            found[where] = f"{found[where]}\n{what}" if where in found else what
        else:
            found[where] += f"\n{line.strip()}"
    return found


def received(site: LabSite) -> dict[str, int]:
    """Return what the links of the hosts have brought so far."""
    return {name: host.bytes_received() for name, host in site.lab.hosts.items()}


def give_bulk(site: LabSite, source: str, size: int) -> None:
    """Give a source data that does not compress."""
    (site.live_of(source) / "notes" / "bulk").write_bytes(os.urandom(size))


def test_only_target_unreachable(lab_site: LabSite) -> None:
    lab_site.add_source("dayabay", altbackup_targets=["cms01"])
    lab_site.add_target("cms01")
    lab_site.lab["cms01"].cut()
    failures = failing(lab_site.run("backup", stamp=DAY1))
    assert list(failures) == ["dayabay -> cms01"]
    assert "cannot be reached" in failures["dayabay -> cms01"]
    assert "timed out" in failures["dayabay -> cms01"]
    assert stamps_of(lab_site.tree("dayabay")) == [DAY1], "the source has its tarball"
    lab_site.lab["cms01"].restore()
    again = lab_site.run("backup", stamp=DAY1)
    assert again.rc == 0, again.stdout
    assert not [result for _, module, result in again.calls if module == "tarball_dump" and result["changed"]]
    read_again(lab_site.tree("dayabay", "cms01"), 1)


def test_only_source_unreachable(lab_site: LabSite) -> None:
    lab_site.add_source("dayabay", altbackup_targets=["cms01"])
    lab_site.add_target("cms01")
    lab_site.lab["dayabay"].stop_sshd()
    failures = failing(lab_site.run("backup", stamp=DAY1))
    assert "dayabay" in failures
    assert "unreachable" in failures["dayabay"]
    assert "Connection refused" in failures["dayabay"]
    assert tarballs_of(lab_site.tree("dayabay", "cms01")) == []


def test_one_target_unreachable_and_one_failing_do_not_touch_the_third(lab_site: LabSite) -> None:
    lab_site.add_source("dayabay", altbackup_targets=["cms01", "sdu", "ntu"], altbackup_keep=1)
    give_bulk(lab_site, "dayabay", 3_000_000)
    for name in ("cms01", "sdu", "ntu"):
        lab_site.add_target(name, altbackup_keep=1)
        plant(lab_site.tree("dayabay", name), "folders/notes", DAY1, b"old")
    plant(lab_site.tree("dayabay"), "folders/notes", DAY1, b"old")
    lab_site.lab["cms01"].cut()
    lab_site.lab["sdu"].remount_readonly(lab_site.place("sdu") / "copies")
    failures = failing(lab_site.run("backup", stamp=DAY2))
    assert sorted(failures) == ["dayabay -> cms01", "dayabay -> sdu"]
    assert "timed out" in failures["dayabay -> cms01"]
    assert f"{lab_site.place('sdu') / 'copies'} cannot be written" in failures["dayabay -> sdu"]
    for tree in (lab_site.tree("dayabay"), lab_site.tree("dayabay", "ntu")):
        assert stamps_of(tree) == [DAY2], "sent, checked and purged"
    assert stamps_of(lab_site.tree("dayabay", "cms01")) == stamps_of(lab_site.tree("dayabay", "sdu")) == [DAY1]

    lab_site.lab["cms01"].restore()
    lab_site.lab["sdu"].remount_writable(lab_site.place("sdu") / "copies")
    before = received(lab_site)
    again = lab_site.run("backup", stamp=DAY2)
    assert again.rc == 0, again.stdout
    assert set(lab_site.sent(again)) == {"cms01", "sdu"}
    more = {name: count - before[name] for name, count in received(lab_site).items()}
    assert more["ntu"] < 2_500_000 < 3_000_000 < more["cms01"]
    for name in ("cms01", "sdu", "ntu"):
        assert stamps_of(lab_site.tree("dayabay", name)) == [DAY2]
        read_again(lab_site.tree("dayabay", name), 1)


def test_dump_that_hangs_delays_nobody_else_and_leaves_no_child(lab_site: LabSite, live_template: Path) -> None:
    lab_site.add_source("dayabay", altbackup_targets=["cms01", "sdu"], altbackup_step_timeout="15s")
    lab_site.give_all_kinds("dayabay", live_template)
    lab_site.add_source("lingao", altbackup_targets=["sdu", "ntu"])
    for name in ("cms01", "sdu", "ntu"):
        lab_site.add_target(name)
    baseline = lab_site.run("backup", stamp=DAY1)
    assert baseline.rc == 0, baseline.stdout
    undisturbed = lab_site.seconds_of("lingao")

    dayabay = lab_site.lab["dayabay"]
    stuck = lab_site.place("dayabay") / "stuck" / "svnadmin"
    stuck.parent.mkdir()
    stuck.write_text("#!/bin/sh\ntrap '' TERM\nsleep 600 &\nwait\nsleep 600\n")
    stuck.chmod(0o755)
    dayabay.stop_sshd()
    dayabay.set_environment([f"PATH={stuck.parent}:/usr/bin:/bin:/usr/sbin:/sbin"])
    dayabay.start_sshd()
    (lab_site.live_of("lingao") / "notes" / "note").write_text("changed")
    (lab_site.live_of("dayabay") / "folder" / "users.conf").write_text("changed")
    commit_svn(lab_site.live_of("dayabay") / "svn", "more", "more\n")
    run = lab_site.run("backup", stamp=DAY2)
    failures = failing(run)
    assert left_behind(lab_site.lab, ["dayabay"]) == []
    assert "svn/dybsvn" in failures["dayabay"]
    assert "15 s" in failures["dayabay"]
    assert all("dybsvn" in what for what in failures.values()), "nothing else failed"
    assert lab_site.seconds_of("dayabay") > 15
    assert lab_site.seconds_of("lingao") < undisturbed + 10
    for source, target in (("lingao", "sdu"), ("lingao", "ntu")):
        assert stamps_of(lab_site.tree(source, target)) == [DAY1, DAY2]
    for target in ("cms01", "sdu"):
        tree = lab_site.tree("dayabay", target)
        counts = {path.parts[-7]: 0 for path in tarballs_of(tree)}
        for path in tarballs_of(tree):
            counts[path.parts[-7]] += 1
        assert counts == {"svn": 1, "tracs": 2, "git": 2, "folders": 2, "databases": 2}

    dayabay.stop_sshd()
    dayabay.set_environment(())
    dayabay.start_sshd()
    again = lab_site.run("backup", stamp=DAY2)
    assert again.rc == 0, again.stdout
    (svn,) = [path for path in item_of(lab_site.tree("dayabay"), "svn", "dybsvn") if DAY2 in str(path)]
    assert lab_site.sent(again) == {"cms01": svn.stat().st_size, "sdu": svn.stat().st_size}


def test_cut_links_and_a_silent_target_hold_nobody_up_for_longer_than_the_limits(lab_site: LabSite) -> None:
    lab_site.add_source("dayabay", altbackup_targets=["cms01", "sdu", "ntu", "lingao"])
    give_bulk(lab_site, "dayabay", 4_000_000)
    for name in ("cms01", "sdu", "ntu", "lingao"):
        lab_site.add_target(name)
    for name in ("sdu", "ntu"):
        lab_site.lab[name].limit_rate(400_000)

    def arrives(name: str) -> bool:
        return any(path.stat().st_size > 300_000 for path in (lab_site.place(name) / "copies/.altbackup/incoming/dayabay").glob("*"))

    def fall_silent() -> None:
        for process in lab_site.lab["ntu"].processes("sshd"):
            os.kill(process.pid, signal.SIGSTOP)

    with (
        when(lambda: lab_site.has_begun("tarball_send"), lab_site.lab["cms01"].cut),
        when(lambda: arrives("sdu"), lab_site.lab["sdu"].cut),
        when(lambda: arrives("ntu"), fall_silent),
    ):
        run = lab_site.run("backup", stamp=DAY1)
    failures = failing(run)
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


def test_source_that_cannot_log_in_says_where_as_whom_and_in_the_words_of_ssh(lab_site: LabSite) -> None:
    lab_site.add_source("dayabay", altbackup_targets=["cms01", "sdu", "ntu", "lingao"])
    lab_site.add_source("lingao", altbackup_targets=["ntu"], altbackup_ssh_key="~/.ssh/missing")
    lab_site.add_target("cms01")
    lab_site.add_target("sdu", altbackup_rsync_port=2222)
    lab_site.add_target("ntu", altbackup_rsync_user="nobody")
    lab_site.add_target("lingao")
    lab_site.hosts["ntu"]["altbackup_rsync_user"] = "nobody"
    host = {name: lab_site.lab[name] for name in ("dayabay", "cms01", "sdu", "ntu", "lingao")}
    known = host["dayabay"].home / ".ssh" / "known_hosts"
    lines = known.read_text().splitlines()
    (key,) = [line.partition(" ")[2] for line in lines if line.startswith("sdu,")]
    known.write_text("\n".join([f"cms01,{host['cms01'].address} {key}" if line.startswith("cms01,") else line for line in lines]) + "\n")
    began = time.monotonic()
    failures = failing(lab_site.run("backup", stamp=DAY1))
    print(f"{time.monotonic() - began:.0f} s")
    expected = {
        "dayabay -> cms01": ["Host key verification failed", f"root@{host['cms01'].address}"],
        "dayabay -> sdu": ["Connection refused", f"root@{host['sdu'].address}", "port 2222"],
        "dayabay -> ntu": ["Permission denied", f"nobody@{host['ntu'].address}"],
        "lingao -> ntu": ["Permission denied", "nobody", str(host["lingao"].home / ".ssh/missing"), "No such file or directory"],
    }
    assert set(failures) == set(expected)
    for where, words in expected.items():
        assert [word for word in words if word not in failures[where]] == [], failures[where]
    read_again(lab_site.tree("dayabay", "lingao"), 1)

    known.write_text("\n".join(lines) + "\n")
    for name, variable in (("sdu", "altbackup_rsync_port"), ("ntu", "altbackup_rsync_user"), ("lingao", "altbackup_ssh_key")):
        del lab_site.hosts[name][variable]
    again = lab_site.run("backup", stamp=DAY1)
    assert again.rc == 0, again.stdout
    for source, target in (("dayabay", "cms01"), ("dayabay", "sdu"), ("dayabay", "ntu"), ("lingao", "ntu")):
        read_again(lab_site.tree(source, target), 1)
