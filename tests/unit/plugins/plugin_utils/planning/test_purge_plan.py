"""The file in which a purge plan is reviewed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput
from ansible_collections.altbackup.core.plugins.plugin_utils.planning import purge_plan

RELPATH = "svn/dybsvn/2013/05/10/104701/dybsvn-1.tar.zst"
SEEN = {"relpath": RELPATH, "size": 7, "dig": "aa", "alg": "sha256"}
PLACE = {"node": "cms01", "source": "dayabay", "role": "target"}
TREES = [PLACE, {"node": "dayabay", "source": "dayabay", "role": "source"}]
ENTRY = {**PLACE, **SEEN, "fate": "goes", "reasons": []}


def read(tmp_path: Path, value: Any) -> list[dict[str, Any]]:
    """Return the part of a file with this value that is to go."""
    path = tmp_path / "plan.json"
    path.write_bytes(value if isinstance(value, bytes) else json.dumps(value).encode())
    return purge_plan.read(path, TREES)


def test_what_was_written_is_read_again_and_of_it_what_goes(tmp_path: Path) -> None:
    stays = {**ENTRY, "fate": "stays", "reasons": ["newest"], "relpath": RELPATH.replace("/10/", "/11/")}
    text = purge_plan.as_file("2013/05/11/104701", [ENTRY, stays, {**ENTRY, **TREES[1], "fate": "waits"}])
    assert read(tmp_path, text.encode()) == [{**PLACE, **SEEN}]
    assert len(text.splitlines()) == 5
    assert json.loads(text)["tarballs"][1]["reasons"] == ["newest"]
    assert read(tmp_path, purge_plan.as_file("2013/05/11/104701", []).encode()) == []


def test_each_tree_is_handed_its_own() -> None:
    going = [{**PLACE, **SEEN}, {**TREES[1], **SEEN, "size": 8}]
    assert [purge_plan.of_tree(going, tree) for tree in TREES] == [[SEEN], [{**SEEN, "size": 8}]]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"{", "is no JSON"),
        (b"\xff", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        ([ENTRY], "has no list `tarballs`"),
        ({"tarballs": {}}, "has no list `tarballs`"),
        ({"tarballs": ["x"]}, "entry 1 of `tarballs` is no mapping"),
        ({"tarballs": [ENTRY, {**ENTRY, "size": "7"}]}, "entry 2 of `tarballs` has '7' for its size"),
        ({"tarballs": [{**ENTRY, "size": True}]}, "entry 1 of `tarballs` has True for its size"),
        ({"tarballs": [{**ENTRY, "dig": 5}]}, "entry 1 of `tarballs` has 5 for its dig"),
        ({"tarballs": [{key: ENTRY[key] for key in ENTRY if key != "alg"}]}, "entry 1 of `tarballs` has no alg"),
        ({"tarballs": [{**ENTRY, "fate": "gone"}]}, "has 'gone' for its fate, which is one of goes, waits, stays"),
        ({"tarballs": [{**ENTRY, "fate": ["goes"]}]}, "has ['goes'] for its fate"),
        ({"tarballs": [{**ENTRY, "relpath": "../../x"}]}, "names '../../x', which is no path of a tarball"),
        ({"tarballs": [{**ENTRY, "node": "sdu"}]}, "is of dayabay as a target on sdu, which this inventory does not have"),
    ],
)  # fmt: skip
def test_what_is_no_plan_of_this_inventory_is_refused(tmp_path: Path, value: Any, why: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(tmp_path, value)
    assert why in str(caught.value)


def test_a_plan_that_is_not_there_is_to_be_made_first(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"cannot be read .*: make it with --check first"):
        purge_plan.read(tmp_path / "plan.json", TREES)
