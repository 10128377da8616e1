"""Careful purges in whole playbooks: a fallen rule removes nothing, an undo restores, and no copy goes while others are missing."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from helpers.original_trees import put
from integration.site import Site, tarballs_of

DAYS = range(1, 11)


def put_nights(base: Path) -> list[str]:
    """Write ten nights of one folder, each with its own content; return the tarballs."""
    relpaths = [f"folders/docs/2013/05/{day:02}/104701/docs.tar" for day in DAYS]
    for relpath in relpaths:
        put(base, relpath, relpath.encode())
    return relpaths


@pytest.fixture
def trees(bare_site: Site) -> tuple[Path, Path]:
    """Return the trees of a source and its target, with ten nights each."""
    (bare_site.live / "docs").mkdir(parents=True)
    (bare_site.live / "docs" / "file").write_text("x")
    items = [{"kind": "folder", "name": "docs", "path": str(bare_site.live / "docs")}]
    source = bare_site.add_source("dayabay", altbackup_targets=["cms01"], altbackup_items=items, altbackup_keep=10)
    target = bare_site.add_target("cms01", altbackup_keep=10) / "dayabay"
    target.mkdir()
    for base in (source, target):
        put_nights(base)
    return source, target


def names(base: Path) -> list[str]:
    return [path.parts[-3] for path in tarballs_of(base)]


@pytest.mark.full
def test_a_mistyped_keep_removes_nothing_until_it_is_confirmed_and_what_went_is_put_back(
    bare_site: Site, trees: tuple[Path, Path]
) -> None:
    site, (source, target) = bare_site, trees
    first = site.run("purge")
    assert first.rc == 0, first.stdout
    for host in ("dayabay", "cms01"):
        site.hosts[host]["altbackup_keep"] = 3
    for arguments in (["--check"], []):
        fell = site.run("purge", *arguments)
        assert fell.rc != 0
        assert (
            "what is kept of folders/docs fell, keep from 10 to 3: 7 tarballs would go, and none was removed"
            in fell.message
        )
        assert "dayabay" in fell.message and "dayabay -> cms01" in fell.message
        assert len(names(source)) == len(names(target)) == 10

    site.hosts["cms01"]["altbackup_purge_confirm"] = True
    refused = site.run("purge")
    assert refused.rc != 0
    assert "altbackup_purge_confirm is set in the inventory" in refused.message
    del site.hosts["cms01"]["altbackup_purge_confirm"]

    meant = site.run("purge", purge_confirm=True)
    assert meant.rc == 0, meant.stdout
    assert names(source) == names(target) == [f"{day:02}" for day in DAYS[1:]]
    assert not list((source / ".altbackup/trash").iterdir())
    today = time.strftime("%Y/%m/%d", time.gmtime())
    kept = target.parent / ".altbackup/trash/dayabay/kept" / today.replace("/", "-")
    assert [path.name for path in kept.rglob("*.tar")] == ["docs.tar"]

    empty = site.run("undo")
    assert empty.rc != 0
    assert "altbackup_undo is empty: name the day" in empty.message
    unknown = site.run("undo", undo=["daybay/folders/docs/2013/05/01/104701"])
    assert unknown.rc != 0
    assert "'daybay' is no source, did you mean 'dayabay'?" in unknown.message
    told = site.run("undo", "--check", undo=[today])
    assert told.rc == 0, told.stdout
    assert "would put back folders/docs/2013/05/01/104701/docs.tar" in told.stdout
    assert len(names(target)) == 9
    undone = site.run("undo", undo=["dayabay/folders/docs/2013/05/01/104701"])
    assert undone.rc == 0, undone.stdout
    assert names(target) == [f"{day:02}" for day in DAYS]
    assert len(names(source)) == 9
    assert (target / "folders/docs/2013/05/01/104701/docs.tar.dna").exists()
    again = site.run("undo", undo=[today])
    assert again.rc != 0
    assert f"nothing of what was removed on {today} was put back" in again.message


@pytest.mark.full
def test_a_source_whose_only_target_is_down_keeps_all_it_has(bare_site: Site, trees: tuple[Path, Path]) -> None:
    site, (source, target) = bare_site, trees
    site.hosts["dayabay"]["altbackup_keep"] = 3
    (target.parent / ".altbackup").rename(target.parent / "unmounted")
    night = site.run("backup", stamp="2013/05/11/104701")
    assert night.rc != 0
    assert len(names(source)) == 11
    assert "nothing older of folders/docs goes: its newest copy is verified on 0 of 1 target" in night.text
    alone = site.run("purge", "--limit", "dayabay")
    assert alone.rc != 0
    assert len(names(source)) == 11

    (target.parent / "unmounted").rename(target.parent / ".altbackup")
    alone = site.run("purge", "--limit", "dayabay")
    assert "nothing older of folders/docs goes: its newest copy is verified on 0 of 1 target" in alone.text
    assert len(names(source)) == 11
    night = site.run("backup", stamp="2013/05/12/104701")
    assert night.rc == 0, night.stdout
    assert len(names(source)) == 10
    alone = site.run("purge", "--limit", "dayabay")
    assert alone.rc == 0, alone.stdout
    assert len(names(source)) == 9
