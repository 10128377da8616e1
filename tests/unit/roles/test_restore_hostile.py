"""restore.sh over a disk written by a hostile source or target, into folders that others may write to."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.hostile import folder, member, stream
from helpers.hostile_headers import FORMS, lay_pair
from helpers.restore_disk import Disk
from helpers.trees import FIRST, describe_tree, make_tool, needs_root

SHELLS = {"dash": ["dash"], "busybox": ["busybox", "sh"], "bash": ["bash", "--posix"]}
PLAIN: list[tuple[str, bytes | str | None]] = [("thing", None), ("thing/file", b"content")]
STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\udc80-\udcff]"
)
ODD = [
    b"title\x1b]0;x\x07",
    b"\x9b31m",
    "c1\x9b".encode(),
    "bidi\u202egnp".encode(),
    "line\u2028x".encode(),
    b"cr\rx",
    b"tab\tx",
    b"del\x7f",
]
ODD += [b"\xed\xa0\x80", b"\xc0\x9b", b"\xe2\x80", b"\xf4\x90\x80\x80", b"back\\slash", "größer 日本 🦊".encode()]


@pytest.fixture(params=SHELLS)
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    """A disk, used by one of the shells."""
    return Disk(tmp_path / "disk", SHELLS[request.param])


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty folder to restore into."""
    path = tmp_path / "place"
    path.mkdir()
    return path


@pytest.fixture
def away(tmp_path: Path) -> Iterator[Path]:
    """A folder with a file, which must stay untouched."""
    path = tmp_path / "away"
    path.mkdir()
    (path / "victim").write_text("untouched")
    (path / "victim").chmod(0o640)
    before = describe_tree(path)
    yield path
    assert describe_tree(path) == before


def put_odd(disk: Disk, name: bytes) -> None:
    """Add an item with this name, and files with it in their names."""
    path = disk.put(PLAIN, key="folders/thing")
    folders = os.fsencode(path.parents[5])
    copy = os.path.join(folders, name)
    shutil.copytree(os.path.join(folders, b"thing"), copy)
    clock = os.path.join(copy, *os.fsencode(FIRST).split(b"/"))
    for suffix in (b".tar", b".tar.dna"):
        os.rename(os.path.join(clock, b"thing" + suffix), os.path.join(clock, name + suffix))


@pytest.mark.sampled(15)
@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_names_steer_no_terminal_and_are_found_as_they_are_shown(disk: Disk, place: Path, name: bytes) -> None:
    put_odd(disk, name)
    said = disk.well("list")
    assert not STEERING.search(said)
    said.encode("utf-8")
    (line,) = [line for line in said.splitlines() if "folders/thing " not in line and "dayabay" in line]
    assert not STEERING.search(disk.well("verify"))
    shown = line[2:].split("  ")[0].rstrip()
    out = disk.well("restore", shown, place / "out")
    assert not STEERING.search(out)
    assert (place / "out" / "file").read_text() == "content"
    exact = os.fsdecode(b"dayabay/folders/" + name)
    disk.well("verify", exact)
    assert not STEERING.search(disk.badly("restore", f"{exact}x", place / "other"))


def test_names_with_line_breaks_are_passed_over_and_said_on_one_line(disk: Disk) -> None:
    path = disk.put(PLAIN)
    shutil.copytree(path.parents[4], path.parents[5] / "x\n* dayabay/svn/forged  2013/05/07/104701")
    forged = path.parent / "y\n1 -rw 1 0 0 10240 x.tar"
    shutil.copy(path, forged)
    shutil.copy(f"{path}.dna", f"{forged}.dna")
    done = disk.call("list")
    assert len(done.stdout.splitlines()) == 2
    assert len(done.stderr.splitlines()) >= 2
    assert all("is passed over: no backup has a line break in its name" in line for line in done.stderr.splitlines())


