"""Module tarball_restore as it is called: every kind is restored as its dump saw it, and a refusal loses nothing."""

from __future__ import annotations

import contextlib
import errno
import grp
import hashlib
import json
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from helpers.environments import copy_environment, execute, make_environment, tables
from helpers.hostile import folder, member, stream
from helpers.repositories import make_git, make_subversion, references, run
from helpers.repositories import run as call_tool
from helpers.trees import (
    FIRST,
    NIGHTS,
    NOBODY,
    RUN,
    SECOND,
    Base,
    as_nobody,
    describe_tree,
    item,
    link_tools,
    make_odd_tree,
    needs_root,
    nobodys_folder,
    nobodys_home,
    small_disk,
)

from ansible_collections.altbackup.core.plugins.module_utils.archive import unpack
from ansible_collections.altbackup.core.plugins.module_utils.archive.write import ArchiveFormat
from ansible_collections.altbackup.core.plugins.module_utils.kinds import proofs
from ansible_collections.altbackup.core.plugins.module_utils.restore import unpacked
from ansible_collections.altbackup.core.plugins.module_utils.system import names, programs
from ansible_collections.altbackup.core.plugins.module_utils.tree import completed, locks
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.locks import Run, held
from ansible_collections.altbackup.core.plugins.module_utils.tree.owner import Owner, identify
from ansible_collections.altbackup.core.plugins.module_utils.tree.publish import require_writable
from ansible_collections.altbackup.core.plugins.module_utils.tree.restored import read_marker
from ansible_collections.altbackup.core.plugins.modules import restore_adopt, tarball_restore

pytestmark = needs_root
ORIGIN = {
    "source": "dayabay",
    "node": "cms01",
    "host": "fresh",
    "when": "2013-05-11 09:00:00 UTC",
    "by": "scm on control",
}
NOW = "2013/05/11/090000"
Call = Callable[..., dict[str, Any]]


@pytest.fixture
def base(tmp_path: Path) -> Base:
    return Base(tmp_path / "base")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_environment(tmp_path_factory.mktemp("trac") / "environment")


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return tmp_path / "new" / "place" / "thing"


@pytest.fixture
def module(capsys: pytest.CaptureFixture[str]) -> Call:
    """Return a function that runs a module with options and returns its result; `rc` is its exit code."""

    def run(which: Any, check: bool = False, diff: bool = False, **options: Any) -> dict[str, Any]:
        arguments = {**options, "_ansible_check_mode": check, "_ansible_diff": diff}
        with patch_module_args(arguments), pytest.raises(SystemExit) as ended:
            which.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return {**result, "rc": ended.value.code}

    return run


@pytest.fixture
def restore(base: Base, destination: Path, module: Call) -> Call:
    """Return a function that restores a dumped tarball to the destination."""

    def run(tarball: dict[str, Any], *, full: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        given = [{key: entry[key] for key in ("relpath", "size", "dig", "alg")} for entry in (full, tarball) if entry]
        record = tarball.get("record") or {}
        arguments = {
            "destination": str(destination),
            "kind": record.get("kind", "folder"),
            "tarballs": given,
            "base": str(base.path),
            "record": record,
            "origin": {
                **ORIGIN,
                "item": f"{tarball['category']}/{tarball['name']}",
                "stamp": tarball["stamp"],
                "dig": tarball["dig"],
            },
            "stamp": NOW,
            **options,
        }
        return module(tarball_restore, **arguments)

    return run


def unchanged(before: dict[bytes, Any], folder: Path) -> None:
    """Assert that a tree is unchanged, except the times of folders in which something was made and removed."""
    after = describe_tree(folder, times=False)
    assert after == before


def refused(result: dict[str, Any], reason: str) -> None:
    """Assert that a call failed for one reason."""
    assert result["rc"] == 1, result
    assert len(result["failures"]) == 1, result["failures"]
    assert reason in result["failures"][0]["reason"]
    assert not result["changed"]


# Every kind


def test_folder_comes_back_whole(base: Base, restore: Call, tmp_path: Path, destination: Path) -> None:
    live = make_odd_tree(tmp_path / "live")
    tarball = base.dump_one(item("folder", live))
    result = restore(tarball, special_modes=True)
    assert (result["rc"], result["changed"], result["aside"]) == (0, True, ""), result
    assert describe_tree(destination) == describe_tree(live)
    assert result["proof"]["facts"]["manifest"] == tarball["record"]["manifest"]
    assert sorted(os.listdir(destination.parent)) == ["thing", "thing.altbackup-restored"]


def test_folder_without_special_modes_loses_them_alone(
    base: Base, restore: Call, tmp_path: Path, destination: Path
) -> None:
    live = make_odd_tree(tmp_path / "live")
    result = restore(base.dump_one(item("folder", live)))
    assert result["rc"] == 0, result
    before, after = describe_tree(live), describe_tree(destination)
    assert set(before) - set(after) == {b"fifo", b"device"}
    differing = {name for name in after if before.get(name) != after.get(name)}
    assert differing == {b"mode 0", b"mode 1"}
    assert [after[name][0] & 0o7777 for name in sorted(differing)] == [0o755, 0o750]


def test_svn_comes_back_with_every_revision(base: Base, restore: Call, tmp_path: Path, destination: Path) -> None:
    live = make_subversion(tmp_path / "live")
    os.chown(live, 12345, 54321)
    tarball = base.dump_one(item("svn", live))
    result = restore(tarball)
    assert result["rc"] == 0, result
    assert call_tool("svnadmin", "dump", "--quiet", destination) == call_tool("svnadmin", "dump", "--quiet", live)
    assert result["proof"]["facts"]["uuid"] == tarball["record"]["uuid"]
    assert {(os.lstat(path).st_uid, os.lstat(path).st_gid) for path in destination.rglob("*")} == {(12345, 54321)}


def test_git_comes_back_with_all_references(base: Base, restore: Call, tmp_path: Path, destination: Path) -> None:
    live = make_git(tmp_path / "live")
    result = restore(base.dump_one(item("git", live)))
    assert result["rc"] == 0, result
    assert references(destination) == references(live) != ""


def test_working_tree_of_git_comes_back_as_one_that_git_can_use(
    base: Base, restore: Call, tmp_path: Path, destination: Path
) -> None:
    live = tmp_path / "live"
    run("git", "clone", "--quiet", make_git(tmp_path / "origin.git"), live)
    run("git", "commit", "--quiet", "--allow-empty", "--message=not pushed", cwd=live)
    run("git", "worktree", "add", "--quiet", "--detach", tmp_path / "linked", cwd=live)
    result = restore(base.dump_one(item("git", live)))
    assert result["rc"] == 0, result
    assert os.listdir(destination) == [".git"]
    assert references(destination / ".git") == references(live / ".git")
    assert "D  f0" in run("git", "status", "--porcelain", cwd=destination)
    run("git", "reset", "--quiet", "--hard", cwd=destination)
    assert run("git", "status", "--porcelain", cwd=destination) == ""
    assert f"worktree {tmp_path / 'linked'}\n" in run("git", "worktree", "list", "--porcelain", cwd=destination)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("given", ["", "/.git", "/.git/"])
def test_working_tree_of_git_is_restored_alike_whether_it_or_its_own_folder_is_given(
    base: Base, restore: Call, module: Call, tmp_path: Path, given: str
) -> None:
    live = tmp_path / "live"
    run("git", "clone", "--quiet", make_git(tmp_path / "origin.git"), live)
    before = references(live / ".git")
    thing = {"kind": "git", "name": "thing", "path": f"{live}{given}"}
    tarball = base.dump_one(thing)
    beside = restore(tarball, destination=str(tmp_path / "beside"))
    inside = restore(tarball, destination=str(tmp_path / "inside" / ".git"))
    assert (beside["rc"], inside["rc"]) == (0, 0), (beside, inside)
    for copy in (tmp_path / "beside", tmp_path / "inside"):
        assert references(copy / ".git") == before != ""
        assert "D  f0" in run("git", "status", "--porcelain", cwd=copy)
    place = os.path.normpath(f"{live}{given}")
    shutil.rmtree(place)
    result = restore(tarball, destination=place, live_items=[{"kind": "git", "path": place}])
    assert result["rc"] == 0, result
    assert references(live / ".git") == before
    for path in (place, str(live / ".git")):
        (failure,) = base.dump({**thing, "path": path})["failures"]
        assert "It is not backed up until it is adopted" in failure["reason"]
    module(restore_adopt, path=[place])
    run("git", "reset", "--quiet", "--hard", cwd=live)
    assert base.dump_one(thing, stamp=SECOND)["record"]["references"] == tarball["record"]["references"]


def test_partial_clone_of_git_comes_back_as_it_was(
    base: Base, restore: Call, tmp_path: Path, destination: Path
) -> None:
    origin = make_git(tmp_path / "origin.git")
    run("git", f"--git-dir={origin}", "config", "uploadpack.allowFilter", "true")
    live = tmp_path / "live"
    run("git", "clone", "--quiet", "--bare", "--filter=blob:none", f"file://{origin}", live)
    (tarball,) = base.dump(item("git", live))["tarballs"]
    result = restore(tarball)
    assert result["rc"] == 0, result
    assert references(destination) == references(live)
    lacks = f"it is a partial clone, and lacks {tarball['record']['missing']} objects"
    assert any(lacks in note for note in result["notes"])
    assert "line 1 of" in run("git", f"--git-dir={destination}", "show", "main:f1")


def test_trac_comes_back_with_all_rows(
    base: Base, restore: Call, tmp_path: Path, destination: Path, environment: Path
) -> None:
    live = copy_environment(environment, tmp_path / "live")
    result = restore(base.dump_one(item("trac", live)))
    assert result["rc"] == 0, result
    assert tables(destination / "db" / "trac.db") == tables(live / "db" / "trac.db")
    assert (destination / "conf" / "trac.ini").read_bytes() == (live / "conf" / "trac.ini").read_bytes()


def test_sqlite_comes_back_as_the_one_file(base: Base, restore: Call, tmp_path: Path, destination: Path) -> None:
    live = tmp_path / "live.db"
    execute(live, "CREATE TABLE t (a)", "INSERT INTO t VALUES (1), (2)")
    live.chmod(0o640)
    os.chown(live, 12345, 54321)
    result = restore(base.dump_one(item("sqlite", live)))
    assert result["rc"] == 0, result
    assert tables(destination) == tables(live)
    status = destination.stat()
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o640, 12345, 54321)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("extension", [".tar.gz", ".tar"])
def test_other_formats_and_digests_come_back(
    base: Base, restore: Call, tmp_path: Path, destination: Path, extension: str
) -> None:
    live = make_subversion(tmp_path / "live")
    tarball = base.dump_one(item("svn", live), form=ArchiveFormat(extension, 1, "md5"))
    assert restore(tarball)["rc"] == 0
    assert call_tool("svnlook", "youngest", destination) == call_tool("svnlook", "youngest", live)


