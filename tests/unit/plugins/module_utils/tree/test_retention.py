"""Retention as a pure function, against a model written in another style."""

from __future__ import annotations

import itertools
import time
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import Tarball
from ansible_collections.altbackup.core.plugins.module_utils.tree.retention import removable, retained
from ansible_collections.altbackup.core.plugins.module_utils.tree.sidecar import Dna
from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import STAMP_FORMAT, is_late, parse_stamp


def tarball(stamp: str, content: str, alg: str = "sha256") -> Tarball:
    """Return a verified tarball of an item as a look at a tree would show it."""
    return Tarball("svn", "x", stamp, "x.tar", 5, (1, hash(stamp)), 1, Dna(content, 5, alg), "", "verified")


def model(history: list[tuple[str, str]], keep: int, now: set[str]) -> set[str]:
    """Given (stamp, content) of one item, return the stamps to keep: promise 2, word by word."""
    last_days = sorted({stamp[:10] for stamp, _ in history})[-keep:]
    newest_of_days = {max(stamp for stamp, _ in history if stamp[:10] == day) for day in last_days}
    newest_of = {content: max(stamp for stamp, other in history if other == content) for _, content in history}
    last_contents = sorted(newest_of.values())[-keep:]
    return newest_of_days | set(last_contents) | (now & {stamp for stamp, _ in history})


@pytest.mark.parametrize(
    ("history", "keep", "kept"),
    [
        pytest.param("", 3, "", id="nothing"),
        pytest.param("01a", 1, "01", id="one"),
        pytest.param("01a 02b 03c 04d", 2, "03 04", id="new contents every day"),
        pytest.param("01a 02a 03a 04a", 2, "03 04", id="one content"),
        pytest.param("01a 02b 03b 04b", 2, "01 03 04", id="older content is kept beyond the days"),
        pytest.param("01a 02b 03a 04b 05a", 2, "04 05", id="contents that come back"),
        pytest.param("01a 02b 03c 04a 05a", 3, "02 03 04 05", id="a content is as old as its newest copy"),
        pytest.param("01a 01b 01c", 1, "01c", id="reruns on one day"),
        pytest.param("01a 01b 01c 02d", 2, "01c 02", id="reruns count as one day"),
        pytest.param("01a 01b 01c 02c", 2, "01b 01c 02", id="a content of a rerun is kept, too"),
        pytest.param("01a 02b 03c", 99, "01 02 03", id="fewer than to keep"),
    ],
)
def test_days_and_contents_are_kept(history: str, keep: int, kept: str) -> None:
    tarballs = [tarball(f"2013/05/{word[:2]}/10470{number}", word[2:]) for number, word in enumerate(history.split())]
    names = [one.stamp[8:10] + (one.dna.dig if one.dna else "") for one in retained(tarballs, keep)]
    expected = [word for word in history.split() if any(word.startswith(start) for start in kept.split())]
    assert names == expected[::-1]


def test_equal_digits_of_another_algorithm_are_another_content() -> None:
    tarballs = [tarball("2013/05/01/104701", "a", "md5"), tarball("2013/05/01/104702", "a", "sha256")]
    assert len(retained(tarballs, 2)) == 2


def test_order_is_that_of_the_stamps_whatever_the_order_given() -> None:
    tarballs = [tarball(f"2013/05/{day:02}/104701", str(day)) for day in range(1, 5)]
    assert {tuple(one.stamp for one in retained(order, 2)) for order in itertools.permutations(tarballs)} == {
        ("2013/05/04/104701", "2013/05/03/104701")
    }


