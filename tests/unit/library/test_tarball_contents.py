"""Module tarball_contents, in process on real tarballs: folders of one, names in many, and differences between two."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import is_as_documented, marked, put, reasons, run_module, tree_hash

from ansible_collections.altbackup.core.plugins.plugin_utils.report.results import read_result

OLD, NEW = (f"svn/dybsvn/2013/05/{day}/104701/dybsvn-{revision}.tar.zst" for day, revision in ((10, 7), (11, 8)))


def pack(base: Path, relpath: str, files: dict[str, bytes]) -> None:
    """Add a tarball of some files to a base, with the folders above them."""
    top = relpath.rsplit("/", 1)[-1].removesuffix(".tar.zst")
    folder = base.parent / "made" / top
    for name, content in files.items():
        path = os.fsencode(folder) + b"/" + os.fsencode(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(os.fsdecode(path)).write_bytes(content)
    (folder / "link").symlink_to("format")
    done = subprocess.run(
        ["tar", "--create", "--zstd", "--format=posix", "--file=-", "--directory", folder.parent, top],
        capture_output=True,
        check=True,
    )
    put(base, relpath, done.stdout)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Return a base with two tarballs of one repository."""
    base = marked(tmp_path / "dayabay")
    pack(base, OLD, {"format": b"5\n", "conf/passwd": b"old", "conf/authz": b"a" * 100, "db/gone": b"12345"})
    pack(base, NEW, {"format": b"5\n", "conf/passwd": b"new!", "conf/authz": b"a" * 100, "db/came\n%41\udcff": b"123"})
    return base


def look(base: Path, *relpaths: str, **options: Any) -> dict[str, Any]:
    """Call the module; its result must be as documented, and acceptable to the controller."""
    before = tree_hash(base)
    tarballs = [{"relpath": path} for path in relpaths]
    result = run_module("tarball_contents", base=str(base), tarballs=tarballs, more=options)
    assert tree_hash(base) == before
    assert is_as_documented("tarball_contents", result)
    read = read_result(result)
    assert (read["contents"], read["totals"], read["failures"]) == (
        result["contents"],
        result["totals"],
        result["failures"],
    )
    return result


def paths(result: dict[str, Any]) -> list[str]:
    return [entry["path"] for entry in result["contents"]]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({}, ["conf", "db", "format", "link"]),
        ({"path": "conf"}, ["conf/authz", "conf/passwd"]),
        ({"path": "/conf/passwd/"}, ["conf/passwd"]),
        ({"path": "db", "recursive": True}, ["db/came%0A%2541%FF"]),
        ({"path": "db/came%0A%2541%FF"}, ["db/came%0A%2541%FF"]),
        ({"recursive": True, "most": 3}, ["conf", "conf/authz", "conf/passwd"]),
    ],
)
def test_a_folder_of_a_tarball_is_listed(base: Path, options: dict[str, Any], found: list[str]) -> None:
    assert paths(look(base, NEW, **options)) == found


def test_a_folder_that_is_not_entered_tells_what_is_below(base: Path) -> None:
    result = look(base, NEW)
    conf, _, form, link = result["contents"]
    assert (conf["type"], conf["size"], conf["entries"]) == ("folder", 104, 2)
    assert (form["type"], form["size"], link["type"], link["target"]) == ("file", 2, "link", "format")
    assert result["totals"] == {"entries": 7, "bytes": 109, "listed": 4}


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("passwd", [(NEW, "conf/passwd"), (OLD, "conf/passwd")]),
        ("conf/passwd", [(NEW, "conf/passwd"), (OLD, "conf/passwd")]),
        ("g*e", [(OLD, "db/gone")]),
        ("*/gone", [(OLD, "db/gone")]),
        ("pass", []),
    ],
)
def test_a_name_is_found_in_all_tarballs(base: Path, name: str, found: list[tuple[str, str]]) -> None:
    result = look(base, NEW, OLD, step="find", name=name)
    assert [(entry["relpath"], entry["path"]) for entry in result["contents"]] == found
    assert result["totals"] == {"found": len(found), "read": 2}


def test_what_differs_between_two_is_told(base: Path) -> None:
    result = look(base, OLD, NEW, step="diff")
    assert [(entry["path"], entry["what"], entry.get("differs")) for entry in result["contents"]] == [
        ("conf/passwd", "changed", ["content"]),
        ("db/came%0A%2541%FF", "added", None),
        ("db/gone", "removed", None),
    ]
    assert result["totals"] == {
        "added": 1,
        "removed": 1,
        "changed": 1,
        "same": 6,
        "bytes_added": 3,
        "bytes_removed": 5,
        "bytes_changed": 4,
        "bytes_before": 3,
    }
    assert look(base, OLD, NEW, step="diff", path="conf")["totals"]["same"] == 2


