"""A week of nights over the lab, two of them with failures; then the questions of every day, each typed as one short line."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.entry_point import PROGRAM
from integration.lab_site import NAMES, LabSite, repaired
from integration.site import CACHE, KINDS, REPOSITORY, call, commit_svn
from lab import Lab
from lab.inventory import connection
from lab.lab_fixture import lab_fixture, needs_namespaces

from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import stamp_at

pytestmark = [needs_namespaces, pytest.mark.full]

DAY = 86400.0
LONGEST = 60
"""Most characters that a person types to ask"""
CUT, DAMAGED = 2, 4
"""The nights, of 0 to 6, in which a target could not be reached, and in which a repository could not be read"""

week_hosts = lab_fixture(["dayabay", "cms01", "sdu", "fresh"], sources=["dayabay"])


class Week:
    """A site after seven nights, each started by `altbackup run backup`, and what each changed."""

    def __init__(self, site: LabSite) -> None:
        self.site = site
        self.now = time.time()
        self.stamps = [stamp_at(self.now - (6 - night) * DAY - 60, "UTC") for night in range(7)]
        self.codes: list[int] = []
        self.shown: list[str] = []

    def day(self, night: int) -> str:
        """Return the English weekday of a night, as a person types it, in the zone of the stamps."""
        return time.strftime("%a", time.gmtime(self.now - (6 - night) * DAY - 60)).lower()

    def ask(self, line: str, **places: str) -> subprocess.CompletedProcess[str]:
        """Type a line in a pipe, each place in it replaced by one on the lab's hosts."""
        assert len(line) <= LONGEST, line
        words = [places.get(word, word) for word in shlex.split(line)]
        assert words[0] == "altbackup" and not any(word.startswith("{") for word in words)
        done = self._call(*words[1:])
        self.shown.append(f"$ {line}\n{done.stdout}{done.stderr}")
        return done

    def play(self, night: int) -> None:
        """Run a night."""
        done = self._call("run", "backup", "-e", f"altbackup_stamp={self.stamps[night]}")
        self.codes.append(done.returncode)
        assert (done.returncode != 0) == (night in (CUT, DAMAGED)), done.stdout + done.stderr

    def _call(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(PROGRAM), *words],
            env=self._environment,
            cwd=self.site.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=600,
            check=False,
        )

    @property
    def _environment(self) -> dict[str, str]:
        folder = self.site.folder
        return {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder / "home"),
            "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"),
            "ALTBACKUP_INVENTORY": str(folder / "inventory"),
            "ALTBACKUP_HISTORY": str(folder / "history"),
            "ALTBACKUP_MAIL_TO": "none",
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            **CACHE,
        }


@pytest.fixture(scope="module")
def week(week_hosts: Lab, live_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Week]:
    """Seven nights of a source with every kind; nights of changes, of a target that is cut off, and of a repository that is damaged."""
    with repaired(week_hosts, tmp_path_factory.mktemp("questions")) as site:
        (site.folder / "home").mkdir()
        site.add_source("dayabay", altbackup_targets=["cms01", "sdu"], altbackup_timezone="UTC")
        site.give_all_kinds("dayabay", live_template)
        for name in ("cms01", "sdu"):
            site.add_target(name)
        site.hosts["fresh"] = {**connection(week_hosts, week_hosts["fresh"]), **site.limits}
        site.groups["ungrouped"] = ["fresh"]
        site.write_inventory()
        made = Week(site)
        live = site.live_of("dayabay")
        for night in range(7):
            (live / "folder" / "users.conf").write_text(f"[users]\nnight = {night}\n")
            current = live / "svn" / "db" / "current"
            if night == CUT:
                week_hosts["sdu"].cut()
            if night == DAMAGED:
                current.rename(live / "current")
            else:
                commit_svn(live / "svn", f"night{night}", f"{night}\n")
            made.play(night)
            if night == CUT:
                week_hosts["sdu"].restore()
            if night == DAMAGED:
                (live / "current").rename(current)
        yield made
        print("\n".join(made.shown))


