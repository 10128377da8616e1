"""Unusable ways to peers and disks of targets: each fails by itself, with a helpful message, and the others are served."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faults.conftest import Row
from faults.pairs import PAYLOADS, Pairs, plant_older, said
from helpers.dead_mount import dead_mount
from integration.lab_site import DAY1, LabSite, failures_of, plant, repaired
from integration.site import Run
from lab import Lab
from lab.host import Host
from lab.lab_fixture import lab_fixture, needs_namespaces

pytestmark = [needs_namespaces, pytest.mark.full]

SIZE = 3_000_000
SOURCES = ["dayabay", "nowhere", "port", "banner", "closed"]
TARGETS = ["good", "hostkey", "nokey", "secret", "refused", "unmounted", "readonly", "full", "hung"]
sites = lab_fixture([*SOURCES, *TARGETS], sources=[*SOURCES, *TARGETS])


@pytest.fixture
def lab_site(sites: Lab, tmp_path: Path) -> Iterator[LabSite]:
    """A site without hosts, whose lab is repaired afterwards."""
    with repaired(sites, tmp_path) as site:
        yield site
    if (sites["nokey"].home / ".ssh" / "hidden").exists():
        hide_key(sites["nokey"], back=True)


def add_user(host: Host, name: str, script: str) -> None:
    """Give a host's user a second name with its own login shell."""
    shell = host.home / f"shell-{name}"
    shell.write_text(f"#!/bin/sh\n{script}\n")
    shell.chmod(0o755)
    passwd = host.outside("/etc") / "passwd"
    host.write_etc("passwd", f"{passwd.read_text()}{name}:x:0:0::{host.home}:{shell}\n")


def forget_host(host: Host, peer: Host) -> None:
    """Let a host know an outdated key of a peer, as after a new installation of the peer."""
    known = host.home / ".ssh" / "known_hosts"
    lines = known.read_text().splitlines()
    own, other = ([line for line in lines if line.startswith(f"{it.name},")] for it in (peer, host))
    wrong = own[0].partition(" ")[0] + " " + other[0].partition(" ")[2]
    known.write_text("\n".join([wrong if line in own else line for line in lines]) + "\n")


def hide_key(host: Host, *, back: bool = False) -> None:
    """Take a host's key away, or give it back."""
    assert host.key is not None
    hidden = host.key.with_name("hidden")
    if back:
        hidden.rename(host.key)
    else:
        host.key.rename(hidden)


def lock_key(host: Host) -> Path:
    """Give a host a key with a passphrase that its peers accept; return it."""
    key = host.home / ".ssh" / "secret"
    subprocess.run(["cp", host.home / ".ssh" / "id_ed25519", key], check=True)
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "forgotten", "-f", key], check=True)
    return key


