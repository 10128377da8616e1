"""Replacing a destination: the old data is lost at no moment, however the process ends."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.killing import killed_at
from helpers.racing import repeating, swapping
from helpers.trees import NOBODY, describe_tree, make_odd_tree, needs_root, nobodys_home, small_disk

from ansible_collections.altbackup.core.plugins.module_utils.restore import replace, work_folder
from ansible_collections.altbackup.core.plugins.module_utils.restore.replace import clear, place
from ansible_collections.altbackup.core.plugins.module_utils.restore.work_folder import Work, discard, working
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline

MARKER = "marker of the new\n"


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return tmp_path / "svn" / "thing"


def make_new(work: Work) -> str:
    """Make the new thing in a work folder."""
    path = os.path.join(work.folder("unpacked"), "thing")
    os.mkdir(path)
    Path(path, "file").write_text("new")
    return path


def without_exchange() -> Callable[..., None]:
    """Return the rename function of a file system that cannot exchange two names."""
    real = replace.renameat2

    def rename(folder: int, name: str, to: int, new: str, flags: int) -> None:
        if flags == 2:
            raise OSError(errno.EINVAL, "no such flags")
        real(folder, name, to, new, flags)

    return rename


def put(destination: Path, aside: Path | None = None) -> None:
    """Run all steps as a restore does."""
    with working(str(destination)) as work:
        try:
            clear(work)
            new = make_new(work)
            place(work, new, aside=str(aside or ""), marker=MARKER, deadline=Deadline())
        finally:
            discard(work)


def marker_of(destination: Path) -> Path:
    """Return the path of the marker."""
    return Path(f"{destination}.altbackup-restored")


def test_a_thing_gets_its_place_and_its_marker(destination: Path) -> None:
    put(destination)
    assert (destination / "file").read_text() == "new"
    assert marker_of(destination).read_text() == MARKER
    assert sorted(os.listdir(destination.parent)) == ["thing", "thing.altbackup-restored"]


def test_what_stands_there_is_refused(destination: Path) -> None:
    make_odd_tree(destination)
    before = describe_tree(destination.parent)
    with pytest.raises(
        AltbackupError, match="replaces nothing by itself: give --aside \\(in an entry replace: move_aside\\)"
    ):
        put(destination)
    after = describe_tree(destination.parent)
    assert {name: value[:-1] for name, value in after.items()} == {name: value[:-1] for name, value in before.items()}


def test_what_appears_at_the_last_moment_is_not_replaced(destination: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with working(str(destination)) as work:
        new = make_new(work)
        real = work_folder.write_text

        def appear(path: str, text: str) -> None:
            real(path, text)
            destination.mkdir(exist_ok=True)

        monkeypatch.setattr(work_folder, "write_text", appear)
        with pytest.raises(AltbackupError, match="is there already"):
            place(work, new, marker=MARKER, deadline=Deadline())
        discard(work)
    assert os.listdir(destination.parent) == ["thing"]
    assert os.listdir(destination) == []


@pytest.mark.parametrize("exchange", [True, False])
def test_what_stands_there_moves_aside_untouched(
    destination: Path, exchange: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_odd_tree(destination)
    aside = Path(f"{destination}.20130510-104701")
    before = describe_tree(destination)
    if not exchange:
        monkeypatch.setattr(replace, "renameat2", without_exchange())
    put(destination, aside)
    assert describe_tree(aside) == before
    assert (destination / "file").read_text() == "new"
    assert sorted(os.listdir(destination.parent)) == ["thing", aside.name, "thing.altbackup-restored"]


def test_a_dated_name_that_is_taken_is_refused(destination: Path) -> None:
    destination.mkdir(parents=True)
    aside = Path(f"{destination}.20130510-104701")
    aside.write_text("older")
    with pytest.raises(AltbackupError, match="is there already, so what stands at"):
        put(destination, aside)
    assert aside.read_text() == "older"
    assert not marker_of(destination).exists()


def test_files_and_links_move_aside_too(destination: Path) -> None:
    destination.parent.mkdir()
    destination.symlink_to("/nonexistent")
    aside = Path(f"{destination}.20130510-104701")
    put(destination, aside)
    assert os.readlink(aside) == "/nonexistent"
    assert (destination / "file").read_text() == "new"


@pytest.mark.sampled(6)
@pytest.mark.parametrize("before", ["nothing", "old thing", "old restored thing"])
@pytest.mark.parametrize("exchange", [True, False])
def test_killed_at_any_point_the_old_or_the_new_thing_is_there_and_the_next_attempt_heals(
    tmp_path: Path, before: str, exchange: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not exchange:
        monkeypatch.setattr(replace, "renameat2", without_exchange())
    points = 0
    while True:
        folder = tmp_path / f"{points}"
        destination = folder / "thing"
        aside = Path(f"{destination}.20130510-104701")
        folder.mkdir()
        if before != "nothing":
            destination.mkdir()
            (destination / "file").write_text("old")
        if before == "old restored thing":
            marker_of(destination).write_text("marker of the old\n")
        killed = killed_at(points, lambda: put(destination, aside))  # noqa: B023
        content = (destination / "file").read_text() if destination.exists() else None
        kept = (aside / "file").read_text() if aside.exists() else None
        hidden = [path.read_text() for path in folder.glob(".altbackup-tmp-*/**/file")]
        if before != "nothing":
            assert "old" in (content, kept, *hidden), f"lost at point {points}"
            assert exchange is False or content in ("old", "new"), f"nothing is there at point {points}"
        if content == "new":
            assert marker_of(destination).read_text() == MARKER, f"new without marker at point {points}"
        if not killed:
            break
        with working(str(destination)) as work:
            notes = clear(work)
            discard(work)
        assert isinstance(notes, list)
        left = sorted(os.listdir(folder))
        if destination.exists() and (destination / "file").read_text() == "new":
            expected = ["thing", *([aside.name] if before != "nothing" else []), marker_of(destination).name]
            assert left == expected
        elif before == "nothing":
            assert left == []
        else:
            assert (destination / "file").read_text() == "old"
            old_marker = [marker_of(destination).name] if before == "old restored thing" else []
            assert left == ["thing", *old_marker]
            if old_marker:
                assert marker_of(destination).read_text() == "marker of the old\n"
        points += 1
    print(f"{before}, {'exchange' if exchange else 'two renames'}: {points} points")
    assert points > 10


@pytest.mark.parametrize("exchange", [True, False])
@pytest.mark.parametrize("failing", [1, 2, 3])
def test_what_fails_in_the_middle_loses_nothing_and_the_next_attempt_heals(
    destination: Path, failing: int, exchange: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every rename from the `failing`th on fails, as on a broken disk, including those that would undo the others."""
    destination.mkdir(parents=True)
    (destination / "file").write_text("old")
    aside = Path(f"{destination}.20130510-104701")
    count = 0

    def counted(real: Callable[..., None]) -> Callable[..., None]:
        def rename(*arguments: Any) -> None:
            nonlocal count
            count += 1
            if count >= failing:
                raise OSError(errno.EIO, os.strerror(errno.EIO), "disk")
            real(*arguments)

        return rename

    with monkeypatch.context() as patched:
        patched.setattr(replace, "renameat2", counted(replace.renameat2))
        if not exchange:
            patched.setattr(replace, "renameat2", without_exchange())
        with contextlib.suppress(OSError):
            put(destination, aside)
    everything = [path.read_text() for path in destination.parent.rglob("file")]
    assert "old" in everything, everything
    with working(str(destination)) as work:
        clear(work)
        discard(work)
    assert (destination / "file").read_text() in ("old", "new")
    assert [path.read_text() for path in destination.parent.rglob("file")].count("old") == 1
    assert not list(destination.parent.glob(".altbackup-tmp-*"))


