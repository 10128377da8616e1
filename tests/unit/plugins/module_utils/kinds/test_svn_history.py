"""Findings of a dump on a Subversion repository's revisions since the last good one: rotten, rewritten, packed, created anew."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from helpers.repositories import Nights, load_subversion, make_subversion, run, set_revision_property

from ansible_collections.altbackup.core.plugins.module_utils.kinds.svn_history import (
    Contents,
    doubt_of,
    revision_files,
)


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    """Return a base where items are dumped night by night."""
    return Nights(tmp_path)


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """Return a repository of ten revisions, in folders of four."""
    return make_subversion(tmp_path / "live", 10, shard=4)


def item(live: Path) -> dict[str, Any]:
    """Return the item of a repository."""
    return {"kind": "svn", "name": "toy", "path": str(live)}


def found(nights: Nights, live: Path, night: int, **options: Any) -> dict[str, Any]:
    """Dump a repository, which may be suspect, and return its record."""
    result = nights.dump(item(live), night=night, **options)
    assert result["tarballs"], result["failures"]
    return {"doubts": [], **result["tarballs"][0]["record"]}


def flip(path: Path) -> None:
    """Change a byte in the middle of a file, which stat shows only in its times."""
    mode = path.stat().st_mode
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    path.chmod(mode)


def test_record_tells_uuid_and_revisions(nights: Nights, live: Path) -> None:
    record = found(nights, live, 1)
    assert record["identity"] == {"uuid": record["uuid"]}
    assert record["measures"] == {"revisions": 10}
    assert record["doubts"] == []


@pytest.mark.sampled(3)
@pytest.mark.parametrize("file", ["db/revs/0/2", "db/revs/1/4", "db/revs/2/10"])
def test_rot_in_the_scratch_is_doubtful_in_that_night_and_copied_anew_in_the_next(
    nights: Nights, live: Path, file: str
) -> None:
    first = nights.tarball(item(live), night=1)
    flip(nights.private / "scratch" / "svn" / "toy" / file)
    (doubt,) = found(nights, live, 2)["doubts"]
    assert doubt.startswith(
        "revisions never change, but these are not what they were at the dump of 2013/05/01/020000: db/revs/"
    )
    assert "the next dump copies all of it anew" in doubt
    third = nights.dump(item(live), night=3)
    assert not third["failures"]
    assert Path(third["tarballs"][0]["path"]).samefile(first)


def test_rot_in_a_packed_folder_of_the_scratch_is_doubtful(nights: Nights, live: Path) -> None:
    run("svnadmin", "pack", "--quiet", live)
    found(nights, live, 1)
    flip(nights.private / "scratch" / "svn" / "toy" / "db" / "revs" / "1.pack" / "pack")
    (doubt,) = found(nights, live, 2)["doubts"]
    assert "db/revs/1.pack/pack" in doubt


def test_rot_beside_commits_is_doubtful_or_what_they_build_on_and_mended(nights: Nights, live: Path) -> None:
    found(nights, live, 1)
    load_subversion(live, 11, 14)
    flip(nights.private / "scratch" / "svn" / "toy" / "db" / "revs" / "0" / "2")
    doubts = found(nights, live, 2)["doubts"]
    assert (doubts and "db/revs/0 (revisions 0 to 3)" in doubts[0]) or any(
        "built anew" in note for note in nights.notes
    )


def test_revision_file_missing_from_the_scratch_is_copied_again(nights: Nights, live: Path) -> None:
    first = nights.tarball(item(live), night=1)
    (nights.private / "scratch" / "svn" / "toy" / "db" / "revs" / "0" / "3").unlink()
    assert nights.tarball(item(live), night=2).samefile(first)


@pytest.mark.full
def test_rewritten_history_of_the_same_uuid_is_doubtful_each_night(nights: Nights, live: Path) -> None:
    found(nights, live, 1)
    shutil.rmtree(live)
    make_subversion(live, 0, shard=4)
    load_subversion(live, 1, 12, word="another")
    folders = set()
    for night in (2, 3, 4, 5):
        if night == 4:
            load_subversion(live, 13, 14, word="another")
        (doubt,) = found(nights, live, night)["doubts"]
        assert "db/revs/0 (revisions 0 to 3)" in doubt and "db/revs/2 (revisions 8 to 10)" in doubt
        assert "the repository itself holds something else" in doubt
        folders.add((nights.private / "scratch" / "svn" / "toy").stat().st_ino)
    assert len(folders) == 1


@pytest.mark.full
def test_scratch_that_rots_while_a_suspect_is_not_accepted_is_copied_anew(nights: Nights, live: Path) -> None:
    test_rewritten_history_of_the_same_uuid_is_doubtful_each_night(nights, live)
    scratch = nights.private / "scratch" / "svn" / "toy"
    before = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY)  # held open: another folder cannot get its number
    flip(scratch / "db" / "revs" / "0" / "2")
    for night, word in ((6, "the next dump copies all of it anew"), (7, "the repository itself holds something else")):
        (doubt,) = found(nights, live, night)["doubts"]
        assert word in doubt
    assert not os.path.samestat(scratch.stat(), os.fstat(before))
    os.close(before)


def test_new_uuid_is_another_identity_of_which_no_revision_is_compared(nights: Nights, live: Path) -> None:
    before = found(nights, live, 1)
    shutil.rmtree(live)
    make_subversion(live, 10, shard=4, uuid="11111111-9b1c-4a5e-8f58-0123456789ab")
    record = found(nights, live, 2)
    assert record["identity"] != before["identity"]
    assert record["doubts"] == []


DAILY = {
    "commits": lambda live: load_subversion(live, 11, 17),
    "packed": lambda live: run("svnadmin", "pack", "--quiet", live),
    "commits and packed": lambda live: [load_subversion(live, 11, 20), run("svnadmin", "pack", "--quiet", live)],
    "revision properties": lambda live: set_revision_property(live, 3, "better"),
    "cache gone": lambda live: (live / "db" / "rep-cache.db").unlink(),
    "a transaction": lambda live: run("svnadmin", "lstxns", live),
}


@pytest.mark.sampled(12)
@pytest.mark.parametrize("verify_every", [1, 10**6])
@pytest.mark.parametrize("step", DAILY)
def test_daily_life_is_not_doubtful(nights: Nights, live: Path, step: str, verify_every: int) -> None:
    options = {"verify_every": verify_every}
    nights.tarball(item(live), night=1, **options)
    DAILY[step](live)
    for night in (2, 3):
        result = nights.dump(item(live), night=night, **options)
        assert not result["failures"], result["failures"][0]["reason"]
        assert not result["tarballs"][0]["record"].get("doubts")


def test_repository_of_the_oldest_layout_is_compared(nights: Nights, tmp_path: Path) -> None:
    live = make_subversion(tmp_path / "old", 6, compatible="1.4")
    found(nights, live, 1)
    load_subversion(live, 7, 8)
    assert found(nights, live, 2)["doubts"] == []
    flip(nights.private / "scratch" / "svn" / "toy" / "db" / "revs" / "5")
    (doubt,) = found(nights, live, 3)["doubts"]
    assert "db/revs (revisions 0 to 8)" in doubt


def test_what_was_noted_and_is_damaged_is_a_doubt_that_names_the_file(nights: Nights, live: Path) -> None:
    record = found(nights, live, 1)
    path = nights.private / "noted" / "svn" / "toy" / record["noted"]["revisions"]
    path.write_bytes(b"{}")
    load_subversion(live, 11, 11)
    (doubt,) = found(nights, live, 2)["doubts"]
    assert str(path) in doubt


def asked(contents: Mapping[str, str]) -> Any:
    """Return a function that looks up the contents of files."""

    def told(paths: Sequence[str]) -> dict[str, Sequence[Any]]:
        return {path: (1, contents[path]) for path in paths if path in contents}

    return told


def contents(files: Mapping[str, str], youngest: int = 10) -> Contents:
    """Return the Contents of archived files, {path: digest}."""
    names = {f"./{path}": 1 for path in files}
    folders = {os.path.dirname(name): 1 for name in names}
    return Contents(asked(files), map(os.fsencode, [*folders, *names]), youngest)


def test_files_of_revisions_are_told_from_all_others() -> None:
    names = [
        b"./db/revs/0/0",
        b"./db/revs/0/10",
        b"./db/revs/0/9",
        b"./db/revs/0/11",
        b"./db/revs/1.pack/pack",
        b"./db/revs/1.pack/manifest",
        b"./db/revs/7",
        b"./db/revprops/0/1",
        b"./db/revs/0",
        b"./db/transactions/1-1.txn/revs/0/1",
        b"./db/revs/0/9.tmp",
    ]
    folders, packs = revision_files(names, 10)
    assert folders == {"db/revs/0": [0, 9, 10], "db/revs": [0, 7]}
    assert packs == ["db/revs/1.pack/manifest", "db/revs/1.pack/pack"]


def test_only_what_both_have_is_compared() -> None:
    known = contents({f"db/revs/0/{number}": "a" for number in range(4)}, 3).note()
    more = contents({f"db/revs/0/{number}": "a" if number < 4 else "b" for number in range(8)})
    assert [*more.compare(known)] == []
    assert [*contents({"db/revs/0.pack/pack": "x"}).compare(known)] == []
    assert [*contents({}).compare(known)] == ["db/revs/0 (revisions 0 to 3)"]
    assert [*contents({"db/revs/0/0": "a"}).compare(known)] == ["db/revs/0 (revisions 0 to 3)"]
    packed = contents({"db/revs/0.pack/pack": "x"}).note()
    assert [*contents({"db/revs/0.pack/pack": "y"}).compare(packed)] == ["db/revs/0.pack/pack"]


def test_repository_that_went_back_is_compared_as_far_as_it_goes() -> None:
    files = {"db/revs/0.pack/pack": "x", **{f"db/revs/1/{number}": "a" for number in range(4, 8)}, "db/revs/2/8": "a"}
    known = contents(files, 8).note()
    back = {"db/revs/0.pack/pack": "x", **{f"db/revs/1/{number}": "a" for number in range(4, 7)}}
    assert [*contents(back, 6).compare(known)] == []
    assert [*contents({**back, "db/revs/0.pack/pack": "y"}, 6).compare(known)] == ["db/revs/0.pack/pack"]
    assert [*contents({"db/revs/0/0": "z"}, 0).compare(known)] == []
    full = {**files, "db/revs/1/5": "b"}
    del full["db/revs/2/8"]
    assert [*contents(full, 7).compare(known)] == ["db/revs/1 (revisions 4 to 7)"]


def test_folders_of_revisions_are_none_themselves() -> None:
    known = contents({"db/revs/0/0": "a", "db/revs/1/4": "b"}).note()
    assert [folder for folder, *_ in known["folders"]] == ["db/revs/0", "db/revs/1"]
    assert not contents({"db/revs/0.pack/pack": "x", "db/revs/1/4": "b"}).compare(known)


def test_notes_are_a_few_words_for_each_folder() -> None:
    files = {f"db/revs/{number // 1000}/{number}": "a" * 64 for number in range(50_000)}
    assert len(str(contents(files, 50_000).note())) < 50 * 200


def test_doubt_tells_where_the_fault_can_be() -> None:
    assert "scratch copy rotted" in doubt_of(["db/revs/0/1"], "2013/05/01/020000", confirmed=False)
    assert "repository itself" in doubt_of(["db/revs/0/1"], "2013/05/01/020000", confirmed=True)