def test_is_all_well(week: Week) -> None:
    done = week.ask("altbackup status")
    assert done.returncode == 0, done.stdout + done.stderr
    last = done.stdout.splitlines()[-1]
    assert re.fullmatch(r"all is well: 15 copies of 5 items on 3 nodes, none older than .*", last), last


def test_what_exists_and_the_space(week: Week) -> None:
    done = week.ask("altbackup list")
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if line.startswith("dayabay/")}
    assert len(rows) == len(KINDS)
    for item, line in rows.items():
        nights = 6 if item == "dayabay/svn/dybsvn" else 7
        assert line.split()[1] == week.stamps[-1] and f" {nights} " in line, line
        assert line.endswith(("dayabay, cms01, sdu", "cms01, dayabay, sdu")), line
    for node in ("dayabay", "cms01", "sdu"):
        assert re.search(rf"^{node}: .* of 5 items, .* used, .* free$", done.stdout, re.MULTILINE), done.stdout


def test_last_good_backup_of_one_item_and_the_night_that_has_none(week: Week) -> None:
    done = week.ask("altbackup list svn/dybsvn")
    assert done.returncode == 0, done.stderr
    found = re.findall(r"\d{4}/\d\d/\d\d/\d{6}", done.stdout)
    assert list(dict.fromkeys(found)) == [stamp for stamp in reversed(week.stamps) if stamp != week.stamps[DAMAGED]]


def test_one_file_of_a_weekday(week: Week) -> None:
    for night in (CUT, DAMAGED):
        to = week.site.place("dayabay") / f"looked at {night}"
        line = f"altbackup restore svnsetup --at {week.day(night)} users.conf --to /tmp/u"
        done = week.ask(line, **{"/tmp/u": str(to)})
        assert done.returncode == 0, done.stdout + done.stderr
        assert to.read_text() == f"[users]\nnight = {night}\n"


def test_what_is_in_a_tarball(week: Week) -> None:
    done = week.ask("altbackup ls svnsetup")
    assert done.returncode == 0, done.stderr
    assert {"users.conf", "mode", "link", "hard"} <= set(done.stdout.split())


def test_a_repository_on_another_host(week: Week) -> None:
    to = week.site.place("fresh") / "dybsvn"
    done = week.ask("altbackup restore svn/dybsvn --to-host fresh --to /srv/svn", **{"/srv/svn": str(to)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert call("svnlook", "youngest", to).strip() == "9"
    call("svnadmin", "verify", "--quiet", to)


def test_history_of_runs_with_what_failed(week: Week) -> None:
    done = week.ask("altbackup runs")
    assert done.returncode == 0, done.stderr
    backups = [line for line in done.stdout.splitlines() if "backup" in line][-7:]
    assert len(backups) == 7, done.stdout
    last = week.ask("altbackup last")
    assert last.returncode == 0 and "backup" in last.stdout, last.stdout + last.stderr


def test_what_changed_since_the_night_before_and_since_a_weekday(week: Week) -> None:
    for line, count in (("altbackup diff svn/dybsvn", 1), (f"altbackup diff svn/dybsvn {week.day(0)}", 5)):
        done = week.ask(line)
        assert done.returncode == 0, done.stdout + done.stderr
        assert re.search(rf"revision.*\b{9 - count}\b.*\b9\b", done.stdout), (count, done.stdout)


def test_where_a_file_is(week: Week) -> None:
    done = week.ask("altbackup find users.conf")
    assert done.returncode == 0, done.stderr
    assert len([line for line in done.stdout.splitlines() if "folders/svnsetup" in line]) == 7, done.stdout


def test_answers_are_documents_too(week: Week) -> None:
    done = week.ask("altbackup list --json")
    told = json.loads(done.stdout)
    assert {entry["item"].split("/")[-1] for entry in told["items"]} == set(NAMES.values())
    assert {node["node"] for node in told["nodes"]} == {"dayabay", "cms01", "sdu"}
    assert all(not entry["other"] for entry in told["items"])
