"""Kind `svn`, on real repositories that are used, changed and damaged between the nights and during them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import tree_hash
from helpers.repositories import NEVER, Nights, busy, load_subversion, make_subversion, run, set_revision_property
from helpers.trees import NOBODY, as_nobody, forbid_views, needs_root, nobodys_folder

from ansible_collections.altbackup.core.plugins.module_utils.archive.write import ArchiveFormat
from ansible_collections.altbackup.core.plugins.module_utils.kinds.svn import is_sound_cache
from ansible_collections.altbackup.core.plugins.module_utils.system import programs


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    """Return a base where items are dumped night by night."""
    return Nights(tmp_path)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository of five revisions, to be copied."""
    return make_subversion(tmp_path_factory.mktemp("subversion") / "template")


@pytest.fixture
def live(tmp_path: Path, template: Path) -> Path:
    """Return a repository of five revisions."""
    return Path(shutil.copytree(template, tmp_path / "live"))


def item(live: Path, name: str = "toy") -> dict[str, Any]:
    """Return the item of a repository."""
    return {"kind": "svn", "name": name, "path": str(live)}


def everything(repository: Path, last: str = "HEAD") -> str:
    """Return a repository's whole history as text."""
    return run("svnadmin", "dump", "--quiet", f"--revision=0:{last}", repository)


def youngest(repository: Path) -> str:
    """Return a repository's youngest revision."""
    return run("svnlook", "youngest", repository).strip()


def assert_holds(nights: Nights, tarball: Path, live: Path) -> Path:
    """Assert that a tarball is a sound repository with everything in the live one; return it unpacked."""
    copy = nights.unpack(tarball)
    run("svnadmin", "verify", "--quiet", copy)
    assert everything(copy) == everything(live)
    return copy


def assert_as_built_anew(nights: Nights, live: Path, tarball: Path) -> None:
    """Assert that a copy built from scratch gives the same bytes as the one kept from night to night."""
    shutil.rmtree(nights.private / "scratch" / "svn")
    again = nights.tarball(item(live), night=28)
    assert again.read_bytes() == tarball.read_bytes()
    assert again.stat().st_ino == tarball.stat().st_ino


def state_file(nights: Nights) -> Path:
    """Return the state file of the scratch copy."""
    return nights.private / "state" / "svn" / "toy.json"


def scratch(nights: Nights) -> Path:
    """Return the scratch copy."""
    return nights.private / "scratch" / "svn" / "toy"


def flip(path: Path, *, keep_time: bool = True, at: int = 30) -> None:
    """Flip a bit of a file; `keep_time` as a faulty disk does."""
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(status.st_mode & 0o777)
    if keep_time:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.sampled(3)
@pytest.mark.parametrize("extension", [".tar", ".tar.gz", ".tar.zst"])
def test_tarball_unpacks_with_plain_tar_to_an_equal_repository(nights: Nights, live: Path, extension: str) -> None:
    tarball = nights.tarball(item(live), form=ArchiveFormat(extension))
    assert tarball.name == f"toy-5{extension}"
    copy = assert_holds(nights, tarball, live)
    assert copy.name == "toy-5"
    assert youngest(copy) == "5"


def test_record_says_what_was_dumped(nights: Nights, live: Path) -> None:
    record = nights.dump(item(live))["tarballs"][0]["record"]
    assert record["uuid"] == run("svnlook", "uuid", live).strip()
    assert record["revision"] == 5


@pytest.mark.sampled(6)
@pytest.mark.parametrize("name", ["toy@5", "-x y", "100%41", "it's", '$(touch x)"', "ünï"])
def test_odd_names_and_paths(tmp_path: Path, nights: Nights, name: str) -> None:
    live = make_subversion(tmp_path / name, 2)
    for night in (1, 2):
        tarball = nights.tarball(item(live, name), night=night)
    assert assert_holds(nights, tarball, live).name == f"{name}-2"
    assert nights.notes == []


def test_path_through_a_link_is_the_repository(tmp_path: Path, nights: Nights, live: Path) -> None:
    (tmp_path / "link").symlink_to(live)
    assert_holds(nights, nights.tarball(item(tmp_path / "link")), live)


def test_commits_during_the_dump_give_one_committed_state(nights: Nights, live: Path) -> None:
    def commit(number: int) -> None:
        run("svnmucc", "--message=more", "mkdir", f"file://{live}/more{number}")

    between = 0
    tarballs = []
    with busy(commit) as commits:
        for night in range(1, 7):
            before = len(commits)
            tarballs.append(nights.tarball(item(live), night=night, verify_every=3))
            between += len(commits) > before
    assert between >= 3, "too few commits came during dumps"
    for tarball in tarballs:
        copy = nights.unpack(tarball)
        run("svnadmin", "verify", "--quiet", copy)
        revision = youngest(copy)
        assert tarball.name == f"toy-{revision}.tar" and copy.name == f"toy-{revision}"
        assert everything(copy) == everything(live, revision)
    assert len({tarball.name for tarball in tarballs}) > 1


@pytest.mark.full
def test_revision_properties_and_locks_that_change_during_the_dump(nights: Nights, live: Path) -> None:
    def change(number: int) -> None:
        url = f"file://{live}/d1/f"
        set_revision_property(live, 1 + number % 5, f"log {number:06d}")
        run("svn", "unlock" if number % 2 else "lock", "--quiet", *(["--force"] if number % 2 else []), url)

    with busy(change) as changes:
        for night in range(1, 7):
            nights.tarball(item(live), night=night)
    assert len(changes) > 6
    tarball = nights.tarball(item(live), night=7)
    assert_holds(nights, tarball, live)
    assert_as_built_anew(nights, live, tarball)


def shimmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Run a script before each call of the real svnadmin."""
    folder = tmp_path / "bin"
    folder.mkdir()
    shim = folder / "svnadmin"
    shim.write_text(f'#!/bin/sh\n{script}\nexec {shutil.which("svnadmin")} "$@"\n')
    shim.chmod(0o755)
    forbid_views(monkeypatch)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_file_that_vanishes_under_the_hot_copy_is_no_failure(
    tmp_path: Path, nights: Nights, live: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This happens when a lock is broken or revisions are packed meanwhile."""
    nights.tarball(item(live))
    victim = live / "db" / "revprops" / "0" / "3"
    shimmed(
        tmp_path,
        monkeypatch,
        f'if [ "$1" = hotcopy ] && ! [ -e {tmp_path}/once ]; then touch {tmp_path}/once; mv {victim} {victim}.away;'
        f' {shutil.which("svnadmin")} "$@"; rc=$?; mv {victim}.away {victim}; exit $rc; fi',
    )
    load_subversion(live, 6, 6)
    for night, expected in ((2, []), (3, [])):
        tarball = nights.tarball(item(live), night=night)
        assert [note for note in nights.notes if "view" not in note] == expected
        assert (tmp_path / "once").exists()
        (tmp_path / "once").unlink()
        shutil.rmtree(scratch(nights))  # the next one vanishes under a full copy
    assert_holds(nights, tarball, live)


def look_around(live: Path) -> None:
    for argv in (
        ("svnlook", "info", live),
        ("svnlook", "tree", live),
        ("svnadmin", "lslocks", live),
        ("svnadmin", "lstxns", live),
        ("svnadmin", "verify", "--quiet", live),
        ("svn", "proplist", "--verbose", "--revprop", "--revision=1", f"file://{live}"),
        ("svn", "log", "--quiet", f"file://{live}"),
        ("svn", "cat", f"file://{live}/d1/f"),
    ):
        run(*argv)
    (live / "hooks" / "pre-revprop-change").read_text()


def touch_all(live: Path) -> None:
    for path in [live, *live.rglob("*")]:
        os.utime(path)


def same_owner_and_mode(live: Path) -> None:
    for path in [live, *live.rglob("*")]:
        status = path.stat()
        os.chown(path, status.st_uid, status.st_gid)
        path.chmod(status.st_mode & 0o7777)


def fill_cache(live: Path) -> None:
    """Fill the cache that readers write in older repositories."""
    (live / "db" / "node-origins").mkdir()
    (live / "db" / "node-origins" / "0").write_text("K 1\n0\nV 1\n0\nEND\n")


@pytest.mark.sampled(6)
@pytest.mark.parametrize(
    "change",
    [lambda live: None, look_around, touch_all, same_owner_and_mode, fill_cache],
    ids=lambda change: change.__name__,
)
def test_unchanged_repository_gives_the_same_file_every_night(
    nights: Nights, live: Path, change: Callable[[Path], None]
) -> None:
    tarballs = [nights.tarball(item(live), night=1)]
    for night in (2, 3, 4):
        change(live) if night == 3 else None
        tarballs.append(nights.tarball(item(live), night=night))
        assert nights.notes == []
    assert len({tarball.read_bytes() for tarball in tarballs}) == 1
    assert len({tarball.stat().st_ino for tarball in tarballs}) == 1
    assert len(set(tarballs)) == 4
    assert_as_built_anew(nights, live, tarballs[0])


@pytest.mark.full
def test_rebuild_of_an_unchanged_repository_gives_the_same_file(nights: Nights, live: Path) -> None:
    written = []
    inodes = set()
    for night in range(1, 10):
        inodes.add(nights.tarball(item(live), night=night, verify_every=3).stat().st_ino)
        assert nights.notes == []
        written.append(json.loads(state_file(nights).read_text())["built"])
    assert len(inodes) == 1
    assert len(set(written)) >= 3
    assert {int(day[-2:]) for day in written} <= set(range(1, 10))


def test_umask_of_the_caller_does_not_show(nights: Nights, live: Path) -> None:
    umask = os.umask(0o022)
    try:
        first = nights.tarball(item(live))
        shutil.rmtree(scratch(nights))
        result = nights.module(item(live), night=2)
    finally:
        os.umask(umask)
    assert Path(result["tarballs"][0]["path"]).stat().st_ino == first.stat().st_ino


def set_hook(live: Path, name: str = "post-commit", text: str = "#!/bin/sh\nexit 0\n", mode: int = 0o755) -> Path:
    hook = live / "hooks" / name
    hook.write_text(text)
    hook.chmod(mode)
    return hook


def older_property(live: Path) -> None:
    """Restore an older file of the same size, as from a backup."""
    path = live / "db" / "revprops" / "0" / "2"
    content = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(content.replace(b"revision 2", b"REVISION 2"))
    os.utime(path, (1, 1))
    path.chmod(0o444)


