"""A store as rclone has it: its files, and nothing secret in what is seen of a call."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from helpers.stores import BUCKET, PASSWORD, SECRET, Place, served, sync

from ansible_collections.altbackup.core.plugins.module_utils.stores.remote import Missing, Object, Remote
from ansible_collections.altbackup.core.plugins.module_utils.stores.settings import Secrets, Store
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError, ToolFailed
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline


def remote_of(disk: Place) -> Remote:
    """Return a disk as rclone has it."""
    return Remote(Store("vault", disk.options["remote"]), Secrets(), Deadline(300, "store step"))


def test_secrets_reach_neither_arguments_nor_messages(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = tmp_path / "seen"
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "rclone").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >>{seen}\nexec /usr/bin/rclone -vv "$@"\n')
    (tools / "rclone").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/sbin:/usr/bin:/sbin:/bin")
    with served("s3", tmp_path / "store") as place:
        place.s3.delete_bucket(Bucket=BUCKET)
        result = sync(place, base)
        assert result["failures"] and SECRET not in json.dumps(result) and SECRET not in seen.read_text()
        assert PASSWORD not in json.dumps(result)


def test_files_are_put_listed_read_linked_and_removed(disk: Place, tmp_path: Path) -> None:
    remote = remote_of(disk)
    assert (remote.listing("dayabay"), remote.is_empty()) == ([], False), "its marker is there"
    (tmp_path / "svn").mkdir()
    (tmp_path / "svn" / "x").write_bytes(b"small")
    remote.put(str(tmp_path), ["svn/x"], "dayabay")
    remote.link("dayabay/svn/x", "dayabay/svn/y")
    assert sorted(remote.listing("dayabay"), key=str) == [Object(f"dayabay/svn/{name}", 5) for name in "xy"]
    assert (remote.content("dayabay/svn/x"), remote.content("dayabay/svn/x", 3)) == (b"small", b"smal")
    assert remote.digest("dayabay/svn/x", "sha256", 99) == (hashlib.sha256(b"small").hexdigest(), 5)
    for _ in range(2):
        remote.remove("dayabay/svn/x")
    with pytest.raises(Missing, match="dayabay/svn/x"):
        remote.content("dayabay/svn/x")


def test_a_file_is_put_under_any_name_and_never_over_another(disk: Place, tmp_path: Path) -> None:
    remote = remote_of(disk)
    disk.write("a/one", b"another one")
    for name in ("one", " two"):
        (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(ToolFailed, match="immutable"):
        remote.put(str(tmp_path), ["one"], "a")
    for _ in range(2):
        remote.put(str(tmp_path), [" two"], "a")
    assert (remote.content("a/one"), remote.content("a/ two")) == (b"another one", b"mine")


@pytest.mark.parametrize("way", ["copy", "link"])
def test_a_second_copy_is_never_made_over_another_file(way: str, disk: Place) -> None:
    remote = remote_of(disk)
    disk.write("a/one", b"mine")
    disk.write("a/two", b"of somebody else")
    with pytest.raises(FileExistsError):
        getattr(remote, way)("a/one", "a/two")
    assert remote.content("a/two") == b"of somebody else"
    getattr(remote, way)("a/one", "a/b/three")
    assert remote.content("a/b/three") == b"mine"


def test_several_files_are_put_in_their_order_and_never_over_others(disk: Place, tmp_path: Path) -> None:
    remote = remote_of(disk)
    disk.write("a/one", b"another one")
    (tmp_path / "here/a").mkdir(parents=True)
    for name in ("one", "two"):
        (tmp_path / "here/a" / name).write_bytes(b"mine")
    remote.put(str(tmp_path / "here"), ["a/two"])
    with pytest.raises(ToolFailed, match=r"vault: putting .*a/two: rclone failed .*immutable"):
        remote.put(str(tmp_path / "here"), ["a/one", "a/two"])
    assert disk.files() == {"a/one": b"another one", "a/two": b"mine"}


def test_what_is_fetched_is_what_is_there_and_no_more_than_was_told(disk: Place, tmp_path: Path) -> None:
    remote = remote_of(disk)
    disk.write("a/one", b"1" * 2000)
    disk.write("a/two", b"2" * 2000)
    remote.fetch(["a/one", "a/none"], str(tmp_path / "here"), 2000)
    assert [path.name for path in (tmp_path / "here").rglob("*") if path.is_file()] == ["one"]
    with pytest.raises(AltbackupError, match="max transfer limit"):
        remote.fetch(["a/two"], str(tmp_path / "there"), 1000)
