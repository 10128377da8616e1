"""The collection as people get it: built, installed into an empty folder, used by full names, with the checkout out of reach."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from integration.site import KINDS, REPOSITORY, Site, item_of, tarballs_of

STAMP = "2013/05/10/104701"
DAY = "2013/05/10"


def run(argv: list[str], folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, without stdin and with only the given environment."""
    return subprocess.run(
        argv,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


@dataclass
class Installed:
    """The folder of the installed collection."""

    folder: Path

    @property
    def collection(self) -> Path:
        """Return the collection's own folder."""
        return self.folder / "collections" / "ansible_collections" / "altbackup" / "core"

    def call(self, tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Call a tool of Ansible that knows no other collections, and no ansible.cfg."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTHON"))}
        environment |= {
            "ANSIBLE_COLLECTIONS_PATH": str(self.folder / "collections"),
            "ANSIBLE_CONFIG": str(self.folder / "ansible.cfg"),
            "ANSIBLE_HOME": str(self.folder / "home"),
            "ANSIBLE_NOCOLOR": "1",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        return run([str(Path(sys.executable).with_name(tool)), *arguments], self.folder, environment)

    def document(self, plugin_type: str, names: list[str]) -> dict[str, Any]:
        """Return the output of ansible-doc on plugins or roles."""
        done = self.call("ansible-doc", "--type", plugin_type, "--json", *(f"altbackup.core.{name}" for name in names))
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    def module(self, name: str, **options: Any) -> dict[str, Any]:
        """Call a module ad hoc on this machine, which must succeed, and return its result."""
        done = self.call("ansible", "localhost", "-m", f"altbackup.core.{name}", "-a", json.dumps(options))
        assert done.returncode == 0, done.stdout + done.stderr
        return dict(json.loads(done.stdout.partition("=> ")[2]))


def build(folder: Path) -> Path:
    """Build the collection as make build does, in a folder of its own."""
    spec = importlib.util.spec_from_file_location("build", REPOSITORY / "tools" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    staged = folder / "ansible_collections" / "altbackup" / "core"
    tool.stage(REPOSITORY, staged)
    return Path(tool.pack(staged, folder))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The collection, built and installed without any server."""
    made = Installed(tmp_path_factory.mktemp("installed"))
    (made.folder / "ansible.cfg").touch()
    tarball = build(tmp_path_factory.mktemp("built"))
    options = ("--collections-path", str(made.folder / "collections"), "--offline", "--no-deps")
    done = made.call("ansible-galaxy", "collection", "install", str(tarball), *options)
    assert done.returncode == 0, done.stdout + done.stderr
    return made


@pytest.fixture(scope="module")
def night(installed: Installed, live_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site after a night of the installed playbook."""
    site = Site(tmp_path_factory.mktemp("site"))
    shutil.copytree(live_template, site.live, symlinks=True)
    site.add_source("dayabay", altbackup_targets=["cms01"])
    site.add_target("cms01")
    arguments = ("-i", str(site.write_inventory()), "-e", f"altbackup_stamp={STAMP}")
    done = installed.call("ansible-playbook", "altbackup.core.backup", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return site


def test_what_is_installed_has_no_links_out_of_it(installed: Installed) -> None:
    assert not [path for path in installed.collection.rglob("*") if path.is_symlink()]
    assert (installed.collection / "plugins" / "modules" / "dna.py").is_file()
    assert not (installed.collection / "library").exists()
    assert not (installed.collection / ".collections").exists()


def test_without_it_the_checkout_is_out_of_reach(tmp_path: Path) -> None:
    nothing = Installed(tmp_path)
    (tmp_path / "ansible.cfg").touch()
    done = nothing.call("ansible", "localhost", "-m", "altbackup.core.dna", "-a", "path=/nothing")
    assert done.returncode != 0
    assert "resolve" in done.stdout + done.stderr


def test_playbook_runs_by_full_name(night: Site) -> None:
    source, target = night.folder / "dayabay" / "backup", night.folder / "cms01" / "copies" / "dayabay"
    names = [str(path.relative_to(source)) for path in tarballs_of(source)]
    assert len(names) == len(KINDS)
    assert [str(path.relative_to(target)) for path in tarballs_of(target)] == names


@pytest.mark.full
def test_each_module_runs_by_full_name(installed: Installed, night: Site) -> None:
    base, copies = night.folder / "dayabay" / "backup", night.folder / "cms01" / "copies" / "dayabay"
    other = night.folder / "sdu" / "copies"
    (other / ".altbackup").mkdir(parents=True)
    tarball = str(item_of(copies, "folder", "svnsetup")[0])
    results: dict[str, dict[str, Any]] = {}

    def call(name: str, **options: Any) -> dict[str, Any]:
        results[name] = installed.module(name, **options)
        return results[name]

    assert call("preflight", bases=[str(base)], tools=["tar"])["changed"] is False
    item = night.items()[3]
    dumped = call("tarball_dump", base=str(base), items=[item], stamp=STAMP)
    assert (dumped["changed"], len(dumped["tarballs"])) == (False, 1)
    assert call("dna", path=[tarball])["changed"] is False
    assert len(call("dna_verify", base=str(copies), day="all")["match"]) == len(KINDS)
    expect = {"dybsvn": 2, "toolbox": 1, "svnsetup": 1, "monitor": 1}
    assert call("tarball_count", base=str(copies), day=DAY, expect=expect)["counts"] == expect
    listed = call("tarball_list", base=str(base), day=DAY)["tarballs"]
    assert len(listed) == len(KINDS)
    listed_paths = [entry["relpath"] for entry in listed]
    prepared = call("tarball_prepare", base=str(other / "dayabay"), tarballs=listed, day=DAY)
    assert sorted(prepared["send"]) == sorted(entry["relpath"] for entry in listed)
    delivery = {"peer": {"node": "sdu", "folder": prepared["incoming"]}, "tarballs": listed}
    assert call("tarball_send", base=str(base), targets=[delivery])["sent"]["sdu"] == sum(e["size"] for e in listed)
    assert len(call("tarball_accept", base=str(other / "dayabay"), tarballs=listed)["tarballs"]) == len(KINDS)
    purged = call("tarball_purge", base=str(other / "dayabay"), keep=3, verify=True)
    assert (purged["removed"], len(purged["kept"])) == ([], len(KINDS))

    held_one = os.path.dirname(purged["kept"][0])
    assert call("tarball_mark", base=str(other / "dayabay"), marks={"holds": {held_one: "x"}})["held"] == [held_one]
    assert call("run_lock", bases=[str(base)], state="absent")["failures"] == []
    (drilled,) = call("tarball_drill", base=str(copies), names=["folders/svnsetup"])["proved"]
    assert drilled["relpath"] in listed_paths
    assert len(call("tarball_drill_away", step="choose", base=str(copies))["chosen"]) == len(KINDS)

    found = call("tarball_find", trees=[{"source": "dayabay", "base": str(copies), "keys": ["folders/svnsetup"]}])
    (held,) = found["trees"][0]["tarballs"]
    back = night.folder / "back"
    order = {
        "destination": str(back / "svnsetup"),
        "kind": "folder",
        "tarballs": [{name: held[name] for name in ("relpath", "size", "dig", "alg")}],
        "record": held["record"],
        "special_modes": True,
        "stamp": STAMP,
    }
    incoming = installed.module("tarball_restore", step="prepare", **order)["incoming"]
    ends = {"origin": (str(copies), "cms01"), "destination": (incoming, "sdu")}
    peers = {name: {"node": node, "folder": folder} for name, (folder, node) in ends.items()}
    call("tarball_carry", **peers, relpaths=[held["relpath"]], size=held["size"], spool=str(night.folder / "spool"))
    assert call("tarball_restore", **order)["changed"] is True
    assert (back / "svnsetup" / "users.conf").read_bytes() == (night.live / "folder" / "users.conf").read_bytes()
    assert call("restore_adopt", path=[str(back / "svnsetup")])["changed"] is True

    published = {path.stem for path in (installed.collection / "plugins" / "modules").glob("*.py")}
    for name in sorted(published - {"__init__", *results}):  # they run, too, and say what they need
        done = installed.call("ansible", "localhost", "-m", f"altbackup.core.{name}")
        assert any(word in done.stdout for word in ("missing required arguments", "SUCCESS")), (
            f"{name}: {done.stdout}{done.stderr}"
        )


def test_entry_point_runs_an_installed_playbook(installed: Installed, night: Site, tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    environment = {"PATH": path, "HOME": str(tmp_path), "ALTBACKUP_MAIL_TO": "none"}
    environment["ALTBACKUP_HISTORY"] = str(tmp_path / "history")
    words = ("run", "list", "-i", str(night.folder / "inventory"))
    done = run([str(installed.collection / "bin" / "altbackup"), *words], tmp_path, environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / ".local" / "state" / "altbackup" / "runs").is_dir()


def test_all_modules_filters_and_roles_are_documented(installed: Installed) -> None:
    plugins = installed.collection / "plugins"
    found = {
        "module": [path.stem for path in (plugins / "modules").glob("*.py")],
        "filter": [path.stem for path in (plugins / "filter").glob("*.yml")],
        "role": [path.name for path in (installed.collection / "roles").iterdir()],
    }
    for plugin_type, names in found.items():
        pages = installed.document(plugin_type, names)
        assert set(pages) == {f"altbackup.core.{name}" for name in names}
        assert names
        if plugin_type == "module":
            text = installed.call("ansible-doc", *sorted(pages))
            assert text.returncode == 0, text.stderr
            assert re.search(r"MODULE altbackup\.core\.dna\b", text.stdout)
