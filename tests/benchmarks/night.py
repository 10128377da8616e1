"""Print the cost of a night over the lab: module calls of a pair by stage, and seconds with 1, 10 and 100 unchanged items.

It judges nothing. Nights are unchanged ones, of one source and one target, over real ssh on this machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / ".collections")]

from integration.lab_site import LabSite  # noqa: E402
from integration.site import Run, call, commit_svn  # noqa: E402
from lab import Lab  # noqa: E402

STAGES = ("preflight", "dump", "check", "synchronize", "purge")


def make_items(site: LabSite, count: int, kind: str) -> None:
    """Add small items of a kind, svn or folder, to the source, each with content of its own."""
    live = site.live_of("dayabay")
    items = []
    if kind == "svn":
        call("svnadmin", "create", live / "template")
        for number in range(3):
            commit_svn(live / "template", f"file{number}", f"content {number}\n")
    for number in range(count):
        path = live / f"item{number:03}"
        if kind == "svn":
            shutil.copytree(live / "template", path)
        else:
            path.mkdir()
            (path / "data").write_bytes(os.urandom(10_000))
        items.append({"kind": kind, "name": path.name, "path": str(path)})
    site.hosts["dayabay"]["altbackup_items"] = items


def print_calls(site: LabSite, run: Run) -> None:
    """Print the module calls of the last run by stage."""
    found: Counter[tuple[str, str]] = Counter()
    for event in site.job_events():
        data = event["event_data"]
        ended = event["event"] in ("runner_on_ok", "runner_item_on_ok") and "results" not in data.get("res", {})
        if ended and str(data.get("task_action", "")).startswith("altbackup.core.") and not data["res"].get("skipped"):
            found[str(data.get("role", "")), data["task_action"].rpartition(".")[2]] += 1
    for stage in STAGES:
        calls = {module: count for (role, module), count in found.items() if role.rpartition(".")[2] == stage}
        shown = ", ".join(f"{module} {count}" for module, count in calls.items())
        print(f"  {stage:12} {sum(calls.values()):3}   {shown}")
    print(f"  {'all':12} {sum(found.values()):3}")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, nargs="+", default=[1, 10, 100], help="how many items")
    parser.add_argument("--kind", choices=("folder", "svn"), default="folder", help="of which kind")
    parser.add_argument("--nights", type=int, default=3, help="unchanged nights, of which the quickest counts")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, Lab(["dayabay", "cms01"], Path(name), sources=["dayabay"]) as lab:
        for count in options.items:
            folder = Path(name) / f"items{count}"
            folder.mkdir()
            site = LabSite(folder, lab=lab)
            site.add_source("dayabay", altbackup_targets=["cms01"])
            site.add_target("cms01")
            make_items(site, count, options.kind)
            seconds, runs = [], []
            for day in range(options.nights + 1):
                began = time.monotonic()
                runs.append(site.run("backup", stamp=f"2013/05/{day + 1:02}/104701"))
                seconds.append(time.monotonic() - began)
                if runs[-1].rc:
                    sys.exit(runs[-1].stdout)
                if day == 0 and count == options.items[0]:
                    print("module calls of the first night of a pair:")
                    print_calls(site, runs[-1])
            if count == options.items[0]:
                print("of an unchanged night:")
                print_calls(site, runs[-1])
            print(
                f"{count:4} {options.kind} items: first night {seconds[0]:.1f} s, unchanged night {min(seconds[1:]):.1f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
