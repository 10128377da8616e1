"""Kind `folder`: folders are archived as they are at one moment, with everything that tar can keep."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.archives import write_archive
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

from ansible_collections.altbackup.core.plugins.module_utils.archive.write import (
    ArchiveFormat,
    Part,
    store_archive,
)
from ansible_collections.altbackup.core.plugins.module_utils.kinds import folder
from ansible_collections.altbackup.core.plugins.module_utils.kinds.folder import tree_manifest
from ansible_collections.altbackup.core.plugins.module_utils.stages import dump_item
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline

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

_LOGGING = r"""
import os, sys
os.chdir(sys.argv[1])
with open("app.log", "a", buffering=1) as stream:
    print("first", file=stream)
    print("ready", flush=True)
    for number in range(10**9):
        print("line", number, file=stream)
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
    top = unpack(base.dump_one(item("folder", tree), form=ArchiveFormat(extension)), tmp_path / "out")
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
    dna = write_archive(str(path), parts, top="large", form=ArchiveFormat(".tar"), deadline=Deadline(), sparse=True)
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


@pytest.mark.sampled(20)
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


@pytest.mark.sampled(20)
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

    monkeypatch.setattr(dump_item, "store_archive", write)
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

    monkeypatch.setattr(dump_item, "store_archive", store)
    top = unpack(base.dump_one(item("folder", small)), tmp_path / "out")
    assert len(done) == 2
    assert describe_tree(top) == describe_tree(small)


