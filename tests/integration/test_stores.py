"""Stores over whole playbooks: nodes fill them, no play connects to them, and what is in them comes back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers.stores import Place, served
from integration.site import Site

FIRST, SECOND = "2013/05/10/104701", "2013/05/11/104701"
AWAY = {"ansible_host": "192.0.2.1", "ansible_ssh_common_args": "-o ConnectTimeout=1"}
"""Of a host that nobody reaches"""


def site_with(site: Site, place: Place, folder: Path, **settings: Any) -> Site:
    """Return a site with a source, a target that fills a store, and a source that fills a disk."""
    live = site.live / "docs"
    live.mkdir(parents=True)
    (live / "file").write_text("precious\n" * 1000)
    items = [{"kind": "folder", "name": "docs", "path": str(live)}]
    site.add_source("dayabay", altbackup_targets=["cms01"], altbackup_items=items, altbackup_stores=["drawer"])
    site.add_target("cms01", altbackup_stores=["vault"])
    site.groups["stores"] = ["vault", "drawer"]
    taken = {f"altbackup_store_{name}": place.options[name] for name in ("remote", "config") if name in place.options}
    site.hosts["vault"] = {**AWAY, **taken, **settings}
    (folder / ".altbackup").mkdir(parents=True)
    site.hosts["drawer"] = {**AWAY, "altbackup_store_remote": str(folder), "altbackup_absent_for": "7d"}
    return site


def files_of(folder: Path) -> set[str]:
    """Return the tarballs and sidecars below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("docs.tar*")}


@pytest.mark.full
def test_a_night_fills_the_stores_and_a_rerun_changes_nothing(bare_site: Site, tmp_path: Path) -> None:
    with served("sftp", tmp_path / "served") as place:
        site = site_with(bare_site, place, tmp_path / "drawer")
        site.write_inventory()
        first = site.run("backup", stamp=FIRST)
        assert first.rc == 0, first.stdout
        assert place.folder is not None
        copies = {f"dayabay/folders/docs/{FIRST}/docs.tar.zst{end}" for end in ("", ".dna")}
        assert files_of(place.folder) == files_of(tmp_path / "drawer") == copies
        assert (place.folder / "restore.sh").is_file() and (tmp_path / "drawer" / "RESTORE.txt").is_file()
        assert "dayabay -> vault: the store vault has 1 tarball of dayabay" in first.stdout
        assert not first.stats.get("dark"), "no play connects to a store"
        again = site.run("backup", stamp=FIRST)
        assert again.rc == 0 and again.changed == 0, again.stdout
        for playbook in ("check", "purge", "list", "stores"):
            run = site.run(playbook, stamp=FIRST)
            assert run.rc == 0 and not run.stats.get("dark"), run.stdout


@pytest.mark.full
def test_a_disk_that_is_away_is_a_note_and_a_store_that_lost_a_copy_a_failure(bare_site: Site, tmp_path: Path) -> None:
    with served("sftp", tmp_path / "served") as place:
        site = site_with(bare_site, place, tmp_path / "drawer")
        site.write_inventory()
        assert site.run("backup", stamp=FIRST).rc == 0
        shutil.move(tmp_path / "drawer", tmp_path / "away")
        place.delete(f"dayabay/folders/docs/{FIRST}/docs.tar.zst")
        run = site.run("check", stamp=FIRST)
        assert run.rc != 0
        assert "dayabay -> vault" in run.message and "is gone, its dna alone is there" in run.message
        assert "drawer" not in run.message and "may be away for 7d" in run.stdout


def test_what_is_wrong_with_a_store_is_told_before_anything_is_touched(bare_site: Site, tmp_path: Path) -> None:
    place = Place("disk", {"remote": "nothing"}, None, tmp_path)
    site = site_with(bare_site, place, tmp_path / "drawer")
    site.hosts["dayabay"]["altbackup_stores"] = ["drawr"]
    site.write_inventory()
    run = site.run("backup")
    assert run.rc != 0
    assert (
        "vault: altbackup_store_remote is neither a remote of rclone's configuration, like offsite:bucket/backup, nor"
        in run.message
    )
    assert (
        "dayabay: altbackup_stores names 'drawr', which is no host of the inventory, but should be one of group stores"
        in run.message
    )
    assert "drawer: no node fills this store" in run.message


@pytest.mark.full
def test_what_is_only_in_stores_is_listed_and_restored_from_there(bare_site: Site, tmp_path: Path) -> None:
    with served("s3", tmp_path / "served") as place:
        site = site_with(bare_site, place, tmp_path / "drawer", altbackup_store_lock_days=3)
        site.write_inventory()
        assert site.run("backup", stamp=FIRST).rc == 0
        for base in (site.folder / "dayabay" / "backup", site.folder / "cms01" / "copies" / "dayabay"):
            shutil.rmtree(base / "folders")
        place.delete(f"dayabay/folders/docs/{FIRST}/docs.tar.zst")
        shutil.rmtree(tmp_path / "drawer" / "dayabay")
        listed = tmp_path / "list.json"
        run = site.run("list", stamp=SECOND, list_file=str(listed))
        entries = {entry["node"]: entry for entry in json.loads(listed.read_text())}
        assert set(entries) == {"vault"} and entries["vault"]["state"] == "verified", run.stdout
        run = site.run("contents", stamp=SECOND, contents={"item": "dayabay/folders/docs"}, list_file=str(listed))
        assert [entry["path"] for entry in json.loads(listed.read_text())["entries"]] == ["file"], run.stdout
        order = {"source": "dayabay", "kind": "folder", "name": "docs", "to": str(tmp_path / "back")}
        predicted = site.run("restore", "--check", stamp=SECOND, restore=[order])
        assert predicted.rc == 0 and "from vault to" in predicted.stdout, predicted.stdout
        run = site.run("restore", stamp=SECOND, restore=[order])
        assert run.rc == 0, run.stdout
        assert (tmp_path / "back" / "file").read_text() == "precious\n" * 1000
        assert "passed over cms01" in run.stdout and "passed over drawer" in run.stdout
        assert not list((site.folder / "cms01" / "copies" / ".altbackup").glob("fetched/*"))


@pytest.mark.full
def test_a_drill_proves_what_stores_have_where_they_are_filled(bare_site: Site, tmp_path: Path) -> None:
    with served("sftp", tmp_path / "served") as place:
        site = site_with(bare_site, place, tmp_path / "drawer")
        site.write_inventory()
        assert site.run("backup", stamp=FIRST).rc == 0
        run = site.run("drill", stamp=SECOND)
        assert run.rc == 0, run.message
        relpath = f"folders/docs/{FIRST}/docs.tar.zst"
        assert run.stdout.count(f"{relpath}: proved to restore") == 4, run.stdout
