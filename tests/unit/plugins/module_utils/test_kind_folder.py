"""Folders are archived as they stand at one moment, with everything that tar can keep."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.trees import (
    NIGHTS,
    ODD_NAMES,
    Base,
    as_nobody,
    describe_tree,
    item,
    list_archive,
    make_odd_tree,
    make_siblings,
    make_socket,
    make_tool,
    needs_root,
    nobodys_folder,
    unpack,
)

from ansible_collections.altbackup.core.plugins.module_utils import dump as dump_module
from ansible_collections.altbackup.core.plugins.module_utils.archive import Form, Part, store_archive, write_archive
from ansible_collections.altbackup.core.plugins.module_utils.errors import DeadlineExceeded, InvalidInput
from ansible_collections.altbackup.core.plugins.module_utils.kind_folder import excluding
from ansible_collections.altbackup.core.plugins.module_utils.kinds import walk
from ansible_collections.altbackup.core.plugins.module_utils.processes import Deadline

_CHURN = r"""
import os, sys
os.chdir(sys.argv[1])
print("ready", flush=True)
number = 0
while True:
    number += 1
    with open("busy", "w") as stream:
        stream.write(str(number) * 1000)
"""


@pytest.fixture
def base(tmp_path: Path) -> Base:
    return Base(tmp_path / "base")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return make_odd_tree(tmp_path / "tree")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    folder = tmp_path / "small"
    (folder / "sub").mkdir(parents=True)
    (folder / "file").write_text("content")
    (folder / "link").symlink_to("file")
    (folder / "sub" / "deep").write_text("more")
    return folder


@pytest.mark.parametrize("extension", [".tar.zst", ".tar.gz", ".tar"])
def test_unpacked_folder_equals_the_live_one(tree: Path, base: Base, tmp_path: Path, extension: str) -> None:
    top = unpack(base.dump_one(item("folder", tree), form=Form(extension)), tmp_path / "out")
    copied, live = describe_tree(top), describe_tree(tree)
    assert set(ODD_NAMES) <= set(copied)
    assert copied == live
    assert os.stat(top / "sparse").st_blocks < os.stat(top / "sparse").st_size // 512


def test_record_tells_what_the_archive_holds(tree: Path, base: Base) -> None:
    record = base.dump_one(item("folder", tree))["record"]
    live = describe_tree(tree)
    assert record["entries"] == len(live)
    files = {value[4]: value[3][0] for value in live.values() if isinstance(value[3], tuple)}
    assert record["bytes"] == sum(files.values())
    (tree / "plain").write_bytes(b"CONTENT of plain")
    assert base.dump_one(item("folder", tree), stamp=NIGHTS[1])["record"]["manifest"] != record["manifest"]


def test_content_of_a_folder_follows_it_before_any_sibling(base: Base, small: Path) -> None:
    make_siblings(small)
    (small / "sub!").mkdir()
    names = ["", "file", "link", "sealed/", "sealed/below/", "sealed/inside", "sealed-old/", "sealed.d/"]
    expected = [f"thing/{name}" for name in [*names, "sub/", "sub/deep", "sub!/"]]
    assert list_archive(base.dump_one(item("folder", small))["path"]) == expected


@needs_root
def test_sealed_folder_with_siblings_unpacks_with_plain_tar_for_any_user() -> None:
    with nobodys_folder() as home, as_nobody():
        (home / "live").mkdir()
        make_siblings(home / "live")
        tarball = Base(home / "base").dump_one(item("folder", home / "live"))
        top = unpack(tarball, home / "out")
        assert describe_tree(top) == describe_tree(home / "live")


def test_large_sparse_file_stays_small(tmp_path: Path) -> None:
    folder = tmp_path / "large"
    folder.mkdir()
    size = (5 << 30) + 7
    with open(folder / "sparse", "wb") as stream:
        stream.truncate(size)
    path = tmp_path / "large.tar"
    parts = [Part(str(folder), [b".", b"./sparse"])]
    dna = write_archive(str(path), parts, top="large", form=Form(".tar"), deadline=Deadline(), sparse=True)
    assert dna.size < 1 << 20
    status = (unpack(path, tmp_path / "out") / "sparse").stat()
    assert status.st_size == size
    assert status.st_blocks < 4096


def test_unchanged_folder_gives_the_same_bytes(tree: Path, base: Base) -> None:
    tarballs = []
    for night in NIGHTS:
        tarballs.append(base.dump_one(item("folder", tree), stamp=night))
        for path in (tree, tree / "plain", tree / "deep folder"):
            os.utime(path, ns=(987_654_321, os.stat(path).st_mtime_ns))
            assert os.listdir(path) if path.is_dir() else path.read_bytes()
    assert len({tarball["dig"] for tarball in tarballs}) == 1
    assert [tarball["stamp"] for tarball in tarballs] == list(NIGHTS)


def test_copy_of_a_folder_gives_the_same_bytes_wherever_its_entries_lie(tree: Path, base: Base, tmp_path: Path) -> None:
    first = base.dump_one(item("folder", tree), stamp=NIGHTS[0])
    top = unpack(first, tmp_path / "out")
    shuffled = tmp_path / "shuffled"
    shuffled.mkdir()
    for name in sorted(os.listdir(top), reverse=True):
        os.rename(top / name, top / f"{name[:200]}.moved")
        os.rename(top / f"{name[:200]}.moved", top / name)
    shutil.copystat(tree, top)
    assert base.dump_one(item("folder", top), stamp=NIGHTS[1])["dig"] == first["dig"]


CHANGES: dict[str, Callable[[Path], Any]] = {
    "content": lambda folder: (folder / "file").write_text("CONTENT"),
    "mode": lambda folder: (folder / "file").chmod(0o604),
    "mode of a folder": lambda folder: (folder / "sub").chmod(0o701),
    "mode of the top": lambda folder: folder.chmod(0o701),
    "time": lambda folder: os.utime(folder / "file", ns=(0, 5)),
    "time of a folder": lambda folder: os.utime(folder / "sub", ns=(0, 5)),
    "time of a link": lambda folder: os.utime(folder / "link", ns=(0, 5), follow_symlinks=False),
    "target of a link": lambda folder: ((folder / "link").unlink(), (folder / "link").symlink_to("sub")),
    "new file": lambda folder: (folder / "new").touch(),
    "removed file": lambda folder: (folder / "file").unlink(),
    "renamed file": lambda folder: (folder / "file").rename(folder / "File"),
    "hard link": lambda folder: os.link(folder / "file", folder / "sub" / "twin"),
    "owner": lambda folder: os.chown(folder / "file", 77, -1),
    "owner of a link": lambda folder: os.chown(folder / "link", 77, -1, follow_symlinks=False),
    "group of a folder": lambda folder: os.chown(folder / "sub", -1, 77),
    "attribute": lambda folder: os.setxattr(folder / "file", "user.comment", b"new"),
    "ACL": lambda folder: subprocess.run(["setfacl", "-m", "u:54321:r", folder / "file"], check=True),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_folder_gives_other_bytes(small: Path, base: Base, change: str) -> None:
    first = base.dump_one(item("folder", small), stamp=NIGHTS[0])
    try:
        CHANGES[change](small)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this user or file system cannot do that")
    second = base.dump_one(item("folder", small), stamp=NIGHTS[1])
    assert second["dig"] != first["dig"]
    assert os.stat(second["path"]).st_ino != os.stat(first["path"]).st_ino


@pytest.mark.parametrize("change", CHANGES)
def test_change_during_the_dump_is_tried_again(
    small: Path, base: Base, change: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls = []

    def write(*arguments: Any, **options: Any) -> Any:
        dna = store_archive(*arguments, **options)
        calls.append(1)
        if len(calls) == 1:
            try:
                CHANGES[change](small)
            except (OSError, subprocess.CalledProcessError):
                pytest.skip("this user or file system cannot do that")
        return dna

    monkeypatch.setattr(dump_module, "store_archive", write)
    top = unpack(base.dump_one(item("folder", small)), tmp_path / "out")
    assert len(calls) == 2
    assert describe_tree(top) == describe_tree(small)


@pytest.mark.parametrize("what", ["vanishes", "shrinks", "folder vanishes"])
def test_file_that_fails_tar_by_changing_is_tried_again(
    small: Path, base: Base, what: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The change comes between the walk and the reading, so that tar itself fails."""
    tools = tmp_path / "tools"
    tools.mkdir()
    make_tool(tools, "tar", f'while ! [ -e "{tools}/go" ]; do sleep 0.02; done; exec {shutil.which("tar")} "$@"')
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    done: list[int] = []

    def store(*arguments: Any, **options: Any) -> Any:
        done.append(1)
        if len(done) == 1:
            change()
            (tools / "go").touch()
        return store_archive(*arguments, **options)

    def change() -> None:
        if what == "vanishes":
            (small / "file").unlink()
        elif what == "shrinks":
            (small / "file").write_text("")
        else:
            shutil.rmtree(small / "sub")

    monkeypatch.setattr(dump_module, "store_archive", store)
    top = unpack(base.dump_one(item("folder", small)), tmp_path / "out")
    assert len(done) == 2
    assert describe_tree(top) == describe_tree(small)


