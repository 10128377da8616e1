"""Nothing that was held is lost in silence: items that vanish, names that change, replaced disks, and absent disks."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from integration.site import Run, Site, tarballs_of

NIGHTS = [f"2013/05/{day:02}/104701" for day in range(1, 15)]


def told(run: Run) -> str:
    """Return a run's output, on one line and without colours."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", run.stdout).split())


class Nights:
    """A source with two folders, one target or more, and one night after the other."""

    def __init__(self, folder: Path, targets: tuple[str, ...] = ("cms01",), keep: int = 1) -> None:
        self.site = Site(folder)
        for name in ("data", "old"):
            (self.site.live / name).mkdir(parents=True)
        self.left = iter(NIGHTS)
        items = [{"kind": "folder", "name": name, "path": str(self.site.live / name)} for name in ("data", "old")]
        self.base = self.site.add_source(
            "dayabay", altbackup_items=items, altbackup_targets=list(targets), altbackup_keep=keep
        )
        self.copies = {name: self.site.add_target(name, altbackup_keep=keep) for name in targets}
        self.number = 0

    @property
    def source(self) -> dict[str, Any]:
        """The variables of the source."""
        return self.site.hosts["dayabay"]

    def night(self, *arguments: str, **extra: Any) -> Run:
        """Change the folders, and back them up."""
        self.number += 1
        for folder in self.site.live.iterdir():
            (folder / "file").write_text(f"{folder.name} {self.number}\n")
        return self.site.run("backup", *arguments, stamp=next(self.left), **extra)

    def good(self, **extra: Any) -> Run:
        """Run a night without failures."""
        run = self.night(**extra)
        assert run.rc == 0, run.message or run.stdout
        return run

    def bad(self, *words: str, **extra: Any) -> str:
        """Run a night with one failure, which must say so."""
        run = self.night(**extra)
        said = " ".join(run.message.split())
        assert run.rc != 0 and said.startswith("1 failure:"), run.message or run.stdout
        for word in words:
            assert word in said, said
        return said

    def held(self, target: str, source: str = "dayabay") -> list[str]:
        """Return the tarballs of a source on a target."""
        return [
            str(path.relative_to(self.copies[target] / source)) for path in tarballs_of(self.copies[target] / source)
        ]


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    return Nights(tmp_path)


@pytest.mark.full
def test_an_item_that_vanishes_is_missed_until_it_is_retired_and_may_not_come_back_unseen(nights: Nights) -> None:
    nights.good()
    items = nights.source["altbackup_items"]
    nights.source["altbackup_items"] = items[:1]
    said = nights.bad(
        "an item was backed up, but declared or found no more: folders/old (newest copy 2013/05/01/104701)"
    )
    assert "dayabay; dayabay -> cms01" in said, "source and target have it, and it is told once"
    nights.source["altbackup_retired"] = {"folders/old": "2013/05/02"}
    nights.good()
    assert [path for path in nights.held("cms01") if "old" in path], "it is never purged"
    nights.source["altbackup_items"] = items
    refused = nights.site.run("backup", stamp="2013/05/08/120000")
    assert "altbackup_retired names folders/old, which is declared in altbackup_items, too" in refused.message


@pytest.mark.full
def test_a_discovered_repository_that_vanishes_is_missed(tmp_path: Path) -> None:
    site = Site(tmp_path)
    for name in ("one", "two"):
        subprocess.run(["git", "init", "--quiet", "--bare", str(site.live / "git" / name)], check=True)
    discover = {"git": str(site.live / "git")}
    base = site.add_source("dayabay", altbackup_items=[], altbackup_discover=discover, altbackup_targets=["cms01"])
    copies = site.add_target("cms01")
    assert site.run("backup", stamp=NIGHTS[0]).rc == 0
    for state in (base / ".altbackup" / "state" / "known", copies / ".altbackup" / "state" / "dayabay" / "known"):
        state.unlink()  # as before anything was remembered
    shutil.rmtree(site.live / "git" / "two")
    run = site.run("backup", stamp=NIGHTS[1])
    assert run.message.startswith("1 failure:") and 'altbackup_retired: {"git/two": ' in run.message, run.message
    assert "git/two" in site.run("check", stamp=NIGHTS[1]).message
    site.hosts["dayabay"]["altbackup_retired"] = {"git/two": "2013/05/02"}
    assert site.run("check", stamp=NIGHTS[1]).rc == 0
    subprocess.run(["git", "init", "--quiet", "--bare", str(site.live / "git" / "two")], check=True)
    said = " ".join(site.run("backup", stamp=NIGHTS[2]).message.split())
    assert "git/two is retired since 2013/05/02 (altbackup_retired), but is declared or found again" in said