@contextlib.contextmanager
def at_work(program: str, folder: Path) -> Iterator[None]:
    """Run a program that changes a folder continuously while the block lasts."""
    with subprocess.Popen([sys.executable, "-c", program, folder], stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        running.stdout.readline()
        try:
            yield
        finally:
            running.kill()


def held_up(monkeypatch: pytest.MonkeyPatch, change: Callable[[int], Any]) -> list[int]:
    """Change something after tar, during each reading of a folder; return the growing list of readings."""
    readings: list[int] = []

    def store(*arguments: Any, **options: Any) -> Any:
        readings.append(len(readings) + 1)
        dna = store_archive(*arguments, **options)
        change(readings[-1])
        return dna

    monkeypatch.setattr(dump_item, "store_archive", store)
    monkeypatch.setattr(dump_item, "_PAUSES", (0.01, 0.01))
    return readings


def test_writer_that_never_stops_costs_its_file_alone(
    small: Path, base: Base, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(dump_item, "_PAUSES", (0.01, 0.02))
    with at_work(_CHURN, small):
        result = base.dump(item("folder", small))
        again = base.dump(item("folder", small))
    for found in (result, again):  # a rerun under its stamp does not make it good
        (failure,) = found["failures"]
        assert "./busy" in failure["reason"]
        assert "is not stored" in failure["reason"]
        assert "Name it in exclude, or in changing" in failure["reason"]
        assert (failure["category"], failure["name"]) == ("folders", "thing")
    (tarball,) = result["tarballs"]
    assert tarball["record"]["incomplete"]
    copied, live = describe_tree(unpack(tarball, tmp_path / "out")), describe_tree(small)
    live.pop(b"busy")
    assert copied == live


@pytest.mark.parametrize("key", ["exclude", "changing"])
def test_writer_that_never_stops_is_no_failure_once_it_is_named(
    small: Path, base: Base, tmp_path: Path, key: str
) -> None:
    with at_work(_CHURN, small):
        result = base.dump(item("folder", small, **{key: ["/busy"]}))
    assert result["failures"] == []
    assert [
        note for note in result["notes"] if "as its changing says it may" in note and "./busy" in note
    ] or key == "exclude"
    top = unpack(result["tarballs"][0], tmp_path / "out")
    assert (top / "busy").exists() == (key == "changing")
    assert (top / "sub" / "deep").read_text() == "more"


def test_log_that_grows_all_the_time_is_stored_as_it_was(
    small: Path, base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.link(small / "file", small / "sub" / "twin")
    readings = held_up(monkeypatch, lambda number: None)
    with at_work(_LOGGING, small):
        (small / "sub" / "deep").write_bytes(os.urandom(30_000_000))
        result = base.dump(item("folder", small))
    assert result["failures"] == [], str(result["failures"])
    assert len(readings) == 1
    (note,) = result["notes"]
    assert "./app.log" in note and "only grew" in note
    top = unpack(result["tarballs"][0], tmp_path / "out")
    stored = (top / "app.log").read_bytes()
    assert stored and (small / "app.log").read_bytes().startswith(stored)
    copied, live = describe_tree(top), describe_tree(small)
    assert copied.pop(b"app.log") and live.pop(b"app.log")
    assert copied == live


def append(path: Path, text: str = "and more\n") -> None:
    with open(path, "a") as stream:
        stream.write(text)


GROWTH: dict[str, Callable[[Path], Any]] = {
    "file": lambda folder: append(folder / "file"),
    "hard links": lambda folder: append(folder / "sub" / "twin"),
    "sparse": lambda folder: os.truncate(folder / "holes", os.stat(folder / "holes").st_size + 100_000),
    "odd name": lambda folder: append(folder / os.fsdecode(b"\xff new\nline")),
    "several": lambda folder: [append(folder / name) for name in ("file", "sub/deep")],
}


@pytest.mark.parametrize("what", GROWTH)
def test_what_only_grew_is_stored_at_once(
    small: Path, base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    os.link(small / "file", small / "sub" / "twin")
    (small / os.fsdecode(b"\xff new\nline")).write_text("x")
    with open(small / "holes", "wb") as stream:
        stream.truncate(1_000_000)
        stream.seek(500_000)
        stream.write(b"x")
    before = describe_tree(small)
    readings = held_up(monkeypatch, lambda number: GROWTH[what](small))
    result = base.dump(item("folder", small))
    assert (result["failures"], len(readings)) == ([], 1)
    assert describe_tree(unpack(result["tarballs"][0], tmp_path / "out")) == before


def test_file_that_is_empty_while_it_is_written_anew_is_tried_again(
    small: Path, base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (small / "settings").touch()
    readings = held_up(monkeypatch, lambda number: append(small / "settings") if number == 1 else None)
    top = unpack(base.dump_one(item("folder", small)), tmp_path / "out")
    assert len(readings) == 2
    assert (top / "settings").read_text() == "and more\n"


CHANGED_OTHERWISE: dict[str, Callable[[Path], Any]] = {
    "same size": lambda path: path.write_text(f"{time.monotonic_ns():020}"),
    "rewritten and larger": lambda path: path.write_text(f"{time.monotonic_ns():030}"),
    "smaller": lambda path: os.truncate(path, max(0, os.stat(path).st_size - 1)),
    "replaced by a larger one": lambda path: (append(path.with_name("new")), path.with_name("new").rename(path)),
    "grown, with another mode": lambda path: (append(path), path.chmod(os.stat(path).st_mode ^ 0o1)),
}


@pytest.mark.sampled(6)
@pytest.mark.parametrize("what", CHANGED_OTHERWISE)
def test_what_changed_otherwise_is_tried_again_and_then_named(
    small: Path, base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    (small / "busy").write_text("0" * 20)
    readings = held_up(monkeypatch, lambda number: CHANGED_OTHERWISE[what](small / "busy"))
    result = base.dump(item("folder", small))
    (failure,) = result["failures"]
    assert "./busy" in failure["reason"] and "is not stored" in failure["reason"]
    assert len(readings) == 4
    assert sorted(list_archive(result["tarballs"][0]["path"])) == [
        f"thing/{name}" for name in ("", "file", "link", "sub/", "sub/deep")
    ]


def test_times_of_a_folder_that_always_change_are_no_failure(
    small: Path, base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(number: int) -> None:
        (small / "sub" / "lock").touch()
        (small / "sub" / "lock").unlink()

    readings = held_up(monkeypatch, change)
    result = base.dump(item("folder", small))
    assert (result["failures"], len(readings)) == ([], 4)


def test_spool_in_which_all_changes_is_stored_as_far_as_it_stands_still(
    small: Path, base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(number: int) -> None:
        (small / f"mail {number}").write_text("new")
        for old in small.glob("mail *"):
            if old.name != f"mail {number}":
                old.write_text(f"read {number}")

    (small / "mail 0").write_text("first")
    readings = held_up(monkeypatch, change)
    result = base.dump(item("folder", small))
    assert "./mail" in result["failures"][0]["reason"]
    assert len(readings) == 6
    assert (unpack(result["tarballs"][0], tmp_path / "out") / "sub" / "deep").read_text() == "more"


def test_what_may_change_may_vanish_and_appear_too(small: Path, base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    (small / "spool").mkdir()
    (small / "spool" / "0").touch()

    def change(number: int) -> None:
        (small / "spool" / f"{number - 1}").unlink()
        (small / "spool" / f"{number}").touch()

    readings = held_up(monkeypatch, change)
    result = base.dump(item("folder", small, changing=["spool/*"]))
    assert (result["failures"], len(readings)) == ([], 1)


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
    monkeypatch.setattr(folder, "KIND", replace(folder.KIND, check=lambda item, context: None))
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


@pytest.fixture
def too_deep(tmp_path: Path) -> Iterator[Path]:
    """Yield a folder with a file in each of thirty nested folders, too deep to open the innermost ones by a path."""
    top = tmp_path / "deep tree"
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for number in range(30):
        os.close(os.open(f"file {number}", os.O_CREAT | os.O_WRONLY, dir_fd=here))
        os.mkdir("d" * 200, dir_fd=here)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    yield top
    subprocess.run(["rm", "-rf", top], check=True)  # pytest could not


@pytest.mark.parametrize("name", ["x", "n" * 200])
def test_path_too_long_for_the_kernel_is_named_and_the_rest_stored(
    base: Base, too_deep: Path, tmp_path: Path, name: str
) -> None:
    predicted = base.dump(item("folder", too_deep, name), check_mode=True)
    result = base.dump(item("folder", too_deep, name))
    (failure,) = result["failures"]
    assert [entry["reason"] for entry in predicted["failures"]] == [failure["reason"]]
    assert (failure["category"], failure["name"]) == ("folders", name)
    assert (
        f"{too_deep}/ddd" in failure["reason"]
        and "is not stored" in failure["reason"]
        and "exclude it" in failure["reason"]
    )
    assert len(failure["reason"]) < 900
    names = list_archive(result["tarballs"][0]["path"])
    assert len([path for path in names if path.endswith("file 10")]) == 1
    assert max(map(len, names)) > 3890
    top = unpack(result["tarballs"][0], tmp_path / "out")
    record = result["tarballs"][0]["record"]
    assert tree_manifest(str(top), Deadline()) == {key: record[key] for key in ("entries", "bytes", "manifest")}
    subprocess.run(["rm", "-rf", tmp_path / "out"], check=True)
    excluded = base.dump(item("folder", too_deep, name, exclude=["/".join(["", *["d" * 200] * 12])]), stamp=NIGHTS[1])
    assert excluded["failures"] == []


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


@pytest.mark.full
def test_ten_thousand_files(base: Base, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    top = tmp_path / "many"
    for part in range(100):
        (top / str(part)).mkdir(parents=True)
        for number in range(100):
            (top / str(part) / str(number)).write_text(str(number))
    tarball = base.dump_one(item("folder", top))
    assert tarball["record"]["entries"] == 10101
    record_property("seconds", tarball["seconds"])
    print(f"10000 small files: {tarball['seconds']} s")


def test_patterns_are_those_of_a_gitignore(base: Base, tmp_path: Path) -> None:
    folder = tmp_path / "live"
    for name in ("tmp/x", "a/tmp/x", "a/b/c.tmp", "a/d.tmp", "keep/k.txt", "keep/other", "deep/cache/x", "cache/x"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    patterns = ["**/tmp", "/a/*.tmp", "keep/*", "!keep/k.txt", "/cache/"]
    result = base.dump(item("folder", folder, exclude=patterns))
    assert (result["failures"], result["notes"]) == ([], [])
    stored = [name[6:] for name in list_archive(result["tarballs"][0]["path"]) if not name.endswith("/")]
    assert stored == ["a/b/c.tmp", "deep/cache/x", "keep/k.txt"]


def test_patterns_that_cannot_be_meant_are_errors_all_at_once(small: Path, base: Base) -> None:
    patterns = [f"{small}/cache", "./tmp", "sub/*", "!sub/deep", "{a,b}"]
    reason = base.reason(item("folder", small, exclude=patterns))
    for pattern in (f"{small}/cache", "./tmp", "{a,b}"):
        assert f"{pattern!r} cannot be meant" in reason
    assert "sub" not in reason
    assert "'../x' cannot be meant" in base.reason(item("folder", small, changing=["../x"]))


def test_pattern_that_matches_nothing_is_noted_when_it_is_new(small: Path, base: Base) -> None:
    def notes(*patterns: str, night: int = 0) -> list[str]:
        result = base.dump(item("folder", small, exclude=list(patterns)), stamp=NIGHTS[night])
        assert result["failures"] == []
        return list(result["notes"])

    (note,) = notes("*.tmp", "/file")
    assert f"folders/thing: exclude '*.tmp' matches nothing in {small}" in note
    assert notes("*.tmp", "/file", night=1) == []
    (note,) = notes("*.tmp", "/gone", night=2)
    assert "'/gone' matches nothing" in note and "its first slash stands for the folder itself" in note
    (note,) = notes("sub/", "!sub/deep", night=3)
    assert "'!sub/deep' matches nothing" in note and "FOLDER/*" in note


def test_check_mode_notes_each_pattern_that_matches_nothing(small: Path, base: Base) -> None:
    values = item("folder", small, exclude=["*.tmp", "file"], changing=["*.log", "sub/"])
    base.dump_one(values, stamp=NIGHTS[0])
    before = base.files()
    notes = base.dump(values, stamp=NIGHTS[1], check_mode=True)["notes"]
    assert [note.split(" in ")[0] for note in notes] == [
        "folders/thing: exclude '*.tmp' matches nothing",
        "folders/thing: changing '*.log' matches nothing",
    ]
    assert base.files() == before


def test_note_on_a_pattern_is_not_lost_with_an_attempt(
    small: Path, base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = held_up(monkeypatch, lambda number: (small / "file").write_text(f"{number}") if number < 3 else None)
    result = base.dump(item("folder", small, exclude=["*.tmp"]))
    assert len(readings) == 3
    assert "'*.tmp' matches nothing" in result["notes"][0]


@pytest.mark.sampled(2)
@needs_root
def test_check_mode_finds_what_cannot_be_read() -> None:
    with nobodys_folder() as folder:
        (folder / "tree" / "sub").mkdir(parents=True)
        (folder / "tree" / "sub" / "secret").touch(0)
        with as_nobody():
            reason = Base(folder / "base").reason(item("folder", folder / "tree"), check_mode=True)
    assert "secret cannot be read by uid 65534" in reason


def test_marked_folders_are_left_out_but_for_their_marks(base: Base, tmp_path: Path) -> None:
    folder = tmp_path / "live"
    for name in ("cache/x", "cache/sub/x", "false/x", "none/x", "none/sub/x", "other/x"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "cache" / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\n# more")
    (folder / "false" / "CACHEDIR.TAG").write_text("not a signature")
    (folder / "none" / ".nobackup").touch()
    marked = item("folder", folder, exclude_caches=True, exclude_if_present=[".nobackup"])
    names = ["cache/CACHEDIR.TAG", "false/CACHEDIR.TAG", "false/x", "none/.nobackup", "other/x"]
    assert [name[6:] for name in list_archive(base.dump_one(marked)["path"]) if not name.endswith("/")] == names
    plain = base.dump_one(item("folder", folder), stamp=NIGHTS[1])
    assert plain["record"]["entries"] == 16
    (folder / ".nobackup").touch()
    assert "is marked by its .nobackup" in base.reason(marked, stamp=NIGHTS[2])


def test_cache_tag_that_is_a_pipe_or_a_link_marks_nothing(base: Base, small: Path) -> None:
    os.mkfifo(small / "sub" / "CACHEDIR.TAG")
    names = list_archive(base.dump_one(item("folder", small, exclude_caches=True))["path"])
    assert "thing/sub/deep" in names
