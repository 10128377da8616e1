"""Headers of archives: those of dumps and other archivers are read as meant, and ambiguous ones are reported."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from helpers.hostile import AMBIGUOUS, END, TOP, block, long_name, pax
from helpers.trees import make_odd_tree, needs_root
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.altbackup.core.plugins.module_utils.archive.headers import Header, Headers


def read(content: bytes, piece: int = 32768) -> list[Header]:
    """Read the headers of an archive, fed in pieces."""
    headers = Headers()
    for start in range(0, len(content), piece):
        headers.feed(content[start : start + piece])
    return list(headers.found)


@pytest.mark.parametrize("name", AMBIGUOUS)
@pytest.mark.parametrize("piece", [1, 1 << 20])
def test_what_can_be_read_in_two_ways_is_a_problem(name: str, piece: int) -> None:
    content, said = AMBIGUOUS[name]
    (problem,) = [header.problem for header in read(content + END, piece) if header.problem]
    assert any(part in problem for part in said.split("|"))


def seen_by_tarfile(content: bytes) -> list[tuple[bytes, bytes, int, bytes]]:
    """Return (name, type, size, link) of the members, as tarfile reads them."""
    with tarfile.open(fileobj=io.BytesIO(content), encoding="utf-8", errors="surrogateescape") as archive:
        return [
            (os.fsencode(member.name), member.type, member.size, os.fsencode(member.linkname)) for member in archive
        ]


def seen_here(content: bytes, piece: int = 32768) -> list[tuple[bytes, bytes, int, bytes]]:
    """Return the same, as read by the code under test."""
    found = read(content, piece)
    assert not [header for header in found if header.problem]
    return [(header.name.rstrip(b"/"), header.kind, header.size, header.link) for header in found]


@needs_root
@pytest.mark.parametrize(
    ("options", "holes"),
    [
        (
            ["--format=posix", "--sparse", "--sparse-version=0.0", "--hole-detection=raw", "--acls", "--xattrs"],
            1 << 20,
        ),
        (["--format=posix", "--listed-incremental=snapshot", "--sparse", "--sparse-version=0.0"], 9 << 30),
        (["--format=gnu"], 1 << 20),
        (["--format=ustar"], 1 << 20),
    ],
)
def test_all_that_archivers_write_is_read_as_they_meant_it(tmp_path: Path, options: list[str], holes: int) -> None:
    make_odd_tree(tmp_path / TOP)
    deep = tmp_path / TOP / "deep" / ("a" * 120) / ("b" * 120)
    deep.mkdir(parents=True)
    (deep / "file").write_text("x")
    (deep / "link").symlink_to("c" * 300)
    with (tmp_path / TOP / "holes").open("wb") as stream:
        stream.write(b"x" * 5000)
        stream.truncate(holes)
    command = ["tar", "-c", *options, "--file=-", TOP]
    made = subprocess.run(command, capture_output=True, cwd=tmp_path, check="--format=ustar" not in options).stdout
    assert len(seen_by_tarfile(made)) > 10
    assert seen_here(made) == seen_by_tarfile(made)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
@given(
    names=st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=30), max_size=8
    ),
    piece=st.integers(1, 3000),
)
def test_archives_of_python_are_read_as_it_reads_them(form: int, names: list[str], piece: int) -> None:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=form) as archive:
        for number, name in enumerate(names):
            info = tarfile.TarInfo(f"{TOP}/{name}")
            info.type = (tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.LNKTYPE)[number % 4]
            info.linkname = f"{TOP}/{names[0]}" * (1 + number) if number % 2 else ""
            info.size = number * 500 if info.isreg() else 0
            try:
                archive.addfile(info, io.BytesIO(bytes(info.size)))
            except ValueError:
                pass
    assert seen_here(output.getvalue(), piece) == seen_by_tarfile(output.getvalue())


def test_forms_that_are_not_ambiguous_are_read() -> None:
    content = pax(("comment", "x"), kind=b"g") + long_name(f"{TOP}/a") + long_name("b", b"K") + block("x", b"2")
    content += pax(("size", "3"), ("hdrcharset", "BINARY"), ("path", b"\xff")) + block("y") + bytes(512)
    content += block("z", at_124=b"\x80" + bytes(10) + b"\x05") + bytes(512) + block("last", at_345=TOP.encode())
    assert [(header.name, header.size, header.link, header.problem) for header in read(content + END)] == [
        (f"{TOP}/a".encode(), 0, b"b", ""),
        (b"\xff", 3, b"", ""),
        (b"z", 5, b"", ""),
        (f"{TOP}/last".encode(), 0, b"", ""),
    ]
