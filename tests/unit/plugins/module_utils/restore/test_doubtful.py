"""Doubts that a restore raises, and the marks made for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.repositories import make_git, make_subversion

from ansible_collections.altbackup.core.plugins.module_utils.restore.doubtful import marked_path


@pytest.mark.parametrize(
    ("kind", "item", "destination", "part", "whole"),
    [
        ("folder", "docs", "docs/a/file", "", ""),
        ("folder", "docs", "docs", "docs", "docs"),
        ("folder", "docs", "docs2", "", "docs2"),
        ("folder", "a/docs", "a", "a", "a"),
        ("svn", "repo", "repo/conf/authz", "repo", "repo"),
        ("trac", "env", "env/db/trac.db", "env", "env"),
        ("trac", "env", "env/db/trac.db-wal", "env", "env"),
        ("sqlite", "app.db", "app.db", "app.db", "app.db"),
        ("sqlite", "app.db", "app.db-wal", "app.db", "app.db"),
        ("sqlite", "app.db", "app.db2", "", "app.db2"),
        ("sqlite", "d/app.db", "d", "d", "d"),
        ("git", "bare", "bare/refs", "bare", "bare"),
        ("git", "work", "work/src/main.c", "", "work/src/main.c"),
        ("git", "work", "work/.git", "work", "work"),
        ("git", "work", "work/.git/config", "work", "work"),
        ("git", "work", "work", "work", "work"),
    ],
)
def test_what_replaces_an_item_or_a_part_that_it_lives_by_is_marked(
    tmp_path: Path, kind: str, item: str, destination: str, part: str, whole: str
) -> None:
    (tmp_path / "work" / ".git").mkdir(parents=True)
    for top in (tmp_path, tmp_path / "link"):
        if top != tmp_path:
            top.symlink_to(tmp_path)
        items = [{"kind": kind, "path": f"{top}/{item}"}, {"kind": "folder", "path": "/elsewhere"}]
        for member, marked in ((True, part), (False, whole)):
            found = marked_path(f"{tmp_path}/{destination}", "/new", member=member, items=items, discover={})
            expected = str(top if marked == item else tmp_path) + f"/{marked}" if marked else ""
            assert found == expected, member


def test_the_topmost_doubtful_item_is_marked_for_all(tmp_path: Path) -> None:
    items = [{"kind": "sqlite", "path": f"{tmp_path}/env/db/trac.db"}, {"kind": "trac", "path": f"{tmp_path}/env"}]
    found = marked_path(f"{tmp_path}/env/db/trac.db", "/new", member=True, items=items, discover={})
    assert found == f"{tmp_path}/env"


def test_parts_of_what_is_discovered_are_marked_beside_that(tmp_path: Path) -> None:
    svn, git = tmp_path / "svn", tmp_path / "git"
    (svn / "group").mkdir(parents=True)
    git.mkdir()
    make_subversion(svn / "group" / "repo")
    make_git(git / "tool")
    env = tmp_path / "tracs" / "env"
    (env / "db").mkdir(parents=True)
    (env / "db" / "trac.db").touch()
    discover = {"svn": str(svn), "git": str(git), "trac": str(tmp_path / "tracs")}
    file = tmp_path / "new"
    file.write_text("x")

    def marked(path: str, new: Path, member: bool = True) -> str:
        return marked_path(f"{tmp_path}/{path}", str(new), member=member, items=[], discover=discover)

    assert marked("svn/group/repo/conf/authz", file) == f"{svn}/group/repo"
    assert marked("tracs/env/db/trac.db", file) == str(env)
    assert marked("svn/README", file) == ""
    assert marked("svn/group", tmp_path) == f"{svn}/group"
    assert marked("svn/other", tmp_path) == f"{svn}/other"
    assert marked("svn", tmp_path) == str(svn)
    assert marked("elsewhere/svn", tmp_path) == ""
    assert marked("elsewhere/svn", tmp_path, member=False) == f"{tmp_path}/elsewhere/svn"
    assert str(marked("git/tool/.git/config", file)) == f"{git}/tool"
