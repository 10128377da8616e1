"""Archives are deterministic, readable by plain tools, and never taken for complete if a part of the pipe died."""

from __future__ import annotations

import hashlib
import itertools
import os
import resource
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.archives import write_archive
from helpers.trees import file_digest, link_tools, list_archive, make_tool, needs_root, unpack
from helpers.waiting import wait_until

from ansible_collections.altbackup.core.plugins.module_utils.archive.examine import read_content
from ansible_collections.altbackup.core.plugins.module_utils.archive.manifest import (
    Manifest,
)
from ansible_collections.altbackup.core.plugins.module_utils.archive.write import (
    ArchiveFormat,
    Part,
    compressor,
)
from ansible_collections.altbackup.core.plugins.module_utils.kinds.base import walk
from ansible_collections.altbackup.core.plugins.module_utils.system import process_groups, programs
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import (
    AltbackupError,
    DeadlineExceeded,
    ToolFailed,
    ToolMissing,
)
from ansible_collections.altbackup.core.plugins.module_utils.system.names import Names
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline

TOPS = (
    "a b",
    "$x `id`",
    "-dash",
    "a&b\\c|d",
    "\\1\\n\\101",
    "'quotes\"",
    "日本 é",
    "%p %d",
    "a;b|c",
    "[x]*?",
    "#^.$",
    "tab\there",
)
FORMS = (".tar.zst", ".tar.gz", ".tar")

FORMAT = ArchiveFormat()


@pytest.fixture
def large(tmp_path: Path) -> Path:
    folder = tmp_path / "large"
    folder.mkdir()
    (folder / "random").write_bytes(os.urandom(8 << 20))
    return folder


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder at the head of PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def write(
    tree: Path,
    path: Path,
    *,
    top: str = "top",
    form: ArchiveFormat = FORMAT,
    seconds: float = 60,
    **options: Any,
) -> Any:
    parts = [Part(str(tree), list(walk(str(tree))[0]))]
    return write_archive(str(path), parts, top=top, form=form, deadline=Deadline(seconds, "dump"), **options)


@pytest.mark.parametrize("top", TOPS)
def test_top_folder_bears_any_name(tree: Path, tmp_path: Path, top: str) -> None:
    manifest = Manifest()
    write(tree, tmp_path / "x.tar.zst", top=top, manifest=manifest)
    names = [f"{top}/{name}" for name in ("", "file", "sub/", "sub/link", "twin")]
    assert list_archive(tmp_path / "x.tar.zst") == names
    unpacked = unpack(tmp_path / "x.tar.zst", tmp_path / "out")
    assert unpacked.name == top
    assert os.readlink(unpacked / "sub" / "link") == "./file"
    assert (unpacked / "twin").samefile(unpacked / "file")
    assert (manifest.entries, manifest.bytes) == (5, 7)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512", "md5"])
@pytest.mark.parametrize("extension", FORMS)
def test_digest_and_size_are_those_of_the_file(tree: Path, tmp_path: Path, extension: str, algorithm: str) -> None:
    path = tmp_path / f"x{extension}"
    dna = write(tree, path, form=ArchiveFormat(extension, 1, algorithm))
    said = subprocess.run([f"{algorithm}sum", path], capture_output=True, text=True, check=True).stdout.split()[0]
    assert (dna.dig, dna.size, dna.alg) == (said, path.stat().st_size, algorithm)
    assert path.stat().st_mode & 0o7777 == 0o600


