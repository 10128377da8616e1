"""Module tarball_purge, in process on real files."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import (
    bound_by_modes,
    link,
    marked,
    modern_text,
    original_tree,
    put,
    reasons,
    run_module,
    tree_hash,
)

from ansible_collections.altbackup.core.plugins.module_utils.tree import marks as marks_module
from ansible_collections.altbackup.core.plugins.module_utils.tree import pairs as pairs_module
from ansible_collections.altbackup.core.plugins.module_utils.tree import readings as readings_module
from ansible_collections.altbackup.core.plugins.module_utils.tree.arrivals import arrivals, note_arrival
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.pairs import purged_number
from ansible_collections.altbackup.core.plugins.module_utils.tree.readings import keep_readings, readings

NOW = "2013/05/20/104701"
SIZE = 100


def relpath(day: int, key: str = "svn/x", clock: str = "104701", revision: int | None = None) -> str:
    """Return the path of an item's tarball of a day of May 2013."""
    return f"{key}/2013/05/{day:02}/{clock}/{key.split('/')[1]}-{revision or day}.tar"


def fill(base: Path, days: Any, key: str = "svn/x") -> list[str]:
    """Write an item's tarballs, each of its own content, with their records; return their paths."""
    for day in days:
        put(base, relpath(day, key), b"%03d" % day + b"x" * (SIZE - 3))
        record(base, relpath(day, key)).parent.mkdir(parents=True, exist_ok=True)
        record(base, relpath(day, key)).write_text("{}")
    return [relpath(day, key) for day in days]


def record(base: Path, path: str) -> Path:
    """Return the path of a dump's record."""
    return base / ".altbackup" / "records" / (os.path.dirname(path) + ".json")


def purge(base: Path, keep: Any = 2, **options: Any) -> dict[str, Any]:
    """Run the module until it removes nothing more; return the first result, with all removals and what is kept at the end."""
    result = purge_once(base, keep, **options)
    last = result
    while last["removed"] and not options.get("check"):
        assert max(Counter(path.split("/")[1] for path in last["removed"]).values()) <= 2
        last = purge_once(base, keep, **options)
        result["removed"] += last["removed"]
        result["bytes_freed"] += last["bytes_freed"]
    result["removed"].sort(key=lambda path: (path.split("/")[:2], path))
    result["notes"] = [note for note in result["notes"] if " for the next runs (" not in note]
    return {**result, "kept": last["kept"]}


def purge_once(base: Path, keep: Any = 2, *, check: bool = False, stamp: str = NOW, **options: Any) -> dict[str, Any]:
    """Run the module in check mode, then, unless only that is wanted, for real: prediction and result must agree."""
    before = tree_hash(base)
    options = {"base": str(base), "keep": keep, "stamp": stamp, **options}
    predicted = run_module("tarball_purge", check=True, **options)
    assert tree_hash(base) == before
    if check:
        return predicted
    result = run_module("tarball_purge", **options)
    if "kept" in result and not result["failures"]:
        other = dict.fromkeys(("invocation", "notes", "free"), 0)
        assert {**predicted, **other} == {**result, **other}
    return result


def files(base: Path) -> set[str]:
    """Return the paths of all files and links below a base, except locks."""
    entries = (os.path.join(top, name) for top, folders, names in os.walk(base) for name in [*folders, *names])
    found = {os.path.relpath(path, base) for path in entries if os.path.islink(path) or not os.path.isdir(path)}
    return {path for path in found if "lock" not in path and "rules" not in path}