def test_who_is_not_root_gets_contents_and_modes(module: Call) -> None:
    with nobodys_folder() as folder, as_nobody():
        base = Base(folder / "base")
        live = folder / "live"
        live.mkdir(mode=0o750)
        for name, mode in (("open", 0o666), ("closed", 0o600), ("tool", 0o775)):
            (live / name).write_text(name)
            (live / name).chmod(mode)
        (live / "link").symlink_to("open")
        tarball = base.dump_one(item("folder", live))
        result = module(
            tarball_restore,
            destination=str(folder / "new"),
            kind="folder",
            base=str(base.path),
            tarballs=[{key: tarball[key] for key in ("relpath", "size", "dig", "alg")}],
            record=tarball["record"],
            stamp=NOW,
        )
        assert result["rc"] == 0, result
        assert describe_tree(folder / "new") == describe_tree(live)


# Attributes


@pytest.fixture
def small(base: Base, tmp_path: Path) -> dict[str, Any]:
    """A tarball of a small folder."""
    live = tmp_path / "live"
    (live / "sub").mkdir(parents=True)
    (live / "users.conf").write_text("alice = secret\n")
    (live / "tool").write_text("x")
    (live / "tool").chmod(0o4755)
    (live / "link").symlink_to("/etc/passwd")
    return base.dump_one(item("folder", live, "small"))


def test_owner_group_and_label_go_to_all_and_the_mode_to_the_top(
    small: dict[str, Any], restore: Call, destination: Path
) -> None:
    passwd = os.lstat("/etc/passwd")
    label = "system_u:object_r:httpd_sys_content_t:s0"
    result = restore(small, owner="daemon", group="54321", mode="2750", selinux=label, special_modes=True)
    assert result["rc"] == 0, result
    paths = [destination, *destination.rglob("*")]
    assert {(os.lstat(path).st_uid, os.lstat(path).st_gid) for path in paths} == {(1, 54321)}
    assert {os.getxattr(path, "security.selinux", follow_symlinks=False) for path in paths} == {label.encode() + b"\0"}
    assert destination.stat().st_mode & 0o7777 == 0o2750
    assert (destination / "sub").stat().st_mode & 0o7777 == 0o755
    assert (destination / "tool").stat().st_mode & 0o7777 == 0o4755
    assert os.lstat("/etc/passwd")[:6] == passwd[:6]


CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")


@pytest.mark.sampled(4)
@pytest.mark.parametrize("confined", [True, False])
@pytest.mark.parametrize("owner", ["", "daemon"])
def test_capabilities_come_back_when_asked_for_whoever_is_the_owner(
    base: Base,
    restore: Call,
    tmp_path: Path,
    destination: Path,
    monkeypatch: pytest.MonkeyPatch,
    owner: str,
    confined: bool,
) -> None:
    live = tmp_path / "live"
    live.mkdir()
    for name in ("ping", "tool"):
        (live / name).write_text("x")
    os.setxattr(live / "ping", "security.capability", CAPABILITY)
    (live / "tool").chmod(0o6755)
    tarball = base.dump_one(item("folder", live, "small"))
    if not confined:
        monkeypatch.setattr(unpacked, "is_allowed", lambda *_: False)
    result = restore(tarball, special_modes=True, owner=owner)
    assert result["rc"] == 0 and not [note for note in result["notes"] if "left out" in note]
    assert os.getxattr(destination / "ping", "security.capability") == CAPABILITY
    assert (destination / "tool").stat().st_mode & 0o7777 == 0o6755
    assert (destination / "ping").stat().st_uid == (1 if owner else os.getuid())


def test_what_only_special_modes_bring_back_is_noted(
    base: Base, restore: Call, tmp_path: Path, destination: Path
) -> None:
    live = tmp_path / "live"
    (live / "bin").mkdir(parents=True)
    for name in ("ping", "tool", "other"):
        (live / "bin" / name).write_text("x")
    os.setxattr(live / "bin" / "ping", "security.capability", CAPABILITY)
    (live / "bin" / "tool").chmod(0o4755)
    (live / "bin" / "other").chmod(0o2755)
    tarball = base.dump_one(item("folder", live, "small"))
    result = restore(tarball)
    assert result["rc"] == 0 and os.listxattr(destination / "bin" / "ping") == []
    bits, capabilities = [note for note in result["notes"] if "special_modes: true brings them back" in note]
    if "file capabilities" in bits:
        bits, capabilities = capabilities, bits
    assert bits.startswith("left out setuid or setgid bits of small/bin/") and " and 1 more, " in bits
    assert capabilities.startswith("left out file capabilities of small/bin/ping, ")
    part = restore(tarball, destination=f"{destination}.ping", member="small/bin/ping")
    assert [note for note in part["notes"] if "special_modes" in note] == [capabilities]


