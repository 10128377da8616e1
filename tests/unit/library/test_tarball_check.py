"""Module tarball_check, in process on real files: it finds what dna_verify and tarball_count find, and reports it once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import (
    DAY,
    STAMP,
    bound_by_modes,
    is_as_documented,
    link,
    marked,
    original_text,
    put,
    reasons,
    run_module,
    tree_hash,
)
from helpers.trees import RUN

from ansible_collections.altbackup.core.plugins.module_utils.tree import digests
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.locks import parse_run
from ansible_collections.altbackup.core.plugins.module_utils.tree.read_ahead import Reading, keep_read_ahead
from ansible_collections.altbackup.core.plugins.module_utils.tree.scan import scan

EXPECT = {"dybsvn": 1, "svnsetup": 1}
SVN, FOLDER = f"svn/dybsvn/{STAMP}/dybsvn-1.tar", f"folders/svnsetup/{STAMP}/svnsetup.tar"
CONTENT = bytes(range(256)) * 100


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Return a base with two good tarballs."""
    base = marked(tmp_path / "dayabay")
    put(base, SVN, CONTENT)
    put(base, FOLDER, CONTENT)
    return base


def check(base: Path, **options: Any) -> dict[str, Any]:
    """Run the module."""
    return run_module("tarball_check", base=str(base), **{"day": DAY, "expect": EXPECT, **options})


def test_what_is_good_is_read_and_counted_and_nothing_changes(base: Path) -> None:
    before = tree_hash(base)
    result = check(base)
    assert not result.get("failed") and not result.get("changed")
    assert sorted(result["match"]) == [FOLDER, SVN]
    assert (result["counts"], result["bytes_read"], result["day"]) == (EXPECT, 2 * len(CONTENT), DAY)
    assert tree_hash(base) == before


@pytest.mark.parametrize(
    "options", [{}, {"scope": "all"}, {"day": "2013/05/09"}, {"predicted": [f"git/x/{STAMP}/x.tar"]}]
)
def test_it_finds_what_the_two_modules_find(base: Path, options: dict[str, Any]) -> None:
    content = bytearray(CONTENT)
    content[7] ^= 1
    (base / SVN).write_bytes(content)
    Path(f"{base / FOLDER}.dna").unlink()
    found = check(base, fail=False, **options)
    day = "all" if options.get("scope") == "all" else options.get("day", DAY)
    predicted = options.get("predicted", [])
    verified = run_module("dna_verify", base=str(base), day=day, predicted=predicted, fail=False)
    shared = {"day": options.get("day", DAY), "expect": EXPECT, "predicted": predicted}
    counted = run_module("tarball_count", base=str(base), fail=False, **shared)
    for one in (verified, counted):
        alone = {key: value for key, value in one.items() if key not in ("failures", "day", "invocation")}
        assert {key: found[key] for key in alone} == alone
    told = [*verified["failures"], *counted["failures"]]
    assert [entry for entry in found["failures"] if entry not in told] == []
    assert [entry for entry in told if entry not in found["failures"]] == []


def test_one_that_cannot_be_done_does_not_keep_the_other_from_being_done(base: Path) -> None:
    result = check(base, expect={"dybsvn": "many"}, fail=False)
    assert sorted(result["match"]) == [FOLDER, SVN]
    assert result["counts"] == {}
    assert len(reasons(result)) == 1 and "is not a whole number" in reasons(result)[0]


def test_a_base_that_is_not_there_is_told_once(tmp_path: Path) -> None:
    result = check(tmp_path / "nowhere")
    assert result["failed"]
    assert len(reasons(result)) == 1


def test_what_is_listed_too_is_what_a_listing_alone_finds(base: Path) -> None:
    (base / SVN).write_bytes(b"x")
    found = check(base, listing=True, fail=False)
    listed = run_module("tarball_list", base=str(base), records=True, fail=False)
    assert found["tarballs"] == listed["tarballs"] and len(found["tarballs"]) == 2
    assert (found["listed"], found["notes"]) == (True, [])
    assert "tarballs" not in check(base, fail=False)