def vouched(*relpaths: str) -> set[str]:
    """Return tarballs with their sidecars."""
    return {*relpaths, *(f"{path}.dna" for path in relpaths)}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Return an empty base."""
    return marked(tmp_path / "dayabay")


def test_what_is_not_to_be_kept_goes_with_sidecar_record_and_empty_folders(base: Path) -> None:
    relpaths = [*fill(base, range(1, 6)), *fill(base, range(4, 9), "tracs/y")]
    (base / "svn" / "x" / "last").symlink_to("2013/05/05/104701")
    (base / "svn" / "empty").mkdir()
    result = purge(base)
    kept = [relpath(4), relpath(5), relpath(7, "tracs/y"), relpath(8, "tracs/y")]
    assert result["kept"] == kept
    assert sorted(result["removed"]) == sorted(set(relpaths) - set(kept))
    assert (result["changed"], result["failures"], result["notes"], result["unverified"]) == (True, [], [], [])
    assert result["bytes_freed"] == 6 * SIZE
    records = {os.path.relpath(record(base, path), base) for path in kept}
    assert files(base) == vouched(*kept) | records | {"svn/x/last"}
    assert sorted(os.listdir(base / "svn/x/2013/05")) == ["04", "05"]
    assert (base / "svn/empty").is_dir()
    assert os.listdir(base / ".altbackup/trash") == []
    before = tree_hash(base)
    result = purge(base)
    assert (result["changed"], result["removed"], result["kept"]) == (False, [], kept)
    assert tree_hash(base) == before


def test_proofs_go_with_their_tarballs(base: Path) -> None:
    fill(base, range(1, 5))
    for path in [*base.glob("svn/x/*/*/*/*/*.tar")]:
        Path(f"{path}.proof").write_text("{}\n")
    first = base / relpath(1)
    (first.parent / "other").write_text("keeps its folder")
    result = purge(base)
    assert result["kept"] == [relpath(3), relpath(4)]
    assert result["failures"] == []
    assert sorted(path.name for path in base.glob("svn/x/**/*.proof")) == [
        Path(relpath(day)).name + ".proof" for day in (3, 4)
    ]
    assert os.listdir(first.parent) == ["other"]


def test_folder_of_the_item_stays_and_those_of_dates_go(base: Path) -> None:
    put(base, "svn/x/2012/12/31/000000/x-1.tar", b"old")
    fill(base, [1])
    purge(base, 1)
    assert sorted(os.listdir(base / "svn/x")) == ["2013"]


@pytest.mark.sampled(5)
@pytest.mark.parametrize("keep", ["2", 2, " 2 ", {"svn/x": 2}, {"svn/x": "2", "git/other": 1}])
def test_keep_is_a_number_also_as_text_or_one_for_each_item(base: Path, keep: Any) -> None:
    fill(base, range(1, 6))
    assert purge(base, keep)["kept"] == [relpath(4), relpath(5)]


@pytest.mark.parametrize(
    ("keep", "why"),
    [
        *(
            (keep, f"purge: keep {keep!r} is not a positive whole number")
            for keep in (0, -1, "0", "-1", "abc", "", 1.5, True, [2])
        ),
        ({"svn/x": 0}, "purge: svn/x: keep 0 is not a positive whole number"),
        ({"svn/x": "many"}, "purge: svn/x: keep 'many' is not a positive whole number"),
        ({}, "purge: keep names no item"),
        ({"x": 2}, "purge: keep names 'x', which is not category/name"),
        ({"": 2}, "purge: keep names '', which is not category/name"),
    ],
)
def test_any_other_keep_is_an_error_and_removes_nothing(base: Path, keep: Any, why: str) -> None:
    fill(base, range(1, 6))
    before = tree_hash(base)
    result = purge(base, keep)
    assert result["failed"]
    assert result["msg"] == why
    assert result["removed"] == []
    assert tree_hash(base) == before


def test_item_without_a_number_is_a_failure_and_the_others_go_on(base: Path) -> None:
    fill(base, range(1, 4))
    fill(base, range(1, 4), "git/y")
    result = purge(base, {"svn/x": 1})
    assert reasons(result) == ["no number of copies to keep is given for git/y: nothing of it was removed"]
    assert result["removed"] == [relpath(1), relpath(2)]
    assert len(files(base / "git")) == 6


def test_names_limit_what_is_purged(base: Path) -> None:
    fill(base, range(1, 4))
    fill(base, range(1, 4), "git/y")
    put(base, "git/z/junk/z.tar")
    result = purge(base, 1, names=["svn/x"])
    assert result["removed"] == [relpath(1), relpath(2)]
    assert result["notes"] == []
    assert purge(base, 1, names=[])["removed"] == []


@pytest.mark.parametrize(
    ("keep", "names", "removed"),
    [({}, [], [1, 2]), ({"svn/x": 3}, ["svn/x"], [1])],
    ids=["no other item", "an item of its own number"],
)
def test_items_that_the_source_had_last_are_purged_too(
    base: Path, keep: dict[str, int], names: list[str], removed: list[int]
) -> None:
    for key in ("svn/x", "svn/y", "svn/z"):
        fill(base, range(1, 5), key)
    (base / ".altbackup" / "records" / "items").write_text("svn/x\nsvn/y\n")
    result = purge(base, keep, names=names, remembered=2)
    expected = [relpath(day, "svn/x") for day in removed] + [relpath(day, "svn/y") for day in (1, 2)]
    assert sorted(result["removed"]) == expected
    assert not result.get("failed")


def test_where_no_item_is_known_nothing_is_purged(base: Path) -> None:
    fill(base, range(1, 4))
    assert purge(base, {}, names=[], remembered=1)["msg"] == "purge: keep names no item"


def test_nothing_to_purge_is_a_failure(base: Path) -> None:
    assert purge(base)["msg"] == f"no tarballs in {base}: there is nothing to purge"
    fill(base, range(1, 4))
    result = purge(base, 1, names=["svn/typo", "svn/x"])
    assert reasons(result) == [f"no tarballs of svn/typo in {base}: there is nothing of it to purge"]
    assert result["removed"] == [relpath(1), relpath(2)]
    assert purge(base / "not-received")["failed"]
    empty = run_module("tarball_purge", base=str(base / "new"), keep=1, check=True, stamp=NOW, predicted=[relpath(20)])
    assert empty["failures"] == []


def junk(base: Path) -> dict[str, str]:
    """Put all sorts of things among good tarballs; return {relpath: reason} of those that must be noted."""
    for day, text in ((11, None), (12, "\n"), (13, "{'dig': '%s', 'size': 5}" % ("0" * 32)), (14, "import os")):
        put(base, relpath(day), b"truncated", text)
    put(base, relpath(15)).unlink()
    put(base, relpath(16, revision=1).replace("x-1.tar", "other-1.tar"))
    put(base, relpath(21), b"from the future")
    put(base, "svn/x/last/x-10.tar", b"collapsed")
    put(base, "svn/x/9999/99/99/999999/x-9.tar")
    put(base, "svn/x/2013/05/17/notime/x-9.tar")
    (base / "svn/x/2013/05/18/104701").mkdir(parents=True)
    (base / "svn/x/zzz").mkdir()
    (base / "svn/x/notes.txt").write_text("x")
    (base / "README").write_text("x")
    (base / "LOCKED").mkdir()
    return {
        "README": "it is no folder",
        "svn/x/9999/99/99/999999": "its name is no part of a stamp",
        "svn/x/2013/05/17/notime": "its name is no part of a stamp",
        "svn/x/last": "it should be a link",
        "svn/x/notes.txt": "it does not belong there",
        "svn/x/zzz": "its name is no part of a stamp",
        f"{relpath(15)}.dna": "it is a dna without its tarball",
        relpath(21): f"is dated later than {NOW}",
    }


@pytest.mark.parametrize("verify", [False, True])
def test_junk_does_not_count_and_is_left_alone_and_noted_and_no_failure(base: Path, verify: bool) -> None:
    good = fill(base, range(1, 6))
    notes = junk(base)
    before = files(base)
    result = purge(base, 2, verify=verify)
    assert not result.get("failed")
    assert result["failures"] == []
    assert result["kept"] == good[-2:]
    assert result["removed"] == good[:-2]
    gone = vouched(*good[:-2]) | {os.path.relpath(record(base, path), base) for path in good[:-2]}
    assert files(base) == before - gone
    assert sorted(result["unverified"]) == sorted(
        [*(relpath(day) for day in range(11, 15)), relpath(16).replace("x-16", "other-1")]
    )
    for path, why in notes.items():
        assert sum(path in note and why in note for note in result["notes"]) == 1, path
    assert len(result["notes"]) == len(notes)
    assert purge(base, 2, verify=verify)["removed"] == []


def test_three_truncated_newer_files_cost_no_good_one(base: Path) -> None:
    good = fill(base, [1, 2])
    for day in (3, 4, 5):
        os.truncate(put(base, relpath(day), b"a good one"), 4)
    result = purge(base, 3)
    assert (result["kept"], result["removed"]) == (good, [])


def test_stamp_is_what_counts_and_not_time_or_order_of_files(base: Path) -> None:
    for day in (3, 1, 5, 2, 4):
        path = base / fill(base, [day])[0]
        os.utime(path, (2_000_000_000 - day * 1000, 2_000_000_000 - day * 1000))
    put(base, relpath(6, revision=9999), b"9999")
    put(base, relpath(7, revision=10000), b"10000")
    put(base, relpath(7, clock="094701", revision=20000), b"20000")
    assert purge(base, 1)["kept"] == [relpath(7, revision=10000)]


def test_content_of_earlier_days_is_kept_by_equal_dna(base: Path) -> None:
    put(base, relpath(1), b"a" * SIZE)
    put(base, relpath(2), b"b" * SIZE)
    for day in (3, 4, 5):
        link(base, relpath(2), relpath(day))
    result = purge(base, 2)
    assert result["kept"] == [relpath(1), relpath(4), relpath(5)]
    assert result["removed"] == [relpath(2), relpath(3)]
    assert result["bytes_freed"] == 0  # their bits are shared with those that stay
    assert (base / relpath(5)).read_bytes() == b"b" * SIZE


def test_bytes_are_freed_with_the_last_link_only(base: Path, tmp_path: Path) -> None:
    put(base, relpath(1), b"a" * SIZE)
    link(base, relpath(1), relpath(2))
    put(base, relpath(3), b"b" * SIZE)
    os.link(base / relpath(3), tmp_path / "held")
    fill(base, [8, 9])
    result = purge(base, 2)
    assert result["removed"] == [relpath(1), relpath(2), relpath(3)]
    assert result["bytes_freed"] == SIZE


def test_reruns_of_one_day_are_one_day(base: Path) -> None:
    for clock in ("100000", "110000", "120000"):
        put(base, relpath(5, clock=clock), b"same content")
    fill(base, [4, 6])
    assert purge(base, 3)["kept"] == [relpath(4), relpath(5, clock="120000"), relpath(6)]


def test_what_this_run_made_is_never_removed(base: Path) -> None:
    fill(base, [1, 2, 3, 20])
    early = put(base, relpath(20, clock="000001"), b"1")
    assert purge(base, 1)["kept"] == [relpath(20)]
    assert not early.exists()
    fill(base, [2])
    # a clock that went back: this run's stamp is not the newest, so later ones do not count, and its own stays
    result = purge(base, 1, stamp="2013/05/02/104701")
    assert (result["kept"], result["removed"]) == ([relpath(2)], [])
    assert f"{relpath(20)} is dated later than 2013/05/02/104701" in result["notes"][0]


def test_without_a_stamp_it_is_now(base: Path) -> None:
    fill(base, range(1, 4))
    put(base, "svn/x/2999/01/01/000000/x-9.tar")
    result = purge(base, 1, stamp="")
    assert result["kept"] == [relpath(3)]
    assert reasons(result)[0].startswith(f"{base}/svn/x/2999/01/01/000000/x-9.tar is stamped later than this run, ")


@pytest.mark.parametrize("clock", ["2013/05/20/104701", "2013/06/01/000000"])
def test_what_no_clock_has_shown_yet_is_a_failure_and_what_came_between_is_none(base: Path, clock: str) -> None:
    fill(base, [1, 2])
    put(base, relpath(21), b"between", None)
    for revision, month in enumerate(("06/02", "07/01"), 21):
        put(base, f"svn/x/2013/{month}/104701/x-{revision}.tar", b"of the future")
    result = purge_once(base, 1, clock=clock)
    ahead = "svn/x/2013/06/02/104701/x-21.tar" if clock > relpath(21)[6:] else relpath(21)
    number = 1 if clock > relpath(21)[6:] else 2
    (reason,) = reasons(result)
    assert reason.startswith(
        f"{base / ahead} is stamped later than this run, {NOW}, and than the controller's clock, {clock} ({number} more "
    )
    assert "rename its folder to the time at which it was made; else move it out of the base" in reason
    assert (result["failures"][0]["relpath"], result["failures"][0]["stage"]) == (ahead, "check")
    assert (result["kept"], result["removed"]) == ([relpath(2)], [relpath(1)])
    assert len(files(base / "svn")) == 2 + 1 + 4


@pytest.mark.parametrize("added", [[], ["104701"], ["094701", "104701"]])
def test_a_run_removes_one_more_than_it_added_the_oldest_first_and_tells_how_many_wait(
    base: Path, added: list[str]
) -> None:
    good, other = fill(base, range(1, 9)), fill(base, range(1, 4), "git/y")
    new = [relpath(20, clock=clock) for clock in added]
    for path in new:
        put(base, path, b"new")
    result = purge_once(base, 1, stamp="2013/05/20/104701")
    due = [*good, *new][:-1]
    number = 2 if added else 1
    assert sorted(result["removed"]) == sorted([other[0], *due[:number]])
    assert sorted(result["waiting"]) == sorted([other[1], *due[number:]])
    assert set(result["waiting"]) < set(result["kept"])
    (note,) = result["notes"]
    assert note.startswith(
        f"{len(due) - number + 1} tarballs of {base} are no longer to be kept, but wait for the next runs "
    )
    assert (
        f"(1 of git/y, {len(due) - number} of svn/x): a run removes at most one more of an item than it added" in note
    )
    assert result["failures"] == []


class TestTarget:
    """On a target, what is removed depends on when it came."""

    @pytest.fixture
    def base(self, tmp_path: Path) -> Path:
        """Return a source's tree on a target."""
        marked(tmp_path / "copies")
        (tmp_path / "copies" / "dayabay").mkdir()
        return tmp_path / "copies" / "dayabay"

    def come(self, base: Path, arrived: dict[str, str]) -> None:
        for path, run in arrived.items():
            put(base, path, path.encode())
            note_arrival(open_tree(str(base)), path, run)

    def log(self, base: Path) -> Path:
        return base.parent / ".altbackup/arrivals/dayabay/svn/x"

    def test_late_arrivals_cost_no_copy_that_came_in_time_now_or_later(self, base: Path) -> None:
        honest = {relpath(day): f"2013/05/{day:02}/104701" for day in (16, 17, 18)}
        self.come(base, honest)
        self.come(base, {relpath(day, clock="120000"): NOW for day in range(13, 18)} | {relpath(20): NOW})
        first = purge_once(base, 3)
        assert not set(honest) - {relpath(16)} - set(first["kept"])
        assert first["removed"] == [relpath(13, clock="120000"), relpath(14, clock="120000")]
        assert purge(base, 3)["kept"] == [relpath(17), relpath(18), relpath(20)]
        assert set(arrivals(open_tree(str(base)), "svn/x")) == {relpath(17), relpath(18), relpath(20)}

    def test_late_arrivals_fill_what_is_free_until_others_come_in_time(self, base: Path) -> None:
        self.come(base, {relpath(day): "2013/05/18/104701" for day in (15, 16, 17, 18)})
        assert purge(base, 3)["kept"] == [relpath(16), relpath(17), relpath(18)]
        self.come(base, {relpath(20): NOW})
        assert purge(base, 3)["kept"] == [relpath(17), relpath(18), relpath(20)]

    def test_what_came_before_arrivals_were_noted_came_in_time(self, base: Path) -> None:
        for day in (10, 11, 12):
            put(base, relpath(day), b"%d" % day)
        self.come(base, {relpath(day, clock="120000"): NOW for day in range(10, 14)})
        assert purge(base, 3)["kept"] == [relpath(10), relpath(11), relpath(12), relpath(13, clock="120000")]

    @pytest.mark.sampled(4)
    @pytest.mark.parametrize(
        "text", ["junk\n", '["2013/05/20/104701", 5]\n', '["x", "y"]\n', "\n", "ü\n", "{}\n", "5\n"]
    )
    def test_arrivals_that_cannot_be_understood_remove_nothing_of_the_item(self, base: Path, text: str) -> None:
        good = [relpath(day) for day in (1, 2, 3)]
        other = [relpath(day, "git/y") for day in (1, 2)]
        for path in (*good, *other):
            put(base, path, path.encode())
        self.come(base, {relpath(20): NOW})
        with open(self.log(base), "a", encoding="utf-8") as stream:
            stream.write(text)
        result = purge_once(base, 1)
        assert result["removed"] == other[:1]
        assert all((base / path).exists() for path in good)
        (reason,) = reasons(result)
        assert f"{self.log(base)}, which tells when tarballs came, is damaged" in reason

    def test_line_that_a_killed_run_left_unfinished_is_nothing(self, base: Path) -> None:
        self.come(base, {relpath(day): NOW for day in (17, 18)})
        with open(self.log(base), "a") as stream:
            stream.write('["2013/05/20/104701", "2013/05/19/1047')
        assert purge_once(base, 1)["failures"] == []
        self.come(base, {relpath(19): NOW})
        assert [json.loads(line)[1] for line in self.log(base).read_text().splitlines()] == [
            path[6:] for path in (relpath(18), relpath(19))
        ]

    def test_what_came_again_after_a_kill_is_noted_once_and_in_another_run_anew(self, base: Path) -> None:
        tree = open_tree(str(base))
        for run, lines in ((NOW, 1), (NOW, 1), ("2013/05/21/104701", 2), ("2013/05/21/104701", 2), (NOW, 3)):
            note_arrival(tree, relpath(18), run)
            assert len(self.log(base).read_text().splitlines()) == lines
            assert arrivals(tree, "svn/x") == {relpath(18): run}
        with open(self.log(base), "a") as stream:
            stream.write(f'["{NOW}", "{relpath(18)[6:]}')
        note_arrival(tree, relpath(18), NOW)
        assert len(self.log(base).read_text().splitlines()) == 3

    def test_runs_that_move_no_tarball_leave_what_is_known_of_arrivals(self, base: Path) -> None:
        self.come(base, {relpath(day): NOW for day in (17, 18)})
        before = self.log(base).stat().st_mtime_ns, self.log(base).stat().st_ino
        assert not purge_once(base, 2)["changed"]
        assert (self.log(base).stat().st_mtime_ns, self.log(base).stat().st_ino) == before


