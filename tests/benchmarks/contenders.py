"""Nights: the same live data backed up over ssh by this collection, by borg and by restic, as an operator would."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from integration.lab_site import LabSite, environment
from integration.site import Site, tarballs_of
from lab.host import Host

from . import data
from .contest import SOURCE, TARGET, Bench, Contender, Contest, on
from .data import size_of
from .figures import Figures
from .meter import Step, call

ROOT = Path(__file__).resolve().parents[2]
FIRST_NIGHT = date(2013, 5, 1)
KEEP_DAILY = "7"
FOLDER_FILES = 1000
_FEW = 2


@dataclass
class Ours:
    """Runs of this collection for a site."""

    site: Site
    night: int = 0

    def playbook(self, name: str) -> Step:
        """Return the run of a playbook for the present night."""
        return self.program(
            "ansible-playbook", str(ROOT / "playbooks" / f"{name}.yml"), "-e", f"altbackup_stamp={stamp(self.night)}"
        )

    def program(self, program: str, *words: str) -> Step:
        """Return the run of a program of Ansible's."""
        own = {
            "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).with_name("callbacks")),
            "ANSIBLE_CALLBACKS_ENABLED": "altbackup.core.error_mail,measured",
            "BENCHMARK_CALLS": str(self._calls),
            "ALTBACKUP_HISTORY": str(self.site.folder / "history"),
            "PYTHONPYCACHEPREFIX": os.environ.get("PYTHONPYCACHEPREFIX", str(self.site.folder / "byte code")),
        }
        argv = [str(Path(sys.executable).with_name(program)), "-i", str(self.site.write_inventory()), *words]
        return Step(Path(words[0]).name, argv, {**environment(), **own}, ROOT)

    def calls(self) -> dict[str, float]:
        """Return the number of module calls of the last run for each source."""
        return {"calls": len(self._noted()) / len(self.site.groups["sources"])}

    def profile(self) -> Figures:
        """Return the seconds of the last run in each module, of a few hosts on each, of many in all, though some run at once."""
        found: Counter[str] = Counter()
        for one in self._noted():
            found[one["module"] if len(self.site.hosts) > _FEW else f"{one['module']} on {one['host']}"] += one[
                "seconds"
            ]
        return found

    @property
    def _calls(self) -> Path:
        return self.site.folder / "calls.json"

    def _noted(self) -> list[dict[str, Any]]:
        noted: list[dict[str, Any]] = json.loads(self._calls.read_text(encoding="utf-8"))
        return noted


def stamp(night: int) -> str:
    """Return the stamp of a night."""
    return f"{FIRST_NIGHT + timedelta(days=night):%Y/%m/%d}/104701"


def lab_site(bench: Bench, name: str, items: Sequence[Mapping[str, Any]], **settings: Any) -> LabSite:
    """Return a site of the two hosts with these items, below a folder of that name."""
    folder = bench.folder / name
    folder.mkdir(parents=True)
    site = LabSite(folder, lab=bench.lab)
    site.add_source(SOURCE, altbackup_targets=[TARGET], altbackup_items=list(items), **settings)
    site.add_target(TARGET)
    return site