def test_of_a_damaged_tarball_the_failure_tells_and_the_others_are_read(base: Path) -> None:
    path = base / NEW
    path.write_bytes(path.read_bytes()[:60])
    result = look(base, NEW, OLD, step="find", name="passwd", fail=False)
    assert [entry["relpath"] for entry in result["contents"]] == [OLD]
    (entry,) = result["failures"]
    assert entry["relpath"] == NEW and f"{path}" in entry["reason"]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"path": "conf/passwort"}, "'conf/passwort' is not in it, did you mean 'conf/passwd'?"),
        ({"path": "zzz"}, "'zzz' is not in it, known are conf, db, format, link"),
        ({"path": "../x"}, "none inside a tarball"),
        ({"step": "find"}, "no name is given"),
        ({"step": "diff"}, "two tarballs are compared"),
        ({"most": 0}, "not a number from 1"),
        ({"tarballs": [{"relpath": "../../etc/passwd"}]}, "is not <category>/<name>"),
    ],
)
def test_what_cannot_be_done_is_a_failure(base: Path, options: dict[str, Any], why: str) -> None:
    given = {"tarballs": [{"relpath": NEW}], **options}
    result = run_module("tarball_contents", base=str(base), more=given)
    assert result["failed"] and why in reasons(result)[0]
    assert is_as_documented("tarball_contents", result)


def test_of_many_names_beside_one_that_is_not_there_none_is_told(tmp_path: Path) -> None:
    base = marked(tmp_path / "dayabay")
    pack(base, OLD, {"format": b"5\n", **{f"many/{number:04}": b"x" for number in range(100)}})
    result = run_module("tarball_contents", base=str(base), tarballs=[{"relpath": OLD}], path="many/zzz")
    assert reasons(result) == ["'many/zzz' is not in it, look into 'many' for what is"]


FULL = "folders/small/2013/05/10/104701/small.tar.zst"
DIFFERENTIAL = "folders/small/2013/05/11/104701/small.diff.tar.zst"


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Return a base with a full tarball of a folder, and the folder."""
    base, live = marked(tmp_path / "dayabay"), tmp_path / "small"
    for name in ("stays", "changes", "goes", "turns/below", "sub/deep/file", "sub/gone/file"):
        (live / name).parent.mkdir(parents=True, exist_ok=True)
        (live / name).write_text(name)
    pack_differential(base, live, FULL)
    return base, live


def pack_differential(base: Path, live: Path, relpath: str) -> None:
    """Add GNU tar's differential of a folder since the last tarball to a base."""
    snapshot = f"--listed-incremental={base.parent}/snapshot"
    form = ["--zstd", "--format=posix", "--no-check-device", "--file=-", "--directory", str(live.parent)]
    done = subprocess.run(["tar", "--create", snapshot, *form, live.name], capture_output=True, check=True)
    put(base, relpath, done.stdout)


def look_at_pair(base: Path, *others: str, **options: Any) -> dict[str, Any]:
    """Call the module for the differential, or first for another tarball."""
    tarballs = [
        *({"relpath": path} for path in others),
        {"relpath": DIFFERENTIAL, "base": "/".join(FULL.split("/")[2:])},
    ]
    return run_module("tarball_contents", base=str(base), tarballs=tarballs, more=options)


def test_a_differential_is_shown_as_it_comes_back_with_its_full_tarball(pair: tuple[Path, Path]) -> None:
    base, live = pair
    (live / "new").mkdir()  # before others are removed, whose inodes it could reuse and so look like a renamed one
    (live / "new" / "file").write_text("new")
    (live / "changes").write_text("is changed")
    (live / "goes").unlink()
    shutil.rmtree(live / "sub" / "gone")
    shutil.rmtree(live / "turns")
    (live / "turns").write_text("a file now")
    pack_differential(base, live, DIFFERENTIAL)
    there = sorted(str(path.relative_to(live)) for path in live.rglob("*"))
    result = look_at_pair(base, recursive=True)
    assert reasons(result) == []
    assert paths(result) == there
    sizes = {entry["path"]: entry["size"] for entry in result["contents"] if entry["type"] == "file"}
    assert sizes == {path: (live / path).stat().st_size for path in sizes}
    result = look_at_pair(base, FULL, step="diff")
    assert [(entry["what"], entry["path"]) for entry in result["contents"]] == [
        ("changed", "changes"),
        ("removed", "goes"),
        ("added", "new"),
        ("added", "new/file"),
        ("removed", "sub/gone"),
        ("removed", "sub/gone/file"),
        ("changed", "turns"),
        ("removed", "turns/below"),
    ]
    assert [entry["path"] for entry in look_at_pair(base, step="find", name="file")["contents"]] == [
        "new/file",
        "sub/deep/file",
    ]


def test_a_differential_that_renames_is_left_to_a_restore(pair: tuple[Path, Path]) -> None:
    base, live = pair
    (live / "sub" / "deep").rename(live / "moved")
    pack_differential(base, live, DIFFERENTIAL)
    result = look_at_pair(base)
    assert "renames folders, which only a restore follows" in reasons(result)[0]


def test_without_the_file_of_a_key_what_is_not_encrypted_is_seen(base: Path, tmp_path: Path) -> None:
    assert look(base, NEW, identity_file=str(tmp_path / "not here"))["failures"] == []