def test_category_that_is_a_link_is_not_followed(base: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    fill(outside, range(1, 6))
    fill(outside, range(1, 6), "svn/y")
    fill(base, range(1, 6), "git/y")
    (base / "svn").symlink_to(outside / "svn")
    (base / "git" / "linked").symlink_to(outside / "svn" / "x")
    (base / "git" / "y" / "2014").symlink_to(outside / "svn" / "x" / "2013")
    before = tree_hash(outside)
    result = purge(base, 1)
    assert tree_hash(outside) == before
    assert result["removed"] == [relpath(day, "git/y") for day in range(1, 5)]
    assert sum("symbolic link" in note for note in result["notes"]) == 2
    assert result["failures"] == []
    assert run_module("tarball_purge", base=str(base), keep=1, stamp=NOW, names=["svn/x"])["failed"]
    assert tree_hash(outside) == before


def test_folder_that_it_is_called_from_is_not_touched(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "cwd", range(1, 6))
    (tmp_path / "cwd" / ".altbackup").rename(tmp_path / "cwd" / "records")
    fill(base, range(1, 4), "git/y")
    (base / "svn").mkdir()
    before = tree_hash(tmp_path / "cwd")
    for folder in ("", "svn", "svn/x", "svn/x/2013/05/01/104701"):
        monkeypatch.chdir(tmp_path / "cwd" / folder)
        purge(base, 1)
    assert tree_hash(tmp_path / "cwd") == before


def test_verify_counts_only_what_matches_and_leaves_the_rest(base: Path) -> None:
    good = fill(base, range(1, 6))
    for day in (4, 5):
        (base / relpath(day)).write_bytes(b"rotten".ljust(SIZE))
    assert purge(base, 2, check=True)["waiting"] == good[1:3]  # without verify
    result = purge(base, 2, verify=True)
    assert result["kept"] == good[1:3]
    assert result["removed"] == good[:1]
    assert result["unverified"] == good[3:]
    assert reasons(result) == [
        f"{path} does not match its dna: it does not count and was left alone" for path in good[3:]
    ]
    assert (base / good[4]).exists()


def test_verify_with_an_unreadable_tarball_leaves_it_and_goes_on(base: Path) -> None:
    good = fill(base, range(1, 5))
    (base / good[3]).chmod(0)
    with bound_by_modes():
        result = run_module("tarball_purge", base=str(base), keep=1, stamp=NOW, verify=True)
    assert (result["kept"], result["unverified"], result["removed"]) == (good[1:3], good[3:], good[:1])
    assert "cannot be read by uid 0: Permission denied" in result["msg"]


def test_item_with_a_folder_that_cannot_be_read_is_left_alone(base: Path) -> None:
    good = fill(base, range(1, 5))
    other = fill(base, range(1, 5), "git/y")
    (base / "svn/x/2013/05/04").chmod(0)
    with bound_by_modes():
        result = purge(base, 1)
    (base / "svn/x/2013/05/04").chmod(0o700)
    assert reasons(result) == [
        "what folder svn/x/2013/05/04 holds is not known: it cannot be read by uid 0: Permission denied"
    ]
    assert result["removed"] == other[:3]
    assert all((base / path).exists() for path in good)


def test_differing_files_beside_a_tarball_stay(base: Path) -> None:
    fill(base, range(1, 4))
    (base / relpath(1)).with_name("notes.txt").write_text("x")
    put(base, relpath(2).replace("x-2.tar", "x-3.tar"), b"unverified", None)
    result = purge(base, 1)
    assert result["removed"] == [relpath(1), relpath(2)]
    assert files(base / "svn") == {
        "x/2013/05/01/104701/notes.txt",
        "x/2013/05/02/104701/x-3.tar",
        "x/2013/05/03/104701/x-3.tar",
        "x/2013/05/03/104701/x-3.tar.dna",
    }
    assert record(base, relpath(2)).exists()  # the dump of the other may still be completed with it
    assert not record(base, relpath(1)).exists()


def test_long_and_odd_names_are_removed_too(base: Path) -> None:
    for name in ("漢" * 66, "a" * 200, "it's $x; rm -rf *", "100%", "-rf", "a_b", "a%b"):
        fill(base, range(1, 4), f"svn/{name}")
    result = purge(base, 1)
    assert (len(result["removed"]), len(result["kept"]), result["failures"]) == (14, 7, [])


@pytest.mark.parametrize("marker_above", [False, True])
def test_private_state_of_a_targets_tree_is_that_of_its_source(tmp_path: Path, marker_above: bool) -> None:
    top = marked(tmp_path / "target")
    base, private = top / "dayabay", top / ".altbackup"
    relpaths = fill(base, range(1, 4))
    shutil.rmtree(base / ".altbackup")
    for source in ("dayabay", "ihep"):
        for path in relpaths:
            kept = private / "records" / source / (os.path.dirname(path) + ".json")
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text("{}")
        (private / "trash" / source / "left").mkdir(parents=True)
    result = purge(base, 1)
    assert result["removed"] == relpaths[:2]
    left = {path.removesuffix(".json") for path in files(private)}
    records = {f"records/ihep/{os.path.dirname(path)}" for path in relpaths}
    assert left == records | {f"records/dayabay/{os.path.dirname(relpaths[2])}", "state/dayabay/purged"}
    assert os.listdir(private / "trash" / "ihep") == ["left"]
    assert os.listdir(private / "trash" / "dayabay") == []


def test_what_a_killed_purge_left_is_deleted_by_the_next(base: Path) -> None:
    good = fill(base, range(1, 4))
    trash = base / ".altbackup" / "trash"
    for name in ("whole", "half"):
        put(trash, f"{name}/x-1.tar")
    (trash / "half" / "x-1.tar.dna").unlink()
    (trash / "file").write_text("x")
    (trash / "link").symlink_to(base / "svn")
    result = purge(base, 3)
    assert result["changed"]
    assert (result["kept"], result["removed"], os.listdir(trash)) == (good, [], [])
    assert len(result["notes"]) == 4
    assert not purge(base, 3)["changed"]


@pytest.mark.sampled(4)
@pytest.mark.parametrize("step", ["rename", "unlink", "rmdir", "fsync"])
def test_purge_killed_at_any_step_leaves_no_half_pair_in_the_tree(
    base: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    class Killed(BaseException):
        """A simulated kill: no handler for errors sees it."""

    real = getattr(os, step)
    for limit in range(30):
        shutil.rmtree(base)
        good = fill(marked(base), range(1, 5))
        left = [limit]

        def counted(*args: Any, left: list[int] = left, **options: Any) -> Any:
            if not left[0]:
                raise Killed
            left[0] -= 1
            return real(*args, **options)

        with monkeypatch.context() as patch:
            patch.setattr(os, step, counted)
            try:
                run_module("tarball_purge", base=str(base), keep=1, stamp=NOW)
            except Killed:
                killed = True
            else:
                killed = False
        for path in good:
            assert (base / path).exists() == (base / f"{path}.dna").exists()
        assert (base / good[3]).exists()
        purge(base, 1)
        assert {path for path in files(base) if "records" not in path} == vouched(good[3])
        if not killed:
            break
    assert limit
    assert not killed


@pytest.mark.parametrize("limit", range(2))
def test_killed_purge_beside_other_files_leaves_no_sidecar_by_itself(
    base: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    good = fill(base, range(1, 4))
    for path in good[:2]:
        (base / path).with_name("notes.txt").write_text("x")
    real, done = os.unlink, []

    def unlink(path: Any, **options: Any) -> None:
        if ".tar" in str(path):
            if len(done) == limit:
                raise KeyboardInterrupt
            done.append(path)
        real(path, **options)

    monkeypatch.setattr(os, "unlink", unlink)
    with pytest.raises(KeyboardInterrupt):
        run_module("tarball_purge", base=str(base), keep=1, stamp=NOW)
    assert [path for path in good if (base / f"{path}.dna").exists() and not (base / path).exists()] == []
    assert len(done) == limit


@pytest.fixture
def immutable(base: Path) -> Iterator[Any]:
    """Return a function that makes a path undeletable even for root."""
    made: list[str] = []

    def make(path: Path) -> None:
        tool = shutil.which("chattr")
        if not tool or subprocess.run([tool, "+i", path], capture_output=True).returncode:
            pytest.skip("files cannot be made immutable here")
        made.append(str(path))

    yield make
    for top, folders, names in os.walk(base):
        for name in [*folders, *names]:
            subprocess.run(["chattr", "-i", os.path.join(top, name)], capture_output=True)
    subprocess.run(["chattr", "-i", base], capture_output=True)


def test_file_that_cannot_be_deleted_is_a_failure_until_it_can_and_stops_no_other(base: Path, immutable: Any) -> None:
    good = fill(base, range(1, 5))
    other = fill(base, range(1, 5), "git/y")
    immutable(base / good[0])
    result = purge(base, 1)
    assert result["failed"]
    assert f"{good[0]} was removed, but not all that belongs to it: " in result["msg"]
    assert result["removed"].count(good[0]) == 1
    assert len(result["removed"]) == 6
    assert result["bytes_freed"] == 5 * SIZE
    assert files(base / "svn") | files(base / "git") == vouched(good[3][4:], other[3][4:])
    fill(base, [5])
    result = purge(base, 1)  # the leftover does not stop the next night
    assert result["removed"] == [good[3]]
    assert len(result["failures"]) == 1
    assert "left by an earlier purge, cannot be removed: " in result["msg"]
    for path in (base / ".altbackup" / "trash").rglob("*"):
        subprocess.run(["chattr", "-i", path], check=True)
    assert purge(base, 1)["failures"] == []
    assert os.listdir(base / ".altbackup" / "trash") == []


def test_folder_that_cannot_be_changed_keeps_its_pair_and_is_a_failure(base: Path, immutable: Any) -> None:
    good = fill(base, range(1, 5))
    immutable((base / good[1]).parents[1])
    assert purge_once(base, 1)["removed"] == [good[0]]
    result = purge_once(base, 1)
    assert result["removed"] == [good[2]]  # what cannot go keeps no other from going
    assert reasons(result)[0].startswith(f"{good[1]} could not be removed: ")
    assert (base / good[1]).exists()
    assert (base / f"{good[1]}.dna").exists()


def test_another_file_system_below_the_base_is_purged_too(base: Path) -> None:
    (base / "svn").mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", base / "svn"], capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        good = fill(base, range(1, 4))
        result = purge(base, 1)
        assert (result["removed"], result["failures"]) == (good[:2], [])
        assert files(base / "svn") == vouched(good[2][4:])
        assert not list((base / ".altbackup" / "trash").iterdir())
    finally:
        subprocess.run(["umount", base / "svn"], check=True)


def test_base_that_cannot_be_written_is_a_failure(base: Path) -> None:
    fill(base, range(1, 4))
    before = tree_hash(base / "svn")
    (base / ".altbackup").chmod(0o500)
    with bound_by_modes():
        result = run_module("tarball_purge", base=str(base), keep=1, stamp=NOW)
    (base / ".altbackup").chmod(0o700)
    assert result["failed"]
    assert str(base / ".altbackup") in result["msg"]
    assert result["removed"] == []
    assert tree_hash(base / "svn") == before


def test_trees_of_the_original_are_purged(base: Path) -> None:
    for day in ("08", "09", "10"):
        original_tree(base, f"2013/05/{day}/104701")
    result = purge(base, 1)
    assert (len(result["kept"]), len(result["removed"]), result["failures"]) == (5, 10, [])
    assert (base / "LOCKED").is_dir()
    assert (base / "svn/dybsvn/last").resolve().is_dir()


def test_prediction_knows_what_this_run_would_have_made(base: Path) -> None:
    good = fill(base, range(1, 6))
    new = relpath(20, revision=99)
    result = purge(base, 2, check=True, predicted=[new])
    # day 5 as second day, content of day 4 as second content: that of 20 is taken as 5's
    assert (result["removed"], result["waiting"], result["kept"]) == (good[:2], good[2:3], good[2:])
    put(base, new, b"005" + b"x" * (SIZE - 3))
    assert purge(base, 2)["kept"] == [*good[3:], new]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"stamp": "yesterday"}, "stamp 'yesterday' is not a date and time"),
        ({"stamp": "2013/05/20"}, "stamp '2013/05/20' is not a date and time"),
        ({"stamp": "", "timezone": "Mars"}, "time zone 'Mars' is not known"),
        ({"base": "/nowhere/at/all"}, "base /nowhere/at/all does not exist: is its disk mounted?"),
        ({"base": ""}, "base '' is not an absolute path"),
        ({"predicted": ["../x"]}, "'../x' is not <category>/<name>/"),
        ({"keep": None}, "missing required arguments: keep"),
    ],
)
def test_bad_input_is_a_clear_message_and_removes_nothing(base: Path, options: dict[str, Any], why: str) -> None:
    fill(base, range(1, 4))
    before = tree_hash(base)
    given = {"base": str(base), "keep": 1, "stamp": NOW, **options}
    result = run_module("tarball_purge", **{key: value for key, value in given.items() if value is not None})
    assert result["failed"]
    assert why in result["msg"]
    assert tree_hash(base) == before