@dataclass
class Nights:
    """Live data of a kind and its contenders; each turn is another night."""

    bench: Bench
    kind: str
    size: int
    """Size of the live data, in bytes"""
    revisions: int
    ours: Ours = field(init=False)

    def __post_init__(self) -> None:
        name = f"{self.kind}-{self.size}-{self.revisions}"
        self.live = data.clone(data.keep(self.bench.store, name, self._make), self.bench.source.data / "live" / "data")
        item = {"kind": self.kind, "name": "data", "path": str(self.live)}
        # All of a folder may change at once: that is requested here, and is no ransomware.
        settings = {"altbackup_full_every": self.bench.full_every, "altbackup_churn": "100%"}
        self.ours = Ours(lab_site(self.bench, "site", [item], **settings))

    def _make(self, path: Path) -> None:
        if self.kind == "svn":
            data.make_svn(path, self.size, self.revisions)
        elif self.kind == "git":
            data.make_git(path, self.size, self.revisions)
        else:
            data.make_folder(path, FOLDER_FILES, self.size // FOLDER_FILES)

    def change(self, share: float) -> None:
        """Begin another night, with a share of the data changed: added to a repository, rewritten in a folder."""
        self.ours.night += 1
        seed = 1000 + self.ours.night
        size, revisions = int(self.size * share), max(1, round(self.revisions * share))
        if share and self.kind == "svn":
            data.grow_svn(self.live, size, revisions, seed)
        elif share and self.kind == "git":
            data.grow_git(self.live, size, revisions, seed)
        elif share:
            data.rewrite_folder(self.live, FOLDER_FILES, self.size // FOLDER_FILES, round(FOLDER_FILES * share), seed)

    def contest(self, share: float, turns: int = 0) -> Contest:
        """Return the contest in which that share changes each night."""
        contenders = [self._ours(), *(make(self) for make in (borg, restic))]
        return Contest(
            contenders, lambda: self.change(share), first=self.ours.night == 0 and self.bench.size.firsts, turns=turns
        )

    def _ours(self) -> Contender:
        copies = self.bench.target.data / "site"

        def look() -> Figures:
            return {**self.ours.calls(), "stored": size_of(copies)}

        return Contender("altbackup", lambda: [self.ours.playbook("backup")], after=look, profile=self.ours.profile)

    def copy_by_hand(self, owner: str) -> tuple[Path, list[Step]]:
        """Return what an operator backs up, and how it is made: a consistent copy of a repository, kept from night to night."""
        source, copy = self.bench.source, self.bench.source.data / owner / "copy"
        copy.parent.mkdir(exist_ok=True)
        if self.kind == "svn":
            return copy, [on(source, "hotcopy", "svnadmin", "hotcopy", "-q", "--incremental", self.live, copy)]
        if self.kind == "git":
            return copy, [fetch(source, self.live, copy)]
        return self.live, []


def fetch(host: Host, live: Path, copy: Path) -> Step:
    """Return the step that fetches all references of a Git repository into a mirror, made if missing."""
    if not copy.exists():
        data.call("git", "init", "-q", "--bare", copy)
    return on(host, "fetch", "git", "-C", copy, "fetch", "-q", "--prune", live, "+refs/*:refs/*")


def encrypted_nights(bench: Bench, size: int, revisions: int, recipients: Sequence[str], share: float) -> Contest:
    """Return the contest of nights of the same live data, encrypted and not."""
    bench.clear()
    kept = data.keep(bench.store, f"svn-{size}-{revisions}", partial(data.make_svn, size=size, revisions=revisions))
    live = data.clone(kept, bench.source.data / "live" / "data")
    item = {"kind": "svn", "name": "data", "path": str(live)}
    settings: dict[str, dict[str, Any]] = {"encrypted": {"altbackup_encrypt_to": [*recipients]}, "plain": {}}
    runs = {
        name: Ours(lab_site(bench, name, [item], altbackup_full_every=bench.full_every, **own))
        for name, own in settings.items()
    }

    def change() -> None:
        for ours in runs.values():
            ours.night += 1
        night = runs["plain"].night
        data.grow_svn(live, int(size * share), max(1, round(revisions * share)), 1000 + night)

    def contender(name: str, ours: Ours) -> Contender:
        return Contender(name, lambda: [ours.playbook("backup")], after=ours.calls, profile=ours.profile)

    return Contest([contender(name, ours) for name, ours in runs.items()], change, first=bench.size.firsts)


def shared_nights(bench: Bench, kind: str, size: int, revisions: int) -> Nights:
    """Return the nights of such data: those of the previous row, if it has the same."""
    there = bench.nights
    if there is None or (there.kind, there.size, there.revisions) != (kind, size, revisions):
        bench.clear()
        bench.nights = Nights(bench, kind, size, revisions)
    assert bench.nights is not None
    return bench.nights


def ssh_of(source: Host, target: Host) -> str:
    """Return the path of a script by which a source reaches a target with ssh, since some programs split words without quotes."""
    path = source.data / "ssh"
    options = shlex.join(["-F", "none", "-p", str(target.port), *source.ssh_options])
    path.write_text(f'#!/bin/sh\nexec ssh {options} "$@"\n', encoding="utf-8")
    path.chmod(0o755)
    return shlex.quote(str(path))


def borg(nights: Nights) -> Contender:
    """Return borg over ssh, unencrypted like our tarballs: create, prune, check --verify-data."""
    source, target = nights.bench.source, nights.bench.target
    store = target.data / "borg"
    url = f"ssh://{target.user}@{target.address}:{target.port}{store}"
    env = {
        "BORG_RSH": ssh_of(source, target),
        "BORG_BASE_DIR": str(source.data / "borg"),
        "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
    }

    def steps() -> list[Step]:
        path, copy = nights.copy_by_hand("borg")
        night = nights.ours.night
        when = f"{FIRST_NIGHT + timedelta(days=night)}T10:47:01"
        return [
            *([] if store.exists() else [on(source, "init", "borg", "init", "--encryption", "none", url, env=env)]),
            *copy,
            on(source, "create", "borg", "create", "--timestamp", when, f"{url}::night{night}", path, env=env),
            on(source, "prune", "borg", "prune", "--keep-daily", KEEP_DAILY, url, env=env),
            on(source, "check", "borg", "check", "--verify-data", url, env=env),
        ]

    def look() -> Figures:
        compact = on(source, "compact", "borg", "compact", url, env=env)
        call(compact)
        return {"stored": size_of(store)}

    return Contender("borg", steps, after=look, needs="borg")


def restic(nights: Nights) -> Contender:
    """Return restic over sftp: backup, forget --prune, check --read-data."""
    source, target = nights.bench.source, nights.bench.target
    store = target.data / "restic"
    address = f"{target.user}@{target.address}"
    options = ["-q", "-o", f"sftp.command={ssh_of(source, target)} {address} -s sftp"]
    env = {
        "RESTIC_REPOSITORY": f"sftp:{address}:{store}",
        "RESTIC_PASSWORD": "of the benchmarks",
        "RESTIC_CACHE_DIR": str(source.data / "restic" / "cache"),
    }

    def step(title: str, *words: object) -> Step:
        return on(source, title, "restic", *options, *words, env=env)

    def steps() -> list[Step]:
        path, copy = nights.copy_by_hand("restic")
        when = f"{FIRST_NIGHT + timedelta(days=nights.ours.night)} 10:47:01"
        return [
            *([] if store.exists() else [step("init", "init")]),
            *copy,
            step("backup", "backup", "--host", SOURCE, "--time", when, path),
            step("forget", "forget", "--keep-daily", KEEP_DAILY, "--prune"),
            step("check", "check", "--read-data"),
        ]

    return Contender("restic", steps, after=lambda: {"stored": size_of(store)}, needs="restic")


def unchanged(make: Callable[[Bench], Site]) -> Callable[[Bench], Contest]:
    """Return the contest of a site's unchanged nights with a ping of its hosts; `make` makes the site."""

    def contest(bench: Bench) -> Contest:
        bench.clear()
        ours = Ours(make(bench))
        settings = [variables for variables in ours.site.hosts.values() if "altbackup_target_base" in variables]
        copies = [Path(variables["altbackup_target_base"]) for variables in settings]
        before = [0]

        def next_night() -> None:
            ours.night += 1

        def look() -> Figures:
            before.append(sum(map(stored_tarballs, copies)))
            return {**ours.calls(), "added": before[-1] - before[-2]}

        return Contest(
            [
                Contender("altbackup", lambda: [ours.playbook("backup")], after=look, profile=ours.profile),
                Contender("ping", lambda: [ours.program("ansible", "all", "-m", "ping")]),
            ],
            next_night,
            first=True,
        )

    return contest


def stored_tarballs(copies: Path) -> int:
    """Return the bytes of the tarballs that a target keeps, hard links counted once."""
    found = [path.stat() for source in copies.iterdir() if source.name != ".altbackup" for path in tarballs_of(source)]
    return sum({status.st_ino: status.st_size for status in found}.values())
