"""A folder that lost most of its content, in whole playbooks: an alarm with its figures, and copies of both states on all nodes."""

from __future__ import annotations

import os

import pytest
from integration.site import Site, item_of

DAY1, DAY2, DAY3 = "2013/05/08/104701", "2013/05/09/104701", "2013/05/10/104701"


@pytest.mark.full
def test_a_folder_that_lost_most_files_is_a_failure_until_more_is_allowed_and_is_sent_all_the_same(site: Site) -> None:
    folder = site.live / "folder"
    for number in range(300):
        (folder / f"file {number}").write_text(f"content {number}\n")
    assert site.run("backup", stamp=DAY1).rc == 0
    for number in range(280):
        (folder / f"file {number}").unlink()
    trees = site.folder / "dayabay" / "backup", site.folder / "cms01" / "copies" / "dayabay"
    for _ in ("night", "rerun"):
        run = site.run("backup", stamp=DAY2)
        assert run.rc != 0
        assert "dump of folders/svnsetup: the new copy is suspect: entries fell from 3" in run.message
        assert f"counts as none: folders/svnsetup/{DAY2}/svnsetup.tar.zst" in run.message
        assert "%, allowed 30 %) since the last good night (2013/05/08)" in run.message
        assert "altbackup accept dayabay/folders/svnsetup -i INVENTORY" in run.message
        for tree in trees:
            assert [path.parent.name for path in item_of(tree, "folder", "svnsetup")] == ["104701"] * 2
            assert os.readlink(tree / "folders" / "svnsetup" / "last") == DAY1
            assert os.readlink(tree / "svn" / "dybsvn" / "last") == DAY2
    (folder / "new").write_text("one more\n")
    allowed = site.run("backup", stamp=DAY3, shrink="95%")
    assert allowed.rc == 0, allowed.stdout
    assert [os.readlink(tree / "folders" / "svnsetup" / "last") for tree in trees] == [DAY3] * 2
