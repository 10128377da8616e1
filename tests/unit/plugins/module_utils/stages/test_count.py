"""Tarballs that are counted."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from helpers.original_trees import DAY, STAMP, marked, put

from ansible_collections.altbackup.core.plugins.module_utils.stages import check, count
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput
from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import Moment

NOW = Moment("2013/05/31/235959", "2013/05/31/235959")


@pytest.mark.parametrize("predicted", ["x", "svn/x", f"svn/x/{STAMP}", f"svn/x/{STAMP}/other.tar", "../../etc/passwd"])
def test_what_is_predicted_must_be_a_path_of_a_tarball(tmp_path: Path, predicted: str) -> None:
    base = marked(tmp_path / "b")
    with pytest.raises(InvalidInput, match="is not <category>/<name>/"):
        count.count(str(base), DAY, {"x": 1}, predicted=[predicted], moment=NOW)


def test_many_tarballs_and_items_are_counted_at_once(tmp_path: Path) -> None:
    base, number = marked(tmp_path / "b"), 500
    for n in range(number):
        put(base, f"svn/name{n:05}/{STAMP}/name{n:05}-1.tar")
    start = time.process_time()
    result = count.count(str(base), DAY, {f"name{n:05}": 1 for n in range(number)}, moment=NOW)
    print(f"{number} tarballs of {number} names counted in {time.process_time() - start:.2f} s")
    assert result["failures"] == []
    start = time.process_time()
    result = count.count(str(base), DAY, {f"other{n:05}": 1 for n in range(number)}, items=[], moment=NOW)
    print(f"{number} unexpected ones named in {time.process_time() - start:.2f} s")
    assert len(result["failures"]) == 2 * number


def test_what_is_not_there_is_marked_so_and_what_is_wrong_is_not(tmp_path: Path) -> None:
    base = marked(tmp_path / "base")
    counted = count.count(str(base), DAY, {"dybsvn": 1}, moment=NOW)
    assert [entry.get("absent") for entry in counted["failures"]] == [True]
    verified = check.verify_base(str(base), DAY)
    assert [entry.get("absent") for entry in verified["failures"]] == [True]
    put(base, f"svn/dybsvn/{STAMP}/dybsvn-4.tar.gz")
    too_many = count.count(str(base), DAY, {"dybsvn": 0}, moment=NOW)
    assert too_many["failures"] and not any("absent" in entry for entry in too_many["failures"])