@pytest.fixture
def foreign(base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A tarball of a node on which this node's users and groups have other numbers, with some unknown ones."""
    live = tmp_path / "foreign"
    (live / "sub").mkdir(parents=True)
    for name, (uid, gid) in {
        "a": (50001, 50002),
        "b": (50002, 50001),
        "c": (50003, 0),
        "sub": (50001, 50003),
        "d": (50004, 50001),
    }.items():
        (live / name).touch(exist_ok=True) if name != "sub" else None
        os.chown(live / name, uid, gid)
    os.link(live / "a", live / "sub" / "twin")
    users = {0: "root", 50001: "daemon", 50002: "bin", 50003: "never heard of", 50004: "me neither"}
    groups = {0: "root", 50001: "daemon", 50002: "bin", 50003: "never seen"}
    with monkeypatch.context() as there:
        there.setattr(names, "_user_name", lambda uid: users.get(uid, ""))
        there.setattr(names, "_group_name", lambda gid: groups.get(gid, ""))
        return base.dump_one(item("folder", live, "small"))


def owners_below(top: Path) -> dict[str, tuple[int, int]]:
    """Return {path: (uid, gid)} of everything below a folder."""
    return {os.path.relpath(path, top): (path.lstat().st_uid, path.lstat().st_gid) for path in top.rglob("*")}


UNKNOWN_HERE = "not known on this host, so by their numbers in the backup: user never heard of (50003), user me neither (50004), group never seen (50003)"


def test_owners_are_those_of_their_names_where_this_host_knows_them_and_a_note_tells_which_it_does_not(
    foreign: dict[str, Any], restore: Call, destination: Path
) -> None:
    here = {name: (pwd.getpwnam(name).pw_uid, grp.getgrnam(name).gr_gid) for name in ("daemon", "bin")}
    looked = restore(foreign, step="look", check=True)
    assert [note for note in looked["notes"] if "not known" in note] == [UNKNOWN_HERE]
    result = restore(foreign)
    assert result["rc"] == 0, result
    assert [note for note in result["notes"] if "not known" in note] == [UNKNOWN_HERE]
    (daemon, daemons), (bins, binaries) = here["daemon"], here["bin"]
    assert owners_below(destination) == {
        "a": (daemon, binaries),
        "sub/twin": (daemon, binaries),
        "b": (bins, daemons),
        "c": (50003, 0),
        "d": (50004, daemons),
        "sub": (daemon, 50003),
    }
    done(restore(foreign), destination)
    refused(restore(foreign, numeric=True), "this order has another numeric)")


def test_owners_have_their_numbers_where_these_are_asked_for(
    foreign: dict[str, Any], restore: Call, tmp_path: Path, destination: Path
) -> None:
    result = restore(foreign, numeric=True)
    assert (result["rc"], [note for note in result["notes"] if "not known" in note]) == (0, [])
    assert owners_below(destination) == owners_below(tmp_path / "foreign")
    done(restore(foreign, numeric=True), destination)
    refused(restore(foreign), "this order has another")


def test_a_member_tells_of_the_names_that_it_has_alone(
    foreign: dict[str, Any], restore: Call, destination: Path
) -> None:
    result = restore(foreign, member="small/c")
    assert (result["rc"], destination.stat().st_uid) == (0, 50003), result
    assert [note for note in result["notes"] if "not known" in note] == [
        "not known on this host, so by its number in the backup: user never heard of (50003)"
    ]


def test_who_is_given_one_owner_for_all_hears_of_no_others(
    foreign: dict[str, Any], restore: Call, destination: Path
) -> None:
    result = restore(foreign, owner="daemon", group="daemon")
    assert (result["rc"], [note for note in result["notes"] if "not known" in note]) == (0, [])
    assert {uid for uid, _ in owners_below(destination).values()} == {pwd.getpwnam("daemon").pw_uid}


@pytest.mark.parametrize(("key", "value"), [("owner", "nobody-here"), ("group", "no-such-group")])
def test_an_owner_that_is_not_known_is_told_before_anything(
    small: dict[str, Any], restore: Call, destination: Path, key: str, value: str
) -> None:
    refused(restore(small, step="prepare", base="", **{key: value}), f"{key} '{value}' is not known on this node")
    assert not destination.parent.parent.exists()


def test_a_member_comes_back_alone(
    base: Base, restore: Call, tmp_path: Path, destination: Path, environment: Path
) -> None:
    live = copy_environment(environment, tmp_path / "live")
    tarball = base.dump_one(item("trac", live, "dybsvn"))
    result = restore(tarball, member="dybsvn/db/trac.db")
    assert result["rc"] == 0, result
    assert tables(destination) == tables(live / "db" / "trac.db")
    assert "is not proven" in " ".join(result["notes"])
    refused(restore(tarball, member="dybsvn/db/nothing", destination=f"{destination}2"), "dybsvn/db/nothing")
    refused(restore(tarball, member="other/db", destination=f"{destination}2"), "which begins with dybsvn/")


# Destinations that exist


def test_what_stands_there_is_refused_and_untouched(
    small: dict[str, Any], restore: Call, destination: Path, tmp_path: Path
) -> None:
    make_odd_tree(destination)
    before = describe_tree(tmp_path, times=False)
    for step in ("prepare", "restore"):
        refused(restore(small, step=step), "is there already, and a restore replaces nothing by itself")
        unchanged(before, tmp_path)


def test_moved_aside_the_old_thing_stays_whole(base: Base, restore: Call, tmp_path: Path, destination: Path) -> None:
    live = make_subversion(tmp_path / "live")
    tarball = base.dump_one(item("svn", live))
    make_odd_tree(destination)
    before = describe_tree(destination)
    result = restore(tarball, replace="move_aside")
    assert (result["rc"], result["aside"]) == (0, f"{destination}.20130511-090000"), result
    assert describe_tree(Path(result["aside"])) == before
    assert call_tool("svnlook", "youngest", destination) == call_tool("svnlook", "youngest", live)
    destination.chmod(0o711)
    refused(restore(tarball, replace="move_aside"), "20130511-090000 is there already")


@pytest.mark.parametrize("suffix", ["-wal", "-journal"])
def test_a_database_in_use_is_not_replaced(
    base: Base, restore: Call, tmp_path: Path, destination: Path, suffix: str
) -> None:
    live = tmp_path / "live.db"
    execute(live, "CREATE TABLE t (a)")
    tarball = base.dump_one(item("sqlite", live))
    destination.parent.mkdir(parents=True)
    Path(f"{destination}{suffix}").write_text("x")
    before = describe_tree(tmp_path, times=False)
    refused(restore(tarball, replace="move_aside"), f"{suffix} is there: the database is in use")
    unchanged(before, tmp_path)


def test_a_database_of_an_environment_is_not_replaced_while_it_is_in_use(
    base: Base, environment: Path, restore: Call, tmp_path: Path, destination: Path
) -> None:
    tarball = base.dump_one(item("trac", environment))
    destination.parent.mkdir(parents=True)
    destination.write_text("old")
    Path(f"{destination}-wal").write_text("x")
    refused(restore(tarball, member="thing/db/trac.db", replace="move_aside"), "-wal is there: the database is in use")
    assert destination.read_text() == "old"


def test_a_database_that_is_opened_during_the_restore_is_not_replaced(
    base: Base, restore: Call, tmp_path: Path, destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = tmp_path / "live.db"
    execute(live, "CREATE TABLE t (a)")
    tarball = base.dump_one(item("sqlite", live))
    destination.parent.mkdir(parents=True)
    destination.write_text("old")

    def prove(*arguments: Any) -> dict[str, Any]:
        Path(f"{destination}-wal").write_text("x")
        return proofs.prove(*arguments)

    monkeypatch.setattr(unpacked, "prove", prove)
    refused(restore(tarball, replace="move_aside"), "-wal is there: the database is in use")
    assert destination.read_text() == "old"


def test_a_folder_that_differs_needs_consent(
    small: dict[str, Any], restore: Call, destination: Path, tmp_path: Path
) -> None:
    shutil.copytree(tmp_path / "live", destination, symlinks=True)
    (destination / "users.conf").write_text("alice = mine\nbob = hers\n")
    before = describe_tree(tmp_path, times=False)
    result = restore(small, replace="move_aside")
    refused(result, "users.conf differs in content")
    assert "secret" not in json.dumps(result)
    assert "mine" not in json.dumps(result)
    assert "diff" not in result
    unchanged(before, tmp_path)
    result = restore(small, replace="move_aside", diff=True)
    assert result["rc"] == 1
    assert "consent: true" in result["failures"][0]["reason"]
    assert "-alice = mine\n-bob = hers\n+alice = secret\n" in result["diff"]["prepared"]
    assert "secret" not in json.dumps(result["failures"])
    unchanged(before, tmp_path)
    result = restore(small, replace="move_aside", consent=True, special_modes=True)
    assert result["rc"] == 0, result
    assert (destination / "users.conf").read_text() == "alice = secret\n"
    assert (Path(result["aside"]) / "users.conf").read_text() == "alice = mine\nbob = hers\n"


def test_a_file_of_a_folder_needs_consent_too(small: dict[str, Any], restore: Call, destination: Path) -> None:
    destination.parent.mkdir(parents=True)
    destination.write_text("alice = mine\n")
    member = {"member": "small/users.conf", "replace": "move_aside"}
    refused(
        restore(small, **member), "differs from the backup, and may hold who has access to what: . differs in content"
    )
    shown = restore(small, **member, diff=True)["diff"]["prepared"]
    assert "-alice = mine\n+alice = secret\n" in shown
    assert destination.read_text() == "alice = mine\n"
    assert restore(small, **member, consent=True)["rc"] == 0
    assert destination.read_text() == "alice = secret\n"


def test_a_folder_that_is_as_in_the_backup_is_left_alone(
    small: dict[str, Any], restore: Call, destination: Path, tmp_path: Path
) -> None:
    subprocess.run(["cp", "-a", tmp_path / "live", tmp_path / "copy"], check=True)
    destination.parent.mkdir(parents=True)
    (tmp_path / "copy").rename(destination)
    before = describe_tree(tmp_path, times=False)
    result = restore(small, replace="move_aside", special_modes=True)
    assert (result["rc"], result["changed"]) == (0, False), result
    assert "is as in the backup: nothing was done" in result["notes"][0]
    unchanged(before, tmp_path)


# Results of earlier restores


def done(result: dict[str, Any], destination: Path) -> None:
    """Assert that a call found nothing to do, and did nothing."""
    assert (result["rc"], result["changed"], result["done"], result["failures"]) == (0, False, True, []), result
    assert f"{destination} is already restored (" in result["notes"][-1]
    assert (result["aside"], result["incoming"]) == ("", "")


@pytest.mark.parametrize("replace", ["refuse", "move_aside"])
@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_what_was_restored_before_is_done(
    small: dict[str, Any], restore: Call, tmp_path: Path, destination: Path, where: str, replace: str
) -> None:
    options = {"base": ""} if where == "elsewhere" else {}
    if options:
        shutil.copy(tmp_path / "base" / small["relpath"], restore(small, step="prepare", **options)["incoming"])
    first = restore(small, **options)
    assert (first["rc"], first["done"]) == (0, False), first
    before = describe_tree(tmp_path)
    for check in (True, False):
        for step in ("prepare", "restore"):
            done(restore(small, step=step, check=check, replace=replace, **options), destination)
            assert describe_tree(tmp_path) == before
    restore(small, step="abandon", **options)
    assert describe_tree(tmp_path) == before


@pytest.mark.sampled(6)
@pytest.mark.parametrize("kind", ["svn", "git", "trac", "sqlite", "member"])
def test_every_kind_that_was_restored_before_is_done(
    base: Base, environment: Path, restore: Call, tmp_path: Path, destination: Path, kind: str
) -> None:
    live = tmp_path / "live"
    if kind == "sqlite":
        execute(live, "PRAGMA journal_mode=WAL", "CREATE TABLE t (a)")
    elif kind in ("svn", "git"):
        {"svn": make_subversion, "git": make_git}[kind](live)
    else:
        live = environment
    options = {"member": "thing/db/trac.db"} if kind == "member" else {}
    tarball = base.dump_one(item("trac" if kind == "member" else kind, live))
    assert restore(tarball, **options)["rc"] == 0
    done(restore(tarball, step="prepare", **options), destination)
    if kind in ("sqlite", "member"):
        Path(f"{destination}-wal").write_text("x")
        refused(restore(tarball, step="prepare", **options), "-wal was not there then")


def write_inside(path: Path) -> None:
    """Change a file without changing its size and time."""
    inner = path / "sub" / "more"
    status = inner.stat()
    inner.write_text("y" * status.st_size)
    os.utime(inner, ns=(status.st_atime_ns, status.st_mtime_ns))


def copy_over(path: Path) -> None:
    """Put a copy at a path that has the original's names, times and contents."""
    subprocess.run(["cp", "-a", path, f"{path}.copy"], check=True)
    path.rename(f"{path}.original")
    Path(f"{path}.copy").rename(path)


def link_over(path: Path) -> None:
    path.rename(f"{path}.original")
    path.symlink_to(f"{path}.original")


@pytest.mark.sampled(16)
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda path: (path / "new").write_text("x"), "but it was changed since"),
        (lambda path: (path / "users.conf").unlink(), "but it was changed since"),
        (lambda path: (path / "sub" / "deep").mkdir(), "but it was changed since"),
        (lambda path: (path / "sub" / "more").chmod(0o700), "but it was changed since"),
        (lambda path: os.chown(path, NOBODY, -1), "but it was changed since"),
        (write_inside, "but it was changed since"),
        (copy_over, ""),
        (link_over, ""),
    ],
)
@pytest.mark.parametrize("step", ["prepare", "restore"])
def test_what_was_changed_since_it_was_restored_is_refused(
    base: Base,
    restore: Call,
    tmp_path: Path,
    destination: Path,
    change: Callable[[Path], Any],
    reason: str,
    step: str,
) -> None:
    live = tmp_path / "live"
    (live / "sub").mkdir(parents=True)
    (live / "users.conf").write_text("x")
    (live / "sub" / "more").write_text("x")
    tarball = base.dump_one(item("folder", live))
    assert restore(tarball)["rc"] == 0
    change(destination)
    before = describe_tree(tmp_path, times=False)
    for check in (True, False):
        result = restore(tarball, step=step, check=check)
        refused(result, f"{destination} is there already, and a restore replaces nothing by itself")
        assert reason in result["failures"][0]["reason"]
        assert bool(reason) == ("an earlier restore" in result["failures"][0]["reason"])
    unchanged(before, tmp_path)


