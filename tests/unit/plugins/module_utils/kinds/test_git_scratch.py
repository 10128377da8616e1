"""The scratch copy of a Git repository: a night costs what is new, and nothing dumped before changes."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.repositories import Nights, git, make_git, references, run
from helpers.trees import forbid_views

from ansible_collections.altbackup.core.plugins.module_utils.kinds import git_copy, git_scratch
from ansible_collections.altbackup.core.plugins.module_utils.kinds.git_scratch import checked, strip


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    """Return a base where items are dumped night by night."""
    return Nights(tmp_path)


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """Return a bare repository with branches, tags and notes."""
    return make_git(tmp_path / "live.git", 12)


def item(live: Path) -> dict[str, Any]:
    """Return the item of a repository."""
    return {"kind": "git", "name": "toy", "path": str(live), "may_move": ["*"]}


def scratch(nights: Nights) -> Path:
    """Return the scratch folder."""
    return nights.private / "scratch" / "git" / "toy"


def state_file(nights: Nights) -> Path:
    """Return the state file of the scratch copy."""
    return nights.private / "state" / "git" / "toy.json"


def packs(nights: Nights, within: str = ".") -> dict[str, tuple[int, ...]]:
    """Return {name: (inode, size, mtime, ctime)} of the files in the kept packs' folder."""
    folder = scratch(nights) / "copy" / within / "objects" / "pack"
    found = {path.name: path.lstat() for path in folder.iterdir()}
    return {name: (each.st_ino, each.st_size, each.st_mtime_ns, each.st_ctime_ns) for name, each in found.items()}


def add(live: Path, text: str, branch: str = "main") -> str:
    """Add a commit with a file of its own to a branch, and return its id."""
    blob = git(live, "hash-object", "-w", "--stdin", input=text.encode())
    tree = git(live, "mktree", input=f"100644 blob {blob}\tf\n".encode())
    parent = git(live, "rev-parse", "--verify", "--quiet", branch, check=False)
    made = git(live, "commit-tree", "-m", text, *(["-p", parent] if parent else []), tree)
    git(live, "update-ref", f"refs/heads/{branch}", made)
    return made


def assert_holds(nights: Nights, tarball: Path, live: Path) -> Path:
    """Assert that a tarball is a sound repository with all references of the live one; return it unpacked."""
    copy = nights.unpack(tarball)
    said = run("git", f"--git-dir={copy}", "fsck", "--full", "--strict", "--no-dangling")
    assert "missing" not in said
    assert references(copy) == references(live)
    return copy


def flip(path: Path) -> None:
    """Flip a bit in the middle of a file, as a faulty disk does."""
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)
    path.chmod(status.st_mode & 0o777)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def has(copy: Path, name: str) -> bool:
    """Return whether a repository has an object."""
    return bool(git(copy, "cat-file", "-t", name, check=False))


def test_new_commit_comes_as_one_small_pack_beside_what_is_kept_untouched(nights: Nights, live: Path) -> None:
    nights.tarball(item(live), night=1)
    before = packs(nights)
    assert sorted(name.partition(".")[2] for name in before) == ["idx", "pack"]
    add(live, "new")
    tarball = nights.tarball(item(live), night=2)
    after = packs(nights)
    assert {name: after[name] for name in before} == before
    (new,) = [name for name in after if name not in before and name.endswith(".pack")]
    index = scratch(nights) / "copy" / "objects" / "pack" / new.replace(".pack", ".idx")
    assert len(run("git", "show-index", input=index.read_bytes()).splitlines()) == 3
    assert_holds(nights, tarball, live)
    assert nights.notes == []


def test_repository_that_was_packed_anew_is_unchanged(nights: Nights, live: Path) -> None:
    first = nights.tarball(item(live), night=1)
    git(live, "repack", "-a", "-d", "-f", "-n", "-q")
    assert nights.tarball(item(live), night=2).stat().st_ino == first.stat().st_ino