@pytest.mark.sampled(6)
@pytest.mark.parametrize(
    ("extension", "tools", "check"),
    [
        (".tar.zst", ("tar", "zstd"), ("zstd", "-q", "-t")),
        (".tar.gz", ("tar", "pigz", "gzip"), ("gzip", "-t")),
        (".tar.gz", ("tar", "gzip"), ("gzip", "-t")),
        (".tar", ("tar",), ("tar", "-tf")),
    ],
    ids=["zstd", "pigz", "gzip", "none"],
)
@pytest.mark.parametrize("level", [1, 12])
def test_compressors_give_valid_and_equal_archives(
    large: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    extension: str,
    tools: tuple[str, ...],
    check: tuple[str, ...],
    level: int,
) -> None:
    link_tools(tmp_path / "few", tools)
    monkeypatch.setattr(programs, "_SYSTEM_FOLDERS", ())
    with monkeypatch.context() as few:
        few.setenv("PATH", str(tmp_path / "few"))
        digests = {
            write(large, tmp_path / f"{number}{extension}", form=ArchiveFormat(extension, level)).dig
            for number in range(2)
        }
    assert len(digests) == 1
    subprocess.run([*check, tmp_path / f"0{extension}"], check=True, capture_output=True)
    assert file_digest(unpack(tmp_path / f"0{extension}", tmp_path / "out") / "random") == file_digest(large / "random")


@pytest.mark.parametrize(
    ("extension", "tools", "package"),
    [(".tar.zst", ["tar"], "zstd"), (".tar.gz", ["tar"], "gzip"), (".tar", [], "tar"), (".tar.zst", ["zstd"], "tar")],
)
def test_missing_tool_names_its_package(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extension: str, tools: list[str], package: str
) -> None:
    link_tools(tmp_path / "few", tools)
    monkeypatch.setattr(programs, "_SYSTEM_FOLDERS", ())
    monkeypatch.setenv("PATH", str(tmp_path / "few"))
    with pytest.raises(ToolMissing, match=f"install the package {package}"):
        write(tree, tmp_path / "x", form=ArchiveFormat(extension))


@pytest.mark.parametrize("extension", FORMS)
def test_environment_does_not_decide(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extension: str
) -> None:
    first = write(tree, tmp_path / "1", form=ArchiveFormat(extension))
    for name, value in {
        "TAR_OPTIONS": "--owner=nobody",
        "GZIP": "-9",
        "PIGZ": "-9",
        "ZSTD_CLEVEL": "9",
        "LC_ALL": "tr_TR.UTF-8",
        "TZ": "Asia/Taipei",
        "POSIXLY_CORRECT": "1",
        "TAPE": "/dev/null",
    }.items():
        monkeypatch.setenv(name, value)
    before = os.umask(0o077)
    try:
        assert write(tree, tmp_path / "2", form=ArchiveFormat(extension)) == first
    finally:
        os.umask(before)


def test_owner_and_times_are_those_that_are_asked_for(tree: Path, tmp_path: Path) -> None:
    write(tree, tmp_path / "x.tar", form=ArchiveFormat(".tar"), owner=(1234, 3000000), fixed_times=True)
    listing = subprocess.run(
        ["tar", "--numeric-owner", "--utc", "-tvf", tmp_path / "x.tar"], capture_output=True, text=True, check=True
    )
    for line in listing.stdout.splitlines():
        assert line.split()[1] == "1234/3000000"
        assert "1970-01-01 00:00" in line


def owners_in(path: Path) -> dict[str, tuple[int, int, str, str]]:
    """Return {member: (uid, gid, user, group)} from the headers of an archive."""
    with tarfile.open(path) as archive:
        return {entry.name: (entry.uid, entry.gid, entry.uname, entry.gname) for entry in archive}


ODD_OWNER_NAMES = (
    "alice",
    "domain users",
    "DOMAIN\\jo",
    "jo@example.org",
    "pc$",
    "a\"b'c`id`$(id)$HOME*?#;%\\n",
    "1234567",
    "+5",
    "-dash",
    "#hash",
    "jürgen",
    "n" * 31,
    "n" * 33,
    "ü" * 16,
    "日" * 80,
)


