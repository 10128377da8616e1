"""The whole chain between bases on a disk without links and modes, like exFAT."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from helpers.bare_disk import bare_disk
from integration.site import Site, tarballs_of

DAY1, DAY2 = "2013/05/08/104701", "2013/05/09/104701"


@pytest.mark.full
def test_nights_on_disks_without_links_go_well_and_note_it_once(tmp_path: Path) -> None:
    """All bases of two sources and their target lie there."""
    live = tmp_path / "live" / "notes"
    live.mkdir(parents=True)
    (live / "one").write_text("one")
    item = {"kind": "folder", "name": "notes", "path": str(live)}
    with bare_disk(tmp_path) as disk:
        site = Site(tmp_path)
        for name in ("dayabay", "lingao"):
            (disk / name / ".altbackup").mkdir(parents=True)
            base = {"altbackup_base": str(disk / name)}
            site.add_source(name, altbackup_targets=["cms01"], altbackup_items=[item])
            site.hosts[name].update(base)
        site.add_target("cms01")
        (disk / "copies" / ".altbackup").mkdir(parents=True)
        site.hosts["cms01"]["altbackup_target_base"] = str(disk / "copies")
        for stamp in (DAY1, DAY2):
            run = site.run("backup", stamp=stamp)
            assert run.rc == 0, run.stdout
            said = re.sub(r"\x1b\[[0-9;]*m|\s", "", run.stdout)
            for node, base in (("dayabay", "dayabay"), ("lingao", "lingao"), ("cms01", "copies")):
                assert said.count(f"note:{node}:{disk / base}:itsfilesystem(fuse.bare)hasnohardlinks") == 1
        for source in ("dayabay", "lingao"):
            assert len(tarballs_of(disk / source)) == len(tarballs_of(disk / "copies" / source)) == 2
