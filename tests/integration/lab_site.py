"""A site over the lab: every host is reached by real ssh, and its data lies in its own data folder."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from integration.site import CACHE, KINDS, REPOSITORY, ZONE, Run, Site, tarballs_of, without_marks
from lab import Lab
from lab.host import Host
from lab.inventory import connection
from lab.namespaced import NamespacedHost
from lab.processes import wait_until

SITES = {"shenzhen": ["dayabay", "lingao"], "jinan": ["sdu"], "taipei": ["cms01", "ntu"]}
NAMES = {"svn": "dybsvn", "trac": "dybsvn", "git": "toolbox", "folder": "svnsetup", "sqlite": "monitor"}
DAY1, DAY2, DAY3, DAY4 = (f"2013/05/{day:02}/104701" for day in (7, 8, 9, 10))
QUICK = {
    "ansible_timeout": 5,
    "ansible_ssh_args": "-o BatchMode=yes -o ControlMaster=auto -o ControlPersist=60s -o ServerAliveInterval=2 -o ServerAliveCountMax=3",
    "altbackup_connect_timeout": "5s",
    "altbackup_io_timeout": "6s",
}
"""Short limits of silence, which a busy machine still meets"""


@dataclass
class LabSite(Site):
    """An inventory of a lab's hosts; each test has a folder of its own on each of them."""

    lab: Lab = field(kw_only=True)
    limits: Mapping[str, Any] = field(default_factory=dict, kw_only=True)

    def place(self, name: str) -> Path:
        """Return this test's folder on a host."""
        return self.lab[name].data / self.folder.name

    def live_of(self, name: str) -> Path:
        """Return the folder of a source's live data."""
        return self.place(name) / "live"

    def tree(self, source: str, target: str = "") -> Path:
        """Return the base of a source, or its tree on a target."""
        return self.place(target) / "copies" / source if target else self.place(source) / "backup"

    def add_source(self, name: str, **settings: Any) -> Path:
        """Add a source with a marked base and, as its one item, a folder with a file; return the base."""
        note = self.live_of(name) / "notes" / "note"
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(f"of {name}\n")
        items = [{"kind": "folder", "name": "notes", "path": str(note.parent)}]
        base = self.tree(name)
        self._add("sources", name, base, {"altbackup_base": str(base), "altbackup_items": items, **settings})
        return base

    def add_target(self, name: str, **settings: Any) -> Path:
        """Add a target with a marked base; return the base."""
        base = self.place(name) / "copies"
        self._add("targets", name, base, {"altbackup_target_base": str(base), **settings})
        return base

    def _add(self, group: str, name: str, base: Path, settings: Mapping[str, Any]) -> None:
        (base / ".altbackup").mkdir(parents=True, mode=0o700)
        known = self.hosts.get(name) or {"lab_way": connection(self.lab, self.lab[name]), **self.limits}
        self.hosts[name] = {**known, **settings}
        self.groups[group].append(name)

    def write_inventory(self) -> Path:
        """Write the inventory, in which connection variables follow from a host's own, as in one with a naming scheme."""
        inventory = super().write_inventory()
        ways = [settings["lab_way"] for settings in self.hosts.values() if "lab_way" in settings]
        templates = {name: f"{{{{ lab_way.{name} }}}}" for name in (ways[0] if ways else {})}
        (inventory / "group_vars").mkdir()
        for group in ("sources", "targets"):
            (inventory / "group_vars" / f"{group}.yml").write_text(yaml.safe_dump(templates))
        return inventory

    def add_sites(self) -> None:
        """Make each site a group of its existing hosts."""
        for site, names in SITES.items():
            self.groups[site] = [name for name in names if name in self.hosts]

    def give_all_kinds(self, name: str, template: Path, bulk: int = 0) -> None:
        """Give a source an item of every kind, the folder and the repositories with `bulk` bytes that do not compress."""
        live = self.live_of(name)
        shutil.copytree(template, live, symlinks=True, dirs_exist_ok=True)
        if bulk:
            (live / "folder" / "bulk").write_bytes(os.urandom(bulk))
        paths = {kind: live / (f"{kind}.db" if kind == "sqlite" else kind) for kind in KINDS}
        self.hosts[name]["altbackup_items"] = [
            {"kind": kind, "name": NAMES[kind], "path": str(paths[kind])} for kind in KINDS
        ]

    def job_events(self) -> list[dict[str, Any]]:
        """Return the events so far of the last run, in order."""
        found = []
        for path in self.folder.glob("runner/artifacts/*/job_events/*.json"):
            with suppress(OSError, ValueError):  # not yet written to its end
                found.append(json.loads(path.read_text()))
        return sorted((event for event in found if "counter" in event), key=lambda event: event["counter"])

    def has_begun(self, module: str) -> bool:
        """Return whether the run has called a module of the collection."""
        begun = ("runner_on_start", "playbook_on_task_start")
        return any(
            event["event"] in begun and event["event_data"].get("task_action") == f"altbackup.core.{module}"
            for event in self.job_events()
        )

    def events_in(self, module: str) -> list[dict[str, Any]]:
        """Return the events of the last run with results of a module's calls, those of a loop one by one."""
        called = [
            event for event in self.job_events() if event["event_data"].get("task_action") == f"altbackup.core.{module}"
        ]
        return [
            event
            for event in called
            if event["event"].startswith("runner_") and "results" not in event["event_data"].get("res", {"results": 0})
        ]

    def seconds_in(self, module: str) -> float:
        """Return the seconds of the longest call of a module in the last run."""
        return max(float(event["event_data"]["duration"]) for event in self.events_in(module))

    def seconds_of(self, host: str) -> float:
        """Return the seconds that a source took in the last run, from the start of its play to its last event there."""
        own = [event for event in self.job_events() if event["event_data"].get("play", "").startswith("(2/3)")]
        last = [event for event in own if event["event_data"].get("host") == host]
        return moment(last[-1]) - moment(own[0])

    def sent(self, run: Run) -> dict[str, int]:
        """Return {target: bytes of the tarballs that a run sent there}."""
        results = [result["sent"] for _, module, result in run.calls if module == "tarball_send"]
        return {target: count for sent in results for target, count in sent.items() if count}


