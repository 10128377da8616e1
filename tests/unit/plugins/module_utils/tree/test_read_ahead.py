"""What the dump of a run has read ahead is believed in that run alone, and as long as the files are the same."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.original_trees import STAMP, marked, original_text, put
from helpers.trees import RUN

from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import Tree, open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.locks import Run, parse_run
from ansible_collections.altbackup.core.plugins.module_utils.tree.read_ahead import Reading, keep_read_ahead, read_ahead
from ansible_collections.altbackup.core.plugins.module_utils.tree.scan import scan

ONE, OTHER = f"svn/dybsvn/{STAMP}/dybsvn-1.tar", f"folders/svnsetup/{STAMP}/svnsetup.tar"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Return a tree of two tarballs of which a run has read one."""
    base = marked(tmp_path / "dayabay")
    for relpath in (ONE, OTHER):
        put(base, relpath, b"content")
    tree = open_tree(str(base))
    (dna,) = [one.dna for one in scan(tree).tarballs if one.relpath == ONE]
    assert dna
    keep_read_ahead(tree, this_run(), {ONE: Reading(os.lstat(tree.path(ONE)), dna.alg, dna.dig)})
    return tree


def this_run() -> Run:
    run = parse_run(RUN)
    assert run
    return run


def believed(tree: Tree, run: Run) -> list[str]:
    return [one.relpath for one in read_ahead(tree, run, scan(tree).tarballs)]


def test_that_run_believes_it_and_no_other(tree: Tree) -> None:
    assert believed(tree, this_run()) == [ONE]
    assert believed(tree, replace(this_run(), seconds=1.0)) == [ONE], "each call takes a lease of its own"
    for other in ({"pid": 2}, {"ticks": 2}, {"boot": "c"}, {"host": "another"}):
        assert believed(tree, replace(this_run(), **other)) == []  # type: ignore[arg-type]


def test_what_was_written_to_since_is_not_believed(tree: Tree) -> None:
    Path(tree.path(ONE)).write_bytes(b"c0ntent")
    assert believed(tree, this_run()) == []


def test_what_was_replaced_since_is_not_believed(tree: Tree) -> None:
    path = Path(tree.path(ONE))
    status = path.stat()
    path.rename(path.with_name("old"))
    path.write_bytes(b"content")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert believed(tree, this_run()) == []


def test_what_has_another_sidecar_since_is_not_believed(tree: Tree) -> None:
    Path(f"{tree.path(ONE)}.dna").write_text(original_text(b"c0ntent"))
    assert scan(tree).verified() and believed(tree, this_run()) == []


def test_another_link_changes_nothing(tree: Tree) -> None:
    os.link(tree.path(ONE), f"{tree.path(ONE)}.link")
    assert believed(tree, this_run()) == [ONE]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"run": null}', "[" * 100_000, '{"files": 5}'])
def test_what_is_damaged_tells_nothing(tree: Tree, text: str) -> None:
    if "files" in text:
        text = json.dumps({"run": [*this_run().identity], **json.loads(text)})
    Path(tree.private_path("state", "read-ahead")).write_text(text)
    assert believed(tree, this_run()) == []


def test_a_run_that_read_nothing_leaves_nothing(tree: Tree) -> None:
    keep_read_ahead(tree, this_run(), {})
    assert not os.path.lexists(tree.private_path("state", "read-ahead"))
    assert believed(tree, this_run()) == []