@needs_root
@pytest.mark.parametrize("name", ODD_OWNER_NAMES)
def test_owners_have_the_names_that_were_looked_up_beside_their_numbers(tree: Path, tmp_path: Path, name: str) -> None:
    os.chown(tree / "file", 1, 2)
    os.chown(tree / "sub", 70001, 70002)
    os.chown(tree / "sub" / "link", 0, 70001, follow_symlinks=False)
    names = Names({0: "zero", 1: "one", 70001: name}, {0: "none", 2: name, 70001: "x", 70002: "y"})
    manifest = Manifest()
    write(tree, tmp_path / "x.tar", form=ArchiveFormat(".tar"), names=names, manifest=manifest)
    found = owners_in(tmp_path / "x.tar")
    assert found == {
        "top": (0, 0, "zero", "none"),
        "top/file": (1, 2, "one", name),
        "top/sub": (70001, 70002, name, "y"),
        "top/sub/link": (0, 70001, "zero", "x"),
        "top/twin": (1, 2, "one", name),
    }
    assert manifest.owners.found == set(found.values())
    fixed = Names({5: name}, {70002: "y"})
    write(tree, tmp_path / "y.tar", form=ArchiveFormat(".tar"), names=fixed, owner=(5, 70002))
    assert set(owners_in(tmp_path / "y.tar").values()) == {(5, 70002, name, "y")}


@pytest.mark.parametrize("owner", [None, (0, 0)])
def test_without_names_headers_have_numbers_alone(tree: Path, tmp_path: Path, owner: tuple[int, int] | None) -> None:
    write(tree, tmp_path / "x.tar", form=ArchiveFormat(".tar"), owner=owner)
    assert {names for *_, user, group in owners_in(tmp_path / "x.tar").values() for names in (user, group)} == {""}


@needs_root
@pytest.mark.parametrize(
    "form", [ArchiveFormat(".tar"), ArchiveFormat(".tar.zst", 19), ArchiveFormat(".tar.gz", 9, "md5")]
)
def test_a_content_is_the_same_with_other_names_and_other_compression(
    tree: Path, tmp_path: Path, form: ArchiveFormat
) -> None:
    plain, named = Manifest(), Manifest()
    write(tree, tmp_path / "1.tar", form=ArchiveFormat(".tar"), manifest=plain)
    names = Names({0: "n" * 40}, {0: "domain users"})
    write(tree, tmp_path / f"2{form.extension}", form=form, manifest=named, names=names)
    assert named.content == plain.content != ""
    deadline = Deadline(60, "look")
    path = tmp_path / f"2{form.extension}"
    assert read_content(str(path), path.name, "top", deadline) == plain.content
    assert named.owners != plain.owners


@needs_root
@pytest.mark.parametrize(
    "change",
    [
        lambda tree: (tree / "file").write_text("CONTENT"),
        lambda tree: (tree / "file").chmod(0o4755),
        lambda tree: (tree / "sub").chmod(0o700),
        lambda tree: os.chown(tree / "file", 5, -1),
        lambda tree: os.chown(tree / "sub" / "link", -1, 5, follow_symlinks=False),
        lambda tree: os.utime(tree / "file", ns=(0, 1)),
        lambda tree: os.utime(tree / "sub", (0, 1)),
        lambda tree: (tree / "more").touch(),
        lambda tree: (tree / "sub" / "link").unlink() or (tree / "sub" / "link").symlink_to("./other"),
        lambda tree: (tree / "twin").unlink() or (tree / "twin").write_text("content"),
        lambda tree: os.setxattr(tree / "file", "user.note", b"value\n\0more"),
    ],
    ids=["content", "mode", "folder", "owner", "group", "time", "foldertime", "entry", "link", "twin", "attribute"],
)
def test_a_content_is_another_one_when_anything_that_comes_back_is(
    tree: Path, tmp_path: Path, change: Callable[[Path], object], request: pytest.FixtureRequest
) -> None:
    before, after = Manifest(), Manifest()
    write_without_times(tree, tmp_path / "1.tar", before)
    change(tree)
    if "time" in request.node.name:
        write(tree, tmp_path / "2.tar", form=ArchiveFormat(".tar"), manifest=after)
    else:
        write_without_times(tree, tmp_path / "2.tar", after)
    assert before.content != after.content


