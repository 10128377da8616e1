"""Kind `git`: everything in a repository's folder besides references and objects, and unusual forms of repositories."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.repositories import Nights, git, make_git, references, run

NO_FETCH = ("-c", "protocol.allow=never")
FILE = ("-c", "protocol.file.allow=always")


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


def made(path: Path, text: str = "content\n", mode: int = 0o644) -> Path:
    """Write a file, with the folders above it, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def work_in(folder: Path, name: str, text: str = "work\n") -> str:
    """Commit a file in a working tree and return the commit."""
    made(folder / name, text)
    run("git", "add", "--force", name, cwd=folder)
    run("git", "commit", "--quiet", "--message", name, cwd=folder)
    return run("git", "rev-parse", "HEAD", cwd=folder).strip()


def make_clone(tmp_path: Path, name: str = "clone") -> Path:
    """Return a working tree with a checkout of `main`."""
    run("git", "clone", "--quiet", make_git(tmp_path / "origin.git"), tmp_path / name)
    return tmp_path / name


def kind_of(folder: Path, name: str) -> str:
    """Return the type of an object, without fetching anything."""
    return run("git", "-C", folder, "cat-file", "-t", name).strip()


def assert_whole(folder: Path) -> None:
    """Assert that git finds no fault with a repository."""
    said = run("git", "-C", folder, "fsck", "--full", "--no-dangling", "--no-progress")
    assert "missing" not in said and "error" not in said


DATA = {
    "gl-conf": "git server",
    "cgitrc": "section=x\n",
    "gitweb.owner": "A\n",
    "custom_hooks/update.d/10-check": "#!/bin/sh\n",
    "custom_hooks/Gemfile.lock": "a lock of somebody else's\n",
    "branches/upstream": "https://example.org/x.git\n",
    "remotes/old": "URL: https://example.org/x.git\n",
    "svn/.metadata": "[svn-remote]\n",
    "rr-cache/0123/preimage": "<<<<<<<\n",
    "COMMIT_EDITMSG": "half a message\n",
    os.fsdecode(b"odd\xff"): "odd\n",
    "with space/and\ttab": "x\n",
    "annex/objects/aa/bb/key/key": "large\n",
    "lfs/objects/aa/bb/aabb": "large\n",
}


@pytest.mark.parametrize("bare", [True, False])
def test_files_of_servers_and_tools_travel_as_data(tmp_path: Path, nights: Nights, bare: bool) -> None:
    folder = make_git(tmp_path / "live", bare=bare)
    for name, text in DATA.items():
        made(folder / name, text, 0o750)
    (folder / "custom_hooks").chmod(0o711)
    (folder / "templates").symlink_to("/nonexistent/elsewhere")
    (folder / "empty").mkdir()
    first = nights.tarball(item(tmp_path / "live"))
    copy = nights.unpack(first) if bare else nights.unpack(first) / ".git"
    for name, text in DATA.items():
        assert (copy / name).read_text() == text
        assert (copy / name).stat().st_mode & 0o777 == 0o750
    assert (copy / "custom_hooks").stat().st_mode & 0o777 == 0o711
    assert os.readlink(copy / "templates") == "/nonexistent/elsewhere" and (copy / "empty").is_dir()
    assert any("templates is a symbolic link" in note for note in nights.notes)
    assert not any("left out" in note and "working tree" not in note for note in nights.notes)
    assert references(copy) == references(folder)
    assert nights.tarball(item(tmp_path / "live"), night=2).stat().st_ino == first.stat().st_ino


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    "name", ["index", "index.lock", "config.lock", "HEAD.lock", "gc.pid", "gc.log", "FETCH_HEAD", "shared.cache"]
)
def test_locks_and_caches_stay(nights: Nights, live: Path, name: str) -> None:
    first = nights.tarball(item(live))
    made(live / name)
    second = nights.tarball(item(live), night=2)
    assert second.stat().st_ino == first.stat().st_ino


def test_data_is_not_taken_for_settings_while_it_is_copied(nights: Nights, live: Path) -> None:
    made(live / "commondir", str(live.parent / "elsewhere"))
    reason = nights.failure(item(live))
    assert str(live) in reason or "toy" in reason


