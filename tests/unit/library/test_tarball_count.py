"""Module tarball_count, in process on real files."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import (
    DAY,
    STAMP,
    bound_by_modes,
    marked,
    original_tree,
    put,
    reasons,
    run_module,
    tree_hash,
)

from ansible_collections.altbackup.core.plugins.module_utils.tree.proof_files import moment_at
from ansible_collections.altbackup.core.plugins.module_utils.tree.sidecar import parse

LATER = "2013/05/10/120000"
OTHER = "2013/05/09/104701"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Return a base with the three tarballs of the example in the documentation."""
    base = marked(tmp_path / "dayabay")
    put(base, f"svn/dybsvn/{STAMP}/dybsvn-20496.tar.gz")
    put(base, f"tracs/dybsvn/{STAMP}/dybsvn.tar.gz")
    put(base, f"folders/svnsetup/{STAMP}/svnsetup.tar.gz")
    return base


EXPECT = {"dybsvn": 2, "svnsetup": 1}


def count(base: Path, expect: Any = EXPECT, day: str = DAY, **options: Any) -> dict[str, Any]:
    """Run the module."""
    return run_module("tarball_count", base=str(base), expect=expect, day=day, **options)


@pytest.mark.parametrize("check", [False, True])
def test_what_is_there_is_counted_and_nothing_changes(base: Path, check: bool) -> None:
    before = tree_hash(base)
    for _ in range(2):
        result = count(base, check=check)
        assert not result.get("failed")
        assert not result.get("changed")
        assert result["counts"] == EXPECT
        assert result["relpaths"] == {
            "dybsvn": [f"svn/dybsvn/{STAMP}/dybsvn-20496.tar.gz", f"tracs/dybsvn/{STAMP}/dybsvn.tar.gz"],
            "svnsetup": [f"folders/svnsetup/{STAMP}/svnsetup.tar.gz"],
        }
        assert (result["without_dna"], result["unexpected"], result["failures"]) == ([], [], [])
        assert result["day"] == DAY
    assert tree_hash(base) == before


def test_a_miss_reads_as_it_always_did(base: Path) -> None:
    (base / f"tracs/dybsvn/{STAMP}/dybsvn.tar.gz.dna").unlink()
    result = count(base)
    assert result["failed"]
    assert result["msg"] == (
        "expecting 2 tarballs for dybsvn of dayabay on 2013/05/10 but got 1: "
        "svn/dybsvn/2013/05/10/104701/dybsvn-20496.tar.gz\n"
        "(tracs/dybsvn/2013/05/10/104701/dybsvn.tar.gz has no dna: still arriving, or its transfer failed)"
    )
    assert reasons(result) == [result["msg"]]
    assert result["without_dna"] == [f"tracs/dybsvn/{STAMP}/dybsvn.tar.gz"]
    assert (result["failures"][0]["category"], result["failures"][0]["name"]) == ("", "dybsvn")
    assert result["counts"] == {"dybsvn": 1, "svnsetup": 1}
    assert "for dybsvn of ihep on" in count(base, source="ihep")["msg"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "has no dna: still arriving, or its transfer failed"),
        ("", "has a malformed dna: it is empty"),
        ("{'dig': 'x', 'size': 9}", "has a malformed dna: digest 'x' is not 32 hexadecimal digits of md5"),
        ("{'dig': '%s', 'size': 8}" % ("0" * 32), "has 9 bytes, but its dna says 8"),
    ],
)
def test_each_reason_not_to_count_is_told(base: Path, text: str | None, why: str) -> None:
    path = base / f"folders/svnsetup/{STAMP}/svnsetup.tar.gz.dna"
    path.unlink()
    if text is not None:
        path.write_text(text)
    expected = f"expecting 1 tarball for svnsetup of dayabay on {DAY} but got 0\n(folders/svnsetup/{STAMP}/svnsetup.tar.gz {why})"
    assert count(base)["msg"] == expected