def test_another_order_than_the_one_that_was_restored_is_refused(
    base: Base, restore: Call, tmp_path: Path, destination: Path
) -> None:
    live = tmp_path / "live"
    live.mkdir()
    (live / "file").write_text("x")
    older = base.dump_one(item("folder", live))
    (live / "file").write_text("xy")
    newer = base.dump_one(item("folder", live), stamp=SECOND)
    assert restore(older)["rc"] == 0
    for tarball, options, other in (
        (newer, {}, "tarball"),
        (older, {"member": "thing/file"}, "member"),
        (older, {"owner": "nobody"}, "owner or group"),
        (older, {"mode": "0711"}, "mode"),
        (older, {"special_modes": True}, "special_modes"),
        (older, {"origin": {**ORIGIN, "source": "other"}}, "source"),
    ):
        for check in (True, False):
            result = restore(tarball, check=check, **options)
            refused(result, "is there already")
            assert f"this order has another {other})" in result["failures"][0]["reason"]
    assert (destination / "file").read_text() == "x"
    result = restore(newer, replace="move_aside", consent=True)
    assert (result["rc"], result["changed"]) == (0, True), result
    done(restore(newer), destination)
    refused(restore(older), "is there already")


def test_what_another_user_says_was_restored_is_not_believed(
    small: dict[str, Any], restore: Call, tmp_path: Path, destination: Path, state: Path
) -> None:
    assert restore(small)["rc"] == 0
    (known,) = (state / "restored").iterdir()
    text = known.read_text()
    for bad in ("", "[]", "{", '{"path": "/elsewhere"}'):
        known.write_text(bad)
        refused(restore(small, step="prepare"), "is there already")
    known.write_text(text)
    done(restore(small, step="prepare"), destination)
    (state / "restored").chmod(0o777)
    refused(restore(small, step="prepare"), "where a private folder of root (uid 0) belongs")


def test_a_restore_that_cannot_be_remembered_says_so(
    small: dict[str, Any], restore: Call, destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: str, text: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    monkeypatch.setattr(completed, "write_text", full)
    result = restore(small)
    assert (result["rc"], result["changed"]) == (0, True), result
    assert any("is restored, but a rerun will not know that: " in note for note in result["notes"])
    assert destination.is_dir()


# Untrusted tarballs


def damage(base: Base, tarball: dict[str, Any], how: str) -> None:
    """Damage a tarball or its sidecar."""
    path = base.path / tarball["relpath"]
    if how == "bit":
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif how == "short":
        os.truncate(path, tarball["size"] - 1)
    elif how == "no sidecar":
        Path(f"{path}.dna").unlink()
    elif how == "malformed":
        Path(f"{path}.dna").write_text("{}")
    elif how == "other":
        Path(f"{path}.dna").write_text(json.dumps({"dig": "0" * 64, "size": tarball["size"], "alg": "sha256"}))
    elif how == "gone":
        path.unlink()
    elif how == "link":
        path.rename(path.with_name("other"))
        path.symlink_to("other")


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("bit", "does not match its dna, so nothing was restored from it"),
        ("short", "but its dna says"),
        ("no sidecar", "has no dna"),
        ("malformed", "has a malformed dna"),
        ("other", "is no longer the one that was chosen"),
        ("gone", "is not there, or no plain file"),
        ("link", "is not there, or no plain file"),
    ],
)
def test_an_unverified_tarball_is_refused(
    base: Base, small: dict[str, Any], restore: Call, tmp_path: Path, destination: Path, how: str, reason: str
) -> None:
    destination.mkdir(parents=True)
    damage(base, small, how)
    before = describe_tree(tmp_path, times=False)
    refused(restore(small, replace="move_aside"), reason)
    unchanged(before, tmp_path)


