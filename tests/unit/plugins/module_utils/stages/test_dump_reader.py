"""What a reader does: what of a copy it chooses, what it can read, and which words of tar tell that something changed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from helpers.trees import SECOND, as_nobody, marked, needs_root, nobodys_folder

from ansible_collections.altbackup.core.plugins.module_utils.archive.write import Part
from ansible_collections.altbackup.core.plugins.module_utils.kinds.base import Context, Snapshot, walk
from ansible_collections.altbackup.core.plugins.module_utils.kinds.items import parse_item
from ansible_collections.altbackup.core.plugins.module_utils.stages import dump_reader as room
from ansible_collections.altbackup.core.plugins.module_utils.stages.dump_reader import (
    STATES,
    can_read,
    checker_of,
    look_through,
    require_readable,
)
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import Hostile, InvalidInput
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree

ITEM = parse_item({"kind": "folder", "name": "x", "path": "/srv/x"})


@pytest.mark.parametrize(
    ("line", "tells"),
    [
        ("tar: ./a: file changed as we read it", True),
        ("/usr/bin/tar: ./a: b: file changed as we read it", True),
        ("tar: ./a: File shrank by 1 byte; padding with zeros", True),
        ("tar: ./a: File shrank by 4096 bytes; padding with zeros", True),
        ("tar: ./a: File removed before we read it", True),
        ("tar: ./a: Cannot stat: No such file or directory", True),
        ("tar: ./a: Warning: Cannot open: No such file or directory", True),
        ("tar: ./a: Cannot open: Not a directory", True),
        ("tar: ./a: Cannot open: Too many levels of symbolic links", True),
        ("tar: Exiting with failure status due to previous errors", True),
        ("", False),
        ("tar: ./a: Cannot open: Permission denied", False),
        ("tar: ./a: Cannot read: Input/output error", False),
        ("tar: ./a: Read error at byte 0, while reading 512 bytes: Input/output error", False),
        ("tar: ./a: file changed as we read it, and more", False),
        ("./a: file changed as we read it", False),
        ("tar: Exiting with failure status due to previous errors\nx", False),
        ("tar: ./a\nb: file changed as we read it", False),
    ],
)
def test_words_of_tar_that_tell_of_a_change_are_known(line: str, tells: bool) -> None:
    assert room._tells_of_a_change(line) is tells


@pytest.mark.parametrize(
    ("line", "is_dropped"),
    [
        ("tar: ./a: Warning: Cannot llistxattr: Operation not supported", True),
        ("tar: ./a: Warning: Cannot getxattrat: Operation not supported", True),
        ("tar: ./a: Warning: Cannot getxattr: Permission denied", False),
        ("tar: ./a: Cannot open: Operation not supported", False),
    ],
)
def test_that_a_file_system_has_no_attributes_is_not_told_of_each_file(line: str, is_dropped: bool) -> None:
    assert bool(room._NO_ATTRIBUTES.fullmatch(line)) is is_dropped


@pytest.fixture
def live(tmp_path: Path) -> Path:
    path = tmp_path / "live"
    (path / "sub").mkdir(parents=True)
    (path / "sub" / "file").write_text("x")
    return path


def chosen(live: Path, base: dict[str, Any] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what of a folder is archived, given what is known of its full tarball."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "reader"))
    (tmp_path / "reader").mkdir(exist_ok=True)
    context = Context(open_tree(str(marked(tmp_path / "base"))), SECOND, Deadline(60), base=base)
    parts = [Part(str(live), walk(str(live))[0])]
    return room._select(Snapshot(parts, {}), ITEM, context)


def test_a_copy_is_archived_whole_where_nothing_is_to_be_known(
    live: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = chosen(live, None, tmp_path, monkeypatch)
    assert ([len(part.names) for part in found.parts], found.top, found.differs, found.way) == ([3], "x", False, ())
    assert os.listdir(tmp_path / "reader") == []


@pytest.mark.parametrize("base", [{}, {"way": [[0, 0], True, False], "top": "old"}])
def test_a_copy_is_archived_whole_and_known_where_its_full_one_was_made_otherwise(
    live: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base: dict[str, Any]
) -> None:
    found = chosen(live, base, tmp_path, monkeypatch)
    assert ([len(part.names) for part in found.parts], found.top, found.differs) == ([3], "x", False)
    assert (found.listed, os.listdir(tmp_path / "reader")) == (True, [STATES])


@pytest.mark.parametrize("how", ["opened", "a link", "gone", "a folder", "a pipe"])
def test_a_plain_file_can_be_read(tmp_path: Path, how: str) -> None:
    path, nothing = tmp_path / "file", Any
    path.write_text("x")
    asked = path
    if how == "a link":
        asked = tmp_path / "link"
        asked.symlink_to(path)
    elif how != "opened":
        path.unlink()
    if how == "a folder":
        path.mkdir()
    elif how == "a pipe":
        os.mkfifo(path)
    found = can_read(nothing, nothing, nothing, str(asked))  # type: ignore[arg-type]
    assert found is (how in ("opened", "a link"))


@needs_root
def test_what_a_user_cannot_read_is_told_and_what_is_needless_is_passed_over() -> None:
    with nobodys_folder() as home:
        (home / "open").mkdir()
        (home / "open" / "sealed").mkdir(mode=0o700)
        (home / "open" / "link").symlink_to("/root")
        for path in (home, home / "open"):
            path.chmod(0o755)
        with as_nobody():
            with pytest.raises(InvalidInput, match="sealed"):
                require_readable([str(home / "open")])
            require_readable([str(home / "open")], [str(home / "open" / "sealed")])
            require_readable([])


def test_what_is_not_there_or_a_link_is_not_looked_through(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path / "link"):
        one = parse_item({"kind": "folder", "name": "x", "path": str(path)})
        (tmp_path / "link").unlink(missing_ok=True)
        (tmp_path / "link").symlink_to("/root")
        look_through(one, Context(_tree(tmp_path), SECOND, Deadline(60)))


def _tree(tmp_path: Path) -> Any:
    return open_tree(str(tmp_path / "base" if (tmp_path / "base").exists() else marked(tmp_path / "base")))


def test_who_judges_names_the_item_and_knows_the_links_of_its_full_tarball(tmp_path: Path) -> None:
    checker = checker_of(ITEM, "x", Context(_tree(tmp_path), SECOND, Deadline(60)), ["link"])
    checker.check_names([(b"x", 0o40755)])
    with pytest.raises(Hostile, match=r"item folder 'x': member 'x/link/a' would be written through .* full tarball"):
        checker.check_names([(b"x/link/a", 0o100644)])


def test_names_of_what_vanished_are_left_to_tar(live: Path) -> None:
    parts = [Part(str(live), [b".", b"./sub", b"./gone"])]
    found = list(room._entries(parts, "top"))
    assert [name for name, _ in found] == [b"top", b"top/sub"]