def test_writer_that_never_stops_is_a_failure_that_names_the_file(
    small: Path, base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dump_module, "_PAUSES", (0.01, 0.02))
    with subprocess.Popen([sys.executable, "-c", _CHURN, small], stdout=subprocess.PIPE) as churning:
        assert churning.stdout is not None
        churning.stdout.readline()
        try:
            reason = base.reason(item("folder", small))
        finally:
            churning.kill()
    assert "./busy" in reason
    assert "changed while it was read" in reason
    assert "(tried 3 times)" in reason
    assert not list((base.path / "folders").rglob("*")) if (base.path / "folders").exists() else True


def test_writer_that_stops_gives_its_last_state(small: Path, base: Base, tmp_path: Path) -> None:
    stop = threading.Event()
    began = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set() and number < 400:
            number += 1
            (small / f"new {number % 7}").write_text(str(number) * 500)
            if number % 3 == 0:
                (small / f"new {number % 5}").unlink(missing_ok=True)
            began.set()

    writer = threading.Thread(target=write)
    writer.start()
    began.wait()
    try:
        tarball = base.dump_one(item("folder", small))
    finally:
        stop.set()
        writer.join()
    assert describe_tree(unpack(tarball, tmp_path / "out")) == describe_tree(small)


def test_link_to_a_folder_gives_the_folder_behind_it(small: Path, base: Base, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(small)
    through = base.dump_one(item("folder", link), stamp=NIGHTS[0])
    assert describe_tree(unpack(through, tmp_path / "out")) == describe_tree(small)
    assert base.dump_one(item("folder", small), stamp=NIGHTS[1])["dig"] == through["dig"]


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda folder: shutil.rmtree(folder), "does not exist"),
        (lambda folder: (shutil.rmtree(folder), folder.write_text("x")), "is not a folder"),
        (lambda folder: (shutil.rmtree(folder), folder.symlink_to("nowhere")), "is not a folder"),
        (lambda folder: (shutil.rmtree(folder), make_socket(folder)), "is not a folder"),
    ],
    ids=["missing", "file", "dangling link", "socket"],
)
def test_what_is_no_folder(small: Path, base: Base, spoil: Callable[[Path], Any], expected: str) -> None:
    spoil(small)
    reason = base.reason(item("folder", small))
    assert expected in reason
    assert str(small) in reason