def test_all_misses_are_named_and_the_first_hides_none(base: Path) -> None:
    result = count(base, {"aaa": 1, "dybsvn": 3, "svnsetup": 0, "zzz": 2})
    assert reasons(result) == [
        f"expecting 1 tarball for aaa of dayabay on {DAY} but got 0",
        (
            f"expecting 3 tarballs for dybsvn of dayabay on {DAY} but got 2: "
            f"svn/dybsvn/{STAMP}/dybsvn-20496.tar.gz, tracs/dybsvn/{STAMP}/dybsvn.tar.gz"
        ),
        f"expecting 0 tarballs for svnsetup of dayabay on {DAY} but got 1: folders/svnsetup/{STAMP}/svnsetup.tar.gz",
        f"expecting 2 tarballs for zzz of dayabay on {DAY} but got 0",
    ]
    assert result["msg"].startswith("4 failures:\n- ")


@pytest.mark.parametrize(
    "expect",
    [
        {"dybsvn": "2", "svnsetup": "1"},
        {"svn/dybsvn": 1, "tracs/dybsvn": 1, "folders/svnsetup": 1},
        {"svn/dybsvn": 1, "dybsvn": 2, "svnsetup": 1},
        {"dybsvn": 2, "svnsetup": 1, "git/dybsvn": 0, "nothing": 0},
    ],
)
def test_key_is_a_name_or_one_item(base: Path, expect: dict[str, Any]) -> None:
    result = count(base, expect)
    assert result["failures"] == []
    assert result["counts"] == {key: int(number) for key, number in expect.items()}


def test_one_too_many_is_a_failure(base: Path) -> None:
    put(base, f"git/dybsvn/{STAMP}/dybsvn.tar")
    assert f"expecting 2 tarballs for dybsvn of dayabay on {DAY} but got 3: git/" in count(base)["msg"]
    result = count(base, {**EXPECT, "dybsvn": 3}, items=["svn/dybsvn", "tracs/dybsvn", "folders/svnsetup"])
    assert result["unexpected"] == [f"git/dybsvn/{STAMP}/dybsvn.tar"]
    assert "git/dybsvn is no item" in result["msg"]
    assert "did you mean" not in result["msg"], "those of that name are of other kinds"


@pytest.mark.parametrize(
    ("relpath", "why"),
    [
        (f"svn/dybaux/{STAMP}/dybaux-1.tar.gz", "svn/dybaux is no item"),
        (f"svn/dybsvnextra/{STAMP}/dybsvnextra-1.tar.gz", "svn/dybsvnextra is no item; known are dybsvn, svnsetup"),
        (f"unknown/zzz/{STAMP}/zzz.tar", "unknown/zzz is no item; known are dybsvn, svnsetup"),
        (f"svn/dybsvn/{STAMP}/dybaux-5.tar.gz", "its name does not belong to svn/dybsvn"),
        (f"svn/dybsvn/{STAMP}/dybsvnextra-1.tar.gz", "its name does not belong to svn/dybsvn"),
        (f"svn/dybsvn/{STAMP}/dybsvn-20497.tar.gz", "2 tarballs of svn/dybsvn under one stamp"),
        (f"svn/dybsvn/{STAMP}/dybsvn-20496.tar.zst", "2 tarballs of svn/dybsvn under one stamp"),
        ("svn/dybsvn/last/dybsvn-20496.tar.gz", "should be a link to the newest stamp, but is a real folder or file"),
        ("svn/dybsvn/2013/05/10/last/dybsvn-1.tar.gz", "no time HHMMSS"),
    ],
)
def test_what_should_not_be_there_is_named(base: Path, relpath: str, why: str) -> None:
    put(base, relpath)
    result = count(base)
    assert result["counts"] == EXPECT
    assert len(result["failures"]) == len(result["unexpected"]) == 1
    assert relpath.startswith(result["unexpected"][0])
    assert result["msg"].startswith(f"unexpected in dayabay on {DAY}: {result['unexpected'][0]}: ")
    assert why in result["msg"]


def test_category_that_is_a_link_is_named_and_not_counted(base: Path, tmp_path: Path) -> None:
    (base / "tracs").rename(tmp_path / "tracs")
    (base / "tracs").symlink_to(tmp_path / "tracs")
    result = count(base)
    assert result["counts"]["dybsvn"] == 1
    assert result["unexpected"] == ["tracs"]
    assert "it is a symbolic link, which is not followed" in result["msg"]


