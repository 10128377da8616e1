"""Counting of tarballs."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from helpers.original_trees import DAY, STAMP, marked, put

from ansible_collections.altbackup.core.plugins.module_utils.stages import check, count
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import Tarball
from ansible_collections.altbackup.core.plugins.module_utils.tree.scan import Scan
from ansible_collections.altbackup.core.plugins.module_utils.tree.sidecar import Dna
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


def found_on(day: str, words: str) -> Scan:
    """Return a tree's tarballs of a day: names of items, with a question mark if they lack a sidecar."""
    found = Scan()
    for word in words.split():
        category, name = word.rstrip("?").split("/")
        dna, state = (None, "missing") if word.endswith("?") else (Dna("d1", 5, "sha256"), "verified")
        found.tarballs.append(Tarball(category, name, f"{day}/104701", f"{name}.tar", 5, (1, 1), 1, dna, "", state))
    return found


@pytest.mark.parametrize(
    ("there", "items", "counts", "unverified", "unexpected"),
    [
        pytest.param("svn/x", None, {"x": 1}, [], [], id="by its name"),
        pytest.param("svn/x tracs/x", None, {"x": 2, "svn/x": 1}, [], [], id="one name, two items"),
        pytest.param("svn/x tracs/x", ["svn/x"], {"x": 1}, [], ["tracs/x"], id="one of them is no item"),
        pytest.param("svn/x?", None, {"x": 0}, ["svn/x"], [], id="without a sidecar it does not count"),
        pytest.param("svn/y", None, {"x": 0}, [], ["svn/y"], id="what is not expected"),
        pytest.param("", None, {"x": 0}, [], [], id="nothing"),
    ],
)
def test_tally_tells_what_counts(
    there: str, items: list[str] | None, counts: dict[str, int], unverified: list[str], unexpected: list[str]
) -> None:
    found = found_on(DAY, there)
    tally = count.take_tally(found, counts, items, count.newest_of_each_item(found, (), DAY, NOW))
    assert {key: len(relpaths) for key, relpaths in tally.relpaths.items()} == counts
    assert [tarball.key for tarball in tally.unverified] == unverified
    assert ["/".join(relpath.split("/")[:2]) for relpath, _ in tally.unexpected] == unexpected


def test_what_a_hook_kept_from_being_dumped_need_not_be_there_and_may(tmp_path: Path) -> None:
    base = marked(tmp_path / "base")
    put(base, f"tracs/dybsvn/{STAMP}/dybsvn.tar.gz")
    options = {"moment": NOW, "items": ["svn/dybsvn", "tracs/dybsvn"]}
    assert count.count(str(base), DAY, {"dybsvn": 2}, **options)["failures"]  # type: ignore[arg-type]
    for not_now in (["svn/dybsvn"], ["svn/dybsvn", "tracs/dybsvn"]):
        counted = count.count(str(base), DAY, {"dybsvn": 2}, not_now=not_now, **options)  # type: ignore[arg-type]
        assert counted["failures"] == []
    assert count.count(str(base), DAY, {"dybsvn": 2}, not_now=["tracs/dybsvn"], **options)["failures"]  # type: ignore[arg-type]