def test_base_without_marker_is_not_purged(tmp_path: Path) -> None:
    fill(tmp_path / "bare", range(1, 4))
    shutil.rmtree(tmp_path / "bare" / ".altbackup")
    before = tree_hash(tmp_path / "bare")
    assert "has no marker" in run_module("tarball_purge", base=str(tmp_path / "bare"), keep=1)["msg"]
    assert tree_hash(tmp_path / "bare") == before


def test_sidecar_of_the_fixture_is_that_of_the_collection(base: Path) -> None:
    assert modern_text(b"x") == Path(f"{put(base, relpath(1), b'x')}.dna").read_text()


@pytest.mark.parametrize(("unlock", "good"), [(False, True), (True, True), (True, False)])
def test_the_last_call_of_a_run_gives_the_tree_back_whatever_it_found(tmp_path: Path, unlock: bool, good: bool) -> None:
    base = marked(tmp_path / "dayabay")
    if good:
        put(base, "svn/dybsvn/2013/05/10/104701/dybsvn-1.tar")
    run: dict[str, Any] = {
        "controller": "controller",
        "user": "root",
        "command": "backup.yml",
        "started": "now",
        "host": "h",
        "boot": "b",
        "namespace": "n",
        "pid": 1,
        "ticks": 1,
        "seconds": 600,
        "alive": ["1/1"],
    }
    other = {**run, "pid": 2, "ticks": 2}
    first = run_module("tarball_purge", base=str(base), keep=1, run=run, unlock=unlock, fail=False)
    assert bool(first["failures"]) is not good
    second = run_module("tarball_purge", base=str(base), keep=1, run=other, fail=False)
    assert any("is in use by another run" in reason for reason in reasons(second)) is not unlock


