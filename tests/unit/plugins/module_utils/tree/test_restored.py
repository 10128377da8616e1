"""Markers of restored copies: whose count, what is shown of them, and what adopting removes."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import pytest
from helpers.racing import swapping
from helpers.trees import NOBODY, Base, item, needs_root, nobodys_folder

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError, InvalidInput
from ansible_collections.altbackup.core.plugins.module_utils.tree.restored import (
    KEYS,
    adopt,
    read_marker,
    require_adopted,
)

pytestmark = needs_root
TEXT = json.dumps({key: f"a {key}" for key in KEYS})


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """A third user's folder with a file in it."""
    path = tmp_path / "shelf" / "live"
    path.mkdir(parents=True)
    (path / "file").write_text("x")
    os.chown(path, 12345, 12345)
    return path


def marker(live: Path, owner: int, form: str = "file") -> Path:
    """Put a marker beside a folder."""
    path = Path(f"{live}.altbackup-restored")
    if form == "file":
        path.write_text(TEXT)
    elif form == "fifo":
        os.mkfifo(path)
    elif form == "link":
        path.symlink_to("/etc/passwd")
    else:
        path.mkdir()
    os.chown(path, owner, owner, follow_symlinks=False)
    return path


@pytest.mark.parametrize("form", ["file", "fifo", "link", "folder"])
@pytest.mark.parametrize(("owner", "counts"), [(0, True), (12345, True), (NOBODY, False)])
def test_only_markers_of_root_and_the_owner_keep_a_thing_from_being_dumped(
    tmp_path: Path, live: Path, owner: int, counts: bool, form: str
) -> None:
    path = marker(live, owner, form)
    if counts:
        with pytest.raises(AltbackupError, match="is a copy that was restored"):
            require_adopted(str(live), "folders/live")
    else:
        (note,) = require_adopted(str(live), "folders/live")
        assert (
            note
            == f"{path} was not obeyed: nobody (uid {NOBODY}) made it, who is neither root nor the owner of {live}; remove it"
        )
        night = Base(tmp_path / "base").dump(item("folder", live))
        assert len(night["tarballs"]) == 1
        assert note in night["notes"]


def test_what_a_marker_says_is_shown_as_short_plain_lines(live: Path) -> None:
    marker(live, 0).write_text(
        json.dumps({"by": "x" * 9999, "when": "a\nb\x1b[31m", "host": ["list"], "item": "\ud800"})
    )
    found = read_marker(str(live))
    assert found is not None
    assert (len(found["by"]), found["when"], found["host"]) == (300, "a?b?[31m", "['list']")
    assert found["item"] == "?"


def test_a_marker_without_bounds_is_one_that_cannot_be_read(live: Path) -> None:
    for text in ("[" * 60000, '{"by": "' + "x" * 70000 + '"}'):
        marker(live, 0).write_text(text)
        assert read_marker(str(live)) == dict.fromkeys(KEYS, "")


@pytest.mark.parametrize("form", ["file", "link"])
@pytest.mark.parametrize("owner", [0, NOBODY])
def test_adopting_removes_the_marker_itself(live: Path, form: str, owner: int) -> None:
    path = marker(live, owner, form)
    assert adopt(str(live), check_mode=True)
    assert os.path.lexists(path)
    assert adopt(str(live))
    assert not os.path.lexists(path)
    assert os.path.exists("/etc/passwd")
    assert not adopt(str(live))


@pytest.mark.parametrize("form", ["folder", "fifo"])
@pytest.mark.parametrize("check_mode", [True, False])
def test_adopting_removes_nothing_else(live: Path, form: str, check_mode: bool) -> None:
    path = marker(live, 0, form)
    with pytest.raises(AltbackupError, match="is no file, so no marker of a restore"):
        adopt(str(live), check_mode=check_mode)
    assert path.exists()


def test_adopting_follows_no_link_of_another_user(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    precious = victim / "docs.altbackup-restored"
    precious.write_text("precious")
    with nobodys_folder() as home:
        folder = home / "folder"
        folder.symlink_to(victim)
        with pytest.raises(InvalidInput, match="folder, a link of"):
            adopt(str(folder / "docs"))
        folder.unlink()
        folder.mkdir()
        os.chown(folder, NOBODY, NOBODY)
        with swapping(folder, victim):
            for _ in range(1000):
                with contextlib.suppress(InvalidInput):
                    adopt(str(folder / "docs"))
                assert precious.read_text() == "precious"