CHANGES: dict[str, tuple[Callable[[Path], Any], Callable[[Path], bool]]] = {
    "property of the same length": (
        lambda live: set_revision_property(live, 2, "REVISION 2"),
        lambda copy: run("svnlook", "log", "-r2", copy) == "REVISION 2\n",
    ),
    "property of the same length, put back from a copy": (
        older_property,
        lambda copy: run("svnlook", "log", "-r2", copy) == "REVISION 2\n",
    ),
    "property of another length": (
        lambda live: set_revision_property(live, 5, "longer than before"),
        lambda copy: run("svnlook", "log", "-r5", copy) == "longer than before\n",
    ),
    "property deleted": (
        lambda live: run("svn", "propdel", "--quiet", "--revprop", "-r3", "svn:log", f"file://{live}"),
        lambda copy: run("svnlook", "log", "-r3", copy) == "\n",
    ),
    "hook added": (lambda live: set_hook(live), lambda copy: os.access(copy / "hooks" / "post-commit", os.X_OK)),
    "hook changed": (
        lambda live: set_hook(live, "pre-revprop-change", "#!/bin/sh\nexit 1\n"),
        lambda copy: (copy / "hooks" / "pre-revprop-change").read_text() == "#!/bin/sh\nexit 1\n",
    ),
    "hook deleted": (
        lambda live: (live / "hooks" / "pre-revprop-change").unlink(),
        lambda copy: not (copy / "hooks" / "pre-revprop-change").exists(),
    ),
    "mode of a hook": (
        lambda live: (live / "hooks" / "pre-revprop-change").chmod(0o700),
        lambda copy: (copy / "hooks" / "pre-revprop-change").stat().st_mode & 0o777 == 0o700,
    ),
    "mode of a folder": (
        lambda live: (live / "db" / "revs").chmod(0o750),
        lambda copy: (copy / "db" / "revs").stat().st_mode & 0o777 == 0o750,
    ),
    "hooks become a link": (
        lambda live: (shutil.rmtree(live / "hooks"), (live / "hooks").symlink_to("/nonexistent/hooks")),
        lambda copy: (copy / "hooks").is_symlink() and os.readlink(copy / "hooks") == "/nonexistent/hooks",
    ),
    "path locked": (
        lambda live: run("svn", "lock", "--quiet", f"file://{live}/d1/f"),
        lambda copy: "Path: /d1/f" in run("svnadmin", "lslocks", copy),
    ),
    "configuration": (
        lambda live: (live / "conf" / "passwd").write_text("[users]\nbackup = secret\n"),
        lambda copy: "backup = secret" in (copy / "conf" / "passwd").read_text(),
    ),
    "configuration deleted": (
        lambda live: (live / "conf" / "passwd").unlink(),
        lambda copy: not (copy / "conf" / "passwd").exists(),
    ),
    "file system's configuration": (
        lambda live: (live / "db" / "fsfs.conf").write_text("# changed\n"),
        lambda copy: (copy / "db" / "fsfs.conf").read_text() == "# changed\n",
    ),
    "file beside": (
        lambda live: (live / "NOTE").write_text("for whom it concerns"),
        lambda copy: (copy / "NOTE").exists(),
    ),
    "file beside deleted": (
        lambda live: (live / "README.txt").unlink(),
        lambda copy: not (copy / "README.txt").exists(),
    ),
    "commit": (lambda live: load_subversion(live, 6, 6), lambda copy: youngest(copy) == "6"),
}


@pytest.mark.sampled(20)
@pytest.mark.parametrize("change", CHANGES)
def test_change_is_in_the_next_tarball_and_then_stays(nights: Nights, live: Path, change: str) -> None:
    make, visible = CHANGES[change]
    first = nights.tarball(item(live), night=1)
    make(live)
    second = nights.tarball(item(live), night=2)
    assert nights.notes == []
    assert second.read_bytes() != first.read_bytes()
    assert not visible(nights.unpack(first))
    assert visible(assert_holds(nights, second, live))
    third = nights.tarball(item(live), night=3)
    assert third.stat().st_ino == second.stat().st_ino
    assert_as_built_anew(nights, live, third)


def test_properties_that_did_not_change_are_not_copied_anew(nights: Nights, live: Path) -> None:
    nights.tarball(item(live), night=1)
    properties = scratch(nights) / "db" / "revprops" / "0"
    with contextlib.ExitStack() as held:  # held open: another file cannot get the number of one that was removed
        before = {path.name: held.enter_context(path.open("rb")) for path in properties.iterdir()}
        set_revision_property(live, 2, "REVISION 2")
        flip(properties / "4")
        nights.tarball(item(live), night=2)
        same = {
            name
            for name, file in before.items()
            if os.path.samestat(os.fstat(file.fileno()), (properties / name).stat())
        }
    assert sorted(set(before) - same) == ["2", "4"]
    assert (properties / "4").read_bytes() == (live / "db" / "revprops" / "0" / "4").read_bytes()


def test_properties_of_the_copy_that_cannot_be_read_are_copied_anew(nights: Nights, live: Path) -> None:
    nights.tarball(item(live), night=1)
    damaged = scratch(nights) / "db" / "revprops" / "0" / "4"
    damaged.unlink()
    os.mkfifo(damaged)
    nights.tarball(item(live), night=2)
    assert nights.notes == []
    assert damaged.read_bytes() == (live / "db" / "revprops" / "0" / "4").read_bytes()


def test_lock_that_was_released_leaves_no_trace(nights: Nights, live: Path) -> None:
    run("svn", "lock", "--quiet", f"file://{live}/d1/f")
    nights.tarball(item(live), night=1)
    run("svn", "unlock", "--quiet", "--force", f"file://{live}/d1/f")
    copy = assert_holds(nights, nights.tarball(item(live), night=2), live)
    assert run("svnadmin", "lslocks", copy) == ""


