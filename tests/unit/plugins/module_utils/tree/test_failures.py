"""Failures: one flat mapping each."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import STAMP, bound_by_modes, link, marked, put

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import BaseUnusable, ToolFailed
from ansible_collections.altbackup.core.plugins.module_utils.tree import failures
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.marks import keep_marks
from ansible_collections.altbackup.core.plugins.module_utils.tree.publish import write_record


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        ("a text", "a text"),
        (BaseUnusable("no marker"), "no marker"),
        (OSError(errno.ENOSPC, "No space left on device", "/data/x"), "/data/x: No space left on device"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (OSError("odd"), "odd"),
        (ValueError(), "ValueError"),
        (
            OSError(errno.EACCES, "Permission denied", "/data/\udcff"),
            "/data/\\xff cannot be written by uid 0: Permission denied",
        ),
    ],
)
def test_reason_is_a_sentence(reason: str | BaseException, sentence: str) -> None:
    assert failures.failure("check", reason)["reason"] == sentence


@pytest.mark.parametrize(
    ("about", "category", "name", "relpath"),
    [
        ({}, "", "", ""),
        ({"key": "svn/dybsvn"}, "svn", "dybsvn", ""),
        ({"key": "/dybsvn"}, "", "dybsvn", ""),
        (
            {"relpath": "svn/dybsvn/2013/05/10/104701/dybsvn-1.tar"},
            "svn",
            "dybsvn",
            "svn/dybsvn/2013/05/10/104701/dybsvn-1.tar",
        ),
        ({"relpath": "svn"}, "svn", "", "svn"),
        ({"key": "git/a", "relpath": "svn/b/x"}, "git", "a", "svn/b/x"),
    ],
)
def test_failure_says_what_it_is_about(about: dict[str, str], category: str, name: str, relpath: str) -> None:
    entry = failures.failure("check", "bad", **about)
    assert tuple(entry) == failures.KEYS
    assert (entry["category"], entry["name"], entry["relpath"]) == (category, name, relpath)
    assert (entry["stage"], entry["node"], entry["rc"], entry["stderr"]) == ("check", "", None, "")


def test_a_tool_that_failed_brings_its_own_words() -> None:
    entry = failures.failure("dump", ToolFailed("svnadmin failed", 3, "E160000"))
    assert (entry["reason"], entry["rc"], entry["stderr"]) == ("svnadmin failed", 3, "E160000")


def test_summary_holds_all() -> None:
    one, two = failures.failure("check", "first"), failures.failure("check", "second")
    assert failures.summarize([one]) == "first"
    assert failures.summarize([one, two]) == "2 failures:\n- first\n- second"


@pytest.mark.parametrize("error", [BaseUnusable("no marker"), OSError(errno.EIO, "no marker")])
def test_what_could_not_be_done_is_one_failure_with_the_same_keys(error: Exception) -> None:
    def fail() -> dict[str, Any]:
        raise error

    result = failures.as_failures("check", {"match": []}, fail)
    assert result["match"] == []
    assert [entry["reason"] for entry in result["failures"]] == ["no marker"]
    assert failures.as_failures("check", {"match": []}, lambda: {"match": ["x"]}) == {"match": ["x"]}


OLDER, OLD = "2013/05/08/104701", "2013/05/09/104701"
NAME = "dybsvn.tar"


def told(base: Path, *entries: dict[str, Any], **more: Any) -> list[Any]:
    """Return `good` of each failure of a tree, None where it is missing."""
    result = {
        "failures": list(entries),
        **{key: more.pop(key) for key in ("relpaths", "unexpected", "send") if key in more},
    }
    failures.with_good(result, {"base": str(base), "stamp": STAMP, "clock": STAMP, **more})
    return [entry.get("good") for entry in result["failures"]]


def about(key: str = "svn/dybsvn", relpath: str = "") -> dict[str, Any]:
    """Return a failure."""
    return failures.failure("check", "bad", key="" if relpath else key, relpath=relpath)


def test_failure_of_an_item_says_when_it_last_had_a_good_copy_in_this_tree(tmp_path: Path) -> None:
    base = marked(tmp_path / "dayabay")
    put(base, f"svn/dybsvn/{OLD}/{NAME}")
    put(base, "svn/dybsvn/2099/01/01/000000/dybsvn.tar")  # of the future
    assert told(base, about(), about("tracs/dybsvn")) == [OLD, ""]


def test_tarball_that_is_bad_itself_is_no_good_copy_nor_are_the_days_that_share_its_bytes(tmp_path: Path) -> None:
    base = marked(tmp_path / "dayabay")
    put(base, f"svn/dybsvn/{OLDER}/{NAME}")
    put(base, f"svn/dybsvn/{OLD}/{NAME}")
    link(base, f"svn/dybsvn/{OLD}/{NAME}", f"svn/dybsvn/{STAMP}/{NAME}")
    assert told(base, about()) == [STAMP]
    assert told(base, about(relpath=f"svn/dybsvn/{STAMP}/{NAME}")) == [OLDER]
    # what lacks its sidecar alone says nothing of the bytes
    (base / f"svn/dybsvn/{STAMP}/{NAME}.dna").unlink()
    assert told(base, about(relpath=f"svn/dybsvn/{STAMP}/{NAME}")) == [OLD]


def test_count_by_name_alone_is_about_the_items_that_are_missing(tmp_path: Path) -> None:
    base = marked(tmp_path / "dayabay")
    for key, stamp in (("svn/x", STAMP), ("tracs/x", OLD), ("folders/x", OLDER)):
        put(base, f"{key}/{stamp}/x.tar")
    entry = about("/x")
    items = ["svn/x", "tracs/x"]
    assert told(base, entry, items=items, relpaths={"x": [f"svn/x/{STAMP}/x.tar"]}) == [OLD]
    assert told(base, about("/x"), items=[*items, "git/x"]) == [""]
    assert told(base, about("/x")) == [OLDER]
    assert told(base, about("/y")) == [None]


def test_good_copy_is_not_told_of_an_item_of_which_a_tarball_comes(tmp_path: Path) -> None:
    base = marked(tmp_path / "dayabay")
    put(base, f"svn/dybsvn/{OLD}/{NAME}")
    assert told(base, about(), about("tracs/x"), send=[f"svn/dybsvn/{STAMP}/{NAME}"]) == [None, ""]


def test_good_copy_is_not_told_where_it_is_not_known(tmp_path: Path) -> None:
    base = marked(tmp_path / "dayabay")
    put(base, f"svn/dybsvn/{OLD}/{NAME}")
    elsewhere = {**about(), "delegate": "cms01"}
    strange = about(relpath="folders/y.txt/2013")
    assert (
        told(base, elsewhere, failures.failure("check", "all of it"), strange, unexpected=[strange["relpath"]])
        == [None] * 3
    )
    assert told(base, about("../x"), about("svn/.."), about("svn/x\0")) == [None] * 3
    assert told(tmp_path / "missing", about()) == [None]
    assert told(base, about(), timezone="Nowhere/Land", stamp="") == [None]
    with bound_by_modes():
        (base / "svn/dybsvn/2013").chmod(0)
        assert told(base, about(), about("tracs/dybsvn")) == [None, ""]
        (base / "svn/dybsvn/2013").chmod(0o755)


def test_result_without_failures_or_of_no_tree_is_left_as_it_is(tmp_path: Path) -> None:
    assert failures.with_good({"failures": []}, {"base": str(tmp_path)}) == {"failures": []}
    entry = about()
    assert failures.with_good({"failures": [entry]}, {"path": ["/x"]}) == {"failures": [entry]}


def incomplete(base: Path, stamp: str) -> None:
    """Mark the record under a stamp as incomplete."""
    write_record(open_tree(str(base)), "svn/dybsvn", stamp, {"incomplete": ["x is too long"]})


def test_copy_that_is_not_whole_is_no_good_one(tmp_path: Path) -> None:
    base = marked(tmp_path / "backup")
    put(base, f"svn/dybsvn/{STAMP}/dybsvn-2.tar")
    put(base, "svn/dybsvn/2013/05/11/104701/dybsvn-2.tar", b"in part")
    result = {"failures": [failures.failure("dump", "lacks 1 object", key="svn/dybsvn")]}
    incomplete(base, "2013/05/11/104701")
    assert failures.with_good(result, {"base": str(base)})["failures"][0]["good"] == STAMP
    incomplete(base, STAMP)
    assert failures.with_good(result, {"base": str(base)})["failures"][0]["good"] == ""


def test_a_suspect_is_no_good_copy_before_somebody_accepts_it(tmp_path: Path) -> None:
    base = marked(tmp_path / "base")
    older = "2013/05/09/104701"
    for stamp in (older, STAMP):
        put(base, f"svn/x/{stamp}/x-1.tar")
    tree = open_tree(str(base))
    write_record(tree, "svn/x", STAMP, {"suspect": ["entries fell"]})

    def good() -> str:
        result = {"failures": [failures.failure("dump", "why", key="svn/x")]}
        return str(failures.with_good(result, {"base": str(base)})["failures"][0]["good"])

    assert good() == older
    keep_marks(tree, {"accepted": {"svn/x": STAMP}})
    assert good() == STAMP
