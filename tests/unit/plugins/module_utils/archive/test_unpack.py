"""Unpacking: archives of dumps are restored; others are refused before anything is written."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from helpers import hostile
from helpers.archives import write_archive
from helpers.hostile import TOP, compressed, folder, member, stream
from helpers.repositories import make_git, run
from helpers.trees import Base, as_nobody, describe_tree, item, make_odd_tree, make_siblings, needs_root, nobodys_folder

from ansible_collections.altbackup.core.plugins.module_utils.archive.rules import Limits
from ansible_collections.altbackup.core.plugins.module_utils.archive.unpack import extract, unpack
from ansible_collections.altbackup.core.plugins.module_utils.archive.write import ArchiveFormat, Part
from ansible_collections.altbackup.core.plugins.module_utils.kinds.base import walk
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import (
    DeadlineExceeded,
    Hostile,
    InvalidInput,
    ToolFailed,
)
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.system.sandbox import Sandbox, for_unpacking

LIMITS = Limits(32 << 20, 1000)
WAYS = ("confined", "owners", "sandbox", "plain")


def take(tarballs: Any, into: Path, way: str = "plain", **options: Any) -> Path:
    """Unpack tarballs into a new folder as restore does (confined, or without confinement: owners), as drill does, or as a user does."""
    into.mkdir()
    several = [tarballs] if isinstance(tarballs, (str, Path)) else tarballs
    sandbox = Sandbox() if way in ("sandbox", "confined") else None
    keeper = for_unpacking(bool(options.get("special_modes"))) if way == "confined" else None
    owners = way in ("owners", "confined")
    settings = {"top": TOP, "limits": LIMITS, "deadline": Deadline(60, "unpacking"), **options}
    return Path(
        unpack([str(path) for path in several], str(into), owners=owners, sandbox=sandbox, keeper=keeper, **settings)
    )


@pytest.mark.sampled(12)
@pytest.mark.parametrize("extension", [".tar.zst", ".tar.gz", ".tar"])
@pytest.mark.parametrize("way", WAYS)
@needs_root
def test_what_a_dump_made_comes_back(tmp_path: Path, way: str, extension: str) -> None:
    odd = make_odd_tree(tmp_path / "odd")
    (odd / "device").unlink()
    (odd / "fifo").unlink()
    tarball = Base(tmp_path / "base").dump_one(item("folder", odd), form=ArchiveFormat(extension))["path"]
    top = take(tarball, tmp_path / "out", way)
    found, expected = describe_tree(top), describe_tree(odd)
    assert found.keys() == expected.keys()
    content = {name: value[3:5] for name, value in expected.items()}
    assert {name: value[3:5] for name, value in found.items()} == content
    if way in ("owners", "confined"):
        for name, value in expected.items():
            taken_off = 0o6000 if stat.S_ISREG(value[0]) else 0
            assert found[name] == (value[0] & ~taken_off, *value[1:])


def by_whole_paths(live: Path, tarball: Path) -> Path:
    """Archive a folder as older versions did: siblings may stand between a folder and its content."""
    live.mkdir()
    make_siblings(live)
    parts = [Part(str(live), sorted(walk(str(live))[0]))]
    write_archive(str(tarball), parts, top=TOP, form=ArchiveFormat(".tar"), deadline=Deadline(60))
    return tarball


def test_older_tarballs_give_back_the_times_of_folders(tmp_path: Path) -> None:
    tarball = by_whole_paths(tmp_path / "live", tmp_path / "thing.tar")
    assert describe_tree(take(tarball, tmp_path / "out", "owners")) == describe_tree(tmp_path / "live")


@needs_root
def test_older_tarballs_with_sealed_folders_unpack_for_any_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")  # one that every user can start
    with nobodys_folder() as home, as_nobody():
        tarball = by_whole_paths(home / "live", home / "thing.tar")
        for way in WAYS:
            assert (take(tarball, home / way, way) / "sealed" / "inside").read_text() == "content"


@needs_root
def test_special_files_and_modes_come_back_when_asked_for(tmp_path: Path) -> None:
    odd = make_odd_tree(tmp_path / "odd")
    tarball = Base(tmp_path / "base").dump_one(item("folder", odd))["path"]
    for way in ("owners", "confined"):
        assert describe_tree(take(tarball, tmp_path / way, way, special_modes=True)) == describe_tree(odd)
    inside = take(tarball, tmp_path / "in", "sandbox", special_modes=True)
    assert set(describe_tree(odd)) - set(describe_tree(inside)) == {b"device", b"fifo"}


@pytest.mark.sampled(16)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", hostile.NAMES)
def test_hostile_archive_is_refused_before_anything_is_written(tmp_path: Path, name: str, way: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "canary").write_text("alive")
    before = describe_tree(outside)
    make, said = hostile.archives(outside)[name]
    tarball = compressed(tmp_path / "thing.tar.zst", make())
    with pytest.raises(Hostile, match=said):
        take(tarball, tmp_path / "out", way)
    assert describe_tree(outside) == before
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", hostile.SPECIAL)
def test_devices_and_pipes_are_left_out_and_noted(tmp_path: Path, name: str, way: str) -> None:
    make, said = hostile.archives(tmp_path)[name]
    notes: list[str] = []
    tarball = compressed(tmp_path / "thing.tar.zst", make())
    assert list(take(tarball, tmp_path / "out", way, notes=notes).iterdir()) == []
    what = said.rpartition(" a ")[2]
    assert notes == [f"left out the {what} {TOP}/special: special_modes: true brings it back"]
    with pytest.raises(
        InvalidInput, match=rf"the title: member '{TOP}/special' {said}, which only comes with special_modes"
    ):
        take(tarball, tmp_path / "part", way, member=f"{TOP}/special", title="the title")
    assert list((tmp_path / "part").iterdir()) == []


PIPE = member(f"{TOP}/a [*]\udcff\n", kind=tarfile.FIFOTYPE)


@pytest.mark.parametrize("way", WAYS)
def test_hard_links_to_pipes_are_left_out_and_no_other_name(tmp_path: Path, way: str) -> None:
    hard = member(f"{TOP}/sub/hard", kind=tarfile.LNKTYPE, link=PIPE[0].name)
    others = [member(f"{TOP}/{name}", b"x") for name in ("a [*]", "a b", "sub/a [*]\n", "sub/har")]
    tarball = compressed(tmp_path / "thing.tar", stream([folder(), PIPE, folder(f"{TOP}/sub"), hard, *others]))
    notes: list[str] = []
    top = take(tarball, tmp_path / "out", way, notes=notes)
    assert {str(path.relative_to(top)) for path in top.rglob("*")} == {"sub", "a [*]", "a b", "sub/a [*]\n", "sub/har"}
    assert [note.endswith(" and 1 more: special_modes: true brings them back") for note in notes if "left" in note] == [
        True
    ]
    part = take(tarball, tmp_path / "part", way, member=f"{TOP}/sub/har", notes=notes)
    assert part.read_bytes() == b"x" and len([note for note in notes if "left" in note]) == 1
    with pytest.raises(InvalidInput, match="hard' is a named pipe, which only comes with"):
        take(tarball, tmp_path / "none", way, member=hard[0].name)


@pytest.mark.parametrize("way", ["plain", "owners", "confined"])
def test_what_a_differential_has_for_a_pipe_of_its_full_tarball_comes_back(tmp_path: Path, way: str) -> None:
    live = tmp_path / TOP
    live.mkdir()
    tar = ["tar", "--create", "--format=posix", "--no-check-device", f"--directory={tmp_path}"]
    tar += [f"--listed-incremental={tmp_path}/snapshot"]
    full, diff = tmp_path / "thing.tar", tmp_path / "thing.diff.tar"
    for name in ("to folder", "to file", "stays"):
        os.mkfifo(live / name)
    (live / "to pipe").write_text("x")
    (live / "folder to pipe").mkdir()
    (live / "folder to pipe" / "x").write_text("x")
    run(*tar, f"--file={full}", TOP)
    for name in ("to folder", "to file", "to pipe"):
        (live / name).unlink()
    shutil.rmtree(live / "folder to pipe")
    (live / "to folder").mkdir()
    (live / "to folder" / "x").write_text("new")
    (live / "to file").write_text("new")
    for name in ("to pipe", "folder to pipe"):
        os.mkfifo(live / name)
    run(*tar, f"--file={diff}", TOP)
    top = take([full, diff], tmp_path / "out", way)
    assert sorted(os.listdir(top)) == ["to file", "to folder"]
    assert (top / "to folder" / "x").read_text() == (top / "to file").read_text() == "new"
    assert take([full, diff], tmp_path / "part", way, member=f"{TOP}/to file").read_text() == "new"
    with pytest.raises(InvalidInput, match="member 'thing/to pipe' is a named pipe"):
        take([full, diff], tmp_path / "pipe", way, member=f"{TOP}/to pipe")


def test_what_stands_where_an_archive_has_a_pipe_is_refused(tmp_path: Path) -> None:
    for number, name in enumerate((PIPE[0].name, f"{PIPE[0].name}/x")):
        tarball = compressed(tmp_path / "thing.tar", stream([folder(), PIPE, member(name, b"x")]))
        with pytest.raises(Hostile, match="stands where the archive has a device or a named pipe"):
            take(tarball, tmp_path / f"out{number}")


@pytest.mark.parametrize("way", WAYS)
def test_symbolic_links_are_content_and_may_lead_anywhere(tmp_path: Path, way: str) -> None:
    links = {"a": "/etc/passwd", "b": "../../../..", "c": "missing", "d": "."}
    members = [member(f"{TOP}/{name}", kind=tarfile.SYMTYPE, link=target) for name, target in links.items()]
    top = take(compressed(tmp_path / "thing.tar", stream([folder(), *members])), tmp_path / "out", way)
    assert {name: os.readlink(top / name) for name in links} == links


@pytest.mark.parametrize("way", WAYS)
def test_setuid_and_setgid_of_files_are_taken_off_and_of_folders_stay(tmp_path: Path, way: str) -> None:
    modes = {"user": 0o4755, "group": 0o2755, "both": 0o6711}
    members = [member(f"{TOP}/{name}", b"#!", mode=mode) for name, mode in modes.items()]
    folders = [member(f"{TOP}/shared", kind=tarfile.DIRTYPE, mode=0o2770)]
    top = take(compressed(tmp_path / "thing.tar.gz", stream([folder(), *folders, *members])), tmp_path / "out", way)
    assert not any(stat.S_IMODE((top / name).stat().st_mode) & 0o6000 for name in modes)
    if way in ("owners", "confined"):
        assert stat.S_IMODE((top / "shared").stat().st_mode) == 0o2770


@needs_root
@pytest.mark.parametrize("way", ["owners", "confined"])
def test_file_capabilities_come_back_only_when_asked_for(tmp_path: Path, way: str) -> None:
    live = tmp_path / "live"
    live.mkdir()
    (live / "tool").write_text("x")
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    os.setxattr(live / "tool", "security.capability", capability)
    tarball = Base(tmp_path / "base").dump_one(item("folder", live))["path"]
    plain = take(tarball, tmp_path / "plain", way)
    assert os.listxattr(plain / "tool") == []
    special = take(tarball, tmp_path / "special", way, special_modes=True)
    assert os.getxattr(special / "tool", "security.capability") == capability


def differential(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Make a full tarball and a differential of a folder that changed in between; return both and the folder."""
    live = tmp_path / "live" / TOP
    (live / "sub").mkdir(parents=True)
    (live / "old name").mkdir()
    for name in ("one", "two"):
        (live / name).mkdir()
        (live / name / f"was {name}").write_text(name)
    for name in ("kept", "changed", "deleted", "sub/deleted", "old name/file"):
        (live / name).write_text(name)
    tar = ("tar", "--create", "--format=posix", "--no-check-device", f"--directory={live.parent}")
    snapshot = f"--listed-incremental={tmp_path}/snapshot"
    full, diff = tmp_path / "thing.tar.gz", tmp_path / "thing.diff.tar.gz"
    run(*tar, snapshot, "--gzip", f"--file={full}", TOP)
    (live / "deleted").unlink()
    (live / "sub" / "deleted").unlink()
    (live / "changed").write_text("other content")
    os.utime(live / "changed", (0, 4102444800))
    (live / "old name").rename(live / "new name")
    for old, new in (("one", "aside"), ("two", "one"), ("aside", "two")):
        (live / old).rename(live / new)
    (live / "new").write_text("new")
    run(*tar, snapshot, "--gzip", f"--file={diff}", TOP)
    return full, diff, live


