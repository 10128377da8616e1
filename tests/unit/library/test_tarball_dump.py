"""Module tarball_dump as it is called: run, run again, check mode, bad input, full disks, killed runs, several items."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from helpers.dead_mount import dead_mount, run_apart
from helpers.drills import make_database
from helpers.environments import execute, make_environment
from helpers.repositories import make_git, make_subversion
from helpers.trees import (
    NIGHTS,
    NOBODY,
    Base,
    as_nobody,
    describe_tree,
    file_digest,
    item,
    link_tools,
    list_archive,
    make_tool,
    marked,
    needs_root,
    nobodys_folder,
    small_disk,
    unpack,
)
from helpers.waiting import count_running, wait_until
from lab.pythons import find_python

from ansible_collections.altbackup.core.plugins.module_utils.archive.write import ArchiveFormat, store_archive
from ansible_collections.altbackup.core.plugins.module_utils.stages import dump_item
from ansible_collections.altbackup.core.plugins.module_utils.system import programs
from ansible_collections.altbackup.core.plugins.module_utils.system.digest import digest_file
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import BaseUnusable
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.readings import readings
from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import parse_stamp
from ansible_collections.altbackup.core.plugins.modules import tarball_dump

REPOSITORY = Path(__file__).resolve().parents[3]
KEYS = {"path", "relpath", "category", "name", "stamp", "size", "dig", "alg", "seconds", "record"}
ODD_ITEM_NAMES = (
    "a b",
    "$x",
    "-dash",
    "a&b\\c|d",
    "'quotes\"",
    "日本 é",
    "%p",
    "group%2Fproject",
    "n" * 200,
    "*",
    "last",
    "x.tar",
)


@pytest.fixture
def base(tmp_path: Path) -> Base:
    return Base(tmp_path / "base")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "live" / "folder"
    path.mkdir(parents=True)
    (path / "file").write_text("content")
    return path


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "live" / "x.db"
    path.parent.mkdir(exist_ok=True)
    execute(path, "CREATE TABLE t (a)", "INSERT INTO t VALUES (1)")
    return path


@pytest.fixture
def call(base: Base, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """Return a function that runs the module with options and returns its result; `rc` is its exit code."""

    def run(*items: Any, stamp: str = NIGHTS[0], check: bool = False, **options: Any) -> dict[str, Any]:
        arguments = {"base": str(base.path), "items": list(items), "stamp": stamp, **options}
        with patch_module_args({**arguments, "_ansible_check_mode": check}), pytest.raises(SystemExit) as ended:
            tarball_dump.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return {**result, "rc": ended.value.code}

    return run


Call = Callable[..., dict[str, Any]]


def write_sidecar_of(path: Path) -> None:
    dig, size = digest_file(str(path), "sha256")
    Path(f"{path}.dna").write_text(json.dumps({"dig": dig, "size": size, "alg": "sha256"}) + "\n")


# Runs


@pytest.mark.parametrize(
    ("options", "extension", "sidecar"),
    [
        ({}, ".tar.zst", '{{"dig": "{sha256}", "size": {size}, "alg": "sha256"}}\n'),
        ({"ext": ".tar.gz", "algorithm": "md5"}, ".tar.gz", "{{'dig': '{md5}', 'size': {size}}}\n"),
        ({"ext": ".tar", "algorithm": "sha512"}, ".tar", '{{"dig": "{sha512}", "size": {size}, "alg": "sha512"}}\n'),
    ],
)
def test_run_makes_tarball_sidecar_and_last(
    call: Call, base: Base, folder: Path, options: dict[str, str], extension: str, sidecar: str
) -> None:
    result = call(item("folder", folder), **options)
    assert (result["rc"], result["changed"], result["failures"], result["notes"]) == (0, True, [], [])
    (tarball,) = result["tarballs"]
    assert set(tarball) == KEYS
    assert tarball["relpath"] == f"folders/thing/{NIGHTS[0]}/thing{extension}"
    path = base.path / tarball["relpath"]
    digests = {name: file_digest(path, name) for name in ("md5", "sha256", "sha512")}
    assert Path(f"{path}.dna").read_text() == sidecar.format(size=path.stat().st_size, **digests)
    assert tarball["dig"] == digests[options.get("algorithm", "sha256")]
    assert os.readlink(base.path / "folders" / "thing" / "last") == NIGHTS[0]


def test_same_day_unchanged_stores_nothing(call: Call, base: Base, folder: Path) -> None:
    first = call(item("folder", folder), stamp="2013/05/10/100000")
    before = base.files()
    second = call(item("folder", folder), stamp="2013/05/10/120000")
    assert (second["changed"], base.files()) == (False, before)
    assert second["tarballs"][0]["relpath"] == first["tarballs"][0]["relpath"]
    assert second["tarballs"][0]["record"] == first["tarballs"][0]["record"]
    (folder / "file").write_text("changed")
    third = call(item("folder", folder), stamp="2013/05/10/140000")
    assert third["tarballs"][0]["stamp"] == "2013/05/10/140000"
    fourth = call(item("folder", folder), stamp="2013/05/10/120000")
    assert fourth["tarballs"][0]["stamp"] == "2013/05/10/140000"
    assert os.readlink(base.path / "folders" / "thing" / "last") == "2013/05/10/140000"


def test_unchanged_night_is_a_link_and_a_changed_one_is_not(call: Call, folder: Path) -> None:
    paths = [call(item("folder", folder), stamp=night)["tarballs"][0]["path"] for night in NIGHTS[:3]]
    (folder / "file").chmod(0o600)
    paths.append(call(item("folder", folder), stamp=NIGHTS[3])["tarballs"][0]["path"])
    inodes = [os.stat(path).st_ino for path in paths]
    assert inodes[0] == inodes[1] == inodes[2] != inodes[3]
    (folder / "file").chmod(0o644)
    os.utime(folder / "file", ns=(0, 5))
    back = call(item("folder", folder), stamp="2013/05/14/000000")["tarballs"][0]["path"]
    assert os.stat(back).st_nlink == 1


def test_stamp_of_the_past_does_not_link_to_the_future_nor_move_last(call: Call, base: Base, folder: Path) -> None:
    call(item("folder", folder), stamp=NIGHTS[2])
    result = call(item("folder", folder), stamp=NIGHTS[0])
    assert os.stat(result["tarballs"][0]["path"]).st_nlink == 1
    assert os.readlink(base.path / "folders" / "thing" / "last") == NIGHTS[2]


@pytest.mark.sampled(12)
@pytest.mark.parametrize("name", ODD_ITEM_NAMES)
def test_items_bear_odd_names(call: Call, base: Base, folder: Path, name: str, tmp_path: Path) -> None:
    tarballs = [call(item("folder", folder, name), stamp=night)["tarballs"][0] for night in NIGHTS[:2]]
    assert tarballs[0]["dig"] == tarballs[1]["dig"]
    assert os.readlink(base.path / "folders" / name / "last") == NIGHTS[1]
    top = unpack(tarballs[1], tmp_path / "out")
    assert top.name == name
    assert describe_tree(top) == describe_tree(folder)


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_modes_are_private_whatever_the_umask(
    call: Call, base: Base, folder: Path, database: Path, umask: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(*arguments: Any, **options: Any) -> Any:
        for parent, _, _ in os.walk(base.path / ".altbackup"):
            if "/scratch/" not in f"{parent}/" or parent.endswith("scratch"):
                assert os.stat(parent).st_mode & 0o077 == 0, parent
        return store_archive(*arguments, **options)

    monkeypatch.setattr(dump_item, "store_archive", write)
    os.umask(umask)
    result = call(item("folder", folder), item("sqlite", database))
    assert result["failures"] == []
    for parent, _, names in os.walk(base.path):
        if Path(parent) != base.path:
            assert os.stat(parent).st_mode & 0o7777 == 0o700, parent
        for name in names:
            assert os.stat(os.path.join(parent, name)).st_mode & 0o7777 == 0o600, name


def test_bytes_do_not_depend_on_the_umask(call: Call, folder: Path, database: Path) -> None:
    items = [item("folder", folder), item("sqlite", database)]
    for kind, command in (("svn", ["svnadmin", "create"]), ("git", ["git", "init", "--quiet", "--bare"])):
        subprocess.run([*command, folder.parent / kind], check=True)
        items.append(item(kind, folder.parent / kind))
    digests = []
    for night, umask in zip(NIGHTS, (0, 0o022, 0o077), strict=False):
        os.umask(umask)
        digests.append([tarball["dig"] for tarball in call(*items, stamp=night)["tarballs"]])
    assert len(digests[0]) == 4
    assert digests[0] == digests[1] == digests[2]


def test_working_directory_may_be_gone(
    call: Call, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert call(item("folder", folder))["rc"] == 0


# Failures


def test_bad_items_do_not_stop_the_good_ones(call: Call, base: Base, folder: Path, database: Path) -> None:
    items = [
        item("folder", "/nonexistent", "missing"),
        item("folder", folder, "good one"),
        item("sqlite", folder / "file", "no database"),
        item("sqlite", database, "good two"),
        item("nonsense", folder, "odd"),
    ]
    result = call(*items)
    assert result["rc"] == 1
    assert [tarball["name"] for tarball in result["tarballs"]] == ["good one", "good two"]
    assert {failure["name"] for failure in result["failures"]} == {"missing", "no database", "odd"}
    for failure in result["failures"]:
        assert failure["stage"] == "dump"
        assert failure["reason"] in result["msg"]
    collected = call(*items, stamp=NIGHTS[1], fail=False)
    assert collected["rc"] == 0
    assert len(collected["failures"]) == 3


def make_bad_input(tmp_path: Path) -> dict[str, Any]:
    live = tmp_path / "live" / "folder"
    inside = tmp_path / "live" / "folder" / "base"
    marked(inside)
    (tmp_path / "link").symlink_to(live)
    (tmp_path / "unmarked").mkdir()
    good = item("folder", live)
    return {
        "path missing": ({"items": [item("folder", "/nonexistent")]}, "path /nonexistent does not exist"),
        "relative path": ({"items": [item("folder", "live")]}, "path 'live' is not an absolute path"),
        "no svn": ({"items": [item("svn", live)]}, "is not a Subversion repository"),
        "no trac": ({"items": [item("trac", live)]}, "is not a Trac environment"),
        "no git": ({"items": [item("git", live)]}, "is not a Git repository"),
        "no sqlite": ({"items": [item("sqlite", live / "file")]}, "is not an SQLite database"),
        "no folder": ({"items": [item("folder", live / "file")]}, "is not a folder"),
        "slash in name": ({"items": [item("folder", live, "a/b")]}, "item name 'a/b' contains a slash"),
        "newline in name": ({"items": [item("folder", live, "a\nb")]}, "contains a newline"),
        "dot name": ({"items": [item("folder", live, ".hidden")]}, "begins with a dot"),
        "empty name": ({"items": [item("folder", live, "")]}, "item name '' is not a text"),
        "number as name": ({"items": [{**good, "name": 7}]}, "item name 7 is not a text"),
        "unknown kind": ({"items": [item("fodler", live)]}, "unknown kind 'fodler', did you mean 'folder'?"),
        "unknown key": ({"items": [{**good, "exlcude": []}]}, "unknown key 'exlcude', did you mean 'exclude'?"),
        "missing key": ({"items": [{"kind": "folder", "name": "x"}]}, "key 'path' is missing"),
        "bad keep": ({"items": [{**good, "keep": 0}]}, "keep 0 is not a positive whole number"),
        "no items": ({"items": []}, "there are no items to dump"),
        "invalid stamp": (
            {"items": [good], "stamp": "2013/02/30/000000"},
            "stamp '2013/02/30/000000' is not a date and time",
        ),
        "stamp of a day": ({"items": [good], "stamp": "2013/02/03"}, "stamp '2013/02/03' is not a date and time"),
        "unmarked base": ({"items": [good], "base": str(tmp_path / "unmarked")}, "has no marker .altbackup/"),
        "missing base": ({"items": [good], "base": "/nonexistent/base"}, "base /nonexistent/base does not exist"),
        "base inside": ({"items": [good], "base": str(inside)}, f"the base {inside} lies inside its path {live}"),
        "base inside link": (
            {"items": [item("folder", tmp_path / "link")], "base": str(inside)},
            "lies inside its path",
        ),
        "base through link": ({"items": [good], "base": str(tmp_path / "link" / "base")}, "lies inside its path"),
        "require absolute": ({"items": [{**good, "require": "/x"}]}, "require '/x' is not a path inside the folder"),
    }


BAD_INPUT = [
    "bad keep",
    "base inside",
    "base inside link",
    "base through link",
    "dot name",
    "empty name",
    "invalid stamp",
    "missing base",
    "missing key",
    "newline in name",
    "no folder",
    "no git",
    "no items",
    "no sqlite",
    "no svn",
    "no trac",
    "number as name",
    "path missing",
    "relative path",
    "require absolute",
    "slash in name",
    "stamp of a day",
    "unknown key",
    "unknown kind",
    "unmarked base",
]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("check", [False, True], ids=["run", "check mode"])
@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_told_and_leaves_nothing_behind(
    call: Call, tmp_path: Path, folder: Path, case: str, check: bool
) -> None:
    cases = make_bad_input(tmp_path)
    options, expected = cases[case]
    private = tmp_path / "base" / ".altbackup"
    times = private.stat().st_atime_ns, private.stat().st_mtime_ns
    before = describe_tree(tmp_path)
    result = call(*options.pop("items"), check=check, **options)
    assert result["rc"] == 1
    assert expected in result["msg"]
    assert result["tarballs"] == []
    assert len(result["failures"]) == 1
    os.utime(private, ns=times)  # a folder for what is read was made there, and removed
    assert describe_tree(tmp_path) == before


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("kind", "tools", "package"),
    [
        ("folder", ["tar"], "zstd"),
        ("folder", ["zstd"], "tar"),
        ("sqlite", ["zstd"], "tar"),
        ("svn", ["tar", "zstd"], "subversion"),
        ("git", ["tar", "zstd"], "git"),
    ],
)
@pytest.mark.parametrize("check", [False, True], ids=["run", "check mode"])
def test_missing_tool_names_the_package(
    call: Call,
    base: Base,
    folder: Path,
    database: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    tools: list[str],
    package: str,
    check: bool,
) -> None:
    if kind == "svn":
        for member in ("format", "db/fs-type", "db/current"):
            (folder / member).parent.mkdir(exist_ok=True)
            (folder / member).touch()
    if kind == "git":
        subprocess.run(["git", "init", "--quiet", folder], check=True)
    link_tools(tmp_path / "few", tools)
    monkeypatch.setattr(programs, "_SYSTEM_FOLDERS", ())
    monkeypatch.setenv("PATH", str(tmp_path / "few"))
    result = call(item(kind, database if kind == "sqlite" else folder), check=check)
    assert f"install the package {package}" in result["msg"]
    assert base.files() == {}


@needs_root
def test_unreadable_file_is_told_by_the_module_run_by_another_user(capsys: pytest.CaptureFixture[str]) -> None:
    with nobodys_folder() as home:
        (home / "live").mkdir()
        (home / "live" / "secret").touch(0o600)
        with as_nobody():
            base = Base(home / "base")
        arguments = {"base": str(base.path), "items": [item("folder", home / "live")], "stamp": NIGHTS[0]}
        with patch_module_args(arguments), as_nobody(), pytest.raises(SystemExit):
            tarball_dump.main()
        assert f"{home}/live/secret cannot be read by uid 65534" in json.loads(capsys.readouterr().out)["msg"]
        assert base.files() == {}


# What is read back


@pytest.mark.parametrize("stamp", ["2013/05/10/120000", NIGHTS[1]], ids=["same day", "later day"])
def test_rotten_old_copy_is_reported_and_the_new_one_stored_by_itself(
    call: Call, folder: Path, stamp: str, tmp_path: Path
) -> None:
    old = Path(call(item("folder", folder))["tarballs"][0]["path"])
    content = bytearray(old.read_bytes())
    content[len(content) // 2] ^= 1
    old.write_bytes(content)
    result = call(item("folder", folder), stamp=stamp)
    assert result["rc"] == 1
    (failure,) = result["failures"]
    assert failure["relpath"] == f"folders/thing/{NIGHTS[0]}/thing.tar.zst"
    assert "an older copy is damaged" in failure["reason"]
    tree = open_tree(str(old.parents[6]))
    assert readings(tree) == {failure["relpath"]: ""}, "the check of this night reads it first"
    (tarball,) = result["tarballs"]
    assert (tarball["stamp"], os.stat(tarball["path"]).st_nlink) == (stamp, 1)
    assert describe_tree(unpack(tarball, tmp_path / "out")) == describe_tree(folder)


@needs_root
def test_old_copy_that_cannot_be_read_does_not_stop_the_new_one() -> None:
    with nobodys_folder() as home:
        (home / "live").mkdir()
        (home / "live" / "file").write_text("content")
        with as_nobody():
            base = Base(home / "base")
            old = base.dump_one(item("folder", home / "live"), stamp=NIGHTS[0])
            os.chmod(old["path"], 0)
            result = base.dump(item("folder", home / "live"), stamp=NIGHTS[1])
        assert "an older copy cannot be used" in result["failures"][0]["reason"]
        assert [tarball["stamp"] for tarball in result["tarballs"]] == [NIGHTS[1]]


# Leftovers of killed runs


def test_tarball_without_sidecar_under_this_stamp_is_replaced(call: Call, base: Base, folder: Path) -> None:
    left = base.path / "folders" / "thing" / NIGHTS[0]
    left.mkdir(parents=True)
    (left / "thing.tar.zst").write_bytes(b"half a tarball")
    (left / "thing.tar.gz").write_bytes(b"half another")
    (left / "other.tar.gz").write_bytes(b"somebody's")
    result = call(item("folder", folder))
    assert (result["rc"], result["failures"]) == (0, [])
    for name in ("thing.tar.zst", "thing.tar.gz"):
        assert (
            f"replaced folders/thing/{NIGHTS[0]}/{name}, which has no dna: still arriving, or its transfer failed"
            in result["notes"]
        )
    assert sorted(os.listdir(left)) == ["other.tar.gz", "thing.tar.zst", "thing.tar.zst.dna"]
    assert list_archive(left / "thing.tar.zst") == ["thing/", "thing/file"]


@pytest.mark.parametrize("unchanged", [True, False])
def test_unverified_leftover_is_replaced_by_a_link_as_well(
    call: Call, base: Base, folder: Path, unchanged: bool
) -> None:
    call(item("folder", folder), stamp=NIGHTS[0])
    left = base.path / "folders" / "thing" / NIGHTS[1]
    left.mkdir(parents=True)
    (left / "thing.tar.gz").write_bytes(b"half a tarball")
    if not unchanged:
        (folder / "file").write_text("new")
    call(item("folder", folder), stamp=NIGHTS[1])
    assert sorted(os.listdir(left)) == ["thing.tar.zst", "thing.tar.zst.dna"]


@pytest.mark.parametrize("stamp", [NIGHTS[0], NIGHTS[1]], ids=["this stamp", "an older stamp"])
def test_recorded_tarball_without_sidecar_is_completed(call: Call, folder: Path, stamp: str) -> None:
    first = call(item("folder", folder))["tarballs"][0]
    text = Path(first["path"] + ".dna").read_bytes()
    os.unlink(first["path"] + ".dna")
    result = call(item("folder", folder), stamp=stamp)
    assert (result["rc"], result["changed"]) == (0, True)
    assert f"completed {first['relpath']}, which a killed run had left without its dna" in result["notes"]
    assert Path(first["path"] + ".dna").read_bytes() == text
    assert result["tarballs"][0]["dig"] == first["dig"]


@pytest.mark.sampled(5)
@pytest.mark.parametrize(
    "record",
    [None, "{}", "no json", '{"relpath": "RELPATH"}', '{"relpath": "RELPATH", "dig": "00", "size": "x", "alg": "crc"}'],
)
def test_unrecorded_tarball_without_sidecar_is_left_alone_and_told(
    call: Call, base: Base, folder: Path, record: str | None
) -> None:
    first = call(item("folder", folder))["tarballs"][0]
    os.unlink(first["path"] + ".dna")
    path = base.path / ".altbackup" / "records" / "folders" / "thing" / f"{NIGHTS[0]}.json"
    path.unlink() if record is None else path.write_text(record.replace("RELPATH", first["relpath"]))
    result = call(item("folder", folder), stamp=NIGHTS[1])
    assert result["rc"] == 0
    assert any(first["relpath"] in note and "is not verified" in note for note in result["notes"])
    assert os.path.exists(first["path"])
    assert not os.path.exists(first["path"] + ".dna")


def test_truncated_tarball_is_not_completed(call: Call, folder: Path) -> None:
    first = call(item("folder", folder))["tarballs"][0]
    os.unlink(first["path"] + ".dna")
    os.truncate(first["path"], 20)
    result = call(item("folder", folder), stamp=NIGHTS[1])
    assert any("is not verified" in note for note in result["notes"])
    assert not os.path.exists(first["path"] + ".dna")
    assert result["tarballs"][0]["stamp"] == NIGHTS[1]


def test_temporary_files_of_dead_runs_are_removed_and_told(call: Call, base: Base, folder: Path) -> None:
    call(item("folder", folder), stamp=NIGHTS[0])
    places = [
        "folders/thing",
        f"folders/thing/{NIGHTS[0]}",
        ".altbackup/tmp",
        ".altbackup/records/folders/thing/2013/05/10",
    ]
    pid = os.getppid()  # a living process with this pid proves nothing: the lock is held
    for place in places:
        (base.path / place / f".altbackup-tmp-{pid}-x").write_bytes(b"half")
    (base.path / "folders" / "thing" / f".altbackup-tmp-{pid}-last").symlink_to("x")
    result = call(item("folder", folder), stamp=NIGHTS[1])
    assert [name for name in base.files() if ".altbackup-tmp-" in name] == []
    assert len([note for note in result["notes"] if f"-{pid}-" in note and note.startswith("removed")]) == 5


@pytest.mark.sampled(3)
@pytest.mark.parametrize("when", ["while archiving", "before the sidecar", "before last"])
def test_killed_run_is_made_good_by_the_next(base: Base, folder: Path, when: str, call: Call, tmp_path: Path) -> None:
    call(item("folder", folder), stamp=NIGHTS[0])
    (folder / "file").write_text("changed")
    script = f"""