def test_a_journal_that_cannot_be_read_keeps_all_that_is_there(destination: Path) -> None:
    destination.mkdir(parents=True)
    with working(str(destination)) as work:
        new = make_new(work)
        Path(f"/proc/self/fd/{work.state}/journal").write_text("{")
        with pytest.raises(AltbackupError, match=r"may be in .*restore-"):
            clear(work)
        discard(work)
        assert Path(new, "file").read_text() == "new"


def test_a_journal_of_another_time_harms_nothing(destination: Path) -> None:
    destination.mkdir(parents=True)
    (destination / "file").write_text("live")
    with working(str(destination)) as work:
        journal = {"new": [1, 2], "path": "../../..", "old": [3, 4], "aside": "/nonexistent", "marker": None}
        Path(f"/proc/self/fd/{work.state}/journal").write_text(json.dumps(journal))
        clear(work)
        discard(work)
    assert (destination / "file").read_text() == "live"
    assert os.listdir(destination.parent) == ["thing"]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A folder of nobody's, who can reach it."""
    with nobodys_home() as folder:
        yield folder


def as_him(path: Path) -> Path:
    """Give a path, a link itself, to nobody."""
    os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    return path


@needs_root
@pytest.mark.parametrize("form", ["folder with a journal", "link to a folder", "file", "fifo"])
def test_nothing_that_another_user_put_beside_a_destination_is_obeyed(home: Path, tmp_path: Path, form: str) -> None:
    precious = tmp_path / "of root"
    precious.write_text("precious")
    destination = home / "docs"
    destination.mkdir()
    as_him(destination)
    left = home / ".altbackup-tmp-restore-docs"
    if form == "fifo":
        os.mkfifo(left)
    elif form == "file":
        left.write_text("x")
    else:
        folder = home / "elsewhere" if form.startswith("link") else left
        folder.mkdir(mode=0o700)
        (folder / "x").write_text("his")
        inodes = [[os.lstat(path).st_dev, os.lstat(path).st_ino] for path in (destination, folder / "x")]
        journal = {"new": inodes[0], "path": "x", "old": inodes[1], "aside": str(precious), "marker": None}
        (folder / "journal").write_text(json.dumps(journal))
        as_him(folder)
        if form.startswith("link"):
            left.symlink_to(folder)
    as_him(left)
    before = os.lstat(left).st_ino, describe_tree(left) if left.is_dir() else {}
    put(destination, Path(f"{destination}.20130510-104701"))
    assert precious.read_text() == "precious"
    assert before == (os.lstat(left).st_ino, describe_tree(left) if left.is_dir() else {})
    assert (destination / "file").read_text() == "new"
    assert os.lstat(f"{destination}.20130510-104701").st_uid == NOBODY


