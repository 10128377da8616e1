"""What is told of an archive while its stream passes: entries, bytes, and digests that are the same for what is the same."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.archives import write_archive
from helpers.hostile import TOP, folder, member, stream
from helpers.trees import make_odd_tree

from ansible_collections.altbackup.core.plugins.module_utils.archive.manifest import (
    Manifest,
    manifest_line,
    pieces_of,
    read_manifest,
)
from ansible_collections.altbackup.core.plugins.module_utils.archive.write import ArchiveFormat, Part
from ansible_collections.altbackup.core.plugins.module_utils.kinds.base import walk
from ansible_collections.altbackup.core.plugins.module_utils.kinds.folder import tree_manifest
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline


def write(tree: Path, path: Path, manifest: Manifest, **options: Any) -> None:
    """Archive a folder, and fill a manifest of that."""
    parts = [Part(str(tree), walk(str(tree))[0])]
    form = ArchiveFormat(".tar")
    write_archive(str(path), parts, top="top", form=form, deadline=Deadline(60), manifest=manifest, **options)


def manifest_of(content: bytes, **options: Any) -> Manifest:
    """Return the manifest of an archive."""
    manifest = Manifest()
    assert read_manifest(io.BytesIO(content), manifest, TOP, **options) <= len(content)
    return manifest


def test_manifest_tells_contents_apart(tree: Path, tmp_path: Path) -> None:
    def digest(name: str) -> str:
        manifest = Manifest()
        write(tree, tmp_path / name, manifest)
        return manifest.digest

    seen = [digest("first")]
    assert digest("again") == seen[0]
    changes: list[Callable[[], Any]] = [
        lambda: (tree / "file").write_text("CONTENT"),
        lambda: (tree / "file").rename(tree / "other"),
        lambda: ((tree / "sub" / "link").unlink(), (tree / "sub" / "link").symlink_to("other")),
        lambda: (tree / "twin").unlink(),
    ]
    for number, change in enumerate(changes):
        change()
        seen.append(digest(f"changed {number}"))
    assert len(set(seen)) == len(seen)


def test_manifest_counts_sparse_files_whole(tmp_path: Path) -> None:
    tree = make_odd_tree(tmp_path / "odd")
    sparse, whole = Manifest(), Manifest()
    write(tree, tmp_path / "1.tar", sparse, sparse=True)
    write(tree, tmp_path / "2.tar", whole)
    assert (sparse.digest, sparse.bytes, sparse.entries) == (whole.digest, whole.bytes, whole.entries)
    assert (tmp_path / "1.tar").stat().st_size < 1 << 20 < (tmp_path / "2.tar").stat().st_size
    again = Manifest()
    with open(tmp_path / "1.tar", "rb") as stream:
        read_manifest(stream, again, "top")
    assert again == sparse


SPARSE = {
    "hole alone": ([], 5 << 20),
    "data alone": ([(0, 3 << 20)], 3 << 20),
    "between": ([(0, 4096), (3 << 20, 8192)], (3 << 20) + 8192),
    "at both ends": ([((2 << 20) + 4096, 4096)], 9 << 20),
    "many": ([(number << 16, 4096) for number in range(0, 100, 2)], (100 << 16) + 5),
    "small": ([(0, 100)], 100),
}


@pytest.mark.parametrize("name", SPARSE)
def test_digest_of_a_sparse_file_is_that_of_all_its_bytes(tmp_path: Path, name: str) -> None:
    parts, size = SPARSE[name]
    folder = tmp_path / "thing"
    folder.mkdir()
    with open(folder / "sparse", "wb") as stream:
        for start, length in parts:
            stream.seek(start)
            stream.write(os.urandom(length))
        stream.truncate(size)
    (folder / "then").write_text("x")
    lines = [(b"5", b"", b""), (b"0", b"sparse", (folder / "sparse").read_bytes()), (b"0", b"then", b"x")]
    expected = hashlib.sha256()
    for kind, path, content in lines:
        expected.update(manifest_line(kind, path, hashlib.sha256(content).hexdigest() if kind == b"0" else "", b""))
    for sparse in (True, False):
        manifest = Manifest()
        names = [Part(str(folder), [b".", b"./sparse", b"./then"])]
        path = str(tmp_path / f"{sparse}.tar")
        write_archive(
            path, names, top="thing", form=ArchiveFormat(".tar"), deadline=Deadline(), sparse=sparse, manifest=manifest
        )
        assert (manifest.digest, manifest.bytes) == (expected.hexdigest(), size + 1)
    assert tree_manifest(str(folder), Deadline())["manifest"] == expected.hexdigest()


def test_a_map_of_holes_in_no_order_is_not_believed() -> None:
    member = tarfile.TarInfo("x")
    member.size = 100
    for parts in ([(50, 10), (0, 10)], [(0, 60), (50, 10)], [(0, 200)], [(-5, 10)]):
        member.sparse = parts  # type: ignore[assignment]
        assert list(pieces_of(member)) == [(0, 100, False)]


@pytest.mark.parametrize(
    ("parts", "size", "pieces"),
    [
        (None, 0, [(0, 0, False)]),
        (None, 100, [(0, 100, False)]),
        ([], 100, [(0, 100, True)]),
        ([], 0, []),
        ([(0, 100)], 100, [(0, 100, False)]),
        ([(100, 0)], 100, [(0, 100, True)]),
        ([(10, 20)], 100, [(0, 10, True), (10, 30, False), (30, 100, True)]),
        ([(0, 10), (10, 10)], 20, [(0, 10, False), (10, 20, False)]),
        ([(0, 10), (90, 10), (100, 0)], 100, [(0, 10, False), (10, 90, True), (90, 100, False)]),
    ],
)
def test_pieces_of_a_content_are_its_data_and_its_holes(
    parts: list[tuple[int, int]] | None, size: int, pieces: list[tuple[int, int, bool]]
) -> None:
    info = tarfile.TarInfo("x")
    info.size, info.sparse = size, parts  # type: ignore[assignment]
    assert list(pieces_of(info)) == pieces


def changed(**attributes: Any) -> bytes:
    """Return an archive with one file, some of whose attributes are others."""
    headers = attributes.pop("pax_headers", {})
    one = member(f"{TOP}/a", b"content", **headers)
    for name, value in attributes.items():
        setattr(one[0], name, value)
    return stream([folder(), one])


@pytest.mark.parametrize(
    ("attributes", "is_same"),
    [
        ({}, True),
        ({"uname": "alice"}, True),
        ({"gname": "staff"}, True),
        ({"pax_headers": {"comment": "x"}}, True),
        ({"mode": 0o600}, False),
        ({"uid": 1}, False),
        ({"gid": 1}, False),
        ({"mtime": 1}, False),
        ({"mtime": 0.5}, False),
        ({"pax_headers": {"SCHILY__xattr__user__x": "y"}}, False),
        ({"pax_headers": {"SCHILY__acl__access": "user::rw-"}}, False),
    ],
)
def test_a_content_is_another_one_where_what_comes_back_is(attributes: dict[str, Any], is_same: bool) -> None:
    one, other = manifest_of(changed()), manifest_of(changed(**attributes))
    assert (one.content == other.content) is is_same
    assert one.digest == other.digest  # that is of paths and bytes alone


def test_attributes_cannot_pass_for_one_another() -> None:
    headers: list[dict[str, str]] = [
        {"SCHILY__xattr__user__a": "b", "SCHILY__xattr__user__c": "d"},
        {"SCHILY__xattr__user__a": "b\0SCHILY.xattr.user.c=d"},
        {"SCHILY__xattr__user__a": "bd", "SCHILY__xattr__user__c": ""},
    ]
    assert len({manifest_of(changed(pax_headers=one)).content for one in headers}) == len(headers)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((b"0", b"a", "x", b""), (b"0", b"ax", "", b"")),
        ((b"2", b"a", "", b"b"), (b"2", b"a\nb", "", b"")),
        ((b"0", b"a", "x", b""), (b"1", b"a", "x", b"")),
        ((b"2", b"", "", b"a"), (b"2", b"a", "", b"")),
    ],
)
def test_lines_of_different_members_are_different(one: Any, other: Any) -> None:
    assert manifest_line(*one) != manifest_line(*other)


def test_without_digests_members_are_counted_and_shown_all_the_same() -> None:
    content = stream([folder(), member(f"{TOP}/a", b"12345"), member(f"{TOP}/b", b"1")])
    shown: list[str] = []
    manifest = manifest_of(content, digested=False, visit=lambda one: shown.append(one.name))
    assert (manifest.entries, manifest.bytes, manifest.digest, manifest.content) == (3, 6, "", "")
    assert shown == [TOP, f"{TOP}/a", f"{TOP}/b"]


def test_an_empty_archive_has_a_digest_of_nothing_and_what_is_none_is_an_error() -> None:
    nothing = hashlib.sha256().hexdigest()
    empty = manifest_of(bytes(10240))
    assert (empty.entries, empty.digest, empty.content) == (0, nothing, nothing)
    with pytest.raises(tarfile.TarError):
        manifest_of(b"no archive" * 100)
    with pytest.raises(tarfile.TarError):
        manifest_of(stream([folder(), member(f"{TOP}/a", bytes(5000))])[:3000])