def test_socket_is_noted_and_left_out(small: Path, base: Base) -> None:
    make_socket(small / "sub" / "odd\nsocket")
    make_socket(small / "excluded")
    result = base.dump(item("folder", small, exclude=["excluded"]))
    assert result["failures"] == []
    assert result["notes"] == ["folders/thing: left out sub/odd\nsocket: a socket has no content"]
    assert "thing/sub/" in list_archive(result["tarballs"][0]["path"])


@pytest.mark.parametrize(
    ("pattern", "path", "folder", "expected"),
    [
        ("*.tmp", "a/b.tmp", False, True),
        ("*.tmp", "a/b.tmpx", False, False),
        ("cache", "deep/cache", True, True),
        ("cache/", "deep/cache", True, True),
        ("cache/", "deep/cache", False, False),
        ("/cache", "cache", True, True),
        ("/cache", "deep/cache", True, False),
        ("a/*/c", "a/b/c", False, True),
        ("a/*/c", "x/a/b/c", False, False),
        ("/a/", "a", True, True),
        ("/a/", "a", False, False),
        ("[ab]?", "a1", False, True),
        ("A", "a", False, False),
        ("*", "new\nline", False, True),
    ],
)
def test_exclude_pattern(pattern: str, path: str, folder: bool, expected: bool) -> None:
    assert excluding((pattern,))(path, folder) is expected