def moment(event: Mapping[str, Any]) -> float:
    """Return the time of an event, in seconds since 1970."""
    return datetime.fromisoformat(event["created"]).timestamp()


@contextmanager
def when(seen: Callable[[], bool], act: Callable[[], object]) -> Iterator[None]:
    """During the block, act as soon as `seen` becomes true; fail at its end if it never did."""
    over, acted = threading.Event(), threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            if seen():
                act()
                acted.set()
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
    assert acted.is_set(), "what was to be awaited never came"


@contextmanager
def repaired(lab: Lab, folder: Path) -> Iterator[LabSite]:
    """Yield a site without hosts and with short limits; afterwards every host of the lab is as it was."""
    known = {name: (lab[name].home / ".ssh" / "known_hosts").read_text() for name in lab.names}
    try:
        with without_marks(folder):
            yield LabSite(folder, lab=lab, limits=QUICK)
    finally:
        for name, text in known.items():
            host = lab[name]
            host.limit_rate(None)
            host.restore()
            (host.home / ".ssh" / "known_hosts").write_text(text)
            renew_sessions(host)


def renew_sessions(host: Host, environment: Sequence[str] = ()) -> None:
    """Give a host's sessions another environment from now on: open ones are ended."""
    assert isinstance(host, NamespacedHost)
    host.stop_sshd()
    host.set_environment(environment)
    host.start_sshd()


def failures_of(run: Run) -> dict[str, str]:
    """Return {where: failure there} from the last message of a failed run."""
    assert run.rc != 0, run.stdout
    found: dict[str, str] = {}
    where = ""
    for line in run.message.splitlines()[1:]:
        entry = re.match(r"  \d+\. (.+?): (.*)", line)
        where, what = entry.groups() if entry else (where, line.strip())
        found[where] = f"{found[where]}\n{what}" if where in found else what
    return found


def plant(base: Path, item: str, stamp: str, content: bytes) -> Path:
    """Put a verified tarball with these bytes into a tree, as an earlier night would have; return its path."""
    path = base / item / stamp / f"{item.split('/')[1]}.tar.zst"
    for folder in [*reversed(path.parents)][len(base.parent.parts) :]:
        folder.mkdir(mode=0o700, exist_ok=True)
    path.write_bytes(content)
    dna = {"dig": hashlib.sha256(content).hexdigest(), "size": len(content), "alg": "sha256"}
    Path(f"{path}.dna").write_text(json.dumps(dna) + "\n")
    for file in (path, Path(f"{path}.dna")):
        file.chmod(0o600)
    last = base / item / "last"
    last.unlink(missing_ok=True)
    last.symlink_to(stamp)
    return path


def stamps_of(base: Path) -> list[str]:
    """Return the stamps of the tarballs below a base that have a sidecar, oldest first."""
    return ["/".join(path.parts[-5:-1]) for path in tarballs_of(base) if Path(f"{path}.dna").exists()]


def read_again(base: Path, count: int) -> None:
    """Assert with plain sha256sum that a tree has so many private tarballs with true sidecars, the last one its item's `last`."""
    paths = tarballs_of(base)
    assert len(paths) == count, paths
    said = subprocess.run(["sha256sum", "--", *map(str, paths)], capture_output=True, text=True, check=True).stdout
    digests = [line.split()[0] for line in said.splitlines()]
    for path, digest in zip(paths, digests, strict=True):
        dna = json.loads(Path(f"{path}.dna").read_text())
        assert dna == {"dig": digest, "size": path.stat().st_size, "alg": "sha256"}, path
        assert [oct(entry.stat().st_mode & 0o777) for entry in (path, Path(f"{path}.dna"))] == ["0o600"] * 2
        assert {oct(folder.stat().st_mode & 0o777) for folder in list(path.parents)[:6]} == {"0o700"}, path
        newest = max(other for other in paths if other.parts[-7:-5] == path.parts[-7:-5])
        assert os.readlink(path.parents[4] / "last") == "/".join(newest.parts[-5:-1])


def left_behind(lab: Lab, names: Sequence[str]) -> list[str]:
    """Return the programs still running on hosts shortly after a run, except sshd and what holds a session open."""

    def left() -> list[str]:
        found = [(name, process.argv) for name in names for process in lab[name].processes()]
        return [
            f"{name}: {' '.join(argv)}"
            for name, argv in found
            if argv and "sshd" not in argv[0] and "host_init" not in " ".join(argv)
        ]

    with suppress(Exception):
        wait_until(lambda: not left(), 5, "the end of all work")
    return left()


def ansible(site: LabSite, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program of Ansible's with the site's inventory on the controller, as a user would."""
    return subprocess.run(
        command(site, program, *arguments), env=environment(), capture_output=True, text=True, timeout=120, check=False
    )


def command(site: LabSite, program: str, *arguments: str) -> list[str]:
    """Return the command line of a program of Ansible's with the site's inventory."""
    return [str(Path(sys.executable).with_name(program)), "-i", str(site.write_inventory()), *arguments]


def environment() -> dict[str, str]:
    """Return the environment in which a user starts Ansible from the checkout."""
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "ALTBACKUP_HISTORY") if name in os.environ}
    own = {
        "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "ALTBACKUP_MAIL_TO": "none",
        **CACHE,
    }
    return {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **kept, **own, **ZONE}
