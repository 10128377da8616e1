"""A reader at work, seen by the dump: what it says of owners, and their names."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest
from helpers.trees import Base, item, needs_root

from ansible_collections.altbackup.core.plugins.module_utils.archive.write import ArchiveFormat
from ansible_collections.altbackup.core.plugins.module_utils.stages import dump_reading
from ansible_collections.altbackup.core.plugins.module_utils.system import names
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import (
    AltbackupError,
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


@needs_root
@pytest.mark.parametrize("name", ["DOMAIN\\\\jo", "domain users", "n" * 40])
def test_names_of_owners_are_those_of_the_nodes_database_not_those_of_files_that_a_view_has(
    base: Base, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    os.chown(folder / "file", 1, 70001)
    monkeypatch.setattr(names, "_user_name", lambda uid: {0: "zero", 1: name}.get(uid, ""))
    monkeypatch.setattr(names, "_group_name", lambda gid: {70001: name}.get(gid, ""))
    result = base.dump(item("folder", folder), form=ArchiveFormat(".tar"))
    with tarfile.open(result["tarballs"][0]["path"]) as archive:
        found = {entry.name: (entry.uid, entry.gid, entry.uname, entry.gname) for entry in archive}
    assert found["thing/file"] == (1, 70001, name, name)
    assert found["thing"][:3] == (0, 0, "zero")
    assert result["notes"] == []


@needs_root
@pytest.mark.parametrize("name", ["jo\nroot", "a:b", "n" * 32, "n" * 300, "\udcff", "jo\x1b[2J"])
def test_an_archive_has_numbers_alone_where_a_name_of_an_owner_is_none(
    base: Base, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    os.chown(folder / "file", 1, 70001)
    monkeypatch.setattr(names, "_user_name", lambda uid: name if uid == 1 else "root")
    result = base.dump(item("folder", folder), form=ArchiveFormat(".tar"))
    with tarfile.open(result["tarballs"][0]["path"]) as archive:
        assert {(entry.uid, entry.uname, entry.gname) for entry in archive} == {(0, "", ""), (1, "", "")}
    (note,) = result["notes"]
    assert note.startswith(
        "folders/thing: its archive has the owners' numbers without their names: this node's name of user 1 is none"
    )


@pytest.mark.parametrize(
    "value", [None, {}, [1], [[1]], [[1, 2, 3]], [[1, "2"]], [[-1, 2]], [[1, 1 << 32]], [[1.5, 2]]]
)
def test_what_a_reader_says_of_owners_is_looked_at(value: object) -> None:
    with pytest.raises(AltbackupError, match="a reader said what are no owners"):
        dump_reading._parse_owners(value)