def test_what_is_strange_on_other_days_is_the_business_of_other_days(base: Path) -> None:
    put(base, f"svn/dybaux/{OTHER}/dybaux-1.tar.gz", dna=None)
    put(base, f"svn/dybsvn/{OTHER}/other.tar.gz")
    assert count(base)["failures"] == []
    assert len(count(base, day="2013/05/09")["unexpected"]) == 1
    assert f"svn/dybaux/{OTHER}/dybaux-1.tar.gz has no dna" in count(base, day="2013/05/09")["msg"]


def test_several_stamps_of_one_day_count_once(base: Path) -> None:
    put(base, f"svn/dybsvn/{LATER}/dybsvn-20500.tar.gz")
    put(base, f"svn/dybsvn/{DAY}/000000/dybsvn-20400.tar.gz")
    result = count(base)
    assert result["failures"] == []
    assert result["relpaths"]["dybsvn"][0] == f"svn/dybsvn/{LATER}/dybsvn-20500.tar.gz"
    put(base, f"svn/dybsvn/{DAY}/130000/dybsvn-20600.tar.gz", dna=None)  # a rerun that failed
    result = count(base)
    assert result["counts"] == EXPECT
    assert reasons(result) == [
        f"svn/dybsvn/{DAY}/130000/dybsvn-20600.tar.gz has no dna: still arriving, or its transfer failed"
    ]


def test_names_are_taken_exactly(tmp_path: Path) -> None:
    base = marked(tmp_path / "b")
    names = ["my-repo", "my-repo-2", "my-repo-2-23", "my", "a.b", "aXb", "a b", "-rf", "svn"]
    for name in names:
        put(base, f"svn/{name}/{STAMP}/{name}-23.tar.gz")
    put(base, f"git/my-repo-2/{STAMP}/my-repo-2.tar.gz")
    result = count(base, dict.fromkeys(names, 1))
    assert reasons(result) == [
        (
            f"expecting 1 tarball for my-repo-2 of b on {DAY} but got 2: "
            f"git/my-repo-2/{STAMP}/my-repo-2.tar.gz, svn/my-repo-2/{STAMP}/my-repo-2-23.tar.gz"
        )
    ]
    assert [len(relpaths) for relpaths in result["relpaths"].values()].count(1) == len(names) - 1


def test_tree_of_the_original_is_counted(tmp_path: Path) -> None:
    base = marked(tmp_path / "dayabay")
    original_tree(base)
    result = count(base, {"dybsvn": 2, "toysvn": 1, "my-repo-2": 1, "svnsetup": 1})
    assert (result["failures"], sum(result["counts"].values())) == ([], 5)


def test_nothing_is_never_success(base: Path, tmp_path: Path) -> None:
    assert count(base, {})["msg"].endswith("nothing is expected of dayabay: no items, so nothing could be checked")
    empty = marked(tmp_path / "empty")
    assert count(empty, {})["failed"]
    assert len(count(empty)["failures"]) == 2
    assert len(count(empty / "not-received")["failures"]) == 2
    assert len(count(base, day="2013/05/11")["failures"]) == 2


def test_what_check_mode_would_have_made_counts(base: Path) -> None:
    predicted = [f"svn/new/{STAMP}/new-5.tar.zst", f"svn/old/{OTHER}/old-5.tar.zst", f"svn/dybsvn/{LATER}/dybsvn-9.tar"]
    result = count(base, {**EXPECT, "new": 1, "old": 0}, predicted=predicted, check=True)
    assert result["failures"] == []
    assert result["relpaths"]["new"] == predicted[:1]
    assert result["relpaths"]["dybsvn"][0] == predicted[2]
    assert count(base, {**EXPECT, "new": 1})["failed"]


def test_no_byte_of_a_tarball_is_read(base: Path) -> None:
    huge = base / f"folders/svnsetup/{STAMP}/svnsetup.tar.gz"
    with huge.open("r+b") as stream:
        stream.truncate(1 << 40)
    Path(f"{huge}.dna").write_text("{'dig': '%s', 'size': %d}" % ("0" * 32, 1 << 40))
    for path in base.glob("*/*/*/*/*/*/*.tar.gz"):
        path.chmod(0)
    with bound_by_modes():
        with pytest.raises(PermissionError):
            huge.read_bytes()
        assert count(base)["failures"] == []