def test_locks_and_caches_of_the_copy_are_not_archived(nights: Nights, live: Path) -> None:
    fill_cache(live)
    for night in (1, 2):
        copy = nights.unpack(nights.tarball(item(live), night=night))
    assert (scratch(nights) / "db" / "pack-lock").exists()
    names = {path.name for path in (copy / "db").iterdir()}
    assert names.isdisjoint({"pack-lock", "rep-cache.db-journal", "node-origins"})
    assert "rep-cache.db" in names


def test_rep_cache_is_whole_and_does_not_differ_from_night_to_night(nights: Nights, live: Path) -> None:
    run("svnmucc", "-m", "x", "put", live / "format", f"file://{live}/format")
    copies = [nights.unpack(nights.tarball(item(live), night=night)) for night in (1, 2, 3)]
    assert len({(copy / "db" / "rep-cache.db").read_bytes() for copy in copies}) == 1
    rows = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('select * from rep_cache order by 1').fetchall())"
    cached = run("python3", "-c", rows, live / "db" / "rep-cache.db")
    assert len(cached) > 10
    assert run("python3", "-c", rows, copies[0] / "db" / "rep-cache.db") == cached


def spoil_cache(live: Path, how: str) -> None:
    """Overwrite a repository's cache, an SQLite database, with garbage."""
    cache = live / "db" / "rep-cache.db"
    content = bytearray(cache.read_bytes())
    if how == "begin":
        content[: 8 << 10] = os.urandom(8 << 10)
    elif how == "pages":
        content[4096:] = os.urandom(len(content) - 4096)
    elif how == "cut":
        del content[3000:]
    elif how == "text":
        content = bytearray(b"no database at all\n" * 1000)
    cache.write_bytes(content)


