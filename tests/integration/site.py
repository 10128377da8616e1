"""A site for tests of whole playbooks: live data of every kind, marked bases, an inventory, and runs of playbooks."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ansible_runner
import yaml

from ansible_collections.altbackup.core.plugins.module_utils.system.own_state import state_folder
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.journal import FOLDER, journal_name

REPOSITORY = Path(__file__).resolve().parents[2]
ZONE = {"TZ": "Asia/Taipei"}
"""The zone of the controller's own clock, which nobody else has: nothing may depend on it"""
CACHE = {"XDG_CACHE_HOME": str(REPOSITORY / "var" / "cache")}
"""Where payloads of modules are kept, apart from this user's own"""
KINDS = ("svn", "trac", "git", "folder", "sqlite")
CATEGORIES = {"svn": "svn", "trac": "tracs", "git": "git", "folder": "folders", "sqlite": "databases"}
LOCAL = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}


def call(*argv: object, cwd: Path | None = None) -> str:
    """Run a command, return its stdout; show its stderr if it fails."""
    done = subprocess.run([str(word) for word in argv], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout


def git(folder: Path, *arguments: object) -> str:
    """Run git as a test's author, without anybody's settings."""
    identity = ("-c", "user.name=Tester", "-c", "user.email=tester@example.org", "-c", "init.defaultBranch=main")
    return call("git", "-C", folder, *identity, *arguments)


def commit_svn(repository: Path, name: str, text: str) -> None:
    """Commit one new file to a Subversion repository."""
    source = repository.parent / f"{name}.import"
    source.write_text(text)
    call("svn", "--quiet", "import", source, f"file://{repository}/{name}", "-m", f"add {name}")
    source.unlink()


def journal_of(folder: Path) -> Path:
    """Return the path of the controller's journal of marks for the inventory of a site, which is not below its folder."""
    return Path(state_folder(), FOLDER, journal_name(str(folder / "inventory" / "hosts.yml")))


@contextlib.contextmanager
def without_marks(folder: Path) -> Iterator[None]:
    """Leave that journal nothing, and take nothing from a test that was killed before, whose site had the same path."""
    journal_of(folder).unlink(missing_ok=True)
    try:
        yield
    finally:
        journal_of(folder).unlink(missing_ok=True)


def make_live(folder: Path) -> Path:
    """Make one small item of every kind below a folder."""
    folder.mkdir(parents=True)
    call("svnadmin", "create", folder / "svn")
    for number in range(3):
        commit_svn(folder / "svn", f"file{number}", f"content {number}\n")
    call(sys.executable, "-m", "trac.admin.console", folder / "trac", "initenv", "Demo", "sqlite:db/trac.db")
    git(folder, "init", "--quiet", "--bare", "git")
    git(folder, "clone", "--quiet", folder / "git", "work")
    for number in range(3):
        (folder / "work" / "file").write_text(f"{number}\n")
        git(folder / "work", "add", "file")
        git(folder / "work", "commit", "--quiet", "-m", f"change {number}")
        git(folder / "work", "tag", "-a", f"v{number}", "-m", f"version {number}")
    git(folder / "work", "push", "--quiet", "origin", "main", "main:refs/hidden/one", "--tags")
    shutil.rmtree(folder / "work")
    tree = folder / "folder"
    tree.mkdir()
    (tree / "users.conf").write_text("[users]\n")
    (tree / "odd 'name' $x\n-").write_bytes(b"\0\1")
    (tree / "link").symlink_to("users.conf")
    os.link(tree / "users.conf", tree / "hard")
    (tree / "mode").write_text("x")
    (tree / "mode").chmod(0o4711)
    with sqlite3.connect(folder / "sqlite.db") as database:
        database.execute("CREATE TABLE readings (time, value)")
        database.executemany("INSERT INTO readings VALUES (?, ?)", [(number, number * number) for number in range(50)])
    database.close()
    return folder


def unwrapped(text: str) -> str:
    """Return what a playbook printed as one line without colours."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).split())


@dataclass
class Run:
    """The end of a run of a playbook."""

    rc: int
    stdout: str
    stats: dict[str, Any]
    calls: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    """(host, module, result) of each call of a module of this collection"""
    tasks: Counter[tuple[str, str]] = field(default_factory=Counter)
    """{(play, host): number of tasks that ended there, skipped ones included}"""

    @property
    def message(self) -> str:
        """The message of the last failing task."""
        return self._messages[-1] if self._messages else ""

    _messages: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The output as one line without colours: long texts are wrapped in it."""
        return unwrapped(self.stdout)

    @property
    def changed(self) -> int:
        """The number of tasks that changed something, on all hosts."""
        return sum(self.stats.get("changed", {}).values())


@dataclass
class Site:
    """An inventory with live data, below one folder."""

    folder: Path
    hosts: dict[str, dict[str, Any]] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=lambda: {"sources": [], "targets": []})
    mail: dict[str, str] = field(default_factory=lambda: {"ALTBACKUP_MAIL_TO": "none"})
    """Options of the failure mail, in the environment"""
    programs: Path = Path(sys.executable).parent
    """Folder of Ansible's programs: in the environment of the tests, or in one of another version"""

    @property
    def live(self) -> Path:
        """The folder of the live data."""
        return self.folder / "live"

    def items(self) -> list[dict[str, Any]]:
        """One item of every kind; svn and trac share a name."""
        names = {"svn": "dybsvn", "trac": "dybsvn", "git": "toolbox", "folder": "svnsetup", "sqlite": "monitor"}
        paths = {kind: self.live / (f"{kind}.db" if kind == "sqlite" else kind) for kind in KINDS}
        return [{"kind": kind, "name": names[kind], "path": str(paths[kind])} for kind in KINDS]

    def add_source(self, name: str, **settings: Any) -> Path:
        """Add a source with a marked base; return the base."""
        base = self.folder / name / "backup"
        (base / ".altbackup").mkdir(parents=True, mode=0o700)
        self.hosts[name] = {"altbackup_base": str(base), "altbackup_items": self.items(), **LOCAL, **settings}
        self.groups["sources"].append(name)
        return base

    def add_target(self, name: str, **settings: Any) -> Path:
        """Add a target with a marked base; return the base."""
        base = self.folder / name / "copies"
        (base / ".altbackup").mkdir(parents=True, mode=0o700)
        self.hosts[name] = {"altbackup_target_base": str(base), **LOCAL, **settings}
        self.groups["targets"].append(name)
        return base

    def write_inventory(self) -> Path:
        """Write the inventory; return its folder."""
        inventory = self.folder / "inventory"
        shutil.rmtree(inventory, ignore_errors=True)
        (inventory / "host_vars").mkdir(parents=True)
        groups = {name: {"hosts": dict.fromkeys(hosts)} for name, hosts in self.groups.items()}
        (inventory / "hosts.yml").write_text(yaml.safe_dump(groups))
        for name, settings in self.hosts.items():
            (inventory / "host_vars" / f"{name}.yml").write_text(yaml.safe_dump(settings))
        return inventory

    def run(self, playbook: str, *arguments: str, **extra: Any) -> Run:
        """Run a playbook of the collection with extra variables `altbackup_*`."""
        private = self.folder / "runner"
        shutil.rmtree(private, ignore_errors=True)
        private.mkdir()
        done = ansible_runner.run(
            private_data_dir=str(private),
            project_dir=str(REPOSITORY),
            playbook=str(REPOSITORY / "playbooks" / f"{playbook}.yml"),
            inventory=str(self.write_inventory()),
            extravars={f"altbackup_{name}": value for name, value in extra.items()},
            cmdline=" ".join(arguments) or None,
            envvars={
                "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"),
                "ANSIBLE_HOST_KEY_CHECKING": "True",  # ansible-runner turns it off by default
                **self.mail,
                **ZONE,
                **CACHE,
                "PATH": f"{self.programs}:{os.environ['PATH']}",
            },
            quiet=True,
        )
        calls, messages, tasks = [], [], Counter()
        for event in done.events:
            data = event.get("event_data", {})
            name = event["event"]
            if name.startswith("runner_on_") and name != "runner_on_start":
                tasks[data["play"], data["host"]] += 1
            if name == "runner_on_failed" and not data.get("ignore_errors"):
                messages.append(str(data["res"].get("msg", "")))
            result = data.get("res", {})
            ours = str(data.get("task_action", "")).startswith("altbackup.core.")
            if (
                ours
                and name.startswith(("runner_on_", "runner_item_on_"))
                and result
                and "results" not in result
                and not result.get("skipped")
            ):
                calls.append((data["host"], data["task_action"].removeprefix("altbackup.core."), result))
        with done.stdout as stream:
            said = stream.read()
        return Run(done.rc, said, done.stats or {}, calls, tasks, messages)