@pytest.mark.parametrize("folder", ["tracs", "tracs/dybsvn", "tracs/dybsvn/2013/05"])
def test_folder_that_cannot_be_read_is_a_failure_and_hides_no_other(base: Path, folder: str) -> None:
    (base / folder).chmod(0)
    with bound_by_modes():
        result = count(base, {"svn/dybsvn": 1, "svnsetup": 1})
    (base / folder).chmod(0o700)
    assert result["counts"] == {"svn/dybsvn": 1, "svnsetup": 1}
    assert len(result["failures"]) == 1
    assert result["msg"].startswith(f"what folder {folder}")
    assert result["msg"].endswith(" holds is not known: it cannot be read by uid 0: Permission denied")


def test_day_is_meant_in_the_given_zone(tmp_path: Path) -> None:
    base = marked(tmp_path / "b")
    for hours in range(-30, 31):
        stamp = time.strftime("%Y/%m/%d/%H0000", time.gmtime(time.time() + 3600 * hours))
        put(base, f"svn/x/{stamp}/x-1.tar")
    days = {}
    for zone, shift in (("UTC", 0), ("Asia/Taipei", 8), ("Pacific/Kiritimati", 14), ("Etc/GMT+12", -12)):
        for day, back in (("", 0), ("-1", 1)):
            before = time.strftime("%Y/%m/%d", time.gmtime(time.time() + 3600 * shift - 86400 * back))
            days[zone, day] = count(base, {"x": 1}, day, timezone=zone)["day"]
            after = time.strftime("%Y/%m/%d", time.gmtime(time.time() + 3600 * shift - 86400 * back))
            assert days[zone, day] in (before, after)
    assert days["Pacific/Kiritimati", ""] > days["Etc/GMT+12", ""]  # 26 hours apart: never the same day


@pytest.mark.parametrize("value", ["two", -1, "-1", 1.5, "1.0", True, None, [1], {}, "", "\u0662", 10**9])
def test_bad_number_is_an_error_that_names_its_key(base: Path, value: Any) -> None:
    result = count(base, {"svnsetup": 1, "dybsvn": value})
    assert result["failed"]
    assert result["msg"] == f"expect: dybsvn: {value!r} is not a whole number of tarballs"
    assert (result["counts"], result["day"]) == ({}, "")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"day": "today"}, "day 'today' is neither empty"),
        ({"day": "2013/5/1"}, "day '2013/5/1' is neither empty"),
        ({"day": "all"}, "day 'all' is neither empty"),
        ({"timezone": "../etc/passwd"}, "time zone '../etc/passwd' is not known"),
        ({"base": "/nowhere/dayabay"}, "base /nowhere/dayabay does not exist: is its disk mounted?"),
        ({"base": "relative"}, "base"),
        ({"expect": "dybsvn"}, "expect"),
        ({"expect": None}, "missing required arguments: expect"),
    ],
)
def test_bad_input_is_a_clear_message(base: Path, options: dict[str, Any], why: str) -> None:
    given = {"base": str(base), "expect": EXPECT, "day": DAY, **options}
    result = run_module("tarball_count", **{key: value for key, value in given.items() if value is not None})
    assert result["failed"]
    assert why in result["msg"]


def test_failures_can_be_returned_without_failing(base: Path) -> None:
    result = count(base, {"zzz": 1}, fail=False)
    assert not result.get("failed")
    assert result["failures"]


def test_what_is_no_item_does_not_stand_for_one_that_is_missing(base: Path) -> None:
    keys = {"svn/dybsvn", "git/svnsetup", "tracs/dybsvn"}  # svnsetup was a folder until today
    result = count(base, items=sorted(keys), fail=False)
    assert result["counts"]["svnsetup"] == 0
    assert any("expecting 1 tarball for svnsetup" in reason for reason in reasons(result))
    assert any("folders/svnsetup is no item" in reason for reason in reasons(result))


