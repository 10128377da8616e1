"""The checker finds each thing that can be wrong in a tree."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from faults.invariants import (
    Tree,
    content_of,
    differences,
    last_links,
    lease_of,
    surroundings,
    tree_of,
    unhealed,
    verified,
    violations,
)
from integration.lab_site import DAY1, DAY2, plant

RELPATH = f"folders/notes/{DAY2}/notes.tar.zst"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A base with two nights of one item."""
    base = tmp_path / "around" / "base"
    (base / ".altbackup" / "tmp").mkdir(parents=True, mode=0o700)
    for path in (base / ".altbackup", base / ".altbackup" / "tmp"):
        path.chmod(0o700)
    plant(base, "folders/notes", DAY1, b"first")
    plant(base, "folders/notes", DAY2, b"second")
    return Tree(base, base)


def flip(path: Path) -> None:
    """Change a byte, but not the size."""
    path.write_bytes(b"?" + path.read_bytes()[1:])


def test_good_tree_has_no_violation(tree: Tree) -> None:
    before = verified(tree.base)
    assert before == {
        f"folders/notes/{stamp}/notes.tar.zst": content_of(tree.base / f"folders/notes/{stamp}/notes.tar.zst")
        for stamp in (DAY1, DAY2)
    }
    assert violations(tree, before=before, lasts=last_links(tree.base)) == []
    assert unhealed(tree) == []


def test_original_sidecar_is_understood(tree: Tree) -> None:
    size, digest = content_of(tree.base / RELPATH, "md5")
    (tree.base / f"{RELPATH}.dna").write_text(f"{{'dig': '{digest}', 'size': {size}}}\n")
    assert violations(tree) == []
    flip(tree.base / RELPATH)
    assert "false sidecar" in violations(tree)[0]


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "changed bytes": (lambda base: flip(base / RELPATH), "false sidecar"),
    "cut off": (lambda base: (base / RELPATH).write_bytes(b"sec"), "false sidecar"),
    "no sidecar": (lambda base: (base / f"{RELPATH}.dna").unlink(), "lost"),
    "sidecar alone": (lambda base: (base / RELPATH).unlink(), "sidecar without its tarball"),
    "empty sidecar": (lambda base: (base / f"{RELPATH}.dna").write_text(""), "false sidecar"),
    "both gone": (lambda base: shutil.rmtree((base / RELPATH).parent), "lost"),
    "last gone": (lambda base: (base / "folders/notes/last").unlink(), "last of folders/notes"),
    "last to nothing": (lambda base: point(base, "2013/05/30/104701"), "no verified tarball"),
    "last a folder": (lambda base: point(base, None), "last is no link"),
    "last back": (lambda base: point(base, DAY1), "went back"),
    "open file": (lambda base: (base / RELPATH).chmod(0o640), "mode 640"),
    "open folder": (lambda base: (base / "folders").chmod(0o755), "mode 755"),
    "open marker": (lambda base: (base / ".altbackup").chmod(0o755), "mode 755"),
    "open private folder": (lambda base: (base / ".altbackup/tmp").chmod(0o750), "mode 750"),
}


def point(base: Path, stamp: str | None) -> None:
    """Point `last` to a stamp, or replace it by a folder."""
    last = base / "folders/notes/last"
    last.unlink()
    if stamp:
        last.symlink_to(stamp)
    else:
        last.mkdir(mode=0o700)


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_seen(tree: Tree, name: str) -> None:
    before, lasts = verified(tree.base), last_links(tree.base)
    damage, expected = DAMAGE[name]
    damage(tree.base)
    found = violations(tree, before=before, lasts=lasts, marker=0o700)
    assert [what for what in found if expected in what], found


def test_last_that_never_was_a_link_is_seen(tree: Tree) -> None:
    point(tree.base, None)
    assert violations(tree) == [f"last is no link: {tree.base}/folders/notes/last"]


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("", ""),
        ("  \n", ""),
        ('{"run": {"pid": 7}, "transfer": false}', "7"),
        ('{"run": {"pid": 7}, "transfer": true}  \n', "7 transfer"),
    ],
)
def test_whose_lock_it_is(tree: Tree, text: str, seen: str) -> None:
    assert lease_of(tree) == ""
    (tree.base / ".altbackup" / "lock").write_text(text)
    assert lease_of(tree) == seen
    (tree.base / ".altbackup" / "lock").write_text('{"run": {"pi')
    assert lease_of(tree).startswith("no lease")


def test_final_name_without_sidecar_must_be_whole(tree: Tree) -> None:
    whole = {RELPATH: content_of(tree.base / RELPATH)}
    (tree.base / f"{RELPATH}.dna").unlink()
    point(tree.base, DAY1)
    assert violations(tree, whole=whole) == []
    assert "nobody knows" in violations(tree)[0]
    (tree.base / RELPATH).write_bytes(b"sec")
    assert "partial under a final name" in violations(tree, whole=whole)[0]


def test_what_a_purge_was_to_remove_is_no_loss(tree: Tree) -> None:
    before = verified(tree.base)
    old = f"folders/notes/{DAY1}/notes.tar.zst"
    shutil.rmtree((tree.base / old).parent)
    assert violations(tree, before=before, removable=[old]) == []
    assert "lost" in violations(tree, before=before)[0]


@pytest.mark.parametrize(
    "relpath",
    [
        "folders/notes/.altbackup-tmp-1-last",
        f"{RELPATH[:-8]}x.tar.zst",
        ".altbackup/incoming/a/b",
        ".altbackup/trash/x/y",
    ],
)
def test_what_is_left_is_seen(tree: Tree, relpath: str) -> None:
    path = tree.base / relpath
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_text("half")
    assert unhealed(tree) == [f"left: {path}"]


def test_trees_that_differ_and_what_lies_around_them(tree: Tree) -> None:
    around = tree.base.parent
    beside = around / "beside"
    beside.write_text("x")
    before, outside = tree_of(tree.top), surroundings(around, [tree.top])
    (tree.base / ".altbackup" / "lock").write_text("differs each time")
    assert differences(tree_of(tree.top), before) == []
    flip(tree.base / RELPATH)
    assert [what for what in differences(tree_of(tree.top), before) if RELPATH in what]
    assert surroundings(around, [tree.top]) == outside
    beside.write_text("y")
    assert surroundings(around, [tree.top]) != outside


def test_link_that_became_a_copy_differs(tree: Tree) -> None:
    path = tree.base / RELPATH
    twin = path.parent / "z.tar.zst"
    twin.hardlink_to(path)
    before = tree_of(tree.top)
    twin.unlink()
    shutil.copy(path, twin)
    assert len(differences(tree_of(tree.top), before)) == 1
