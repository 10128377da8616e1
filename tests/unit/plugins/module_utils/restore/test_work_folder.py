"""The private folder in which a destination is restored: where it lies, who has it, and what of an earlier one is believed."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.trees import NOBODY, needs_root, nobodys_home, small_disk

from ansible_collections.altbackup.core.plugins.module_utils.restore.replace import clear
from ansible_collections.altbackup.core.plugins.module_utils.restore.work_folder import (
    discard,
    has_leftovers,
    is_under_way,
    nearest_folder,
    read_json,
    remove,
    state_key,
    working,
    write_json,
)
from ansible_collections.altbackup.core.plugins.module_utils.system import own_state
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError, InvalidInput, Locked


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return tmp_path / "svn" / "thing"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A folder of nobody's, who can reach it."""
    with nobodys_home() as folder:
        yield folder


@pytest.fixture
def like_btrfs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have listings by a descriptor show, as on Btrfs, nothing that came after it was opened, or rewound, which each listing does at its end."""
    seen: dict[int, set[str]] = {}
    real_open, real_listdir, real_lseek = os.open, os.listdir, os.lseek

    def opened(path: Any, flags: int, *args: Any, **more: Any) -> int:
        descriptor = real_open(path, flags, *args, **more)
        seen.pop(descriptor, None)
        if flags & os.O_DIRECTORY and not flags & os.O_PATH:
            seen[descriptor] = {*real_listdir(descriptor)}
        return descriptor

    def listdir(path: Any = ".") -> list[Any]:
        names = real_listdir(path)
        shown = [name for name in names if name in seen.get(path, names)] if isinstance(path, int) else names
        if isinstance(path, int):
            seen[path] = {*names}
        return shown

    def lseek(descriptor: int, position: int, how: int) -> int:
        if descriptor in seen:
            seen[descriptor] = {*real_listdir(descriptor)}
        return real_lseek(descriptor, position, how)

    for name, changed in (("open", opened), ("listdir", listdir), ("lseek", lseek)):
        monkeypatch.setattr(os, name, changed)


@pytest.mark.usefixtures("like_btrfs")
def test_what_was_made_in_it_is_removed_on_btrfs_too(destination: Path) -> None:
    with working(str(destination)) as work:
        work.folder("unpacked")
        state = os.readlink(f"/proc/self/fd/{work.state}")
        discard(work)
    assert not destination.parent.exists() and not os.path.exists(state)


@pytest.mark.usefixtures("like_btrfs")
def test_what_an_earlier_restore_left_is_cleared_on_btrfs_too(destination: Path) -> None:
    with working(str(destination)) as work:
        work.folder("unpacked")
        assert clear(work) == [f"removed unpacked, which an earlier restore had left in {work.title}"]
        assert os.listdir(work.path) == []
        discard(work)


def test_parents_that_were_made_for_nothing_are_removed(tmp_path: Path) -> None:
    destination = tmp_path / "a" / "b" / "thing"
    with working(str(destination)) as work:
        work.folder("unpacked")
        discard(work)
    assert os.listdir(tmp_path) == []


def test_a_second_restore_of_the_same_thing_is_kept_out(destination: Path) -> None:
    with working(str(destination)) as work, pytest.raises(Locked, match="another restore is at work on"):
        with working(str(destination)):
            pass
    with working(str(destination)) as again:
        assert again.title == work.title


def test_a_long_name_has_a_work_folder_too(tmp_path: Path) -> None:
    with working(str(tmp_path / ("n" * 240))) as work:
        assert os.path.isdir(work.path)
        discard(work)


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InvalidInput, match="file is no folder"), working(str(tmp_path / "file" / "thing")):
        pass


@needs_root
def test_a_work_folder_lies_where_nobody_else_can_move_it(home: Path, tmp_path: Path) -> None:
    with working(str(home / "a" / "docs")) as work:
        assert os.path.dirname(work.title) == str(home.parent)
        assert os.path.dirname(work.arriving) == work.title
        discard(work)
    with small_disk(tmp_path / "disk", "size=2m") as disk:
        os.chown(disk, NOBODY, NOBODY)
        with working(str(disk / "docs")) as work:
            assert os.path.dirname(work.title) == str(disk)
            assert os.path.dirname(os.path.dirname(work.arriving)) == f"{own_state.state_folder()}/restores"
            discard(work)
        assert os.listdir(disk) == []


def test_a_folder_in_it_is_new_each_time_and_for_this_user_alone(destination: Path) -> None:
    with working(str(destination)) as work:
        first = Path(work.folder("unpacked"))
        (first / "old").write_text("x")
        assert os.listdir(work.folder("unpacked")) == []
        assert stat.S_IMODE(os.stat(work.path).st_mode) == 0o700
        assert os.path.dirname(work.place) == f"/proc/self/fd/{work.parent}" and work.name == "thing"
        discard(work)
    assert not has_leftovers(str(destination))


def test_an_attempt_that_ended_early_is_left_and_its_folder_used_again(destination: Path) -> None:
    with working(str(destination)) as work:
        title = work.title
        Path(work.folder("unpacked"), "x").touch()
    assert has_leftovers(str(destination)) and not has_leftovers(f"{destination}2")
    with working(str(destination)) as work:
        assert (work.title, os.listdir(f"{work.path}/unpacked")) == (title, ["x"])
        discard(work)
    assert not has_leftovers(str(destination)) and not destination.parent.exists()


def test_what_is_under_way_is_not_discarded(destination: Path) -> None:
    with working(str(destination)) as work:
        write_json(work.state, "journal", {})
        assert is_under_way(work)
        discard(work)
        assert os.path.isdir(work.title)
        os.unlink(f"/proc/self/fd/{work.state}/journal")
        discard(work)
    assert not os.path.exists(work.title)


@pytest.mark.parametrize(
    "known",
    [
        pytest.param("no JSON", id="no JSON"),
        pytest.param("[]", id="no mapping"),
        pytest.param("{}", id="nothing"),
        pytest.param('{"where": 5, "name": 5}', id="no texts"),
        pytest.param('{"where": "TOP", "name": "../victim"}', id="a name that leads elsewhere"),
        pytest.param('{"where": "TOP", "name": "victim"}', id="the name of something else"),
        pytest.param('{"where": "/elsewhere", "name": ".altbackup-tmp-restore-x"}', id="another folder"),
        pytest.param('{"where": "TOP", "name": ".altbackup-tmp-restore-x", "id": [1, 2]}', id="another inode"),
        pytest.param('{"where": "TOP", "name": ".altbackup-tmp-restore-x", "id": null}', id="one that is not empty"),
    ],
)
def test_what_is_remembered_wrongly_leads_to_no_other_folder(tmp_path: Path, known: str) -> None:
    destination = tmp_path / "thing"
    for name in ("victim", ".altbackup-tmp-restore-x"):
        (tmp_path / name).mkdir(mode=0o700)
        (tmp_path / name / "precious").write_text("x")
    with working(str(destination)) as work:
        state, first = os.readlink(f"/proc/self/fd/{work.state}"), work.title
    Path(state, "work").write_text(known.replace("TOP", str(tmp_path)))
    with working(str(destination)) as work:
        assert work.title not in (first, str(tmp_path / "victim"), str(tmp_path / ".altbackup-tmp-restore-x"))
        discard(work)
    for name in ("victim", ".altbackup-tmp-restore-x"):
        assert (tmp_path / name / "precious").exists()


def test_errors_tell_paths_and_not_how_folders_are_held_open(destination: Path) -> None:
    with working(str(destination)) as work:
        with pytest.raises(OSError, match="No such file") as caught, work.real_paths_in_errors():
            os.stat(f"{work.path}/none")
        assert caught.value.filename == f"{work.title}/none"
        with pytest.raises(AltbackupError) as told, work.real_paths_in_errors():
            raise AltbackupError(f"{work.place} is odd, and so is {work.path}/x")
        assert str(told.value) == f"{destination} is odd, and so is {work.title}/x"
        discard(work)


@pytest.mark.parametrize(("path", "missing"), [("thing", False), ("a/thing", True), ("a/b/c/thing", True)])
def test_the_nearest_folder_is_told(tmp_path: Path, path: str, missing: bool) -> None:
    found = nearest_folder(str(tmp_path / path))
    assert (found.path, found.missing, found.free > 0) == (str(tmp_path), missing, True)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (None, None),
        ("", None),
        ("x", None),
        ("[" * 100_000, None),
        ("[1]", None),
        ("null", None),
        ('{"a": 1}', {"a": 1}),
        ('{"a": "\\udcff"}', {"a": "\udcff"}),
    ],
)
def test_what_is_remembered_is_a_mapping_or_nothing(tmp_path: Path, text: str | None, value: Any) -> None:
    if text is not None:
        (tmp_path / "known").write_text(text)
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        assert read_json(folder, "known") == value
        if value is not None:
            write_json(folder, "known", value)
            assert json.loads((tmp_path / "known").read_text()) == read_json(folder, "known") == value
    finally:
        os.close(folder)


def test_destinations_are_remembered_apart_whatever_their_names() -> None:
    keys = {state_key(path) for path in ("/a", "/a/b", "/a b", "/a\udcff", "/a\n", "/" + "x" * 4000)}
    assert len(keys) == 6 and all(key.startswith("restores/") and key.count("/") == 1 for key in keys)


def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "x").touch()
    (tmp_path / "link").symlink_to("folder")
    remove(str(tmp_path / "link"))
    assert (tmp_path / "folder" / "x").exists()
    remove(str(tmp_path / "folder"))
    remove(str(tmp_path / "none"))
    assert os.listdir(tmp_path) == []