def test_content_that_is_not_what_the_dump_recorded_is_refused(
    base: Base, restore: Call, tmp_path: Path, destination: Path
) -> None:
    """The digest agrees, since it was recomputed over damaged content: the proof finds it."""
    live = tmp_path / "live.db"
    execute(live, "CREATE TABLE t (a)", "INSERT INTO t VALUES (1), (2)")
    tarball = base.dump_one(item("sqlite", live))
    record = {**tarball["record"], "rows": {"t": 3}}
    before = describe_tree(tmp_path, times=False)
    refused(restore({**tarball, "record": record}), "t (2 rows, expected 3 rows)")
    unchanged(before, tmp_path)


def test_a_dna_that_was_written_anew_over_other_bytes_is_refused(
    base: Base, small: dict[str, Any], restore: Call, tmp_path: Path
) -> None:
    """The digest agrees, and the folder's bytes could be hostile: the dump recorded another digest."""
    damage(base, small, "bit")
    path = base.path / small["relpath"]
    again = describe(base, small["relpath"])
    before = describe_tree(tmp_path, times=False)
    refused(restore({**small, **again, "record": small["record"]}), "is not what its dump recorded")
    unchanged(before, tmp_path)
    assert path.exists()


def make_tarball(base: Base, build: Callable[[Path], None], name: str = "small") -> dict[str, Any]:
    """Add a tarball of what is built in a folder to the base, with a matching sidecar."""
    folder = base.path.parent / "hostile"
    (folder / name).mkdir(parents=True)
    build(folder / name)
    relpath = f"folders/{name}/{FIRST}/{name}.tar"
    path = base.path / relpath
    path.parent.mkdir(parents=True)
    subprocess.run(["tar", "-c", "-P", "-f", path, "-C", folder, "--format=posix", name], check=True)
    return describe(base, relpath)


def describe(where: Base, relpath: str, **more: str) -> dict[str, Any]:
    """Write the sidecar of a tarball; return the tarball as results show it."""
    content = (where.path / relpath).read_bytes()
    dna = {"dig": hashlib.sha256(content).hexdigest(), "size": len(content), "alg": "sha256"}
    Path(f"{where.path / relpath}.dna").write_text(json.dumps({**dna, **more}))
    category, name, *stamp = relpath.split("/")[:6]
    return {"relpath": relpath, "category": category, "name": name, "stamp": "/".join(stamp), **dna}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("special", ["named pipe", "device"])
def test_devices_and_pipes_are_left_out_unless_asked_for(
    base: Base, restore: Call, tmp_path: Path, destination: Path, special: str
) -> None:
    live = tmp_path / "live"
    (live / "a").mkdir(parents=True)
    (live / "a-lead").write_text("lead")
    (live / "z").write_text("z")
    if special == "device":
        os.mknod(live / "a" / "x", 0o600 | 0o020000, os.makedev(1, 3))
    else:
        os.mkfifo(live / "a" / "x")
    os.link(live / "a" / "x", live / "b")
    tarball = base.dump_one(item("folder", live, "small"))
    said = f"left out the {special} small/a/x and 1 more: special_modes: true brings them back"
    predicted, result = restore(tarball, step="look", check=True), restore(tarball)
    assert (predicted["rc"], result["rc"]) == (0, 0), (predicted, result)
    assert said in predicted["notes"] and said in result["notes"]
    assert result["proof"]["facts"]["manifest"] == tarball["record"]["manifest"]
    assert sorted(str(path.relative_to(destination)) for path in destination.rglob("*")) == ["a", "a-lead", "z"]
    part = restore(tarball, destination=f"{destination}.lead", member="small/a-lead")
    assert part["rc"] == 0 and Path(f"{destination}.lead").read_text() == "lead"
    assert not [note for note in part["notes"] if "left out" in note]
    before = describe_tree(tmp_path, times=False)
    for options in ({"step": "look", "check": True}, {"check": True}, {}):
        bad = restore(tarball, destination=f"{destination}.bad", member="small/a/x", **options)
        refused(bad, f"member 'small/a/x' is a {special}, which only comes with special_modes: true")
        assert bad["failures"][0]["reason"].startswith(f"to {destination}.bad: ")
    unchanged(before, tmp_path)
    whole = restore(tarball, destination=f"{destination}.whole", special_modes=True)
    assert whole["rc"] == 0 and not [note for note in whole["notes"] if "left out" in note]
    assert set(describe_tree(Path(f"{destination}.whole"))) == set(describe_tree(live))


# A repository that was only looked at


def look_at(copy: Path) -> None:
    """Inspect a repository as people do to see whether it is unchanged."""
    for words in (["status"], ["log", "--oneline"], ["diff", "--stat"], ["branch", "-a"], ["show", "HEAD"]):
        run("git", *words, cwd=copy)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("where", ["thing", "thing/.git"])