OLDER = {night: f"svn/dybsvn/2013/05/{night:02}/104701/dybsvn-1.tar" for night in range(1, 10)}
MOMENT = {"stamp": STAMP, "clock": STAMP}


def content_of(night: int) -> bytes:
    """Return the content that was backed up that night."""
    return bytes([night]) * 10000


@pytest.fixture
def kept(base: Path) -> Path:
    """Return a base with nine older tarballs, each of another content."""
    for night, relpath in OLDER.items():
        put(base, relpath, content_of(night))
    return base


def spoil(path: Path) -> None:
    """Change a byte of a file in place, under all its names."""
    with path.open("r+b") as stream:
        stream.write(b"!")


def nightly(base: Path, **options: Any) -> dict[str, Any]:
    """Run the module as a backup does."""
    return check(base, **{"quarantine": True, "reverify_days": 7, "fail": False, **MOMENT, **options})


def place_of(base: Path, relpath: str) -> Path:
    """Return the path of a tarball in the quarantine."""
    category, name, *stamp, filename = relpath.split("/")
    return base.joinpath(".altbackup", "quarantine", category, name, *stamp, filename)


def test_of_the_older_ones_a_share_is_read_each_night_until_all_were(kept: Path) -> None:
    seen = []
    for night in range(10, 17):
        day = f"2013/05/{night}"
        put(kept, f"{SVN.replace(DAY, day)}", content_of(night))
        put(kept, f"{FOLDER.replace(DAY, day)}", CONTENT)
        moment = f"{day}/104701"
        result = nightly(kept, day=day, stamp=moment, clock=moment)
        assert result["failures"] == []
        seen.append([OLDER[n] for n in OLDER if OLDER[n] in result["reread"]])
        again = nightly(kept, day=day, stamp=moment, clock=f"{day}/114701")
        assert again["reread"] == [], "a rerun has no share of its own"
    assert {relpath for relpaths in seen for relpath in relpaths} == set(OLDER.values())
    assert max(map(len, seen)) <= 3


def test_what_does_not_match_goes_to_the_quarantine_and_is_told_once(kept: Path) -> None:
    spoil(kept / OLDER[1])
    result = nightly(kept)
    (entry,) = result["quarantined"]
    (failure,) = result["failures"]
    assert (entry["relpath"], entry["told"], entry["reason"]) == (OLDER[1], OLDER[1], failure["reason"])
    assert (entry["size"], entry["read_size"], len(entry["read"])) == (10000, 10000, 64)
    assert "does not match its dna" in failure["reason"] and str(place_of(kept, OLDER[1]).parent) in failure["reason"]
    assert failure["good"] == STAMP
    assert result["mismatch"] == [OLDER[1]] and OLDER[1] not in result["reread"]
    assert place_of(kept, OLDER[1]).read_bytes() == b"!" + content_of(1)[1:]
    assert not (kept / OLDER[1]).parent.exists()
    again = nightly(kept)
    assert (again["failures"], len(again["notes"])) == ([], 1) and "no good copy of it has come back" in again["notes"][
        0
    ]
    assert [one["told"] for one in again["quarantined"]] == [""], "it is still awaited"


def test_one_of_another_size_is_seen_without_waiting_for_its_turn(kept: Path) -> None:
    (kept / OLDER[9]).write_bytes(b"short")
    assert nightly(kept)["mismatch"] == [OLDER[9]]
    assert place_of(kept, OLDER[9]).read_bytes() == b"short"