@pytest.mark.parametrize(
    ("history", "late", "keep", "kept"),
    [
        pytest.param("01a 02b 03c", "", 3, "01 02 03", id="none came late"),
        pytest.param("01a 02b 03c 04d", "02", 3, "01 03 04", id="a late one takes nobody's place"),
        pytest.param("01a 02b 03c 04d 05e 06f", "01 02 03 04 05", 3, "04 05 06", id="late ones fill what is free"),
        pytest.param("01a 02b 03c 04d 05e", "02 03 04", 3, "01 04 05", id="one place is free"),
        pytest.param("01a 02b 03b 04b", "03", 2, "01 02 04", id="nor the day of one that came in time"),
        pytest.param("01a 02a 03a 04a", "02 03", 2, "01 04", id="days alone"),
        pytest.param("01a 03b 04b 05b", "03 04", 2, "01 05", id="no content is left free"),
        pytest.param("01a 05b 05c 05d", "01", 2, "01 05c 05d", id="a free day, but contents in time go first"),
        pytest.param("01a 02b 03c 05d 06e", "05 06", 3, "01 02 03 06", id="the newest stays in any case"),
        pytest.param("01a 02b 03c 04d 05e", "01 02 03 04 05", 2, "04 05", id="all came late"),
    ],
)
def test_what_came_late_fills_only_what_is_free(history: str, late: str, keep: int, kept: str) -> None:
    tarballs = [tarball(f"2013/05/{word[:2]}/10470{number}", word[2:]) for number, word in enumerate(history.split())]
    came_late = {one.relpath for one in tarballs if one.stamp[8:10] in late.split()}
    names = [one.stamp[8:10] + (one.dna.dig if one.dna else "") for one in retained(tarballs, keep, late=came_late)]
    assert names == [word for word in history.split() if any(word.startswith(start) for start in kept.split())][::-1]


@pytest.mark.parametrize(
    ("added", "late", "number"),
    [
        pytest.param("", "", 1, id="nothing"),
        pytest.param("05/010000", "", 2, id="one"),
        pytest.param("05/010000 05/020000 05/030000", "", 2, id="many of one day are as one"),
        pytest.param("04/230000 05/010000", "", 3, id="two days"),
        pytest.param("01/010000 02/010000 05/010000", "01/010000 02/010000", 2, id="late ones are none"),
    ],
)
def test_a_run_removes_one_more_than_the_days_that_it_added_to(added: str, late: str, number: int) -> None:
    tarballs = [tarball(f"2013/05/{clock}", clock) for clock in added.split()]
    assert (
        removable(tarballs, {f"svn/x/2013/05/{clock}/x.tar" for clock in late.split()}) == number <= len(tarballs) + 1
    )


def test_what_was_made_now_stays() -> None:
    tarballs = [tarball(f"2013/05/{day:02}/104701", str(day)) for day in range(1, 5)]
    assert [one.stamp[8:10] for one in retained(tarballs, 1, {"2013/05/02/104701"})] == ["04", "02"]


stamps = st.builds(
    "{:04}/{:02}/{:02}/{:02}0000".format,
    st.sampled_from([1999, 2013, 2014]),
    st.integers(1, 2),
    st.integers(1, 6),
    st.integers(0, 3),
)
histories = st.dictionaries(stamps, st.sampled_from("abcd"), max_size=30).map(lambda found: list(found.items()))


@settings(max_examples=300)
@given(histories, st.integers(1, 6), st.sets(stamps, max_size=2))
def test_any_history_is_kept_as_promised(history: list[tuple[str, str]], keep: int, now: set[str]) -> None:
    tarballs = [tarball(stamp, content) for stamp, content in history]
    kept = retained(tarballs, keep, now)
    stamps_kept = {one.stamp for one in kept}
    assert stamps_kept == model(history, keep, now)
    assert [one.stamp for one in kept] == sorted(stamps_kept, reverse=True)
    if history:
        assert max(history)[0] in stamps_kept
        days, contents = {stamp[:10] for stamp, _ in history}, {content for _, content in history}
        assert len({stamp[:10] for stamp in stamps_kept}) >= min(keep, len(days))
        assert len({content for stamp, content in history if stamp in stamps_kept}) >= min(keep, len(contents))
    assert retained(kept, keep, now) == kept
    assert set(retained(tarballs, keep + 1, now)) >= set(kept)