def write_without_times(tree: Path, path: Path, manifest: Manifest) -> None:
    for each in [*sorted(tree.rglob("*"), reverse=True), tree]:
        os.utime(each, (0, 0), follow_symlinks=False)
    write(tree, path, form=ArchiveFormat(".tar"), manifest=manifest)


def test_fresh_copies_with_holes_or_without_are_equal(tmp_path: Path) -> None:
    digests = set()
    for holes in (True, False):
        folder = tmp_path / f"holes {holes}"
        folder.mkdir()
        with open(folder / "file", "wb") as stream:
            stream.write(b"x" * 4096)
            stream.seek(1 << 20) if holes else stream.write(bytes((1 << 20) - 4096))
            stream.write(b"end")
        digests.add(write(folder, tmp_path / f"{holes}.tar", form=ArchiveFormat(".tar"), fixed_times=True).dig)
    assert len(digests) == 1


@pytest.mark.parametrize("listed", [False, True], ids=["plain", "listed"])
@pytest.mark.parametrize(
    ("tool", "script", "expected"),
    [
        ("tar", "head -c 5000000 /dev/zero; kill -9 $$", "tar was killed by signal 9"),
        (
            "tar",
            "head -c 5000000 /dev/zero; echo 'tar: disk is on fire' >&2; exit 2",
            "tar failed with exit code 2: tar: disk is on fire",
        ),
        ("tar", "exit 1", "tar failed with exit code 1: it said nothing"),
        ("zstd", "head -c 1000000 >/dev/null; kill -9 $$", "zstd was killed by signal 9"),
        ("zstd", "kill -9 $$", "zstd was killed by signal 9"),
        (
            "zstd",
            "head -c 1000000; echo 'zstd: no memory' >&2; exit 1",
            "zstd failed with exit code 1: zstd: no memory",
        ),
        ("zstd", "cat >/dev/null; exit 3", "zstd failed with exit code 3"),
    ],
)
def test_tool_that_dies_is_a_failure_with_its_own_words(
    large: Path, tmp_path: Path, fakes: Path, tool: str, script: str, expected: str, listed: bool
) -> None:
    make_tool(fakes, tool, script)
    with pytest.raises(ToolFailed) as caught:
        write(large, tmp_path / "x", seconds=20, manifest=Manifest() if listed else None)
    assert expected in str(caught.value)
    assert str(large) in str(caught.value)


def test_compressor_that_reads_half_and_says_all_is_well_is_not_believed(
    large: Path, tmp_path: Path, fakes: Path
) -> None:
    make_tool(fakes, "zstd", "head -c 100000")
    for manifest in (None, Manifest()):
        with pytest.raises((ToolFailed, AltbackupError)) as caught:
            write(large, tmp_path / f"x{manifest is None}", seconds=20, manifest=manifest)
        assert not isinstance(caught.value, DeadlineExceeded)


@pytest.mark.parametrize("listed", [False, True], ids=["plain", "listed"])
@pytest.mark.parametrize("size", [30_000, 900_000])
def test_compressor_that_leaves_what_a_pipe_holds_is_not_believed(
    tmp_path: Path, fakes: Path, size: int, listed: bool
) -> None:
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "random").write_bytes(os.urandom(size))
    make_tool(fakes, "zstd", "head -c 20000")
    with pytest.raises(AltbackupError, match="Broken pipe"):
        write(tmp_path / "small", tmp_path / "x", seconds=20, manifest=Manifest() if listed else None)


