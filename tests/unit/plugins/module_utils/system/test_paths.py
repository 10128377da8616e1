"""Paths as text."""

from __future__ import annotations

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.system.paths import is_within


@pytest.mark.parametrize(
    ("path", "above", "within"),
    [
        ("/a/b", "/a/b", True),
        ("/a/b/c", "/a/b", True),
        ("/a/b/c", "/a/b/", True),
        ("/a", "/", True),
        ("/", "/", True),
        ("/a/bc", "/a/b", False),
        ("/a", "/a/b", False),
        ("a/b", "a", True),
        ("ab", "a", False),
    ],
)
def test_a_path_is_within_itself_and_what_is_above_it(path: str, above: str, within: bool) -> None:
    assert is_within(path, above) is within