def test_socket_among_the_data_is_left_out_and_a_pipe_is_named(
    nights: Nights, live: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (live / "tool").mkdir()
    monkeypatch.chdir(live / "tool")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("here")
        nights.tarball(item(live))
    assert any("left out tool/here: a socket has no content" in note for note in nights.notes)
    os.mkfifo(live / "tool" / "pipe")
    assert f"{live}/tool/pipe is a named pipe" in nights.failure(item(live), night=2)


def test_data_that_cannot_be_read_is_a_failure_that_names_it(
    nights: Nights, live: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(live / "gl-conf", mode=0)
    real = os.access
    monkeypatch.setattr(
        os, "access", lambda path, *rest, **more: "gl-conf" not in str(path) and real(path, *rest, **more)
    )
    assert f"{live}/gl-conf cannot be read" in nights.failure(item(live))


def test_interrupted_rebase_keeps_what_only_it_knows(tmp_path: Path, nights: Nights) -> None:
    clone = make_clone(tmp_path)
    lost = work_in(clone, "lost")
    stash = work_in(clone, "stash")
    run("git", "reset", "--quiet", "--hard", "HEAD~2", cwd=clone)
    shutil.rmtree(clone / ".git" / "logs")
    made(clone / ".git" / "rebase-merge" / "git-rebase-todo", f"pick {lost} lost\n")
    made(clone / ".git" / "rebase-merge" / "autostash", f"{stash}\n")
    made(clone / ".git" / "ORIG_HEAD", "1234567890" * 4)
    copy = nights.unpack(nights.tarball(item(clone)))
    assert kind_of(copy, lost) == kind_of(copy, stash) == "commit"
    assert (copy / ".git" / "rebase-merge" / "git-rebase-todo").exists()


def test_what_was_begun_and_is_pruned_in_part_is_no_failure(nights: Nights, live: Path) -> None:
    blob = git(live, "hash-object", "-w", "--stdin", input=b"pruned")
    tree = git(live, "mktree", input=f"100644 blob {blob}\tf\n".encode())
    orphan = git(live, "commit-tree", "-m", "old", tree)
    whole = git(live, "commit-tree", "-m", "whole", git(live, "rev-parse", "main^{tree}"))
    (live / "objects" / blob[:2] / blob[2:]).unlink()
    made(live / "ORIG_HEAD", f"{orphan}\n")
    made(live / "MERGE_HEAD", f"{whole}\n")
    copy = nights.unpack(nights.tarball(item(live)))
    assert kind_of(copy, whole) == "commit"
    assert run("git", "-C", copy, "cat-file", "-t", orphan, check=False) == ""


@pytest.fixture(params=[True, False], ids=["bare", "working tree"])
def main(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a repository, bare or not, with linked worktrees."""
    path = tmp_path / "main"
    if request.param:
        make_git(path)
    else:
        run("git", "clone", "--quiet", make_git(tmp_path / "origin.git"), path)
    run("git", "worktree", "add", "--quiet", "--detach", tmp_path / "w", cwd=path)
    run("git", "worktree", "add", "--quiet", "-b", "topic", tmp_path / "t", cwd=path)
    return path


def own(path: Path) -> Path:
    """Return the git directory of a repository."""
    return path / ".git" if (path / ".git").exists() else path


@pytest.mark.sampled(2)
def test_commits_of_linked_worktrees_are_copied(tmp_path: Path, nights: Nights, main: Path) -> None:
    worktree = tmp_path / "w"
    amended = work_in(worktree, "amended")
    run("git", "commit", "--quiet", "--amend", "--message", "again", cwd=worktree)
    head = run("git", "rev-parse", "HEAD", cwd=worktree).strip()
    aside = run("git", "commit-tree", "-m", "aside", "HEAD^{tree}", cwd=worktree).strip()
    run("git", "update-ref", "refs/worktree/aside", aside, cwd=worktree)
    stashes = []
    for number in range(2):
        made(worktree / "amended", f"stashed {number}\n")
        run("git", "stash", "--quiet", cwd=worktree)
        stashes.append(run("git", "rev-parse", "refs/stash", cwd=worktree).strip())
    first = nights.tarball(item(main))
    copy = nights.unpack(first)
    for name in (head, amended, aside, *stashes):
        assert kind_of(copy, name) == "commit"
    assert_whole(copy)
    for listing in (run("git", "-C", folder, "worktree", "list", "--porcelain") for folder in (main, copy)):
        assert f"worktree {worktree}\nHEAD {head}\ndetached" in listing
        assert f"worktree {tmp_path / 't'}\n" in listing
    assert not list(own(copy).glob("worktrees/*/index"))
    run("git", "-C", worktree, "status")
    assert nights.tarball(item(main), night=2).stat().st_ino == first.stat().st_ino
    work_in(worktree, "more")
    assert nights.tarball(item(main), night=3).read_bytes() != first.read_bytes()


def test_collecting_a_restored_repository_keeps_what_worktrees_that_are_gone_lead_to(
    tmp_path: Path, nights: Nights, main: Path
) -> None:
    head = work_in(tmp_path / "w", "only here")
    tarball = nights.tarball(item(main))
    shutil.rmtree(tmp_path / "w")
    shutil.rmtree(tmp_path / "t")
    copy = nights.unpack(tarball)
    run("git", "-C", copy, "worktree", "prune", "--expire=now")
    run(
        "git",
        "-C",
        copy,
        "-c",
        "gc.reflogExpire=now",
        "-c",
        "gc.reflogExpireUnreachable=now",
        "gc",
        "--quiet",
        "--prune=now",
    )
    assert kind_of(copy, head) == "commit"
    listing = run("git", "-C", copy, "worktree", "list", "--porcelain")
    assert f"HEAD {head}" in listing and "locked restored from a backup" in listing
    assert str(tmp_path / "t") not in listing


def test_worktree_that_is_still_there_works_with_the_restored_repository(
    tmp_path: Path, nights: Nights, main: Path
) -> None:
    head = work_in(tmp_path / "w", "only here")
    copy = nights.unpack(nights.tarball(item(main)))
    shutil.rmtree(main)
    shutil.move(str(copy), str(main))
    run("git", "reset", "--quiet", cwd=tmp_path / "w")
    assert run("git", "status", "--porcelain", cwd=tmp_path / "w") == ""
    assert run("git", "rev-parse", "HEAD", cwd=tmp_path / "w").strip() == head


def test_link_in_place_of_what_is_known_of_a_worktree_is_kept_as_one(
    tmp_path: Path, nights: Nights, main: Path
) -> None:
    known = own(main) / "worktrees" / "w"
    shutil.move(str(known), str(tmp_path / "elsewhere"))
    known.symlink_to(tmp_path / "elsewhere")
    copy = nights.unpack(nights.tarball(item(main)))
    assert (own(copy) / "worktrees" / "w").is_symlink()
    assert any("worktrees/w is a symbolic link" in note for note in nights.notes)


def make_super(tmp_path: Path) -> Path:
    """Return a working tree with a submodule, which has one itself; their last commits were not pushed."""
    for name, inner in (("inner", ""), ("sub", "inner"), ("super", "sub")):
        run("git", "init", "--quiet", "--initial-branch=main", tmp_path / name)
        work_in(tmp_path / name, f"file of {name}")
        if inner:
            run(
                "git",
                *FILE,
                "submodule",
                "--quiet",
                "add",
                "--name",
                f"libs/{inner}",
                tmp_path / inner,
                inner,
                cwd=tmp_path / name,
            )
            run("git", "commit", "--quiet", "--message", "submodule", cwd=tmp_path / name)
    run("git", *FILE, "submodule", "--quiet", "update", "--init", "--recursive", cwd=tmp_path / "super")
    for folder in (tmp_path / "super" / "sub", tmp_path / "super" / "sub" / "inner"):
        git(own_of_checkout(folder), "config", "receive.denyCurrentBranch", "refuse")
    return tmp_path / "super"


def own_of_checkout(path: Path) -> Path:
    """Return the git directory of a checkout whose `.git` is a file."""
    return (path / (path / ".git").read_text()[len("gitdir: ") :].strip()).resolve()


def test_repositories_of_submodules_are_copied(tmp_path: Path, nights: Nights) -> None:
    top = make_super(tmp_path)
    made(own_of_checkout(top / "sub") / "hooks" / "post-update", "#!/bin/sh\n", 0o755)
    made(own_of_checkout(top / "sub") / "lfs" / "objects" / "x", "large\n")
    names = {
        "libs/sub": work_in(top / "sub", "not pushed"),
        "libs/sub/modules/libs/inner": work_in(top / "sub" / "inner", "not pushed either"),
    }
    result = nights.dump(item(top))
    (tarball,) = result["tarballs"]
    assert not result["failures"]
    assert set(tarball["record"]["modules"]) == {f"modules/{path}" for path in names}
    copy = nights.unpack(Path(tarball["path"]))
    for path in names:
        module, before = copy / ".git" / "modules" / path, top / ".git" / "modules" / path
        for name in ("config", "HEAD"):
            assert (module / name).read_bytes() == (before / name).read_bytes()
        assert len({git(folder, f"--work-tree={folder}", "for-each-ref") for folder in (module, before)}) == 1
        assert not (module / "index").exists()
    assert (copy / ".git/modules/libs/sub/hooks/post-update").stat().st_mode & 0o777 == 0o755
    assert (copy / ".git/modules/libs/sub/lfs/objects/x").read_text() == "large\n"
    run("git", "status", cwd=top)
    again = nights.tarball(item(top), night=2)
    assert again.stat().st_ino == Path(tarball["path"]).stat().st_ino
    run("git", "-C", copy, "reset", "--quiet", "--hard")
    run("git", "-C", copy, *NO_FETCH, "submodule", "--quiet", "update", "--recursive")
    for checkout, name in (
        (copy / "sub", names["libs/sub"]),
        (copy / "sub/inner", names["libs/sub/modules/libs/inner"]),
    ):
        assert kind_of(checkout, name) == "commit"
        assert_whole(checkout)


def test_submodule_of_a_linked_worktree_is_copied(tmp_path: Path, nights: Nights) -> None:
    top = make_super(tmp_path)
    run("git", "worktree", "add", "--quiet", "--detach", tmp_path / "w", cwd=top)
    run("git", *FILE, "submodule", "--quiet", "update", "--init", cwd=tmp_path / "w")
    name = work_in(tmp_path / "w" / "sub", "of the worktree")
    copy = nights.unpack(nights.tarball(item(top)))
    module = copy / ".git" / "worktrees" / "w" / "modules" / "libs" / "sub"
    assert git(module, f"--work-tree={module}", "cat-file", "-t", name) == "commit"


def test_damage_of_a_submodule_is_named(tmp_path: Path, nights: Nights) -> None:
    top = make_super(tmp_path)
    module = own_of_checkout(top / "sub")
    git(module, "update-ref", "refs/heads/topic", git(module, "commit-tree", "-m", "x", "HEAD^{tree}"))
    name = git(module, "rev-parse", "topic")
    (module / "objects" / name[:2] / name[2:]).unlink()
    assert (
        f"{module}: references lead to objects that the repository does not have: refs/heads/topic"
        in nights.failure(item(top))
    )


def test_settings_of_submodules_run_nothing(tmp_path: Path, nights: Nights) -> None:
    top = make_super(tmp_path)
    ran = tmp_path / "ran"
    script = made(tmp_path / "script", f"#!/bin/sh\ntouch {ran}\nexit 1\n", 0o755)
    module = own_of_checkout(top / "sub")
    for key in (
        "core.fsmonitor",
        "core.pager",
        "alias.pack-objects",
        "alias.rev-list",
        "core.sshCommand",
        "pager.rev-list",
    ):
        git(module, "config", key, f"!{script}" if key.startswith("alias") else str(script))
    made(module / "hooks" / "reference-transaction", script.read_text(), 0o755)
    nights.tarball(item(top))
    assert not ran.exists()


def test_repository_of_a_submodule_behind_a_link_is_kept_as_one(tmp_path: Path, nights: Nights) -> None:
    top = make_super(tmp_path)
    shutil.move(str(top / ".git" / "modules"), str(tmp_path / "elsewhere"))
    (top / ".git" / "modules").symlink_to(tmp_path / "elsewhere")
    copy = nights.unpack(nights.tarball(item(top)))
    assert (copy / ".git" / "modules").is_symlink()
    assert any("modules is a symbolic link" in note for note in nights.notes)


def test_working_tree_comes_back_with_its_repository_in_it(tmp_path: Path, nights: Nights) -> None:
    clone = make_clone(tmp_path)
    name = work_in(clone, "not pushed")
    clone.chmod(0o2750)
    copy = nights.unpack(nights.tarball(item(clone)))
    assert copy.stat().st_mode & 0o777 == 0o750
    assert run("git", "status", "--porcelain", cwd=copy).splitlines()[0] == "D  f0"
    run("git", "reset", "--quiet", "--hard", cwd=copy)
    assert run("git", "status", "--porcelain", cwd=copy) == ""
    assert (copy / "not pushed").read_text() == "work\n"
    assert run("git", "rev-parse", "HEAD", cwd=copy).strip() == name
    assert any("left out the working tree, and what is staged" in note for note in nights.notes)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("form", ["folder", "link"])
def test_own_folder_given_as_item_comes_back_as_its_repository_does(tmp_path: Path, nights: Nights, form: str) -> None:
    clone = make_clone(tmp_path)
    made(clone / ".git" / "lfs" / "objects" / "aa" / "bb" / "aabb", "large\n")
    if form == "link":
        (clone / ".git").rename(tmp_path / "elsewhere.git")
        (clone / ".git").symlink_to(tmp_path / "elsewhere.git")
    whole = nights.unpack(nights.tarball(item(clone, "whole")))
    copy = nights.unpack(nights.tarball(item(clone / ".git")))
    below = [sorted(str(path.relative_to(top)) for path in top.rglob("*")) for top in (whole, copy)]
    assert below[0] == below[1] and ".git/lfs/objects/aa/bb/aabb" in below[0] and os.listdir(copy) == [".git"]
    assert references(copy / ".git") == references(clone / ".git")
    assert run("git", "status", "--porcelain", cwd=copy).splitlines()[0] == "D  f0"
    assert any("left out the working tree, and what is staged" in note for note in nights.notes)


def test_own_folder_of_a_linked_worktree_is_refused_as_its_folder_is(tmp_path: Path, nights: Nights) -> None:
    clone = make_clone(tmp_path)
    run("git", "worktree", "add", "--quiet", "--detach", tmp_path / "linked", cwd=clone)
    said = f"a linked worktree of the repository {clone}: give that as path"
    assert said in nights.failure(item(tmp_path / "linked"))
    assert said in nights.failure(item(tmp_path / "linked" / ".git"))


def make_partial(tmp_path: Path, *options: str, allowed: bool = True) -> Path:
    """Return a partial clone, whose origin may allow that, with a commit of its own."""
    origin = make_git(tmp_path / "origin.git")
    git(origin, "config", "uploadpack.allowFilter", str(allowed).lower())
    clone = tmp_path / "partial"
    run("git", "clone", "--quiet", "--no-checkout", *options, f"file://{origin}", clone)
    blob = git(clone / ".git", "hash-object", "-w", "--stdin", input=b"mine\n")
    tree = git(clone / ".git", "mktree", input=f"100644 blob {blob}\tmine\n".encode())
    mine = git(clone / ".git", "commit-tree", "-m", "mine", "-p", "HEAD", tree)
    git(clone / ".git", "update-ref", "refs/heads/main", mine)
    return clone


def test_partial_clone_that_lacks_nothing_is_stored(tmp_path: Path, nights: Nights) -> None:
    clone = make_partial(tmp_path, "--filter=blob:none", allowed=False)
    assert git(clone / ".git", "config", "remote.origin.promisor") == "true"
    copy = nights.unpack(nights.tarball(item(clone)))
    assert references(copy / ".git") == references(clone / ".git")
    git(copy / ".git", "config", "--unset", "remote.origin.promisor")
    assert_whole(copy)


@pytest.mark.sampled(6)
@pytest.mark.parametrize("form", ["blob:none", "tree:0", "blob:limit=1"])
@pytest.mark.parametrize("settings", ["as cloned", "promise withdrawn"])
def test_partial_clone_that_lacks_objects_is_stored_and_a_failure(
    tmp_path: Path, nights: Nights, form: str, settings: str
) -> None:
    clone = make_partial(tmp_path, f"--filter={form}")
    shutil.move(str(tmp_path / "origin.git"), str(tmp_path / "gone.git"))
    if settings == "promise withdrawn":
        git(clone / ".git", "config", "--unset", "remote.origin.promisor")
    lacking = missing_of(clone)
    assert lacking
    for night in (1, 1, 2):
        result = nights.dump(item(clone), night=night)
        (failure,) = result["failures"]
        assert f"{clone}/.git is a partial clone that lacks {len(lacking)} objects" in failure["reason"]
        (tarball,) = result["tarballs"]
        assert tarball["record"]["missing"] == len(lacking)
    copy = nights.unpack(Path(tarball["path"]))
    assert missing_of(copy) == lacking
    assert references(copy / ".git") == references(clone / ".git")
    assert run("git", "-C", copy, "show", "main:mine") == "mine\n"
    shutil.move(str(tmp_path / "gone.git"), str(tmp_path / "origin.git"))
    git(copy / ".git", "config", "remote.origin.promisor", "true")
    assert "line 1 of" in run("git", "-C", copy, "show", "origin/main:f1")


def missing_of(clone: Path) -> set[str]:
    """Return the missing objects that references lead to, according to git without fetching."""
    words = git(clone / ".git", "rev-list", "--objects", "--all", "--missing=print").split("\n")
    return {word for word in words if word.startswith("?")}


def test_partial_clone_that_lost_an_object_of_its_own_is_damaged(tmp_path: Path, nights: Nights) -> None:
    clone = make_partial(tmp_path, "--filter=blob:none")
    mine = git(clone / ".git", "rev-parse", "main:mine")
    (clone / ".git" / "objects" / mine[:2] / mine[2:]).unlink()
    reason = nights.failure(item(clone))
    assert f"{clone}/.git is damaged: it lacks" in reason and "objects that its history leads to" in reason


def test_nothing_is_fetched_for_a_partial_clone(tmp_path: Path, nights: Nights) -> None:
    clone = make_partial(tmp_path, "--filter=blob:none")
    ran = tmp_path / "ran"
    script = made(tmp_path / "script", f"#!/bin/sh\ntouch {ran}\nexit 1\n", 0o755)
    git(clone / ".git", "config", "remote.origin.uploadpack", str(script))
    git(clone / ".git", "config", "protocol.allow", "always")
    before = missing_of(clone)
    assert len(nights.dump(item(clone))["failures"]) == 1
    assert not ran.exists() and missing_of(clone) == before


def test_damaged_repository_says_how_much_is_missing(nights: Nights, live: Path) -> None:
    names = [git(live, "rev-parse", name) for name in ("main:f0", "main:f1")]
    for name in names:
        (live / "objects" / name[:2] / name[2:]).unlink()
    reason = nights.failure(item(live))
    assert f"{live} is damaged: it lacks 2 objects that its history leads to: {', '.join(sorted(names))}" in reason


GONE = "1234567890" * 4


@pytest.mark.parametrize(
    "name", ["refs/heads/gone", "refs/tags/gone", "HEAD", "packed", "refs/hidden/gone", "refs/stash"]
)
def test_reference_to_a_missing_object_is_named(nights: Nights, live: Path, name: str) -> None:
    if name == "packed":
        name = "refs/heads/packed"
        git(live, "pack-refs", "--all")
        with (live / "packed-refs").open("a") as stream:
            stream.write(f"{GONE} {name}\n")
    else:
        made(live / name, f"{GONE}\n")
    reason = nights.failure(item(live))
    assert f"{live}: references lead to objects that the repository does not have: {name} ({GONE})" in reason


def test_head_of_a_worktree_that_leads_to_a_missing_object_is_named(nights: Nights, main: Path) -> None:
    made(own(main) / "worktrees" / "w" / "HEAD", f"{GONE}\n")
    assert f"worktrees/w/HEAD ({GONE})" in nights.failure(item(main))


def of_worktree(tmp_path: Path) -> tuple[Path, str]:
    run("git", "worktree", "add", "--quiet", "--detach", tmp_path / "w", cwd=make_clone(tmp_path))
    return (
        tmp_path / "w",
        f"is not a Git repository but, as it says, a linked worktree of the repository {tmp_path}/clone: give that as path if it is meant",
    )


def of_bare_worktree(tmp_path: Path) -> tuple[Path, str]:
    run("git", "worktree", "add", "--quiet", "--detach", tmp_path / "w", cwd=make_git(tmp_path / "bare.git"))
    return (
        tmp_path / "w",
        f"is not a Git repository but, as it says, a linked worktree of the repository {tmp_path}/bare.git: give that as path if it is meant",
    )


def of_submodule(tmp_path: Path) -> tuple[Path, str]:
    top = make_super(tmp_path)
    return (
        top / "sub",
        f"is not a Git repository but, as it says, a checkout of a submodule of the repository {top}: give that as path if it is meant",
    )


def of_nested_submodule(tmp_path: Path) -> tuple[Path, str]:
    top = make_super(tmp_path)
    return (
        top / "sub" / "inner",
        f"is not a Git repository but, as it says, a checkout of a submodule of the repository {top}: give that as path if it is meant",
    )


def of_separate(tmp_path: Path) -> tuple[Path, str]:
    run("git", "init", "--quiet", f"--separate-git-dir={tmp_path / 'kept'}", tmp_path / "w")
    return (
        tmp_path / "w",
        f"is not a Git repository but, as it says, the working tree of {tmp_path}/kept: give that as path if it is meant",
    )


def of_relative(tmp_path: Path) -> tuple[Path, str]:
    make_git(tmp_path / "kept")
    made(tmp_path / "w" / ".git", "gitdir: ../kept\n")
    return (
        tmp_path / "w",
        f"is not a Git repository but, as it says, the working tree of {tmp_path}/kept: give that as path if it is meant",
    )


def of_known_worktree(tmp_path: Path) -> tuple[Path, str]:
    run("git", "worktree", "add", "--quiet", "--detach", tmp_path / "w", cwd=make_clone(tmp_path))
    known = tmp_path / "clone" / ".git" / "worktrees" / "w"
    return (
        known,
        f"is not a Git repository but, as it says, a linked worktree of the repository {tmp_path}/clone: give that as path if it is meant",
    )


def of_nonsense(tmp_path: Path) -> tuple[Path, str]:
    return made(tmp_path / "w" / ".git", "something\n").parent, "is not a Git repository"


@pytest.mark.parametrize(
    "form",
    [
        of_worktree,
        of_bare_worktree,
        of_submodule,
        of_nested_submodule,
        of_separate,
        of_relative,
        of_known_worktree,
        of_nonsense,
    ],
    ids=lambda form: form.__name__,
)
def test_item_whose_repository_is_elsewhere_says_where(
    tmp_path: Path, nights: Nights, form: Callable[[Path], tuple[Path, str]]
) -> None:
    path, said = form(tmp_path)
    assert said in nights.failure(item(path))


def test_where_the_repository_is_said_to_be_it_can_be_copied(tmp_path: Path, nights: Nights) -> None:
    run("git", "init", "--quiet", f"--separate-git-dir={tmp_path / 'kept'}", tmp_path / "w")
    name = work_in(tmp_path / "w", "file")
    assert kind_of(nights.unpack(nights.tarball(item(tmp_path / "kept"))), name) == "commit"