@pytest.mark.sampled(8)
@pytest.mark.parametrize("how", ["begin", "pages", "cut", "text"])
@pytest.mark.parametrize("view", [True, False], ids=["in a view", "without a view"])
def test_cache_that_is_garbage_is_noted_and_left_out(
    nights: Nights, live: Path, how: str, view: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not view:
        forbid_views(monkeypatch)
    nights.tarball(item(live), night=1)
    spoil_cache(live, how)
    for night in (2, 3):
        load_revisions_without_cache(live, night)
        before = tree_hash(live)
        result = nights.dump(item(live), night=night)
        assert result["failures"] == []
        (note,) = [note for note in result["notes"] if "kernel" not in note]
        assert f"{live}/db/rep-cache.db cannot be used (sqlite[S" in note
        assert "move it away" in note
        tarball = Path(result["tarballs"][0]["path"])
        copy = assert_holds(nights, tarball, live)
        assert not (copy / "db" / "rep-cache.db").exists()
        assert {entry.name for entry in copy.iterdir()} == {entry.name for entry in live.iterdir()}
        assert tree_hash(live) == before
    (live / "db" / "rep-cache.db").unlink()
    healed = nights.dump(item(live), night=4)
    assert healed["failures"] == [] and not [note for note in healed["notes"] if "rep-cache" in note]


@pytest.mark.parametrize("name", [b"plain", b"odd ?#% \xff"])
def test_a_cache_is_sound_if_all_of_it_can_be_read_and_nothing_waits_beside_it(live: Path, name: bytes) -> None:
    place = os.path.join(os.fsencode(live.parent), name)
    os.rename(live, place)
    path = os.fsdecode(place)
    journal, cache = Path(path, "db", "rep-cache.db-journal"), Path(path, "db", "rep-cache.db")
    before = sorted(os.listdir(cache.parent))
    assert is_sound_cache(path)
    assert sorted(os.listdir(cache.parent)) == before
    journal.write_bytes(b"")
    assert is_sound_cache(path)
    journal.write_bytes(b"unfinished")
    assert not is_sound_cache(path)
    journal.unlink()
    spoil_cache(Path(path), "begin")
    assert not is_sound_cache(path)
    cache.unlink()
    assert not is_sound_cache(path)


def load_revisions_without_cache(live: Path, night: int) -> None:
    """Commit to a repository whose cache is garbage, by another one that has none."""
    cache = live / "db" / "rep-cache.db"
    content = cache.read_bytes()
    cache.unlink()
    load_subversion(live, 4 + night, 4 + night)
    cache.write_bytes(content)


def test_first_dump_of_a_repository_whose_cache_is_garbage(nights: Nights, live: Path) -> None:
    spoil_cache(live, "begin")
    result = nights.dump(item(live), night=1)
    assert result["failures"] == []
    assert "rep-cache.db cannot be used" in result["notes"][0]
    assert_holds(nights, Path(result["tarballs"][0]["path"]), live)


def assert_dumped_without_cache(nights: Nights, live: Path, problem: str, night: int = 2) -> None:
    """Assert that a dump of a repository is complete without its cache, with one note about it, a whole sentence."""
    before = sorted(path.name for path in (live / "db").iterdir())
    result = nights.dump(item(live), night=night)
    assert result["failures"] == []
    (note,) = [note for note in result["notes"] if "kernel" not in note]
    assert (
        problem in note and note.count("it is a mere cache") == 1 and "executing" not in note and "PRAGMA" not in note
    )
    copy = assert_holds(nights, Path(result["tarballs"][0]["path"]), live)
    assert not list((copy / "db").glob("rep-cache*"))
    assert sorted(path.name for path in (live / "db").iterdir()) == before


def put(path: Path, how: str) -> None:
    """Put something other than a plain file at a path."""
    path.unlink(missing_ok=True)
    if how == "pipe":
        os.mkfifo(path)
    elif how == "folder":
        path.mkdir()
    elif how == "holes":
        with path.open("wb") as stream:
            stream.truncate(1 << 40)
    else:
        path.symlink_to({"dangling": "/nonexistent", "loop": path.name, "elsewhere": "/etc/hostname"}[how])


@pytest.mark.sampled(4)
@pytest.mark.parametrize("view", [True, False], ids=["in a view", "without a view"])
@pytest.mark.parametrize("first", [True, False], ids=["first night", "later night"])
def test_cache_that_is_locked_is_noted_and_left_out(
    nights: Nights, live: Path, view: bool, first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not view:
        forbid_views(monkeypatch)
    if not first:
        nights.tarball(item(live), night=1)
        load_subversion(live, 6, 6)
    with contextlib.closing(sqlite3.connect(live / "db" / "rep-cache.db", isolation_level=None)) as other:
        other.execute("begin exclusive")
        assert_dumped_without_cache(nights, live, f"{live}/db/rep-cache.db is locked by another program")
    nights.tarball(item(live), night=3)
    assert not [note for note in nights.notes if "rep-cache" in note]


@pytest.mark.sampled(12)
@pytest.mark.parametrize("view", [True, False], ids=["in a view", "without a view"])
@pytest.mark.parametrize("how", ["pipe", "folder", "dangling", "loop", "elsewhere", "holes"])
def test_cache_that_is_no_plain_file_is_noted_and_left_out(
    nights: Nights, live: Path, how: str, view: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not view:
        forbid_views(monkeypatch)
    nights.tarball(item(live), night=1)
    put(live / "db" / "rep-cache.db", how)
    predicted = nights.module(item(live), night=2, check_mode=True)
    assert not predicted["failures"] and "rep-cache.db " in predicted["notes"][0]
    assert_dumped_without_cache(nights, live, f"{live}/db/rep-cache.db ")


@pytest.mark.sampled(12)
@pytest.mark.parametrize("how", ["pipe", "folder", "dangling", "elsewhere"])
@pytest.mark.parametrize("beside", ["journal", "wal", "shm"])
def test_what_stands_beside_the_cache_fails_nothing(nights: Nights, live: Path, how: str, beside: str) -> None:
    nights.tarball(item(live), night=1)
    put(live / "db" / f"rep-cache.db-{beside}", how)
    assert_dumped_without_cache(nights, live, f"{live}/db/rep-cache.db-{beside} is ")


def test_cache_with_a_journal_that_is_garbage_is_told_in_a_whole_sentence(nights: Nights, live: Path) -> None:
    (live / "db" / "rep-cache.db-journal").write_bytes(b"\xd9\xd5\x05\xf9 \xa1c\xd7" + os.urandom(4096))
    result = nights.dump(item(live), night=1)
    assert result["failures"] == []
    assert all("PRAGMA" not in note and "executing" not in note for note in result["notes"])


def test_cache_in_wal_mode_is_copied_or_noted(nights: Nights, live: Path) -> None:
    with contextlib.closing(sqlite3.connect(live / "db" / "rep-cache.db")) as cache:
        cache.execute("pragma journal_mode=wal")
        cache.execute("create table more (a)")
        result = nights.dump(item(live), night=1)
    assert result["failures"] == []
    copy = assert_holds(nights, Path(result["tarballs"][0]["path"]), live)
    assert not list((copy / "db").glob("rep-cache.db-*"))


@needs_root
@pytest.mark.parametrize("member", ["rep-cache.db", "rep-cache.db-journal"])
def test_cache_that_its_user_may_not_read_is_noted_and_left_out(member: str) -> None:
    with nobodys_folder() as folder:
        with as_nobody():
            live = make_subversion(folder / "live")
            nights = Nights(folder)
        cache = live / "db" / member
        cache.touch()
        os.chown(cache, 0, 0)
        cache.chmod(0o600)
        with as_nobody():
            predicted = nights.module(item(live), night=2, check_mode=True)
            assert not predicted["failures"] and "cannot be read" in predicted["notes"][0]
            assert_dumped_without_cache(nights, live, f"{cache} cannot be read by uid {NOBODY}; use become: ")


@pytest.mark.full
def test_packing_between_nights(tmp_path: Path, nights: Nights) -> None:
    live = make_subversion(tmp_path / "live", 7, shard=3)
    nights.tarball(item(live), night=1)
    run("svnadmin", "pack", "--quiet", live)
    second = nights.tarball(item(live), night=2)
    copy = assert_holds(nights, second, live)
    assert (copy / "db" / "revs" / "1.pack").is_dir()
    assert not (copy / "db" / "revs" / "1").exists()
    load_subversion(live, 8, 10)
    run("svnadmin", "pack", "--quiet", live)
    third = nights.tarball(item(live), night=3)
    assert_holds(nights, third, live)
    assert nights.notes == []
    assert nights.tarball(item(live), night=4).stat().st_ino == third.stat().st_ino
    assert_as_built_anew(nights, live, third)


def test_packed_properties_that_are_split_leave_nothing_behind(tmp_path: Path, nights: Nights) -> None:
    live = make_subversion(tmp_path / "live", 7, shard=3)
    run("svnadmin", "pack", "--quiet", live)
    nights.tarball(item(live), night=1)
    pack = live / "db" / "revprops" / "1.pack"
    before = set(os.listdir(pack))
    for revision in (3, 4, 5):
        set_revision_property(live, revision, f"{revision}" * 20000)
    assert not before <= set(os.listdir(pack)), "the pack was not replaced"
    second = nights.tarball(item(live), night=2)
    assert_holds(nights, second, live)
    assert_as_built_anew(nights, live, second)


@pytest.mark.sampled(6)
@pytest.mark.parametrize("version", ["1.3", "1.4", "1.5", "1.6", "1.8", "1.9"])
def test_repositories_of_older_versions(tmp_path: Path, nights: Nights, version: str) -> None:
    live = make_subversion(tmp_path / "live", 3, compatible=version)
    first = nights.tarball(item(live), night=1)
    assert nights.tarball(item(live), night=2).stat().st_ino == first.stat().st_ino
    load_subversion(live, 4, 4)
    third = nights.tarball(item(live), night=3)
    assert_holds(nights, third, live)
    assert nights.notes == []
    assert_as_built_anew(nights, live, third)


def test_upgrade_between_nights_is_reported_and_the_copy_built_anew(tmp_path: Path, nights: Nights) -> None:
    live = make_subversion(tmp_path / "live", 3, compatible="1.8")
    nights.tarball(item(live), night=1)
    run("svnadmin", "upgrade", live)
    second = nights.tarball(item(live), night=2)
    (note,) = nights.notes
    assert note.startswith("svn/toy: the scratch copy was built anew") and "format" in note
    copy = assert_holds(nights, second, live)
    assert (copy / "db" / "format").read_text() == (live / "db" / "format").read_text()
    assert nights.tarball(item(live), night=3).stat().st_ino == second.stat().st_ino
    assert nights.notes == []


def test_killed_first_copy_heals(nights: Nights, live: Path) -> None:
    half = nights.private / "building" / "svn" / "toy"
    for folder in (half, scratch(nights)):
        (folder / "db" / "revs" / "0").mkdir(parents=True)
        (folder / "db" / "format").write_text("8\n")
    tarball = nights.tarball(item(live))
    assert_holds(nights, tarball, live)
    assert not half.exists()
    assert nights.tarball(item(live), night=2).stat().st_ino == tarball.stat().st_ino


def test_killed_hot_copy_heals(tmp_path: Path, nights: Nights, live: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first copy is killed while it writes: half a repository is left under the temporary name, and a complete dump follows."""
    shimmed(
        tmp_path,
        monkeypatch,
        f'if [ "$1" = hotcopy ] && ! [ -e {tmp_path}/once ]; then touch {tmp_path}/once; mkdir -p "$4/db"; kill -9 $$; fi',
    )
    reason = nights.failure(item(live))
    assert "signal 9" in reason
    assert_holds(nights, nights.tarball(item(live)), live)


@pytest.mark.sampled(6)
@pytest.mark.parametrize("member", ["hooks", "conf", "db/locks", "db/revprops", "db/rep-cache.db", "README.txt"])
def test_killed_nightly_copy_heals(nights: Nights, live: Path, member: str) -> None:
    run("svn", "lock", "--quiet", f"file://{live}/d1/f")
    first = nights.tarball(item(live))
    path = scratch(nights) / member
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert nights.tarball(item(live), night=2).stat().st_ino == first.stat().st_ino
    assert nights.notes == []


def test_repository_created_anew_is_reported_and_right(tmp_path: Path, nights: Nights, live: Path) -> None:
    nights.tarball(item(live))
    shutil.rmtree(live)
    make_subversion(live, 8, uuid="6f0e3e2c-9b1c-4a5e-8f58-0123456789ab")
    tarball = nights.suspect(item(live), "its UUID is 6f0e3e2c", night=2)
    assert tarball.name == "toy-8.tar"
    assert_holds(nights, tarball, live)
    (note,) = nights.notes
    assert "UUID changed" in note and "6f0e3e2c" in note
    nights.suspect(item(live), "its UUID is 6f0e3e2c", night=3)
    assert nights.notes == []


def test_repository_restored_from_older_is_reported_and_right(tmp_path: Path, nights: Nights, live: Path) -> None:
    older = tmp_path / "older"
    shutil.copytree(live, older)
    load_subversion(live, 6, 8)
    nights.tarball(item(live))
    shutil.rmtree(live)
    older.rename(live)
    tarball = nights.suspect(item(live), "revisions fell from 8 to 5", night=2)
    assert tarball.name == "toy-5.tar"
    assert_holds(nights, tarball, live)
    (note,) = nights.notes
    assert "went back from revision 8 to 5" in note


@pytest.mark.sampled(3)
@pytest.mark.parametrize("revisions", [6, 7, 8])
def test_restored_repository_that_went_on_is_reported_and_right(
    tmp_path: Path, nights: Nights, live: Path, revisions: int
) -> None:
    """Its revision files have the size of those in the copy and are no newer: a hot copy takes them for copied."""
    older = tmp_path / "older"
    shutil.copytree(live, older)
    load_subversion(live, 6, 7)
    nights.tarball(item(live))
    shutil.rmtree(live)
    older.rename(live)
    load_subversion(live, 6, 6, word="CONTENT")
    load_subversion(live, 7, revisions, word="NEITHER") if revisions > 6 else None
    for path in live.rglob("*"):
        os.utime(path, (1, 1))
    words = "revisions fell from 7 to 6" if revisions == 6 else "the repository itself holds something else"
    tarball = nights.suspect(item(live), words, night=2)
    assert_holds(nights, tarball, live)
    (note,) = nights.notes
    assert "restored" in note or "went back" in note


def test_rot_in_the_copy_is_suspect_and_ends_when_the_next_dump_builds_it_anew(nights: Nights, live: Path) -> None:
    """A hot copy compares only size and time of the live file; the dump compares the copy's content with the last good dump."""
    good = nights.tarball(item(live), night=1)
    flip(scratch(nights) / "db" / "revs" / "0" / "2")
    nights.suspect(item(live), "the scratch copy rotted", night=2, verify_every=7)
    tarball = nights.tarball(item(live), night=3, verify_every=7)
    assert json.loads(state_file(nights).read_text())["built"] == "2013/05/03"
    assert tarball.samefile(good)
    assert_holds(nights, tarball, live)


def test_rot_in_the_copy_is_found_by_new_revisions_that_build_on_it(nights: Nights, live: Path) -> None:
    nights.tarball(item(live), night=1)
    flip(scratch(nights) / "db" / "revs" / "0" / "5")
    changed = live.parent / "changed"
    changed.write_text("content 5\n" * 20 + "and more\n")
    run("svnmucc", "-m", "builds on it", "put", changed, f"file://{live}/d5/f")
    tarball = nights.tarball(item(live), night=2)
    assert_holds(nights, tarball, live)
    (note,) = nights.notes
    assert "built anew and verified whole" in note


def test_new_revisions_are_verified_every_night(nights: Nights, live: Path) -> None:
    """The copy's newest revision is rotten, with size and time of the live one, so that the hot copy skips it."""
    nights.tarball(item(live), night=1)
    load_subversion(live, 6, 6)
    planted = scratch(nights) / "db" / "revs" / "0" / "6"
    shutil.copy2(live / "db" / "revs" / "0" / "6", planted)
    flip(planted)
    tarball = nights.tarball(item(live), night=2)
    assert_holds(nights, tarball, live)
    (note,) = nights.notes
    assert "verifying the copy" in note


def test_rewritten_old_revision_is_verified_the_same_night(nights: Nights, live: Path) -> None:
    nights.tarball(item(live), night=1)
    flip(live / "db" / "revs" / "0" / "2", keep_time=False)
    assert "verifying the copy" in nights.failure(item(live), night=2)


def assert_failed_and_heals(
    nights: Nights, live: Path, mend: Callable[[], None], good: Path, verify_every: int
) -> None:
    before = good.read_bytes()
    last = nights.base / "svn" / "toy" / "last"
    for night in (2, 3):
        reason = nights.failure(item(live), night=night, verify_every=verify_every)
        assert str(live) in reason and "svnadmin failed" in reason
    assert os.readlink(last) == "2013/05/01/020000"
    assert good.read_bytes() == before
    assert not (nights.private / "building" / "svn" / "toy").exists()
    mend()
    assert nights.tarball(item(live), night=4).stat().st_ino == good.stat().st_ino
    assert os.readlink(last) == "2013/05/04/020000"


@pytest.mark.sampled(2)
@pytest.mark.parametrize("keep_time", [True, False])
def test_rot_in_the_live_repository_fails_and_harms_nothing(nights: Nights, live: Path, keep_time: bool) -> None:
    good = nights.tarball(item(live), night=1)
    rotten = live / "db" / "revs" / "0" / "3"
    saved, status = rotten.read_bytes(), rotten.stat()
    flip(rotten, keep_time=keep_time)

    def mend() -> None:
        rotten.chmod(0o644)
        rotten.write_bytes(saved)
        os.utime(rotten, ns=(status.st_atime_ns, status.st_mtime_ns))
        rotten.chmod(0o444)

    assert_failed_and_heals(nights, live, mend, good, 1 if keep_time else NEVER)


def test_rot_in_the_live_repository_fails_its_first_dump(nights: Nights, live: Path) -> None:
    flip(live / "db" / "revs" / "0" / "3")
    assert "svnadmin failed" in nights.failure(item(live))
    assert not (nights.base / "svn").exists()
    assert not scratch(nights).exists()


def test_missing_file_of_the_live_repository_fails_and_harms_nothing(nights: Nights, live: Path) -> None:
    good = nights.tarball(item(live), night=1)
    away = live / "db" / "fsfs.conf"
    saved = away.read_bytes()
    away.unlink()
    reason = nights.failure(item(live), night=2)
    assert str(away) in reason
    assert not away.exists(), "the live repository was changed"
    away.write_bytes(saved)
    assert nights.tarball(item(live), night=3).stat().st_ino == good.stat().st_ino


@pytest.mark.sampled(8)
@pytest.mark.parametrize(
    "text", [None, "", "{", "[]", "7", '{"uuid": "x"}', '{"uuid": 1, "revision": "x", "date": "", "built": ""}']
)
def test_damaged_state_is_reported_and_the_copy_built_anew(nights: Nights, live: Path, text: str | None) -> None:
    first = nights.tarball(item(live), night=1)
    state_file(nights).unlink() if text is None else state_file(nights).write_text(text)
    assert nights.tarball(item(live), night=2).stat().st_ino == first.stat().st_ino
    (note,) = nights.notes
    assert f"{state_file(nights)} is missing or damaged" in note
    nights.tarball(item(live), night=3)
    assert nights.notes == []


def test_live_repository_is_left_as_it_was(nights: Nights, live: Path) -> None:
    before = tree_hash(live)
    for night in (1, 2):
        nights.tarball(item(live), night=night)
    assert tree_hash(live) == before


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root unpacks setgid folders as they are")
def test_repository_that_a_group_shares_stays_shared(nights: Nights, live: Path) -> None:
    for path in [live, *live.rglob("*")]:
        os.chown(path, 65534, 65533)
        path.chmod(0o2775 if path.is_dir() else path.stat().st_mode | 0o060)
    before = tree_hash(live)
    tarballs = [nights.tarball(item(live), night=night) for night in (1, 2)]
    assert tarballs[0].stat().st_ino == tarballs[1].stat().st_ino
    assert tree_hash(live) == before
    copy = nights.unpack(tarballs[1])
    paths = [copy, *copy.rglob("*")]
    found = {path.relative_to(copy): (path.stat().st_mode, path.stat().st_gid) for path in paths}
    for path, seen in found.items():
        status = (live / path).stat()
        assert seen == (status.st_mode, status.st_gid), path
    assert_as_built_anew(nights, live, tarballs[1])


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_tarball_has_the_owner_of_the_repository(nights: Nights, live: Path) -> None:
    for path in [live, *live.rglob("*")]:
        os.chown(path, 65534, 65533)
    for night in (1, 2):
        tarball = nights.tarball(item(live), night=night)
    listing = run("tar", "--list", "--verbose", "--numeric-owner", "--file", tarball).splitlines()
    assert {line.split()[1] for line in listing} == {"65534/65533"}
    assert {(path.stat().st_uid, path.stat().st_gid) for path in live.rglob("*")} == {(65534, 65533)}


BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (shutil.rmtree, "does not exist"),
    "file": (lambda live: (shutil.rmtree(live), live.write_text("x")), "is not a folder"),
    "empty folder": (
        lambda live: (shutil.rmtree(live), live.mkdir()),
        "is not a Subversion repository: it has no format",
    ),
    "no format": (lambda live: (live / "format").unlink(), "is not a Subversion repository: it has no format"),
    "no current": (
        lambda live: (live / "db" / "current").unlink(),
        "is not a Subversion repository: it has no db/current",
    ),
    "dangling link": (lambda live: (shutil.rmtree(live), live.symlink_to("nowhere")), "is not a folder"),
    "odd file system": (lambda live: (live / "db" / "fs-type").write_text("bdb\n"), "svn"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_repository_is_said_so(nights: Nights, live: Path, case: str) -> None:
    spoil, expected = BAD[case]
    spoil(live)
    reason = nights.failure(item(live))
    assert str(live) in reason and expected in reason
    assert not (nights.base / "svn").exists()


def test_missing_tool_names_its_package(nights: Nights, live: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(programs, "_SYSTEM_FOLDERS", ())
    result = nights.module(item(live), fail=False)
    (failure,) = result["failures"]
    assert "svnadmin" in failure["reason"] and "install the package subversion" in failure["reason"]
    assert not (nights.base / "svn").exists()


def test_short_path_of_cron_is_enough(nights: Nights, live: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert nights.dump(item(live))["failures"] == []


def test_limit_ends_the_copy_and_leaves_nothing(
    tmp_path: Path, nights: Nights, live: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shimmed(tmp_path, monkeypatch, '[ "$1" = verify ] && exec sleep 600')
    start = time.monotonic()
    result = nights.module(item(live), fail=False, step_timeout=1.0)
    assert time.monotonic() - start < 20
    (failure,) = result["failures"]
    assert "limit" in failure["reason"]
    assert not (nights.base / "svn").exists()
    assert not (nights.private / "building" / "svn" / "toy").exists()


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
    assert not again["changed"]
    assert again["tarballs"][0]["dig"] == first["tarballs"][0]["dig"]
    assert tree_hash(nights.base) == before
    bad = nights.module(item(live / "db"), night=2)
    assert bad["failed"] and "is not a Subversion repository" in bad["msg"]


def test_one_bad_repository_does_not_stop_the_good_one(tmp_path: Path, nights: Nights, live: Path) -> None:
    rotten = make_subversion(tmp_path / "rotten")
    flip(rotten / "db" / "revs" / "0" / "3")
    result = nights.dump(item(live), item(rotten, "rotten"))
    assert [tarball["name"] for tarball in result["tarballs"]] == ["toy"]
    assert [failure["name"] for failure in result["failures"]] == ["rotten"]


def test_dump_starts_from_a_removed_folder(tmp_path: Path, nights: Nights, live: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from helpers.repositories import Nights;"
        "gone = Path(sys.argv[1]); gone.mkdir(); os.chdir(gone); gone.rmdir();"
        "result = Nights(Path(sys.argv[2])).dump({'kind': 'svn', 'name': 'toy', 'path': sys.argv[3]}); assert not result['failures'], result"
    )
    root = Path(__file__).resolve().parents[5]
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": f"{root / '.collections'}:{root / 'tests'}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    other = tmp_path / "other"
    argv = [os.sys.executable, "-c", script, str(tmp_path / "gone"), str(other), str(live)]  # type: ignore[attr-defined]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