def test_a_file_is_rotten_under_each_of_its_names(base: Path) -> None:
    for relpath in OLDER.values():
        link(base, SVN, relpath)
    spoil(base / SVN)
    result = nightly(base, listing=True)
    assert result["bytes_read"] == 2 * len(CONTENT), "one file is read once"
    assert {entry["relpath"] for entry in result["quarantined"]} == {SVN, *OLDER.values()}
    (failure,) = result["failures"]
    assert failure["relpath"] == SVN and "the same file stood under 9 other stamps" in failure["reason"]
    assert [entry["relpath"] for entry in result["tarballs"]] == [FOLDER], "nothing of it is offered"
    assert (result["counts"], failure["good"]) == (EXPECT, "")
    links = {place_of(base, relpath).stat().st_ino for relpath in (SVN, *OLDER.values())}
    assert len(links) == 1
    again = nightly(base, expect={"svnsetup": 1}, items=["folders/svnsetup"])
    assert len(again["failures"]) == 10 and "nor is any other tarball of its item here" in reasons(again)[0]


def test_an_unchanged_item_costs_no_more_than_before(base: Path) -> None:
    for relpath in OLDER.values():
        link(base, SVN, relpath)
    result = nightly(base)
    assert (result["bytes_read"], result["reread"], len(result["match"])) == (2 * len(CONTENT), [], 2)


@pytest.fixture
def ahead(base: Path) -> Path:
    """Return a base of which the dump of a run has read a tarball ahead, under another name."""
    tree = open_tree(str(base))
    link(base, SVN, OLDER[1])
    run = parse_run(RUN)
    assert run
    (dna,) = [one.dna for one in scan(tree).tarballs if one.relpath == OLDER[1]]
    assert dna
    keep_read_ahead(tree, run, {OLDER[1]: Reading(os.lstat(tree.path(OLDER[1])), dna.alg, dna.dig)})
    return base


def test_what_the_dump_of_the_run_has_read_ahead_is_not_read_again(ahead: Path) -> None:
    result = nightly(ahead, run=RUN)
    assert (result["read_ahead"], result["bytes_read"]) == ([SVN], len(CONTENT))
    assert (sorted(result["match"]), result["failures"]) == ([FOLDER, SVN], [])
    assert is_as_documented("tarball_check", {**result, "listed": True, "tarballs": []})


@pytest.mark.parametrize("options", [{}, {"run": {**RUN, "pid": 2}}, {"run": RUN, "scope": "all"}])
def test_what_another_run_has_read_or_where_all_is_to_be_read_it_is_read(ahead: Path, options: dict[str, Any]) -> None:
    result = nightly(ahead, **options)
    assert (result["read_ahead"], result["bytes_read"]) == ([], 2 * len(CONTENT))


def test_what_was_changed_since_it_was_read_ahead_is_found(ahead: Path) -> None:
    spoil(ahead / SVN)
    assert nightly(ahead, run=RUN)["mismatch"] == [SVN]


def test_what_another_sidecar_says_is_not_taken_for_what_was_read_ahead(ahead: Path) -> None:
    Path(f"{ahead / SVN}.dna").write_text(original_text(b"?" * len(CONTENT)))
    result = nightly(ahead, run=RUN)
    assert (result["mismatch"], result["read_ahead"]) == ([SVN], [])


@pytest.mark.parametrize("options", [{"check": True}, {"quarantine": False}])
def test_nothing_is_moved_unless_it_is_asked_for(kept: Path, options: dict[str, Any]) -> None:
    spoil(kept / SVN)
    before = tree_hash(kept)
    result = nightly(kept, **options)
    assert (result["mismatch"], result["quarantined"], result["reread"]) == ([SVN], [], [])
    assert "quarantine" not in reasons(result)[0]
    assert tree_hash(kept) == before


def test_what_cannot_be_read_stays_where_it_is(kept: Path) -> None:
    (kept / OLDER[1]).chmod(0)
    with bound_by_modes():
        result = nightly(kept)
    assert (result["mismatch"], result["quarantined"]) == ([OLDER[1]], [])
    assert "cannot be read" in reasons(result)[0] and "it stays where it is" in reasons(result)[0]
    assert (kept / OLDER[1]).exists()


