"""Build the publishable tarball of the collection from the files that git tracks.

The checkout is staged as var/build/ansible_collections/altbackup/core, with plugins/modules as a real folder instead of the link to
library, and packed by ansible-galaxy. The staged copy stays, so that ansible-test can run in it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "var" / "build"
STAGE = OUTPUT / "ansible_collections" / "altbackup" / "core"


class BuildError(Exception):
    """Raised if the tarball cannot be built."""


def staged_path(tracked: PurePosixPath) -> PurePosixPath | None:
    """Return the path of a tracked file in the published collection, None if it is not published."""
    if tracked.parts[0] == ".collections" or tracked == PurePosixPath("plugins/modules"):
        return None
    if tracked.parts[0] == "library":
        return PurePosixPath("plugins/modules", *tracked.parts[1:])
    return tracked


def run_git(folder: Path, *arguments: str) -> str:
    """Run git in `folder` and return its output. Raise BuildError."""
    result = subprocess.run(["git", "-C", str(folder), *arguments], check=False, capture_output=True, text=True)
    if result.returncode:
        raise BuildError(
            f"git {arguments[0]} failed in {folder}, and only what git tracks is published: {result.stderr.strip()}"
        )
    return result.stdout


def list_files(root: Path, *options: str) -> list[PurePosixPath]:
    """Return the paths that `git ls-files` lists with these options. Raise BuildError."""
    return [PurePosixPath(name) for name in run_git(root, "ls-files", "-z", *options).split("\0") if name]


def stage(root: Path, destination: Path) -> int:
    """Replace the folder `destination` by the collection as published; return the number of its files.

    Raise BuildError.
    """
    tracked = list_files(root)
    missing = [str(path) for path in tracked if not (root / path).exists() and not (root / path).is_symlink()]
    if missing:
        raise BuildError(f"tracked by git, but not there: {', '.join(missing)}")
    if not tracked:
        raise BuildError(f"git tracks no file in {root}: git add what is to be published")
    shutil.rmtree(destination, ignore_errors=True)
    published = {path: staged for path in tracked if (staged := staged_path(path))}
    for path, staged in published.items():
        target = destination / staged
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / path, target, follow_symlinks=False)
    # It needs a repository of its own: the checkout's ignores var/, so that ansible-test would find nothing to test.
    run_git(destination, "init", "--quiet")
    return len(published)


def pack(staged: Path, output: Path) -> Path:
    """Pack a staged collection into the folder `output`, in place of older tarballs; return the tarball. Raise BuildError."""
    for old in output.glob("altbackup-core-*.tar.gz"):
        old.unlink()
    galaxy = Path(sys.executable).with_name("ansible-galaxy")
    result = subprocess.run(
        [str(galaxy), "collection", "build", "--output-path", str(output)],
        cwd=staged,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    tarballs = list(output.glob("altbackup-core-*.tar.gz"))
    if result.returncode or len(tarballs) != 1:
        raise BuildError(
            f"ansible-galaxy collection build ended with {result.returncode}:\n{result.stdout}{result.stderr}"
        )
    return tarballs[0]


def main() -> int:
    """Stage and pack the collection, and print the path of the tarball; return the exit code."""
    try:
        untracked = list_files(ROOT, "--others", "--exclude-standard")
        count = stage(ROOT, STAGE)
        tarball = pack(STAGE, OUTPUT)
    except BuildError as error:
        print(f"build: {error}", file=sys.stderr)
        return 1
    if untracked:
        print(f"build: not tracked by git, so left out: {', '.join(map(str, untracked))}", file=sys.stderr)
    print(f"staged {count} files in {STAGE.relative_to(ROOT)}")
    print(tarball)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
