"""What a purge has to know of a tree before it judges."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import marked, put
from helpers.pairs import put_pairs
from helpers.tarballs import seen, stamp_of

from ansible_collections.altbackup.core.plugins.module_utils.stages import purge_survey as room
from ansible_collections.altbackup.core.plugins.module_utils.stages.purge_survey import (
    copies_of,
    counting_items,
    matching_tarballs,
    merge_marks,
    needed_fulls,
    parse_awaited,
)
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import BaseUnusable, InvalidInput
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import Tree, open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.marks import Marks, marks_path
from ansible_collections.altbackup.core.plugins.module_utils.tree.publish import record_path, write_record
from ansible_collections.altbackup.core.plugins.module_utils.tree.rulings import Ruling
from ansible_collections.altbackup.core.plugins.module_utils.tree.scan import Scan, scan
from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import Moment

MOMENT = Moment(stamp_of("10"), stamp_of("12"))


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return open_tree(str(marked(tmp_path / "base")))


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({}, {}),
        ({"svn/x": []}, {"svn/x": set()}),
        ({"svn/x": [{"dig": "a", "size": "5", "alg": "md5"}] * 2}, {"svn/x": {("md5", "a", 5)}}),
    ],
)
def test_what_other_nodes_await_is_known_by_its_bytes(value: Any, found: Any) -> None:
    assert parse_awaited(value) == found


@pytest.mark.parametrize(
    "value",
    [
        [],
        [1],
        "x",
        5,
        {"svn/x": 5},
        {"svn/x": "abc"},
        {"svn/x": [{}]},
        {"svn/x": [{"dig": "a", "size": "x", "alg": "b"}]},
        {"svn/x": [{"dig": "a", "size": None, "alg": "b"}]},
        {"svn/x": [{"dig": "a", "size": float("inf"), "alg": "b"}]},
        {"svn/x": [{"dig": "a", "size": float("nan"), "alg": "b"}]},
    ],
)
def test_what_is_no_mapping_of_bytes_is_told(value: Any) -> None:
    with pytest.raises(InvalidInput, match="awaited is no mapping of items to digests and sizes"):
        parse_awaited(value)


@pytest.mark.parametrize(
    ("tarball", "counts", "unverified"),
    [
        pytest.param(seen("01a"), True, False, id="one of the past"),
        pytest.param(seen("10a"), True, False, id="one of this run"),
        pytest.param(seen("11a"), False, False, id="a later one"),
        pytest.param(seen("13a"), False, False, id="one of a time that has not come"),
        pytest.param(seen("01a", state="missing"), False, True, id="without a dna"),
        pytest.param(seen("01a", state="alone"), False, True, id="without its full one"),
        pytest.param(seen("01a", filename="other.tar"), False, True, id="of another name"),
        pytest.param(seen("01a", filename="x-5.diff.tar.zst"), True, False, id="a differential"),
    ],
)
def test_what_counts_is_verified_and_of_now_or_before(tarball: Any, counts: bool, unverified: bool) -> None:
    items, others = counting_items(Scan([tarball]), MOMENT)
    assert items == ({"svn/x": [tarball]} if counts else {})
    assert others == ([tarball.relpath] if unverified else [])


@pytest.mark.parametrize(
    ("words", "moment", "needed"),
    [
        ("01F 02D 03F", "10", ""),
        ("01F 02D 03F 12D01", "10", "12"),
        ("01F 11F 12D", "10", "12"),
        ("01F 12D01 13D01", "10", "13"),
    ],
)
def test_full_ones_are_needed_by_differentials_that_do_not_count(
    tree: Tree, words: str, moment: str, needed: str
) -> None:
    put_pairs(Path(tree.base), words)
    found = scan(tree)
    items, _ = counting_items(found, Moment(stamp_of(moment), stamp_of("20")))
    asked = needed_fulls(found, items)
    stamps = [stamp for by_digest in asked.values() for stamp in by_digest.values()]
    assert stamps == [stamp_of(day) for day in needed.split()]


def known(tree: Tree, keeps: dict[str, int], **more: Any) -> Any:
    """Return what is known of the items of a tree."""
    items, _ = counting_items(scan(tree), MOMENT)
    given = {"imagined": {}, "unseen": (), "marks": Marks(), "needed": {}, "awaited": {}, **more}
    return copies_of(tree, items, Ruling(keeps), **given)


def test_an_item_without_a_rule_is_a_failure_and_the_others_are_known(tree: Tree) -> None:
    for name in "xy":
        put(Path(tree.base), f"svn/{name}/{stamp_of('01')}/{name}.tar")
    items, failures = known(tree, {"svn/x": 2})
    assert (list(items), items["svn/x"].rules.keep) == (["svn/x"], 2)
    assert [entry["reason"] for entry in failures] == [
        "no number of copies to keep is given for svn/y: nothing of it was removed"
    ]


def test_what_records_say_of_copies_is_known_and_a_damaged_one_keeps_its_item_alone(tree: Tree) -> None:
    for name in "xy":
        put(Path(tree.base), f"svn/{name}/{stamp_of('01')}/{name}.tar")
    write_record(tree, "svn/x", stamp_of("01"), {"incomplete": ["a"], "suspect": ["it shrank"]})
    items, failures = known(tree, {"": 1}, unseen=["svn/y"], imagined={"svn/x": [(stamp_of("10"), "x.tar.zst")]})
    item = items["svn/x"]
    relpath = f"svn/x/{stamp_of('01')}/x.tar"
    assert (item.partial, item.suspects, item.readable) == ([relpath], {relpath: ["it shrank"]}, True)
    assert [one.relpath for one in item.imagined] == [f"svn/x/{stamp_of('10')}/x.tar.zst"]
    assert (items["svn/y"].readable, failures) == (False, [])
    items, _ = known(tree, {"": 1}, marks=Marks({"svn/x": stamp_of("01")}))
    assert items["svn/x"].suspects == {}
    Path(record_path(tree, "svn/x", stamp_of("01"))).write_text("damaged")
    items, failures = known(tree, {"": 1})
    assert (list(items), len(failures)) == (["svn/y"], 1)
    assert "is damaged" in failures[0]["reason"]


def test_bytes_that_do_not_match_do_not_count(tree: Tree) -> None:
    good, bad, gone = (
        put(Path(tree.base), f"svn/x/{stamp_of(day)}/x.tar", day.encode() * 50) for day in ("01", "02", "03")
    )
    items, _ = counting_items(scan(tree), MOMENT)
    bad.write_bytes(b"?" * 100)
    gone.unlink()
    matching, failures = matching_tarballs(tree, items)
    assert [one.stamp for one in matching["svn/x"]] == [stamp_of("01")]
    reasons = [entry["reason"] for entry in failures.values()]
    assert reasons[0] == f"svn/x/{stamp_of('02')}/x.tar does not match its dna: it does not count and was left alone"
    assert "cannot be read" in reasons[1] and good.exists()
    assert matching_tarballs(tree, {}) == ({}, {})


@pytest.mark.parametrize(("number", "raises"), [(errno.ENOSPC, False), (errno.EIO, True)])
def test_marks_are_gone_by_where_there_is_no_room_to_keep_them(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, number: int, raises: bool
) -> None:
    given = {"accepted": {"svn/x": stamp_of("01")}}
    assert merge_marks(tree, given, check_mode=True) == (Marks({"svn/x": stamp_of("01")}), [])
    assert not os.path.exists(marks_path(tree))

    def refuse(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as context:
        context.setattr(room, "keep_marks", refuse)
        if raises:
            with pytest.raises(OSError, match="Input/output"):
                merge_marks(tree, given, check_mode=False)
        else:
            marks, (entry,) = merge_marks(tree, given, check_mode=False)
            assert marks.accepted == given["accepted"] and "could not be written" in entry["reason"]
    assert merge_marks(tree, given, check_mode=False)[1] == []
    Path(marks_path(tree)).write_text("damaged")
    with pytest.raises(BaseUnusable, match="is damaged"):
        merge_marks(tree, given, check_mode=False)
