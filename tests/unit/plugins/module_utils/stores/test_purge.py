"""Purging a store: nothing goes on which something rests, nor of an item of which too little is known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.original_trees import marked, modern_text, put
from helpers.stores import Place, said, sync

FULL, DIFF = "svn/x/2013/05/10/104701/x-1.tar", "svn/x/2013/05/11/104701/x-2.diff.tar"


def later(day: int) -> str:
    """Return where the full tarball of a later day lies."""
    return f"svn/x/2013/05/{day}/104701/x-{day}.tar"


@pytest.mark.full
def test_a_full_tarball_stays_while_a_differential_that_is_locked_rests_on_it(tmp_path: Path, disk: Place) -> None:
    base = marked(tmp_path / "dayabay")
    put(base, FULL, b"one" * 3000)
    told = json.loads(modern_text(b"two" * 300))
    full = json.loads(modern_text(b"one" * 3000))
    text = json.dumps({**told, "base": "2013/05/10/104701/x-1.tar", "base_dig": full["dig"]}) + "\n"
    put(base, DIFF, b"two" * 300, text)
    put(base, later(12), b"12" * 3000)
    first = sync(disk, base, "2013/05/12/104701", keep=3, expect={}, items=["svn/x"])
    assert len(first["kept"]) == 3 and not first["failures"], said(first)
    (memory,) = (base / ".altbackup/stores/vault").glob("*.json")
    known = json.loads(memory.read_text())
    known["copies"][DIFF]["until"] = 9e9
    memory.write_text(json.dumps(known))
    put(base, later(13), b"13" * 3000)
    result = sync(disk, base, "2013/05/13/104701", keep=1, expect={}, items=["svn/x"], confirm=True)
    assert DIFF in result["kept"] and FULL in result["kept"], "a differential without its full tarball is lost"


def test_nothing_goes_of_an_item_of_which_it_cannot_be_known_what_is_suspect(tmp_path: Path, disk: Place) -> None:
    base = marked(tmp_path / "dayabay")
    for day in (12, 13, 14):
        put(base, later(day), b"%d" % day * 3000)
    sync(disk, base, "2013/05/14/104701", keep=3, expect={}, items=["svn/x"])
    put(base, later(15), b"15" * 3000)
    record = base / ".altbackup/records/svn/x/2013/05/15/104701.json"
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text("{")
    result = sync(disk, base, "2013/05/15/104701", keep=1, expect={}, items=["svn/x"], confirm=True)
    assert "damaged" in said(result) or "cannot be read" in said(result), said(result)
    assert not result["removed"]