@pytest.mark.parametrize("level", ["source", "category", "item", "year", "stamp", "tarball", "sidecar"])
def test_no_link_below_the_disk_is_followed(disk: Disk, place: Path, away: Path, level: str) -> None:
    path = disk.put(PLAIN)
    parts = path.relative_to(disk.path).parts
    number = {"source": 1, "category": 2, "item": 3, "year": 4, "stamp": 7, "tarball": 8, "sidecar": 8}[level]
    moved = disk.path.joinpath(*parts[:number])
    moved = Path(f"{moved}.dna") if level == "sidecar" else moved
    elsewhere = disk.path.parent / "elsewhere"
    moved.rename(elsewhere)
    moved.symlink_to(elsewhere)
    assert disk.badly("restore", "dayabay/folders/thing", place / "out")
    assert "0 of them verified" in disk.call("list").stdout or "verified" not in disk.call("list").stdout.split("\n")[0]
    assert not list(place.iterdir())


@pytest.mark.parametrize("what", ["tarball", "sidecar", "item", "category"])
def test_named_pipes_are_not_opened(disk: Disk, place: Path, what: str) -> None:
    path = disk.put(PLAIN)
    pipe = {
        "tarball": path,
        "sidecar": Path(f"{path}.dna"),
        "item": path.parents[5] / "pipe",
        "category": path.parents[6] / "pipe",
    }[what]
    pipe.unlink(missing_ok=True)
    os.mkfifo(pipe)
    for words in (["list"], ["verify"], ["restore", "dayabay/folders/thing", str(place / "out")]):
        argv = [*disk.shell, str(disk.path / "restore.sh"), *words]
        subprocess.run(argv, env=disk.environment, capture_output=True, timeout=30)


@pytest.mark.parametrize("form", FORMS)
def test_members_that_readers_take_for_different_ones_are_written_nowhere_else(
    disk: Disk, place: Path, away: Path, form: str
) -> None:
    lay_pair(disk.path / "dayabay" / "folders" / "docs", "docs", away, form)
    said = disk.badly("restore", "dayabay/folders/docs", place / "out")
    assert "is a symbolic link or may" in said
    assert not list(place.iterdir())


@needs_root
@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_and_pipes_come_only_with_consent(disk: Disk, place: Path, kind: bytes) -> None:
    info, content = member("thing/special\x1b", kind=kind, mode=0o666)
    info.devmajor, info.devminor = 1, 3
    hard = member("thing/hard\n", kind=tarfile.LNKTYPE, link=info.name)
    disk.put(content=stream([folder(), (info, content), hard, member("thing/plain", b"x")]))
    said = disk.well("restore", "dayabay/folders/thing", place / "out")
    assert "devices and named pipes were left out, such as thing/" in said and "\x1b" not in said
    assert [path.name for path in (place / "out").iterdir()] == ["plain"]
    disk.well("restore", "--special-modes", "dayabay/folders/thing", place / "all")
    assert not stat.S_ISREG((place / "all" / "special\x1b").lstat().st_mode)


def test_setuid_and_setgid_of_files_come_only_with_consent(disk: Disk, place: Path) -> None:
    members = [folder(), member("thing/-s *\n", b"x", mode=0o6755), member("thing/plain", b"x", mode=0o640)]
    info, _ = folder("thing/shared")
    info.mode = 0o2775
    disk.put(content=stream([*members, (info, b"")]))
    said = disk.well("restore", "dayabay/folders/thing", place / "out")
    assert "were taken away" in said
    modes = {path.name: oct(path.stat().st_mode & 0o7777) for path in (place / "out").iterdir()}
    assert modes == {"-s *\n": "0o755", "plain": "0o640", "shared": "0o2775"}
    said = disk.well("restore", "--special-modes", "dayabay/folders/thing", place / "all")
    assert (place / "all" / "-s *\n").stat().st_mode & 0o7777 == 0o6755
    assert "taken away" not in said


@needs_root
def test_file_capabilities_come_only_with_consent(disk: Disk, place: Path, tmp_path: Path) -> None:
    live = tmp_path / "live" / "thing"
    live.mkdir(parents=True)
    (live / "ping").write_text("x")
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    os.setxattr(live / "ping", "security.capability", capability)
    disk.dump({"kind": "folder", "name": "thing", "path": str(live)})
    said = disk.well("restore", "dayabay/folders/thing", place / "out")
    assert "file capabilities of 1 file(s) were left out: --special-modes brings them back" in said
    assert os.listxattr(place / "out" / "ping") == []
    said = disk.well("restore", "--special-modes", "dayabay/folders/thing", place / "all")
    assert "left out" not in said and "-exec chown" not in said and "usermod -u" in said
    assert os.getxattr(place / "all" / "ping", "security.capability") == capability


