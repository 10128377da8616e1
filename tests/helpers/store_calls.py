"""Calls of modules on what lies in stores: drills, and what is fetched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from helpers.original_trees import marked, put, run_module
from helpers.stores import Place, sync
from helpers.trees import FIRST, SECOND, Base, item

FOLDERS = ["folders/a", "folders/b", "folders/c"]
LATER = "2013/05/20/104701"
OLD, NEW = "svn/x/2013/05/10/104701/x-1.tar", "svn/x/2013/05/11/104701/x-2.tar"


def three_folders(tmp_path: Path) -> Base:
    """Return a source with three folders, of which one has a differential."""
    base = Base(tmp_path / "dayabay")
    for key in FOLDERS:
        live = tmp_path / "live" / key[-1]
        live.mkdir(parents=True)
        (live / "file").write_text(f"{key}\n" * 99)
    (tmp_path / "live/a/large").write_bytes(bytes(range(256)) * 999)
    for stamp in (FIRST, SECOND):
        (tmp_path / "live/a/file").write_text(stamp)
        for key in FOLDERS:
            base.dump_one(item("folder", tmp_path / "live" / key[-1], key[-1]), stamp=stamp, full_every=7)
    return base


def filled(place: Place, base: Base) -> dict[str, Any]:
    """Fill a store with all of the three folders."""
    return sync(place, base.path, SECOND, keep=9, expect={"a": 1, "b": 1, "c": 1}, items=FOLDERS)


def drill(place: Place, base: Base, stamp: str = LATER, **options: Any) -> dict[str, Any]:
    """Run store_drill."""
    given = {"store": place.options, "base": str(base.path), "source": "dayabay", "stamp": stamp, "clock": stamp}
    return run_module("store_drill", **given, **{"names": FOLDERS, **options})


def proved(result: dict[str, Any]) -> list[str]:
    """Return the relpaths that a drill proved."""
    return [entry["relpath"] for entry in result["proved"]]


def two_tarballs(base: Path) -> Path:
    """Make a base with two tarballs, and return it."""
    marked(base)
    put(base, OLD, b"one" * 3000)
    put(base, NEW, b"two" * 3000)
    return base


def ask(place: Place, base: Path, step: str, **options: Any) -> dict[str, Any]:
    """Run store_fetch."""
    given = {"base": str(base), "source": "dayabay", "fail": False, **options}
    return run_module("store_fetch", store=place.options, step=step, **given)


def wanted(base: Path, *relpaths: str) -> list[dict[str, Any]]:
    """Return tarballs as the module takes them."""
    return [{"relpath": path, **json.loads((base / f"{path}.dna").read_text())} for path in relpaths]
