"""A tarball gets its name only after it was read back, its sidecar only after that, and `last` moves last."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.trees import as_nobody, needs_root, nobodys_folder

from ansible_collections.altbackup.core.plugins.module_utils.system.digest import digest_file
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import (
    AltbackupError,
    BaseUnusable,
    DigestMismatch,
)
from ansible_collections.altbackup.core.plugins.module_utils.tree import publish as module
from ansible_collections.altbackup.core.plugins.module_utils.tree import sidecar
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import Tree, open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.publish import (
    link,
    make_folders,
    make_tree,
    point_last,
    prune_empty,
    publish,
    read_record,
    record_path,
    require_writable,
    write_record,
    write_text,
)
from ansible_collections.altbackup.core.plugins.module_utils.tree.scan import scan
from ansible_collections.altbackup.core.plugins.module_utils.tree.sidecar import Dna
from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import Moment

FIRST, SECOND = "2013/05/10/104701", "2013/05/11/104701"
NOW = Moment(SECOND, "2013/05/12/000000")
KEY = "folders/thing"


def relpath(stamp: str) -> str:
    return f"{KEY}/{stamp}/thing.tar"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    (tmp_path / "base" / ".altbackup").mkdir(parents=True)
    return open_tree(str(tmp_path / "base"))


@pytest.fixture
def temporary(tree: Tree) -> str:
    path = tree.private_path("temporary")
    Path(path).write_bytes(b"content")
    os.chmod(path, 0o644)
    return path


def dna_of(path: str, algorithm: str = "sha256") -> Dna:
    return Dna(*digest_file(path, algorithm), algorithm)


def files(tree: Tree) -> list[str]:
    return sorted(
        os.path.relpath(os.path.join(parent, name), tree.base)
        for parent, _, names in os.walk(tree.base)
        for name in names
    )


def folders(tree: Tree) -> list[str]:
    return sorted(name for name in os.listdir(tree.base) if name != ".altbackup")


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_published_tarball_has_its_sidecar_and_private_modes(tree: Tree, temporary: str, umask: int) -> None:
    dna = dna_of(temporary)
    before = os.umask(umask)
    try:
        publish(tree, temporary, relpath(FIRST), dna)
        point_last(tree, KEY, FIRST, NOW)
    finally:
        os.umask(before)
    (tarball,) = scan(tree).verified()
    assert (tarball.relpath, tarball.dna) == (relpath(FIRST), dna)
    assert os.readlink(tree.path(f"{KEY}/last")) == FIRST
    for parent, names, found in os.walk(tree.path("folders")):
        assert os.stat(parent).st_mode & 0o7777 == 0o700
        assert not [name for name in names if name.startswith(".")]
        for name in found:
            assert os.stat(os.path.join(parent, name)).st_mode & 0o7777 == 0o600


def test_md5_sidecar_is_byte_for_byte_the_original_s(tree: Tree, temporary: str) -> None:
    publish(tree, temporary, relpath(FIRST), dna_of(temporary, "md5"))
    text = Path(tree.path(relpath(FIRST)) + ".dna").read_bytes()
    assert text == b"{'dig': '9a0364b9e99bb480dd25e1f0284c8555', 'size': 7}\n"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b"CONTENT"),
        lambda path: path.write_bytes(b"conten"),
        lambda path: path.write_bytes(b""),
    ],
)
def test_bytes_altered_after_writing_are_not_published(
    tree: Tree, temporary: str, spoil: Callable[[Path], Any]
) -> None:
    dna = dna_of(temporary)
    spoil(Path(temporary))
    with pytest.raises(DigestMismatch, match="is not what was written"):
        publish(tree, temporary, relpath(FIRST), dna)
    assert folders(tree) == []


@pytest.mark.parametrize("step", ["write_sidecar", "flush_folder", "make_folders"])
def test_failure_at_any_step_leaves_neither_tarball_nor_sidecar(
    tree: Tree, temporary: str, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    real, calls = getattr(module, step), []

    def fail(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) > (3 if step == "flush_folder" else 0):
            raise OSError(28, "No space left on device")
        return real(*arguments)

    monkeypatch.setattr(module, step, fail)
    with pytest.raises(OSError, match="No space left"):
        publish(tree, temporary, relpath(FIRST), dna_of(temporary))
    assert folders(tree) == []
    monkeypatch.undo()
    Path(temporary).write_bytes(b"content")
    publish(tree, temporary, relpath(FIRST), dna_of(temporary))
    calls.clear()
    monkeypatch.setattr(module, step, fail)
    (old,) = scan(tree).verified()
    with pytest.raises(OSError, match="No space left"):
        link(tree, old, relpath(SECOND), dna_of(tree.path(old.relpath)))
    assert scan(tree).verified() == [old]
    assert len(files(tree)) == 2


def test_unchanged_is_a_link_that_shares_the_bytes(tree: Tree, temporary: str) -> None:
    dna = dna_of(temporary)
    publish(tree, temporary, relpath(FIRST), dna)
    (old,) = scan(tree).verified()
    link(tree, old, relpath(SECOND), dna)
    first, second = scan(tree).verified()
    assert first.inode == second.inode
    assert first.links == 2
    link(tree, old, relpath(SECOND), dna)
    assert len(files(tree)) == 4


def test_rotten_old_tarball_is_not_linked_to(tree: Tree, temporary: str) -> None:
    dna = dna_of(temporary)
    publish(tree, temporary, relpath(FIRST), dna)
    (old,) = scan(tree).verified()
    Path(tree.path(old.relpath)).write_bytes(b"cOntent")
    with pytest.raises(DigestMismatch):
        link(tree, old, relpath(SECOND), dna)
    assert len(files(tree)) == 2


def test_nothing_is_published_through_a_link(tree: Tree, temporary: str, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    os.symlink(tmp_path / "elsewhere", tree.path("folders"))
    with pytest.raises(BaseUnusable, match="is no folder but a link or file"):
        publish(tree, temporary, relpath(FIRST), dna_of(temporary))
    assert list((tmp_path / "elsewhere").iterdir()) == []


class TestLast:
    @pytest.fixture(autouse=True)
    def item(self, tree: Tree) -> None:
        for stamp in (FIRST, SECOND):
            make_folders(tree.path(f"{KEY}/{stamp}"), tree.base)

    def last(self, tree: Tree) -> str:
        return os.readlink(tree.path(f"{KEY}/last"))

    def test_moves_forward_and_tells(self, tree: Tree) -> None:
        assert point_last(tree, KEY, FIRST, NOW) is True
        assert point_last(tree, KEY, FIRST, NOW) is False
        assert point_last(tree, KEY, SECOND, NOW) is True
        assert self.last(tree) == SECOND

    def test_never_moves_backwards(self, tree: Tree) -> None:
        point_last(tree, KEY, SECOND, NOW)
        assert point_last(tree, KEY, FIRST, NOW) is False
        assert self.last(tree) == SECOND

    @pytest.mark.parametrize(
        ("ahead", "stays"), [("2013/05/11/235959", True), ("2013/05/12/000000", True), ("2013/05/12/000001", False)]
    )
    def test_comes_back_from_what_no_clock_has_shown_yet(self, tree: Tree, ahead: str, stays: bool) -> None:
        make_folders(tree.path(f"{KEY}/{ahead}"), tree.base)
        os.symlink(ahead, tree.path(f"{KEY}/last"))
        assert point_last(tree, KEY, FIRST, NOW) is not stays
        assert self.last(tree) == (ahead if stays else FIRST)

    @pytest.mark.parametrize("target", ["2099/01/01/000000", "/elsewhere", "junk", "../thing", "2013/05/09/104701"])
    def test_replaces_what_leads_nowhere(self, tree: Tree, target: str) -> None:
        os.symlink(target, tree.path(f"{KEY}/last"))
        assert point_last(tree, KEY, FIRST, NOW) is True
        assert self.last(tree) == FIRST

    @pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.write_text("x")])
    def test_real_folder_or_file_is_left_alone(self, tree: Tree, make: Callable[[Path], Any]) -> None:
        path = Path(tree.path(f"{KEY}/last"))
        make(path)
        with pytest.raises(AltbackupError, match="real folder or file where the link to the newest stamp belongs"):
            point_last(tree, KEY, FIRST, NOW)
        assert not path.is_symlink()
        assert path.exists()


def test_text_replaces_the_old_one_or_leaves_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "text"
    write_text(str(path), "first é\n")
    assert path.read_text(encoding="utf-8") == "first é\n"
    assert path.stat().st_mode & 0o7777 == 0o600

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        write_text(str(path), "second\n")
    assert path.read_text(encoding="utf-8") == "first é\n"
    assert list(tmp_path.iterdir()) == [path]


def test_text_is_not_written_through_a_planted_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    os.symlink(victim, module.temporary_beside(str(tmp_path / "text")))
    write_text(str(tmp_path / "text"), "x")
    assert victim.read_text() == "precious"
    assert not (tmp_path / "text").is_symlink()
    assert (tmp_path / "text").read_text() == "x"


@pytest.mark.parametrize("planted", ["pipe", "hard link"])
def test_what_is_planted_at_a_temporary_name_is_neither_waited_for_nor_written(tmp_path: Path, planted: str) -> None:
    victim, text = tmp_path / "victim", tmp_path / "text"
    victim.write_text("precious")
    if planted == "pipe":
        os.mkfifo(module.temporary_beside(str(text)))
    else:
        os.link(victim, module.temporary_beside(str(text)))
    write_text(str(text), "x")
    assert (victim.read_text(), text.read_text()) == ("precious", "x")


def test_record_is_read_as_it_was_written(tree: Tree) -> None:
    assert read_record(tree, KEY, FIRST) == {}
    write_record(tree, KEY, FIRST, {"dig": "x", "rows": {"é": 1}})
    assert read_record(tree, KEY, FIRST) == {"dig": "x", "rows": {"é": 1}}
    for text in ("", "[]", "{", "\0"):
        Path(record_path(tree, KEY, FIRST)).write_text(text)
        assert read_record(tree, KEY, FIRST) == {}


def test_records_of_names_with_dots_and_percent_stay_in_the_private_folder(tree: Tree) -> None:
    write_record(tree, "git/group%2Fproject..git", FIRST, {})
    assert record_path(tree, "git/group%2Fproject..git", FIRST).startswith(
        tree.private + "/records/git/group%2Fproject..git/"
    )


def test_empty_folders_are_pruned_up_to_the_first_that_is_not(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b" / "c"
    deep.mkdir(parents=True)
    (tmp_path / "a" / "file").touch()
    prune_empty(str(deep / "gone already"), str(tmp_path))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "file"]
    prune_empty("/elsewhere/entirely", str(tmp_path))


def test_tree_of_a_source_is_made_below_the_marker_only(tmp_path: Path) -> None:
    (tmp_path / ".altbackup").mkdir()
    tree = open_tree(str(tmp_path / "source"))
    make_tree(tree)
    assert os.stat(tree.base).st_mode & 0o7777 == 0o700
    with pytest.raises(BaseUnusable):
        open_tree(str(tmp_path / "no" / "source"))


@needs_root
def test_base_that_cannot_be_written_is_told() -> None:
    with nobodys_folder() as folder:
        (folder / "base" / ".altbackup").mkdir(parents=True)
        with as_nobody(), pytest.raises(BaseUnusable, match="cannot be written by uid 65534"):
            require_writable(str(folder / "base"))


def test_sidecar_is_written_last(tree: Tree, temporary: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    real = module.write_sidecar

    def look(path: str, dna: Dna) -> None:
        seen.append(files(tree))
        real(path, dna)

    monkeypatch.setattr(module, "write_sidecar", look)
    publish(tree, temporary, relpath(FIRST), dna_of(temporary))
    assert seen == [[relpath(FIRST)]]
    assert sidecar.read(tree.path(relpath(FIRST)) + ".dna").size == 7


def test_sidecar_of_an_earlier_attempt_does_not_vouch_for_new_bytes(
    tree: Tree, temporary: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = Path(tree.path(relpath(FIRST)) + ".dna")
    stale.parent.mkdir(parents=True)
    stale.write_text("stale")
    real, seen = os.replace, []

    def look(source: str, destination: str) -> None:
        seen.append(stale.exists())
        real(source, destination)

    monkeypatch.setattr(os, "replace", look)
    publish(tree, temporary, relpath(FIRST), dna_of(temporary))
    assert seen == [False, False]
    assert len(scan(tree).verified()) == 1


@needs_root
@pytest.mark.parametrize("what", ["base", "marker", "tree"])
def test_base_of_another_user_is_not_written(tmp_path: Path, what: str) -> None:
    base = tmp_path / "base"
    (base / ".altbackup").mkdir(parents=True)
    (base / "source").mkdir()
    path = {"base": base, "marker": base / ".altbackup", "tree": base / "source"}[what]
    os.chown(path, 54321, 54321)
    with pytest.raises(BaseUnusable, match=f"{path} belongs to uid 54321.*chown it, or run as that user"):
        require_writable(str(base / "source"))
    os.chown(path, 0, 0)
    require_writable(str(base / "source"))


def test_marker_that_is_a_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / ".altbackup").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BaseUnusable, match="is no folder but a link"):
        require_writable(str(tmp_path / "base"))