def test_rebuild_keeps_packs_in_which_nothing_is_useless(nights: Nights, live: Path) -> None:
    nights.tarball(item(live), night=1)
    add(live, "new")
    second = nights.tarball(item(live), night=2)
    before = packs(nights)
    third = nights.tarball(item(live), night=3, verify_every=1)
    assert third.stat().st_ino == second.stat().st_ino and packs(nights) == before
    assert json.loads(state_file(nights).read_text())["built"] == "2013/05/03"
    add(live, "newer")
    assert_holds(nights, nights.tarball(item(live), night=4, verify_every=1), live)
    assert before.items() < packs(nights).items()
    assert nights.notes == []
    assert not (nights.private / "building" / "git" / "toy").exists()


@pytest.mark.sampled(3)
@pytest.mark.parametrize("how", ["rewritten", "deleted", "created anew"])
def test_what_nothing_leads_to_any_more_goes_with_the_rebuild(nights: Nights, live: Path, how: str) -> None:
    secret = add(live, "secret", "topic")
    nights.tarball(item(live), night=1)
    if how == "rewritten":
        git(live, "update-ref", "refs/heads/topic", "main")
        add(live, "without it", "topic")
    elif how == "deleted":
        git(live, "update-ref", "-d", "refs/heads/topic")
    else:
        shutil.rmtree(live)
        make_git(live, 3)
        add(live, "other")
    git(live, "gc", "--quiet", "--prune=now")
    copy = assert_holds(nights, nights.tarball(item(live), night=2), live)
    assert has(copy, secret) is (how != "created anew")
    mine = {**item(live), "may_move": ["refs/heads/topic"]}
    record = nights.dump(mine, night=3)["tarballs"][0]["record"]
    lasting = git(live, "for-each-ref", "--format=%(refname)").split()
    lasting = [name for name in lasting if name != "refs/heads/topic"]
    assert record["measures"]["objects"] == int(git(live, "rev-list", "--objects", "--count", *lasting))
    copy = assert_holds(nights, nights.tarball(item(live), night=4, verify_every=1), live)
    assert not has(copy, secret)
    assert nights.notes == []


def test_much_that_nothing_leads_to_is_not_kept_for_long(nights: Nights, live: Path) -> None:
    mine = {**item(live), "may_move": []}
    large = [add(live, f"{number}", "topic") for number in range(20)]
    nights.tarball(mine, night=1)
    git(live, "update-ref", "-d", "refs/heads/topic")
    copy = assert_holds(nights, nights.suspect(mine, "objects fell", night=2), live)
    assert not has(copy, large[-1])


def test_nothing_is_packed_twice_though_the_live_repository_forgot_what_is_known(
    nights: Nights, tmp_path: Path
) -> None:
    live = make_git(tmp_path / "one.git", 0)
    for number in range(6):
        add(live, f"{number}")
    nights.tarball(item(live), night=1)
    before = packs(nights)
    git(live, "update-ref", "refs/heads/main", "main~1")
    add(live, "instead")
    git(live, "gc", "--quiet", "--prune=now")
    assert_holds(nights, nights.tarball(item(live), night=2), live)
    (new,) = [name for name in packs(nights) if name not in before and name.endswith(".idx")]
    index = scratch(nights) / "copy" / "objects" / "pack" / new
    assert len(run("git", "show-index", input=index.read_bytes()).splitlines()) == 3


def test_what_came_back_is_not_packed_again(nights: Nights, live: Path) -> None:
    kept = add(live, "kept", "topic")
    nights.tarball(item(live), night=1)
    git(live, "update-ref", "-d", "refs/heads/topic")
    nights.tarball(item(live), night=2)
    before = packs(nights)
    git(live, "update-ref", "refs/heads/topic", kept)
    assert_holds(nights, nights.tarball(item(live), night=3), live)
    assert packs(nights) == before