def test_excluded_is_neither_archived_nor_watched_nor_read(
    small: Path, base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    (small / "cache").mkdir()
    (small / "cache" / "big").write_text("x")
    (small / "sub" / "cache").symlink_to("../cache")
    before = base.dump_one(item("folder", small, exclude=["cache/", "*.tmp"]), stamp=NIGHTS[0])
    assert "thing/sub/cache" in list_archive(before["path"])
    assert not [name for name in list_archive(before["path"]) if name.startswith("thing/cache")]
    status = os.stat(small)
    (small / "cache" / "big").write_text("changed")
    (small / "other.tmp").touch()
    os.utime(small, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert base.dump_one(item("folder", small, exclude=["cache/", "*.tmp"]), stamp=NIGHTS[1])["dig"] == before["dig"]


def test_required_path_must_be_there(small: Path, base: Base) -> None:
    base.dump_one(item("folder", small, require="sub/deep"), stamp=NIGHTS[0])
    reason = base.reason(item("folder", small, require="sub/mounted"), stamp=NIGHTS[1])
    assert "sub/mounted is required in" in reason
    assert "is its disk mounted?" in reason


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize("exclude", [[], ["sub/", "*i*"]], ids=["empty", "all excluded"])
def test_folder_without_content_is_no_success(small: Path, base: Base, exclude: list[str], check_mode: bool) -> None:
    if not exclude:
        shutil.rmtree(small)
        small.mkdir()
    reason = base.reason(item("folder", small, exclude=exclude), check_mode=check_mode)
    assert f"{small} is empty, or all of it is excluded: is its disk mounted?" in reason


def test_disk_that_goes_before_the_dump_is_no_success(small: Path, base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = replace(dump_module.KINDS["folder"], check=lambda item, context: None)
    monkeypatch.setitem(dump_module.KINDS, "folder", kind)
    shutil.rmtree(small)
    small.mkdir()
    assert "is its disk mounted?" in base.reason(item("folder", small))


def test_folder_deeper_than_any_recursion(base: Base, tmp_path: Path) -> None:
    bottom = tmp_path / "tree" / "/".join("d" * 1100)
    (tmp_path / "tree").mkdir()
    for depth in range(0, 1100, 100):
        (tmp_path / "tree" / "/".join("d" * (depth + 100))).mkdir(parents=True)
    (bottom / "file").touch()
    tarball = base.dump_one(item("folder", tmp_path / "tree"))
    subprocess.run(["rm", "-rf", tmp_path / "tree"], check=True)  # pytest could not
    assert tarball["record"]["entries"] == 1102


def test_path_too_long_for_the_kernel_is_a_failure_of_its_item_alone(base: Base, small: Path, tmp_path: Path) -> None:
    top = tmp_path / "tree"
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=here)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    result = base.dump(item("folder", top, "long"), item("folder", small, "good"))
    assert [tarball["name"] for tarball in result["tarballs"]] == ["good"]
    assert "File name too long" in result["failures"][0]["reason"]
    subprocess.run(["rm", "-rf", top], check=True)


@needs_root
@pytest.mark.parametrize("what", ["file", "folder", "top"])
def test_unreadable_is_a_failure_that_names_it(what: str) -> None:
    with nobodys_folder() as folder:
        tree = folder / "tree"
        (tree / "sub").mkdir(parents=True)
        (tree / "sub" / "secret").write_text("x")
        (tree / "file").write_text("x")
        spoiled = {"file": tree / "sub" / "secret", "folder": tree / "sub", "top": tree}[what]
        with as_nobody():
            base = Base(folder / "base")
            base.dump_one(item("folder", tree), stamp=NIGHTS[0])
        spoiled.chmod(0)
        with as_nobody():
            reason = base.reason(item("folder", tree), stamp=NIGHTS[1])
            assert f"{spoiled} cannot be read by uid 65534" in reason
            base.dump_one(
                item("folder", tree, exclude=["secret" if what == "file" else "sub"]), stamp=NIGHTS[2]
            ) if what != "top" else None


@needs_root
def test_what_another_user_cannot_keep_is_told() -> None:
    with nobodys_folder() as folder:
        (folder / "tree").mkdir()
        (folder / "tree" / "file").touch()
        with as_nobody():
            (note,) = Base(folder / "base").dump(item("folder", folder / "tree"))["notes"]
    assert "not root" in note
    assert "trusted.*" in note


def test_walk_names_what_cannot_be_read(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    (tmp_path / "secret").touch(0)
    with pytest.raises(InvalidInput, match="secret cannot be read by uid"):
        walk(str(tmp_path))


def test_walk_ends_at_its_deadline(tmp_path: Path) -> None:
    with pytest.raises(DeadlineExceeded, match="the dump took longer than its limit of 0 s"):
        walk(str(tmp_path), deadline=Deadline(0, "dump"))


def test_ten_thousand_files(base: Base, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    top = tmp_path / "many"
    for folder in range(100):
        (top / str(folder)).mkdir(parents=True)
        for number in range(100):
            (top / str(folder) / str(number)).write_text(str(number))
    tarball = base.dump_one(item("folder", top))
    assert tarball["record"]["entries"] == 10101
    record_property("seconds", tarball["seconds"])
    print(f"10000 small files: {tarball['seconds']} s")