@pytest.mark.parametrize("damaged", [False, True])
def test_of_what_is_checked_first_only_what_passed_is_purged(tmp_path: Path, damaged: bool) -> None:
    base = marked(tmp_path / "dayabay")
    fill(base, range(1, 6))
    fill(base, range(1, 6), "git/y")
    if damaged:
        (base / relpath(5)).write_bytes(b"y" * SIZE)
    options = {"day": "2013/05/05", "expect": {"x": 1, "y": 1}, "items": ["svn/x", "git/y"]}
    call = {
        "base": str(base),
        "keep": {"svn/x": 2, "git/y": 2},
        "stamp": NOW,
        "more": {"check": options},
        "fail": False,
    }
    result = run_module("tarball_purge", names=["svn/x", "git/y"], **call)
    assert {path.split("/")[1] for path in result["removed"]} == ({"y"} if damaged else {"x", "y"})
    assert sorted(result["match"] + result["mismatch"]) == [relpath(5, "git/y"), relpath(5)]
    assert result["mismatch"] == ([relpath(5)] if damaged else [])
    assert [(entry["stage"], entry["good"]) for entry in result["failures"]][:1] == (
        [("check", "2013/05/04/104701")] if damaged else []
    )
    other = run_module("tarball_purge", names=["git/y"], **call)
    assert {path.split("/")[1] for path in other["removed"]} <= {"y"}


