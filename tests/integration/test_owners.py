"""One base behind two names is a failure that names both, in the run that first writes and in every later one."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from integration.site import Site, tarballs_of

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


@pytest.mark.parametrize("days", [(DAY1,), pytest.param((DAY1, DAY2), marks=pytest.mark.full)])
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
    (command,) = re.findall(r"rm (\S+)", said)
    assert command == str(plain.folder / "dayabay" / "backup" / ".altbackup" / "owner")
    entry = {"source": "newbay", "kind": "folder", "name": "data", "to": str(plain.folder / "new"), "from": "newbay"}
    refused = plain.run("restore", restore=[entry], stamp=DAY2)
    assert "is the base of source dayabay" in refused.message, refused.message
    Path(command).unlink()
    assert plain.run("backup", stamp=DAY2).rc == 0
    assert len(tarballs_of(plain.folder / "cms01" / "copies" / "newbay")) == 2