def test_ways_and_disks_that_cannot_be_used_push(lab_site: LabSite, add_row: Callable[[Row], None]) -> None:
    lab = lab_site.lab
    names = ["good", "nowhere", "port", "hostkey", "banner", "closed", "refused", "unmounted", "readonly", "full"]
    lab_site.add_source("dayabay", altbackup_targets=names)
    lab_site.add_source("nokey", altbackup_targets=["good"])
    hide_key(lab["nokey"])
    lab_site.add_source("secret", altbackup_targets=["good"], altbackup_ssh_key=str(lock_key(lab["secret"])))
    settings = {
        "nowhere": {"altbackup_rsync_host": "no-such-host.invalid"},
        "port": {"altbackup_rsync_port": 2222},
        "banner": {"altbackup_rsync_user": "talker"},
        "closed": {"altbackup_rsync_user": "closer"},
    }
    add_user(lab["banner"], "talker", 'echo "Welcome to the machine"; exec /bin/sh "$@"')
    add_user(lab["closed"], "closer", "exit 1")
    for name in names:
        if name in ("unmounted", "full"):
            (lab_site.place(name) / "copies").mkdir(parents=True)
            lab[name].small_disk(60_000_000, lab_site.place(name) / "copies")
            lab[name].run(["mkdir", "-m", "700", str(lab_site.place(name) / "copies/.altbackup")], check=True)
        lab_site.add_target(name, **settings.get(name, {}))
    pairs = {"dayabay": names, "nokey": ["good"], "secret": ["good"]}
    _plant(lab_site, pairs)
    forget_host(lab["dayabay"], lab["hostkey"])
    lab["refused"].run(["true"])
    lab["unmounted"].unmount(lab_site.place("unmounted") / "copies")
    (lab_site.place("unmounted") / "copies" / ".altbackup").rmdir()
    lab["readonly"].remount_readonly(lab_site.place("readonly") / "copies")
    lab["full"].fill_disk(lab_site.place("full") / "copies", leave=1_000_000)
    lab["refused"].stop_sshd()
    _check(
        lab_site,
        Pairs(lab_site, pairs),
        lab_site.run("synchronize", stamp=DAY1),
        {
            "name that does not resolve": ("dayabay -> nowhere", "Could not resolve hostname no-such-host.invalid"),
            "wrong port": ("dayabay -> port", "Connection refused"),
            "changed host key": ("dayabay -> hostkey", "REMOTE HOST IDENTIFICATION HAS CHANGED"),
            "login shell that prints a banner": ("dayabay -> banner", "is your shell clean"),
            "login shell that exits": ("dayabay -> closed", "connection unexpectedly closed"),
            "sshd of the target is down": ("dayabay -> refused", "Connection refused"),
            "target base unmounted": ("dayabay -> unmounted", "has no marker .altbackup/"),
            "read-only target": ("dayabay -> readonly", "cannot be written"),
            "target disk full before": ("dayabay -> full", "are needed for"),
            "missing key": ("nokey -> good", "Permission denied"),
            "key with a passphrase, no agent": ("secret -> good", "Permission denied"),
        },
        lambda: _repair(lab_site, settings),
        "push",
        add_row,
    )


def _plant(site: LabSite, pairs: dict[str, list[str]]) -> None:
    """Give sources and targets an older night, and the sources one that must be sent."""
    for source, targets in pairs.items():
        for target in ("", *targets):
            plant_older(site, source, target)
        plant(site.tree(source), "folders/notes", DAY1, os.urandom(SIZE))


def _repair(site: LabSite, settings: dict[str, dict[str, object]]) -> None:
    """Repair the ways of a push."""
    for name, wrong in settings.items():
        for variable in wrong:
            del site.hosts[name][variable]
    del site.hosts["secret"]["altbackup_ssh_key"]
    hide_key(site.lab["nokey"], back=True)
    known = site.lab["dayabay"].home / ".ssh" / "known_hosts"
    known.write_text(site.lab.known_hosts.read_text())
    base = site.place("unmounted") / "copies"
    assert os.listdir(site.lab["unmounted"].outside(base)) == [], "nothing was written below the bare mount point"
    site.lab["unmounted"].small_disk(60_000_000, base)
    site.lab["unmounted"].run(["mkdir", "-m", "700", f"{base}/.altbackup"], check=True)
    plant_older(site, "dayabay", "unmounted")
    site.lab["readonly"].remount_writable(site.place("readonly") / "copies")
    site.lab["full"].free_disk(site.place("full") / "copies")
    site.lab["refused"].start_sshd()


