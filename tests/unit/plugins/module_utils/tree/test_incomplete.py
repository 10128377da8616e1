"""Copies that are not whole, as their dumps recorded it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import marked, put
from helpers.tarballs import stamp_of

from ansible_collections.altbackup.core.plugins.module_utils.tree.incomplete import incomplete_ones, missing_of
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.publish import record_path, write_record
from ansible_collections.altbackup.core.plugins.module_utils.tree.scan import scan


@pytest.mark.parametrize(
    ("record", "missing"),
    [
        ({}, []),
        ({"incomplete": []}, []),
        ({"incomplete": ["a", "b"]}, ["a", "b"]),
        ({"incomplete": [5, None]}, ["5", "None"]),
        ({"incomplete": None}, []),
        ({"incomplete": False}, []),
        ({"incomplete": "a text that no dump writes"}, []),
        ({"incomplete": {"a": 1}}, []),
        ({"complete": ["a"]}, []),
    ],
)
def test_what_a_dump_could_not_store_is_as_it_recorded_it(record: dict[str, Any], missing: list[str]) -> None:
    assert missing_of(record) == missing


def test_those_that_are_not_whole_are_told_and_without_a_record_one_counts_as_whole(tmp_path: Path) -> None:
    base = marked(tmp_path / "base")
    tree = open_tree(str(base))
    records = {"01": {"incomplete": ["a"]}, "02": {"incomplete": []}, "03": {"incomplete": ["b"]}, "04": {}, "05": {}}
    for day, record in records.items():
        put(base, f"svn/x/{stamp_of(day)}/x.tar", day.encode())
        write_record(tree, "svn/x", stamp_of(day), record)
    Path(record_path(tree, "svn/x", stamp_of("04"))).unlink()
    Path(record_path(tree, "svn/x", stamp_of("05"))).write_text("damaged")
    assert incomplete_ones(tree, reversed(scan(tree).verified())) == [
        f"svn/x/{stamp_of(day)}/x.tar" for day in ("01", "03")
    ]
    assert incomplete_ones(tree, []) == []
