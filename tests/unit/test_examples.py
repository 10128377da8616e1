"""The examples in the documentation run: those of modules on folders of the test, those of filters with the local inventory."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.environments import make_environment
from helpers.original_trees import run_module
from helpers.repositories import make_subversion
from helpers.trees import file_digest

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(path.stem for path in (ROOT / "library").glob("*.py"))
SET_UP = {"marked_base", "pair_access", "pair_key"}
"""Their examples are of nodes that trust each other: tests/integration/test_setup.py has such"""
FILTERS = sorted(path.stem for path in (ROOT / "plugins" / "filter").glob("*.yml"))


class Examples:
    """Examples of modules, moved from the named places to folders of a test, and to today."""

    def __init__(self, folder: Path) -> None:
        self.live, self.data = folder / "live", folder / "data"
        for place in ("live/svn", "live/tracs", "live/backup/dayabay/.altbackup", "data/.altbackup"):
            (folder / place).mkdir(parents=True)
        day = time.strftime("%Y/%m/%d", time.gmtime())
        self.tarball = self.data / f"dayabay/svn/dybsvn/{day}/000000/dybsvn-20496.tar.gz"
        self.content = folder / "content"
        self.content.write_bytes(os.urandom(1000))
        self._moved = {
            "/home/scm": str(self.live),
            "/data/backup": str(self.data),
            "/mnt/drawer": str(folder / "drawer"),
            "2013/05/10/104701": f"{day}/000000",
            "2013/05/10": day,
            "1915051630": "1000",
            "7b87e78cc03ea544e2ad3abae46eecd1": file_digest(self.content, "md5"),
            "cms01.example.org": "127.0.0.1\n          port: 1",  # where nobody answers
            "203.0.113.7\n      port: 2222": "127.0.0.1\n      port: 1",
        }
        self.ran: set[str] = set()

    def put(self, path: Path) -> Path:
        """Write the bytes of the examples' tarball to a path."""
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.content, path)
        return path

    def run(self, name: str) -> list[dict[str, Any]]:
        """Run all examples of a module; return their results."""
        text = importlib.import_module(f"ansible_collections.altbackup.core.plugins.modules.{name}").EXAMPLES
        for place, moved in self._moved.items():
            text = text.replace(place, moved)
        self.ran.add(name)
        return [run_module(name, **task[f"altbackup.core.{name}"]) for task in yaml.safe_load(text)]

    def run_well(self, name: str) -> dict[str, Any]:
        """Run all examples of a module, which must succeed; return the last one's result."""
        results = self.run(name)
        assert [result.get("msg") for result in results if result.get("failed")] == []
        return results[-1]


@pytest.mark.full
def test_examples_of_modules_run(tmp_path: Path) -> None:
    examples = Examples(tmp_path)
    make_subversion(examples.live / "svn" / "dybsvn")
    make_environment(examples.live / "tracs" / "dybsvn")
    examples.run_well("preflight")
    assert examples.run_well("node_examine")["facts"]["repositories"] is not None
    assert len(examples.run_well("tarball_dump")["tarballs"]) == 2
    assert len(examples.run_well("tarball_drill")["proved"]) == 1
    examples.put(examples.live / "backup" / "dayabay" / examples.tarball.relative_to(examples.data / "dayabay"))
    (sent,) = examples.run("tarball_send")
    assert "Connection refused" in sent["msg"]
    prepared = examples.run_well("tarball_prepare")
    examples.put(Path(prepared["incoming"]) / f"md5-{file_digest(examples.content, 'md5')}")
    assert len(examples.run_well("tarball_accept")["tarballs"]) == 1
    examples.run_well("tarball_drill_away")
    assert not list(examples.data.glob(".altbackup-drill-*"))
    examples.run_well("dna")
    examples.run_well("dna_verify")
    assert len(examples.run_well("tarball_list")["tarballs"]) == 1
    (found,) = examples.run_well("tarball_find")["trees"]
    assert [entry["state"] for entry in found["tarballs"]] == ["verified"]
    (looked,) = examples.run("tarball_contents")
    assert "gzip: stdin: not in gzip format" in looked["msg"]
    (refused,) = examples.run("tarball_restore")
    assert "is there already" in refused["msg"]
    (carried,) = examples.run("tarball_carry")
    assert "Connection refused" in carried["msg"]
    assert not examples.run_well("restore_adopt")["changed"]
    for other in ("tracs/dybsvn", "folders/svnsetup"):
        category, name = other.split("/")
        path = examples.data / "dayabay" / other / "/".join(examples.tarball.parts[-5:-1]) / f"{name}.tar.gz"
        run_module("dna", path=[str(examples.put(path))])
    examples.run_well("tarball_count")
    examples.run_well("tarball_check")
    assert len(examples.run_well("tarball_mark")["held"]) == 1
    (tmp_path / "drawer" / ".altbackup").mkdir(parents=True)
    assert len(examples.run_well("store_sync")["uploaded"]) == 3
    assert len(examples.run_well("store_fetch")["tarballs"]) == 3
    (drilled,) = examples.run("store_drill")
    assert len(drilled["failures"]) == 2, "those tarballs are none that tar knows"
    examples.run_well("tarball_purge")
    assert examples.run_well("tarball_undo")["put_back"] == []
    assert examples.run_well("tarball_rekey")["rekeyed"] == []
    (unasked,) = examples.run("tarball_heal")
    assert "is not what lies in the quarantine" in unasked["msg"]
    examples.run_well("run_lock")
    assert examples.ran == set(MODULES) - SET_UP


def test_filters_are_few_enough_that_a_user_knows_them() -> None:
    assert len(FILTERS) <= 8


def test_examples_of_filters_run(tmp_path: Path) -> None:
    tasks: list[dict[str, Any]] = []
    plays: list[dict[str, Any]] = [{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]
    for name in FILTERS:
        page = yaml.safe_load((ROOT / "plugins" / "filter" / f"{name}.yml").read_text())
        for entry in yaml.safe_load(page["EXAMPLES"]):
            (plays if "hosts" in entry else tasks).append(entry)
    (tmp_path / "examples.yml").write_text(yaml.safe_dump(plays, sort_keys=False))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    environment |= {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_HOME": str(tmp_path), "ANSIBLE_NOCOLOR": "1"}
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    done = subprocess.run(
        [program, "-i", "inventory/local", str(tmp_path / "examples.yml")],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok: [localhost]") == len(FILTERS)
