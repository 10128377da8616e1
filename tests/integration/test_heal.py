"""Rot on any node is found, set apart, and healed in the same run from a node whose bytes match; without one it is a failure."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from helpers.original_trees import link, put
from integration.site import Run, Site, item_of

OLDEST, OLDER, OLD, TONIGHT, NEXT = (f"2013/05/{day:02}/104701" for day in (6, 7, 8, 9, 10))
NODES = ("dayabay", "cms01", "sdu")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A source and two targets, each with the same three older tarballs of the item, two of which are one file."""
    site = Site(tmp_path)
    (site.live / "folder").mkdir(parents=True)
    (site.live / "folder" / "note").write_text("tonight\n" * 10000)
    site.add_source("dayabay", altbackup_targets=["cms01", "sdu"], altbackup_keep=10)
    site.hosts["dayabay"]["altbackup_items"] = [{"kind": "folder", "name": "notes", "path": str(site.live / "folder")}]
    for name in NODES[1:]:
        site.add_target(name, altbackup_keep=10)
    for name in NODES:
        put(base_of(site, name), relpath(OLDEST), b"the oldest" * 10000)
        link(base_of(site, name), relpath(OLDEST), relpath(OLDER))
        put(base_of(site, name), relpath(OLD), b"another one" * 10000)
    return site


def relpath(stamp: str) -> str:
    """Return the path of the tarball of a night."""
    return f"folders/notes/{stamp}/notes.tar.zst"


def base_of(site: Site, name: str) -> Path:
    """Return the tree of the source, or its copy on a target."""
    return site.folder / name / ("backup" if name == "dayabay" else "copies/dayabay")


def spoil(site: Site, *names: str, stamp: str = OLDEST) -> None:
    """Flip a bit of one tarball, in place, on each of these nodes."""
    for name in names:
        with (base_of(site, name) / relpath(stamp)).open("r+b") as stream:
            first = stream.read(1)
            stream.seek(0)
            stream.write(bytes([first[0] ^ 1]))


def contents(site: Site, name: str) -> dict[str, bytes]:
    """Return the bytes of a node's tarballs of the item, by stamp."""
    return {"/".join(path.parts[-5:-1]): path.read_bytes() for path in item_of(base_of(site, name), "folder", "notes")}


def night(site: Site, stamp: str = TONIGHT) -> Run:
    """Run a night that reads everything that is kept."""
    return site.run("backup", stamp=stamp, check_scope="all")


def counts(run: Run) -> Counter[str]:
    """Return {module: number of calls}."""
    return Counter(module for _, module, _ in run.calls)


def rotten(run: Run) -> list[str]:
    """Return the lines of a run's failures about rot."""
    return [line.strip() for line in run.message.splitlines() if "does not match its dna" in line]


def test_what_rots_on_a_target_is_healed_from_the_source_under_all_its_names(site: Site) -> None:
    good = contents(site, "cms01")
    spoil(site, "cms01")
    run = night(site)
    assert run.rc != 0 and "1 failure:" in run.message, run.message
    (told,) = rotten(run)
    assert told.startswith("1. dayabay -> cms01: check of folders/notes: ")
    assert "the same file stood under 1 other stamp" in told
    assert "healed from dayabay: a good copy was read and stands in its place again" in told
    assert {**contents(site, "cms01"), TONIGHT: b""} == {**good, TONIGHT: b""}
    assert (base_of(site, "cms01") / relpath(OLDEST)).samefile(base_of(site, "cms01") / relpath(OLDER))
    apart = site.folder / "cms01" / "copies" / ".altbackup" / "quarantine" / "dayabay"
    assert all((apart / relpath(stamp)).is_file() for stamp in (OLDEST, OLDER))
    assert (counts(run)["tarball_find"], counts(run)["tarball_carry"], counts(run)["tarball_heal"]) == (3, 1, 1)
    after = night(site, NEXT)
    assert after.rc == 0, after.stdout
    assert sum(counts(after).values()) == 4 + 3 * 2, "an unchanged night costs what it did"


@pytest.mark.full
def test_what_rots_on_the_source_and_on_a_target_is_healed_from_the_other_target(site: Site) -> None:
    good = contents(site, "dayabay")
    spoil(site, "dayabay", "cms01")
    run = night(site)
    assert run.rc != 0 and len(rotten(run)) == 2, run.message
    assert all("healed from sdu" in line for line in rotten(run))
    for name in NODES:
        assert {**contents(site, name), TONIGHT: b""} == {**good, TONIGHT: b""}


@pytest.mark.full
def test_what_rots_on_every_node_is_loud_and_the_rest_goes_on(site: Site) -> None:
    spoil(site, *NODES, stamp=OLD)
    run = night(site)
    assert run.rc != 0 and len(rotten(run)) == 3, run.message
    assert all("NO NODE HAS A GOOD COPY of it (asked: dayabay, cms01, sdu)" in line for line in rotten(run))
    for name in NODES:
        assert set(contents(site, name)) == {OLDEST, OLDER, TONIGHT}


@pytest.mark.full
def test_in_check_mode_and_in_a_check_by_itself_nothing_moves(site: Site) -> None:
    spoil(site, "cms01")
    before = contents(site, "cms01")
    for playbook, arguments in (("backup", ["--check"]), ("check", [])):
        run = site.run(playbook, *arguments, stamp=TONIGHT, check_scope="all")
        assert run.rc != 0 and rotten(run), run.message
        assert contents(site, "cms01") == before
        assert not list(site.folder.glob("*/*/.altbackup/quarantine"))
