"""Errors that are refused before anything is touched, with a message that says what, where and what to do."""

from __future__ import annotations

import re
import shutil
from typing import Any

import pytest
from integration.site import Site, tarballs_of, tree_of


def refused(site: Site, playbook: str, *arguments: str, **extra: Any) -> str:
    """Run a playbook that must fail and change nothing; return its output."""
    before = tree_of(site.folder / "dayabay") if "dayabay" in site.hosts else {}
    run = site.run(playbook, *arguments, **extra)
    assert run.rc != 0, run.stdout
    assert not any(result.get("changed") for _, _, result in run.calls)
    if before:
        assert tree_of(site.folder / "dayabay") == before
    return run.message or run.stdout


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"altbackup_itmes": []}, ["altbackup_itmes", "altbackup_items"]),
        ({"altbackup_targets": ["cms02"]}, ["cms02", "cms01"]),
        ({"altbackup_items": []}, ["dayabay", "altbackup_items"]),
        ({"altbackup_transport": "fetch"}, ["dayabay", "'fetch' is not one of push, pull"]),
    ],
)
def test_error_of_the_inventory_stops_all_and_names_it(site: Site, settings: dict[str, Any], words: list[str]) -> None:
    site.hosts["dayabay"].update(settings)
    message = refused(site, "backup")
    assert [word for word in words if word not in message] == [], message


def test_all_errors_of_the_inventory_are_told_at_once(site: Site) -> None:
    site.hosts["dayabay"].update(altbackup_keep="none", altbackup_itmes=[])
    site.hosts["cms01"]["altbackup_target_base"] = "here"
    message = refused(site, "backup", stamp="yesterday", only_targets=["cms03"])
    words = ("altbackup_keep", "altbackup_itmes", "altbackup_target_base", "yesterday", "cms03")
    assert [word for word in words if word not in message] == [], message


@pytest.mark.full
def test_targets_of_other_sources_alone_are_no_targets(site: Site) -> None:
    site.hosts["dayabay"]["altbackup_targets"] = ["cms01"]
    site.add_target("sdu")
    site.add_source("lingao", altbackup_targets=["cms01", "sdu"])
    message = refused(site, "synchronize", "--limit dayabay", only_targets=["sdu"])
    assert "none of sdu is a target of dayabay" in message
    checked = site.run("check", "--limit dayabay,cms01,sdu", only_targets=["cms01"])
    where = set(re.findall(r"^ +\d+\. (.+?): check", checked.message, re.MULTILINE))
    assert where == {"dayabay", "lingao -> cms01"}, checked.message
    assert "so on cms01: check: expecting 1 tarball for toolbox of dayabay" in checked.message


@pytest.mark.full
def test_day_without_a_tarball_is_a_failure_of_synchronize(site: Site) -> None:
    run = site.run("synchronize", stamp="2013/05/07/104701")
    assert run.rc != 0, run.stdout
    assert f"no verified tarball of 2013/05/07 lies in {site.folder / 'dayabay/backup'}" in run.message
    assert "altbackup_day" in run.message


@pytest.mark.sampled(2)
@pytest.mark.parametrize("playbook", ["backup", "purge"])
def test_stamp_later_than_now_is_refused(site: Site, playbook: str) -> None:
    assert "later than now" in refused(site, playbook, stamp="2099/01/01/000000")


@pytest.mark.sampled(3)
@pytest.mark.parametrize("limit", ["", "--limit cms01"])
@pytest.mark.parametrize("playbook", ["backup", "check"])
def test_no_sources_is_an_error_with_and_without_limit(site: Site, playbook: str, limit: str) -> None:
    site.groups["sources"] = []
    message = refused(site, playbook, *([limit] if limit else []))
    assert "sources" in message


@pytest.mark.sampled(3)
@pytest.mark.parametrize("playbook", ["backup", "check", "list"])
def test_empty_inventory_is_an_error(bare_site: Site, playbook: str) -> None:
    assert "sources" in refused(bare_site, playbook)


@pytest.mark.parametrize("playbook", ["backup", "check"])
def test_limit_that_names_nobody_is_an_error(site: Site, playbook: str) -> None:
    assert "nobody" in refused(site, playbook, "--limit nobody")


def test_limit_without_a_source_is_an_error_of_backup(site: Site) -> None:
    message = refused(site, "backup", "--limit cms01")
    assert "cms01" in message
    assert "dayabay" in message


def test_base_without_marker_is_a_failure_and_nothing_is_written(site: Site) -> None:
    base = site.folder / "dayabay" / "backup"
    (base / ".altbackup").rmdir()
    message = refused(site, "backup")
    assert str(base) in message
    assert "mkdir" in message
    assert not list(base.iterdir())
    assert not tarballs_of(site.folder / "cms01")


@pytest.mark.full
def test_source_is_served_though_the_disk_on_which_it_keeps_copies_is_not_mounted(site: Site) -> None:
    copies = site.folder / "dayabay" / "copies"
    copies.mkdir()
    site.groups["targets"].append("dayabay")
    items = [item for item in site.items() if item["kind"] == "folder"]
    targets = ["dayabay", "cms01"]
    site.hosts["dayabay"].update(altbackup_target_base=str(copies), altbackup_items=items, altbackup_targets=targets)
    run = site.run("backup")
    assert run.message.splitlines()[0] == "1 failure:"
    assert "dayabay -> dayabay: preflight" in run.message
    assert len(tarballs_of(site.folder / "cms01" / "copies" / "dayabay")) == 1
    assert not list(copies.iterdir())


def test_all_that_is_missing_is_told_in_one_run_also_where_no_source_works(site: Site) -> None:
    for base in ("dayabay/backup", "cms01/copies"):
        shutil.rmtree(site.folder / base / ".altbackup")
    run = site.run("backup", "--check")
    assert run.rc != 0
    assert f"mkdir -p {site.folder}/dayabay/backup/.altbackup" in run.message
    assert f"mkdir -p {site.folder}/cms01/copies/.altbackup" in run.message
    assert run.message.startswith("2 failures:")


@pytest.mark.sampled(3)
@pytest.mark.parametrize("tags", [["--tags=foo"], ["--skip-tags=untagged"], ["--tags=foo", "--skip-tags=bar"]])
def test_tags_that_leave_out_the_plan_are_told(site: Site, tags: list[str]) -> None:
    """All playbooks have the same beginning, so one stands for all."""
    said = refused(site, "backup", *tags)
    assert "leave out that the inventory is read" in said and "undefined" not in said