import os, signal
from ansible_collections.altbackup.core.plugins.module_utils.archive import write
from ansible_collections.altbackup.core.plugins.module_utils.stages import dump, dump_store
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.tree import publish
kill = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
when = {when!r}
if when == "while archiving":
    write._copy = kill
elif when == "before the sidecar":
    publish.write_sidecar = kill
else:
    dump_store.point_last = kill
dump.dump({str(base.path)!r}, [{item("folder", folder)!r}], {NIGHTS[1]!r}, write.ArchiveFormat(), {{"deadline": Deadline(60)}})
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True)
    assert done.returncode == -signal.SIGKILL
    last = base.path / "folders" / "thing" / "last"
    assert os.readlink(last) == NIGHTS[0]
    assert len(list(base.path.rglob("*.dna"))) == (2 if when == "before last" else 1)
    result = call(item("folder", folder), stamp=NIGHTS[1])
    assert (result["rc"], os.readlink(last)) == (0, NIGHTS[1])
    assert describe_tree(unpack(result["tarballs"][0], tmp_path / "out")) == describe_tree(folder)
    assert sorted(os.listdir(last)) == ["thing.tar.zst", "thing.tar.zst.dna"]
    assert not [name for name in base.files() if ".altbackup-tmp-" in name]


def test_real_folder_last_is_a_failure_and_left_alone(call: Call, base: Base, folder: Path) -> None:
    precious = base.path / "folders" / "thing" / "last" / "precious"
    precious.parent.mkdir(parents=True)
    precious.write_text("only copy")
    result = call(item("folder", folder))
    assert result["rc"] == 1
    assert "real folder or file where the link" in result["msg"]
    assert len(result["tarballs"]) == 1
    assert precious.read_text() == "only copy"


