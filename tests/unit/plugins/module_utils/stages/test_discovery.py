"""Discovery: each repository is an item, even if damaged; others are noted, and a lost repository or disk of them is a failure."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from helpers.original_trees import STAMP, bound_by_modes, put
from helpers.repositories import make_git, make_subversion

from ansible_collections.altbackup.core.plugins.module_utils.archive.write import ArchiveFormat
from ansible_collections.altbackup.core.plugins.module_utils.stages.discovery import discover_items
from ansible_collections.altbackup.core.plugins.module_utils.stages.dump import dump
from ansible_collections.altbackup.core.plugins.module_utils.stages.preflight import Demands, inspect
from ansible_collections.altbackup.core.plugins.module_utils.system import mounts
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.publish import remove_folder, write_record


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A marked base."""
    folder = tmp_path / "base"
    (folder / ".altbackup").mkdir(parents=True)
    return folder


def reasons(result: dict) -> list[str]:
    """Return the reasons of failures."""
    return [entry["reason"] for entry in result["failures"]]


def discover(base: Path, kind: str, shelf: Path) -> dict:
    """Return the findings of inspecting a source below a folder."""
    return inspect(Demands([str(base)], discover={kind: str(shelf)}))


def names(result: dict) -> list[str]:
    """Return the names of the items that were discovered."""
    return sorted(item["name"] for item in result["items"])


def noted(result: dict) -> list[str]:
    """Return the names noted as no items."""
    return sorted(note.partition(" ")[0].rpartition("/")[2] for note in result["notes"])


def make_trac(path: Path) -> None:
    """Make the files that identify a Trac environment."""
    for member in ("VERSION", "conf/trac.ini", "db/trac.db"):
        (path / member).parent.mkdir(parents=True, exist_ok=True)
        (path / member).write_text("x")


MAKERS = {"svn": make_subversion, "git": make_git, "trac": make_trac}


def test_discover_finds_nested_repositories_and_reports_the_rest(base: Path, tmp_path: Path) -> None:
    shelf = tmp_path / "git"
    for name in ("one.git", "group/two"):
        subprocess.run(["git", "init", "--quiet", "--bare", shelf / name], check=True)
    (shelf / "LOCKED").mkdir()
    (shelf / "file").write_text("x")
    (shelf / "dangling").symlink_to("nowhere")
    (shelf / "loop").symlink_to("loop")
    (shelf / "link").symlink_to("one.git")
    (shelf / "shelf").symlink_to(shelf)
    (shelf / "worktree").mkdir()
    (shelf / "worktree" / ".git").write_text("gitdir: ../one.git/worktrees/worktree")
    result = discover(base, "git", shelf)
    assert names(result) == ["group%2Ftwo", "link", "one.git"]
    assert noted(result) == ["LOCKED", "dangling", "file", "loop", "shelf", "worktree"]
    assert (result["failures"], result["discovered"]) == ([], True)


def test_discover_takes_nothing_that_a_restore_puts_beside_for_anything(base: Path, tmp_path: Path) -> None:
    shelf = tmp_path / "git"
    for name in ("one", "group/two", ".altbackup-tmp-restore-three/unpacked/three"):
        subprocess.run(["git", "init", "--quiet", "--bare", shelf / name], check=True)
    for marked in ("one", "group/two"):
        (shelf / f"{marked}.altbackup-restored").write_text("{}")
    (shelf / ".altbackup-tmp-restore-three").chmod(0o700)
    result = discover(base, "git", shelf)
    assert (names(result), result["notes"], result["failures"]) == (["group%2Ftwo", "one"], [], [])


@pytest.mark.parametrize(
    ("name", "item"), [("one.altbackup-restored",) * 2, (".altbackup-tmp-one", "%2Ealtbackup-tmp-one")]
)
def test_discover_passes_over_no_repository_for_its_name(base: Path, tmp_path: Path, name: str, item: str) -> None:
    subprocess.run(["git", "init", "--quiet", "--bare", tmp_path / "git" / name], check=True)
    result = discover(base, "git", tmp_path / "git")
    assert (names(result), result["notes"], result["failures"]) == ([item], [], [])


