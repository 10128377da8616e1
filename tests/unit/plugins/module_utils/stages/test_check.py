"""Checking as functions: what the modules' tests cannot bring about."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import DAY, STAMP, link, marked, put, reasons

from ansible_collections.altbackup.core.plugins.module_utils.stages import check
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput
from ansible_collections.altbackup.core.plugins.module_utils.tree.sidecar import Dna
from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import Moment

NOW = Moment("2013/05/31/235959", "2013/05/31/235959")

CONTENT = b"abc" * 1000
MD5 = hashlib.md5(CONTENT).hexdigest()
SHA = hashlib.sha256(CONTENT).hexdigest()


def test_names_of_one_file_share_one_reading(tmp_path: Path) -> None:
    base = marked(tmp_path / "b")
    one = put(base, f"svn/x/{STAMP}/x-1.tar", CONTENT)
    two = link(base, f"svn/x/{STAMP}/x-1.tar", "svn/x/2013/05/11/104701/x-1.tar")
    other = put(base, f"svn/y/{STAMP}/y-1.tar", CONTENT)
    dna = Dna(SHA, len(CONTENT))
    read = check.digests({str(one): dna, str(two): dna, str(other): dna})
    assert read[str(one)] == read[str(other)] == (SHA, len(CONTENT))
    assert read[str(one)] is read[str(two)]
    assert read[str(one)] is not read[str(other)]


def test_a_file_is_digested_by_the_algorithm_of_each_name(tmp_path: Path) -> None:
    base = marked(tmp_path / "b")
    one = put(base, f"svn/x/{STAMP}/x-1.tar", CONTENT)
    two = link(base, f"svn/x/{STAMP}/x-1.tar", "svn/x/2013/05/11/104701/x-1.tar")
    read = check.digests({str(one): Dna("", 1, "md5"), str(two): Dna("", 1, "sha256"), "/missing": Dna("", 1)})
    assert (read[str(one)], read[str(two)]) == ((MD5, len(CONTENT)), (SHA, len(CONTENT)))
    assert isinstance(read["/missing"], FileNotFoundError)


def shrink(path: Path) -> None:
    """Cut a file."""
    os.truncate(path, 10)


@pytest.mark.parametrize(
    ("meanwhile", "reason"),
    [
        (shrink, "has 10 bytes, but its dna says 3000"),
        (Path.unlink, "could not be read: No such file or directory"),
        (lambda path: path.write_bytes(CONTENT + b"x"), "has 3001 bytes, but its dna says 3000"),
        (lambda path: path.write_bytes(CONTENT[::-1]), "does not match its dna: sha256 is"),
    ],
)
@pytest.mark.parametrize("by_path", [True, False])
def test_what_happens_to_a_file_meanwhile_is_seen_and_stops_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, meanwhile: Callable[[Path], Any], reason: str, by_path: bool
) -> None:
    base = marked(tmp_path / "b")
    bad = put(base, f"svn/bad/{STAMP}/bad-1.tar", CONTENT)
    good = put(base, f"svn/good/{STAMP}/good-1.tar", CONTENT)
    digests = check.digests

    def late(dnas: Mapping[str, Dna]) -> Any:
        meanwhile(bad)
        return digests(dnas)

    monkeypatch.setattr(check, "digests", late)
    if by_path:
        result = check.verify_paths([str(bad), str(good)])
    else:
        result = check.verify_base(str(base), DAY)
    prefix = f"{base}/" if by_path else ""
    assert result["match"] == [f"{prefix}svn/good/{STAMP}/good-1.tar"]
    assert result["mismatch"] == [f"{prefix}svn/bad/{STAMP}/bad-1.tar"]
    assert len(result["failures"]) == 1
    assert f"svn/bad/{STAMP}/bad-1.tar {reason}" in reasons(result)[0]


def test_a_tarball_that_is_still_written_gets_no_sidecar(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = put(tmp_path, "x-1.tar", CONTENT, None)
    digest_file = check.digest_file

    def grows(name: str, algorithm: str) -> tuple[str, int]:
        result = digest_file(name, algorithm)
        with path.open("ab") as stream:
            stream.write(b"more")
        return result

    monkeypatch.setattr(check, "digest_file", grows)
    result = check.write_dnas([str(path)], "sha256", False)
    assert reasons(result) == [f"{path} changed while it was read: is it still being written?"]
    assert not Path(f"{path}.dna").exists()


def test_force_replaces_a_dna_but_not_what_a_differential_stands_on(tmp_path: Path) -> None:
    text = '{"dig": "%s", "size": 3000, "alg": "md5", "base": "2013/05/01/104701/x-1.tar", "base_dig": "%s"}' % (
        SHA[:32],
        SHA,
    )
    path = put(tmp_path, "x-2.diff.tar", CONTENT, text)
    assert check.write_dnas([str(path)], "sha256", True)["changed"]
    expected = '{"dig": "%s", "size": 3000, "alg": "sha256", "base": "2013/05/01/104701/x-1.tar", "base_dig": "%s"}\n'
    assert Path(f"{path}.dna").read_text() == expected % (SHA, SHA)


@pytest.mark.parametrize("predicted", ["x", "svn/x", f"svn/x/{STAMP}", f"svn/x/{STAMP}/other.tar", "../../etc/passwd"])
def test_what_is_predicted_must_be_a_path_of_a_tarball(tmp_path: Path, predicted: str) -> None:
    base = marked(tmp_path / "b")
    with pytest.raises(InvalidInput, match="is not <category>/<name>/"):
        check.count(str(base), DAY, {"x": 1}, predicted=[predicted], moment=NOW)


def test_many_tarballs_and_items_are_counted_at_once(tmp_path: Path) -> None:
    base, number = marked(tmp_path / "b"), 500
    for n in range(number):
        put(base, f"svn/name{n:05}/{STAMP}/name{n:05}-1.tar")
    start = time.process_time()
    result = check.count(str(base), DAY, {f"name{n:05}": 1 for n in range(number)}, moment=NOW)
    print(f"{number} tarballs of {number} names counted in {time.process_time() - start:.2f} s")
    assert result["failures"] == []
    start = time.process_time()
    result = check.count(str(base), DAY, {f"other{n:05}": 1 for n in range(number)}, items=[], moment=NOW)
    print(f"{number} unexpected ones named in {time.process_time() - start:.2f} s")
    assert len(result["failures"]) == 2 * number


def test_what_is_not_there_is_marked_so_and_what_is_wrong_is_not(tmp_path: Path) -> None:
    base = marked(tmp_path / "base")
    count = check.count(str(base), DAY, {"dybsvn": 1}, moment=NOW)
    assert [entry.get("absent") for entry in count["failures"]] == [True]
    verified = check.verify_base(str(base), DAY)
    assert [entry.get("absent") for entry in verified["failures"]] == [True]
    put(base, f"svn/dybsvn/{STAMP}/dybsvn-4.tar.gz")
    too_many = check.count(str(base), DAY, {"dybsvn": 0}, moment=NOW)
    assert too_many["failures"] and not any("absent" in entry for entry in too_many["failures"])