def test_programs_of_the_folders_of_a_disk_are_not_run(disk: Disk, place: Path, tmp_path: Path) -> None:
    path = disk.put(PLAIN)
    for where in (path.parent, disk.path, place):
        for name in ("ls", "tar", "id", "awk"):
            make_tool(where, name, f'echo ran >>"{tmp_path}/ran"')
    path_before = disk.environment["PATH"]
    for more in (".:", ":", "x::"):
        disk.environment["PATH"] = f"{more}{path_before}"
        for cwd in (path.parent, disk.path, place):
            disk.well("list", cwd=cwd)
            disk.well("verify", cwd=cwd)
    disk.well("restore", "dayabay/folders/thing", place / "out", cwd=path.parent)
    assert not (tmp_path / "ran").exists()


def test_advice_can_be_pasted_whatever_the_destination_is_called(disk: Disk, tmp_path: Path) -> None:
    evil = tmp_path / "it's $(touch ran) `touch ran`"
    evil.mkdir()
    disk.put(PLAIN)
    said = disk.well("restore", "dayabay/folders/thing", evil / "o'ut")
    assert "chown -R" not in said
    words = re.findall(r"ls -lnR (.*)", said) if os.geteuid() == 0 else []
    for word in words:
        done = subprocess.run(["sh", "-c", f"printf %s {word}"], cwd=tmp_path, capture_output=True, text=True)
        assert done.stdout == str(evil / "o'ut")
    assert not (tmp_path / "ran").exists()


SWAP = """
import os, sys
place, away = sys.argv[1:]
while True:
    for name in os.listdir(place):
        path = os.path.join(place, name)
        try:
            if name.startswith(".altbackup-restore-") and not os.path.islink(path):
                os.rename(path, os.path.join(place, "taken"))
                os.symlink(away, path)
        except OSError:
            pass
"""


@needs_root
def test_a_private_folder_that_is_taken_away_takes_nothing_else_along(disk: Disk, place: Path, away: Path) -> None:
    """The owner of the folder above may rename root's new folder at any moment."""
    disk.put([*PLAIN, *((f"thing/{number}", b"x" * 100) for number in range(200))])
    swapper = subprocess.Popen([sys.executable, "-c", SWAP, str(place), str(away)])
    try:
        for number in range(8):
            disk.call("restore", "dayabay/folders/thing", place / f"out{number}")
            for left in place.iterdir():
                left.unlink() if left.is_symlink() else shutil.rmtree(left)
    finally:
        swapper.kill()
        swapper.wait()


def test_what_comes_into_being_at_the_destination_is_not_written_into(tmp_path: Path, place: Path, away: Path) -> None:
    disk = Disk(tmp_path / "disk")
    disk.put(PLAIN)
    tools = tmp_path / "tools"
    tools.mkdir()
    mv = shutil.which("mv")
    make_tool(tools, "mv", f'case "$*" in *--help*) ;; *) ln -s "{away}" "{place}/out" ;; esac\nexec {mv} "$@"')
    disk.environment["PATH"] = f"{tools}:{disk.environment['PATH']}"
    assert "nothing was restored" in disk.badly("restore", "dayabay/folders/thing", place / "out")
    assert sorted(os.listdir(place)) == ["out"] and (place / "out").is_symlink()


def test_a_default_acl_opens_the_private_folder_to_nobody(tmp_path: Path, place: Path) -> None:
    if not shutil.which("setfacl"):
        pytest.skip("no setfacl here")
    disk = Disk(tmp_path / "disk")
    disk.put(PLAIN)
    subprocess.run(["setfacl", "-m", "d:u:65534:rwx", place], check=True)
    tools = tmp_path / "tools"
    tools.mkdir()
    tar = shutil.which("tar")
    make_tool(tools, "tar", f'case "$*" in *-x*) ls -ldn .. >"{tmp_path}/seen" ;; esac\nexec {tar} "$@"')
    disk.environment["PATH"] = f"{tools}:{disk.environment['PATH']}"
    disk.well("restore", "dayabay/folders/thing", place / "out")
    assert (tmp_path / "seen").read_text().startswith("drwx------")