@pytest.mark.sampled(4)
@pytest.mark.parametrize("night", [{}, {"verify_every": 1}], ids=["usual night", "rebuild"])
@pytest.mark.parametrize("ending", [".pack", ".idx"])
def test_rotten_scratch_is_never_published(nights: Nights, live: Path, ending: str, night: dict[str, int]) -> None:
    nights.tarball(item(live), night=1)
    (victim,) = (scratch(nights) / "copy" / "objects" / "pack").glob(f"*{ending}")
    flip(victim)
    second = nights.tarball(item(live), night=2, **night)
    assert_holds(nights, second, live)
    assert any("the scratch copy was built anew" in note for note in nights.notes)
    assert nights.tarball(item(live), night=3).stat().st_ino == second.stat().st_ino
    assert nights.notes == []


def test_rot_that_nobody_saw_come_is_found_by_the_look_at_the_whole(nights: Nights, live: Path) -> None:
    nights.tarball(item(live), night=1)
    (victim,) = (scratch(nights) / "copy" / "objects" / "pack").glob("*.pack")
    flip(victim)
    state = json.loads(state_file(nights).read_text())
    state["repositories"]["."]["packs"][victim.name][1] = hashlib.sha256(victim.read_bytes()).hexdigest()
    state_file(nights).write_text(json.dumps(state))
    assert_holds(nights, nights.tarball(item(live), night=2, verify_every=1), live)
    assert any("the scratch copy was built anew" in note for note in nights.notes)


def test_repository_of_another_format_in_its_place(nights: Nights, live: Path) -> None:
    nights.tarball(item(live), night=1)
    shutil.rmtree(live)
    make_git(live, object_format="sha256")
    for night in (2, 3):
        result = nights.dump(item(live), night=night)
        assert_holds(nights, Path(result["tarballs"][0]["path"]), live)
        assert any("is another kind of repository" in note for note in nights.notes) is (night == 2)


def test_scratch_that_tells_nonsense_of_the_past_is_not_believed(nights: Nights, live: Path) -> None:
    """Questions beyond what is new are asked again of a copy that is built anew."""
    nights.tarball({**item(live), "may_move": []}, night=1)
    (victim,) = (scratch(nights) / "copy" / "objects" / "pack").glob("*.pack")
    victim.chmod(0o600)
    with victim.open("r+b") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(12)
        stream.write(bytes(size - 32))
    git(live, "update-ref", "refs/heads/side", "main")
    assert_holds(nights, nights.tarball({**item(live), "may_move": []}, night=2), live)
    assert any("the scratch copy was built anew" in note for note in nights.notes)


def junk(nights: Nights) -> None:
    folder = scratch(nights) / "copy" / "objects"
    (folder / "pack" / "tmp_pack_x").write_text("x")
    (folder / "pack" / f"pack-{'1' * 40}.pack").write_text("x")
    (folder / "info" / "alternates").write_text("/nonexistent\n")
    (folder / "17").mkdir()
    (scratch(nights) / "0.data").mkdir()
    (scratch(nights) / "copy" / "config").write_text("nonsense [")
    (scratch(nights) / "copy" / "refs" / "heads" / "odd").write_text("nonsense")


def without_packs(nights: Nights) -> None:
    for path in (scratch(nights) / "copy" / "objects" / "pack").glob("*.pack"):
        path.unlink()


def linked_packs(nights: Nights) -> None:
    folder = scratch(nights) / "copy" / "objects" / "pack"
    folder.rename(nights.private / "elsewhere")
    folder.symlink_to(nights.private / "elsewhere")


def other_ends(nights: Nights) -> None:
    """Add an object to the state that the copy does not have."""
    state = json.loads(state_file(nights).read_text())
    state["repositories"]["."]["ends"].append("1" * 40)
    state_file(nights).write_text(json.dumps(state))


LEFT: dict[str, tuple[Callable[[Nights], object], bool]] = {
    "junk of a killed run": (junk, False),
    "no copy": (lambda nights: shutil.rmtree(scratch(nights)), False),
    "empty copy": (lambda nights: shutil.rmtree(scratch(nights) / "copy"), True),
    "no pack": (without_packs, True),
    "packs behind a link": (linked_packs, True),
    "no state": (lambda nights: state_file(nights).unlink(), True),
    "bad state": (lambda nights: state_file(nights).write_text('{"built": 1, "repositories": {".": []}}'), True),
    "wrong state": (other_ends, True),
}