def test_a_proof_without_its_tarball_is_unexpected(base: Path) -> None:
    relpath = next(path for paths in count(base)["relpaths"].values() for path in paths)
    (base / f"{relpath}.proof").write_text("{}\n")
    assert count(base)["failures"] == []
    stray = base / Path(relpath).parent / "other.tar.zst.proof"
    stray.write_text("{}\n")
    (reason,) = reasons(count(base, fail=False))
    assert reason.endswith("it is a proof without its tarball")


def test_what_is_stamped_later_than_the_clock_is_not_counted_and_a_failure_whatever_its_day(base: Path) -> None:
    told = {"stamp": STAMP, "clock": LATER}
    ahead = [f"svn/dybsvn/{stamp}/dybsvn-20497.tar.gz" for stamp in ("2013/05/10/120001", "2099/01/01/000000")]
    for path in ahead:
        put(base, path)
    result = count(base, **told)
    assert result["counts"] == EXPECT
    assert all("20497" not in path for paths in result["relpaths"].values() for path in paths)
    assert set(result["dnas"]) == {path for paths in result["relpaths"].values() for path in paths}
    (reason,) = reasons(result)
    assert reason.startswith(
        f"{base}/{ahead[0]} is stamped later than this run, {STAMP}, and than the controller's clock, {LATER} (1 more"
    )
    assert reasons(count(base, day="2013/05/09", expect={"dybsvn": 0}, **told)) == [reason]


def test_what_came_after_the_run_and_before_the_clock_neither_fails_nor_is_missed(base: Path) -> None:
    put(base, f"svn/dybsvn/{LATER}/dybsvn-20497.tar.gz")
    result = count(base, stamp=STAMP, clock=LATER)
    assert (result["failures"], result["counts"]) == ([], EXPECT)


def test_a_proof_of_what_does_not_count_proves_nothing(base: Path) -> None:
    path = "svn/dybsvn/2099/01/01/000000/dybsvn-20497.tar.gz"
    dna = parse(Path(f"{put(base, path)}.dna").read_text())
    proof = {"dig": dna.dig, "size": dna.size, "alg": dna.alg, "when": moment_at(time.time())}
    (base / f"{path}.proof").write_text(json.dumps(proof))
    told = reasons(count(base, {"dybsvn": 2, "svnsetup": 1}, proof_age=3600.0, stamp=STAMP, clock=LATER))
    assert sum("was never proved to restore" in reason for reason in told) == 3


def test_item_that_has_its_tarball_is_not_meant_by_another(base: Path) -> None:
    put(base, f"svn/dybsvm/{STAMP}/dybsvm-1.tar.gz")
    items = ["svn/dybsvn", "tracs/dybsvn", "folders/svnsetup"]
    assert "did you mean" not in count(base, items=items)["msg"]
    for suffix in ("", ".dna"):
        (base / f"svn/dybsvn/{STAMP}/dybsvn-20496.tar.gz{suffix}").unlink()
    assert "svn/dybsvm is no item; did you mean 'dybsvn'?" in count(base, items=items)["msg"]
    assert "svn/dybsvm is no item; did you mean 'dybsvn'?" in count(base)["msg"]


def test_miss_says_when_there_last_was_a_good_copy(base: Path) -> None:
    put(base, f"tracs/dybsvn/{OTHER}/dybsvn.tar.gz")
    (base / f"tracs/dybsvn/{STAMP}/dybsvn.tar.gz.dna").unlink()
    (base / f"folders/svnsetup/{STAMP}/svnsetup.tar.gz").unlink()
    (base / f"folders/svnsetup/{STAMP}/svnsetup.tar.gz.dna").unlink()
    items = ["svn/dybsvn", "tracs/dybsvn", "folders/svnsetup"]
    result = count(base, items=items, stamp=LATER, clock=LATER, fail=False)
    assert {entry["name"]: entry["good"] for entry in result["failures"]} == {"dybsvn": OTHER, "svnsetup": ""}
    put(base, f"svn/old/{OTHER}/old.tar")
    put(base, f"svn/old/{STAMP}/old.tar")  # is no item
    (entry,) = [entry for entry in count(base, items=items)["failures"] if entry["name"] == "old"]
    assert "good" not in entry
