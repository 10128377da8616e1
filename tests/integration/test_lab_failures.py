"""Hosts that cannot be reached or used fail by themselves: the others are done, they are named, and the run can be repeated."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.lab_site import DAY1, DAY2, LabSite, failures_of, plant, read_again, repaired, stamps_of
from integration.site import tarballs_of
from lab import Lab
from lab.lab_fixture import lab_fixture, needs_namespaces

pytestmark = needs_namespaces

sites = lab_fixture(["dayabay", "lingao", "cms01", "sdu", "ntu"], sources=["dayabay", "lingao"])


@pytest.fixture
def lab_site(sites: Lab, tmp_path: Path) -> Iterator[LabSite]:
    """A site without hosts, whose lab is repaired afterwards."""
    with repaired(sites, tmp_path) as site:
        yield site


@pytest.mark.full
def test_only_target_unreachable(lab_site: LabSite) -> None:
    lab_site.add_source("dayabay", altbackup_targets=["cms01"])
    lab_site.add_target("cms01")
    lab_site.lab["cms01"].cut()
    failures = failures_of(lab_site.run("backup", stamp=DAY1))
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
    failures = failures_of(lab_site.run("backup", stamp=DAY1))
    assert "dayabay" in failures
    assert "unreachable" in failures["dayabay"]
    assert "Connection refused" in failures["dayabay"]
    assert tarballs_of(lab_site.tree("dayabay", "cms01")) == []


def received(site: LabSite) -> dict[str, int]:
    """Return the bytes that the hosts' links have received so far."""
    return {name: host.bytes_received() for name, host in site.lab.hosts.items()}


@pytest.mark.full
def test_one_target_unreachable_and_one_failing_do_not_touch_the_third(lab_site: LabSite) -> None:
    lab_site.add_source("dayabay", altbackup_targets=["cms01", "sdu", "ntu"], altbackup_keep=1)
    (lab_site.live_of("dayabay") / "notes" / "bulk").write_bytes(os.urandom(3_000_000))
    for name in ("cms01", "sdu", "ntu"):
        lab_site.add_target(name, altbackup_keep=1)
        plant(lab_site.tree("dayabay", name), "folders/notes", DAY1, b"old")
    plant(lab_site.tree("dayabay"), "folders/notes", DAY1, b"old")
    lab_site.lab["cms01"].cut()
    lab_site.lab["sdu"].remount_readonly(lab_site.place("sdu") / "copies")
    failures = failures_of(lab_site.run("backup", stamp=DAY2))
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


@pytest.mark.full
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
    known.write_text(
        "\n".join([f"cms01,{host['cms01'].address} {key}" if line.startswith("cms01,") else line for line in lines])
        + "\n"
    )
    began = time.monotonic()
    failures = failures_of(lab_site.run("backup", stamp=DAY1))
    print(f"{time.monotonic() - began:.0f} s")
    expected = {
        "dayabay -> cms01": ["Host key verification failed", f"root@{host['cms01'].address}"],
        "dayabay -> sdu": ["Connection refused", f"root@{host['sdu'].address}", "port 2222"],
        "dayabay -> ntu": ["Permission denied", f"nobody@{host['ntu'].address}"],
        "lingao -> ntu": [
            "Permission denied",
            "nobody",
            str(host["lingao"].home / ".ssh/missing"),
            "No such file or directory",
        ],
    }
    assert set(failures) == set(expected)
    for where, words in expected.items():
        assert [word for word in words if word not in failures[where]] == [], failures[where]
    read_again(lab_site.tree("dayabay", "lingao"), 1)

    known.write_text("\n".join(lines) + "\n")
    for name, variable in (
        ("sdu", "altbackup_rsync_port"),
        ("ntu", "altbackup_rsync_user"),
        ("lingao", "altbackup_ssh_key"),
    ):
        del lab_site.hosts[name][variable]
    again = lab_site.run("backup", stamp=DAY1)
    assert again.rc == 0, again.stdout
    for source, target in (("dayabay", "cms01"), ("dayabay", "sdu"), ("dayabay", "ntu"), ("lingao", "ntu")):
        read_again(lab_site.tree(source, target), 1)
