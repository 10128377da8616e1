"""The quarantine: rotted tarballs are set apart, complete, with what is known of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers.original_trees import STAMP, marked, put, tree_hash

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import BaseUnusable
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import Tarball, Tree, open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.publish import read_record, write_record
from ansible_collections.altbackup.core.plugins.module_utils.tree.quarantine import (
    complete_moves,
    note_healed,
    note_since,
    put_proof_back,
    put_record_back,
    quarantined,
    remove,
    set_apart,
)
from ansible_collections.altbackup.core.plugins.module_utils.tree.scan import scan
from ansible_collections.altbackup.core.plugins.module_utils.tree.sidecar import Dna
from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import Moment

KEY = "svn/x"
RELPATH = f"{KEY}/{STAMP}/x-1.tar"
CONTENT, ROTTEN = b"a tarball", b"a ravaged"
NOW = Moment("2013/05/12/013000", "2013/05/12/013000")
READ = Dna("0" * 64, len(ROTTEN))


@pytest.fixture(params=["source", "target"])
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Tree:
    """Return a source's base, or its tree on a target, with a rotted tarball and its proof."""
    if request.param == "source":
        base = marked(tmp_path / "b")
    else:
        base = marked(tmp_path / "copies") / "dayabay"
    path = put(base, RELPATH, CONTENT)
    path.write_bytes(ROTTEN)
    Path(f"{path}.proof").write_text("{}")
    tree = open_tree(str(base))
    write_record(tree, KEY, STAMP, {"kind": "svn"})
    return tree


def the_one(tree: Tree) -> Tarball:
    """Return the only tarball of a tree."""
    (tarball,) = scan(tree).tarballs
    return tarball


def test_a_pair_is_moved_with_its_proof_and_its_record_stays(tree: Tree) -> None:
    entry = set_apart(tree, the_one(tree), READ, "it rotted\nbadly", NOW, came="2013/05/10/120000")
    assert entry.folder == tree.private_path("quarantine", "svn", "x", *STAMP.split("/"))
    assert sorted(os.listdir(entry.folder)) == ["record.json", "why.json", "x-1.tar", "x-1.tar.dna", "x-1.tar.proof"]
    assert Path(entry.folder, "x-1.tar").read_bytes() == ROTTEN
    assert scan(tree).tarballs == [] and not os.path.exists(tree.path(f"{KEY}/2013"))
    assert read_record(tree, KEY, STAMP) == {"kind": "svn"}
    assert quarantined(tree) == ([entry], [])
    assert (entry.since, entry.healed, entry.came, entry.reason) == (
        NOW.latest,
        "",
        "2013/05/10/120000",
        "it rotted\\nbadly",
    )
    assert quarantined(tree, ["svn/y"]) == ([], [])


@pytest.mark.parametrize("other", ["x-2.tar", "notes.txt", ".altbackup-tmp-1-x-1.tar"])
def test_what_shares_the_folder_stays(tree: Tree, other: str) -> None:
    Path(tree.path(f"{KEY}/{STAMP}/{other}")).write_text("x")
    tarball = next(one for one in scan(tree).tarballs if one.filename == "x-1.tar")
    entry = set_apart(tree, tarball, READ, "", NOW)
    assert os.listdir(tree.path(f"{KEY}/{STAMP}")) == [other]
    assert {"x-1.tar", "x-1.tar.dna", "x-1.tar.proof"} < set(os.listdir(entry.folder))


def test_what_rots_twice_is_kept_twice(tree: Tree) -> None:
    first = set_apart(tree, the_one(tree), READ, "", NOW)
    for _ in range(2):
        put(Path(tree.base), RELPATH, CONTENT)
        set_apart(tree, the_one(tree), READ, "", NOW)
    folders = [entry.folder for entry in quarantined(tree)[0]]
    assert folders == [first.folder, f"{first.folder}-2", f"{first.folder}-3"]
    assert {entry.relpath for entry in quarantined(tree)[0]} == {RELPATH}


def test_a_move_that_was_killed_is_ended_by_the_next(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the folder has other files, too, the tarball is moved first: without it a sidecar vouches for nothing."""
    Path(tree.path(f"{KEY}/{STAMP}/notes.txt")).write_text("x")
    rename, done = os.rename, []

    def killed(old: str, new: str) -> None:
        if done:
            raise KeyboardInterrupt
        done.append(rename(old, new))

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            set_apart(tree, the_one(tree), READ, "", NOW)
    orphans = scan(tree).orphans
    assert orphans == [f"{RELPATH}.dna"]
    assert complete_moves(tree, orphans) == orphans
    assert os.listdir(tree.path(f"{KEY}/{STAMP}")) == ["notes.txt"]
    ((entry,), problems) = quarantined(tree)
    assert (entry.since, entry.dna, problems) == ("", Dna(entry.dna.dig, len(CONTENT)), []) if entry.dna else False
    assert note_since(entry, NOW).since == NOW.latest == quarantined(tree)[0][0].since
    assert complete_moves(tree, ["svn/x/2013/05/11/104701/x-1.tar.dna"]) == []  # an orphan of which nothing is known


def test_what_is_healed_gets_back_what_it_had_and_is_kept_for_a_month(tree: Tree) -> None:
    entry = set_apart(tree, the_one(tree), READ, "", NOW)
    put(Path(tree.base), RELPATH, CONTENT)
    os.unlink(tree.private_path("records", *f"{KEY}/{STAMP}.json".split("/")))
    put_record_back(tree, entry)
    put_proof_back(tree, entry)
    assert read_record(tree, KEY, STAMP) == {"kind": "svn"}
    assert Path(f"{tree.path(RELPATH)}.proof").read_text() == "{}"
    assert note_healed(entry, NOW).healed == NOW.latest == quarantined(tree)[0][0].healed
    assert not entry.is_due(Moment("2013/06/11/013000", "2013/06/11/013000"))
    assert entry.is_due(Moment("2013/06/11/013001", "2013/06/11/013001"))
    remove(tree, entry)
    assert quarantined(tree) == ([], []) and not os.path.exists(tree.private_path("quarantine"))


def test_what_takes_its_place_has_the_content_of_sidecar_or_bytes(tree: Tree) -> None:
    entry = set_apart(tree, the_one(tree), READ, "", NOW)
    assert entry.dna and entry.is_same(entry.dna) and entry.is_same(READ)
    assert not entry.is_same(Dna("1" * 64, len(CONTENT)))


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"since": 1}', "\0" * 100, '{"since": "now", "healed": "", "came": ""}']
)
def test_a_damaged_note_is_named_and_hides_nothing(tree: Tree, text: str) -> None:
    entry = set_apart(tree, the_one(tree), READ, "", NOW)
    Path(entry.folder, "why.json").write_text(text)
    ((known,), ((relpath, problem),)) = quarantined(tree)
    assert (known.relpath, known.dna, known.since) == (RELPATH, entry.dna, "")
    assert relpath == RELPATH and f"{entry.folder}/why.json" in problem and "is damaged" in problem


def test_a_link_in_its_place_is_not_followed(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    place = Path(tree.private_path("quarantine"))
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(tmp_path / "elsewhere")
    before = tree_hash(Path(tree.base))
    with pytest.raises(BaseUnusable):
        quarantined(tree)
    with pytest.raises(BaseUnusable):
        set_apart(tree, the_one(tree), READ, "", NOW)
    assert tree_hash(Path(tree.base)) == before
