"""Digests of many files at once."""

from __future__ import annotations

import hashlib
from pathlib import Path

from helpers.original_trees import STAMP, link, marked, put

from ansible_collections.altbackup.core.plugins.module_utils.tree.digests import digests
from ansible_collections.altbackup.core.plugins.module_utils.tree.sidecar import Dna

CONTENT = b"abc" * 1000
MD5 = hashlib.md5(CONTENT).hexdigest()
SHA = hashlib.sha256(CONTENT).hexdigest()


def test_names_of_one_file_share_one_reading(tmp_path: Path) -> None:
    base = marked(tmp_path / "b")
    one = put(base, f"svn/x/{STAMP}/x-1.tar", CONTENT)
    two = link(base, f"svn/x/{STAMP}/x-1.tar", "svn/x/2013/05/11/104701/x-1.tar")
    other = put(base, f"svn/y/{STAMP}/y-1.tar", CONTENT)
    dna = Dna(SHA, len(CONTENT))
    read = digests({str(one): dna, str(two): dna, str(other): dna})
    assert read[str(one)] == read[str(other)] == (SHA, len(CONTENT))
    assert read[str(one)] is read[str(two)]
    assert read[str(one)] is not read[str(other)]


def test_a_file_is_digested_by_the_algorithm_of_each_name(tmp_path: Path) -> None:
    base = marked(tmp_path / "b")
    one = put(base, f"svn/x/{STAMP}/x-1.tar", CONTENT)
    two = link(base, f"svn/x/{STAMP}/x-1.tar", "svn/x/2013/05/11/104701/x-1.tar")
    read = digests({str(one): Dna("", 1, "md5"), str(two): Dna("", 1, "sha256"), "/missing": Dna("", 1)})
    assert (read[str(one)], read[str(two)]) == ((MD5, len(CONTENT)), (SHA, len(CONTENT)))
    assert isinstance(read["/missing"], FileNotFoundError)