@pytest.mark.sampled(18)
@pytest.mark.parametrize("left", LEFT)
@pytest.mark.parametrize("change", [lambda live: None, lambda live: add(live, "new")], ids=["unchanged", "changed"])
def test_whatever_is_left_the_archive_is_whole(
    nights: Nights, live: Path, left: str, change: Callable[[Path], object]
) -> None:
    nights.tarball(item(live), night=1)
    damage, told = LEFT[left]
    damage(nights)
    change(live)
    assert_holds(nights, nights.tarball(item(live), night=2), live)
    assert [note for note in nights.notes if "the scratch copy was built anew" in note] == nights.notes
    assert bool(nights.notes) is told


def shimmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, script: str) -> None:
    """Run a script after the first call of a git command, which then fails."""
    shim = tmp_path / "bin" / "git"
    shim.parent.mkdir()
    shim.write_text(
        f'#!/bin/sh\ncase " $* " in *" {command} "*) if ! [ -e {tmp_path}/once ]; then touch {tmp_path}/once\n'
        f'{shutil.which("git")} "$@" >&2; {script}; exit 3; fi;; esac\nexec {shutil.which("git")} "$@"\n'
    )
    shim.chmod(0o755)
    forbid_views(monkeypatch)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")


@pytest.mark.sampled(6)
@pytest.mark.parametrize("command", ["init", "cat-file", "rev-list", "pack-objects", "index-pack", "merge-base"])
def test_error_that_passes_costs_a_look_at_the_whole_and_packs_nothing_again(
    tmp_path: Path, nights: Nights, live: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    nights.tarball(item(live), night=1)
    before = packs(nights)
    add(live, "new")
    shimmed(tmp_path, monkeypatch, command, "echo once >&2")
    tarball = nights.tarball(item(live), night=2)
    assert (tmp_path / "once").exists()
    assert_holds(nights, tarball, live)
    assert {name: size for name, (_, size, *_) in before.items()}.items() < {
        name: size for name, (_, size, *_) in packs(nights).items()
    }.items()
    (note,) = [note for note in nights.notes if "view" not in note]
    assert "the scratch copy was verified whole, after an error: " in note and "once" in note
    assert json.loads(state_file(nights).read_text())["built"] == "2013/05/01"


@pytest.mark.sampled(2)
@pytest.mark.parametrize("bare", [True, False])
def test_scratch_that_cannot_be_written_to_is_taken_along(
    tmp_path: Path, nights: Nights, bare: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = make_git(tmp_path / "one", bare=bare)
    nights.tarball(item(tmp_path / "one"), night=1)
    add(live, "new")
    second = nights.tarball(item(tmp_path / "one"), night=2)
    before = packs(nights, "." if bare else ".git")
    real = git_scratch.copy_repository

    def failing(*arguments: Any) -> Any:
        if str(scratch(nights)) in arguments:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(scratch(nights)))
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(git_scratch, "copy_repository", failing)
        third = nights.tarball(item(tmp_path / "one"), night=3)
    assert third.stat().st_ino == second.stat().st_ino
    assert sum("the scratch copy was verified whole, after an error: " in note for note in nights.notes) == 1
    assert {name: each[1] for name, each in packs(nights, "." if bare else ".git").items()} == {
        name: each[1] for name, each in before.items()
    }
    assert nights.tarball(item(tmp_path / "one"), night=4).stat().st_ino == second.stat().st_ino


@pytest.mark.sampled(5)
@pytest.mark.parametrize("command", ["init", "cat-file", "rev-list", "pack-objects", "index-pack"])
def test_killed_dump_heals(
    tmp_path: Path, nights: Nights, live: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller of git is killed in the middle of the second night, too."""
    nights.tarball(item(live), night=1)
    before = packs(nights)
    add(live, "new")
    with monkeypatch.context() as patch:
        shimmed(tmp_path, patch, command, f"kill -{signal.SIGKILL:d} $PPID")
        assert "was killed" in nights.failure(item(live), night=2)
    assert (tmp_path / "once").exists()
    assert json.loads(state_file(nights).read_text())["built"] == ""
    assert_holds(nights, nights.tarball(item(live), night=3), live)
    assert json.loads(state_file(nights).read_text())["built"] == "2013/05/03"
    assert before.items() < packs(nights).items()


@pytest.mark.full
def test_small_packs_become_one_and_the_large_one_stays(
    nights: Nights, live: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_copy, "_MOST_PACKS", 3)
    nights.tarball(item(live), night=1)
    first = packs(nights)
    counts = []
    for night in range(2, 8):
        add(live, f"{night}")
        tarball = nights.tarball(item(live), night=night)
        counts.append(sum(name.endswith(".pack") for name in packs(nights)))
    assert max(counts) == 3
    assert first.items() < packs(nights).items()
    assert_holds(nights, tarball, live)
    assert nights.notes == []


def test_history_that_was_cut_off_elsewhere_is_copied_whole(nights: Nights, live: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone.git"
    run("git", "clone", "--quiet", "--bare", "--depth=2", f"file://{live}", clone)
    nights.tarball(item(clone), night=1)
    git(clone, "fetch", "--quiet", "--unshallow", "origin")
    copy = assert_holds(nights, nights.tarball(item(clone), night=2), clone)
    assert git(copy, "rev-list", "--count", "main") == "12"
    assert nights.notes == []


@pytest.mark.full
def test_submodules_are_kept_each_by_itself(nights: Nights, live: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    make_git(tree, bare=False)
    module = make_git(tree / ".git" / "modules" / "libs" / "one", 3)
    nights.tarball(item(tree), night=1)
    before = packs(nights, ".git/modules/libs/one"), packs(nights, ".git")
    add(module, "new")
    copy = nights.unpack(nights.tarball(item(tree), night=2))
    assert references(copy / ".git" / "modules" / "libs" / "one") == references(module)
    assert packs(nights, ".git") == before[1]
    assert before[0].items() < packs(nights, ".git/modules/libs/one").items()
    shutil.rmtree(module)
    copy = nights.unpack(nights.tarball(item(tree), night=3))
    assert not (copy / ".git" / "modules" / "libs" / "one").exists()
    make_git(module, 2)
    second = nights.tarball(item(tree), night=4)
    assert references(nights.unpack(second) / ".git" / "modules" / "libs" / "one") == references(module)
    assert nights.tarball(item(tree), night=5).stat().st_ino == second.stat().st_ino


def test_strip_leaves_what_is_kept_alone(tmp_path: Path) -> None:
    top = tmp_path / "top"
    for path in ("a/b/kept", "a/b/other", "a/c/x", "x", "a/b/d/y"):
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_text(path)
    (top / "link").symlink_to(tmp_path)
    (top / "a" / "link").symlink_to("b")
    strip(str(top), {"a/b/kept", "z/missing"})
    assert sorted(str(path.relative_to(top)) for path in top.rglob("*")) == ["a", "a/b", "a/b/kept"]
    assert tmp_path.exists()


@pytest.mark.parametrize(
    "known",
    [
        {"packs": {"../x": [1, "0" * 64]}},
        {"packs": {f"pack-{'0' * 40}.pack": [1, "x"]}},
        {"packs": {f"pack-{'0' * 40}.pack": 1}},
        {"ends": ["--all"]},
        {"ends": 1},
    ],
)
def test_state_of_another_form_is_refused(known: dict[str, Any]) -> None:
    good = {"form": "sha1", "shallow": "", "ends": ["0" * 40], "packs": {f"pack-{'0' * 40}.pack": [1, "0" * 64]}}
    assert checked({"built": "x", "repositories": {".": good}})["repositories"]["."] == good
    with pytest.raises((KeyError, TypeError, ValueError)):
        checked({"built": "x", "repositories": {".": {**good, **known}}})
