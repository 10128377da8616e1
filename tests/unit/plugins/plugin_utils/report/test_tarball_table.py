"""Tables of tarballs."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.plans import SVN, loop

from ansible_collections.altbackup.core.plugins.plugin_utils.report import tarball_table


def test_table_aligns_what_was_listed() -> None:
    entry = {
        "category": "svn",
        "name": "dybsvn",
        "stamp": "2013/05/10/104701",
        "relpath": SVN,
        "size": 1234567,
        "dig": "ab" * 32,
        "alg": "sha256",
        "state": "verified",
        "path": "/x",
    }
    (listed,) = tarball_table.listed(loop({"tarballs": [entry]}), "dayabay")
    assert set(listed) == {*tarball_table.LISTED_KEYS}
    assert tarball_table.table([listed]) == [f"dayabay -> cms01  verified  1,234,567  abababababab  {SVN}"]
    stored = {**listed, "node": "vault", "role": "store"}
    assert tarball_table.table([stored])[0].startswith("dayabay -> vault  verified")


@pytest.mark.parametrize(
    ("more", "state", "shown"),
    [
        ({"suspect": ["shrunk"]}, "suspect", "suspect"),
        ({"suspect": ["shrunk"], "incomplete": True}, "suspect", "suspect"),
        ({"incomplete": True, "hold": "x"}, "incomplete", "incomplete, hold: x"),
        ({"hold": "before\nthe move"}, "verified", "verified, hold: before\\nthe move"),
        ({"suspect": ["shrunk"], "state": "mismatch"}, "mismatch", "mismatch"),
    ],
)
def test_what_is_suspect_and_what_is_held_is_listed(more: dict[str, Any], state: str, shown: str) -> None:
    entry = {"relpath": SVN, "size": 1, "dig": "ab" * 32, "alg": "sha256", "state": "verified", **more}
    (listed,) = tarball_table.listed(loop({"tarballs": [entry]}), "dayabay")
    assert (listed["state"], listed["suspect"], listed["hold"]) == (
        state,
        more.get("suspect", []),
        more.get("hold", ""),
    )
    assert tarball_table.table([listed]) == [f"dayabay -> cms01  {shown}  1  abababababab  {SVN}"]
