"""Carrying tarballs by way of the controller: each file arrives under its final name, and the controller keeps nothing."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from pathlib import Path

import pytest
from helpers.trees import NOBODY, make_tool, needs_root

from ansible_collections.altbackup.core.plugins.module_utils.restore import carry
from ansible_collections.altbackup.core.plugins.module_utils.restore.carry import transfer
from ansible_collections.altbackup.core.plugins.module_utils.synchronize.peers import Peer
from ansible_collections.altbackup.core.plugins.module_utils.synchronize.rsync import rsync_command
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import (
    AltbackupError,
    InvalidInput,
    ToolFailed,
)
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline

RELPATHS = ["svn/a b/2013/05/10/104701/a b-3.tar.zst", "svn/a b/2013/05/11/104701/a b-4.diff.tar.zst"]
CONTENT = [os.urandom(300_000), os.urandom(10)]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with a pair of tarballs."""
    base = tmp_path / "tree"
    for relpath, content in zip(RELPATHS, CONTENT, strict=True):
        (base / relpath).parent.mkdir(parents=True)
        (base / relpath).write_bytes(content)
    return base


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ssh that runs its commands on this machine as long as a file allows it; it notes its calls."""
    make_tool(
        tmp_path / "bin",
        "ssh",
        f'echo "$*" >> {tmp_path}/calls\n'
        f"[ -e {tmp_path}/cut ] && {{ rm {tmp_path}/cut; exit 255; }}\n"
        'while [ "$1" != "there" ]; do shift; done\nshift\nexec sh -c "$*"',
    )
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setattr(carry, "_PAUSE", 0.01)
    return tmp_path


def arrived(folder: Path) -> list[bytes]:
    """Return the arrived files, and assert that they are private."""
    paths = sorted(folder.iterdir())
    assert [path.name for path in paths] == ["a b-3.tar.zst", "a b-4.diff.tar.zst"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}
    return [path.read_bytes() for path in paths]


@pytest.mark.parametrize(("origin", "destination"), [("", "there"), ("there", ""), ("there", "there")])
def test_tarballs_arrive_whichever_end_is_the_controller(
    tree: Path, remote: Path, tmp_path: Path, origin: str, destination: str
) -> None:
    incoming, spool = tmp_path / "incoming", tmp_path / "spool"
    incoming.mkdir()
    ends = Peer("cms01", str(tree), origin), Peer("fresh", str(incoming), destination)
    result = transfer(*ends, RELPATHS, 300_010, Deadline(60), str(spool))
    assert arrived(incoming) == CONTENT
    assert result["changed"]
    assert (list(spool.iterdir()) if spool.exists() else []) == []
    assert spool.exists() is bool(origin and destination)


def test_a_cut_is_tried_again(tree: Path, remote: Path, tmp_path: Path) -> None:
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    (tmp_path / "cut").touch()
    transfer(
        Peer("cms01", str(tree), "there"),
        Peer("fresh", str(incoming)),
        RELPATHS,
        1,
        Deadline(60),
        str(tmp_path / "spool"),
    )
    assert arrived(incoming) == CONTENT
    assert len((tmp_path / "calls").read_text().splitlines()) == 2


def test_what_is_not_there_is_a_failure_and_leaves_nothing(tree: Path, remote: Path, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    (tree / RELPATHS[0]).unlink()
    ends = Peer("cms01", str(tree), "there"), Peer("fresh", str(tmp_path), "there")
    with pytest.raises(ToolFailed, match=r"fetching from cms01 .* failed: rsync exit code 23"):
        transfer(*ends, RELPATHS, 1, Deadline(60), str(spool))
    assert list(spool.iterdir()) == []
    assert len((tmp_path / "calls").read_text().splitlines()) == 1


def test_too_little_room_on_the_controller_is_told_with_numbers(tree: Path, remote: Path, tmp_path: Path) -> None:
    ends = Peer("cms01", str(tree), "there"), Peer("fresh", str(tmp_path), "there")
    with pytest.raises(
        AltbackupError, match=r"1\.0 EiB are needed below .* on the controller, .* but only .* [MGT]iB are free"
    ):
        transfer(*ends, RELPATHS, 1 << 60, Deadline(60), str(tmp_path / "spool"))
    assert not (tmp_path / "calls").exists()


def test_what_a_killed_call_left_is_removed_but_not_what_another_holds(
    tree: Path, remote: Path, tmp_path: Path
) -> None:
    spool, incoming = tmp_path / "spool", tmp_path / "incoming"
    incoming.mkdir()
    left, busy, other = (spool / name for name in (".altbackup-tmp-left", ".altbackup-tmp-busy", "other"))
    for folder in (left, busy, other):
        folder.mkdir(mode=0o700, parents=True)
        (folder / "x.tar").touch()
    descriptor = os.open(busy, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        ends = Peer("cms01", str(tree), "there"), Peer("fresh", str(incoming), "there")
        notes = transfer(*ends, RELPATHS, 1, Deadline(60), str(spool))["notes"]
    finally:
        os.close(descriptor)
    assert notes == [f"removed {left}, which a killed call had left"]
    assert sorted(spool.iterdir()) == [busy, other]


@needs_root
def test_folders_of_other_users_are_left_alone(tree: Path, remote: Path, tmp_path: Path) -> None:
    spool, incoming = tmp_path / "spool", tmp_path / "incoming"
    incoming.mkdir()
    spool.mkdir(mode=0o1777)
    spool.chmod(0o1777)
    his, link = spool / ".altbackup-tmp-his", spool / ".altbackup-tmp-link"
    his.mkdir(mode=0o700)
    link.symlink_to(incoming)
    os.chown(his, NOBODY, NOBODY)
    ends = Peer("cms01", str(tree), "there"), Peer("fresh", str(incoming), "there")
    assert transfer(*ends, RELPATHS, 1, Deadline(60), str(spool))["notes"] == []
    assert sorted(spool.iterdir()) == [his, link]
    spool.chmod(0o777)
    with pytest.raises(InvalidInput, match="for what travels through the controller cannot be used"):
        transfer(*ends, RELPATHS, 1, Deadline(60), str(spool))


@pytest.mark.parametrize("relpath", ["/etc/passwd", "svn/x/../../../etc/passwd", "x"])
def test_only_tarballs_are_carried(tree: Path, tmp_path: Path, relpath: str) -> None:
    with pytest.raises(InvalidInput, match="is not <category>/<name>/"):
        transfer(
            Peer("cms01", str(tree)), Peer("fresh", str(tmp_path), "there"), [relpath], 1, Deadline(60), str(tmp_path)
        )


def test_rsync_runs_as_the_user_that_ansible_becomes() -> None:
    command = rsync_command(Peer("fresh", "/x", "there", sudo="root", nice=5), "/y")
    assert "--rsync-path=sudo -n -u root nice -n 5 rsync" in command


@pytest.mark.parametrize(("origin", "destination"), [("", "there"), ("there", ""), ("there", "there")])
def test_a_tree_keeps_its_paths_and_one_that_cannot_be_read_holds_up_no_other(
    tree: Path, remote: Path, tmp_path: Path, origin: str, destination: str
) -> None:
    incoming, spool = tmp_path / "incoming", tmp_path / "spool"
    incoming.mkdir()
    ends = Peer("cms01", str(tree), origin), Peer("fresh", str(incoming), destination)
    assert transfer(*ends, RELPATHS, 300_010, Deadline(60), str(spool), tree=True)["failures"] == []
    assert [(incoming / relpath).read_bytes() for relpath in RELPATHS] == CONTENT
    assert {stat.S_IMODE((incoming / relpath).stat().st_mode) for relpath in RELPATHS} == {0o600}
    shutil.rmtree(incoming)
    incoming.mkdir()
    (tree / RELPATHS[0]).unlink()
    (failure,) = transfer(*ends, RELPATHS, 300_010, Deadline(60), str(spool), tree=True)["failures"]
    assert failure["stage"] == "drill" and failure["rc"] == 23 and RELPATHS[0] in failure["reason"]
    assert [path for path in incoming.rglob("*") if path.is_file()] == [incoming / RELPATHS[1]]
    assert (list(spool.iterdir()) if spool.exists() else []) == []
