"""What an unprivileged user may not see is reported as such: it is neither a marker, nor a lock, nor absent."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.trees import NOBODY, as_nobody, needs_root

from ansible_collections.altbackup.core.plugins.module_utils.kinds import base
from ansible_collections.altbackup.core.plugins.module_utils.kinds.items import parse_item
from ansible_collections.altbackup.core.plugins.module_utils.restore import find, work_folder
from ansible_collections.altbackup.core.plugins.module_utils.stages import discovery, preflight
from ansible_collections.altbackup.core.plugins.module_utils.system import seeing
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.tree import layout, locks, restored

pytestmark = needs_root
SAID = f"cannot be read by uid {NOBODY}; use become"


@pytest.fixture
def closed() -> Iterator[Path]:
    """A folder that only root can enter, with a marked base, an item and a marker of a restore in it."""
    top = Path(tempfile.mkdtemp(dir="/tmp"))
    top.chmod(0o755)
    (top / "closed" / "base" / ".altbackup").mkdir(parents=True)
    (top / "closed" / "docs").mkdir()
    (top / "closed" / "docs" / "file").write_text("x")
    (top / "closed").chmod(0o700)
    yield top / "closed"
    shutil.rmtree(top)


def told(function: Callable[..., Any], *arguments: Any, **options: Any) -> str:
    """Call a function as nobody; return the error that it must raise."""
    with as_nobody(), pytest.raises(AltbackupError) as error:
        function(*arguments, **options)
    return str(error.value)


@pytest.mark.parametrize("below", ["base", "base/dayabay", "docs"])
def test_base_that_cannot_be_entered_is_not_called_unmarked(closed: Path, below: str) -> None:
    said = told(layout.open_tree, str(closed / below))
    assert said.endswith(SAID) and str(closed / below) in said and "mkdir" not in said
    with as_nobody():
        (entry,) = preflight.inspect(preflight.Demands([str(closed / below)], space=False))["failures"]
    assert entry["reason"] == said


def test_marker_that_cannot_be_entered_is_named(closed: Path) -> None:
    closed.chmod(0o755)
    (closed / "base" / ".altbackup").chmod(0o700)
    assert layout.open_tree(str(closed / "base")).private
    with as_nobody():
        tree = layout.open_tree(str(closed / "base"))
        with pytest.raises(AltbackupError, match=SAID), locks.shared(tree):
            pass
        with pytest.raises(AltbackupError, match=SAID), locks.unclaimed(tree, None):
            pass


def test_item_that_cannot_be_reached_is_no_restored_copy(closed: Path) -> None:
    assert told(restored.require_adopted, str(closed / "docs"), "folders/docs") == f"{closed / 'docs'} {SAID}"


@pytest.mark.parametrize("marked", [False, True])
def test_marker_of_a_restore_that_cannot_be_read_is_named(closed: Path, marked: bool) -> None:
    closed.chmod(0o755)
    if marked:
        Path(f"{closed}/docs.altbackup-restored").write_text("{}")
        Path(f"{closed}/docs.altbackup-restored").chmod(0o600)
        assert told(restored.require_adopted, str(closed / "docs"), "folders/docs") == (
            f"{closed}/docs.altbackup-restored {SAID}"
        )
    else:
        with as_nobody():
            assert restored.require_adopted(str(closed / "docs"), "folders/docs") == []


def test_owner_behind_a_closed_link_is_not_taken_for_nobody(closed: Path) -> None:
    link = closed.parent / "link"
    link.symlink_to(closed / "docs")
    marker = closed.parent / "link.altbackup-restored"
    marker.write_text("{}")
    os.chown(marker, 12345, 12345)
    assert told(restored.require_adopted, str(link), "folders/docs") == f"{link} {SAID}"


@pytest.mark.parametrize("check_mode", [False, True])
def test_adopting_what_cannot_be_reached_says_so(closed: Path, check_mode: bool) -> None:
    assert told(restored.adopt, str(closed / "docs"), check_mode=check_mode) == f"{closed / 'docs'} {SAID}"


@pytest.mark.parametrize("kind", ["git", "svn", "trac"])
def test_items_that_cannot_be_reached_are_not_called_missing(closed: Path, kind: str) -> None:
    item = parse_item({"kind": kind, "name": "docs", "path": str(closed / "docs")})
    assert told(base.require_folder, item).endswith(SAID)
    closed.chmod(0o755)
    (closed / "docs").chmod(0o700)
    assert told(base.require_folder, item).endswith(SAID)


def test_discovery_does_not_call_a_closed_folder_missing(closed: Path) -> None:
    with as_nobody():
        found = discovery.discover_items("git", str(closed / "docs"), "", Deadline())
    assert [entry["reason"] for entry in found.failures] == [f"altbackup_discover: git: {closed / 'docs'} {SAID}"]


def test_base_that_cannot_be_listed_is_not_taken_for_empty(closed: Path) -> None:
    closed.chmod(0o755)
    tree = layout.open_tree(str(closed / "base"))
    (closed / "base").chmod(0o711)
    with as_nobody(), pytest.raises((AltbackupError, OSError)):
        find._keys_of(tree)


def test_path_of_an_error_on_the_way_to_a_restore_is_whole(closed: Path) -> None:
    with as_nobody(), pytest.raises((AltbackupError, OSError)) as error:
        work_folder.nearest_folder(str(closed / "docs" / "deep"))
    assert str(closed / "docs") in str(error.value)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ELOOP, errno.EACCES])
def test_errors_of_looking_are_raised_not_answered(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def failing(path: str, **_: Any) -> os.stat_result:
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr(seeing, "os", SimpleNamespace(stat=failing, lstat=failing, geteuid=os.geteuid))
    for function in (seeing.status_of, seeing.is_folder, seeing.is_there):
        with pytest.raises(AltbackupError, match=f"/somewhere cannot be read by uid 0: {os.strerror(number)}"):
            function("/somewhere")


def test_what_is_not_there_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("nothing")
    assert seeing.is_there(str(tmp_path / ("n" * 300))) is False
    seen = [tmp_path / "none", tmp_path / "file" / "below", tmp_path / "link", tmp_path / "file", tmp_path]
    assert [seeing.is_there(str(path)) for path in seen] == [False, False, True, True, True]
    assert [seeing.is_folder(str(path)) for path in seen] == [False, False, False, False, True]


def test_who_became_another_user_is_not_told_to_use_become(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seeing, "_switched", [])
    with as_nobody():
        assert seeing.advice() == "; use become"
        seeing.switched(NOBODY)
        assert seeing.advice() == ""


def test_item_whose_marker_would_have_too_long_a_name_has_none(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 250)
    path.mkdir()
    assert restored.require_adopted(str(path), "folders/long") == []
    with pytest.raises(AltbackupError, match="File name too long"):
        seeing.status_of("/" + "/".join(["n" * 200] * 30))
