"""What a kind keeps of an item's content for later dumps: it comes back, or it is said that it is lost, or there was none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.trees import FIRST, marked

from ansible_collections.altbackup.core.plugins.module_utils.kinds.base import Context
from ansible_collections.altbackup.core.plugins.module_utils.kinds.earlier import recall, retain, stamp_of, was_noted
from ansible_collections.altbackup.core.plugins.module_utils.kinds.items import parse_item
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.noted import keep_noted, noted_path

ITEM = parse_item({"kind": "folder", "name": "site", "path": "/srv/site"})
RELPATH = f"folders/site/{FIRST}/site.tar"


@pytest.mark.parametrize(
    ("record", "stamp"),
    [
        ({}, ""),
        ({"relpath": RELPATH}, FIRST),
        ({"relpath": f"folders/site/{FIRST}"}, FIRST),
        ({"relpath": "folders/site/2013/05/10"}, ""),
        ({"relpath": "folders/site/2013/13/10/104701/site.tar"}, ""),
        ({"relpath": None}, ""),
        ({"relpath": 5}, ""),
        ({"relpath": ["a"]}, ""),
        ({"relpath": "/" * 100}, ""),
    ],
)
def test_the_stamp_of_a_dump_is_that_of_its_tarball(record: dict[str, Any], stamp: str) -> None:
    assert stamp_of(record) == stamp


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(open_tree(str(marked(tmp_path / "base"))), FIRST, Deadline(60))


def of_good(context: Context, noted: object) -> Context:
    """Return the context of a dump after one whose record has noted something."""
    return Context(context.tree, FIRST, context.deadline, good={"noted": noted, "relpath": RELPATH})


def test_what_was_noted_comes_back_and_of_another_word_nothing_does(context: Context) -> None:
    facts = {"heads": {"ä": ["0" * 40, None]}, "count": 5}
    later = of_good(context, retain(ITEM, context, "history", facts))
    assert recall(ITEM, later, "history") == {"facts": facts}
    assert recall(ITEM, later, "other") == recall(ITEM, context, "history") == {}
    assert (was_noted(later, "history"), was_noted(later, "other")) == (True, False)


@pytest.mark.parametrize("noted", [None, [], "history", 5, {}])
def test_a_record_that_says_nothing_of_notes_has_none(context: Context, noted: object) -> None:
    later = of_good(context, noted)
    assert (recall(ITEM, later, "history"), was_noted(later, "history")) == ({}, False) or noted == "history"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"no JSON", "it is no JSON"),
        (b"[" * 100_000, "it is no JSON"),
        (b"\xff", "it is no JSON"),
        (b"", "it is no JSON"),
        (b"[1]", "what was noted of folders/site (history) is no mapping"),
        (b"null", "what was noted of folders/site (history) is no mapping"),
    ],
)
def test_what_is_no_mapping_is_lost_and_said(context: Context, content: bytes, why: str) -> None:
    digest = keep_noted(context.tree, ITEM.key, lambda: [content])
    found = recall(ITEM, of_good(context, {"history": digest}), "history")
    assert list(found) == ["lost"] and why in found["lost"]


@pytest.mark.parametrize("damage", ["other bytes", "folder"])
def test_what_is_damaged_is_lost_and_said(context: Context, damage: str) -> None:
    later = of_good(context, retain(ITEM, context, "history", {"a": 1}))
    path = Path(noted_path(context.tree, ITEM.key, later.good["noted"]["history"]))
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage == "other bytes":
        path.write_bytes(b"{}")
    found = recall(ITEM, later, "history")
    assert list(found) == ["lost"] and found["lost"]


def test_what_somebody_removed_as_it_was_damaged_is_not_lost_again(context: Context) -> None:
    later = of_good(context, retain(ITEM, context, "history", {"a": 1}))
    Path(noted_path(context.tree, ITEM.key, later.good["noted"]["history"])).unlink()
    assert (recall(ITEM, later, "history"), was_noted(later, "history")) == ({}, True)