@needs_root
def test_a_journal_of_another_version_is_told_and_nothing_is_touched(destination: Path) -> None:
    left = destination.parent / ".altbackup-tmp-restore-thing"
    left.mkdir(mode=0o700, parents=True)
    (left / "journal").write_text("{}")
    before = describe_tree(destination.parent)
    with pytest.raises(AltbackupError, match="a restore of another version was ended there"):
        put(destination)
    assert describe_tree(destination.parent) == before


@needs_root
@pytest.mark.parametrize("moved", ["away", "away and replaced", "away and linked"])
def test_a_work_folder_that_was_moved_is_not_looked_for_elsewhere(tmp_path: Path, moved: str) -> None:
    victim = tmp_path / "victim"
    victim.mkdir(mode=0o700)
    (victim / "precious").write_text("x")
    with small_disk(tmp_path / "disk", "size=2m") as disk:
        as_him(disk)
        with working(str(disk / "docs")) as work:
            Path(make_new(work))
            title = Path(work.title)
        title.rename(disk / "away")
        if moved == "away and replaced":
            shutil.copytree(victim, title)
        elif moved == "away and linked":
            title.symlink_to(victim)
        put(disk / "docs")
        assert (disk / "docs" / "file").read_text() == "new"
        assert (victim / "precious").exists()
        assert os.path.lexists(title) == (moved != "away")
        with working(str(disk / "docs")) as work:
            Path(f"/proc/self/fd/{work.state}/journal").write_text("{}")
            title = Path(work.title)
        title.rename(disk / "away again")
        with pytest.raises(AltbackupError, match="is not there, or not the one that was made: what stood at"):
            put(disk / "docs")


@pytest.mark.sampled(2)
@needs_root
@pytest.mark.parametrize("disk", [False, True])
def test_who_swaps_the_folders_of_a_destination_leads_nothing_elsewhere(home: Path, tmp_path: Path, disk: bool) -> None:
    """On a disk of his own even the work folder lies where he can rename it."""
    victim = tmp_path / "victim"
    (victim / "docs").mkdir(parents=True)
    (victim / "docs" / "file").write_text("precious")
    (victim / "docs.altbackup-restored").write_text("precious")
    before = describe_tree(victim)
    with small_disk(home / "disk", "size=8m") if disk else contextlib.nullcontext(home) as place:
        as_him(place)
        folder = place / "folder"
        folder.mkdir()
        as_him(folder)
        done = 0

        def disturb() -> None:
            with contextlib.suppress(OSError):
                for name in os.listdir(place):
                    if name.startswith(".altbackup"):
                        os.rename(place / name, place / "stolen")
                        os.symlink(victim, place / name)
            with contextlib.suppress(OSError):
                for name in os.listdir(folder):
                    os.rename(folder / name, folder / "mine")
                    os.symlink(victim / "docs", folder / name)

        with swapping(folder, victim), repeating(disturb) if disk else contextlib.nullcontext():
            for number in range(200):
                with contextlib.suppress(AltbackupError, OSError):
                    put(folder / f"docs {number // 2}", folder / f"docs {number // 2}.aside")
                    done += 1
                assert describe_tree(victim) == before
        print(f"{done} of 200 came to their end")
        put(folder / "docs in peace")
    assert describe_tree(victim) == before


@needs_root
@pytest.mark.parametrize("form", ["link", "folder", "fifo"])
def test_a_marker_takes_the_place_of_a_link_and_follows_none(home: Path, tmp_path: Path, form: str) -> None:
    precious = tmp_path / "of root"
    precious.write_text("precious")
    destination = home / "docs"
    if form == "link":
        marker_of(destination).symlink_to(precious)
        as_him(marker_of(destination))
        put(destination)
        assert not marker_of(destination).is_symlink()
        assert marker_of(destination).read_text() == MARKER
    else:
        marker_of(destination).mkdir() if form == "folder" else os.mkfifo(marker_of(destination))
        with pytest.raises(AltbackupError, match="is no file, so no marker of a restore"):
            put(destination)
        assert not destination.exists()
        assert os.listdir(home.parent) == ["home"]
    assert precious.read_text() == "precious"


@needs_root
def test_what_is_put_at_a_destination_at_the_last_moment_gets_its_place_back(
    destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    destination.mkdir(parents=True)
    (destination / "file").write_text("old")
    aside = Path(f"{destination}.20130510-104701")
    real = replace.write_marker

    def exchanged(*arguments: Any) -> None:
        real(*arguments)
        destination.rename(destination.parent / "gone")
        destination.mkdir()
        (destination / "file").write_text("another")

    monkeypatch.setattr(replace, "write_marker", exchanged)
    with pytest.raises(AltbackupError, match="somebody put another thing at"):
        put(destination, aside)
    assert (destination / "file").read_text() == "another"
    assert sorted(os.listdir(destination.parent)) == ["gone", "thing"]
