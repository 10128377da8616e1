"""Paths are probed by a process that may hang."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
from helpers.dead_mount import dead_mount
from helpers.trees import make_tool, needs_root, small_disk

from ansible_collections.altbackup.core.plugins.module_utils.system import mounts, process_groups
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import ToolFailed


def test_everything_but_a_dead_mount_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_groups, "GRACE", 0.2)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/\xff new\nline")
    os.mkdir(odd)
    paths = [str(tmp_path), odd, str(tmp_path / "absent"), str(tmp_path / "pipe"), str(tmp_path / "loop"), "/"]
    with dead_mount(tmp_path / "dead") as dead:
        silent = [str(dead), *(str(dead / str(number)) for number in range(40))]
        started = time.monotonic()
        assert mounts.find_hung([silent[0], *paths, *silent[1:], *paths], 3) == set(silent)
        assert 3 <= time.monotonic() - started < 10


def test_thousands_of_paths_are_asked_at_once() -> None:
    assert mounts.find_hung([f"/nowhere/{number}" for number in range(5000)], 60) == set()
    assert mounts.find_hung([], 0) == set()


def test_a_look_that_fails_itself_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "_LOOK", "raise SystemExit('broken')")
    with pytest.raises(ToolFailed, match=r"looking at paths: .* broken"):
        mounts.find_hung(["/"], 10)


def test_interpreter_that_needs_its_libraries_named_looks_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tool(tmp_path, "python", f'[ "$LD_LIBRARY_PATH" ] || exit 127; exec {sys.executable} "$@"')
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    monkeypatch.setattr(mounts.sys, "executable", str(tmp_path / "python"))
    assert mounts.find_hung(["/"], 20) == set()


@needs_root
def test_mount_points_bear_odd_names(tmp_path: Path) -> None:
    with small_disk(tmp_path / "a b\\c\nd", "size=1m") as disk:
        assert str(disk) in mounts.mount_points()
        assert mounts.file_system(str(disk)) == "tmpfs"
    assert "/" in mounts.mount_points()
    assert mounts.file_system("/proc/self") == "proc"


def open_at(path: Path | str) -> int:
    return os.open(path, os.O_PATH)


@needs_root
def test_a_mount_is_told_from_what_it_hides_and_from_no_other(tmp_path: Path) -> None:
    below = mounts.identity_of(open_at(tmp_path))
    with small_disk(tmp_path / "disk", "size=1m") as disk:
        (disk / "folder").mkdir()
        assert mounts.identity_of(open_at(disk)) == mounts.identity_of(open_at(disk / "folder")) == "tmpfs tmpfs"
    assert mounts.identity_of(open_at(tmp_path)) == below != "tmpfs tmpfs"


@pytest.mark.parametrize(
    ("line", "known", "identity"),
    [
        ("8:1 / / rw - ext4 /dev/sda1 rw", {"8:1": "1111-a", "8:17": "2222-b"}, "UUID 1111-a"),
        ("8:17 / / rw - ext4 /dev/sdb1 rw", {"8:17": "1111-a", "8:1": "2222-b"}, "UUID 1111-a"),
        ("0:45 /@home / rw - btrfs /dev/sdb1 rw", {}, "btrfs"),
        ("259:2 / / rw shared:1 - xfs /dev/nvme0n1p2 rw", {}, "xfs"),
        ("253:0 / / rw - xfs /dev/mapper/vg-data rw", {}, "xfs /dev/mapper/vg-data"),
        ("0:50 / / rw - nfs4 server:/export\\040one rw", {}, "nfs4 server:/export one"),
        ("0:51 / / rw - overlay overlay rw,lowerdir=x", {}, "overlay overlay"),
        ("0:52 / / rw - zfs pool/home rw", {"0:52": "never"}, "zfs pool/home"),
        ("0:52 / / ro - zfs pool/home@2026-11-23 ro", {}, "zfs pool/home"),
        ("0:53 / / rw - autofs systemd-1 rw", {}, ""),
    ],
)
def test_a_file_system_is_known_again_whatever_the_kernel_calls_its_disk(
    line: str, known: dict[str, str], identity: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, uuid in known.items():
        (tmp_path / f"b{number}").write_text(f"S:disk/x\nE:ID_FS_TYPE=ext4\nE:ID_FS_UUID={uuid}\nG:systemd\n")
    descriptor = open_at(tmp_path)
    mount = next(
        text.split()[1] for text in Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines() if "mnt_id" in text
    )
    monkeypatch.setattr(mounts, "_mounts", lambda: [f"{mount} 1 {line}".encode().split()])
    assert mounts.identity_of(descriptor, mounts.Disks(str(tmp_path / "dev"), str(tmp_path))) == identity


def test_a_disk_is_also_found_by_the_links_to_it(tmp_path: Path) -> None:
    folder = tmp_path / "disk" / "by-uuid"
    folder.mkdir(parents=True)
    (folder / "AB\\x20CD").symlink_to("/dev/null")
    (folder / "dangling").symlink_to("nowhere")
    (tmp_path / "other").symlink_to("/dev/null")
    disks = mounts.Disks(str(tmp_path), str(tmp_path / "nothing"))
    assert disks.uuid_of("0:40", "/dev/other") == disks.uuid_of("1:3", "none") == "AB CD"
    assert disks.uuid_of("1:5", "/dev/absent") == ""


@needs_root
def test_an_ext_file_system_has_an_id_of_its_own_where_nobody_knows_its_uuid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    descriptor = open_at(tmp_path)
    mount = next(
        text.split()[1] for text in Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines() if "mnt_id" in text
    )
    monkeypatch.setattr(mounts, "_mounts", lambda: [f"{mount} 1 8:1 / / rw - ext4 /dev/sda1 rw".encode().split()])
    found = mounts.identity_of(descriptor, mounts.Disks(str(tmp_path), str(tmp_path)))
    assert found == f"ext4 {os.fstatvfs(descriptor).f_fsid:016x}"
