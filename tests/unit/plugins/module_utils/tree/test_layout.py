"""Layout on disk: trees, their tarballs, and the names of these."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.original_trees import STAMP, marked

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import BaseUnusable, InvalidInput
from ansible_collections.altbackup.core.plugins.module_utils.tree import layout


def test_marker_in_the_base_or_its_parent_opens_it(tmp_path: Path) -> None:
    base = str(marked(tmp_path / "backup"))
    assert layout.open_tree(base + "//./") == layout.Tree(base, f"{base}/.altbackup")
    tree = layout.open_tree(f"{base}/dayabay")  # a source's tree on a target, not received yet
    assert tree == layout.Tree(f"{base}/dayabay", f"{base}/.altbackup", "dayabay")
    assert tree.private_path("records", "svn") == f"{base}/.altbackup/records/dayabay/svn"
    assert layout.open_tree(base).private_path("records", "svn") == f"{base}/.altbackup/records/svn"


@pytest.mark.parametrize(
    ("base", "why"),
    [
        ("backup", "is not an absolute path"),
        ("", "is not an absolute path"),
        ("{}/missing/base", "does not exist: is its disk mounted"),
        ("{}/bare", "has no marker .altbackup/ in itself or its parent.*mkdir .*/bare/.altbackup"),
        ("{}/marked/file", "is not a folder"),
        ("{}/marked/link", "is not a folder"),
        ("{}/marked/.altbackup", "has no marker"),
        ("{}/marked/a/b", "does not exist"),
    ],
)
def test_base_that_cannot_be_used_is_an_error_that_says_what_to_do(tmp_path: Path, base: str, why: str) -> None:
    (tmp_path / "bare").mkdir()
    (marked(tmp_path / "marked") / "file").write_text("")
    (tmp_path / "marked" / "link").symlink_to(tmp_path)
    with pytest.raises((BaseUnusable, InvalidInput), match=why):
        layout.open_tree(base.format(tmp_path))


@pytest.mark.parametrize(
    ("filename", "name", "parsed"),
    [
        ("svnsetup.tar.gz", "svnsetup", (None, ".tar.gz")),
        ("svnsetup.tar.zst", "svnsetup", (None, ".tar.zst")),
        ("svnsetup.tar", "svnsetup", (None, ".tar")),
        ("dybsvn-20496.tar.gz", "dybsvn", (20496, ".tar.gz")),
        ("dybsvn-20496-1.tar.gz", "dybsvn", (20496, ".tar.gz")),
        ("dybsvn-20496.diff.tar.zst", "dybsvn", (20496, ".diff.tar.zst")),
        ("my-repo-2-23.tar", "my-repo-2", (23, ".tar")),
        ("my-repo-2-23.tar", "my-repo", (2, ".tar")),
        ("a.b-0.tar", "a.b", (0, ".tar")),
        ("-rf-1.tar", "-rf", (1, ".tar")),
        ("x.tar.tar", "x.tar", (None, ".tar")),
        ("dybsvnextra-1.tar.gz", "dybsvn", None),
        ("dybsvn-extra.tar.gz", "dybsvn", None),
        ("dybsvn-.tar.gz", "dybsvn", None),
        ("dybsvn-1-2-3.tar.gz", "dybsvn", None),
        ("dybsvn-\u0661.tar.gz", "dybsvn", None),
        ("dybsvn.tar.bz2", "dybsvn", None),
        ("dybsvn.tgz", "dybsvn", None),
        ("dybsvn.tar.gz.dna", "dybsvn", None),
        ("dybsvn.tar.gz\n", "dybsvn", None),
        ("local.tar.gz", "svnsetup", None),
        ("aXb.tar", "a.b", None),
    ],
)
def test_file_name_belongs_to_an_item_exactly(filename: str, name: str, parsed: tuple[int | None, str] | None) -> None:
    assert layout.parse_filename(filename, name) == parsed
    if parsed and filename.count("-") - name.count("-") < 2 and ".diff" not in filename:
        assert layout.tarball_filename(name, *parsed) == filename


@pytest.mark.parametrize(
    "relpath",
    [
        "",
        "svn/dybsvn",
        f"svn/dybsvn/{STAMP}",
        f"svn/dybsvn/{STAMP}/other.tar",
        f"svn/dybsvn/{STAMP}/dybsvn.tar/x",
        f"svn/x\ny/{STAMP}/x\ny.tar",
        f"../dybsvn/{STAMP}/dybsvn.tar",
        f"svn/../{STAMP}/...tar",
        f"/svn/dybsvn/{STAMP}/dybsvn.tar",
        f".altbackup/dybsvn/{STAMP}/dybsvn.tar",
        "svn/dybsvn/2013/02/30/104701/dybsvn.tar",
        f"svn/dybsvn/{STAMP}/dybsvn.tar\0",
        f"svn//{STAMP}/.tar",
    ],
)
def test_what_is_no_relpath_is_an_error(relpath: str) -> None:
    assert layout.split_relpath(f"svn/a b/{STAMP}/a b-7.tar") == ("svn", "a b", STAMP, "a b-7.tar")
    with pytest.raises(InvalidInput, match="is not <category>/<name>/YYYY/MM/DD/HHMMSS/"):
        layout.split_relpath(relpath)
