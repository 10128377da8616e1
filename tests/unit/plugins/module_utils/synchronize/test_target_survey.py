"""What a target has of what its source offers: what is believed of that, and whether the target is still the one that is known."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import marked, put
from helpers.tarballs import stamp_of

from ansible_collections.altbackup.core.plugins.module_utils.synchronize.offer import Offer
from ansible_collections.altbackup.core.plugins.module_utils.synchronize.target_survey import (
    Done,
    arrived_bytes,
    believed_offers,
    doubted_tree,
    held_of,
    known_marks,
    offers_as_before,
)
from ansible_collections.altbackup.core.plugins.module_utils.synchronize.transfer_plan import Request
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import Tree, open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.marks import Marks, keep_marks, marks_path
from ansible_collections.altbackup.core.plugins.module_utils.tree.pairs import Pair
from ansible_collections.altbackup.core.plugins.module_utils.tree.publish import record_path, write_record
from ansible_collections.altbackup.core.plugins.module_utils.tree.quarantine import note_healed, set_apart
from ansible_collections.altbackup.core.plugins.module_utils.tree.rulings import Ruling
from ansible_collections.altbackup.core.plugins.module_utils.tree.scan import scan
from ansible_collections.altbackup.core.plugins.module_utils.tree.sidecar import Dna
from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import Moment

MOMENT = Moment(stamp_of("10"), stamp_of("12"))
KEY = "svn/x"
CONTENT = b"a tarball"
DNA = Dna(hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))


def relpath(day: str, name: str = "x") -> str:
    return f"svn/{name}/{stamp_of(day)}/{name}.tar"


def offer(day: str, dna: Dna = DNA, name: str = "x") -> Offer:
    return Offer(relpath(day, name), dna, {})


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """The tree of a source on a target."""
    base = marked(tmp_path / "copies") / "dayabay"
    base.mkdir()
    return open_tree(str(base))


@pytest.mark.parametrize(
    ("days", "left", "failures"),
    [
        ("", "", 0),
        ("01 10 11 12", "01 10 11 12", 0),
        ("01 13", "01", 1),
        ("13 14", "", 1),
    ],
)
def test_what_nothing_honest_can_have_made_is_not_believed_and_told_once_an_item(
    tree: Tree, days: str, left: str, failures: int
) -> None:
    done = Done()
    found = believed_offers(tree, [offer(day) for day in days.split()], MOMENT, done)
    assert [one.relpath for one in found] == [relpath(day) for day in left.split()]
    assert len(done.failures) == failures
    assert all("source dayabay lists what was not taken: " in entry["reason"] for entry in done.failures)


def test_each_item_with_such_tarballs_is_told(tree: Tree) -> None:
    done = Done()
    assert believed_offers(tree, [offer("13"), offer("13", name="y")], MOMENT, done) == []
    assert [entry["relpath"] for entry in done.failures] == [relpath("13"), relpath("13", "y")]


@pytest.mark.parametrize(
    ("dna", "healed", "is_taken"),
    [
        pytest.param(DNA, False, True, id="what it was"),
        pytest.param(Dna("0" * 64, 9), False, True, id="what its bytes are now"),
        pytest.param(Dna("1" * 64, 9), False, False, id="another content"),
        pytest.param(Dna("1" * 64, 9), True, True, id="another content of what is healed"),
    ],
)
def test_what_rotted_is_not_replaced_by_another_content(tree: Tree, dna: Dna, healed: bool, is_taken: bool) -> None:
    put(Path(tree.base), relpath("01"), CONTENT)
    (tarball,) = scan(tree).verified()
    entry = set_apart(tree, tarball, Dna("0" * 64, 9), "it rotted", MOMENT)
    if healed:
        note_healed(entry, MOMENT)
    done = Done()
    found = offers_as_before(tree, [offer("01", dna), offer("02")], done)
    assert [one.relpath for one in found] == [relpath(day) for day in (("01", "02") if is_taken else ("02",))]
    assert [entry["relpath"] for entry in done.failures] == ([] if is_taken else [relpath("01")])


@pytest.mark.parametrize(
    ("files", "arrived"),
    [({}, []), ({"whole": 9}, [9]), ({"whole": 0}, [0]), ({"whole": 4, "other": 7}, [4])],
)
def test_what_arrived_already_is_counted_of_what_is_lacking(
    tmp_path: Path, files: dict[str, int], arrived: list[int]
) -> None:
    lacking = [offer("01"), offer("02")]
    for name, size in files.items():
        (tmp_path / (lacking[0].transit_name if name == "whole" else name)).write_bytes(bytes(size))
    assert list(arrived_bytes(str(tmp_path), lacking).values()) == arrived
    assert arrived_bytes(str(tmp_path / "none"), lacking) == {}


@pytest.mark.parametrize("damaged", [False, True])
def test_marks_of_a_tree_are_merged_with_those_that_are_given_and_damaged_ones_stop_no_transfer(
    tree: Tree, damaged: bool
) -> None:
    keep_marks(tree, {"accepted": {KEY: stamp_of("01")}})
    if damaged:
        Path(marks_path(tree)).write_text("damaged")
    found = known_marks(tree, {"accepted": {"svn/y": stamp_of("02")}})
    own = {} if damaged else {KEY: stamp_of("01")}
    assert found.accepted == {**own, "svn/y": stamp_of("02")}


def held(tree: Tree, offered: dict[str, Offer] | None = None, done: Done | None = None) -> Any:
    """Return what a target has of an item."""
    return held_of(tree, scan(tree), [KEY], offered or {}, MOMENT, Marks(), done or Done())[KEY]


def test_what_a_target_holds_is_verified_and_of_a_time_that_has_come(tree: Tree) -> None:
    base = Path(tree.base)
    for day in ("01", "11", "13"):
        put(base, relpath(day), day.encode())
    put(base, relpath("02"), CONTENT, None)
    write_record(tree, KEY, stamp_of("01"), {"incomplete": ["a"], "suspect": ["it shrank"]})
    found = held(tree)
    assert [one.stamp for one in found.tarballs] == [stamp_of("01"), stamp_of("11")]
    assert (list(found.partial), found.suspects) == ([relpath("01")], {relpath("01")})
    assert held_of(tree, scan(tree), [KEY, "svn/none"], {}, MOMENT, Marks(), Done())["svn/none"].tarballs == []


def test_a_damaged_record_is_a_failure_and_what_came_when_is_not_known_then(tree: Tree) -> None:
    put(Path(tree.base), relpath("01"))
    write_record(tree, KEY, stamp_of("01"), {})
    Path(record_path(tree, KEY, stamp_of("01"))).write_text("damaged")
    done = Done()
    found = held(tree, done=done)
    assert (len(found.tarballs), found.came, len(done.failures)) == (1, None, 1)


@pytest.mark.parametrize(
    ("content", "dna", "is_completed"),
    [
        pytest.param(CONTENT, DNA, True, id="as it is offered"),
        pytest.param(CONTENT[::-1], DNA, False, id="other bytes"),
        pytest.param(CONTENT + b"x", DNA, False, id="longer"),
        pytest.param(CONTENT, replace(DNA, dig="0" * 64), False, id="another one is offered"),
        pytest.param(CONTENT, None, False, id="it is not offered"),
    ],
)
def test_what_a_killed_run_had_only_not_come_to_is_completed(
    tree: Tree, content: bytes, dna: Dna | None, is_completed: bool
) -> None:
    path = put(Path(tree.base), relpath("01"), content, None)
    done = Done()
    found = held(tree, {relpath("01"): offer("01", dna)} if dna else {}, done)
    assert (len(found.tarballs), done.changed, Path(f"{path}.dna").exists()) == (
        int(is_completed),
        is_completed,
        is_completed,
    )
    assert not done.failures and len(done.notes) == bool(dna and len(content) == dna.size)


def request(pair: Pair | None, **more: Any) -> Request:
    return Request("/copies/dayabay", [], "2013/05/10", MOMENT, Ruling({"": 3}), pair=pair, node="cms01", **more)


@pytest.mark.parametrize(
    ("pair", "adopt", "doubted", "adopted"),
    [
        pytest.param(None, False, False, False, id="nothing is known of it"),
        pytest.param(Pair("", 1, 0, stamp_of("01")), False, False, False, id="as it was"),
        pytest.param(Pair("", 0, 0, ""), False, False, False, id="more than there was"),
        pytest.param(Pair("", 2, 0, stamp_of("01")), False, True, False, id="one is gone"),
        pytest.param(Pair("", 1, 0, stamp_of("02")), False, True, False, id="the newest is gone"),
        pytest.param(Pair("", 1, 5, stamp_of("01")), False, True, False, id="its count is an older one"),
        pytest.param(Pair("", 2, 0, stamp_of("01")), True, False, True, id="it is adopted"),
        pytest.param(Pair("", 1, 0, stamp_of("01")), True, False, False, id="there is nothing to adopt"),
    ],
)
def test_a_target_that_is_not_what_it_was_is_doubted(
    tree: Tree, pair: Pair | None, adopt: bool, doubted: bool, adopted: bool
) -> None:
    put(Path(tree.base), relpath("01"), CONTENT)
    done = Done()
    found = scan(tree)
    own = held_of(tree, found, [KEY], {}, MOMENT, Marks(), done)
    assert doubted_tree(tree, found, own, request(pair, adopt=adopt), done) == (doubted, adopted)
    assert (len(done.failures), len(done.notes)) == (doubted, adopted)
    assert all('"altbackup_adopt": ["cms01"]' in entry["reason"] for entry in done.failures)
