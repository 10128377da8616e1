"""Folders of all sorts to back up, a base to back them up to, and comparisons of the results."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.archive.write import ArchiveFormat
from ansible_collections.altbackup.core.plugins.module_utils.stages.dump import dump
from ansible_collections.altbackup.core.plugins.module_utils.system import view
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline

NOBODY = 65534
FIRST, SECOND, THIRD, FOURTH = (f"2013/05/{day}/104701" for day in ("10", "11", "12", "13"))
NIGHTS = (FIRST, SECOND, THIRD, FOURTH)
RUN: dict[str, Any] = {
    "controller": "control",
    "user": "scm",
    "command": "ansible-playbook backup.yml",
    "started": "now",
    "host": "other controller",
    "boot": "b",
    "namespace": "n",
    "pid": 1,
    "ticks": 1,
    "seconds": 3600.0,
}
"""A run of a playbook on another controller, as in a plan"""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs to be root")

ODD_NAMES = (
    b"plain",
    b"with space",
    b"'single' and \"double\"",
    b"$HOME `id` $(id)",
    b"back\\slash\\n\\101",
    b"new\nline",
    b"-dash",
    b"--checkpoint-action=exec=id",
    b"a&b|c;d",
    b"100%s %d",
    b"*?[x]",
    b"#hash ~tilde !bang",
    b"\xff\xfe not utf-8 \x80",
    "日本語 é".encode(),
    b"\x01\x7f control",
    b"tab\there",
    b"trailing ",
    b"n" * 255,
)


class Base:
    """A marked base, and dumps to it."""

    def __init__(self, path: Path) -> None:
        self.path = marked(path)

    def dump(
        self,
        *items: Mapping[str, Any],
        stamp: str = FIRST,
        form: ArchiveFormat = ArchiveFormat(),  # noqa: B008 (frozen)
        seconds: float = 120,
        check_mode: bool = False,
        full_every: int = 1,
        **more: Any,
    ) -> dict[str, Any]:
        """Dump items and return the module's result."""
        options = {"deadline": Deadline(seconds, "dump"), "verify_every": 7, "full_every": full_every}
        return dump(str(self.path), items, stamp, form, options, check_mode=check_mode, **more)

    def dump_one(self, item: Mapping[str, Any], **options: Any) -> dict[str, Any]:
        """Dump one item, which must succeed, and return its tarball."""
        result = self.dump(item, **options)
        assert not result["failures"], result["failures"]
        (tarball,) = result["tarballs"]
        return tarball

    def reason(self, *items: Mapping[str, Any], **options: Any) -> str:
        """Dump items, which must fail with one failure and leave no tarball, and return the reason."""
        before = self.files()
        result = self.dump(*items, **options)
        assert not result["tarballs"], result["tarballs"]
        assert len(result["failures"]) == 1, result["failures"]
        (failure,) = result["failures"]
        assert self.files() == before, "something was left behind"
        return str(failure["reason"])

    def files(self, *, private: bool = True) -> dict[str, str]:
        """Return {relative path: description} of all but folders and the lock."""
        found = {}
        for parent, folders, names in os.walk(self.path):
            if not private and ".altbackup" in folders:
                folders.remove(".altbackup")
            for name in [*names, *(folder for folder in folders if os.path.islink(os.path.join(parent, folder)))]:
                path = os.path.join(parent, name)
                found[os.path.relpath(path, self.path)] = (
                    os.readlink(path) if os.path.islink(path) else file_digest(path)
                )
        for lock in ("lock", os.path.join("hooks", "lock")):
            found.pop(os.path.join(".altbackup", lock), None)
        return found


def marked(path: Path) -> Path:
    """Make a path a base with its marker and an earlier call's lock, and return it."""
    (path / ".altbackup").mkdir(parents=True, mode=0o700)
    (path / ".altbackup" / "lock").touch(0o600)
    return path


def item(kind: str, path: Path | str, name: str = "thing", **more: Any) -> dict[str, Any]:
    """Return an item as users write it."""
    return {"kind": kind, "name": name, "path": str(path), **more}


def unpack(tarball: Mapping[str, Any] | Path | str, destination: Path) -> Path:
    """Unpack with tar into a new folder and return the one top folder."""
    path = tarball["path"] if isinstance(tarball, Mapping) else tarball
    destination.mkdir(parents=True)
    kept = ["--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner"]
    command = ["tar", "-x", "--warning=no-timestamp", *kept, "-f", path, "-C", destination]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    (top,) = destination.iterdir()
    return top


def list_archive(path: str | Path) -> list[str]:
    """Return the members of an archive, as tar prints them."""
    done = subprocess.run(["tar", "-t", "--quoting-style=literal", "-f", path], capture_output=True, check=True)
    return os.fsdecode(done.stdout).splitlines()


