"""The disc of fresh hosts: a root with nothing but sshd and Python, and what else they may install, from a folder."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .errors import LabError

BARE = ("apt", "openssh-server", "python3")
BASE = ("?essential", "?priority(required)")
REPOSITORY = "deb [trusted=yes] file:/media/disc/packages ./"
SYSTEM_PYTHON = "/usr/bin/python3"
PRIVATE = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]
BOOTSTRAP = """
set -e
mount -t tmpfs tmpfs ram
TMPDIR=$PWD/ram mmdebstrap --quiet --mode=root --variant=required --format=tar --include="$1" '' ram/root.tar "deb [trusted=yes] copy://$PWD/packages ./"
tar -x -C root -f ram/root.tar
"""


def why_no_disc() -> str | None:
    """Return why no disc can be made here, or None if it can."""
    missing = [tool for tool in ("apt-get", "apt-ftparchive", "mmdebstrap") if not shutil.which(tool)]
    return f"not installed: {', '.join(missing)}" if missing else None


def make_disc(kept: Path, packages: Sequence[str], requirements: Sequence[Path]) -> Path:
    """Return a folder with `root`, a repository `packages`, and `wheels` of requirements files, made once below `kept`.

    They are what the distribution of this machine and its index of Python packages serve; hosts of the lab need neither. Raise LabError.
    """
    words = [*BARE, *packages, *(path.read_text(encoding="utf-8") for path in requirements)]
    disc = kept / f"disc-{hashlib.sha256(chr(0).join(words).encode()).hexdigest()[:12]}"
    kept.mkdir(parents=True, exist_ok=True)
    with open(kept / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in kept.glob(".new-*"):
            shutil.rmtree(left)
        if not disc.is_dir():
            with tempfile.TemporaryDirectory(prefix=".new-", dir=kept) as above:
                new = Path(above, "disc")
                _fill(new, packages, requirements)
                new.rename(disc)
    return disc


def _fill(disc: Path, packages: Sequence[str], requirements: Sequence[Path]) -> None:
    for name in ("packages/partial", "wheels", "root", "ram"):
        (disc / name).mkdir(parents=True)
    empty = ["-o", "Dir::State::status=/dev/null", "-o", f"Dir::Cache::archives={disc}/packages"]
    options = ["-qq", "-y", *empty, "--no-install-recommends", "--download-only"]
    _run(disc, "apt-get", *options, "install", *BASE, *BARE, *packages)
    (disc / "packages" / "partial").rmdir()
    index = _run(disc / "packages", "apt-ftparchive", "packages", ".")
    (disc / "packages" / "Packages").write_text(index, encoding="utf-8")
    wanted = [word for path in requirements for word in ("-r", str(path))]
    _run(disc, sys.executable, "-m", "pip", "--python", SYSTEM_PYTHON, "wheel", "-q", "-w", "wheels", *wanted)
    _run(disc, *PRIVATE, "sh", "-c", BOOTSTRAP, "sh", ",".join(BARE))
    for key in (disc / "root" / "etc" / "ssh").glob("ssh_host_*"):
        key.unlink()
    (disc / "root" / "etc" / "apt" / "sources.list").write_text(f"{REPOSITORY}\n", encoding="ascii")
    (disc / "ram").rmdir()


def _run(folder: Path, *argv: str) -> str:
    """Run a command in a folder, and return what it prints. Raise LabError with its message."""
    done = subprocess.run(argv, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"{argv[0]}: {done.stderr.strip()[-2000:]}")
    return done.stdout