@pytest.mark.full
def test_names_change_and_history_stays(nights: Nights) -> None:
    nights.good()
    first = nights.held("cms01")
    data, old = nights.source["altbackup_items"]
    nights.source["altbackup_items"] = [data, {**old, "name": "new", "former_names": ["old"]}]
    site = nights.site
    site.hosts = {"newbay" if name == "dayabay" else name: settings for name, settings in site.hosts.items()}
    site.groups["sources"] = ["newbay"]
    site.hosts["newbay"]["altbackup_former_names"] = ["dayabay"]
    run = nights.good()
    assert "newbay was called dayabay before" in told(run)
    assert not (nights.copies["cms01"] / "dayabay").exists()
    held = nights.held("cms01", "newbay")
    old_ones = [path for path in first if "/old/" in path]
    assert set(old_ones) <= set(held) and len(held) == 3
    nights.good()
    assert [path for path in nights.held("cms01", "newbay") if "/old/" in path] == old_ones
    entry = {"source": "newbay", "kind": "folder", "name": "old", "to": str(site.folder / "back")}
    assert site.run("restore", restore=[entry], stamp="2013/05/05/120000").rc == 0
    assert (site.folder / "back" / "file").read_text() == "old 1\n"


@pytest.mark.full
def test_an_empty_disk_is_no_good_target_until_it_is_adopted_and_is_filled_then(tmp_path: Path) -> None:
    nights = Nights(tmp_path, keep=3)
    for _ in range(2):
        nights.good()
    shutil.rmtree(nights.copies["cms01"])
    (nights.copies["cms01"] / ".altbackup").mkdir(parents=True, mode=0o700)
    nights.bad(
        "cms01 is not what it was after the run of 2013/05/02/104701",
        "its base is another one than before",
        "but held 4",
    )
    assert len(nights.held("cms01")) == 2, "tonight's copies alone are sent"
    run = nights.good(adopt=["cms01"])
    assert "cms01 is taken as it is" in told(run)
    kept = [str(path.relative_to(nights.base)) for path in tarballs_of(nights.base)]
    assert set(kept) <= set(nights.held("cms01"))
    nights.good()


@pytest.mark.full
def test_what_only_another_target_has_fills_a_lost_disk_too(tmp_path: Path) -> None:
    nights = Nights(tmp_path, ("cms01", "sdu"), keep=3)
    nights.source["altbackup_keep"] = 1
    for _ in range(2):
        nights.good()
    before, copies = nights.held("cms01"), nights.copies["cms01"]
    assert len(tarballs_of(nights.base)) == 2 and len(before) == 4
    shutil.rmtree(copies)
    (copies / ".altbackup").mkdir(parents=True, mode=0o700)
    run = nights.good(adopt=["cms01"])
    assert set(before) < set(nights.held("cms01"))
    assert "cms01: holds 6 copies" in told(run)
    assert not (copies / ".altbackup" / "incoming" / "dayabay" / "carried").exists()
    quiet = nights.good()
    assert [module for _, module, _ in quiet.calls if module in ("tarball_list", "tarball_carry")] == []


@pytest.mark.full
def test_a_restored_snapshot_and_copies_that_were_taken_away_are_missed(tmp_path: Path) -> None:
    nights = Nights(tmp_path, keep=3)
    copies = nights.copies["cms01"]
    nights.good()
    shutil.copytree(copies, copies.with_name("snapshot"), symlinks=True)
    nights.good()
    shutil.rmtree(copies)
    os.rename(copies.with_name("snapshot"), copies)
    said = nights.bad("the newest is of 2013/05/01/104701, but one of 2013/05/02/104701 was there")
    assert "its base is another one" not in said
    nights.good(adopt=["cms01"])
    shutil.rmtree(tarballs_of(copies / "dayabay")[0].parent)
    nights.bad("copies, but held")


@pytest.mark.full
def test_a_target_may_be_away_and_the_others_go_on(tmp_path: Path) -> None:
    nights = Nights(tmp_path, ("cms01", "disk"))
    nights.site.hosts["disk"]["altbackup_absent_for"] = "1d"
    nights.good()
    away = nights.copies["disk"].with_name("away")
    os.rename(nights.copies["disk"], away)
    run = nights.good()
    assert "disk is absent, as it may be for 1d from the run of 2013/05/01/104701 on" in told(run)
    assert len(nights.held("cms01")) == 2, "its purge waits for nobody"
    nights.bad("disk", "is its disk mounted?")
    os.rename(away, nights.copies["disk"])
    nights.good()
    assert set(nights.held("cms01")) <= set(nights.held("disk"))