@pytest.mark.parametrize("way", WAYS)
def test_differential_is_unpacked_over_its_full(tmp_path: Path, way: str) -> None:
    full, diff, live = differential(tmp_path)
    top = take([full, diff], tmp_path / "out", way)
    content = {name: value[3] for name, value in describe_tree(live).items()}
    assert {name: value[3] for name, value in describe_tree(top).items()} == content


def changed_links(tmp_path: Path, renamed: bool = False) -> tuple[Path, Path, Path]:
    """Make a full tarball and a differential of a folder whose links were replaced, optionally with their folders moved; return them."""
    live = tmp_path / "live" / TOP
    for name in ("below", "old", "one", "two"):
        (live / name).mkdir(parents=True)
    for name in ("link", "below/link", "removed", "file", "other", "stays", "old/stays", "old/link", "one/x", "two/x"):
        (live / name).symlink_to(tmp_path / name)
    tar = ("tar", "--create", "--format=posix", "--no-check-device", f"--directory={live.parent}")
    snapshot = f"--listed-incremental={tmp_path}/snapshot"
    full, diff = tmp_path / "thing.tar.gz", tmp_path / "thing.diff.tar.gz"
    run(*tar, snapshot, "--gzip", f"--file={full}", TOP)
    for name in ("link", "below/link", "removed", "file", "other", "old/link"):
        (live / name).unlink()
    for name in ("link", "below/link", "old/link"):
        (live / name).mkdir()
        (live / name / "inside").write_text("was a link")
    (live / "file").write_text("was a link")
    (live / "other").symlink_to("elsewhere")
    if renamed:
        (live / "old").rename(live / "below" / "new")
        for old, new in (("one", "aside"), ("two", "one"), ("aside", "two")):
            (live / old).rename(live / new)
        (live / "one/x").unlink()
        (live / "one/x").mkdir()
        (live / "one/x/inside").write_text("was a link in a folder of another name")
    run(*tar, snapshot, "--gzip", f"--file={diff}", TOP)
    return full, diff, live


