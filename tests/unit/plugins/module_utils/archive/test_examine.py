"""Tarballs read whole before anything of them is used: what they hold, and what ends the reading early."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
from helpers.hostile import TOP, compressed, folder, member, stream
from helpers.trees import Base, item

from ansible_collections.altbackup.core.plugins.module_utils.archive.examine import (
    Unlistable,
    examine,
    measure,
    read_content,
)
from ansible_collections.altbackup.core.plugins.module_utils.archive.rules import Contents, Limits
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import DeadlineExceeded, Hostile, ToolFailed
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline

WHOLE = stream([folder(), member(f"{TOP}/a", os.urandom(9000)), member(f"{TOP}/b", b"x")])


def look(path: Path, **options: Any) -> Contents:
    """Return what a tarball holds."""
    given = {"top": TOP, "limits": Limits(1 << 30), "deadline": Deadline(60, "reading"), **options}
    return examine(str(path), **given)


def test_measure_tells_entries_and_bytes(tmp_path: Path) -> None:
    tarball = compressed(tmp_path / "thing.tar.zst", stream([folder(), member(f"{TOP}/a", b"12345")]))
    assert measure(str(tarball), Deadline(60)) == (2, 5)


@pytest.mark.parametrize("extension", [".tar.zst", ".tar.gz", ".tar"])
def test_what_an_archive_holds_is_told_however_it_is_compressed(tmp_path: Path, extension: str) -> None:
    seen: list[str] = []
    found = look(
        compressed(tmp_path / f"x{extension}", WHOLE),
        digested=True,
        seen=lambda one: seen.append(one.name),
        wanted=f"{TOP}/b",
    )
    assert (found.entries, found.bytes, found.found, len(found.digest)) == (3, 9001, "something", 64)
    assert seen == [TOP, f"{TOP}/a", f"{TOP}/b"]


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        pytest.param(b"", ToolFailed, "is damaged", id="nothing"),
        pytest.param(bytes(10240), ToolFailed, "is damaged: it holds nothing", id="an archive of nothing"),
        pytest.param(b"garbage" * 1000, ToolFailed, "is damaged", id="garbage"),
        pytest.param(WHOLE[:512], ToolFailed, "is damaged: its end is missing", id="cut behind a header"),
        pytest.param(WHOLE[:5000], ToolFailed, "is damaged", id="cut in a file"),
        pytest.param(WHOLE[: 512 * 21], ToolFailed, "is damaged", id="cut before the end"),
        pytest.param(WHOLE + b"x", Hostile, "there is more behind its end", id="one byte behind it"),
        pytest.param(WHOLE + bytes(512 * 40) + WHOLE, Hostile, "there is more behind its end", id="another archive"),
        pytest.param(stream([folder("other")]), Hostile, "is not in the top folder thing", id="another top folder"),
    ],
)
@pytest.mark.parametrize("extension", [".tar", ".tar.gz"])
def test_what_is_no_whole_archive_is_told(
    tmp_path: Path, content: bytes, error: type[Exception], said: str, extension: str
) -> None:
    with pytest.raises(error, match=said):
        look(compressed(tmp_path / f"x{extension}", content))


def test_zeros_behind_an_end_are_nothing(tmp_path: Path) -> None:
    assert look(compressed(tmp_path / "x.tar", WHOLE + bytes(1 << 20))).entries == 3


@pytest.mark.parametrize("extension", [".tar.zst", ".tar.gz"])
def test_damage_of_a_compression_is_told_in_the_words_of_its_program(tmp_path: Path, extension: str) -> None:
    path = compressed(tmp_path / f"x{extension}", WHOLE)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ToolFailed, match=f"x{extension}"):
        look(path)
    path.write_bytes(b"no compression")
    with pytest.raises(ToolFailed, match=rf"decompressing .*x{extension}"):
        look(path)


def test_what_only_one_reader_can_read_is_not_taken(tmp_path: Path) -> None:
    # GNU tar ends at what it takes for a header of its own; this reader has no such limit
    bad = stream([folder(), member(f"{TOP}/a", b"x", GNU__sparse__major="9")])
    with pytest.raises((Hostile, Unlistable)):
        look(compressed(tmp_path / "x.tar", bad))


def test_devices_are_refused_unless_they_are_allowed(tmp_path: Path) -> None:
    path = compressed(tmp_path / "x.tar", stream([folder(), member(f"{TOP}/p", kind=tarfile.FIFOTYPE)]))
    assert look(path).special == {f"{TOP}/p": (tarfile.FIFOTYPE, "")}
    with pytest.raises(Hostile, match="is a named pipe"):
        look(path, special=False)


def test_reading_ends_at_its_deadline_and_opens_no_link(tmp_path: Path) -> None:
    path = compressed(tmp_path / "x.tar", stream([folder(), member(f"{TOP}/a", bytes(4 << 20))]))
    with pytest.raises(DeadlineExceeded, match="reading"):
        look(path, deadline=Deadline(1e-4, "reading"))
    (tmp_path / "link.tar").symlink_to(path)
    with pytest.raises(OSError, match="symbolic links"):
        look(tmp_path / "link.tar")


def test_the_content_of_a_tarball_is_that_of_its_manifest_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "live").mkdir()
    (tmp_path / "live" / "file").write_text("x")
    tarball = Base(tmp_path / "base").dump_one(item("folder", tmp_path / "live"))
    path = tmp_path / "without an ending"
    path.write_bytes(Path(tarball["path"]).read_bytes())
    name = tarball["relpath"].rpartition("/")[2]
    assert read_content(str(path), name, "thing", Deadline(60)) == tarball["record"]["content"]
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ToolFailed, match="without an ending"):
        read_content(str(path), name, "thing", Deadline(60))


@pytest.mark.parametrize("content", [b"garbage" * 1000, WHOLE[:5000]])
def test_a_content_that_cannot_be_read_is_damaged(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.tar").write_bytes(content)
    with pytest.raises(ToolFailed, match=r"x.tar is damaged"):
        read_content(str(tmp_path / "x.tar"), "x.tar", TOP, Deadline(60))
