"""Stores under faults: cut, full, refusing, silent, or with other bytes than they were given, each of them a real server.

Whatever happens, no sidecar vouches for what is not whole, the fault is told in time, and a call after it brings the store to what it should be.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faults.conftest import Row
from helpers.original_trees import marked, put, reasons, run_module
from helpers.stores import KINDS, Place, served
from helpers.trees import needs_root

STAMP = "2013/05/11/104701"
SMALL, LARGE = f"folders/y/{STAMP}/y.tar", f"svn/x/{STAMP}/x-1.tar"
FAULTS = ("cut", "full", "refusing", "silent", "wrong bytes")
_WITHOUT = {("disk", "cut"), ("disk", "refusing"), ("disk", "silent")}
"""A disk has no way to it"""
MEETING = [(kind, fault) for kind in KINDS for fault in FAULTS if (kind, fault) not in _WITHOUT]
_LIMIT = 75.0
"""Seconds within which a call that meets a fault has to end"""


def sync(place: Place, base: Path, **options: Any) -> dict[str, Any]:
    """Run the module with limits that are short."""
    store = {**place.options, "connect_timeout": 3.0, "io_timeout": 4.0}
    given: dict[str, Any] = {
        "stamp": STAMP,
        "clock": STAMP,
        "day": STAMP[:10],
        "expect": {"x": 1, "y": 1},
        "items": ["svn/x", "folders/y"],
    }
    return run_module("store_sync", store=store, base=str(base), **{**given, "scope": "all", "fail": False, **options})


def unvouched(place: Place) -> list[str]:
    """Return the tarballs that a sidecar in the store vouches for though they are not whole."""
    files = place.files()
    found = []
    for path, text in files.items():
        if path.endswith(".dna"):
            dna, content = json.loads(text), files.get(path[:-4], b"")
            if (len(content), hashlib.sha256(content).hexdigest()) != (dna["size"], dna["dig"]):
                found.append(path)
    return found


def is_whole(place: Place, base: Path) -> bool:
    """Return whether the store has all that the node holds."""
    files = place.files()
    return all(
        files.get(f"dayabay/{path}") == (base / path).read_bytes() and f"dayabay/{path}.dna" in files
        for path in (SMALL, LARGE)
    )


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Return a source's base with a small tarball and a large one."""
    base = marked(tmp_path / "dayabay")
    put(base, SMALL, b"small" * 1000)
    put(base, LARGE, os.urandom(6 << 20))
    return base


def test_quick_a_cut_upload_over_sftp_leaves_nothing_that_is_vouched_for(base: Path, tmp_path: Path) -> None:
    with served("sftp", tmp_path / "store") as place:
        meet("cut", place, base)


@needs_root
@pytest.mark.full
@pytest.mark.parametrize(("kind", "fault"), MEETING)
def test_store(kind: str, fault: str, base: Path, tmp_path: Path, add_row: Callable[[Row], None]) -> None:
    if fault == "full":
        with small_store(kind, tmp_path / "store") as place:
            add_row(Row(f"store, {kind}: {fault}", full(place, base), rerun="as good as before"))
        return
    with served(kind, tmp_path / "store") as place:
        add_row(Row(f"store, {kind}: {fault}", meet(fault, place, base), rerun="all is there"))


def small_store(kind: str, folder: Path) -> Any:
    """Return a store on a file system that is smaller than the large tarball."""
    return served(kind, folder, mount="3m")


def full(place: Place, base: Path) -> str:
    """Fill a store that has not enough room; return what was said."""
    result = sync(place, base)
    said = "\n".join(reasons(result))
    assert f"{LARGE} could not be put there" in said
    fits = [] if place.kind == "s3" else [SMALL]  # that server gives no room back when it refuses
    assert result["kept"] == fits
    assert not unvouched(place)
    assert "expecting 1 tarball for x of dayabay" in said
    again = sync(place, base)
    assert again["kept"] == fits and again["failures"], "what lies there is as good as before"
    return reasons(result)[0]


def meet(fault: str, place: Place, base: Path) -> str:
    """Let a store that is served meet a fault, and then be as it was; return what was said."""
    way = place.way
    if fault == "wrong bytes":
        assert not sync(place, base)["failures"]
        place.write(f"dayabay/{LARGE}", b"x" * (base / LARGE).stat().st_size)
    elif way is not None:
        assert not sync(place, base, steps=["check"], expect={}, items=[])["failures"]
        way.cut_after = 2 << 20 if fault == "cut" else None
        way.silent = fault == "silent"
        if fault == "refusing":
            way.pausing = True
    begun = time.monotonic()
    result = sync(place, base)
    assert time.monotonic() - begun < _LIMIT
    assert result["failures"]
    if fault == "wrong bytes":
        assert result["mismatch"] == [LARGE] and result["replaced"] == [LARGE]
    else:
        assert LARGE not in result["kept"]
        assert not unvouched(place)
    if way is not None:
        way.cut_after, way.silent, way.pausing = None, False, False
    healed = sync(place, base)
    assert not healed["failures"], reasons(healed)
    assert is_whole(place, base)
    return reasons(result)[0]
