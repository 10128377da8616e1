"""Keys of tarballs' contents."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.tree.contents import content_of
from ansible_collections.altbackup.core.plugins.module_utils.tree.sidecar import Dna

DNA = Dna("a" * 64, 5)
OTHER = Dna("b" * 64, 6)
BY_DNA = ("sha256", 5, "a" * 64)
BY_OTHER_DNA = ("sha256", 6, "b" * 64)
CONTENT = "c" * 64


def record(dna: Dna = DNA, **more: Any) -> dict[str, Any]:
    """Return a record of a tarball."""
    return {"dig": dna.dig, "size": dna.size, "alg": dna.alg, **more}


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({}, BY_DNA),
        (record(), BY_DNA),
        (record(content=CONTENT), CONTENT),
        (record(OTHER, content=CONTENT), BY_DNA),
        ({"content": CONTENT}, BY_DNA),
        (record(content=CONTENT[1:]), BY_DNA),
        (record(content=CONTENT + "\n"), BY_DNA),
        (record(content=CONTENT.upper()), BY_DNA),
        (record(content=[CONTENT]), BY_DNA),
        (record(content=7), BY_DNA),
        (record(content=CONTENT, formerly=record(OTHER)), BY_OTHER_DNA),
        (record(formerly=record(OTHER)), BY_OTHER_DNA),
        (record(OTHER, content=CONTENT, formerly=record(OTHER)), BY_DNA),
        (record(content=CONTENT, formerly=None), CONTENT),
        (record(content=CONTENT, formerly=[record(OTHER)]), CONTENT),
        (record(content=CONTENT, formerly={**record(OTHER), "size": True}), CONTENT),
        (record(content=CONTENT, formerly={**record(OTHER), "size": -1}), CONTENT),
        (record(content=CONTENT, formerly={**record(OTHER), "alg": "crc"}), CONTENT),
        (record(content=CONTENT, formerly={**record(OTHER), "alg": "md5"}), CONTENT),
        (record(content=CONTENT, formerly={**record(OTHER), "dig": "x" * 64}), CONTENT),
    ],
)
def test_a_content_is_what_the_dump_recorded_of_these_bytes_or_else_the_dna(
    known: dict[str, Any], expected: object
) -> None:
    assert content_of(known, DNA) == expected


def test_two_tarballs_of_one_content_are_equal_whatever_their_bytes() -> None:
    assert content_of(record(content=CONTENT), DNA) == content_of(record(OTHER, content=CONTENT), OTHER)


def test_a_tarball_that_holds_what_one_of_an_older_version_does_is_equal_to_it() -> None:
    assert content_of(record(content=CONTENT, formerly=record(OTHER)), DNA) == content_of({}, OTHER)


def test_a_tarball_of_an_older_version_is_equal_to_none_of_other_bytes() -> None:
    assert content_of({}, DNA) != content_of({}, OTHER)
