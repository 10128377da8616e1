"""Kind `git`, on real repositories that are pushed to, collected, changed, damaged and booby-trapped."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import tree_hash
from helpers.repositories import Nights, busy, git, import_commits, make_git, references, run
from helpers.trees import forbid_views

from ansible_collections.altbackup.core.plugins.module_utils.archive.write import ArchiveFormat
from ansible_collections.altbackup.core.plugins.module_utils.kinds.git_tool import Git, read_references
from ansible_collections.altbackup.core.plugins.module_utils.system import programs
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.system.readers import UNCHANGED

NULL = "0" * 40


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    """Return a base where items are dumped night by night."""
    return Nights(tmp_path)


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """Return a bare repository with branches, tags and notes."""
    return make_git(tmp_path / "live.git")


def item(live: Path, name: str = "toy") -> dict[str, Any]:
    """Return the item of a repository."""
    return {"kind": "git", "name": name, "path": str(live)}


def assert_sound(copy: Path) -> None:
    """Assert that git finds no fault with an unpacked repository, reflogs included."""
    said = subprocess.run(
        ["git", f"--git-dir={copy}", "fsck", "--full", "--strict", "--no-progress", "--no-dangling"],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": "/dev/null", "HOME": "/nonexistent", "LC_ALL": "C"},
    )
    assert said.returncode == 0, said.stderr
    assert "error" not in said.stderr and "missing" not in said.stdout


def assert_holds(nights: Nights, tarball: Path, live: Path) -> Path:
    """Assert that a tarball is a sound repository with all references of the live one; return its git directory, unpacked."""
    copy = nights.unpack(tarball)
    if live.name == ".git":
        assert os.listdir(copy) == [".git"]
        copy /= ".git"
    assert_sound(copy)
    assert references(copy) == references(live)
    assert not (copy / "objects" / "info" / "alternates").exists()
    return copy


def commit(folder: Path, text: str = "more", *parents: str) -> str:
    """Make a commit that nothing refers to, and return its id."""
    blob = git(folder, "hash-object", "-w", "--stdin", input=text.encode())
    tree = git(folder, "mktree", input=f"100644 blob {blob}\tf\n".encode())
    return git(folder, "commit-tree", "-m", text, *(word for parent in parents for word in ("-p", parent)), tree)


def loose(folder: Path, name: str) -> Path:
    """Return the file of a loose object."""
    return folder / "objects" / name[:2] / name[2:]


def executable(path: Path, text: str, mode: int = 0o755) -> Path:
    """Write a script and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def detach(live: Path) -> None:
    git(live, "update-ref", "--no-deref", "HEAD", git(live, "rev-parse", "side"))


def hide(live: Path) -> None:
    git(live, "config", "transfer.hideRefs", "refs/hidden")
    git(live, "update-ref", "refs/hidden/one", commit(live, "hidden"))


def replace(live: Path) -> None:
    git(live, "replace", git(live, "rev-parse", "main"), commit(live, "replacement"))


