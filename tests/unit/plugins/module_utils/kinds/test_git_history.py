"""Findings of a dump on a Git repository's history since the last good one: rewritten, re-created, collected, in daily use."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.repositories import Nights, git, import_commits, make_git, run

from ansible_collections.altbackup.core.plugins.module_utils.kinds.git_history import (
    History,
    Moves,
    digest_of,
    history_of,
    judge_moves,
    may_move,
    moves_between,
)
from ansible_collections.altbackup.core.plugins.module_utils.kinds.git_tool import References

ONE, TWO, THREE = "1" * 40, "2" * 40, "3" * 40
WHEN = "2013/05/01/020000"


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    """Return a base where items are dumped night by night."""
    return Nights(tmp_path)


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """Return a bare repository with branches, tags and notes."""
    return make_git(tmp_path / "live.git")


def item(live: Path, **more: Any) -> dict[str, Any]:
    """Return the item of a repository."""
    return {"kind": "git", "name": "toy", "path": str(live), **more}


def found(nights: Nights, item: dict[str, Any], night: int) -> dict[str, Any]:
    """Dump an item, which may be suspect, and return its record."""
    result = nights.dump(item, night=night)
    assert result["tarballs"], result["failures"]
    return {"doubts": [], **result["tarballs"][0]["record"]}


def commit(folder: Path, text: str = "more", *parents: str) -> str:
    """Make a commit that nothing refers to, and return its id."""
    blob = git(folder, "hash-object", "-w", "--stdin", input=text.encode())
    tree = git(folder, "mktree", input=f"100644 blob {blob}\tf\n".encode())
    return git(folder, "commit-tree", "-m", text, *(word for parent in parents for word in ("-p", parent)), tree)


def branches(folder: Path, number: int) -> list[str]:
    """Make branches, each with a commit of its own on top of main, and return their names."""
    tip = git(folder, "rev-parse", "main")
    names = [f"refs/heads/topic{count:02d}" for count in range(number)]
    for name in names:
        git(folder, "update-ref", name, commit(folder, name, tip))
    return names


def recreate(folder: Path) -> None:
    """Replace a repository by an empty one."""
    shutil.rmtree(folder)
    make_git(folder, 0)


def force(folder: Path) -> None:
    """Rewrite the last commit of main, as a forced push does."""
    git(folder, "update-ref", "refs/heads/main", commit(folder, "amended", git(folder, "rev-parse", "main~1")))


def rewrite_all(folder: Path) -> None:
    """Start main again from nothing."""
    git(folder, "update-ref", "refs/heads/main", commit(folder, "another root"))


def delete_all(folder: Path) -> None:
    """Remove every reference."""
    for name in git(folder, "for-each-ref", "--format=%(refname)").split():
        git(folder, "update-ref", "-d", name)


ALARMS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "rewritten main": (force, "the branch refs/heads/main was rewritten"),
    "main set back": (
        lambda folder: git(folder, "update-ref", "refs/heads/main", git(folder, "rev-parse", "main~1")),
        "the branch refs/heads/main was rewritten",
    ),
    "new history": (rewrite_all, "the branch refs/heads/main was rewritten"),
    "main deleted": (
        lambda folder: git(folder, "update-ref", "-d", "refs/heads/main"),
        "the branch refs/heads/main is gone",
    ),
    "empty": (delete_all, "the branch refs/heads/main is gone"),
    "made anew, empty": (recreate, "the branch refs/heads/main is gone"),
    "tag moved": (
        lambda folder: git(folder, "tag", "--force", "light", "main"),
        "1 tag of the dump of 2013/05/01/020000 was rewritten: refs/tags/light (was ",
    ),
    "tag deleted": (
        lambda folder: git(folder, "tag", "--delete", "v1"),
        "1 tag of the dump of 2013/05/01/020000 is gone: refs/tags/v1 (was ",
    ),
    "HEAD elsewhere": (
        lambda folder: git(folder, "symbolic-ref", "HEAD", "refs/heads/side"),
        "HEAD says 'ref: refs/heads/side', and said 'ref: refs/heads/main'",
    ),
    "HEAD to nothing": (
        lambda folder: git(folder, "symbolic-ref", "HEAD", "refs/heads/none"),
        "HEAD says 'ref: refs/heads/none'",
    ),
}


@pytest.mark.sampled(12)
@pytest.mark.parametrize("alarm", ALARMS)
def test_lost_history_is_doubtful_each_night_until_it_is_what_it_was(
    nights: Nights, live: Path, tmp_path: Path, alarm: str
) -> None:
    change, words = ALARMS[alarm]
    assert not found(nights, item(live), 1)["doubts"]
    shutil.copytree(live, tmp_path / "kept", symlinks=True)
    change(live)
    assert any(words in doubt for doubt in found(nights, item(live), 2)["doubts"])
    git(live, "update-ref", "refs/heads/unrelated", commit(live, "later"))
    assert any(words in doubt for doubt in found(nights, item(live), 3)["doubts"])
    shutil.rmtree(live)
    shutil.move(tmp_path / "kept", live)
    assert not found(nights, item(live), 4)["doubts"]


def add_commit(folder: Path) -> None:
    """Push to main."""
    git(folder, "update-ref", "refs/heads/main", commit(folder, "next", git(folder, "rev-parse", "main")))


def merge_unrelated(folder: Path) -> None:
    """Merge an unrelated history into main."""
    merged = commit(folder, "merge", git(folder, "rev-parse", "main"), commit(folder, "of another project"))
    git(folder, "update-ref", "refs/heads/main", merged)


def collect(folder: Path) -> None:
    """Let git pack and prune as much as it can."""
    git(folder, "reflog", "expire", "--expire=now", "--all")
    git(folder, "gc", "--quiet", "--prune=now", "--aggressive")
    git(folder, "pack-refs", "--all")


DAILY: dict[str, Callable[[Path], Any]] = {
    "nothing": lambda folder: None,
    "a push": add_commit,
    "collected": collect,
    "unpacked": lambda folder: [
        git(folder, "unpack-objects", "-q", input=pack.rename(folder / pack.name).read_bytes())
        for pack in (folder / "objects" / "pack").glob("*.pack")
    ],
    "a new branch": lambda folder: git(folder, "branch", "another", "main"),
    "a branch of its own root": lambda folder: git(folder, "update-ref", "refs/heads/pages", commit(folder, "pages")),
    "a new tag": lambda folder: git(folder, "tag", "v2", "main"),
    "an unrelated history merged": merge_unrelated,
    "side follows main": lambda folder: git(folder, "branch", "--force", "side", "main"),
}


@pytest.mark.sampled(9)
@pytest.mark.parametrize("step", DAILY)
def test_daily_life_is_neither_doubtful_nor_noted(nights: Nights, live: Path, step: str) -> None:
    before = found(nights, item(live), 1)
    DAILY[step](live)
    now = found(nights, item(live), 2)
    assert now["doubts"] == []
    assert now["identity"] == before["identity"]
    assert not any("dump of" in note for note in nights.notes)
    assert now["measures"]["objects"] >= before["measures"]["objects"]


def test_first_dump_records_roots_and_amounts_of_content(nights: Nights, live: Path) -> None:
    record = found(nights, item(live), 1)
    root = git(live, "rev-list", "--max-parents=0", "main")
    assert record["identity"] == {"roots": digest_of([root])}
    count = git(live, "rev-list", "--objects", "--count", "--all")
    assert record["measures"] == {"objects": int(count)}
    assert record["doubts"] == []


def test_same_repository_elsewhere_has_the_same_identity(nights: Nights, live: Path, tmp_path: Path) -> None:
    before = found(nights, item(live), 1)
    add_commit(live)
    git(live, "clone", "--quiet", "--mirror", str(live), str(tmp_path / "clone"))
    assert found(Nights(tmp_path / "other"), item(tmp_path / "clone"), 1)["identity"] == before["identity"]


def test_new_history_has_another_identity_until_it_is_accepted(nights: Nights, live: Path) -> None:
    before = found(nights, item(live), 1)["identity"]
    rewrite_all(live)
    assert found(nights, item(live), 2)["identity"] != before


def test_merged_history_keeps_its_identity_when_the_first_one_is_split_off(nights: Nights, live: Path) -> None:
    before = found(nights, item(live), 1)["identity"]
    merge_unrelated(live)
    found(nights, item(live), 2)
    add_commit(live)
    git(live, "branch", "apart", "main")
    assert found(nights, item(live), 3)["identity"] == before


def test_repository_without_commits_has_no_identity(nights: Nights, tmp_path: Path) -> None:
    empty = make_git(tmp_path / "empty.git", 0)
    record = found(nights, item(empty), 1)
    assert record["identity"] == {}
    assert record["measures"] == {"objects": 0}
    import_commits(empty, 2)
    assert found(nights, item(empty), 2)["doubts"] == []


def test_rebased_and_deleted_branch_is_a_note(nights: Nights, live: Path) -> None:
    first, second, *_ = branches(live, 6)
    found(nights, item(live), 1)
    git(live, "update-ref", first, commit(live, "rebased", git(live, "rev-parse", "main~1")))
    git(live, "update-ref", "-d", second)
    assert found(nights, item(live), 2)["doubts"] == []
    assert any("was rewritten: refs/heads/topic00 (was " in note for note in nights.notes)
    assert any("is gone: refs/heads/topic01 (was " in note for note in nights.notes)
    assert found(nights, item(live), 3)["doubts"] == []
    assert not any("topic" in note for note in nights.notes)


def test_only_other_branch_deleted_is_a_note(nights: Nights, tmp_path: Path) -> None:
    live = make_git(tmp_path / "small.git", 0)
    git(live, "update-ref", "refs/heads/main", commit(live, "first"))
    git(live, "update-ref", "refs/heads/topic", commit(live, "second"))
    found(nights, item(live), 1)
    git(live, "update-ref", "-d", "refs/heads/topic")
    assert found(nights, item(live), 2)["doubts"] == []
    assert any("refs/heads/topic" in note for note in nights.notes)


@pytest.mark.sampled(8)
@pytest.mark.parametrize("how", ["rewritten", "set back", "deleted", "moved aside"])
@pytest.mark.parametrize("lost", [4, 5])
def test_more_than_a_third_of_the_references_lost_is_doubtful(nights: Nights, live: Path, how: str, lost: int) -> None:
    names = branches(live, 9)  # with those that it has, 14 that can be lost: 4 are allowed
    found(nights, item(live), 1)
    for name in names[:lost]:
        if how == "deleted":
            git(live, "update-ref", "-d", name)
        elif how == "moved aside":
            git(live, "update-ref", f"{name}-again", git(live, "rev-parse", name))
            git(live, "update-ref", name, git(live, "rev-parse", "side"))
        else:
            tip = git(live, "rev-parse", "main~1" if how == "set back" else "main")
            git(live, "update-ref", name, commit(live, f"other {name}", tip) if how == "rewritten" else tip)
    doubts = found(nights, item(live), 2)["doubts"]
    assert bool(doubts) is (lost == 5)
    assert not doubts or doubts[0].startswith(
        "5 of 14 references of the dump of 2013/05/01/020000 were rewritten or are gone (36%, allowed 30%): refs/heads/topic00 (was "
    )


def lasting_objects(live: Path) -> int:
    """Return the number of objects reachable from references that the next test does not move."""
    return int(git(live, "rev-list", "--objects", "--count", "side", "v1", "refs/notes/commits"))


def test_references_that_may_move_are_neither_doubted_nor_counted(nights: Nights, live: Path) -> None:
    moving = item(live, may_move=["refs/heads/topic*", "refs/tags/light", "HEAD", "refs/heads/main"])
    names = branches(live, 9)
    before = found(nights, moving, 1)
    assert before["measures"] == {"objects": lasting_objects(live)}
    assert before["counted"] == {"objects": "HEAD, refs/heads/main, refs/heads/topic*, refs/tags/light"}
    for name in names:
        git(live, "update-ref", "-d", name)
    git(live, "tag", "--force", "light", "main")
    force(live)
    git(live, "symbolic-ref", "HEAD", "refs/heads/side")
    now = found(nights, moving, 2)
    assert now["doubts"] == []
    assert now["measures"] == before["measures"]
    assert not any("dump of" in note for note in nights.notes)
    git(live, "tag", "--delete", "v1")
    assert "refs/tags/v1" in found(nights, moving, 3)["doubts"][0]


def suspicions(nights: Nights, item: dict[str, Any], night: int) -> list[str]:
    """Dump an item and return why it is suspect."""
    reasons: list[str] = nights.dump(item, night=night)["tarballs"][0]["record"].get("suspect", [])
    return reasons


def grow(folder: Path, name: str, number: int) -> None:
    """Make a branch whose commits are unrelated to others."""
    tip: list[str] = []
    for count in range(number):
        tip = [commit(folder, f"{name} {count}", *tip)]
    git(folder, "update-ref", name, *tip)


@pytest.mark.full
def test_objects_of_a_reference_that_may_move_are_not_missed(nights: Nights, live: Path) -> None:
    grow(live, "refs/pipelines/1", 120)
    moving = item(live, may_move=["refs/pipelines/*"])
    assert suspicions(nights, moving, 1) == []
    git(live, "update-ref", "-d", "refs/pipelines/1")
    assert suspicions(nights, moving, 2) == []


@pytest.mark.full
def test_changed_setting_is_no_loss_of_objects_or_references(nights: Nights, live: Path) -> None:
    grow(live, "refs/heads/wip/large", 120)
    tip = git(live, "rev-parse", "main")
    lines = "".join(f"create refs/heads/small{number} {tip}\n" for number in range(120))
    git(live, "update-ref", "--stdin", input=lines.encode())
    for night, more in enumerate([{}, {"may_move": ["refs/heads/*"]}, {"may_move": ["refs/heads/wip/*"]}, {}], 1):
        git(live, "update-ref", "refs/notes/other", commit(live, f"night {night}"))  # else nothing is compared
        assert suspicions(nights, item(live, **more), night) == []
    git(live, "update-ref", "-d", "refs/heads/wip/large")
    assert suspicions(nights, item(live), 5)[0].startswith("objects fell from ")


def test_repository_all_of_whose_references_may_move_has_no_objects_to_lose(nights: Nights, live: Path) -> None:
    moving = item(live, may_move=["*"])
    assert found(nights, moving, 1)["measures"] == {"objects": 0}
    delete_all(live)
    assert suspicions(nights, moving, 2) == []


def test_detached_head_of_a_bare_repository_goes_forward_only(nights: Nights, live: Path) -> None:
    git(live, "update-ref", "--no-deref", "HEAD", git(live, "rev-parse", "main~1"))
    (live / "HEAD").write_text(git(live, "rev-parse", "main~1") + "\n")
    found(nights, item(live), 1)
    (live / "HEAD").write_text(git(live, "rev-parse", "main") + "\n")
    assert found(nights, item(live), 2)["doubts"] == []
    (live / "HEAD").write_text(git(live, "rev-parse", "main~2") + "\n")
    assert "HEAD was rewritten" in found(nights, item(live), 3)["doubts"][0]


def working(path: Path) -> Path:
    """Make and return a repository with a working tree."""
    make_git(path, bare=False)
    run("git", "-C", path, "checkout", "--quiet", "--force", "main")
    return path


def test_work_in_a_working_tree_is_not_doubtful(nights: Nights, tmp_path: Path) -> None:
    tree = working(tmp_path / "tree")
    found(nights, item(tree), 1)
    run("git", "-C", tree, "checkout", "--quiet", "-b", "topic")
    run("git", "-C", tree, "commit", "--quiet", "--allow-empty", "-m", "work")
    assert found(nights, item(tree), 2)["doubts"] == []
    run("git", "-C", tree, "commit", "--quiet", "--allow-empty", "--amend", "-m", "better")
    assert found(nights, item(tree), 3)["doubts"] == []
    run("git", "-C", tree, "checkout", "--quiet", "--detach", "main~1")
    assert found(nights, item(tree), 4)["doubts"] == []
    run("git", "-C", tree, "branch", "--force", "main", "main~1")
    assert "the branch refs/heads/main was rewritten" in found(nights, item(tree), 5)["doubts"][0]


def test_reflogs_do_not_count(nights: Nights, tmp_path: Path) -> None:
    tree = working(tmp_path / "tree")
    before = found(nights, item(tree), 1)
    for number in range(30):
        run("git", "-C", tree, "commit", "--quiet", "--allow-empty", "--amend", "-m", f"try {number}")
    run("git", "-C", tree, "reset", "--quiet", "--hard", "v1^{commit}")
    (tree / "large").write_text("".join(f"{number}\n" for number in range(1000)))
    run("git", "-C", tree, "add", "large")
    run("git", "-C", tree, "commit", "--quiet", "-m", "large")
    run("git", "-C", tree, "reset", "--quiet", "--hard", "v1^{commit}")
    now = found(nights, item(tree), 2)
    assert now["measures"] == before["measures"]
    assert now["doubts"] == []
    collect(tree / ".git")
    assert found(nights, item(tree), 3)["measures"] == before["measures"]


def test_shallow_clone_is_not_doubted_for_what_it_lacks(nights: Nights, live: Path, tmp_path: Path) -> None:
    clone = tmp_path / "shallow.git"
    run("git", "clone", "--quiet", "--bare", "--depth=1", f"file://{live}", clone)
    assert found(nights, item(clone), 1)["identity"] == {}
    for _ in range(3):
        add_commit(live)
    run("git", f"--git-dir={clone}", "fetch", "--quiet", "--depth=1", "--update-head-ok", "origin", "+main:main")
    now = found(nights, item(clone), 2)
    assert (now["doubts"], now["identity"]) == ([], {})
    assert any("shallow" in note for note in nights.notes)
    run("git", f"--git-dir={clone}", "fetch", "--quiet", "--unshallow", "--update-head-ok", "origin", "+main:main")
    assert found(nights, item(clone), 3)["doubts"] == []


def test_partial_clone_is_compared_without_its_origin(nights: Nights, live: Path, tmp_path: Path) -> None:
    git(live, "config", "uploadpack.allowFilter", "true")
    clone = tmp_path / "partial.git"
    run("git", "clone", "--quiet", "--bare", "--filter=blob:none", f"file://{live}", clone)
    found(nights, item(clone), 1)
    shutil.move(live, tmp_path / "away")
    force(clone)
    record = found(nights, item(clone), 2)
    assert "the branch refs/heads/main was rewritten" in record["doubts"][0]


@pytest.mark.full
def test_submodule_is_compared_by_itself(nights: Nights, tmp_path: Path, live: Path) -> None:
    tree = working(tmp_path / "tree")
    allowed = ("-c", "protocol.file.allow=always")
    run("git", "-C", tree, *allowed, "submodule", "--quiet", "add", f"file://{live}", "sub")
    run("git", "-C", tree, "commit", "--quiet", "-m", "sub")
    before = found(nights, item(tree), 1)
    assert before["measures"]["objects"] > found(Nights(tmp_path / "other"), item(live), 1)["measures"]["objects"]
    module = tree / ".git" / "modules" / "sub"
    git(module, "tag", "--delete", "v1")
    assert found(nights, item(tree), 2)["doubts"][0].startswith("modules/sub: 1 tag of the dump of")
    git(module, "fetch", "--quiet", "--tags", "origin")
    assert found(nights, item(tree), 3)["doubts"] == []
    run("git", "-C", tree, "submodule", "--quiet", "deinit", "--force", "sub")
    shutil.rmtree(module)
    assert found(nights, item(tree), 4)["doubts"] == []
    assert any("1 repository of a submodule" in note and "modules/sub" in note for note in nights.notes)


def test_what_was_noted_and_is_damaged_is_a_doubt_that_names_the_file(nights: Nights, live: Path) -> None:
    record = found(nights, item(live), 1)
    path = nights.private / "noted" / "git" / "toy" / record["noted"]["references"]
    path.write_bytes(path.read_bytes()[:-1] + b" ")
    add_commit(live)
    (doubt,) = found(nights, item(live), 2)["doubts"]
    assert str(path) in doubt
    path.unlink()
    assert found(nights, item(live), 3)["doubts"] == []
    assert any("are not kept here any more" in note for note in nights.notes)


def test_unchanged_night_writes_nothing_more(nights: Nights, live: Path) -> None:
    found(nights, item(live), 1)
    before = sorted(
        (path.name, path.stat().st_mtime_ns) for path in (nights.private / "noted" / "git" / "toy").iterdir()
    )
    found(nights, item(live), 2)
    assert before == sorted(
        (path.name, path.stat().st_mtime_ns) for path in (nights.private / "noted" / "git" / "toy").iterdir()
    )


def test_other_names_and_objects_are_compared(nights: Nights, tmp_path: Path) -> None:
    live = make_git(tmp_path / "wide.git", object_format="sha256")
    blob = git(live, "hash-object", "-w", "--stdin", input=b"data")
    for number in range(6):
        git(live, "update-ref", f"refs/data/\u00e4{number}", blob)
    found(nights, item(live), 1)
    other = git(live, "hash-object", "-w", "--stdin", input=b"other")
    for number in range(6):
        git(live, "update-ref", f"refs/data/\u00e4{number}", other)
    assert found(nights, item(live), 2)["doubts"][0].startswith("6 of 11 references")


HEADS = {
    "bare": (b"ref: refs/heads/main", True, "", "refs/heads/main"),
    "bare, unborn": (b"ref: refs/heads/none", True, "", ""),
    "bare, detached": (TWO.encode(), True, "", "HEAD"),
    "working, first": (b"ref: refs/heads/topic", False, "", "refs/heads/main"),
    "working, known": (b"ref: refs/heads/topic", False, "refs/heads/topic", "refs/heads/topic"),
    "working, known one gone": (b"ref: refs/heads/topic", False, "refs/heads/old", "refs/heads/main"),
    "working, detached": (TWO.encode(), False, "", "refs/heads/main"),
}


@pytest.mark.parametrize("case", HEADS)
def test_main_branch_is_found(case: str) -> None:
    head, bare, known, main = HEADS[case]
    lines = (
        (ONE.encode(), b"refs/heads/main", b""),
        (TWO.encode(), b"refs/heads/topic", b""),
        (ONE.encode(), b"refs/remotes/origin/HEAD", b"refs/remotes/origin/main"),
    )
    history = history_of(References(head, lines), bare=bare, main=known)
    assert history.main == main
    assert ("HEAD" in history.references) is (case == "bare, detached")
    assert "refs/remotes/origin/HEAD" not in history.references


def test_moves_tell_what_changed_and_vanished() -> None:
    then = History(references={"refs/heads/a": ONE, "refs/heads/b": ONE, "refs/heads/c": ONE, "refs/wip/d": ONE})
    now = History(references={"refs/heads/a": ONE, "refs/heads/b": TWO, "refs/heads/e": TWO})
    moves = moves_between(then, now, ["refs/wip/*"])
    assert moves == Moves({"refs/heads/b": (ONE, TWO)}, {"refs/heads/c": ONE}, 3)


@pytest.mark.parametrize(
    ("name", "pattern", "matches"),
    [
        ("refs/heads/wip/a/b", "refs/heads/wip/*", True),
        ("refs/heads/wip", "refs/heads/wip/*", False),
        ("refs/heads/WIP/a", "refs/heads/wip/*", False),
        ("refs/heads/main", "refs/heads/main", True),
        ("HEAD", "HEAD", True),
    ],
)
def test_patterns_match_whole_names(name: str, pattern: str, matches: bool) -> None:
    assert may_move(name, [pattern]) is matches


def test_texts_of_many_references_are_bounded() -> None:
    then = History("ref: refs/heads/main", "", {f"refs/tags/{number:03d}\n": ONE for number in range(200)})
    now = History("ref: refs/heads/main", "", {})
    doubts, notes = judge_moves(then, now, moves_between(then, now, ()), (), WHEN, bare=True, patterns=())
    assert len(doubts) == 2
    assert notes == []
    assert all(len(doubt) < 600 and "\n" not in doubt for doubt in doubts)