@pytest.mark.sampled(9)
@pytest.mark.parametrize(
    ("kind", "lost"),
    [
        ("svn", "db/current"),
        ("svn", "format"),
        ("svn", "db"),
        ("git", "HEAD"),
        ("git", "objects"),
        ("git", "refs"),
        ("trac", "VERSION"),
        ("trac", "conf"),
        ("trac", "db/trac.db"),
    ],
)
def test_a_damaged_repository_is_an_item_whose_dump_says_what_it_lacks(
    base: Path, tmp_path: Path, kind: str, lost: str
) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    for name in ("good", "damaged"):
        MAKERS[kind](shelf / name)
    remove_folder(str(shelf / "damaged" / lost))
    (shelf / "damaged" / lost).unlink(missing_ok=True)
    result = discover(base, kind, shelf)
    assert (names(result), result["failures"], result["notes"]) == (["damaged", "good"], [], [])
    (item,) = [item for item in result["items"] if item["name"] == "damaged"]
    dumped = dump(str(base), [item], STAMP, ArchiveFormat(".tar"), {"deadline": Deadline(60)})
    assert [(entry["name"], str(shelf / "damaged") in entry["reason"]) for entry in dumped["failures"]] == [
        ("damaged", True)
    ]


def test_a_repository_of_a_form_that_cannot_be_dumped_is_an_item(base: Path, tmp_path: Path) -> None:
    repository = make_git(tmp_path / "shelf" / "tables")
    for name, value in (("core.repositoryFormatVersion", "1"), ("extensions.refStorage", "reftable")):
        subprocess.run(["git", "config", "--file", repository / "config", name, value], check=True)
    result = discover(base, "git", tmp_path / "shelf")
    assert (names(result), result["failures"]) == (["tables"], [])
    (entry,) = dump(str(base), result["items"], STAMP, ArchiveFormat(".tar"), {"deadline": Deadline(60)})["failures"]
    assert str(repository) in entry["reason"]


