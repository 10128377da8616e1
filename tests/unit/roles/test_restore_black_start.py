"""restore.sh with only busybox, tar, zstd and coreutils: no Python, no Ansible, no other shell."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from helpers.bare_root import COREUTILS, OTHERS, enter, make_root
from helpers.environments import make_environment, tables
from helpers.repositories import make_git, make_subversion, references, run
from helpers.restore_disk import Disk, put_pair
from helpers.trees import describe_tree, make_odd_tree, needs_root

pytestmark = needs_root
PROGRAMS = {"busybox and zstd": ("zstd",), "GNU tar too": OTHERS, "coreutils too": (*OTHERS, *COREUTILS)}


@pytest.fixture(params=PROGRAMS)
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A bare root folder."""
    return make_root(tmp_path / "root", PROGRAMS[request.param])


def called(root: Path, disk: Disk, *words: str) -> subprocess.CompletedProcess[str]:
    """Call restore.sh in the bare root."""
    return enter(root, disk.path, "sh", "/disk/restore.sh", *words)


def well(root: Path, disk: Disk, *words: str) -> str:
    """Call restore.sh, which must succeed with empty stderr, and return its stdout."""
    done = called(root, disk, *words)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def test_there_is_no_python_nor_any_other_shell(root: Path, tmp_path: Path) -> None:
    disk = Disk(tmp_path / "disk")
    for name in ("python3", "python", "perl", "bash", "dash", "ansible"):
        assert enter(root, disk.path, "sh", "-c", f"command -v {name}").returncode != 0
    assert "Read-only" in enter(root, disk.path, "sh", "-c", "echo x >/disk/x").stderr


@pytest.mark.sampled(3)
def test_every_kind_is_listed_verified_and_restored(root: Path, tmp_path: Path) -> None:
    live = tmp_path / "live"
    live.mkdir()
    svn, git = make_subversion(live / "dybsvn", 4), make_git(live / "toolbox.git")
    trac = make_environment(live / "dybtrac")
    (live / "plain").mkdir(mode=0o750)
    (live / "plain" / "script").write_text("x")
    (live / "plain" / "script").chmod(0o4755)
    (live / "plain" / "link").symlink_to("script")
    disk = Disk(tmp_path / "disk")
    items: list[dict[str, Any]] = [
        {"kind": "svn", "name": "dybsvn", "path": str(svn)},
        {"kind": "trac", "name": "dybsvn", "path": str(trac)},
        {"kind": "git", "name": "toolbox", "path": str(git)},
        {"kind": "folder", "name": "plain", "path": str(live / "plain")},
        {"kind": "sqlite", "name": "monitor", "path": str(trac / "db" / "trac.db")},
    ]
    disk.dump(*items)
    assert "5 tarballs of 5 items, 5 of them verified" in well(root, disk, "list")
    assert well(root, disk, "verify").endswith("5 tarballs, 5 of them OK\n")
    names = {
        "svn/dybsvn": "svn",
        "tracs/dybsvn": "trac",
        "git/toolbox": "git",
        "folders/plain": "folder",
        "databases/monitor": "sqlite",
    }
    for key, name in names.items():
        well(root, disk, "restore", "--special-modes", f"dayabay/{key}", f"/home/{name}")
    home = root / "home"
    assert sorted(path.name for path in home.iterdir()) == sorted(names.values())
    assert run("svnadmin", "dump", "-q", home / "svn") == run("svnadmin", "dump", "-q", svn)
    assert references(home / "git") == references(git)
    assert tables(home / "trac" / "db" / "trac.db") == tables(trac / "db" / "trac.db")
    (database,) = (home / "sqlite").iterdir()
    assert tables(database) == tables(trac / "db" / "trac.db")
    assert describe_tree(home / "folder", times=False) == describe_tree(live / "plain", times=False)


def test_gnu_tar_is_found_and_gives_back_all_and_no_other_tar_spoils_it(root: Path, tmp_path: Path) -> None:
    live = make_odd_tree(tmp_path / "live")
    disk = Disk(tmp_path / "disk")
    disk.dump({"kind": "folder", "name": "odd", "path": str(live)})
    pair = put_pair(disk, tmp_path)
    for key, expected in (("folders/odd", live), ("folders/thing", pair)):
        done = called(root, disk, "restore", "--special-modes", f"dayabay/{key}", "/home/out")
        if (root / "bin" / "tar").is_symlink():
            assert done.returncode == 1 and "GNU tar" in done.stderr
            assert not list((root / "home").iterdir())
        else:
            assert (done.returncode, done.stderr) == (0, "")
            assert describe_tree(root / "home" / "out") == describe_tree(expected)
            run("rm", "-rf", root / "home" / "out")


def test_a_byte_flipped_is_found_and_not_restored(root: Path, tmp_path: Path) -> None:
    disk = Disk(tmp_path / "disk")
    path = disk.put([("thing", None), ("thing/file", b"x" * 5000)])
    with open(path, "r+b") as stream:
        stream.seek(3000)
        stream.write(b"y")
    done = called(root, disk, "verify")
    assert done.returncode == 1 and done.stdout.startswith("BAD")
    assert "is damaged" in called(root, disk, "restore", "dayabay/folders/thing", "/home/out").stderr
    assert not list((root / "home").iterdir())
