"""Measure the rows of DESIGN.md section 11 beside what people would use instead; write table.md, table.json and table.svg.

It judges no time: it fails if something could not be done, and shows in the table which limits are met.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / ".collections")]

from benchmarks import report  # noqa: E402
from benchmarks.contest import SOURCE, TARGET, Bench, Row, Size, run_row  # noqa: E402
from benchmarks.figures import Result, median  # noqa: E402
from benchmarks.meter import adopt_orphans  # noqa: E402
from benchmarks.rows import SIZES, rows  # noqa: E402
from lab import Lab  # noqa: E402

from ansible_collections.altbackup.core.plugins.plugin_utils.planning.settings import validate  # noqa: E402

FULL_EVERY = 7
VERSIONS = {
    "svn": ["svnadmin", "--version", "--quiet"],
    "git": ["git", "--version"],
    "tar": ["tar", "--version"],
    "zstd": ["zstd", "--version"],
    "rsync": ["rsync", "--version"],
    "openssl": ["openssl", "version"],
    "borg": ["borg", "--version"],
    "restic": ["restic", "version"],
    "ansible-core": [str(Path(sys.executable).with_name("ansible")), "--version"],
}


def full_every() -> int:
    """Return the number of nights from one full tarball to the next: 1 if this version has no differentials."""
    _, problems = validate("source", {"altbackup_full_every": FULL_EVERY})
    return 1 if any(problem.variable == "altbackup_full_every" for problem in problems) else FULL_EVERY


def describe_machine(size: str, chosen: Size, nights: int) -> dict[str, str]:
    """Return machine, programs and date of the measurement."""
    cpus = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    commit = first_line(["git", "-C", str(ROOT), "describe", "--always", "--dirty"])
    return {
        "processor": f"{len(os.sched_getaffinity(0))} cores of {cpus[0] if cpus else os.uname().machine}",
        "memory": f"{memory:.0f} GB",
        "kernel": f"{os.uname().sysname} {os.uname().release}",
        "measured": f"{datetime.now(UTC):%Y-%m-%d}, commit {commit}",
        "data": f"SIZE={size}: {chosen.megabytes} MB, at least {chosen.pairs} turns of each row"
        + ("; it shows that rows work and compares nothing" if size == "small" else ""),
        "full tarballs": "every night" if nights == 1 else f"every {nights} nights, differentials between",
        "programs": "; ".join(f"{name} {version(argv)}" for name, argv in VERSIONS.items()),
    }


def first_line(argv: Sequence[str]) -> str:
    """Return the first line that a command prints, or that the command is missing."""
    if not shutil.which(argv[0]):
        return "absent"
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.partition("\n")[0].strip()


def version(argv: Sequence[str]) -> str:
    """Return the version that a command prints, or that the command is missing."""
    said = first_line(argv)
    found = re.search(r"\d+(\.\d+)+", said)
    return found[0] if found else said


def measure_all(chosen: Sequence[Row], bench: Bench) -> list[Result]:
    """Measure rows, reporting each as it is done; one that fails does not stop the others."""
    results = []
    for row in chosen:
        began = time.monotonic()
        try:
            result = run_row(row, bench)
        except Exception as error:  # noqa: BLE001 (any error is reported, and makes the exit code 1)
            traceback.print_exc()
            result = Result(row.key, row.work, row.limits, failure=f"{type(error).__name__}: {error}")
            bench.nights = None
        results.append(result)
        told = ", ".join(
            f"{name} {report.shown('seconds', median(turns, 'seconds'))} s" for name, turns in result.turns.items()
        )
        absent = "".join(f", {name} absent" for name in result.absent)
        print(
            f"{row.key:16} {(result.failure and 'failed') or told}{absent}  [{time.monotonic() - began:.0f} s]",
            flush=True,
        )
    return results


def measure_in(folder: Path, chosen: Sequence[Row], size: Size, nights: int) -> list[Result]:
    """Measure rows with a lab and a folder of the run, both removed afterwards."""
    run = folder / "run"
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir()
    adopt_orphans()
    with Lab([SOURCE, TARGET], folder, sources=[SOURCE]) as lab:
        bench = Bench(lab, size, folder / "data", run, nights)
        results = measure_all(chosen, bench)
        bench.clear()
    run.rmdir()
    return results


def arguments() -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="full", help="of the data")
    parser.add_argument("--pairs", type=int, help="turns of each row at least")
    parser.add_argument("--rows", nargs="*", default=[], help="the beginnings of the keys of rows; all without any")
    parser.add_argument(
        "--gigabytes",
        type=float,
        nargs="*",
        help="sizes of the repositories of nights and first copies, such as 0.1 1 4 8",
    )
    parser.add_argument("--hosts", type=int, nargs="*", help="numbers of sources, such as 1 10 50")
    parser.add_argument("--folder", type=Path, default=ROOT / "var" / "bench", help="for data and tables")
    options = parser.parse_args()
    options.folder = options.folder.resolve()
    return options


def main() -> int:
    """Measure, write, and return the exit code."""
    options = arguments()
    size = SIZES[options.size]
    given = {
        "pairs": options.pairs,
        "gigabytes": tuple(options.gigabytes or ()),
        "hosts": tuple(options.hosts or ()),
    }
    size = replace(size, **{name: value for name, value in given.items() if value})
    chosen = [row for row in rows(size) if not options.rows or row.key.startswith(tuple(options.rows))]
    if not chosen:
        print(
            f"bench: no row begins with {' or '.join(options.rows)}; they are: {' '.join(row.key for row in rows(size))}",
            file=sys.stderr,
        )
        return 2
    options.folder.mkdir(parents=True, exist_ok=True)
    with open(options.folder / "lock", "w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"bench: another one is measuring in {options.folder}", file=sys.stderr)
            return 2
        nights = full_every()
        results = measure_in(options.folder, chosen, size, nights)
    machine = describe_machine(options.size, size, nights)
    for name, text in (
        ("table.md", report.markdown(results, machine)),
        ("table.json", report.as_json(results, machine)),
        ("table.svg", report.picture(results, machine)),
    ):
        (options.folder / name).write_text(text, encoding="utf-8")
        print(options.folder / name)
    return int(any(result.failure for result in results))


if __name__ == "__main__":
    raise SystemExit(main())