# Limits


@pytest.mark.sampled(6)
@needs_root
@pytest.mark.parametrize("kind", ["folder", "sqlite"])
@pytest.mark.parametrize("resource", ["pages", "inodes"])
def test_full_disk_at_every_point_of_writing(tmp_path: Path, kind: str, resource: str) -> None:
    live = tmp_path / "live"
    live.mkdir()
    if kind == "folder":
        path = live
        (live / "random").write_bytes(os.urandom(20000))
    else:
        path = live / "x.db"
        execute(path, "CREATE TABLE t (a)", "INSERT INTO t VALUES (randomblob(20000))")
    with small_disk(tmp_path / "disk", "size=1m,nr_inodes=100") as disk:
        base = Base(disk / "base")
        earlier = base.dump_one(
            item("folder", "/usr/share/doc/tar" if os.path.isdir("/usr/share/doc/tar") else live, "earlier"),
            stamp=NIGHTS[0],
        )
        before = {name: value for name, value in base.files().items() if "/earlier/" in name}
        reasons = []
        for room in range(60):
            if resource == "inodes":
                status = os.statvfs(disk)
                used = status.f_files - status.f_ffree
                subprocess.run(["mount", "-o", f"remount,nr_inodes={used + room}", disk], check=True)
                result = base.dump(item(kind, path), stamp=NIGHTS[1])
                subprocess.run(["mount", "-o", "remount,nr_inodes=1000", disk], check=True)
            else:
                filler = disk / "filler"
                with open(filler, "wb") as stream:
                    stream.write(bytes((os.statvfs(disk).f_bavail - room) * 4096))
                result = base.dump(item(kind, path), stamp=NIGHTS[1])
                filler.unlink()
            files = base.files()
            assert {name: value for name, value in files.items() if "/earlier/" in name} == before
            if not result["failures"]:
                break
            (failure,) = result["failures"]
            foreseen = "are free for its copy" in failure["reason"]
            assert foreseen or re.search(
                r"No space left on device.*: [\d.]+ (bytes?|[KMG]iB) are free below ", failure["reason"]
            )
            reasons.append(failure["reason"])
            if not result["tarballs"]:  # it may be complete, with only `last` not moved
                assert files.keys() == before.keys()
                assert not (disk / "base" / failure["category"] / "thing").exists()
            else:
                noted = disk / "base" / ".altbackup" / "noted" / failure["category"] / "thing"
                assert set(files) - set(before) == {
                    result["tarballs"][0]["relpath"],
                    result["tarballs"][0]["relpath"] + ".dna",
                    f".altbackup/records/{failure['category']}/thing/{NIGHTS[1]}.json",
                    *(f".altbackup/noted/folders/thing/{path.name}" for path in noted.glob("*")),
                }
                shutil.rmtree(noted, ignore_errors=True)
                shutil.rmtree(disk / "base" / failure["category"] / "thing")
                os.unlink(disk / "base" / f".altbackup/records/{failure['category']}/thing/{NIGHTS[1]}.json")
        else:
            pytest.fail("it never fitted")
        assert len(reasons) >= 3
        assert list_archive(earlier["path"])
        assert os.path.exists(result["tarballs"][0]["path"])


