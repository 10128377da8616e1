"""Nights of whole playbooks with differentials: on all nodes each is restored, proved, purged and healed with its full tarball."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from helpers.trees import describe_tree
from integration.site import Run, Site

NODES = ("dayabay", "cms01")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A source with a folder that has a full tarball every third night, and a target."""
    site = Site(tmp_path)
    live = site.live / "folder"
    (live / "sub").mkdir(parents=True)
    for name in ("stays", "goes", "sub/moves"):
        (live / name).write_bytes(os.urandom(60_000))
    site.add_source("dayabay", altbackup_targets=["cms01"], altbackup_full_every=3, altbackup_keep=2)
    site.hosts["dayabay"]["altbackup_items"] = [{"kind": "folder", "name": "notes", "path": str(live)}]
    site.add_target("cms01", altbackup_keep=2)
    return site


def base_of(site: Site, name: str) -> Path:
    """Return the tree of the source, or its copy on the target."""
    return site.folder / name / ("backup" if name == "dayabay" else "copies/dayabay")


def stamp(day: int) -> str:
    """Return the stamp of a night."""
    return f"2013/05/{day:02}/104701"


def night(site: Site, day: int, **variables: object) -> Run:
    """Change something, and run a night."""
    with (site.live / "folder" / "log").open("a") as stream:
        stream.write(f"night {day}\n")
    return site.run("backup", stamp=stamp(day), **variables)


def held(site: Site, name: str) -> str:
    """Return the days of a node's verified tarballs, and whether each is full (F) or a differential (D)."""
    paths = sorted(base_of(site, name).glob("folders/notes/*/*/*/*/*.tar.zst"))
    assert all(Path(f"{path}.dna").exists() for path in paths)
    return " ".join(f"{path.parts[-3]}{'D' if '.diff.' in path.name else 'F'}" for path in paths)


@pytest.mark.full
def test_a_week_with_differentials(site: Site, tmp_path: Path) -> None:
    for day, expected in (
        (1, "01F"),
        (2, "01F 02D"),
        (3, "01F 02D 03D"),
        (4, "01F 03D 04F"),
        (5, "01F 04F 05D"),
    ):
        if day == 3:
            (site.live / "folder" / "goes").unlink()
            (site.live / "folder" / "sub" / "moves").rename(site.live / "folder" / "moved")
        run = night(site, day)
        assert run.rc == 0, run.message
        assert [held(site, name) for name in NODES] == [expected] * 2
    assert night(site, 6).rc == 0
    assert [held(site, name) for name in NODES] == ["01F 04F 05D 06D"] * 2
    for path in base_of(site, "dayabay").rglob("*.dna"):
        twin = base_of(site, "cms01") / path.relative_to(base_of(site, "dayabay"))
        assert twin.read_text() == path.read_text()
    run = site.run("drill", "--limit", "cms01", stamp=stamp(7))
    assert run.rc == 0, run.message
    there = tmp_path / "back"
    there.mkdir()
    wanted = [{"source": "dayabay", "kind": "folder", "name": "notes", "from": "cms01", "to": str(there / "notes")}]
    run = site.run("restore", stamp=stamp(7), restore=wanted)
    assert run.rc == 0, run.message
    assert describe_tree(there / "notes") == describe_tree(site.live / "folder")
    script = base_of(site, "cms01").parent / "restore.sh"
    done = subprocess.run(
        ["sh", script, "restore", "dayabay/folders/notes", there / "script"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert describe_tree(there / "script") == describe_tree(site.live / "folder")


@pytest.mark.full
def test_a_full_tarball_that_rots_is_healed_and_its_differentials_count_again(site: Site) -> None:
    for day in (1, 2):
        assert night(site, day).rc == 0
    path = base_of(site, "cms01") / f"folders/notes/{stamp(1)}/notes.tar.zst"
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    run = night(site, 3)
    assert run.rc != 0 and "healed from dayabay" in run.message, run.message
    assert path.read_bytes() == good
    assert held(site, "cms01") == "01F 02D 03D"
    run = night(site, 4)
    assert run.rc == 0, run.message


@pytest.mark.full
def test_a_full_tarball_that_is_gone_from_the_target_comes_again_and_from_the_source_is_made_anew(site: Site) -> None:
    for day in (1, 2):
        assert night(site, day).rc == 0
    for name in ("notes.tar.zst", "notes.tar.zst.dna"):
        (base_of(site, "cms01") / f"folders/notes/{stamp(1)}" / name).unlink()
    night(site, 3)
    assert held(site, "cms01") == "01F 02D 03D"
    for name in ("notes.tar.zst", "notes.tar.zst.dna"):
        (base_of(site, "dayabay") / f"folders/notes/{stamp(1)}" / name).unlink()
    night(site, 4)
    assert held(site, "dayabay").endswith("04F") and held(site, "cms01").endswith("04F")
