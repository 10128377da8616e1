"""What of targets is to be encrypted anew."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.planning import rekeying

STAMP = "2013/05/10/104701"
SOURCE = {
    "encrypt_to": ["new"],
    "item_list": [{"kind": "svn", "name": "own", "encrypt_to": ["svn"]}, {"kind": "svn", "name": "x"}],
}


def entry(key: str, *to: str, state: str = "verified", end: str = ".tar.age") -> dict[str, Any]:
    """Return a tarball as a target lists it."""
    relpath = f"{key}/{STAMP}/{key.partition('/')[2]}{end}"
    return {"relpath": relpath, "size": 1, "dig": "aa", "alg": "sha256", "state": state, "record": {"to": list(to)}}


@pytest.mark.parametrize(
    ("key", "asked", "to"),
    [
        ("svn/own", [], ["svn"]),
        ("svn/x", [], ["new"]),
        ("svn/gone", [], ["new"]),
        ("svn/x", ["dayabay/svn/x"], ["new"]),
        ("svn/own", ["dayabay/svn/x"], []),
        ("svn/x", ["juno/svn/x"], []),
    ],
)
def test_each_item_has_its_recipients(key: str, asked: list[str], to: list[str]) -> None:
    assert rekeying.recipients(SOURCE, asked, "dayabay", key) == to


def test_what_is_due_and_what_of_it_the_source_has() -> None:
    there = [
        entry("svn/x", "old"),
        entry("svn/own", "svn"),
        entry("svn/gone", "old", "new", state="alone"),
        entry("svn/y", "old", state="missing"),
        entry("svn/z", end=".tar"),
    ]
    known = {"current": [there[0]["relpath"]], "targets": {"cms01": {"holds": rekeying.held(there), "wanted": []}}}
    work = rekeying.work(SOURCE, [], "dayabay", known, "cms01")
    assert [one["relpath"] for one in work["due"]] == [there[0]["relpath"], there[2]["relpath"]]
    assert [one["relpath"] for one in work["fetched"]] == [there[2]["relpath"]]
    assert (work["is_wanted"], work["is_made"], work["is_back"]) == (True, False, False)
    assert rekeying.work(SOURCE, [], "dayabay", {}, "cms01")["due"] == []
