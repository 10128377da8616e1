"""Transports between real hosts: sent or fetched, with keys bound to one folder, through a gate or the controller, in turn."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.lab_site import DAY1, DAY2, LabSite, moment, read_again, repaired, when
from integration.site import Run, tarballs_of, tree_of
from lab import Lab
from lab.lab_fixture import lab_fixture, needs_namespaces

pytestmark = needs_namespaces
BULK = 16_000_000

sites = lab_fixture(["dayabay", "lingao", "cms01", "sdu"], sources=["dayabay", "lingao", "sdu"])


@pytest.fixture
def lab_site(sites: Lab, tmp_path: Path) -> Iterator[LabSite]:
    """A site without hosts, whose lab is repaired afterwards."""
    keys = {name: (sites[name].home / ".ssh" / "authorized_keys").read_text() for name in sites.names}
    try:
        with repaired(sites, tmp_path) as site:
            yield site
    finally:
        for name, text in keys.items():
            (sites[name].home / ".ssh" / "authorized_keys").write_text(text)


def bind_key(site: LabSite, server: str, client: str, command: str) -> None:
    """Let a client's key start only one command on a server."""
    authorized = site.lab[server].home / ".ssh" / "authorized_keys"
    key = site.lab[client].key
    assert key is not None
    public = Path(f"{key}.pub").read_text().split()[1]
    lines = [
        f'restrict,command="{command}" {line}' if public in line else line
        for line in authorized.read_text().splitlines()
    ]
    assert sum(line.startswith("restrict") for line in lines) == 1
    authorized.write_text("".join(f"{line}\n" for line in lines))


def content(base: Path) -> dict[str, Any]:
    """Return the contents of a tree, without times and its private folder."""
    return {path: (mode, what) for path, (mode, _, what) in tree_of(base).items() if not path.startswith(".altbackup")}


def bound(lab_site: LabSite) -> tuple[Path, Path, Path]:
    """Make a source that sends to one target and is read by another, each with a key for one folder; return base and folders."""
    base = lab_site.add_source(
        "dayabay", altbackup_targets=["cms01", "sdu"], altbackup_transport={"sdu": "pull"}, altbackup_rrsync=True
    )
    for name in ("cms01", "sdu"):
        lab_site.add_target(name, altbackup_rrsync=True)
    incoming = lab_site.place("cms01") / "copies/.altbackup/incoming/dayabay"
    outgoing = base / ".altbackup/outgoing/sdu"
    for folder in (incoming, outgoing):
        folder.mkdir(parents=True, mode=0o700)
    bind_key(lab_site, "cms01", "dayabay", f"rrsync -wo {incoming}")
    bind_key(lab_site, "dayabay", "sdu", f"rrsync -ro {outgoing}")
    return base, incoming, outgoing