@pytest.mark.parametrize("renamed", [False, pytest.param(True, marks=needs_root)])
@pytest.mark.parametrize("way", WAYS)
def test_links_of_the_full_tarball_become_what_the_differential_has(tmp_path: Path, way: str, renamed: bool) -> None:
    full, diff, live = changed_links(tmp_path, renamed)
    top = take([full, diff], tmp_path / "out", way)
    content = {name: value[3:5] for name, value in describe_tree(live).items()}
    assert {name: value[3:5] for name, value in describe_tree(top).items()} == content


LINK = member(f"{TOP}/x", kind=tarfile.SYMTYPE, link="../../outside")
DEEP = member(f"{TOP}/d/x", kind=tarfile.SYMTYPE, link="../../../outside")
FULL = [folder(), LINK, folder(f"{TOP}/d"), DEEP, folder(f"{TOP}/full"), member(f"{TOP}/full/file")]
PAIRS: dict[str, tuple[list[Any], str]] = {
    "file": (
        [folder(GNU__dumpdir="Nx\0\0"), member(f"{TOP}/x/evil", b"x")],
        "member 'thing/x/evil' would be written through a symbolic link of its full tarball, 'thing/x'",
    ),
    "folder": ([folder(GNU__dumpdir="Nx\0\0"), folder(f"{TOP}/x", GNU__dumpdir="\0")], "member 'thing/x' would be"),
    "no dumpdir": ([folder(), member(f"{TOP}/x/evil", b"x")], "member 'thing/x/evil' would be"),
    "listed twice": (
        [folder(GNU__dumpdir="Dx\0Nx\0\0"), folder(f"{TOP}/x"), member(f"{TOP}/x/evil", b"x")],
        "member 'thing/x' would be",
    ),
    "link again": (
        [folder(GNU__dumpdir="Dx\0\0"), LINK, member(f"{TOP}/x/evil", b"x")],
        "through a symbolic link of the archive",
    ),
    "hard link": (
        [folder(GNU__dumpdir="Nx\0\0"), member(f"{TOP}/hard", kind=tarfile.LNKTYPE, link=f"{TOP}/x/canary")],
        "leads through a symbolic link",
    ),
    "rename through": (
        [folder(GNU__dumpdir=f"Nx\0R{TOP}/x/sub\0T{TOP}/taken\0\0")],
        "what it renames, 'thing/x/sub', leads",
    ),
    "rename to": ([folder(GNU__dumpdir=f"Nx\0Dd\0R{TOP}/d\0T{TOP}/x/d\0\0")], "what it renames, 'thing/x/d', leads"),
    "rename of the link": ([folder(GNU__dumpdir=f"R{TOP}/x\0T{TOP}/y\0\0")], "what it renames, 'thing/x', leads"),
    "temporary folder": (
        [folder(GNU__dumpdir=f"X{TOP}/x\0R{TOP}/d\0T\0R\0T{TOP}/e\0\0")],
        "what it renames, 'thing/x', leads",
    ),
    "temporary folder without a name": ([folder(GNU__dumpdir=f"X\0R{TOP}/d\0T\0\0")], "without a name"),
    "renamed with its folder": (
        [folder(GNU__dumpdir=f"De\0R{TOP}/d\0T{TOP}/e\0\0"), member(f"{TOP}/e/x/evil", b"x")],
        "member 'thing/e/x/evil' would be",
    ),
    "rename that fails": (
        [folder(GNU__dumpdir=f"Dd\0R{TOP}/d\0T{TOP}/full\0\0"), member(f"{TOP}/d/x/evil", b"x")],
        "member 'thing/d/x/evil' would be",
    ),
    "late rename": (
        [folder(), folder(f"{TOP}/s", GNU__dumpdir=f"R{TOP}/d\0T{TOP}/e\0\0"), member(f"{TOP}/e/x/evil", b"x")],
        "renames, but is not the first",
    ),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", PAIRS)
def test_nothing_of_a_differential_is_written_through_a_link_of_its_full_tarball(
    tmp_path: Path, name: str, way: str
) -> None:
    outside = tmp_path / "outside"
    (outside / "sub").mkdir(parents=True)
    (outside / "canary").write_text("alive")
    before = describe_tree(outside)
    members, said = PAIRS[name]
    full = compressed(tmp_path / "thing.tar", stream(FULL))
    diff = compressed(tmp_path / "thing.diff.tar", stream(members))
    with pytest.raises(Hostile, match=said):
        take([full, diff], tmp_path / "out", way)
    assert describe_tree(outside) == before
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", hostile.AMBIGUOUS)
def test_what_two_readers_take_in_two_ways_is_refused(tmp_path: Path, name: str, way: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    content, said = hostile.AMBIGUOUS[name]
    full = compressed(tmp_path / "thing.tar", hostile.linked_full(outside))
    diff = compressed(tmp_path / "thing.diff.tar", hostile.block(f"{TOP}/ok2") + content + hostile.END)
    for tarballs in ([full, diff], [diff]):
        with pytest.raises(Hostile, match=said):
            take(tarballs, tmp_path / f"out {len(tarballs)}", way)
        assert list((tmp_path / f"out {len(tarballs)}").iterdir()) == []
    assert list(outside.iterdir()) == []


@needs_root
def test_what_was_not_judged_reaches_nothing_outside_of_its_confinement(tmp_path: Path) -> None:
    """As if the judges had been deceived: without confinement the same archive reaches it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    content, _ = hostile.AMBIGUOUS["L before x"]
    tarballs = [
        str(compressed(tmp_path / "thing.tar", hostile.linked_full(outside))),
        str(compressed(tmp_path / "thing.diff.tar", hostile.block(f"{TOP}/ok2") + content + hostile.END)),
    ]
    for keeper in (for_unpacking(True), None):
        into = tmp_path / f"out {keeper is None}"
        into.mkdir()
        with (
            contextlib.nullcontext() if keeper is None else pytest.raises(ToolFailed, match=r"link/pwned: Cannot open")
        ):
            extract(tarballs, str(into), deadline=Deadline(60), owners=True, keeper=keeper)
        assert [path.name for path in outside.iterdir()] == (["pwned"] if keeper is None else [])


@needs_root
@pytest.mark.parametrize("special", [False, True])
def test_who_unpacks_confined_is_root_with_little_to_do(tmp_path: Path, special: bool) -> None:
    keeper = for_unpacking(special)
    script = (
        "import os, json\n"
        "def can(f, *a):\n"
        "    try:\n        f(*a)\n        return True\n    except OSError as error:\n        return error.strerror\n"
        "lines = dict(l.split(':\\t') for l in open('/proc/self/status').read().splitlines() if ':\\t' in l)\n"
        "print(json.dumps([lines['CapEff'].strip(), lines['CapBnd'].strip(), os.getuid(), sorted(os.listdir('/dev')),\n"
        "  can(open, '/proc/sys/kernel/core_pattern', 'w'), can(open, '/etc/altbackup-test', 'w'), can(os.mkdir, '/tmp/room/made'),\n"
        "  can(open, '/dev/null', 'w'), can(os.mknod, '/tmp/room/node', 0o20600, 259), can(os.mount if hasattr(os, 'mount') else os.chroot, '/')]))"
    )
    said = keeper.run(
        [os.path.realpath(sys.executable), "-c", script], str(tmp_path), what="looking", deadline=Deadline(60)
    )
    effective, bounding, uid, devices, *could = json.loads(said)
    assert int(effective, 16) == int(bounding, 16) == 0b11011 | (1 << 27 if special else 0)
    assert (uid, devices) == (0, ["null"])
    refused = "Operation not permitted"
    assert could == [
        "Read-only file system",
        "Read-only file system",
        True,
        True,
        True if special else refused,
        refused,
    ]


@needs_root
def test_attributes_that_only_root_may_set_come_back_from_a_confined_tar(tmp_path: Path) -> None:
    live = tmp_path / "live"
    (live / "sub").mkdir(parents=True)
    (live / "sub" / "file").write_text("x")
    (live / "link").symlink_to("sub")
    given = {"trusted.a=b%3D": b"\0\xff\n=", "user.plain": b"1", "security.selinux": b"a:b:c:s0\0"}
    for name, value in given.items():
        os.setxattr(live / "sub" / "file", name, value)
    os.setxattr(live / "link", "trusted.link", b"x", follow_symlinks=False)
    tarball = Base(tmp_path / "base").dump_one(item("folder", live))["path"]
    top = take(tarball, tmp_path / "out", "confined")
    found = top / "sub" / "file"
    assert {name: os.getxattr(found, name) for name in os.listxattr(found)} == given
    assert os.getxattr(top / "link", "trusted.link", follow_symlinks=False) == b"x"


def test_a_link_is_gone_before_a_rename_that_fails(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    renames = f"Dd\0Dx\0R{TOP}/d\0T{TOP}/full\0\0"
    members = [folder(GNU__dumpdir=renames), member(f"{TOP}/x/evil", b"x")]
    link = member(f"{TOP}/x", kind=tarfile.SYMTYPE, link=str(outside))
    full = compressed(tmp_path / "thing.tar", stream([folder(), link, *FULL[2:]]))
    with pytest.raises(ToolFailed, match="Cannot rename"):
        take([full, compressed(tmp_path / "thing.diff.tar", stream(members))], tmp_path / "out")
    assert list(outside.iterdir()) == []


def test_one_member_is_unpacked_alone(tmp_path: Path) -> None:
    full, diff, live = differential(tmp_path)
    path = take(full, tmp_path / "one", member=f"{TOP}/sub/deleted")
    assert path.read_text() == "sub/deleted"
    assert describe_tree(tmp_path / "one").keys() == {b".", b"thing", b"thing/sub", b"thing/sub/deleted"}
    assert take([full, diff], tmp_path / "two", member=f"{TOP}/changed").read_text() == "other content"
    assert take(full, tmp_path / "three", member=f"{TOP}/sub").is_dir()


@pytest.mark.parametrize("name", ["other/file", f"{TOP}/../x", "/etc/passwd", f"{TOP}//x"])
def test_member_outside_the_top_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput, match="not a path inside the tarball"):
        take(compressed(tmp_path / "thing.tar", stream([folder()])), tmp_path / "out", member=name)


@pytest.mark.parametrize("both", [False, True])
def test_member_that_is_not_there_is_told(tmp_path: Path, both: bool) -> None:
    full, diff, _ = differential(tmp_path)
    with pytest.raises((InvalidInput, ToolFailed), match=r"thing/deleted|thing/none"):
        take([full, diff] if both else full, tmp_path / "out", member=f"{TOP}/{'deleted' if both else 'none'}")


@pytest.mark.parametrize("extension", [".tar.zst", ".tar.gz", ".tar"])
@pytest.mark.parametrize("cut", [1, 700, 3000, 12000])
def test_truncated_archive_is_damaged(tmp_path: Path, extension: str, cut: int) -> None:
    content = stream([folder(), *(member(f"{TOP}/{number}", os.urandom(9000)) for number in range(5))])
    path = compressed(tmp_path / f"thing{extension}", content)
    whole = path.read_bytes()
    path.write_bytes(whole[: -cut - (10240 if extension == ".tar" else 0)])
    with pytest.raises(ToolFailed, match="thing"):
        take(path, tmp_path / "out")


def test_empty_archive_and_garbage_are_damaged(tmp_path: Path) -> None:
    for name, content in (("a.tar", bytes(10240)), ("b.tar", os.urandom(5000)), ("c.tar", b"")):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ToolFailed, match="is damaged"):
            take(path, tmp_path / f"out {name}")
    path = tmp_path / "d.tar.zst"
    path.write_bytes(b"no zstd")
    with pytest.raises(ToolFailed, match=r"decompressing .*zstd"):
        take(path, tmp_path / "out")


def test_a_tarball_that_is_a_link_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "link.tar").symlink_to(compressed(tmp_path / "thing.tar", stream([folder()])))
    with pytest.raises(OSError, match="symbolic links"):
        take(tmp_path / "link.tar", tmp_path / "out")


def test_unpacking_ends_at_its_deadline(tmp_path: Path) -> None:
    tarball = compressed(tmp_path / "thing.tar.zst", stream([folder(), member(f"{TOP}/a", bytes(30 << 20))]))
    with pytest.raises(DeadlineExceeded, match="unpacking"):
        take(tarball, tmp_path / "out", deadline=Deadline(1e-4, "unpacking"))


@needs_root
def test_a_user_unpacks_in_a_sandbox_of_his_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")  # one that every user can start
    with nobodys_folder() as home, as_nobody():
        tarball = compressed(home / "thing.tar.gz", stream([folder(), member(f"{TOP}/a", b"12345", mode=0)]))
        assert (take(tarball, home / "out", "sandbox") / "a").read_bytes() == b"12345"


# Dumped archives


@needs_root
def test_a_folder_that_no_restore_would_unpack_is_a_failure_that_names_the_member(tmp_path: Path) -> None:
    live = tmp_path / "live"
    live.mkdir()
    for number in range(1001):
        os.mkfifo(live / f"{number:04}")
    base = Base(tmp_path / "base")
    night = base.dump(item("folder", live))
    (failure,) = night["failures"]
    assert (
        "member 'thing/1000' is a named pipe; no restore would unpack it, so nothing of this item is stored"
        in failure["reason"]
    )
    assert night["tarballs"] == []
    assert [path for path in base.path.rglob("*") if path.is_file() and ".tar" in path.name] == []


@pytest.mark.parametrize("where", ["lfs", "hooks", "info", "logs"])
def test_what_is_published_of_a_repository_with_links_can_be_unpacked(tmp_path: Path, where: str) -> None:
    live, elsewhere = make_git(tmp_path / "live"), tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "objects").mkdir()
    (elsewhere / "objects" / "file").write_text("x")
    if (live / where).exists():
        shutil.rmtree(live / where)
    (live / where).symlink_to(elsewhere)
    base = Base(tmp_path / "base")
    night = base.dump(item("git", live, TOP))
    assert len(night["tarballs"]) + len(night["failures"]) == 1, night
    for tarball in night["tarballs"]:
        take(tarball["path"], tmp_path / "out", "plain", limits=Limits(1 << 30))
    for failure in night["failures"]:
        assert f"member 'thing/{where}" in failure["reason"]