def test_deadline_ends_a_hanging_tool_and_says_so(
    call: Call, base: Base, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = f"1000.{os.getpid()}"
    make_tool(tmp_path / "bin", "tar", f"(sleep {seconds}) & wait")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    result = call(item("folder", folder), step_timeout=0.5)
    assert "the dump took longer than its limit of 0.5 s and was ended" in result["msg"]
    assert wait_until(lambda: not count_running("sleep", seconds))
    assert base.files() == {}


@pytest.mark.sampled(9)
@pytest.mark.parametrize(
    ("place", "check"),
    [
        ("item", False),
        ("item", True),
        ("below", False),
        ("link", False),
        ("mount in the item", False),
        ("mount in a link's folder", False),
        ("received", False),
    ],
)
def test_dead_mount_is_named_and_stops_no_other_item(
    base: Base, folder: Path, database: Path, tmp_path: Path, place: str, check: bool
) -> None:
    (tmp_path / "live" / "other").mkdir()
    (tmp_path / "live" / "other" / "file").write_text("content")
    (tmp_path / "live" / "link").symlink_to("dead" if place == "link" else "other")
    dead = tmp_path / "live" / ("other/dead" if place.startswith("mount") else "dead")
    path = {
        "item": dead,
        "below": dead / "sub" / "repository",
        "link": dead.parent / "link",
        "mount in the item": dead.parent,
        "mount in a link's folder": tmp_path / "live" / "link",
        "received": tmp_path / "live" / "other",
    }[place]
    arguments = {
        "base": str(base.path),
        "items": [item("folder", path, "hung"), item("folder", folder, "good"), item("sqlite", database, "hers")],
        "stamp": NIGHTS[0],
        "received": [str(dead)] if place == "received" else [],
        "_ansible_check_mode": check,
    }
    with dead_mount(dead):
        started = time.monotonic()
        result = run_apart(tarball_dump, arguments)
        assert time.monotonic() - started < 20
        again = run_apart(tarball_dump, {**arguments, "items": arguments["items"][1:]})
        assert again["failures"] == []  # nor is the base in use
    names = [tarball["name"] for tarball in result["tarballs"]]
    if place == "received":
        assert (names, result["failures"]) == (["good", "hers", "hung"], [])
        return
    assert names == ["good", "hers"]
    (failure,) = result["failures"]
    silent = path if place in ("item", "below", "link") else dead
    assert f"item folder 'hung': {silent} does not answer within 3 s" in failure["reason"]
    assert (failure["category"], failure["name"]) == ("folders", "hung")


def test_dead_mount_that_is_excluded_does_not_matter(base: Base, folder: Path) -> None:
    (folder / "mnt").mkdir()
    values = item("folder", folder, exclude=["/mnt/*"])
    with dead_mount(folder / "mnt" / "dead"):
        result = run_apart(tarball_dump, {"base": str(base.path), "items": [values], "stamp": NIGHTS[0]})
    assert (len(result["tarballs"]), result["failures"]) == (1, [])


def test_module_told_to_end_leaves_no_child_and_no_temporary(base: Base, folder: Path, tmp_path: Path) -> None:
    seconds = f"1000.{os.getpid()}"
    make_tool(tmp_path / "bin", "tar", f"sleep {seconds}")
    arguments = json.dumps(
        {"base": str(base.path), "items": [item("folder", folder, name) for name in "abc"], "stamp": NIGHTS[0]}
    )
    script = (
        "import sys, json; from ansible.module_utils.testing import patch_module_args\n"
        "from ansible_collections.altbackup.core.plugins.modules import tarball_dump\n"
        f"with patch_module_args(json.loads({arguments!r})): tarball_dump.main()"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
    }
    with subprocess.Popen(
        [sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as module:
        try:
            assert wait_until(lambda: count_running("sleep", seconds) > 0)
            module.terminate()
            module.communicate(timeout=30)
        finally:
            module.kill()
    assert module.returncode == 128 + signal.SIGTERM
    assert wait_until(lambda: not count_running("sleep", seconds))
    assert base.files() == {}


# Check mode


def test_check_mode_writes_nothing_and_predicts_what_the_run_gives(
    call: Call, base: Base, folder: Path, database: Path, tmp_path: Path
) -> None:
    items = [item("folder", folder, "a b"), item("sqlite", database)]
    if shutil.which("svnadmin"):
        subprocess.run(["svnadmin", "create", tmp_path / "live" / "svn"], check=True)
        items.append(item("svn", tmp_path / "live" / "svn"))
    if shutil.which("git"):
        subprocess.run(["git", "init", "--quiet", "--bare", tmp_path / "live" / "git"], check=True)
        items.append(item("git", tmp_path / "live" / "git"))
    for night in NIGHTS[:2]:
        before = describe_tree(tmp_path)
        predicted = call(*items, stamp=night, check=True)
        assert describe_tree(tmp_path) == before
        assert (predicted["rc"], predicted["changed"]) == (0, True)
        assert {(tarball["dig"], tarball["size"]) for tarball in predicted["tarballs"]} == {("", 0)}
        made = call(*items, stamp=night)
        assert made["failures"] == []
        assert [tarball["relpath"] for tarball in made["tarballs"]] == [
            tarball["relpath"] for tarball in predicted["tarballs"]
        ]
        (folder / "file").write_text(night)
    before = describe_tree(tmp_path)
    again = call(*items, stamp=NIGHTS[1], check=True)
    assert again["changed"] is False
    for tarball in again["tarballs"] + made["tarballs"]:
        tarball.pop("seconds")
    assert again["tarballs"] == made["tarballs"]
    assert describe_tree(tmp_path) == before


def test_check_mode_leaves_leftovers_of_killed_runs(call: Call, base: Base, folder: Path) -> None:
    first = call(item("folder", folder))["tarballs"][0]
    os.unlink(first["path"] + ".dna")
    (base.path / ".altbackup" / "tmp" / ".altbackup-tmp-999999999-x").touch()
    before = describe_tree(base.path)
    assert call(item("folder", folder), check=True)["rc"] == 0
    assert describe_tree(base.path) == before


# Pythons


def test_node_side_compiles_on_the_oldest_python(tmp_path: Path) -> None:
    python = find_python("3.8")
    if python is None:
        pytest.skip("no Python 3.8 on this machine")
    for folder in ("plugins/module_utils", "library"):
        shutil.copytree(REPOSITORY / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run([python, "-m", "compileall", "-q", tmp_path], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.sampled(2)
@pytest.mark.parametrize("version", ["3.8", "3.13"])
def test_module_runs_under_the_oldest_and_the_newest_python(
    base: Base, folder: Path, database: Path, tmp_path: Path, version: str
) -> None:
    python = find_python(version)
    ansible = Path(sys.executable).parent / "ansible"
    if python is None or not ansible.exists():
        pytest.skip(f"no Python {version} or no ansible command here")
    os.truncate(folder / "file", 1 << 20)
    os.mkfifo(folder / "fifo")
    arguments = json.dumps(
        {"base": str(base.path), "items": [item("folder", folder), item("sqlite", database)], "stamp": NIGHTS[0]}
    )
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(REPOSITORY / ".collections"),
        "ALTBACKUP_MAIL_TO": "none",
        "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1",
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
    }
    command = [ansible, "localhost", "-i", "localhost,", "-c", "local", "-e", f"ansible_python_interpreter={python}"]
    done = subprocess.run(
        [*command, "-m", "altbackup.core.tarball_dump", "-a", arguments],
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    again = base.dump(item("folder", folder), item("sqlite", database), stamp=NIGHTS[1], form=ArchiveFormat())
    assert again["failures"] == []
    assert [os.stat(tarball["path"]).st_nlink for tarball in again["tarballs"]] == [2, 2], (
        "each Python gives the same bytes"
    )
    first = json.loads((base.path / ".altbackup" / "records" / "folders" / "thing" / f"{NIGHTS[0]}.json").read_text())
    assert {key: again["tarballs"][0]["record"][key] for key in ("entries", "bytes", "manifest")} == {
        key: first[key] for key in ("entries", "bytes", "manifest")
    }


def test_what_is_of_a_time_that_has_not_come_is_no_tarball_of_the_day_and_last_comes_back(
    call: Call, base: Base, folder: Path
) -> None:
    told = {"clock": "2013/05/10/120000"}
    first = call(item("folder", folder), stamp="2013/05/10/100000", **told)["tarballs"][0]["path"]
    ahead = base.path / "folders" / "thing" / "2013/05/10/130000"
    Path(first).parent.rename(ahead)
    last = base.path / "folders" / "thing" / "last"
    last.unlink()
    last.symlink_to("2013/05/10/130000")
    result = call(item("folder", folder), stamp="2013/05/10/110000", **told)
    assert result["tarballs"][0]["stamp"] == "2013/05/10/110000"
    assert os.readlink(last) == "2013/05/10/110000"
    last.unlink()
    last.symlink_to("2013/05/10/130000")
    again = call(item("folder", folder), stamp="2013/05/10/110000", **told)
    assert (again["changed"], os.readlink(last)) == (True, "2013/05/10/110000")
    assert not call(item("folder", folder), stamp="2013/05/10/110000", **told)["changed"]


CLOSED = {
    "folder": ["", "sub", "sub/secret"],
    "git": [
        "",
        "HEAD",
        "config",
        "objects",
        "refs",
        "refs/heads",
        "packed-refs",
        "worktrees",
        "modules",
        "objects/info",
        "hooks",
    ],
    "svn": [
        "",
        "format",
        "db",
        "db/current",
        "db/fs-type",
        "db/revs",
        "db/revs/0",
        "db/revs/0/1",
        "db/revprops",
        "conf",
        "hooks",
        "README.txt",
    ],
    "trac": ["", "VERSION", "conf", "conf/trac.ini", "db", "db/trac.db", "files"],
    "sqlite": ["", "x.db", "x.db-journal"],
}


def make_item(kind: str, live: Path) -> None:
    """Make an item in a folder."""
    if kind == "folder":
        (live / "sub").mkdir(parents=True)
        (live / "sub" / "secret").write_text("x")
    elif kind == "git":
        make_git(live)
        (live / "packed-refs").touch()
        (live / "worktrees").mkdir(exist_ok=True)
        (live / "modules").mkdir(exist_ok=True)
    elif kind == "svn":
        make_subversion(live)
    elif kind == "sqlite":
        live.mkdir()
        make_database(live / "x.db")
        (live / "x.db-journal").touch()
    else:
        make_environment(live)
        (live / "files").mkdir(exist_ok=True)


@pytest.mark.sampled(36)
@needs_root
@pytest.mark.parametrize(("kind", "member"), [(kind, member) for kind, members in CLOSED.items() for member in members])
def test_whatever_may_not_be_read_is_told_in_one_form(kind: str, member: str) -> None:
    """The messages have the user and advice, and no texts of the system or of a single program."""
    parse_stamp(NIGHTS[0])  # loads modules that user nobody may not be able to read
    with nobodys_folder() as home:
        live = home / "live"
        make_item(kind, live)
        for path in (live, *live.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        os.chown(live / member, 0, 0)
        (live / member).chmod(0o700 if (live / member).is_dir() else 0o600)
        path = live / "x.db" if kind == "sqlite" else live
        with as_nobody():
            base = Base(home / "base")
            for check_mode in (True, False):
                done = base.dump(item(kind, path, "thing"), check_mode=check_mode)
                for entry in done["failures"]:
                    assert re.search(r"cannot be read by uid 65534\b", entry["reason"]), (check_mode, entry)
                    assert entry["reason"].endswith("use become"), (check_mode, entry)
                    assert "ermission denied" not in entry["reason"]
                if member not in ("worktrees", "modules", "packed-refs", "objects/info", "hooks", "x.db-journal"):
                    assert len(done["failures"]) == 1, (check_mode, done)


@pytest.mark.sampled(4)
@needs_root
@pytest.mark.parametrize("kind", ["folder", "git", "svn", "trac"])
def test_check_mode_finds_what_cannot_be_read(kind: str) -> None:
    parse_stamp(NIGHTS[0])  # loads modules that user nobody may not be able to read
    with nobodys_folder() as home:
        live = home / "live"
        if kind == "folder":
            (live / "sub").mkdir(parents=True)
            (live / "sub" / "secret").write_text("x")
            closed = live / "sub" / "secret"
        elif kind == "git":
            make_git(live)
            closed = next(path for path in sorted((live / "objects").rglob("*")) if path.is_file())
        elif kind == "svn":
            make_subversion(live)
            closed = live / "db" / "revs" / "0" / "1"
        else:
            make_environment(live)
            (live / "files" / "attachments").mkdir(parents=True, exist_ok=True)
            closed = live / "files" / "attachments" / "picture"
            closed.write_text("x")
        for path in (live, *live.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        os.chown(closed, 0, 0)
        closed.chmod(0o600)
        with as_nobody():
            base = Base(home / "base")
            before = base.files()
            predicted = base.dump(item(kind, live, "thing"), check_mode=True)
            assert base.files() == before
            done = base.dump(item(kind, live, "thing"))
            closed.parent.chmod(0o700)
        assert [len(result["failures"]) for result in (predicted, done)] == [1, 1], (predicted, done)
        assert str(closed) in predicted["failures"][0]["reason"], predicted
        assert "cannot be read by uid 65534" in predicted["failures"][0]["reason"]
        os.chown(closed, NOBODY, NOBODY)
        with as_nobody():
            for check_mode in (True, False):
                assert base.dump(item(kind, live, "thing"), check_mode=check_mode)["failures"] == []


@pytest.mark.parametrize("check_mode", [False, True])
def test_base_that_is_not_there_though_its_parent_has_a_marker(tmp_path: Path, folder: Path, check_mode: bool) -> None:
    base = Base(tmp_path / "marked")
    base.path = tmp_path / "marked" / "typing-error"
    with pytest.raises(BaseUnusable, match="does not exist: is its disk mounted"):
        base.dump(item("folder", folder), check_mode=check_mode)
    assert not base.path.exists()


def test_marks_come_with_the_call_and_what_is_held_is_told(call: Any, folder: Path, base: Base) -> None:
    night = f"folders/thing/{NIGHTS[0]}"
    marks = {"holds": {night: "x"}}
    result = call(item("folder", folder), marks=marks)
    assert (result["rc"], result["marks_kept"], result["held"]) == (0, True, []), "it was not there before"
    result = call(item("folder", folder), stamp=NIGHTS[1])
    assert (result["marks_kept"], result["held"]) == (True, [night])


def test_damaged_marks_keep_no_item_from_being_dumped(call: Any, folder: Path, base: Base) -> None:
    call(item("folder", folder), marks={"holds": {f"folders/thing/{NIGHTS[0]}": "x"}})
    (path,) = base.path.rglob("marks.json")
    path.write_text("{")
    result = call(item("folder", folder), stamp=NIGHTS[1], marks={"holds": {}})
    assert (len(result["tarballs"]), result["marks_kept"]) == (1, False)