def test_archive_goes_to_the_disk_while_it_is_written(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (large / "more").write_bytes(os.urandom(40 << 20))
    advised: list[tuple[int, int]] = []

    def advise(_descriptor: int, start: int, length: int, advice: int) -> None:
        assert advice == os.POSIX_FADV_DONTNEED
        advised.append((start, length))

    monkeypatch.setattr(os, "posix_fadvise", advise)
    write(large, tmp_path / "x")
    assert [start for start, _ in advised] == [0, *itertools.accumulate(length for _, length in advised[:-1])]
    assert sum(length for _, length in advised) > (48 - 16) << 20


def test_stream_that_is_no_archive_cannot_be_listed(large: Path, tmp_path: Path, fakes: Path) -> None:
    make_tool(fakes, "tar", "head -c 20000000 /dev/zero | tr '\\0' x")
    with pytest.raises(AltbackupError, match="could not be listed"):
        write(large, tmp_path / "x", seconds=20, manifest=Manifest())


@pytest.mark.sampled(8)
@pytest.mark.parametrize("listed", [False, True], ids=["plain", "listed"])
@pytest.mark.parametrize("tool", ["tar", "zstd"])
@pytest.mark.parametrize(
    "script",
    [
        "sleep 1000",
        "trap '' TERM; sleep 1000; sleep 1000",
        "head -c 100000 /dev/zero; sleep 1000",
        "exec >&-; sleep 1000",
    ],
)
def test_tool_that_hangs_is_ended_with_its_children_at_the_deadline(
    large: Path, tmp_path: Path, fakes: Path, monkeypatch: pytest.MonkeyPatch, tool: str, script: str, listed: bool
) -> None:
    monkeypatch.setattr(process_groups, "GRACE", 0.1)
    make_tool(fakes, tool, f"echo $$ > {tmp_path}/group; {script}")
    with pytest.raises(DeadlineExceeded, match=r"took longer than its limit of 0.4 s"):
        write(large, tmp_path / "x", seconds=0.4, manifest=Manifest() if listed else None)
    group = int((tmp_path / "group").read_text())
    assert wait_until(lambda: group_is_gone(group))


def group_is_gone(group: int) -> bool:
    """Return whether no process of a group runs; unreaped zombies do not count."""
    done = subprocess.run(["ps", "-o", "stat=", "-g", str(group)], capture_output=True, text=True)
    return not [line for line in done.stdout.splitlines() if not line.startswith("Z")]


@pytest.mark.parametrize("listed", [False, True], ids=["plain", "listed"])
def test_failure_of_writing_does_not_wait_for_a_slow_tar(
    large: Path, tmp_path: Path, fakes: Path, listed: bool
) -> None:
    make_tool(fakes, "tar", "head -c 3000000 /dev/zero; sleep 1000")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write(large, tmp_path / "x", form=ArchiveFormat(".tar"), manifest=Manifest() if listed else None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_existing_file_is_never_written_to(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("precious")
    with pytest.raises(FileExistsError):
        write(tree, tmp_path / "x")
    assert (tmp_path / "x").read_text() == "precious"


def test_warnings_of_tar_are_handed_on(tree: Path, tmp_path: Path, fakes: Path) -> None:
    make_tool(fakes, "tar", "echo 'tar: careful' >&2; exec /usr/bin/env -u PATH /bin/tar \"$@\"")
    stderr_lines: list[str] = []
    write(tree, tmp_path / "x", stderr_lines=stderr_lines)
    assert stderr_lines == ["tar: careful"]


def test_same_folder_at_another_path_and_in_another_order_gives_the_same_bytes(tmp_path: Path) -> None:
    digests = set()
    for order in (1, -1):
        folder = tmp_path / f"at {order}"
        folder.mkdir()
        for name in ("b", "a", "é", "ab", "a b")[::order]:
            (folder / name).write_text(name)
        digests.add(write(folder, tmp_path / f"x{order}", fixed_times=True).dig)
    assert len(digests) == 1


def test_level_of_the_compressor_is_kept_within_its_range() -> None:
    assert "-9" in compressor(ArchiveFormat(".tar.gz", 19))
    assert "-19" in compressor(ArchiveFormat(".tar.zst", 19))


def test_digest_is_of_what_was_written(tree: Path, tmp_path: Path) -> None:
    dna = write(tree, tmp_path / "x")
    assert dna.dig == hashlib.sha256((tmp_path / "x").read_bytes()).hexdigest()