def test_a_repository_that_was_only_looked_at_is_restored_already(
    base: Base, restore: Call, tmp_path: Path, where: str
) -> None:
    inner = tmp_path / "inner"
    run("git", "clone", "--quiet", make_git(tmp_path / "origin.git"), inner)
    live = tmp_path / "live"
    run("git", "clone", "--quiet", make_git(tmp_path / "other.git"), live)
    run("git", "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner), "sub", cwd=live)
    run("git", "commit", "--quiet", "--message", "sub", cwd=live)
    linked = tmp_path / "linked"
    run("git", "worktree", "add", "--quiet", "--detach", linked, cwd=live)
    tarball = base.dump_one(item("git", live))
    shutil.rmtree(live)
    destination = str(live / ".git" if where.endswith(".git") else live)
    assert restore(tarball, destination=destination)["rc"] == 0
    time.sleep(0.02)
    for _ in range(2):
        look_at(live)
        run("git", "update-index", "-q", "--refresh", "--really-refresh", "--force-write-index", cwd=live)
        run("git", "status", cwd=linked)
        assert (live / ".git" / "index").exists()
        for check in (True, False):
            result = restore(tarball, destination=destination, check=check)
            assert (result["rc"], result["done"], result["changed"]) == (0, True, False), result
    run("git", "tag", "new", cwd=live)
    refused(restore(tarball, destination=destination), "it was changed since")
    run("git", "tag", "--delete", "new", cwd=live)
    run("git", "config", "user.name", "another", cwd=live)
    refused(restore(tarball, destination=destination), "it was changed since")


@pytest.mark.sampled(8)
@pytest.mark.parametrize(
    "change",
    [
        lambda top: (top / ".git" / "HEAD").write_text("ref: refs/heads/other\n"),
        lambda top: (top / ".git" / "FETCH_HEAD").write_text("x"),
        lambda top: (top / ".git" / "index").mkdir(),
        lambda top: (top / ".git" / "hooks" / "index").write_text("x"),
        lambda top: (top / "index").write_text("x"),
        lambda top: (top / ".git").chmod(0o700),
        lambda top: os.chown(top / ".git", NOBODY, -1),
        lambda top: (top / ".git" / "config").unlink(),
    ],
)
def test_whatever_else_changes_a_repository_is_a_change(
    base: Base, restore: Call, tmp_path: Path, destination: Path, change: Callable[[Path], Any]
) -> None:
    live = tmp_path / "live"
    run("git", "clone", "--quiet", make_git(tmp_path / "origin.git"), live)
    (live / ".git").chmod(0o755)
    tarball = base.dump_one(item("git", live))
    assert restore(tarball)["rc"] == 0
    time.sleep(0.02)
    (destination / ".git" / "hooks").mkdir(exist_ok=True)
    change(destination)
    refused(restore(tarball), "it was changed since")


# Differentials


def make_pair(base: Base, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Make a full tarball and a differential of later changes, with GNU tar as dumps do."""
    live = folder / "small"
    live.mkdir(parents=True)
    for name in ("stays", "goes", "changes", "moves"):
        (live / name).write_text(f"{name}\n")
    (live / "sub").mkdir()
    (live / "sub" / "file").write_text("x")
    tarballs = []
    for stamp, filename in ((FIRST, "small.tar.zst"), (SECOND, "small.diff.tar.zst")):
        relpath = f"folders/small/{stamp}/{filename}"
        path = base.path / relpath
        path.parent.mkdir(parents=True)
        options = ["--zstd", "--format=posix", "--no-check-device", f"--listed-incremental={folder}/snapshot"]
        subprocess.run(["tar", "-c", *options, "-f", path, "-C", folder, "small"], check=True)
        more = {"base": f"{FIRST}/small.tar.zst", "base_dig": tarballs[0]["dig"]} if tarballs else {}
        tarballs.append(describe(base, relpath, **more))
        if len(tarballs) == 1:
            (live / "goes").unlink()
            (live / "changes").write_text("changed\n")
            (live / "moves").rename(live / "moved")
            shutil.rmtree(live / "sub")
    return tarballs[0], tarballs[1]


def test_a_differential_comes_back_as_the_later_state(
    base: Base, restore: Call, tmp_path: Path, destination: Path
) -> None:
    full, differential = make_pair(base, tmp_path / "pair")
    result = restore(differential, full=full)
    assert result["rc"] == 0, result
    assert describe_tree(destination) == describe_tree(tmp_path / "pair" / "small")
    assert sorted(os.listdir(destination)) == ["changes", "moved", "stays"]


@pytest.mark.parametrize("which", ["full", "differential"])
def test_both_of_a_pair_are_verified(base: Base, restore: Call, tmp_path: Path, destination: Path, which: str) -> None:
    pair = dict(zip(("full", "differential"), make_pair(base, tmp_path / "pair"), strict=True))
    damage(base, pair[which], "bit")
    before = describe_tree(tmp_path, times=False)
    refused(restore(pair["differential"], full=pair["full"]), f"{pair[which]['relpath']} does not match its dna")
    unchanged(before, tmp_path)


# Locks


def test_a_tree_of_another_run_is_refused(base: Base, small: dict[str, Any], restore: Call, destination: Path) -> None:
    with held(require_writable(str(base.path)), locks.parse_run(RUN)):
        pass
    refused(restore(small), "is in use by another run: scm on control")
    assert not destination.parent.parent.exists()
    assert restore(small, run=RUN)["rc"] == 0


def test_a_tree_that_a_module_works_on_is_refused(
    base: Base, small: dict[str, Any], restore: Call, destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks.shared, "__defaults__", (0.1,), raising=False)
    monkeypatch.setattr("ansible_collections.altbackup.core.plugins.module_utils.tree.locks.WAIT", 0.1)
    monkeypatch.setattr(locks.unclaimed.__wrapped__, "__defaults__", (0.1,))
    with held(require_writable(str(base.path)), Run(**RUN)):
        refused(restore(small), "a module is still at work on it")
    assert not destination.exists()


def test_nothing_is_replaced_while_this_host_is_dumped(
    small: dict[str, Any], restore: Call, destination: Path, tmp_path: Path
) -> None:
    own = Base(tmp_path / "own")
    with held(require_writable(str(own.path)), locks.parse_run(RUN)):
        pass
    for step in ("prepare", "restore"):
        refused(restore(small, step=step, live_base=str(own.path)), f"{own.path} is in use by another run")
        assert not destination.parent.parent.exists()
    assert restore(small, live_base=str(tmp_path / "no base yet"))["rc"] == 0


# Steps, check mode, leftovers


def test_tarballs_of_another_node_arrive_in_a_folder_beside(
    base: Base, small: dict[str, Any], restore: Call, destination: Path
) -> None:
    prepared = restore(small, base="", step="prepare")
    incoming = Path(prepared["incoming"])
    assert (incoming.parent.parent, incoming.stat().st_mode & 0o777) == (destination.parent, 0o700)
    assert prepared["needed"] == 2 * small["size"] < prepared["free"]
    shutil.copy(base.path / small["relpath"], incoming)
    assert restore(small, base="")["rc"] == 0
    assert sorted(os.listdir(destination.parent)) == ["thing", "thing.altbackup-restored"]


def test_what_arrives_damaged_is_refused(base: Base, small: dict[str, Any], restore: Call, destination: Path) -> None:
    incoming = Path(restore(small, base="", step="prepare")["incoming"])
    (incoming / Path(small["relpath"]).name).write_bytes(b"x" * small["size"])
    refused(restore(small, base=""), "does not match its dna")
    assert not destination.parent.parent.exists()


def test_what_did_not_arrive_is_abandoned(small: dict[str, Any], restore: Call, destination: Path) -> None:
    restore(small, base="", step="prepare")
    assert destination.parent.exists()
    assert restore(small, base="", step="abandon")["rc"] == 0
    assert not destination.parent.parent.exists()
    assert restore(small, base="", step="abandon")["rc"] == 0


@pytest.mark.parametrize("step", ["prepare", "restore", "abandon"])
def test_check_mode_changes_nothing(small: dict[str, Any], restore: Call, tmp_path: Path, step: str) -> None:
    before = describe_tree(tmp_path)
    result = restore(small, step=step, check=True, base="")
    assert (result["rc"], result["changed"]) == (0, step != "abandon"), result
    assert describe_tree(tmp_path) == before


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("bit", "does not match its dna"),
        ("short", "but its dna says"),
        ("no sidecar", "has no dna"),
        ("gone", "is not there"),
    ],
)
@pytest.mark.parametrize("step", ["look", "restore"])
def test_check_mode_finds_the_damage_that_the_restore_would(
    base: Base, small: dict[str, Any], restore: Call, tmp_path: Path, how: str, reason: str, step: str
) -> None:
    damage(base, small, how)
    before = describe_tree(tmp_path)
    refused(restore(small, step=step, check=True), reason)
    assert describe_tree(tmp_path) == before


@pytest.mark.sampled(15)
@pytest.mark.parametrize(
    ("member", "reason"),
    [
        ("small/none", "member 'small/none' is not in it"),
        ("small/sub/none", "is not in it"),
        ("small/su", "is not in it"),
        ("other/users.conf", "which begins with small/"),
        ("small/../small/users.conf", "is not a path inside the tarball"),
        ("./../small/users.conf", "is not a path inside the tarball"),
        ("./none", "member 'small/none' is not in it"),
        ("./users.conf", ""),
        ("small/users.conf", ""),
        ("small/sub", ""),
        ("small/link", ""),
    ],
)
@pytest.mark.parametrize("step", ["look", "restore"])
def test_check_mode_finds_a_wrong_member_as_the_restore_does(
    small: dict[str, Any], restore: Call, tmp_path: Path, member: str, reason: str, step: str
) -> None:
    before = describe_tree(tmp_path)
    predicted = restore(small, step=step, check=True, member=member)
    assert describe_tree(tmp_path) == before
    done = restore(small, member=member)
    if reason:
        refused(predicted, reason)
        assert done["failures"] == predicted["failures"]
    else:
        assert (predicted["rc"], done["rc"]) == (0, 0), (predicted, done)


MEMBERS = {
    "small/sub/": b"sub",
    "./sub/": b"sub",
    "./%FF%25": b"\xff%",
    "small/new\nline": b"new\nline",
    "small/new%0Aline": b"new\nline",
    "small/%FF%25": b"\xff%",
    "small/50%": b"50%",
    "small/größe [*]": "größe [*]".encode(),
    "small/-lead": b"-lead",
}


@pytest.mark.sampled(9)
@pytest.mark.parametrize("member", MEMBERS)
def test_a_member_of_any_name_comes_back(
    base: Base, restore: Call, tmp_path: Path, destination: Path, member: str
) -> None:
    live = tmp_path / "live"
    (live / "sub").mkdir(parents=True)
    (live / "sub" / "x").write_bytes(b"sub")
    for content in {*MEMBERS.values()} - {b"sub"}:
        with open(os.path.join(os.fsencode(live), content), "wb") as stream:
            stream.write(content)
    tarball = base.dump_one(item("folder", live, "small"))
    predicted, done = restore(tarball, step="look", check=True, member=member), restore(tarball, member=member)
    assert (predicted["rc"], done["rc"]) == (0, 0), (predicted, done)
    assert (destination / "x" if destination.is_dir() else destination).read_bytes() == MEMBERS[member]
    again = restore(tarball, member=member.rstrip("/"))
    assert again["done"], again
    missing = [
        restore(tarball, destination=f"{destination}2", member=f"{member}.no", **how) for how in ({"check": True}, {})
    ]
    assert missing[0]["failures"][0]["reason"] == missing[1]["failures"][0]["reason"]
    assert "is not in it; what is, shows altbackup ls " in missing[0]["failures"][0]["reason"]
    assert "\n" not in missing[0]["failures"][0]["reason"]


def test_check_mode_finds_what_is_refused(base: Base, restore: Call, destination: Path) -> None:
    tarball = make_tarball(base, lambda top: None)
    (base.path / tarball["relpath"]).write_bytes(stream([folder("small"), member("small/odd", kind=b"Z")]))
    tarball = describe(base, tarball["relpath"])
    for check in (True, False):
        refused(restore(tarball, check=check), "is of the unknown type")
    assert not destination.exists()


def test_leftovers_of_a_killed_call_are_removed_and_reported(
    small: dict[str, Any], restore: Call, destination: Path
) -> None:
    incoming = Path(restore(small, step="prepare", base="")["incoming"])
    left = incoming.parent / "unpacked" / "small"
    left.mkdir(parents=True)
    (left / "file").write_text("x")
    result = restore(small, step="prepare")
    assert result["rc"] == 0, result
    assert any("removed unpacked, which an earlier restore had left" in note for note in result["notes"])
    assert not destination.parent.parent.exists()


def test_too_little_space_is_told_with_numbers_before_anything_is_written(
    base: Base, restore: Call, tmp_path: Path
) -> None:
    live = tmp_path / "live"
    live.mkdir()
    (live / "zeros").write_bytes(bytes(4 << 20))
    (live / "random").write_bytes(os.urandom(1 << 20))
    tarball = base.dump_one(item("folder", live, "small"))
    with small_disk(tmp_path / "disk", "size=2m") as disk:
        refused(restore(tarball, destination=str(disk / "x")), f"are needed below {disk}")
        refused(restore(tarball, destination=str(disk / "x"), base="", step="prepare"), "but only 2.000 MiB are free")
        assert os.listdir(disk) == []


@pytest.mark.sampled(2)
@pytest.mark.parametrize("part", [False, True])
def test_a_sparse_file_larger_than_the_disk_comes_back_where_its_data_fits(
    base: Base, restore: Call, tmp_path: Path, part: bool
) -> None:
    live = tmp_path / "live"
    live.mkdir()
    with open(live / "sparse", "wb") as stream:
        stream.write(b"begin")
        stream.truncate(512 << 20)
        stream.seek(300 << 20)
        stream.write(b"middle")
    tarball = base.dump_one(item("folder", live, "small"))
    with small_disk(tmp_path / "disk", "size=8m") as disk:
        options = {"member": "small/sparse", "kind": "folder"} if part else {}
        place = disk / "x"
        assert restore(tarball, destination=str(place), **options)["changed"]
        found = place if part else place / "sparse"
        assert found.stat().st_size == 512 << 20 and found.stat().st_blocks * 512 < 1 << 20
        with open(found, "rb") as stream:
            assert stream.read(5) == b"begin"
            stream.seek(300 << 20)
            assert stream.read(7) == b"middle\0"


def test_a_part_needs_room_for_itself_alone(base: Base, restore: Call, tmp_path: Path) -> None:
    live = tmp_path / "live"
    live.mkdir()
    (live / "large").write_bytes(os.urandom(16 << 20))
    (live / "small").write_text("content")
    tarball = base.dump_one(item("folder", live, "thing"))
    with small_disk(tmp_path / "disk", "size=4m") as disk:
        refused(restore(tarball, destination=str(disk / "x")), f"are needed below {disk}")
        assert restore(tarball, destination=str(disk / "y"), member="thing/small")["changed"]
        assert (disk / "y").read_text() == "content"


def test_many_small_files_need_the_blocks_that_they_take(base: Base, restore: Call, tmp_path: Path) -> None:
    live = tmp_path / "live"
    live.mkdir()
    for number in range(1500):
        (live / f"{number}").write_text("x")
    tarball = base.dump_one(item("folder", live, "thing"))
    with small_disk(tmp_path / "disk", "size=4m") as disk:
        refused(restore(tarball, destination=str(disk / "x")), f"are needed below {disk}")
        assert os.listdir(disk) == []


@pytest.mark.parametrize(("kind", "tool"), [("folder", "zstd"), ("svn", "svnadmin"), ("git", "git"), ("folder", "tar")])
def test_a_missing_program_is_told_before_the_tarball_travels(
    small: dict[str, Any], restore: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, tool: str
) -> None:
    tools = {"tar", "zstd", "svnadmin", "svnlook", "git", "cp", "sync"} - {tool}
    link_tools(tmp_path / "bin", sorted(tools))
    monkeypatch.setattr(programs, "search_path", lambda: str(tmp_path / "bin"))
    refused(restore(small, step="prepare", kind=kind), f"{tool} is not installed on this node: install the package")


# Marker and adoption


def test_a_restored_copy_is_not_dumped_until_it_is_adopted(
    base: Base, restore: Call, module: Call, tmp_path: Path
) -> None:
    live = make_subversion(tmp_path / "live")
    tarball = base.dump_one(item("svn", live, "dybsvn"))
    shutil.rmtree(live)
    assert restore(tarball, destination=str(live))["rc"] == 0
    marker = read_marker(str(live))
    here = {"item": "svn/dybsvn", "member": "", "path": str(live)}
    assert marker == {**ORIGIN, **here, "stamp": FIRST, "dig": tarball["dig"]}
    other = tmp_path / "other"
    other.mkdir()
    (other / "file").write_text("content")
    for check_mode in (True, False):
        night = base.dump(
            item("svn", live, "dybsvn"), item("folder", other, "other"), stamp=NIGHTS[1], check_mode=check_mode
        )
        assert [entry["name"] for entry in night["tarballs"]] == ["other"]
        (failure,) = night["failures"]
        assert (failure["category"], failure["name"]) == ("svn", "dybsvn")
        for part in (
            "restored at 2013-05-11 09:00:00 UTC by scm on control: svn/dybsvn of dayabay, 2013/05/10/104701, taken from cms01",
            "altbackup adopt fresh/svn/dybsvn -i INVENTORY",
        ):
            assert part in failure["reason"]
    assert module(restore_adopt, path=[str(live)])["adopted"] == [str(live)]
    assert base.dump(item("svn", live, "dybsvn"), stamp=NIGHTS[2])["failures"] == []


@pytest.mark.parametrize("content", ["", "[]", "{", "\xff"])
def test_a_marker_that_cannot_be_read_still_marks(base: Base, tmp_path: Path, content: str) -> None:
    live = tmp_path / "live"
    live.mkdir()
    Path(f"{live}.altbackup-restored").write_text(content, encoding="latin-1")
    assert "is a copy that was restored at an unknown time" in base.reason(item("folder", live))


def test_a_file_restored_into_a_live_folder_leaves_it_as_it_is_backed_up(
    base: Base, restore: Call, tmp_path: Path
) -> None:
    live = tmp_path / "live"
    live.mkdir()
    (live / "kept").write_text("kept")
    (live / "lost").write_text("lost")
    docs = item("folder", live, "docs")
    tarball = base.dump_one(docs)
    (live / "lost").unlink()
    options = {"live_items": [{"kind": "folder", "path": str(live)}], "destination": str(live / "lost")}
    result = restore(tarball, member="docs/lost", **options)
    assert (result["rc"], result["marked"]) == (0, "")
    assert sorted(path.name for path in live.iterdir()) == ["kept", "lost"]
    assert list(tmp_path.glob("*.altbackup-restored")) == []
    assert base.dump(docs, stamp=NIGHTS[1])["failures"] == []


@pytest.mark.sampled(2)
@pytest.mark.parametrize("other_disk", [False, True])
def test_a_part_that_makes_an_item_doubtful_is_told_of_the_item_and_adopted_with_it(
    base: Base, restore: Call, module: Call, tmp_path: Path, environment: Path, other_disk: bool
) -> None:
    live = copy_environment(environment, tmp_path / "live")
    trac = item("trac", live, "dybsvn")
    tarball = base.dump_one(trac)
    shutil.rmtree(live / "db")
    with small_disk(live / "db", "size=20m") if other_disk else contextlib.nullcontext():
        options = {"live_items": [{"kind": "trac", "path": str(live)}], "destination": f"{live}/db/trac.db"}
        result = restore(tarball, member="dybsvn/db/trac.db", **options)
        assert (result["rc"], result["marked"]) == (0, str(live)), result
        assert os.listdir(live / "db") == ["trac.db"]
        reason = base.reason(trac, stamp=NIGHTS[1])
        assert f"{live} holds {live}/db/trac.db, a copy that was restored at" in reason
        assert "by scm on control: dybsvn/db/trac.db of tracs/dybsvn of dayabay" in reason
        assert module(restore_adopt, path=[str(live)])["adopted"] == [str(live)]
        assert not [*tmp_path.glob("*.altbackup-*"), *live.rglob("*.altbackup-*")]
        assert base.dump(trac, stamp=NIGHTS[2])["failures"] == []


def test_items_in_a_folder_that_was_restored_are_not_dumped_until_one_is_adopted(
    base: Base, restore: Call, module: Call, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    inner = home / "svn" / "docs"
    inner.mkdir(parents=True)
    (inner / "file").write_text("x")
    tarball = base.dump_one(item("folder", home, "home"))
    shutil.rmtree(home)
    assert restore(tarball, destination=str(home))["marked"] == str(home)
    reason = base.reason(item("folder", inner, "docs"), stamp=NIGHTS[1])
    assert f"{inner} lies in {home}, a copy that was restored at" in reason
    assert f"(that adopts all of {home})" in reason
    assert module(restore_adopt, path=[str(inner)])["adopted"] == [str(home)]
    assert base.dump(item("folder", inner, "docs"), stamp=NIGHTS[1])["failures"] == []


def test_what_was_restored_beside_an_item_does_not_hold_it_up(
    base: Base, restore: Call, tmp_path: Path, environment: Path
) -> None:
    live = copy_environment(environment, tmp_path / "live")
    shared = live / "attachments"
    shared.mkdir(exist_ok=True)
    (shared / "file").write_text("x")
    tarball = base.dump_one(item("trac", live, "dybsvn"))
    os.unlink(live / "db" / "trac.db")
    options = {"live_items": [{"kind": "trac", "path": str(live)}], "destination": f"{live}/db/trac.db"}
    assert restore(tarball, member="dybsvn/db/trac.db", **options)["marked"] == str(live)
    assert base.dump(item("folder", shared, "attached"), stamp=NIGHTS[1])["failures"] == []
    os.unlink(live / "VERSION")
    assert restore(tarball, member="dybsvn/VERSION", **{**options, "destination": f"{live}/VERSION"})["rc"] == 0
    marker = read_marker(str(live))
    assert marker is not None
    assert marker["path"] == str(live)


def test_a_command_to_adopt_names_the_source_whose_base_it_is(base: Base, tmp_path: Path) -> None:
    live = tmp_path / "live"
    live.mkdir()
    Path(f"{live}.altbackup-restored").write_text(json.dumps({"host": "newhost"}))
    identify(open_tree(str(base.path)), Owner("source", "dayabay"), claim=True)
    assert "altbackup adopt dayabay/folders/" in base.reason(item("folder", live))


# What others own, and can write


@pytest.mark.sampled(4)
@pytest.mark.parametrize("base_here", [True, False])
@pytest.mark.parametrize("disk", [False, True])
def test_a_restore_beside_what_another_user_planted_obeys_none_of_it(
    base: Base, small: dict[str, Any], restore: Call, tmp_path: Path, base_here: bool, disk: bool
) -> None:
    precious = tmp_path / "of root"
    precious.write_text("precious")
    with (
        nobodys_home() as home,
        small_disk(home / "disk", "size=8m") if disk else contextlib.nullcontext(home) as place,
    ):
        os.chown(place, NOBODY, NOBODY)
        destination = place / "docs"
        destination.mkdir()
        left = place / ".altbackup-tmp-restore-docs"
        left.mkdir(mode=0o700)
        (left / "x").write_text("his")
        inodes = [[os.lstat(path).st_dev, os.lstat(path).st_ino] for path in (destination, left / "x")]
        journal = {"new": inodes[0], "path": "x", "old": inodes[1], "aside": str(precious), "marker": None}
        (left / "journal").write_text(json.dumps(journal))
        Path(f"{destination}.altbackup-restored").symlink_to(precious)
        for path in (left, left / "x", left / "journal", destination):
            os.chown(path, NOBODY, NOBODY)
        options = {"destination": str(destination), "replace": "move_aside", "consent": True}
        if not base_here:
            options["base"] = ""
            incoming = Path(restore(small, step="prepare", **options)["incoming"])
            assert incoming.stat().st_mode & 0o777 == 0o700
            assert not str(incoming).startswith(str(home)), incoming
            shutil.copy(base.path / small["relpath"], incoming)
        result = restore(small, **options)
        assert (result["rc"], result["aside"]) == (0, f"{destination}.20130511-090000"), result
        assert precious.read_text() == "precious"
        assert sorted(os.listdir(left)) == ["journal", "x"]
        names = ["docs", "docs.20130511-090000", "docs.altbackup-restored", left.name]
        assert sorted(os.listdir(place)) == sorted(names)
        assert os.listdir(home.parent) == ["home"]


def test_errors_name_folders_and_not_how_they_are_held_open(
    base: Base, small: dict[str, Any], restore: Call, destination: Path
) -> None:
    incoming = Path(restore(small, base="", step="prepare")["incoming"])
    result = restore(small, base="")
    refused(result, f"{incoming}/small.tar.zst is not there, or no plain file: nothing was restored")
    assert "/proc/self" not in json.dumps(result)


@pytest.mark.parametrize("step", ["prepare", "restore"])
@pytest.mark.parametrize("check", [True, False])
def test_a_destination_behind_a_link_of_another_user_is_refused(
    small: dict[str, Any], restore: Call, tmp_path: Path, step: str, check: bool
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    with nobodys_folder() as home:
        (home / "link").symlink_to(victim)
        result = restore(small, destination=str(home / "link" / "docs"), step=step, check=check)
        refused(
            result,
            f"leads through {home}/link, a link of root (uid 0) in a folder that others can change: it is not followed",
        )
    assert list(victim.iterdir()) == []


def test_where_programs_cannot_be_confined_a_restore_says_so_and_works(
    small: dict[str, Any], restore: Call, destination: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = restore(small, destination=f"{destination} confined", special_modes=True)
    assert not [note for note in result["notes"] if "confine" in note]
    monkeypatch.setattr(unpacked, "is_allowed", lambda *_: False)
    result = restore(small, special_modes=True)
    assert result["rc"] == 0, result
    assert [note for note in result["notes"] if "does not allow to confine programs" in note]
    assert describe_tree(destination) == describe_tree(tmp_path / "live")
    assert describe_tree(Path(f"{destination} confined")) == describe_tree(tmp_path / "live")


@pytest.mark.parametrize("whose", ["tree of another user", "folder of another user", "own"])
def test_a_tarball_that_its_owner_changes_after_it_was_verified_is_not_what_is_unpacked(
    base: Base,
    small: dict[str, Any],
    restore: Call,
    tmp_path: Path,
    destination: Path,
    monkeypatch: pytest.MonkeyPatch,
    whose: str,
) -> None:
    path = base.path / small["relpath"]
    if whose == "tree of another user":
        for below in [base.path, *base.path.rglob("*")]:
            os.chown(below, NOBODY, NOBODY, follow_symlinks=False)
    elif whose == "folder of another user":
        os.chown(path.parent, NOBODY, NOBODY)
    used = []

    def changed(paths: list[str], *arguments: Any, **options: Any) -> str:
        used.extend(paths)
        if whose != "own":
            path.write_bytes(b"another")
        return unpack.unpack(paths, *arguments, **options)

    monkeypatch.setattr(unpacked, "unpack", changed)
    result = restore(small, special_modes=True)
    assert result["rc"] == 0, result
    assert describe_tree(destination) == describe_tree(tmp_path / "live")
    assert (used == [str(path)]) is (whose == "own")