@pytest.mark.full
def test_sent_or_fetched_with_keys_bound_to_their_folder_the_result_is_the_same(lab_site: LabSite) -> None:
    base, incoming, outgoing = bound(lab_site)
    (lab_site.live_of("dayabay") / "notes" / "bulk").write_bytes(os.urandom(BULK))
    first = lab_site.run("backup", stamp=DAY1)
    assert first.rc == 0, first.stdout
    trees = [lab_site.tree("dayabay", name) for name in ("cms01", "sdu")]
    for tree in (base, *trees):
        read_again(tree, 1)
    assert content(trees[0]) == content(trees[1])
    assert len([module for _, module, _ in first.calls]) <= 2 * 9

    bulk = lab_site.live_of("dayabay") / "notes" / "bulk"
    bulk.write_bytes(bulk.read_bytes()[: BULK // 2] + os.urandom(BULK // 50) + bulk.read_bytes()[BULK // 2 :])
    before = {name: lab_site.lab[name].bytes_received() for name in ("cms01", "sdu")}
    second = lab_site.run("backup", stamp=DAY2)
    assert second.rc == 0, second.stdout
    more = {name: lab_site.lab[name].bytes_received() - count for name, count in before.items()}
    assert {name: count < 0.3 * BULK for name, count in more.items()} == {"cms01": True, "sdu": True}, more
    assert content(trees[0]) == content(trees[1])
    for tree in (base, *trees):
        read_again(tree, 2)
        assert not (list(incoming.iterdir()) + list(outgoing.iterdir()))


@pytest.mark.full
def test_a_rerun_with_bound_keys_changes_nothing(lab_site: LabSite) -> None:
    bound(lab_site)
    for changed in (True, False):
        run = lab_site.run("backup", stamp=DAY1)
        assert (run.rc, run.changed > 0) == (0, changed), run.stdout


@pytest.mark.full
def test_targets_that_only_a_gate_or_the_controller_reaches(lab_site: LabSite) -> None:
    gate, tunnelled = lab_site.lab["cms01"], lab_site.lab["sdu"]
    lab_site.add_source("dayabay", altbackup_targets=["cms01"], altbackup_ssh_args="-o ProxyJump=lingao")
    lab_site.add_source("lingao", altbackup_targets=["sdu"], altbackup_ssh_args=f"-o HostKeyAlias={tunnelled.address}")
    lab_site.add_target("cms01")
    lab_site.add_target("sdu", altbackup_rsync_host="127.0.0.1", altbackup_rsync_port=22022)
    lab_site.hosts["lingao"]["lab_way"]["ansible_ssh_common_args"] += (
        f" -R 127.0.0.1:22022:{tunnelled.address}:{tunnelled.port}"
    )
    for name, address in (("dayabay", gate.address), ("lingao", tunnelled.address)):
        lab_site.lab[name].run(["ip", "route", "add", "blackhole", address])
    try:
        run = lab_site.run("backup", stamp=DAY1)
        assert run.rc == 0, run.stdout
        read_again(lab_site.tree("dayabay", "cms01"), 1)
        read_again(lab_site.tree("lingao", "sdu"), 1)
        lab_site.hosts["dayabay"]["altbackup_ssh_args"] = ""
        assert lab_site.run("backup", stamp=DAY2).rc != 0, "there is no other way"
    finally:
        for name, address in (("dayabay", gate.address), ("lingao", tunnelled.address)):
            lab_site.lab[name].run(["ip", "route", "del", "blackhole", address])


def spans(site: LabSite, module: str) -> dict[str, tuple[float, float]]:
    """Return start and end of the longest call of a module for each source."""
    found: dict[str, tuple[float, float]] = {}
    for event in site.events_in(module):
        end = moment(event)
        began = end - float(event["event_data"]["duration"])
        known = found.get(event["event_data"]["host"], (0.0, 0.0))
        if end - began > known[1] - known[0]:
            found[event["event_data"]["host"]] = (began, end)
    return found


@pytest.mark.full
def test_transfers_into_a_target_go_on_in_turn_and_stand_back_on_both_ends(lab_site: LabSite) -> None:
    for name in ("dayabay", "lingao"):
        lab_site.add_source(name, altbackup_targets=["cms01"], altbackup_bwlimit="3M", altbackup_nice=5)
        (lab_site.live_of(name) / "notes" / "bulk").write_bytes(os.urandom(BULK))
    lab_site.add_target("cms01", altbackup_target_slots=1, altbackup_nice=7, altbackup_ionice="idle")
    hosts = {name: lab_site.lab[name] for name in ("dayabay", "lingao", "cms01")}
    seen: dict[str, set[int]] = {name: set() for name in hosts}

    def look() -> bool:
        for name, host in hosts.items():
            for process in host.processes("rsync"):
                seen[name].add(os.getpriority(os.PRIO_PROCESS, process.pid))
        return all(seen.values())

    with when(look, lambda: None):
        run = lab_site.run("backup", stamp=DAY1)
    assert run.rc == 0, run.stdout
    assert seen == {"dayabay": {5}, "lingao": {5}, "cms01": {7}}
    assert [result["busy"] for _, module, result in run.calls if module == "tarball_prepare"].count(True) == 1
    (first, second) = sorted(spans(lab_site, "tarball_send").values())
    assert first[1] - first[0] > BULK / (3 << 20) * 0.8, "the limit was kept"
    assert second[0] >= first[1], "one after the other"
    for name in ("dayabay", "lingao"):
        read_again(lab_site.tree(name, "cms01"), 1)


@pytest.mark.full
def test_two_runs_at_once_are_kept_apart_and_the_second_fails_cleanly(lab_site: LabSite) -> None:
    lab_site.add_source("dayabay", altbackup_targets=["cms01"], altbackup_bwlimit="2M")
    (lab_site.live_of("dayabay") / "notes" / "bulk").write_bytes(os.urandom(BULK))
    lab_site.add_target("cms01")
    other = LabSite(lab_site.folder / "other", lab=lab_site.lab, limits=lab_site.limits)
    other.folder.mkdir()
    other.hosts, other.groups = lab_site.hosts, lab_site.groups
    second: list[Run] = []
    with when(lambda: lab_site.has_begun("tarball_send"), lambda: second.append(other.run("backup", stamp=DAY2))):
        first = lab_site.run("backup", stamp=DAY1)
    assert first.rc == 0, first.stdout
    assert second[0].rc != 0
    assert "is in use" in second[0].message
    assert "nothing was done here" in second[0].message
    assert [path.parts[-5:-1] for path in tarballs_of(lab_site.tree("dayabay"))] == [tuple(DAY1.split("/"))]
    read_again(lab_site.tree("dayabay", "cms01"), 1)
    after = other.run("backup", stamp=DAY2)
    assert after.rc == 0, after.stdout
    assert "took over" not in after.stdout