def test_a_check_that_cannot_be_done_lets_nothing_be_purged(tmp_path: Path) -> None:
    base = marked(tmp_path / "dayabay")
    fill(base, range(1, 6))
    options = {"day": "2013/05/05", "expect": {"x": "many"}}
    result = run_module("tarball_purge", base=str(base), keep=1, stamp=NOW, more={"check": options}, fail=False)
    assert (result["removed"], result["changed"]) == ([], False)
    assert "is not a whole number" in reasons(result)[0]


def test_what_a_run_leaves_is_kept_in_mind_and_told_to_the_source(tmp_path: Path) -> None:
    copies, own = marked(tmp_path / "copies"), marked(tmp_path / "own")
    tree = copies / "dayabay"
    for day in (16, 17, 18, 19):
        put(tree, relpath(day), b"%d" % day)
    put(tree, relpath(9, "svn/old"))
    options = {"keep": 3, "stamp": NOW, "names": ["svn/x"], "remember": True}
    predicted = run_module("tarball_purge", check=True, base=str(tree), **options)
    assert (predicted["pair"], (copies / ".altbackup" / "state").exists()) == ({}, False)
    result = run_module("tarball_purge", base=str(tree), **options)
    told = {"id": "", "copies": 4, "purged": 1, "newest": "2013/05/19/104701", "run": NOW}
    assert (result["removed"], result["pair"]) == ([relpath(16)], told)
    assert (copies / ".altbackup" / "state" / "dayabay" / "known").read_text() == "svn/old\nsvn/x\n"
    put(own, relpath(19))
    for _ in range(2):
        result = run_module("tarball_purge", base=str(own), **options, pairs={"cms01": told})
        assert (result["pair"], result["failures"]) == ({}, [])
        assert json.loads((own / ".altbackup" / "state" / "pairs" / "cms01").read_text()) == told
    (own / ".altbackup" / "state" / "pairs" / "cms01").write_text("?")
    result = run_module("tarball_purge", base=str(own), **options, pairs={"cms01": told}, fail=False)
    (entry,) = result["failures"]
    assert str(own / ".altbackup" / "state" / "pairs" / "cms01") in entry["reason"]


def test_what_is_purged_is_counted_before_it_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = marked(tmp_path / "copies") / "dayabay"
    for day in (16, 17, 18, 19):
        put(tree, relpath(day), b"%d" % day)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("ansible_collections.altbackup.core.plugins.module_utils.stages.purge_removal.take_out", killed)
        with pytest.raises(KeyboardInterrupt):
            run_module("tarball_purge", base=str(tree), keep=1, stamp=NOW)
    assert (tmp_path / "copies" / ".altbackup" / "state" / "dayabay" / "purged").read_text() == "1\n"


WHY = "entries fell from 1,204 to 3"


def suspect(base: Path, *days: int) -> None:
    """Mark an item's tarballs as suspect in their records."""
    for day in days:
        record(base, relpath(day)).write_text(json.dumps({"suspect": [WHY]}))


def held(day: int) -> str:
    return os.path.dirname(relpath(day))


def test_while_a_suspect_is_not_accepted_no_good_copy_goes_and_it_is_told_how_to_accept_it(base: Path) -> None:
    fill(base, range(1, 8))
    suspect(base, 6, 7)
    result = purge(base)
    assert (result["removed"], result["kept"]) == ([], [relpath(day) for day in range(1, 8)])
    (note,) = result["notes"]
    assert note == (
        f"3 older copies of svn/x stay: suspect {relpath(7)} is not accepted: {WHY}. Look at it, then accept it, if it is what it should be: "
        "altbackup accept SOURCE/svn/x -i INVENTORY"
    )
    result = purge(base, marks={"accepted": {"svn/x": "2013/05/07/104701"}})
    assert (result["kept"], result["notes"]) == ([relpath(6), relpath(7)], [])


@pytest.mark.parametrize("name", ["x'; touch ran; '", "a b", 'q"q', "$(touch ran)", "naïve", "turned\u202e"])
def test_the_command_that_accepts_names_the_item_to_a_shell_whatever_the_name(base: Path, name: str) -> None:
    fill(base, range(1, 8), f"svn/{name}")
    for day in (6, 7):
        record(base, relpath(day, f"svn/{name}")).write_text(json.dumps({"suspect": [WHY]}))
    (note,) = purge(base)["notes"]
    command = note[note.index("altbackup accept ") :]
    done = subprocess.run(
        ["bash", "-c", f'printf "%s\\0" {command}'],
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        stdout=subprocess.PIPE,
        check=True,
    )
    assert done.stdout.decode().split("\0")[:3] == ["altbackup", "accept", f"SOURCE/svn/{name}"]


def test_the_newest_good_copy_of_an_item_is_told_and_what_is_suspect(base: Path) -> None:
    fill(base, range(1, 6))
    fill(base, [3], "git/y")
    suspect(base, 5)
    record(base, relpath(4)).write_text(json.dumps({"incomplete": ["a folder was not read"]}))
    result = purge(base, 3)
    assert [(entry["relpath"], entry["size"]) for entry in result["newest"]] == [
        (relpath(3, "git/y"), SIZE),
        (relpath(3), SIZE),
    ]
    assert result["suspects"] == {relpath(5): [WHY]}
    assert result["free"] > 0
    accepted = purge(base, 3, marks={"accepted": {"svn/x": "2013/05/05/104701"}})
    assert (accepted["newest"][1]["relpath"], accepted["suspects"]) == (relpath(5), {})


def test_good_copies_count_as_if_there_were_no_suspects(base: Path) -> None:
    fill(base, range(1, 6))
    suspect(base, 3, 4, 5)
    result = purge(base, 2)
    assert (result["removed"], result["notes"]) == ([], [])
    assert result["reasons"][relpath(2)][0] == "newest"


def test_of_suspects_that_nobody_accepts_the_first_and_the_last_three_stay(base: Path) -> None:
    fill(base, range(1, 10))
    suspect(base, *range(3, 10))
    result = purge(base)
    assert result["removed"] == [relpath(day) for day in (4, 5, 6)]
    assert result["kept"] == [relpath(day) for day in (1, 2, 3, 7, 8, 9)]


