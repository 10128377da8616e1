"""What retention has to know of tarballs that only the records of their dumps tell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import marked, put
from helpers.tarballs import stamp_of

from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import Tree, open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.publish import write_record
from ansible_collections.altbackup.core.plugins.module_utils.tree.recorded import recorded
from ansible_collections.altbackup.core.plugins.module_utils.tree.scan import scan

RELPATH = f"svn/x/{stamp_of('01')}/x.tar"
CONTENT = "c" * 64


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A tree with one tarball."""
    base = marked(tmp_path / "base")
    put(base, RELPATH, b"x")
    return open_tree(str(base))


@pytest.mark.parametrize(
    ("more", "partial", "is_known"),
    [
        pytest.param({}, False, False, id="nothing"),
        pytest.param({"content": CONTENT}, False, True, id="its content"),
        pytest.param({"content": CONTENT, "incomplete": ["a"]}, True, True, id="not whole"),
        pytest.param({"content": CONTENT, "dig": "0" * 64}, False, False, id="of other bytes"),
        pytest.param({"content": CONTENT, "size": 2}, False, False, id="of another size"),
        pytest.param({"content": "x"}, False, False, id="no digest"),
        pytest.param({"content": [CONTENT]}, False, False, id="a list"),
    ],
)
def test_what_a_record_says_counts_for_the_bytes_that_it_is_of(
    tree: Tree, more: dict[str, Any], partial: bool, is_known: bool
) -> None:
    (tarball,) = scan(tree).verified()
    assert tarball.dna is not None
    own = (tarball.dna.alg, tarball.dna.size, tarball.dna.dig)
    write_record(tree, "svn/x", tarball.stamp, {"alg": own[0], "size": own[1], "dig": own[2], **more})
    found = recorded(tree, [tarball])
    assert (found.partial, found.content) == ([RELPATH] if partial else [], {RELPATH: CONTENT if is_known else own})


def test_of_a_tarball_without_a_dna_no_content_is_known(tree: Tree) -> None:
    (tarball,) = scan(tree).verified()
    assert recorded(tree, [replace(tarball, dna=None)]).content == {}
    assert (recorded(tree, []).partial, recorded(tree, []).content) == ([], {})