def file_digest(path: str | Path, algorithm: str = "sha256") -> str:
    """Return the digest of a file's content."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def written(path: Path | str) -> tuple[int, ...]:
    """Return what changes when a file is written or replaced, and not when it is read."""
    status = os.lstat(path)
    return status.st_ino, status.st_size, status.st_mode, status.st_mtime_ns, status.st_ctime_ns


def describe_tree(root: Path | str, *, times: bool = True) -> dict[bytes, tuple[Any, ...]]:
    """Return {path: mode, owner, content, links, attributes, time} of a folder and all below it."""
    base = os.fsencode(root)
    names = [b"."]
    for parent, folders, files in os.walk(base):
        names += [os.path.relpath(os.path.join(parent, name), base) for name in [*folders, *files]]
    twins: dict[int, bytes] = {}
    found = {}
    for name in sorted(names):
        path = os.path.join(base, name)
        status = os.lstat(path)
        twin = twins.setdefault(status.st_ino, name)
        content: Any = None
        if stat.S_ISLNK(status.st_mode):
            content = os.readlink(path)
        elif stat.S_ISREG(status.st_mode):
            content = (status.st_size, file_digest(os.fsdecode(path)) if status.st_size < 1 << 30 else "large")
        attributes = {
            key: os.getxattr(path, key, follow_symlinks=False) for key in os.listxattr(path, follow_symlinks=False)
        }
        time = status.st_mtime_ns if times else 0
        found[name] = (status.st_mode, status.st_uid, status.st_gid, content, twin, attributes, time)
    return found


def make_odd_tree(root: Path) -> Path:
    """Make a folder with everything odd that a tar of this user can keep, and return it."""
    root.mkdir(parents=True)
    base = os.fsencode(root)
    for name in ODD_NAMES:
        with open(os.path.join(base, name), "wb") as stream:
            stream.write(b"content of " + name)
    (root / "empty folder").mkdir()
    (root / "empty file").touch()
    deep = root.joinpath(*["deep folder"] * 20)
    deep.mkdir(parents=True)
    (deep / ("long" * 40)).write_bytes(bytes(range(256)) * 100)
    (root / "link").symlink_to("plain")
    (root / "link to folder").symlink_to("deep folder")
    (root / "dangling").symlink_to("/nonexistent/$HOME\nx")
    (root / "far away").symlink_to("x" * 300)
    os.link(root / "plain", root / "hard link")
    os.link(root / "link", root / "hard link of link", follow_symlinks=False)
    os.mkfifo(root / "fifo")
    for number, mode in enumerate((0o4755, 0o2750, 0o600, 0o444, 0o640)):
        path = root / f"mode {number}"
        path.write_text("mode")
        path.chmod(mode)
    (root / "sticky").mkdir()
    (root / "sticky").chmod(0o1777)
    make_siblings(root)
    with open(root / "sparse", "wb") as stream:
        for position in (0, 5 << 20, 9 << 20):
            stream.seek(position)
            stream.write(b"data" * 2048)
        stream.truncate(16 << 20)
    _set_attribute(root / "plain", "user.comment", b"binary \0 \xff\n")
    _set_attribute(root / "empty folder", "user.equals=sign", b"=")
    if shutil.which("setfacl"):
        subprocess.run(["setfacl", "-m", "u:54321:rw,g:54322:r", root / "mode 2"], capture_output=True)
        subprocess.run(["setfacl", "-m", "d:u:54321:rwx", root / "empty folder"], capture_output=True)
    if os.geteuid() == 0:
        os.chown(root / "mode 4", 12345, 54321)
        os.chown(root / "dangling", 3000000, 7, follow_symlinks=False)
        os.chown(root / "deep folder", NOBODY, NOBODY)
        _set_attribute(root / "mode 4", "trusted.mark", b"1")
        os.mknod(root / "device", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.utime(root / "plain", ns=(0, 1_234_567_890_123_456_789))
    os.utime(root / "empty file", ns=(0, -86_400_000_000_000))
    os.utime(root / "mode 0", ns=(0, 33_000_000_000_000_000_000 // 4))
    os.utime(root / "dangling", ns=(0, 1), follow_symlinks=False)
    os.utime(root, ns=(0, 1_000_000_000_000_000_001))
    return root


def make_siblings(root: Path) -> None:
    """Make a sealed folder with content, and siblings whose names sort between it and its content."""
    for name in ("sealed", "sealed.d", "sealed-old"):
        (root / name).mkdir()
    (root / "sealed" / "below").mkdir()
    (root / "sealed" / "inside").write_text("content")
    (root / "sealed").chmod(0o555)
    for name in ("sealed/below", "sealed", "sealed.d", "sealed-old"):
        os.utime(root / name, ns=(0, 1_000_000_000_123_456_789))


def _set_attribute(path: Path, key: str, value: bytes) -> None:
    try:
        os.setxattr(path, key, value)
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.EPERM):
            raise


def make_socket(path: Path) -> None:
    """Make a socket file; its path may be longer than a socket's address."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as listener:
            listener.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Be uid 65534 in this process and its children while the block lasts, even if only root can read the environment's Python."""
    own = sys.executable
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, 0)
    os.setresuid(NOBODY, NOBODY, 0)
    sys.executable = shutil.which("python3", path=os.pathsep.join([os.path.dirname(own), os.defpath])) or own
    try:
        yield
    finally:
        sys.executable = own
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)


@contextlib.contextmanager
def nobodys_folder() -> Iterator[Path]:
    """Make a folder that nobody owns and can reach."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    os.chown(folder, NOBODY, NOBODY)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def nobodys_home() -> Iterator[Path]:
    """Make a folder that nobody owns and can reach, alone in one of root's."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    (folder / "home").mkdir()
    os.chown(folder / "home", NOBODY, NOBODY)
    try:
        yield folder / "home"
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def small_disk(path: Path, options: str) -> Iterator[Path]:
    """Mount a tmpfs of given size; skip where that is not allowed."""
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"mode=700,{options}", "tmpfs", path]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("this machine does not let tests mount a tmpfs")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=True)


def forbid_views(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read items as where the kernel allows no view, so that fake tools can reach the files in which they count."""

    def refuse() -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM), "namespaces")

    monkeypatch.setattr(view, "unshare", refuse)


def make_tool(folder: Path, name: str, script: str) -> None:
    """Put a shell script under a tool's name into a folder."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def link_tools(folder: Path, names: Sequence[str]) -> None:
    """Put links to the real tools into a folder: as a PATH it lacks all others."""
    folder.mkdir()
    for name in names:
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