def test_a_suspect_after_those_that_were_accepted_is_one_again(base: Path) -> None:
    fill(base, range(1, 8))
    suspect(base, 5, 7)
    marks = {"accepted": {"svn/x": "2013/05/05/104701"}}
    assert purge(base, marks=marks)["removed"] == []
    assert purge(base)["removed"] == [], "the marks were kept"
    result = purge(base, marks={"accepted": {"svn/x": "2013/05/07/104701"}})
    assert result["kept"] == [relpath(6), relpath(7)]


def test_what_is_held_stays_until_it_is_released(base: Path) -> None:
    fill(base, range(1, 6))
    absent = "svn/x/2013/04/01/104701"
    result = purge(base, marks={"holds": {held(1): "before the move", absent: "x"}})
    assert (result["kept"], result["held"], result["marks_kept"]) == (
        [relpath(day) for day in (1, 4, 5)],
        [held(1)],
        True,
    )
    assert purge(base)["reasons"][relpath(1)] == ["hold: before the move"]
    result = purge(base, marks={"holds": {held(1): ""}})
    assert (result["kept"], result["held"]) == ([relpath(4), relpath(5)], [])


def test_a_hold_is_told_though_its_item_is_not_purged(base: Path) -> None:
    fill(base, range(1, 6))
    fill(base, range(1, 6), "tracs/y")
    assert purge(base, names=["tracs/y"], marks={"holds": {held(1): "x"}})["held"] == [held(1)]


def test_check_mode_goes_by_marks_that_it_does_not_write(base: Path) -> None:
    fill(base, range(1, 6))
    result = purge(base, marks={"holds": {held(1): "x"}}, check=True)
    assert relpath(1) in result["kept"] and relpath(2) in result["removed"]
    assert not list(base.rglob("marks.json"))


@pytest.mark.parametrize("fail", [False, True])
def test_where_marks_are_damaged_nothing_is_removed(base: Path, fail: bool) -> None:
    fill(base, range(1, 6))
    purge(base, 5, marks={"holds": {held(1): "x"}})
    (path,) = base.rglob("marks.json")
    path.write_text("{")
    before = files(base)
    result = run_module("tarball_purge", base=str(base), keep=1, stamp=NOW, fail=fail)
    assert (result.get("failed", False), result["removed"], result["marks_kept"]) == (fail, [], False)
    assert str(path) in reasons(result)[0] and "is damaged" in reasons(result)[0]
    assert files(base) == before


def test_where_a_record_is_damaged_nothing_of_its_item_is_removed(base: Path) -> None:
    fill(base, range(1, 6))
    fill(base, range(1, 6), "tracs/y")
    record(base, relpath(1)).write_text("{")
    result = run_module("tarball_purge", base=str(base), keep=1, stamp=NOW, fail=False)
    assert {path.split("/")[1] for path in result["removed"]} == {"y"}
    (reason,) = reasons(result)
    assert str(record(base, relpath(1))) in reason and "suspect" in reason


def test_marks_of_a_source_go_with_its_copies_on_a_target(tmp_path: Path) -> None:
    copies = marked(tmp_path / "copies")
    for name in ("dayabay", "juno"):
        for day in range(1, 6):
            put(copies / name, relpath(day), b"%03d" % day)
    for name in ("dayabay", "juno"):
        marks = {"holds": {held(1): "x"}} if name == "dayabay" else {}
        for _ in range(3):
            result = run_module("tarball_purge", base=str(copies / name), keep=1, stamp=NOW, marks=marks)
        assert (relpath(1) in result["kept"]) is (name == "dayabay")


def test_a_full_disk_does_not_keep_a_purge_from_making_room(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(base, range(1, 6))

    def full(path: str, text: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    monkeypatch.setattr(marks_module, "write_text", full)
    result = run_module("tarball_purge", base=str(base), keep=1, stamp=NOW, marks={"holds": {held(1): "x"}}, fail=False)
    assert (result["removed"], result["marks_kept"]) == ([relpath(2)], False)
    assert "could not be written, but this purge went by it" in reasons(result)[0]


@pytest.mark.parametrize("freed", [True, False])
def test_a_full_target_makes_room_and_counts_what_went_once_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, freed: bool
) -> None:
    base = marked(tmp_path / "copies") / "dayabay"
    for day in range(1, 6):
        put(base, relpath(day), b"%d" % day)
    tree = open_tree(str(base))
    real = pairs_module.write_text

    def full(path: str, text: str) -> None:
        if freed and not (base / relpath(1)).exists():
            real(path, text)
            return
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    for module in (pairs_module, readings_module):
        monkeypatch.setattr(module, "write_text", full)
    result = run_module("tarball_purge", base=str(base), keep=2, stamp=NOW, reverify_days=7, fail=False)
    assert result["removed"] == [relpath(1), relpath(2), relpath(3)][: len(result["removed"])] and result["removed"]
    told = reasons(result)
    assert any("could not be written down, and is read again" in reason for reason in told)
    assert any("there is no room to write that down" in reason for reason in told) is not freed
    assert purged_number(tree) == (len(result["removed"]) if freed else 0)


def test_what_another_node_lost_stays_and_the_rest_of_its_item_goes(base: Path) -> None:
    fill(base, range(1, 6))
    dna = {"size": SIZE, "dig": hashlib.sha256((base / relpath(1)).read_bytes()).hexdigest(), "alg": "sha256"}
    result = purge(base, awaited={"svn/x": [dna]})
    assert (relpath(1) in result["kept"], relpath(2) in result["removed"]) == (True, True)
    explained = run_module("tarball_purge", base=str(base), keep=2, stamp=NOW, awaited={"svn/x": [dna]}, explain=True)
    assert explained["reasons"][relpath(1)] == ["another node lost a copy of that, and has none again"]
    bad = purge(base, awaited={"svn/x": [{"dig": "x"}]})
    assert bad["failed"] and "awaited is no mapping" in bad["msg"]


def spoil(path: Path) -> None:
    """Change a byte of a file in place."""
    with path.open("r+b") as stream:
        stream.write(b"!")


def read_lately(base: Path, *relpaths: str, stamp: str = "2013/05/16/104701") -> None:
    """Record that tarballs were read then."""
    keep_readings(open_tree(str(base)), dict.fromkeys(relpaths, stamp))


def test_what_stays_is_read_if_it_was_not_lately_and_keeps_all_where_it_is_not_good(tmp_path: Path) -> None:
    base = marked(tmp_path / "b")
    mine, other = fill(base, (1, 2, 3, 4)), fill(base, (1, 2, 3, 4), "git/y")
    spoil(base / mine[3])
    result = run_module("tarball_purge", base=str(base), keep=2, stamp=NOW, reverify_days=7, fail=False)
    assert {path.split("/")[0] for path in result["removed"]} == {"git"}
    (failure,) = result["failures"]
    assert failure["relpath"] == mine[3] and "does not match its dna" in failure["reason"]
    assert "Nothing of this item was removed" in failure["reason"] and (base / mine[3]).exists()
    known = readings(open_tree(str(base)))
    assert (known[mine[3]], known[other[3]], known[mine[2]]) == ("", NOW, NOW), "the next check reads it first"


def test_what_was_read_lately_is_not_read_again(tmp_path: Path) -> None:
    base = marked(tmp_path / "b")
    mine = fill(base, (1, 2, 3, 4))
    read_lately(base, *mine)
    spoil(base / mine[3])
    result = run_module("tarball_purge", base=str(base), keep=2, stamp=NOW, reverify_days=7)
    assert (result["removed"], result["failures"]) == ([mine[0]], [])
    with_days = {"base": str(base), "keep": 2, "stamp": NOW, "fail": False, "reverify_days": 3}
    assert run_module("tarball_purge", **with_days)["removed"] == []


def test_nothing_is_read_where_nothing_goes_nor_noted_in_check_mode(tmp_path: Path) -> None:
    base = marked(tmp_path / "b")
    mine = fill(base, (1, 2, 3, 4))
    spoil(base / mine[3])
    assert run_module("tarball_purge", base=str(base), keep=4, stamp=NOW, reverify_days=7)["failures"] == []
    before = tree_hash(base)
    predicted = run_module("tarball_purge", base=str(base), keep=2, stamp=NOW, reverify_days=7, fail=False, check=True)
    assert predicted["removed"] == [] and len(predicted["failures"]) == 1
    assert tree_hash(base) == before


def test_on_a_target_the_check_sets_apart_what_rotted_and_only_the_other_items_are_purged(tmp_path: Path) -> None:
    base = marked(tmp_path / "copies") / "dayabay"
    mine, other = ([relpath(day, key) for day in (1, 2, 3, 20)] for key in ("svn/x", "git/y"))
    for path in (*mine, *other):
        put(base, path, path.encode())
    spoil(base / mine[0])
    check = {"check": {"expect": {"x": 1, "y": 1}, "day": "2013/05/20"}, "quarantine": True, "reverify_days": 1}
    moment = {"stamp": NOW, "clock": NOW}
    result = run_module("tarball_purge", base=str(base), keep=2, fail=False, more=check, **moment)
    assert result["removed"] == [other[0], other[1]]
    assert [entry["relpath"] for entry in result["quarantined"]] == [mine[0]]
    assert sorted(result["reread"]) == sorted([*mine[1:3], *other[:3]])
    assert set(result["mismatch"]) == {mine[0]} and len(result["failures"]) == 1
    assert (base.parent / ".altbackup" / "quarantine" / "dayabay" / mine[0]).is_file()
    assert not (base / mine[0]).exists()
    again = run_module("tarball_purge", base=str(base), keep=2, more=check, **moment)
    assert (again["quarantined"][0]["told"], again["reread"], again["failures"]) == ("", [], [])


def test_it_says_of_each_tarball_why_it_stays(base: Path) -> None:
    relpaths = fill(base, (1, 2, 5, 12, 19))
    result = purge_once(base, 1, rules={"weekly": 3, "within": "8d", "svn/other": {"daily": 9}})
    assert result["removed"] == [relpath(1)]
    assert result["reasons"] == {
        relpath(19): ["newest", "content 1/1", "day 1/1", "weekly 1/3", "within 8d"],
        relpath(12): ["weekly 2/3"],
        relpath(5): ["weekly 3/3"],
        relpath(2): [],
        relpath(1): [],
    }
    assert result["waiting"] == [relpath(2)]
    assert sorted(entry["relpath"] for entry in result["judged"]) == relpaths
    assert {(entry["size"], entry["alg"], len(entry["dig"])) for entry in result["judged"]} == {(SIZE, "sha256", 64)}
    silent = purge_once(base, 1, rules={"weekly": 3}, explain=False)
    assert (silent["reasons"], silent["judged"]) == ({}, [])


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        ({"dayly": 7}, "unknown rule 'dayly', did you mean 'daily'?"),
        ({"daily": "-7"}, "daily '-7' is not a whole number"),
        ({"svn/x": {"within": "soon"}}, "svn/x: within 'soon' is not a duration"),
        ({"svn/x": 5}, "svn/x: 5 is not a mapping of daily, weekly, monthly, yearly, within"),
    ],
)
def test_bad_rules_remove_nothing_and_are_named(base: Path, rules: dict[str, Any], why: str) -> None:
    fill(base, range(1, 6))
    before = tree_hash(base)
    result = run_module("tarball_purge", base=str(base), keep=1, rules=rules, stamp=NOW)
    assert result["failed"] and why in result["msg"]
    assert tree_hash(base) == before