@pytest.mark.parametrize("kind", ["svn", "git"])
def test_repositories_are_items_though_the_tool_to_dump_them_is_missing(
    base: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    MAKERS[kind](shelf / "one")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("ansible_collections.altbackup.core.plugins.module_utils.system.programs._SYSTEM_FOLDERS", ())
    result = discover(base, kind, shelf)
    assert (names(result), result["notes"]) == (["one"], [])
    (entry,) = dump(str(base), result["items"], STAMP, ArchiveFormat(".tar"), {"deadline": Deadline(60)})["failures"]
    assert "is not installed on this node: install the package" in entry["reason"]


@pytest.mark.parametrize("there", [[], ["lost+found"], ["notes", "group/deeper"]])
def test_a_folder_without_any_repository_may_be_an_unmounted_disk(base: Path, tmp_path: Path, there: list[str]) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    for name in there:
        (shelf / name).mkdir(parents=True)
    result = discover(base, "svn", shelf)
    (text,) = reasons(result)
    assert f"there is no svn below {shelf}: is its disk mounted?" in text
    assert "remove it from altbackup_discover" in text
    assert (result["discovered"], result["usable"]) == (False, True)


@pytest.mark.parametrize(
    ("folder", "key"), [("two", "svn/two"), ("group", "svn/group%2Ftwo"), ("group/two", "svn/group%2Ftwo")]
)
def test_what_was_backed_up_and_is_no_repository_any_more_is_a_failure(
    base: Path, tmp_path: Path, folder: str, key: str
) -> None:
    shelf = tmp_path / "shelf"
    (shelf / "group").mkdir(parents=True)
    (shelf / "notes").mkdir()
    (shelf / folder).mkdir(exist_ok=True)
    make_subversion(shelf / "one")
    for stamp in ("2013/05/09/104701", "2013/05/10/104701"):
        put(base, f"{key}/{stamp}/{key[4:]}-1.tar")
    put(base, "svn/one/2013/05/10/104701/one-5.tar")
    put(base, "svn/given-up/2013/05/10/104701/given-up-5.tar")
    result = discover(base, "svn", shelf)
    (entry,) = result["failures"]
    assert f"{entry['category']}/{entry['name']}" == key
    assert f"is no svn any more: it was backed up as {key} until 2013/05/10/104701" in entry["reason"]
    assert f"name {key} in altbackup_retired" in entry["reason"]
    assert (names(result), result["discovered"]) == (["one"], False)
    assert "notes" in noted(result)


def test_what_was_backed_up_under_that_name_from_elsewhere_is_a_note(base: Path, tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    make_git(shelf / "one")
    (shelf / "two").mkdir()
    put(base, f"git/two/{STAMP}/two.tar")
    write_record(open_tree(str(base)), "git/two", STAMP, {"path": "/srv/two"})
    result = discover(base, "git", shelf)
    assert (result["failures"], noted(result)) == ([], ["two"])


def test_discover_goes_on_where_a_folder_cannot_be_read(base: Path, tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    for name in ("one", "group/two", "group/dark", "dark", "unlisted"):
        make_git(shelf / name)
    for name in ("lost+found", "unseen"):
        (shelf / name).mkdir()
    for name, mode in (("dark", 0), ("group/dark", 0), ("lost+found", 0), ("unseen", 0o400), ("unlisted", 0o300)):
        (shelf / name).chmod(mode)
    with bound_by_modes():
        result = discover(base, "git", shelf)
    assert names(result) == ["group%2Ftwo", "one", "unlisted"]
    assert noted(result) == ["lost+found"]
    assert reasons(result) == [
        f"altbackup_discover: git: {shelf / name} cannot be read by uid 0: Permission denied"
        for name in ("dark", "group/dark", "unseen")
    ]
    assert (result["discovered"], result["usable"]) == (False, True)


def test_discover_goes_on_where_a_name_cannot_be_that_of_an_item(base: Path, tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    for name in (b"one", b"n" * 201, b"latin-\xe9"):
        make_git(shelf / os.fsdecode(name))
    result = discover(base, "git", shelf)
    assert names(result) == ["one"]
    latin, long = reasons(result)
    assert "latin-\\xe9 is not backed up: its name is not UTF-8 text: rename it" in latin
    assert "is longer than 200 bytes" in long


def test_discover_asks_for_an_answer_once_for_each_depth_however_many_folders_there_are(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def silent(paths: Sequence[str], seconds: float) -> set[str]:
        asked.append(len(paths))
        return set()

    for number in range(20):
        for part in ("objects", "refs"):
            (tmp_path / "shelf" / f"group{number}" / "sub" / "one.git" / part).mkdir(parents=True)
        (tmp_path / "shelf" / f"group{number}" / "sub" / "one.git" / "HEAD").write_text("ref: refs/heads/main\n")
    monkeypatch.setattr(mounts, "find_hung", silent)
    found = discover_items("git", str(tmp_path / "shelf"), str(base), Deadline())
    assert len(found.items) == 20
    assert len([number for number in asked if number > 1]) == 3


def test_discover_in_a_missing_folder_is_refused(base: Path, tmp_path: Path) -> None:
    result = discover(base, "svn", tmp_path / "none")
    assert "is its disk mounted?" in reasons(result)[0]
    assert result["discovered"] is False


def test_a_kind_that_cannot_be_discovered_is_refused(base: Path, tmp_path: Path) -> None:
    assert "kind 'folder' cannot be discovered" in reasons(discover(base, "folder", tmp_path))[0]
