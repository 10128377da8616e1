"""One base behind two names is a failure that names both, in the run that first writes and in every later one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from integration.site import Site, tarballs_of, tree_of

DAY1, DAY2 = "2013/05/08/104701", "2013/05/09/104701"


@pytest.fixture
def plain(tmp_path: Path) -> Site:
    """Two sources with a folder each, and a target."""
    site = Site(tmp_path)
    for name in ("dayabay", "lingao"):
        (site.live / name).mkdir(parents=True)
        (site.live / name / "whose").write_text(f"{name}\n")
        items = [{"kind": "folder", "name": "data", "path": str(site.live / name)}]
        site.add_source(name, altbackup_items=items, altbackup_targets=["cms01"])
    site.add_target("cms01")
    return site


@pytest.mark.full
@pytest.mark.parametrize("days", [(), (DAY1, DAY2)], ids=["predicted", "nights"])
def test_sources_with_one_base(plain: Site, days: tuple[str, ...]) -> None:
    plain.hosts["lingao"]["altbackup_base"] = plain.hosts["dayabay"]["altbackup_base"]
    predicted = plain.run("backup", "--check", stamp=DAY1)
    assert predicted.rc != 0
    assert "source dayabay and source lingao have one base" in predicted.message
    for day in days:
        run = plain.run("backup", stamp=day)
        assert run.rc != 0
        assert "source dayabay" in run.message and "source lingao" in run.message, run.message
        assert run.message.startswith("1 failure:"), run.message
    first, second = (plain.folder / "cms01" / "copies" / name for name in ("dayabay", "lingao"))
    assert sorted((len(tarballs_of(first)), len(tarballs_of(second)))) == [0, len(days)], (
        "the tree of one source is never another's"
    )
    if days:
        shown = plain.run("check", day="2013/05/09")
        assert "source dayabay" in shown.message and "source lingao" in shown.message


@pytest.mark.full
def test_targets_with_one_base(plain: Site) -> None:
    plain.add_target("sdu")
    shutil.rmtree(plain.folder / "sdu" / "copies")
    (plain.folder / "sdu" / "copies").symlink_to(plain.folder / "cms01" / "copies")
    for name in ("dayabay", "lingao"):
        plain.hosts[name]["altbackup_targets"] = ["cms01", "sdu"]
    assert "target cms01 and target sdu have one base" in plain.run("backup", "--check", stamp=DAY1).message
    run = plain.run("backup", stamp=DAY1)
    assert run.rc != 0
    assert "target cms01" in run.message and "target sdu" in run.message
    assert run.message.count("has it for its own, too") == 1, run.message
    assert "sdu: preflight: " in run.message
    copies = plain.folder / "cms01" / "copies"
    assert [len(tarballs_of(copies / name)) for name in ("dayabay", "lingao")] == [1, 1], "the one copy is made"


@pytest.mark.full
def test_targets_on_one_file_system_are_a_note(plain: Site) -> None:
    plain.add_target("sdu")
    plain.hosts["dayabay"]["altbackup_targets"] = ["cms01", "sdu"]
    run = plain.run("backup", stamp=DAY1)
    assert run.rc == 0, run.stdout
    assert run.stdout.count("targets cms01 and sdu have their copies on one file system") == 1


@pytest.mark.full
def test_a_renamed_host_fails_with_the_command_that_mends_it(plain: Site) -> None:
    assert plain.run("backup", stamp=DAY1).rc == 0
    plain.hosts = {"newbay" if name == "dayabay" else name: settings for name, settings in plain.hosts.items()}
    plain.groups["sources"] = ["newbay", "lingao"]
    failed = plain.run("backup", stamp=DAY2)
    assert failed.message.startswith("1 failure:"), failed.message
    said = " ".join(failed.message.split())
    assert "If source dayabay is now called newbay" in said
    assert "altbackup_former_names: [dayabay]" in said
    entry = {"source": "newbay", "kind": "folder", "name": "data", "to": str(plain.folder / "new"), "from": "newbay"}
    refused = plain.run("restore", restore=[entry], stamp=DAY2)
    assert "is the base of source dayabay" in refused.message, refused.message
    plain.hosts["newbay"]["altbackup_former_names"] = ["dayabay"]
    run = plain.run("backup", stamp=DAY2)
    assert run.rc == 0, run.stdout
    assert len(tarballs_of(plain.folder / "cms01" / "copies" / "newbay")) == 2


def alike(folder: Path, copies: Path | None = None) -> Site:
    """A source `dayabay` with a folder of its own, on a target's base that may be another inventory's, too."""
    site = Site(folder)
    (site.live / "data").mkdir(parents=True)
    (site.live / "data" / "whose").write_text(f"{folder.name}\n")
    items = [{"kind": "folder", "name": "data", "path": str(site.live / "data")}]
    site.add_source("dayabay", altbackup_items=items, altbackup_targets=["cms01"])
    site.add_target("cms01", **({"altbackup_target_base": str(copies)} if copies else {}))
    return site


@pytest.mark.full
def test_two_inventories_with_one_name_of_a_source(tmp_path: Path) -> None:
    mine = alike(tmp_path / "mine")
    copies = tmp_path / "mine" / "cms01" / "copies"
    other = alike(tmp_path / "other", copies)
    assert mine.run("backup", stamp=DAY1).rc == 0
    before = tree_of(copies)
    for arguments in (["--check"], []):
        run = other.run("backup", *arguments, stamp=DAY2, keep=1)
        assert run.rc != 0
        assert run.message.startswith("1 failure:"), run.message
        said = " ".join(run.message.split())
        for word in (
            mine.hosts["dayabay"]["altbackup_base"],
            other.hosts["dayabay"]["altbackup_base"],
            "dayabay -> cms01",
        ):
            assert word in said, said
        assert tree_of(copies) == before
    assert len(tarballs_of(tmp_path / "other" / "dayabay" / "backup")) == 1, "its own base is good"
    purged = other.run("purge", stamp=DAY2, keep=1)
    assert purged.rc != 0 and "holds the copies of another source" in purged.message
    entry = {"source": "dayabay", "kind": "folder", "name": "data", "to": str(tmp_path / "back")}
    shutil.rmtree(tmp_path / "other" / "dayabay" / "backup" / "folders")
    refused = other.run("restore", restore=[entry], stamp=DAY2)
    assert "holds the copies of another source" in refused.message, refused.message
    assert not (tmp_path / "back").exists()
    assert mine.run("backup", stamp=DAY2).rc == 0


@pytest.mark.full
def test_base_that_was_lost_and_made_anew(tmp_path: Path) -> None:
    site = alike(tmp_path / "site")
    base = tmp_path / "site" / "dayabay" / "backup"
    assert site.run("backup", stamp=DAY1).rc == 0
    shutil.rmtree(base)
    shutil.move(site.live / "data", tmp_path / "gone")
    (base / ".altbackup").mkdir(parents=True)
    entry = {"source": "dayabay", "kind": "folder", "name": "data"}
    restored = site.run("restore", restore=[entry], stamp=DAY2)
    assert restored.rc == 0, restored.stdout
    (site.live / "data.altbackup-restored").unlink()
    predicted, failed = site.run("backup", "--check", stamp=DAY2), site.run("backup", stamp=DAY2)
    for run in (predicted, failed):
        assert run.message.startswith("1 failure:"), run.message
        assert """-e '{"altbackup_adopt": ["dayabay"]}'""" in " ".join(run.message.split())
    named = site.run("restore", restore=[{**entry, "to": str(tmp_path / "again"), "from": "cms01"}], stamp=DAY2)
    assert named.rc == 0, named.stdout
    assert site.run("backup", stamp=DAY2, adopt=["dayabay"]).rc == 0
    assert len(tarballs_of(tmp_path / "site" / "cms01" / "copies" / "dayabay")) == 2
    assert site.run("backup", stamp=DAY2).rc == 0