def test_other_bytes_of_the_same_content_evict_nothing(base: Path) -> None:
    relpaths = fill(base, range(1, 6))
    for path in relpaths[2:]:
        dig = hashlib.sha256((base / path).read_bytes()).hexdigest()
        told = {"dig": dig, "size": SIZE, "alg": "sha256", "content": "c" * 64}
        record(base, path).write_text(json.dumps(told))
    result = purge_once(base, 3)
    assert (result["removed"], result["waiting"]) == ([], [])
    assert [result["reasons"][path] for path in relpaths] == [
        ["content 3/3"], ["content 2/3"], ["day 3/3"], ["day 2/3"], ["newest", "content 1/3", "day 1/3"]
    ]  # fmt: skip


def reviewed(base: Path, keep: int = 2) -> list[dict[str, Any]]:
    """Return what a purge in check mode would remove, in the form in which a reviewer hands it over."""
    found = run_module("tarball_purge", check=True, base=str(base), keep=keep, stamp=NOW)
    return [entry for entry in found["judged"] if entry["relpath"] in found["removed"]]


def test_what_was_reviewed_is_removed_and_nothing_else(base: Path) -> None:
    fill(base, range(1, 6))
    fill(base, range(1, 6), "tracs/y")
    both = reviewed(base)
    assert [entry["relpath"] for entry in both] == [relpath(1), relpath(1, "tracs/y")]
    result = purge_once(base, only=both[:1])
    assert (result["removed"], result["failures"]) == ([relpath(1)], [])
    assert sorted(result["waiting"]) == [relpath(2), relpath(3), *(relpath(day, "tracs/y") for day in (1, 2, 3))]
    assert purge_once(base, only=[])["removed"] == []


def test_what_is_not_as_it_was_reviewed_stays_and_is_a_failure(base: Path) -> None:
    fill(base, range(1, 6))
    (old,) = reviewed(base)
    put(base, relpath(1), b"other")
    other = purge_once(base, only=[old])
    put(base, relpath(1), b"001" + b"x" * (SIZE - 3))
    demanded = purge_once(base, 9, only=[old])
    wrong = purge_once(base, only=[{**old, "size": SIZE + 1}], confirm=True)
    many = purge_once(base, only=[old, *({**entry, "relpath": relpath(2)} for entry in judged(base, relpath(2)))])
    gone = purge_once(base, only=[old])
    head = f"{base}/{relpath(1)} was not removed, which the reviewed plan says to do: "
    assert [*reasons(other), *reasons(demanded), *reasons(wrong), *reasons(many), *reasons(gone)] == [
        f"{head}it has sha256 {SHA_OF_OTHER} and 5 bytes now, not sha256 {old['dig']} and {SIZE}. Make a new plan, with --check",
        f"{head}it is to be kept now (content 5/9, day 5/9). Make a new plan, with --check",
        f"{head}it has sha256 {old['dig']} and {SIZE} bytes now, not sha256 {old['dig']} and {SIZE + 1}. Make a new plan, with --check",
        head.replace(relpath(1), relpath(2))
        + "a run removes at most one more of an item than it added, so it has to wait. Make a new plan, with --check",
        f"{head}no tarball that counts is there now. Make a new plan, with --check",
    ]
    assert (other["removed"], demanded["removed"], wrong["removed"], many["removed"]) == ([], [], [], [relpath(1)])


SHA_OF_OTHER = hashlib.sha256(b"other").hexdigest()


def judged(base: Path, path: str) -> list[dict[str, Any]]:
    """Return a check-mode purge's judgement of a tarball."""
    found = run_module("tarball_purge", check=True, base=str(base), keep=2, stamp=NOW)
    return [entry for entry in found["judged"] if entry["relpath"] == path]