def tree_of(folder: Path) -> dict[str, tuple[Any, ...]]:
    """Return the contents of a folder, without locks: {path: (mode, mtime, link or digest)}."""
    found: dict[str, tuple[Any, ...]] = {}
    for path in sorted(path for path in folder.rglob("*") if not {"lock", "locks"} & set(path.parts)):
        status = path.lstat()
        content = (
            os.readlink(path)
            if path.is_symlink()
            else hashlib.sha256(path.read_bytes()).hexdigest()
            if path.is_file()
            else ""
        )
        found[str(path.relative_to(folder))] = (status.st_mode, status.st_mtime_ns, content)
    return found


def tarballs_of(base: Path) -> list[Path]:
    """Return the tarballs below a base, oldest first."""
    return sorted(
        (path for path in base.glob("*/*/*/*/*/*/*.tar*") if path.suffix not in (".dna", ".proof")),
        key=lambda path: path.parts[-5:],
    )


def item_of(base: Path, kind: str, name: str) -> list[Path]:
    """Return one item's tarballs below a base, oldest first."""
    return [path for path in tarballs_of(base) if path.parts[-7:-5] == (CATEGORIES[kind], name)]


def unpack(tarball: Path, folder: Path) -> Path:
    """Unpack a tarball by plain tar; return its one top folder."""
    folder.mkdir(parents=True)
    call("tar", "--extract", "--xattrs", "--acls", "-f", tarball, "-C", folder)
    (top,) = folder.iterdir()
    return top