def test_ways_that_cannot_be_used_pull(lab_site: LabSite, add_row: Callable[[Row], None]) -> None:
    lab = lab_site.lab
    settings = {
        "nowhere": {"altbackup_rsync_host": "no-such-host.invalid"},
        "port": {"altbackup_rsync_port": 2222},
        "banner": {"altbackup_rsync_user": "talker"},
        "closed": {"altbackup_rsync_user": "closer"},
    }
    add_user(lab["banner"], "talker", 'echo "Welcome to the machine"; exec /bin/sh "$@"')
    add_user(lab["closed"], "closer", "exit 1")
    pairs = {name: ["good"] for name in settings}
    pairs["dayabay"] = ["good", "hostkey", "nokey", "secret"]
    for name, targets in pairs.items():
        lab_site.add_source(name, altbackup_targets=targets, altbackup_transport="pull", **settings.get(name, {}))
    lab_site.add_target("good")
    lab_site.add_target("hostkey")
    lab_site.add_target("nokey")
    hide_key(lab["nokey"])
    lab_site.add_target("secret", altbackup_ssh_key=str(lock_key(lab["secret"])))
    _plant(lab_site, pairs)
    forget_host(lab["hostkey"], lab["dayabay"])

    def repair() -> None:
        for name, wrong in settings.items():
            for variable in wrong:
                del lab_site.hosts[name][variable]
        del lab_site.hosts["secret"]["altbackup_ssh_key"]
        hide_key(lab["nokey"], back=True)
        (lab["hostkey"].home / ".ssh" / "known_hosts").write_text(lab.known_hosts.read_text())

    _check(
        lab_site,
        Pairs(lab_site, pairs),
        lab_site.run("synchronize", stamp=DAY1),
        {
            "name that does not resolve": ("nowhere -> good", "Could not resolve hostname no-such-host.invalid"),
            "wrong port": ("port -> good", "Connection refused"),
            "changed host key": ("dayabay -> hostkey", "REMOTE HOST IDENTIFICATION HAS CHANGED"),
            "login shell that prints a banner": ("banner -> good", "is your shell clean"),
            "login shell that exits": ("closed -> good", "connection unexpectedly closed"),
            "missing key": ("dayabay -> nokey", "Permission denied"),
            "key with a passphrase, no agent": ("dayabay -> secret", "Permission denied"),
        },
        repair,
        "pull",
        add_row,
    )


def test_target_base_whose_server_is_silent(lab_site: LabSite, add_row: Callable[[Row], None]) -> None:
    pairs = {"dayabay": ["hung", "good"]}
    lab_site.add_source("dayabay", altbackup_targets=pairs["dayabay"])
    lab_site.add_target("hung")
    lab_site.add_target("good")
    _plant(lab_site, pairs)
    looked = Pairs(lab_site, pairs)
    hung = lab_site.lab["hung"]
    with dead_mount(lab_site.place("hung") / "copies", lambda argv: hung.command(argv, None)):
        run = lab_site.run("synchronize", stamp=DAY1)
    faults = {"target base whose server is silent": ("dayabay -> hung", "is the server of its mount up?")}
    _check(lab_site, looked, run, faults, lambda: None, "push", add_row)


def _check(
    site: LabSite,
    pairs: Pairs,
    run: Run,
    faults: dict[str, tuple[str, str]],
    repair: Callable[[], None],
    transport: str,
    add_row: Callable[[Row], None],
) -> None:
    """Check each fault of a run with all of them at once, repair, run again and check once more."""
    failures = failures_of(run)
    missing = {
        fault: (where, words)
        for fault, (where, words) in faults.items()
        if words not in failures.get(where, "").partition("\n")[0]  # the subject of a mail contains it
    }
    assert not missing, f"{missing}\n{run.message}"
    assert {where for where, _ in faults.values()} == set(failures), "nothing else failed"
    assert pairs.wrong() == []
    repair()
    pairs.look()
    receiving = {name: site.lab[name].bytes_received() for name in site.lab.names}
    again = site.run("synchronize", stamp=DAY1)
    assert again.rc == 0, again.stdout
    assert pairs.wrong(healed=True) == []
    for fault, (where, words) in faults.items():
        source, target = where.split(" -> ")
        reference = pairs.shape("dayabay", "good")
        own = pairs.shape(source, target)
        assert own.keys() == {path.replace("dayabay/", f"{source}/", 1) for path in reference}, fault
        if source == "dayabay":
            assert pairs.differences("dayabay", target, "good") == [], fault
        moved = site.lab[target].bytes_received() - receiving[target]
        sharing = sum(target in names for names in pairs.targets.values())
        assert moved < sharing * (1.1 * SIZE + PAYLOADS), fault
        shown = f"{moved / 1e6:.1f} MB" + (f", of {sharing} sources" if sharing > 1 else "")
        add_row(Row(f"{fault} ({transport})", said(run, where, words), bytes=shown))
