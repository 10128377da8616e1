"""A root folder with busybox, GNU tar, zstd and coreutils alone, to test on a machine without anything of ours."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

BUSYBOX = "busybox"
OTHERS = ("tar", "zstd")
COREUTILS = (
    *(
        "cat",
        "chmod",
        "chown",
        "cp",
        "dd",
        "echo",
        "head",
        "id",
        "ls",
        "md5sum",
        "mkdir",
        "mv",
        "pwd",
        "rm",
        "sha256sum",
    ),
    *("sha512sum", "sort", "tail", "tr", "wc"),
)
_ENTER = """
set -e
root=$1 disk=$2
mount --make-rprivate /
mount --bind /dev/null "$root/dev/null"
mount --bind "$disk" "$root/disk"
mount -o remount,bind,ro "$root/disk"
shift 2
exec chroot "$root" "$@"
"""


def make_root(path: Path, programs: Sequence[str] = (*OTHERS, *COREUTILS)) -> Path:
    """Make and return the root folder with these programs and the libraries that they need; all other programs are busybox's."""
    for name in ("bin", "dev", "disk", "home", "tmp"):
        (path / name).mkdir(parents=True)
    (path / "dev" / "null").touch()
    for name in (BUSYBOX, *programs):
        program = shutil.which(name)
        assert program is not None, f"{name} is not installed here"
        shutil.copy(program, path / "bin" / name)
        for library in _libraries(program):
            copy = path / library.lstrip("/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            if not copy.exists():
                shutil.copy(library, copy)
    applets = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True)
    for name in applets.stdout.split():
        if not (path / "bin" / name).exists():
            (path / "bin" / name).symlink_to(BUSYBOX)
    return path


def _libraries(program: str) -> list[str]:
    listed = subprocess.run(["ldd", program], capture_output=True, text=True)
    return re.findall(r"(?:=> )?(/\S+) \(0x", listed.stdout)


def enter(root: Path, disk: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the root folder, with the disk as /disk, read-only; return the completed process."""
    command = ["unshare", "--mount", "sh", "-c", _ENTER, "sh", str(root), str(disk), *argv]
    return subprocess.run(
        command, env={"PATH": "/bin:/usr/bin:/sbin:/usr/sbin"}, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