def test_what_reads_otherwise_each_time_stays_where_it_is(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with faulty memory, or a faulty connection to the disk."""
    digest = digests.digest_file
    wrong = str(kept / OLDER[1])

    def unsound(path: str, algorithm: str, **options: Any) -> tuple[str, int]:
        dig, size = digest(path, algorithm, **options)
        return (f"0{dig[1:]}" if dig[0] != "0" else f"1{dig[1:]}", size) if path == wrong else (dig, size)

    monkeypatch.setattr(digests, "digest_file", unsound)
    result = nightly(kept)
    assert (result["mismatch"], result["quarantined"], len(result["failures"])) == ([OLDER[1]], [], 1)
    assert "does not match its dna" in reasons(result)[0] and "Look at the memory of this machine" in reasons(result)[0]
    assert (kept / OLDER[1]).exists()


def test_what_was_healed_by_a_transfer_is_noted_and_what_had_rotted_goes_after_a_month(kept: Path) -> None:
    spoil(kept / OLDER[1])
    nightly(kept)
    put(kept, OLDER[1], content_of(1))
    healed = nightly(kept)
    assert (healed["quarantined"], healed["healed"]) == ([], [OLDER[1]])
    assert healed["notes"][0].startswith(f"a good copy of {OLDER[1]} stands in its place again")
    (kept / OLDER[1]).unlink(), Path(f"{kept / OLDER[1]}.dna").unlink()
    for clock, there in (("2013/06/09/104701", True), ("2013/06/09/104702", False)):
        result = nightly(kept, clock=clock)
        assert place_of(kept, OLDER[1]).exists() is there
        assert result["quarantined"] == []
    assert "removed" in result["notes"][0]


def test_other_bytes_in_its_place_heal_nothing_and_what_never_healed_is_kept(kept: Path) -> None:
    spoil(kept / OLDER[1])
    nightly(kept)
    put(kept, OLDER[1], b"something else")
    assert [entry["relpath"] for entry in nightly(kept)["quarantined"]] == [OLDER[1]]
    result = nightly(kept, clock="2013/08/09/104701")
    assert place_of(kept, OLDER[1]).exists() and "no good copy of it has come back" in result["notes"][0]
    assert result["quarantined"] == [], "it is asked for no more"


def test_a_damaged_memory_of_what_was_read_is_named_and_made_anew(kept: Path) -> None:
    memory = kept / ".altbackup" / "state" / "readings"
    nightly(kept)
    memory.write_text("{")
    result = nightly(kept)
    assert (
        len(reasons(result)) == 1
        and f"{memory}, which tells when tarballs were last read, is damaged" in reasons(result)[0]
    )
    assert nightly(kept)["failures"] == []


def test_a_quarantine_that_cannot_be_written_leaves_what_rotted_and_says_so(kept: Path) -> None:
    spoil(kept / OLDER[1])
    (kept / ".altbackup" / "quarantine").write_text("")
    result = nightly(kept)
    assert (kept / OLDER[1]).exists() and result["mismatch"] == [OLDER[1]]
    assert (
        "does not match its dna" in reasons(result)[0] and "could not be moved to the quarantine" in reasons(result)[0]
    )


def test_another_name_whose_sidecar_has_another_algorithm_is_judged_by_that(base: Path) -> None:
    link(base, SVN, OLDER[1])
    Path(f"{base / OLDER[1]}.dna").write_text(original_text(CONTENT))
    link(base, SVN, OLDER[2])
    Path(f"{base / OLDER[2]}.dna").write_text(original_text(b"other bytes of that size"[:1] * len(CONTENT)))
    result = nightly(base)
    assert [entry["relpath"] for entry in result["quarantined"]] == [OLDER[2]]
    assert (base / SVN).exists() and (base / OLDER[1]).exists()
