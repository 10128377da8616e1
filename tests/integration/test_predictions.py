"""What check mode predicts of a restore is what the restore does."""

from __future__ import annotations

from pathlib import Path

import pytest
from integration.site import Site, tarballs_of, tree_of

DAY = "2013/05/08/104701"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Return a source with a folder, and a target, after a night."""
    made = Site(tmp_path)
    (made.live / "data").mkdir(parents=True)
    (made.live / "data" / "file").write_text("x")
    items = [{"kind": "folder", "name": "data", "path": str(made.live / "data")}]
    made.add_source("dayabay", altbackup_items=items, altbackup_targets=["cms01"])
    made.add_target("cms01")
    assert made.run("backup", stamp=DAY).rc == 0
    return made


@pytest.mark.full
def test_check_of_a_restore_finds_what_the_restore_would(site: Site, tmp_path: Path) -> None:
    entry = {"source": "dayabay", "kind": "folder", "name": "data", "to": str(tmp_path / "new"), "from": "cms01"}
    before = tree_of(tmp_path / "cms01")
    good = site.run("restore", "--check", restore=[{**entry, "member": "data/file"}])
    assert good.rc == 0, good.stdout
    assert "would restore folders/data" in " ".join(good.stdout.split())
    wrong = site.run("restore", "--check", restore=[{**entry, "member": "data/none"}])
    assert wrong.rc != 0
    assert "member 'data/none' is not in it" in wrong.message
    assert "would restore" not in wrong.stdout
    (tarball,) = tarballs_of(tmp_path / "cms01" / "copies" / "dayabay")
    content = bytearray(tarball.read_bytes())
    content[len(content) // 2] ^= 1
    assert tree_of(tmp_path / "cms01") == before
    tarball.write_bytes(content)
    damaged = site.run("restore", "--check", restore=[entry])
    assert damaged.rc != 0
    assert "does not match its dna" in damaged.message


@pytest.mark.full
def test_entries_are_read_from_the_command_line_as_yaml(site: Site) -> None:
    entry = "{source: dayabay, kind: folder, name: data, to: /new/place}"
    for text in (f"altbackup_restore=[{entry}] altbackup_only_targets=[cms01, ]", f"{{altbackup_restore: [{entry}]}}"):
        good = site.run("restore", "--check", "-e", f"'{text}'")
        assert good.rc == 0, good.stdout
        assert "would restore folders/data" in " ".join(good.stdout.split())
    bad = site.run("restore", "--check", "-e", "'altbackup_restore=[{source: dayabay]'")
    assert bad.rc != 0
    reason = "altbackup_restore '[{source: dayabay]' is not a list: it can be read neither as JSON nor as YAML: line 1, column 18, at ']'"
    assert reason in " ".join(bad.stdout.replace("\\'", "'").split())
