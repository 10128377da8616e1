"""Failures: one flat mapping each."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.module_utils import failures
from ansible_collections.altbackup.core.plugins.module_utils.errors import BaseUnusable, ToolFailed


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        ("a text", "a text"),
        (BaseUnusable("no marker"), "no marker"),
        (OSError(errno.ENOSPC, "No space left on device", "/data/x"), "/data/x: No space left on device"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (OSError("odd"), "odd"),
        (ValueError(), "ValueError"),
        (OSError(errno.EACCES, "Permission denied", "/data/\udcff"), "/data/\\xff: Permission denied"),
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

    result = failures.attempt("check", {"match": []}, fail)
    assert result["match"] == []
    assert [entry["reason"] for entry in result["failures"]] == ["no marker"]
    assert failures.attempt("check", {"match": []}, lambda: {"match": ["x"]}) == {"match": ["x"]}