@settings(max_examples=300)
@given(histories, st.integers(1, 6), st.sets(stamps), st.sets(stamps, max_size=2))
def test_nothing_that_came_late_changes_what_is_kept_of_the_rest(
    history: list[tuple[str, str]], keep: int, late: set[str], now: set[str]
) -> None:
    tarballs = [tarball(stamp, content) for stamp, content in history]
    came_late = {one.relpath for one in tarballs if one.stamp in late}
    in_time = [one for one in tarballs if one.relpath not in came_late]
    kept = retained(tarballs, keep, now, came_late)
    assert [one for one in kept if one.relpath not in came_late] == retained(in_time, keep, now)
    free_days = max(0, keep - len({one.stamp[:10] for one in in_time}))
    free_contents = max(0, keep - len({one.dna for one in in_time}))
    filled = [one for one in kept if one.relpath in came_late and one.stamp not in now and one is not kept[0]]
    assert len(filled) <= free_days + free_contents
    if history:
        assert kept[0].stamp == max(history)[0]
    assert retained(kept, keep, now, came_late) == kept
    assert set(retained(tarballs, keep + 1, now, came_late)) >= set(kept)


@settings(max_examples=200)
@given(st.lists(st.lists(st.integers(0, 200), max_size=12), min_size=6, max_size=6), st.integers(1, 5))
def test_a_source_that_lies_has_one_day_of_the_past_a_night_and_one_more(lies: list[list[int]], keep: int) -> None:
    honest = {f"2013/05/{day:02}/010000" for day in range(10, 10 + keep)}
    held = {stamp: tarball(stamp, stamp) for stamp in honest}
    late: set[str] = set()
    for night in range(keep + 1):
        run = f"2013/05/{10 + keep + night:02}/010000"
        moment = parse_stamp(run)
        offered = {(moment - timedelta(hours=hours)).strftime(STAMP_FORMAT) for hours in [0, *lies[night]]} - set(held)
        arrived = [tarball(stamp, f"false {run} {stamp}") for stamp in offered]
        late |= {one.relpath for one in arrived if is_late(one.stamp, run)}
        held |= {one.stamp: one for one in arrived}
        kept = {one.stamp for one in retained([*held.values()], keep, {run}, late)}
        due = sorted(set(held) - kept)[: removable(arrived, late)]
        held = {stamp: one for stamp, one in held.items() if stamp not in due}
        assert len(honest & set(held)) >= keep - (night + 2)


@given(histories.filter(bool), st.integers(1, 4), st.integers(1, 4))
def test_a_smaller_number_later_keeps_what_it_would_have_kept_at_once(
    history: list[tuple[str, str]], more: int, fewer: int
) -> None:
    tarballs = [tarball(stamp, content) for stamp, content in history]
    low, high = sorted((more, fewer))
    assert retained(retained(tarballs, high), low) == retained(tarballs, low)


def test_ten_thousand_tarballs_are_judged_at_once() -> None:
    tarballs = [tarball(f"{2000 + n // 365:04}/01/01/{n % 365:06}", str(n)) for n in range(10000)]
    start = time.process_time()
    assert 5000 <= len(retained(tarballs, 5000)) <= 5028  # the newest of 28 days may be others
    print(f"10000 tarballs judged in {time.process_time() - start:.3f} s")


@pytest.mark.parametrize(
    ("history", "keep", "partial", "kept"),
    [
        pytest.param("01a 02b 03x 04x 05x", 2, "03 04 05", "01 02 05", id="those in part evict no whole one"),
        pytest.param("01a 02x 03y 04z", 1, "02 03 04", "01 04", id="the newest whole one stays"),
        pytest.param("01x 02y 03z", 2, "01 02 03", "02 03", id="where none is whole they count as any"),
        pytest.param("01a 02x 03y", 3, "02 03", "01 02 03", id="they have what is left free"),
        pytest.param("01x 02b 03c", 2, "01", "02 03", id="a whole one goes before an older one in part"),
    ],
)
def test_copies_in_part_have_what_whole_ones_leave_free(history: str, keep: int, partial: str, kept: str) -> None:
    tarballs = [tarball(f"2013/05/{word[:2]}/104701", word[2:]) for word in history.split()]
    in_part = {one.relpath for one in tarballs if one.stamp[8:10] in partial.split()}
    assert sorted(one.stamp[8:10] for one in retained(tarballs, keep, partial=in_part)) == kept.split()


def test_last_whole_copy_stays_though_it_came_late() -> None:
    tarballs = [tarball(f"2013/05/{day:02}/104701", str(day)) for day in range(1, 8)]
    late, in_part = {tarballs[0].relpath}, {one.relpath for one in tarballs[1:]}
    assert tarballs[0] in retained(tarballs, 2, late=late, partial=in_part)
