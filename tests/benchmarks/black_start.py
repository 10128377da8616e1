"""Print how long restore.sh takes for each GB, in a root folder with busybox, GNU tar, zstd and coreutils alone.

It judges no time. It fails if something is not verified, or is not restored as it was. Needs to be root.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / ".collections")]

from helpers.bare_root import COREUTILS, OTHERS, enter, make_root  # noqa: E402
from helpers.repositories import run  # noqa: E402
from helpers.restore_disk import Disk  # noqa: E402
from helpers.trees import describe_tree  # noqa: E402

ITEMS = {"dayabay/svn/dybsvn": "svn", "dayabay/folders/data": "data"}


def make_live(folder: Path, megabytes: int) -> dict[str, Path]:
    """Make a Subversion repository and a folder, each of half the bytes; half of each is random, half compresses well."""
    source = random.Random(20130510)
    for name in ("import", "data"):
        for number in range(max(1, megabytes // 2)):
            path = folder / name / f"{number // 32:03}" / f"{number:05}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(source.randbytes(1 << 19) + bytes(source.choices(b"abcdefgh \n", k=1 << 19)))
    run("svnadmin", "create", str(folder / "svn"))
    run("svn", "import", "-q", "-m", "all", str(folder / "import"), f"file://{folder / 'svn'}")
    return {"svn": folder / "svn", "data": folder / "data"}


def size_of(folder: Path) -> int:
    """Return the bytes of the files below a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> int:
    """Make a disk, list, verify and restore it in the bare root, and print the times; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=400, help="of live data")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("black start: needs to be root, for chroot and mount", file=sys.stderr)
        return 1
    folder = Path(tempfile.mkdtemp(prefix="altbackup-black-start-", dir=os.environ.get("TMPDIR", "/var/tmp")))
    try:
        return measure(folder, options.megabytes)
    finally:
        shutil.rmtree(folder)


def measure(folder: Path, megabytes: int) -> int:
    """Measure below a folder."""
    live = make_live(folder / "live", megabytes)
    disk = Disk(folder / "disk")
    tarballs = disk.dump(
        {"kind": "svn", "name": "dybsvn", "path": str(live["svn"])},
        {"kind": "folder", "name": "data", "path": str(live["data"])},
    )
    packed, unpacked = sum(path.stat().st_size for path in tarballs), sum(map(size_of, live.values()))
    root = make_root(folder / "root", (*OTHERS, *COREUTILS))
    print(
        f"in a root folder of {len(OTHERS) + len(COREUTILS) + 1} programs: busybox, {', '.join((*OTHERS, *COREUTILS))}"
    )
    print(f"{len(tarballs)} tarballs, {packed / 1e9:.3f} GB, {unpacked / 1e9:.3f} GB unpacked")
    print(f"{'':10} {'seconds':>8} {'s/GB':>8}")
    calls = [("list", ["list"], packed), ("verify", ["verify"], packed)]
    calls += [("restore", ["restore", item, f"/home/{name}"], size_of(live[name])) for item, name in ITEMS.items()]
    for title, words, size in calls:
        begin = time.monotonic()
        done = enter(root, disk.path, "sh", "/disk/restore.sh", *words)
        seconds = time.monotonic() - begin
        print(f"{title:10} {seconds:8.2f} {seconds / size * 1e9:8.2f}  {' '.join(words[1:2])}")
        if done.returncode or done.stderr:
            print(
                f"black start: {' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}",
                file=sys.stderr,
            )
            return 1
    run("svnadmin", "verify", "-q", str(root / "home" / "svn"))
    same = run("svnlook", "tree", str(root / "home" / "svn")) == run("svnlook", "tree", str(live["svn"]))
    if not same or describe_tree(root / "home" / "data") != describe_tree(live["data"]):
        print("black start: what came back is not what was stored", file=sys.stderr)
        return 1
    print("svnadmin verify passes, and the folder is as it was")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
