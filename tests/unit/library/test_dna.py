"""Module dna, in process on real files."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import bound_by_modes, modern_text, original_text, put, reasons, run_module, tree_hash

from ansible_collections.altbackup.core.plugins.module_utils.tree import locks

CONTENT = b"a tarball's bytes"
OTHER = b"another tarball!!"


def run(*paths: Path, check: bool = False, **options: Any) -> dict[str, Any]:
    """Run the module on paths."""
    return run_module("dna", path=[str(path) for path in paths], check=check, **options)


@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz", "x-12.tar.zst", 'it\'s "odd" $x-1.tar', "ünï-1.tar"])
def test_sidecar_is_written_once(tmp_path: Path, name: str) -> None:
    path = put(tmp_path, name, CONTENT, None)
    before = tree_hash(tmp_path)
    predicted = run(path, check=True)
    assert predicted["changed"]
    assert tree_hash(tmp_path) == before
    result = run(path)
    assert result["changed"]
    assert {key: predicted[key] for key in ("dna", "failures")} == {key: result[key] for key in ("dna", "failures")}
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert result["dna"] == [{"path": str(path), "dig": digest, "size": len(CONTENT), "alg": "sha256"}]
    assert Path(f"{path}.dna").read_text() == modern_text(CONTENT)
    assert Path(f"{path}.dna").stat().st_mode & 0o777 == 0o600
    after = tree_hash(tmp_path)
    again = run(path)
    assert not again["changed"]
    assert again["dna"] == result["dna"]
    assert tree_hash(tmp_path) == after


def test_md5_is_byte_for_byte_that_of_the_original(tmp_path: Path) -> None:
    path = put(tmp_path, "x.tar.gz", CONTENT, None)
    run(path, algorithm="md5")
    digest = hashlib.md5(CONTENT).hexdigest()
    assert Path(f"{path}.dna").read_bytes() == b"{'dig': '%s', 'size': 17}\n" % digest.encode()


@pytest.mark.parametrize("algorithm", ["sha256", "sha512", "md5"])
@pytest.mark.parametrize("force", [False, True])
def test_sidecar_that_matches_is_left_as_it_is_in_whatever_form(tmp_path: Path, algorithm: str, force: bool) -> None:
    text = original_text(CONTENT).replace("}", "L}").replace("\n", "\r\n")
    path = put(tmp_path, "x.tar.gz", CONTENT, text)
    before = tree_hash(tmp_path)
    result = run(path, algorithm=algorithm, force=force)
    assert not result["changed"]
    assert result["dna"][0]["alg"] == "md5"
    assert tree_hash(tmp_path) == before


DAMAGED = {
    "does not match its dna: sha256 is": modern_text(OTHER),
    "does not match its dna: md5 is": original_text(OTHER),
    "expected .* over 18": modern_text(CONTENT + b"x"),
    "has a malformed dna: it is empty": "\n",
    "has a malformed dna: .* is not one mapping": "{'dig': __import__('os').system('false'), 'size': 17}",
}


@pytest.mark.parametrize(("why", "text"), DAMAGED.items())
def test_sidecar_that_does_not_match_is_left_alone_unless_forced(tmp_path: Path, why: str, text: str) -> None:
    good, bad = put(tmp_path, "good.tar", CONTENT, None), put(tmp_path, "bad.tar", CONTENT, text)
    for check in (True, False):
        result = run(bad, good, check=check)
        assert result["failed"]
        assert result["msg"] == reasons(result)[0]
        assert str(bad) in result["msg"]
        assert "force replaces" in result["msg"]
        assert re.search(why, result["msg"])
        assert Path(f"{bad}.dna").read_text() == text
        assert Path(f"{good}.dna").exists() is not check  # one bad file does not stop the others
        assert [entry["path"] for entry in result["dna"]] == [str(good)]
    before = tree_hash(tmp_path)
    assert run(bad, force=True, check=True)["changed"]
    assert tree_hash(tmp_path) == before
    assert run(bad, force=True)["changed"]
    assert Path(f"{bad}.dna").read_text() == modern_text(CONTENT)
    assert not run(bad, force=True)["changed"]


def test_each_bad_path_has_its_own_message(tmp_path: Path) -> None:
    put(tmp_path, "x.txt", CONTENT, None)
    put(tmp_path, "empty.tar", b"", None)
    (tmp_path / "folder.tar").mkdir()
    (tmp_path / "link.tar").symlink_to("x.txt")
    os.mkfifo(tmp_path / "pipe.tar")
    put(tmp_path, "dir.tar", CONTENT, None)
    (tmp_path / "dir.tar.dna").mkdir()
    before = tree_hash(tmp_path)
    names = {
        "x.txt": "is no tarball: its name ends in none of .tar.zst, .tar.gz, .tar, .tar.zst.age, .tar.gz.age, .tar.age",
        "empty.tar": "is empty, which no tarball is",
        "missing.tar": "does not exist or is no plain file",
        "folder.tar": "does not exist or is no plain file",
        "link.tar": "does not exist or is no plain file",
        "pipe.tar": "does not exist or is no plain file",
        "dir.tar": "has a dna that cannot be read: is no plain file; force replaces it",
    }
    result = run(*(tmp_path / name for name in names))
    assert reasons(result) == [f"{tmp_path / name} {why}" for name, why in names.items()]
    assert result["msg"].startswith("7 failures:\n- ")
    assert (result["changed"], result["dna"]) == (False, [])
    assert reasons(run(tmp_path / "dir.tar", force=True)) == [
        f"{tmp_path}/dir.tar.dna cannot be written: Is a directory"
    ]
    assert tree_hash(tmp_path).keys() == before.keys()


def test_unreadable_tarball_is_a_failure(tmp_path: Path) -> None:
    path = put(tmp_path, "x.tar", CONTENT, None)
    path.chmod(0)
    with bound_by_modes():
        result = run(path)
    assert reasons(result) == [f"{path} cannot be read by uid 0: Permission denied"]


def test_folder_that_cannot_be_written_is_a_failure(tmp_path: Path) -> None:
    path = put(tmp_path, "x.tar", CONTENT, None)
    tmp_path.chmod(0o500)
    with bound_by_modes():
        result = run(path)
    tmp_path.chmod(0o700)
    assert reasons(result) == [f"{path}.dna cannot be written by uid 0: Permission denied"]
    assert os.listdir(tmp_path) == ["x.tar"]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"path": []}, "no paths are given"),
        ({"path": ["x.tar"]}, "is not absolute"),
        ({"path": ["/x.tar"], "algorithm": "crc32"}, "value of algorithm must be one of"),
        ({"path": ["/x.tar"], "force": "maybe"}, "force"),
        ({}, "missing required arguments: path"),
        ({"path": ["/x.tar"], "digest": "md5"}, "Unsupported parameters"),
    ],
)
def test_bad_input_is_a_clear_message(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, options: Any, why: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.tar").write_bytes(CONTENT)
    result = run_module("dna", **options)
    assert result["failed"]
    assert why in result["msg"]


def test_failures_can_be_returned_without_failing(tmp_path: Path) -> None:
    result = run(tmp_path / "missing.tar", fail=False)
    assert not result.get("failed")
    assert result["failures"][0]["stage"] == "check"


def test_many_files_at_once_give_what_the_system_tool_gives(tmp_path: Path) -> None:
    paths = [put(tmp_path, f"{n:03}.tar", b"%d" % n * (1 + n * 100), None) for n in range(150)]
    result = run(*paths)
    assert [entry["path"] for entry in result["dna"]] == [str(path) for path in paths]
    tool = shutil.which("sha256sum")
    assert tool
    lines = subprocess.run([tool, *paths], capture_output=True, text=True, check=True).stdout.splitlines()
    assert [entry["dig"] for entry in result["dna"]] == [line.split()[0] for line in lines]
    assert not run(*paths)["changed"]


def test_given_paths_are_read_within_the_limit_and_at_the_priority(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lowered: list[tuple[int, str]] = []
    monkeypatch.setattr(locks, "lower_priority", lambda nice, ionice: lowered.append((nice, ionice)))
    path = put(tmp_path, "x.tar", CONTENT, None)
    result = run(path, step_timeout=0, nice=7)
    assert "took longer than its limit of 0 s and was ended" in reasons(result)[0]
    assert not result["changed"]
    assert lowered == [(7, "")]