def remote_head(live: Path) -> None:
    git(live, "update-ref", "refs/remotes/origin/main", commit(live, "remote"))
    git(live, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")
    git(live, "symbolic-ref", "refs/heads/alias", "refs/heads/main")


def odd_objects(live: Path) -> None:
    blob = git(live, "hash-object", "-w", "--stdin", input=b"a blob")
    git(live, "update-ref", "refs/tags/blob", blob)
    git(live, "update-ref", "refs/tags/tree", git(live, "rev-parse", "main^{tree}"))
    git(live, "tag", "-a", "-m", "tag of a tag", "nested", "v1")


def pack_references(live: Path) -> None:
    git(live, "pack-refs", "--all", "--prune")
    git(live, "update-ref", "refs/heads/side", commit(live, "newer than packed"))


def unborn_head(live: Path) -> None:
    git(live, "symbolic-ref", "HEAD", "refs/heads/unborn")


def dangling_symbolic(live: Path) -> None:
    git(live, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/gone")


def linked_head(live: Path) -> None:
    (live / "HEAD").unlink()
    (live / "HEAD").symlink_to("refs/heads/main")


SHAPES = [detach, hide, replace, remote_head, odd_objects, pack_references, unborn_head]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
@pytest.mark.parametrize("bare", [True, False])
@pytest.mark.parametrize("commits", [0, 4])
def test_tarball_unpacks_with_plain_tar_to_an_equal_repository(
    tmp_path: Path, nights: Nights, bare: bool, commits: int, object_format: str
) -> None:
    folder = make_git(tmp_path / "live", commits, bare=bare, object_format=object_format)
    tarball = nights.tarball(item(tmp_path / "live"), form=ArchiveFormat(".tar.zst"))
    copy = assert_holds(nights, tarball, folder)
    assert (copy if bare else copy.parent).name == "toy" and tarball.name == "toy.tar.zst"
    assert git(copy, "rev-parse", "--show-object-format") == object_format
    assert any("working tree" in note for note in nights.notes) is not bare
    if commits:
        assert git(copy, "log", "--format=%s %N", "main").split() == [
            "commit",
            "4",
            "commit",
            "3",
            "commit",
            "2",
            "commit",
            "1",
            "noted",
        ]


@pytest.mark.sampled(9)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_all_references_are_in_the_copy(nights: Nights, live: Path, shape: Callable[[Path], None]) -> None:
    shape(live)
    first = nights.tarball(item(live))
    assert_holds(nights, first, live)
    assert nights.tarball(item(live), night=2).stat().st_ino == first.stat().st_ino


def test_record_knows_the_references(nights: Nights, live: Path) -> None:
    record = nights.dump(item(live))["tarballs"][0]["record"]
    assert record["count"] == 5
    git(live, "update-ref", "refs/heads/new", commit(live))
    again = nights.dump(item(live), night=2)["tarballs"][0]["record"]
    assert again["count"] == 6 and again["references"] != record["references"]


def test_symbolic_reference_to_nothing_is_reported(nights: Nights, live: Path) -> None:
    dangling_symbolic(live)
    assert_holds(nights, nights.tarball(item(live)), live)
    assert any("left out refs/remotes/origin/HEAD" in note for note in nights.notes)


def test_head_of_old_that_is_a_link(nights: Nights, live: Path) -> None:
    linked_head(live)
    copy = nights.unpack(nights.tarball(item(live)))
    assert git(copy, "symbolic-ref", "HEAD") == "refs/heads/main"


def test_broken_reference_is_a_failure_that_names_it(nights: Nights, live: Path) -> None:
    (live / "refs" / "heads" / "side").write_text("")
    reason = nights.failure(item(live))
    assert "refs/heads/side" in reason and str(live) in reason
    assert not (nights.base / "git").exists()


def test_alternates_are_resolved(tmp_path: Path, nights: Nights, live: Path) -> None:
    borrower = tmp_path / "borrower.git"
    run("git", "clone", "--quiet", "--bare", "--shared", live, borrower)
    git(borrower, "update-ref", "refs/heads/own", commit(borrower, "own"))
    copy = nights.unpack(nights.tarball(item(borrower)))
    shutil.rmtree(live)
    assert_sound(copy)
    assert not (copy / "objects" / "info" / "alternates").exists()
    assert git(copy, "log", "--format=%s", "main") == "commit 4\ncommit 3\ncommit 2\ncommit 1"


def test_history_that_only_grafts_lead_to_is_copied(nights: Nights, live: Path) -> None:
    old = commit(live, "older history")
    root = git(live, "rev-list", "--max-parents=0", "main")
    (live / "info" / "grafts").write_text(f"# history\n{root} {old}\n")
    assert "older history" in git(live, "log", "--format=%s", "main")
    copy = assert_holds(nights, nights.tarball(item(live)), live)
    assert git(copy, "log", "--format=%s", "main") == git(live, "log", "--format=%s", "main")


def test_history_that_grafts_hide_is_copied(nights: Nights, live: Path) -> None:
    (live / "info" / "grafts").write_text(git(live, "rev-parse", "main") + "\n")
    assert git(live, "rev-list", "--count", "main") == "1"
    copy = nights.unpack(nights.tarball(item(live)))
    (copy / "info" / "grafts").unlink()
    assert_sound(copy)
    assert git(copy, "rev-list", "--count", "main") == "4"


def test_replaced_history_keeps_both(nights: Nights, live: Path) -> None:
    original = git(live, "rev-parse", "main")
    replace(live)
    copy = assert_holds(nights, nights.tarball(item(live)), live)
    assert git(copy, "--no-replace-objects", "log", "-1", "--format=%s", original) == "commit 4"
    assert git(copy, "log", "-1", "--format=%s", original) == "replacement"


def test_shallow_clone(tmp_path: Path, nights: Nights, live: Path) -> None:
    shallow = tmp_path / "shallow.git"
    run("git", "clone", "--quiet", "--bare", "--depth=2", f"file://{live}", shallow)
    copy = assert_holds(nights, nights.tarball(item(shallow)), shallow)
    assert (copy / "shallow").read_text() == (shallow / "shallow").read_text()
    assert git(copy, "rev-list", "--count", "main") == "2"


def test_reflogs_lead_somewhere(tmp_path: Path, nights: Nights) -> None:
    live = make_git(tmp_path / "live", bare=False)
    git(live, "config", "core.logAllRefUpdates", "always")
    lost = commit(live, "amended away", git(live, "rev-parse", "main"))
    old = git(live, "rev-parse", "main")
    git(live, "update-ref", "-m", "one", "refs/heads/main", lost)
    git(live, "update-ref", "-m", "two", "refs/heads/main", old)
    copy = assert_holds(nights, nights.tarball(item(tmp_path / "live")), live)
    assert git(copy, "reflog", "show", "--format=%gs", "main") == git(live, "reflog", "show", "--format=%gs", "main")
    assert git(copy, "cat-file", "-t", lost) == "commit"
    assert git(copy, "rev-parse", "main@{1}") == lost


def test_reflog_entries_that_were_pruned_are_reported(nights: Nights, live: Path) -> None:
    gone = "1234567890" * 4
    log = live / "logs" / "refs" / "heads" / "main"
    log.parent.mkdir(parents=True)
    log.write_text(f"{NULL} {gone} A <a@b> 1368183000 +0000\tgone\n")
    copy = nights.unpack(nights.tarball(item(live)))
    assert references(copy) == references(live)
    assert any("name 1 object that the repository no longer has" in note for note in nights.notes)


def test_small_files_are_archived_as_data_with_their_modes(nights: Nights, live: Path) -> None:
    executable(live / "hooks" / "post-receive", "#!/bin/sh\n# hook\n", 0o750)
    executable(live / "hooks" / "post-receive.d" / "10-mail", "#!/bin/sh\n# mail\n", 0o700)
    (live / "hooks" / "update").symlink_to("/nonexistent/update")
    (live / "description").write_text("a toy")
    (live / "info" / "attributes").write_text("*.pdf -diff\n")
    (live / "git-daemon-export-ok").write_text("")
    git(live, "config", "receive.denyNonFastForwards", "true")
    copy = assert_holds(nights, nights.tarball(item(live)), live)
    for name in (
        "hooks/post-receive",
        "hooks/post-receive.d/10-mail",
        "description",
        "info/attributes",
        "config",
        "git-daemon-export-ok",
    ):
        assert (copy / name).read_bytes() == (live / name).read_bytes()
        assert (copy / name).stat().st_mode == (live / name).stat().st_mode
    assert os.readlink(copy / "hooks" / "update") == "/nonexistent/update"


def test_large_files_are_archived_and_watched(nights: Nights, live: Path) -> None:
    large = live / "lfs" / "objects" / "ab" / "cd" / "abcd"
    large.parent.mkdir(parents=True)
    large.write_bytes(b"large" * 1000)
    first = nights.tarball(item(live))
    assert (assert_holds(nights, first, live) / "lfs/objects/ab/cd/abcd").read_bytes() == large.read_bytes()
    assert nights.tarball(item(live), night=2).stat().st_ino == first.stat().st_ino
    (large.parent / "more").write_bytes(b"more")
    assert (nights.unpack(nights.tarball(item(live), night=3)) / "lfs/objects/ab/cd/more").exists()


def test_large_file_that_changes_during_the_dump_is_another_try(
    tmp_path: Path, nights: Nights, live: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = live / "lfs" / "objects" / "large"
    large.parent.mkdir(parents=True)
    large.write_bytes(b"before")
    once = tmp_path / "once"
    executable(
        tmp_path / "bin" / "tar",
        f'#!/bin/sh\n{shutil.which("tar")} "$@"; rc=$?\n'
        f"[ -e {once} ] || echo after it was read > {large}; touch {once}; exit $rc\n",
    )
    with monkeypatch.context() as patch:
        forbid_views(patch)
        patch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
        tarball = nights.tarball(item(live))
    assert (nights.unpack(tarball) / "lfs" / "objects" / "large").read_text() == "after it was read\n"


def test_large_files_elsewhere_are_reported(tmp_path: Path, nights: Nights, live: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (live / "lfs").symlink_to(tmp_path / "elsewhere")
    copy = nights.unpack(nights.tarball(item(live)))
    assert (copy / "lfs").is_symlink()
    assert any("lfs leads to" in note for note in nights.notes)


def test_what_is_left_out_is_reported(nights: Nights, live: Path) -> None:
    (live / "FETCH_HEAD").write_text("")
    (live / "gitk.cache").write_text("")
    os.mkfifo(live / "hooks" / "pipe")
    copy = nights.unpack(nights.tarball(item(live)))
    notes = "\n".join(nights.notes)
    assert "gitk.cache: a cache" in notes and "hooks/pipe" in notes
    assert "FETCH_HEAD" not in notes
    assert not (copy / "FETCH_HEAD").exists() and not (copy / "gitk.cache").exists()


def with_several_packs(live: Path) -> None:
    for number in range(3):
        git(live, "repack", "--quiet", "-d")
        git(
            live,
            "update-ref",
            f"refs/heads/pack{number}",
            commit(live, f"pack {number}", git(live, "rev-parse", "main")),
        )


def collected(live: Path) -> None:
    git(live, "gc", "--quiet", "--prune=now")


def looked_at(live: Path) -> None:
    for argv in (["log", "--all"], ["fsck"], ["for-each-ref"], ["show-ref"], ["cat-file", "-p", "main"]):
        git(live, *argv)


def touched(live: Path) -> None:
    for path in live.rglob("*"):
        os.utime(path)


@pytest.mark.sampled(9)
@pytest.mark.parametrize("prepare", [lambda live: None, with_several_packs, collected], ids=lambda f: f.__name__)
@pytest.mark.parametrize("change", [lambda live: None, looked_at, touched], ids=lambda f: f.__name__)
def test_unchanged_repository_gives_the_same_file_every_night(
    nights: Nights, live: Path, prepare: Callable[[Path], None], change: Callable[[Path], None]
) -> None:
    prepare(live)
    tarballs = [nights.tarball(item(live), night=1)]
    for night in (2, 3, 4):
        change(live) if night == 3 else None
        tarballs.append(nights.tarball(item(live), night=night))
    assert len({tarball.read_bytes() for tarball in tarballs}) == 1
    assert len({tarball.stat().st_ino for tarball in tarballs}) == 1
    assert_holds(nights, tarballs[-1], live)


def test_equal_repositories_give_equal_tarballs_whoever_calls(tmp_path: Path, nights: Nights, live: Path) -> None:
    copy = tmp_path / "other.git"
    shutil.copytree(live, copy, symlinks=True)
    first = nights.tarball(item(live))
    result = nights.module(item(copy), night=2)
    assert Path(result["tarballs"][0]["path"]).stat().st_ino == first.stat().st_ino


CHANGES: dict[str, Callable[[Path], Any]] = {
    "reference moved": lambda live: git(live, "update-ref", "refs/heads/side", "main"),
    "reference added": lambda live: git(live, "update-ref", "refs/heads/new", "main"),
    "reference deleted": lambda live: git(live, "update-ref", "-d", "refs/heads/side"),
    "commit": lambda live: git(live, "update-ref", "refs/heads/main", commit(live, "new", "refs/heads/main")),
    "head": lambda live: git(live, "symbolic-ref", "HEAD", "refs/heads/side"),
    "hook added": lambda live: executable(live / "hooks" / "update", "#!/bin/sh\n"),
    "hook changed": lambda live: executable(live / "hooks" / "post-receive", "#!/bin/sh\n# b\n"),
    "hook's mode": lambda live: (live / "hooks" / "post-receive").chmod(0o700),
    "hook deleted": lambda live: (live / "hooks" / "post-receive").unlink(),
    "description": lambda live: (live / "description").write_text("new"),
    "configuration": lambda live: git(live, "config", "gc.auto", "0"),
    "exclude": lambda live: (live / "info" / "exclude").write_text("*.o\n"),
}


@pytest.mark.sampled(12)
@pytest.mark.parametrize("change", CHANGES)
def test_change_is_in_the_next_tarball_and_then_stays(nights: Nights, live: Path, change: str) -> None:
    executable(live / "hooks" / "post-receive", "#!/bin/sh\n# a\n")
    moving = {**item(live), "may_move": ["HEAD"]}
    first = nights.tarball(moving, night=1)
    CHANGES[change](live)
    second = nights.tarball(moving, night=2)
    assert second.read_bytes() != first.read_bytes()
    copy = assert_holds(nights, second, live)
    assert sorted(os.listdir(copy / "hooks")) == sorted(os.listdir(live / "hooks"))
    assert nights.tarball(moving, night=3).stat().st_ino == second.stat().st_ino


def test_live_repository_is_left_as_it_was(nights: Nights, live: Path) -> None:
    before = tree_hash(live)
    nights.tarball(item(live))
    assert tree_hash(live) == before


def test_copy_shares_no_file_with_the_live_objects(
    tmp_path: Path, nights: Nights, live: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither while the dump works, as seen by the program that packs it, nor in the end."""
    collected(live)
    seen = tmp_path / "seen"
    executable(
        tmp_path / "bin" / "tar",
        f'#!/bin/sh\nfind {nights.private} -type f -printf "%i %n %p\\n" > {seen}\nexec {shutil.which("tar")} "$@"\n',
    )
    forbid_views(monkeypatch)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    nights.tarball(item(live))
    rows = [line.split(" ", 2) for line in seen.read_text().splitlines()]
    assert any(row[2].endswith(".pack") for row in rows)
    inodes = {str(path.stat().st_ino) for path in live.rglob("*")}
    assert not inodes & {row[0] for row in rows}
    assert {row[1] for row in rows} == {"1"}
    assert {path.stat().st_nlink for path in live.rglob("*") if path.is_file()} == {1}


@pytest.mark.full
def test_atomic_pushes_during_the_dump_give_one_committed_state(tmp_path: Path, nights: Nights, live: Path) -> None:
    """References a and b move together, by pushes and by transactions, and their old objects are pruned at once."""
    work = tmp_path / "work"
    run("git", "clone", "--quiet", live, work)
    names = [f"refs/heads/{letter}" for letter in "abcdefgh"]

    def step(number: int) -> None:
        new = commit(work / ".git", f"push {number}", "origin/main")
        run("git", "push", "--quiet", "--atomic", "--force", live, *(f"{new}:{name}" for name in names), cwd=work)
        if number % 5 == 4:
            git(live, "gc", "--quiet", "--prune=now")

    tarballs = []
    between = 0
    with busy(step) as pushes:
        for night in range(1, 9):
            before = len(pushes)
            tarballs.append(nights.tarball({**item(live), "may_move": ["refs/heads/?"]}, night=night))
            between += len(pushes) > before
    assert between >= 3, "too few pushes came during dumps"
    for tarball in tarballs:
        copy = nights.unpack(tarball)
        assert_sound(copy)
        assert len({git(copy, "rev-parse", name) for name in names}) == 1
    assert len({tarball.read_bytes() for tarball in tarballs}) > 1


def test_branches_with_reflogs_that_come_and_go_during_the_dump(nights: Nights, live: Path) -> None:
    git(live, "config", "core.logAllRefUpdates", "always")

    def step(number: int) -> None:
        git(live, "push", "--quiet", str(live), f"main:refs/heads/topic/{number}")
        git(live, "push", "--quiet", "--delete", str(live), f"refs/heads/topic/{number}")

    with busy(step) as steps:
        tarballs = [nights.tarball(item(live), night=night) for night in range(1, 5)]
    assert len(steps) > 4
    for tarball in tarballs:
        assert_sound(nights.unpack(tarball))


def test_references_that_move_while_they_are_read_are_read_again(
    tmp_path: Path, nights: Nights, live: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A push moves a and b after git has read a and before it reads b."""
    new = commit(live, "both")
    for name in ("a", "b"):
        git(live, "update-ref", f"refs/heads/{name}", "main")
    real, once = shutil.which("git"), tmp_path / "once"
    executable(
        tmp_path / "bin" / "git",
        f'#!/bin/sh\ncase "$*" in *for-each-ref*) if ! [ -e {once} ]; then touch {once}; {real} "$@" refs/heads/a\n'
        f'printf "update refs/heads/a {new}\\nupdate refs/heads/b {new}\\n" | {real} --git-dir={live} update-ref --stdin 2>&-\n'
        f'exec {real} "$@" refs/heads/b refs/heads/main refs/heads/side refs/notes refs/tags; fi;; esac\nexec {real} "$@"\n',
    )
    with monkeypatch.context() as patch:
        forbid_views(patch)
        patch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
        tarball = nights.tarball(item(live))
    assert once.exists()
    copy = assert_holds(nights, tarball, live)
    assert git(copy, "rev-parse", "a") == git(copy, "rev-parse", "b") == new


def test_half_done_transaction_is_waited_for(
    tmp_path: Path, nights: Nights, live: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One reference has moved, the other is still locked: the dump waits until it has moved, too."""
    new = commit(live, "both")
    git(live, "update-ref", "refs/heads/a", "main")
    git(live, "update-ref", "refs/heads/b", "main")
    (live / "refs" / "heads" / "b.lock").write_text(f"{new}\n")
    (live / "refs" / "heads" / "a").write_text(f"{new}\n")
    count = tmp_path / "count"
    executable(
        tmp_path / "bin" / "git",
        '#!/bin/sh\ncase "$*" in *for-each-ref*)\n'
        f"echo x >> {count}; [ $(wc -l < {count}) = 4 ] && mv {live}/refs/heads/b.lock {live}/refs/heads/b;; esac\n"
        f'exec {shutil.which("git")} "$@"\n',
    )
    forbid_views(monkeypatch)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    copy = assert_holds(nights, nights.tarball(item(live)), live)
    assert git(copy, "rev-parse", "a") == git(copy, "rev-parse", "b") == new


def test_repacking_during_the_dump_is_another_try(
    tmp_path: Path, nights: Nights, live: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The packs vanish between the reading of references and that of objects, and come back under other names."""
    collected(live)
    objects = live / "objects"
    once = tmp_path / "once"
    executable(
        tmp_path / "bin" / "git",
        f'#!/bin/sh\ncase "$*" in *pack-objects*) if ! [ -e {once} ]; then touch {once}\n'
        f'mv {objects}/pack {tmp_path}/pack; mkdir {objects}/pack; {shutil.which("git")} "$@"; rc=$?\n'
        f'mv {tmp_path}/pack/* {objects}/pack/; touch {objects}/pack/new; exit $rc; fi;; esac\nexec {shutil.which("git")} "$@"\n',
    )
    forbid_views(monkeypatch)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert_holds(nights, nights.tarball(item(live)), live)
    assert once.exists()


def test_nothing_that_the_live_repository_names_is_run(tmp_path: Path, nights: Nights, live: Path) -> None:
    touched_file = tmp_path / "ran"
    script = executable(tmp_path / "script", f"#!/bin/sh\ntouch {touched_file}\nexit 1\n")
    for hook in (
        "reference-transaction",
        "pre-auto-gc",
        "post-checkout",
        "update",
        "post-index-change",
        "fsmonitor-watchman",
    ):
        executable(live / "hooks" / hook, script.read_text())
    for key in (
        *("core.fsmonitor", "core.sshCommand", "core.pager", "core.editor", "core.askPass", "core.gitProxy"),
        *(
            "uploadpack.packObjectsHook",
            "core.alternateRefsCommand",
            "credential.helper",
            "gpg.program",
            "diff.external",
        ),
        *("pager.for-each-ref", "pager.pack-objects", "remote.origin.uploadpack", "filter.x.clean", "filter.x.smudge"),
    ):
        git(live, "config", key, str(script))
    for key in ("alias.pack-objects", "alias.for-each-ref", "alias.fsck", "alias.cat-file", "alias.config"):
        git(live, "config", key, f"!{script}")
    git(live, "config", "core.hooksPath", str(live / "hooks"))
    git(live, "config", "include.path", str(live / "more"))
    (live / "more").write_text(f"[core]\n\tsshCommand = {script}\n")
    for night in (1, 2):
        copy = assert_holds(nights, nights.tarball(item(live), night=night), live)
    assert not touched_file.exists()
    assert (copy / "config").read_bytes() == (live / "config").read_bytes()


@pytest.mark.parametrize("url", ["ssh://example.invalid/x", "ext::{script}", "{live}"])
def test_missing_objects_are_not_fetched_by_commands_of_the_live_configuration(
    tmp_path: Path, nights: Nights, live: Path, url: str
) -> None:
    """The setting that allows it is where the check for partial clones does not look."""
    touched_file = tmp_path / "ran"
    script = executable(tmp_path / "script", f"#!/bin/sh\ntouch {touched_file}\nexit 1\n")
    git(live, "config", "core.repositoryFormatVersion", "1")
    git(live, "config", "extensions.worktreeConfig", "true")
    (live / "config.worktree").write_text(
        f'[remote "origin"]\n\tpromisor = true\n\turl = {url.format(script=script, live=live)}\n\tuploadpack = {script}\n'
        f"[core]\n\tsshCommand = {script}\n[protocol]\n\tallow = always\n"
    )
    assert git(live, "config", "remote.origin.promisor") == "true"
    loose(live, git(live, "rev-parse", "main:f1")).unlink()
    reason = nights.failure(item(live))
    assert str(live) in reason
    assert not touched_file.exists()


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_git_runs_as_the_owner_and_the_tarball_has_the_owner(
    tmp_path: Path, nights: Nights, live: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in [tmp_path, *tmp_path.parents]:
        if not folder.stat().st_mode & 0o001:
            folder.chmod(0o711)
    for path in [live, *live.rglob("*")]:
        os.chown(path, 65534, 65533)
    live.chmod(0o700)
    log = tmp_path / "bin" / "log"  # a view shows nothing of this folder but the tools' folder
    executable(
        tmp_path / "bin" / "git",
        f'#!/bin/sh\necho "$(id -u) $(id -g) $(id -G) $*" > {log}\nexec {shutil.which("git")} "$@"\n',
    )
    os.mkfifo(log)
    log.chmod(0o666)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    lines: list[str] = []
    reading = os.open(log, os.O_RDWR)
    with os.fdopen(reading) as stream:
        reader = threading.Thread(target=lambda: lines.extend(iter(stream.readline, "end\n")))
        reader.start()
        tarball = nights.tarball(item(live))
        log.write_text("end\n")
        reader.join()
    monkeypatch.undo()
    calls = [line for line in lines if f"--git-dir={live} " in line]
    assert {line.split(" --git-dir=")[0] for line in calls} == {"65534 65534 65534"}
    assert {"for-each-ref", "pack-objects"} <= {word for line in calls for word in line.split()}
    listing = run("tar", "--list", "--verbose", "--numeric-owner", "--file", tarball).splitlines()
    assert {line.split()[1] for line in listing} == {"65534/65533"}
    copy = nights.unpack(tarball)
    assert copy.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_uid for path in live.rglob("*")} == {65534}


def cut_short(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:10])


def flip(path: Path) -> None:
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.sampled(15)
@pytest.mark.parametrize("what", ["main", "main^{tree}", "main:f1", "side", "v1"])
@pytest.mark.parametrize("damage", [Path.unlink, cut_short, flip], ids=["missing", "short", "flipped"])
def test_damaged_objects_are_a_failure_and_harm_nothing(
    nights: Nights, live: Path, what: str, damage: Callable[[Path], None]
) -> None:
    good = nights.tarball(item(live), night=1)
    before = good.read_bytes()
    damage(loose(live, git(live, "rev-parse", what)))
    reason = nights.failure(item(live), night=2, verify_every=1)
    assert str(live) in reason or "toy" in reason
    assert good.read_bytes() == before
    assert os.readlink(nights.base / "git" / "toy" / "last") == "2013/05/01/020000"
    assert not (nights.private / "building" / "git" / "toy").exists()


def test_object_that_is_another_than_its_name_says_is_a_failure(nights: Nights, live: Path) -> None:
    victim = loose(live, git(live, "rev-parse", "main:f1"))
    other = loose(live, git(live, "hash-object", "-w", "--stdin", input=b"something else"))
    victim.unlink()
    other.rename(victim)
    assert str(live) in nights.failure(item(live))


def test_damaged_pack_is_a_failure(nights: Nights, live: Path) -> None:
    collected(live)
    (pack,) = (live / "objects" / "pack").glob("*.pack")
    flip(pack)
    assert str(live) in nights.failure(item(live))


def keep_references_as(live: Path, form: str) -> None:
    git(live, "config", "core.repositoryFormatVersion", "1")
    git(live, "config", "extensions.refStorage", form)


def reftable(live: Path) -> None:
    """Make a repository look like one with a reftable, as older gits see it."""
    keep_references_as(live, "reftable")


BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (shutil.rmtree, "does not exist"),
    "file": (lambda live: (shutil.rmtree(live), live.write_text("x")), "is not a folder"),
    "empty folder": (
        lambda live: (shutil.rmtree(live), live.mkdir()),
        "is not a Git repository: it has no HEAD, objects and refs",
    ),
    "no head": (lambda live: (live / "HEAD").unlink(), "is not a Git repository"),
    "table": (reftable, "form other than files (reftable), which git reads from 2.45 on"),
    "unknown form": (lambda live: keep_references_as(live, "newer"), "form other than files (newer)"),
    "unknown extension": (
        lambda live: (
            git(live, "config", "core.repositoryFormatVersion", "1"),
            git(live, "config", "extensions.newer", "x"),
        ),
        "newer",
    ),
    "damaged configuration": (lambda live: (live / "config").write_text("[core\nbare"), "bad config line"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_dumped_is_said_so(nights: Nights, live: Path, case: str) -> None:
    spoil, expected = BAD[case]
    spoil(live)
    reason = nights.failure(item(live))
    assert str(live) in reason and expected in reason
    assert not (nights.base / "git").exists()


@pytest.mark.parametrize("settings", [("remote.origin.promisor", "false"), ("extensions.partialClone", "origin")])
def test_promise_of_which_nothing_is_missing_does_not_matter(
    nights: Nights, live: Path, settings: tuple[str, str]
) -> None:
    git(live, "config", *settings)
    git(live, "config", "remote.origin.partialCloneFilter", "blob:none")
    assert_holds(nights, nights.tarball(item(live)), live)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", ["toy@5", "-x y", "100%41", "it's", '$(touch x)"', "ünï"])
def test_odd_names_and_paths(tmp_path: Path, nights: Nights, name: str) -> None:
    live = make_git(tmp_path / name)
    assert assert_holds(nights, nights.tarball(item(live, name)), live).name == name


def test_git_s_own_surroundings_do_not_matter(
    tmp_path: Path, nights: Nights, live: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in (
        "GIT_DIR",
        "GIT_OBJECT_DIRECTORY",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_WORK_TREE",
        "GIT_TEMPLATE_DIR",
    ):
        monkeypatch.setenv(variable, str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_DEFAULT_HASH", "sha256")
    (tmp_path / ".gitconfig").write_text("[core]\n\tbare = nonsense\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    tarball = nights.tarball(item(live))
    monkeypatch.undo()
    assert_holds(nights, tarball, live)


def test_missing_tool_names_its_package(nights: Nights, live: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(programs, "_SYSTEM_FOLDERS", ())
    (failure,) = nights.module(item(live), fail=False)["failures"]
    assert "git" in failure["reason"] and "install the package git" in failure["reason"]
    assert not (nights.base / "git").exists()


def test_module_runs_again_without_change_and_predicts(nights: Nights, live: Path) -> None:
    before = tree_hash(nights.base)
    predicted = nights.module(item(live), check_mode=True)
    assert tree_hash(nights.base) == before
    first = nights.module(item(live))
    assert first["changed"] and predicted["changed"]
    assert [tarball["relpath"] for tarball in predicted["tarballs"]] == [
        tarball["relpath"] for tarball in first["tarballs"]
    ]
    before = tree_hash(nights.base)
    again = nights.module(item(live))
    assert not again["changed"] and again["tarballs"][0]["dig"] == first["tarballs"][0]["dig"]
    assert tree_hash(nights.base) == before
    bad = nights.module(item(live / "objects"), night=2)
    assert bad["failed"] and "is not a Git repository" in bad["msg"]


def test_reading_references_of_a_large_repository(tmp_path: Path) -> None:
    live = make_git(tmp_path / "live")
    main = git(live, "rev-parse", "main")
    git(
        live,
        "update-ref",
        "--stdin",
        input="".join(f"create refs/heads/b{number} {main}\n" for number in range(500)).encode(),
    )
    found = read_references(Git(str(live), Deadline(60.0), UNCHANGED))
    assert len(found.lines) == 505
    assert [name for _, name, _ in found.lines] == sorted(name for _, name, _ in found.lines)
    (live / "refs" / "heads" / "b7").write_text("nonsense")
    with pytest.raises(AltbackupError, match="refs/heads/b7"):
        read_references(Git(str(live), Deadline(60.0), UNCHANGED))


def test_commits_added_later_are_in_the_next_tarball(nights: Nights, live: Path) -> None:
    nights.tarball(item(live), night=1)
    import_commits(live, 7)
    moved = "1 tag of the dump of 2013/05/01/020000 was rewritten"  # as the same import made it
    assert_holds(nights, nights.suspect(item(live), moved, night=2), live)
