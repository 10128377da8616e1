"""Retention as a pure function, against a model written in another style."""

from __future__ import annotations

import itertools
import time
from collections.abc import Collection
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import Tarball
from ansible_collections.altbackup.core.plugins.module_utils.tree.retention import (
    FROZEN,
    SUSPECT,
    Rules,
    demanded,
    judge,
    removable,
    shown_span,
)
from ansible_collections.altbackup.core.plugins.module_utils.tree.sidecar import Dna
from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import STAMP_FORMAT, is_late, parse_stamp


def tarball(stamp: str, content: str, alg: str = "sha256") -> Tarball:
    """Return a verified tarball of an item as a scan does."""
    return Tarball("svn", "x", stamp, "x.tar", 5, (1, hash(stamp)), 1, Dna(content, 5, alg), "", "verified")


def retained(
    tarballs: list[Tarball],
    keep: int,
    made_now: Collection[str] = (),
    late: Collection[str] = (),
    partial: Collection[str] = (),
) -> list[Tarball]:
    """Return the tarballs that `keep` alone retains, newest first."""
    reasons = judge(tarballs, Rules(keep), made_now=made_now, late=late, partial=partial)
    there = {one.relpath: one for one in tarballs}
    return [there[relpath] for relpath, why in reasons.items() if why]


def model(history: list[tuple[str, str]], keep: int, now: set[str]) -> set[str]:
    """Return the stamps to keep of one item's (stamp, content): promise 2, word by word."""
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


def told(history: str, rules: Rules, **options: object) -> dict[str, list[str]]:
    """Return {word: why it stays}, newest first; `history` are words YYYY/MM/DD, each with a letter for its content."""
    words = {f"{word[:10]}/0130{number:02}": word for number, word in enumerate(history.split())}
    tarballs = [tarball(stamp, word[10:] or word) for stamp, word in words.items()]
    for option in ("late", "partial", "suspects"):
        chosen = str(options.get(option, "")).split()
        options[option] = [one.relpath for one in tarballs if words[one.stamp] in chosen]
    reasons = judge(tarballs, rules, **options)  # type: ignore[arg-type]
    return {words["/".join(relpath.split("/")[2:6])]: why for relpath, why in reasons.items()}


@pytest.mark.parametrize(
    ("history", "rules", "reasons"),
    [
        pytest.param(
            "2026/01/30a 2026/01/31a 2026/02/01b 2026/02/02b",
            Rules(1, daily=2),
            {
                "2026/02/02b": ["newest", "content 1/1", "day 1/1", "daily 1/2"],
                "2026/02/01b": ["daily 2/2"],
                "2026/01/31a": [],
                "2026/01/30a": [],
            },
            id="days",
        ),
        pytest.param(
            "2020/12/31 2021/01/01 2021/01/03 2021/01/04",
            Rules(1, weekly=2),
            {
                "2021/01/04": ["newest", "content 1/1", "day 1/1", "weekly 1/2"],
                "2021/01/03": ["weekly 2/2"],
                "2021/01/01": [],
                "2020/12/31": [],
            },
            id="a week that two years share is one, and ends on Sunday",
        ),
        pytest.param(
            "2018/12/30 2018/12/31 2019/01/01",
            Rules(1, weekly=3),
            {
                "2019/01/01": ["newest", "content 1/1", "day 1/1", "weekly 1/3"],
                "2018/12/31": [],
                "2018/12/30": ["weekly 2/3"],
            },
            id="days of December that are in the first week of the next year",
        ),
        pytest.param(
            "2019/06/03 2019/12/30 2020/01/01 2020/12/28",
            Rules(1, weekly=3),
            {
                "2020/12/28": ["newest", "content 1/1", "day 1/1", "weekly 1/3"],
                "2020/01/01": ["weekly 2/3"],
                "2019/12/30": [],
                "2019/06/03": ["weekly 3/3"],
            },
            id="weeks of one number in several years are several",
        ),
        pytest.param(
            "2026/02/28 2026/03/01 2026/03/31 2026/04/01",
            Rules(1, monthly=3),
            {
                "2026/04/01": ["newest", "content 1/1", "day 1/1", "monthly 1/3"],
                "2026/03/31": ["monthly 2/3"],
                "2026/03/01": [],
                "2026/02/28": ["monthly 3/3"],
            },
            id="months",
        ),
        pytest.param(
            "2023/01/01 2024/06/01 2024/12/31 2025/12/31 2026/01/01",
            Rules(1, yearly=3),
            {
                "2026/01/01": ["newest", "content 1/1", "day 1/1", "yearly 1/3"],
                "2025/12/31": ["yearly 2/3"],
                "2024/12/31": ["yearly 3/3"],
                "2024/06/01": [],
                "2023/01/01": [],
            },
            id="years",
        ),
        pytest.param(
            "2020/05/01 2023/05/01 2026/05/01",
            Rules(1, daily=2, weekly=2, monthly=2, yearly=2),
            {
                "2026/05/01": [
                    "newest",
                    "content 1/1",
                    "day 1/1",
                    "daily 1/2",
                    "weekly 1/2",
                    "monthly 1/2",
                    "yearly 1/2",
                ],
                "2023/05/01": ["daily 2/2", "weekly 2/2", "monthly 2/2", "yearly 2/2"],
                "2020/05/01": [],
            },
            id="periods without any do not count",
        ),
        pytest.param(
            "2026/05/01 2026/05/02 2026/05/30 2026/06/01",
            Rules(1, weekly=3, monthly=3),
            {
                "2026/06/01": ["newest", "content 1/1", "day 1/1", "weekly 1/3", "monthly 1/3"],
                "2026/05/30": ["weekly 2/3", "monthly 2/3"],
                "2026/05/02": ["weekly 3/3"],
                "2026/05/01": ["oldest (monthly 2/3 not filled)"],
            },
            id="the oldest stays while a rule is not filled",
        ),
        pytest.param(
            "2026/05/01 2026/05/02 2026/05/03",
            Rules(1, weekly=2, monthly=2, yearly=1),
            {
                "2026/05/03": ["newest", "content 1/1", "day 1/1", "weekly 1/2", "monthly 1/2", "yearly 1/1"],
                "2026/05/02": [],
                "2026/05/01": ["oldest (weekly 1/2, monthly 1/2 not filled)"],
            },
            id="the oldest is told of all rules that are not filled",
        ),
        pytest.param(
            "2026/05/01a 2026/05/02b 2026/05/03c",
            Rules(4),
            {
                "2026/05/03c": ["newest", "content 1/4", "day 1/4"],
                "2026/05/02b": ["content 2/4", "day 2/4"],
                "2026/05/01a": ["content 3/4", "day 3/4"],
            },
            id="days and contents",
        ),
    ],
)
def test_each_rule_keeps_the_newest_of_its_periods_and_says_so(
    history: str, rules: Rules, reasons: dict[str, list[str]]
) -> None:
    assert told(history, rules) == reasons
    assert [*told(history, rules)] == sorted(history.split(), reverse=True)


@pytest.mark.parametrize(
    ("now", "within", "stay"),
    [
        ("2026/03/02/013000", 86400, "2026/03/02/013000 2026/03/01/013001"),
        ("2026/03/02/013000", 86401, "2026/03/02/013000 2026/03/01/013001 2026/03/01/013000"),
        ("2026/03/03/013000", 3600, "2026/03/02/013000"),
        ("", 86400, "2026/03/02/013000 2026/03/01/013001"),
        ("2026/03/02/013000", 1e15, "2026/03/02/013000 2026/03/01/013001 2026/03/01/013000 2026/02/28/000000"),
    ],
)
def test_what_is_younger_than_the_time_stays_by_the_stamps_alone(now: str, within: float, stay: str) -> None:
    stamps = ["2026/03/01/013000", "2026/02/28/000000", "2026/03/02/013000", "2026/03/01/013001"]
    reasons = judge([tarball(stamp, "a") for stamp in stamps], Rules(1, within=within), now=now)
    assert [relpath[6:23] for relpath, why in reasons.items() if why] == stay.split()


@pytest.mark.parametrize(
    ("seconds", "text"), [(86400, "1d"), (172800, "2d"), (129600, "36h"), (5400, "90m"), (61, "61s"), (0.5, "0.5s")]
)
def test_a_time_is_told_in_the_largest_unit_of_which_it_is_a_multiple(seconds: float, text: str) -> None:
    assert shown_span(seconds) == text


def test_what_is_held_stays_with_what_was_said() -> None:
    tarballs = [tarball(f"2013/05/{day:02}/104701", str(day)) for day in range(1, 5)]
    holds = {"svn/x/2013/05/02/104701": "before the move", "svn/y/2013/05/01/104701": "of another item"}
    reasons = judge(tarballs, Rules(1), holds=holds)
    assert [(relpath[14:16], why) for relpath, why in reasons.items() if why] == [
        ("04", ["newest", "content 1/1", "day 1/1"]),
        ("02", ["hold: before the move"]),
    ]


def test_what_is_said_of_a_new_one_makes_no_other_content_of_equal_bytes_that_were_there() -> None:
    one, two, link = (
        tarball("2026/05/01/010000", "aa"),
        tarball("2026/05/02/010000", "bb"),
        tarball("2026/05/09/010000", "aa"),
    )
    days = [tarball(f"2026/05/{day:02}/010000", "cc") for day in (3, 4)]
    said = {one.relpath: "A", two.relpath: "B", link.relpath: "B", **{each.relpath: "C" for each in days}}
    found = judge([one, two, link, *days], Rules(3), content=said)
    assert [relpath for relpath, why in found.items() if any("content" in text for text in why)] == [
        link.relpath,
        days[1].relpath,
        two.relpath,
    ], "what is told of the new one would leave but two contents"


def test_contents_count_by_their_digest_where_it_is_known_and_by_their_bytes_elsewhere() -> None:
    words = {"01": "a", "02": "b", "03": "b packed otherwise", "04": "b packed otherwise", "05": "c", "06": "d"}
    tarballs = [tarball(f"2013/05/{day}/104701", word) for day, word in words.items()]
    known = {one.relpath: "digest of b" for one in tarballs if one.stamp[8:10] in ("02", "03")}
    assert [one[14:16] for one, why in judge(tarballs, Rules(4), content=known).items() if why] == [
        "06",
        "05",
        "04",
        "03",
        "01",
    ]
    assert [one[14:16] for one, why in judge(tarballs, Rules(4)).items() if why] == ["06", "05", "04", "03", "02"]


@pytest.mark.parametrize(
    ("late", "stay"),
    [
        pytest.param("", "2026/03/03 2026/02/20 2026/01/25", id="none came late"),
        pytest.param("2026/02/20", "2026/03/03 2026/02/10 2026/01/25", id="it has not the month of one in time"),
        pytest.param(
            "2026/01/25 2026/01/05", "2026/03/03 2026/02/20 2026/02/01 2026/01/25", id="but a month of its own"
        ),
        pytest.param(
            "2026/03/01 2026/02/20 2026/02/10 2026/02/01 2026/01/25 2026/01/05",
            "2026/03/03 2026/02/20 2026/01/25",
            id="where all the others came late they count as any",
        ),
        pytest.param("2026/03/03", "2026/03/03 2026/03/01 2026/02/20 2026/01/25", id="nor has the newest one"),
    ],
)
def test_what_came_late_has_only_the_periods_that_are_left_free(late: str, stay: str) -> None:
    history = "2026/01/05 2026/01/25 2026/02/01 2026/02/10 2026/02/20 2026/03/01 2026/03/03"
    for option in ("late", "partial"):
        reasons = told(history, Rules(1, monthly=3), **{option: late})
        if option == "late":
            assert " ".join(word for word, why in reasons.items() if why) == stay
        assert {word for word, why in reasons.items() if why} >= set(stay.split())


def test_the_oldest_that_came_late_stays_only_where_it_is_the_oldest_of_all() -> None:
    history, rules = "2026/03/01 2026/03/02 2026/03/03 2026/03/04 2026/03/05", Rules(1, monthly=2)
    oldest = ["oldest (monthly 1/2 not filled)"]
    reasons = told(history, rules, late="2026/03/02 2026/03/03")
    assert {word: why for word, why in reasons.items() if why}.keys() == {"2026/03/05", "2026/03/01"}
    assert reasons["2026/03/01"] == oldest
    reasons = told(history, rules, late="2026/03/01 2026/03/02")
    assert {word: why for word, why in reasons.items() if word != "2026/03/05" and why} == {
        "2026/03/01": oldest,
        "2026/03/03": oldest,
    }


@pytest.mark.parametrize(
    ("suspects", "reasons"),
    [
        pytest.param(
            "05",
            {"05": [SUSPECT], "04": ["newest", "content 1/1", "day 1/1"], "03": [FROZEN], "02": [FROZEN]},
            id="one keeps all good ones from going",
        ),
        pytest.param(
            "02",
            {"05": ["newest", "content 1/1", "day 1/1"], "04": [FROZEN], "03": [FROZEN], "02": [SUSPECT]},
            id="also one that good ones followed",
        ),
        pytest.param(
            "01 02 03 04 05",
            {"05": [SUSPECT], "04": [SUSPECT], "03": [SUSPECT], "02": [], "01": [SUSPECT]},
            id="of many the first and the last three stay",
        ),
    ],
)
def test_suspects_count_for_nothing_and_stop_the_purge_of_the_good_ones(
    suspects: str, reasons: dict[str, list[str]]
) -> None:
    history = "2026/03/01 2026/03/02 2026/03/03 2026/03/04 2026/03/05"
    chosen = " ".join(f"2026/03/{day}" for day in suspects.split())
    found = {word[8:10]: why for word, why in told(history, Rules(1), suspects=chosen).items()}
    assert {day: found[day] for day in reasons} == reasons


def test_what_a_suspect_alone_keeps_no_rule_demands() -> None:
    assert [demanded(why) for why in ([], [FROZEN], [SUSPECT], ["day 1/3"])] == [False, False, True, True]


class Calendar:
    """Promise 2, by definition, for one item whose tarballs all came in time: which periods have one, and the newest of each."""

    def __init__(self, stamps: set[str]) -> None:
        self.moments = sorted(datetime.strptime(stamp, STAMP_FORMAT) for stamp in stamps)

    def kept(self, rules: Rules) -> set[str]:
        """Return the stamps that the calendar rules keep."""
        chosen: set[datetime] = set()
        for number, form in (
            (rules.daily, "%j %Y"),
            (rules.weekly, "%V %G"),
            (rules.monthly, "%m %Y"),
            (rules.yearly, "%Y"),
        ):
            newest = {moment.strftime(form): moment for moment in self.moments}
            chosen.update(sorted(newest.values())[-number:] if number else [])
            if 0 < len(newest) < number:
                chosen.add(self.moments[0])
        if rules.within and self.moments:
            chosen.update(
                moment for moment in self.moments if (self.moments[-1] - moment).total_seconds() < rules.within
            )
        return {moment.strftime(STAMP_FORMAT) for moment in chosen}


nights = st.dates(date(2018, 12, 1), date(2021, 2, 1)).flatmap(
    lambda day: st.sampled_from([f"{day:%Y/%m/%d}/0{hour}0000" for hour in range(3)])
)
pasts = st.dictionaries(nights, st.sampled_from("abcd"), max_size=40)
rulings = st.builds(
    Rules,
    st.integers(1, 4),
    *(st.integers(0, most) for most in (10, 9, 8, 4)),
    st.sampled_from([0.0, 3600.0, 86400.0, 1e7]),
)


@settings(max_examples=500)
@given(pasts, rulings, st.sets(nights, max_size=2))
def test_any_history_is_kept_as_all_rules_together_promise(past: dict[str, str], rules: Rules, now: set[str]) -> None:
    reasons = judge([tarball(*night) for night in past.items()], rules, made_now=now)
    kept = {relpath[6:23] for relpath, why in reasons.items() if why}
    assert kept == model([*past.items()], rules.keep, now) | Calendar(set(past)).kept(rules)


@settings(max_examples=500)
@given(pasts, rulings, st.data())
def test_removing_what_is_not_kept_changes_nothing_of_what_is(
    past: dict[str, str], rules: Rules, data: st.DataObject
) -> None:
    tarballs = [tarball(*night) for night in past.items()]
    options = {
        option: {one.relpath for one in tarballs if data.draw(st.booleans())}
        for option in ("late", "partial", "suspects")
    }
    reasons = judge(tarballs, rules, **options)
    gone = {relpath for relpath, why in reasons.items() if not why and data.draw(st.booleans())}
    left = [one for one in tarballs if one.relpath not in gone]
    assert judge(left, rules, now=max(past, default=""), **options) == {
        relpath: why for relpath, why in reasons.items() if relpath not in gone
    }
    in_time = [one for one in tarballs if one.relpath not in {*options["late"], *options["partial"]}]
    alone = judge(in_time, rules, now=max(past, default=""), suspects=options["suspects"])
    assert all(reasons[relpath] for relpath, why in alone.items() if demanded(why) and why != [SUSPECT])


@settings(max_examples=300)
@given(pasts, rulings, st.integers(0, 5), st.integers(0, 3))
def test_a_larger_rule_never_keeps_less(past: dict[str, str], rules: Rules, which: int, more: int) -> None:
    tarballs = [tarball(*night) for night in past.items()]
    word = ("keep", "daily", "weekly", "monthly", "yearly", "within")[which]
    larger = Rules(**{**vars(rules), word: getattr(rules, word) + more})
    kept = {relpath for relpath, why in judge(tarballs, rules).items() if why}
    assert kept <= {relpath for relpath, why in judge(tarballs, larger).items() if why}


# Differentials

FULLS = {"A": "a" * 64, "B": "b" * 64}


def history_of(text: str) -> list[Tarball]:
    """Return an item's tarballs; each word of `text` is a day, F (full) or D (differential) and the letter of the full one.

    Full ones of one letter are one file.
    """
    found = []
    for number, word in enumerate(text.split()):
        day, form, letter = word[:2], word[2], word[3]
        stamp, dig = f"2013/05/{day}/104701", FULLS[letter]
        if form == "F":
            dna, filename, inode = Dna(dig, 5), "x.tar", ord(letter)
        else:
            dna, filename, inode = (
                Dna(f"{number:064}", 5, "sha256", "2013/05/01/104701/x.tar", dig),
                "x.diff.tar",
                number,
            )
        found.append(Tarball("svn", "x", stamp, filename, 5, (1, inode), 1, dna, "", "verified"))
    return found


def days_kept(text: str, keep: int, **more: Any) -> dict[str, list[str]]:
    """Return {day: why its tarball stays} of the tarballs that stay."""
    reasons = judge(history_of(text), Rules(keep), **more)
    return {relpath.split("/")[4]: why for relpath, why in reasons.items() if why}


@pytest.mark.parametrize(
    ("history", "keep", "kept"),
    [
        pytest.param("01FA 02DA 03DA 04DA", 1, "01 04", id="the base of the newest stays"),
        pytest.param("01FA 02DA 03FB 04DB", 1, "01 03 04", id="a second full one stays beside it"),
        pytest.param("01FA 02DA 03FB 04DB", 2, "01 03 04", id="which may have a reason of its own"),
        pytest.param("01FA 02DA 03FB 04FB", 1, "04", id="without differentials nothing is added"),
        pytest.param("01FA 02FA 03DA", 1, "02 03", id="a link to the base serves"),
        pytest.param("01FA 03FB 04DA 05DB 06DB", 2, "01 03 05 06", id="contents rest on two"),
        pytest.param(
            "02DA 03FB 04DB", 1, "02 03 04", id="one without its full one counts for nothing, and waits for it"
        ),
        pytest.param("03FB 04DA", 1, "03 04", id="nor is it the newest"),
    ],
)
def test_full_tarballs_stay_as_long_as_differentials_need_them(history: str, keep: int, kept: str) -> None:
    assert sorted(days_kept(history, keep)) == kept.split()


def test_a_full_tarball_says_for_which_it_stays() -> None:
    kept = days_kept("01FA 02DA 03FB 04DB", 1)
    assert kept["03"] == ["base of 2013/05/04/104701"]
    assert kept["01"] == ["second full"]
    assert demanded(kept["03"])
    later = days_kept("01FA 02FB", 1, needed={FULLS["A"]: "2013/06/01/104701"})
    assert later["01"] == ["base of 2013/06/01/104701"]
    assert days_kept("02DA 03FB", 1)["02"] == ["its full tarball is not here"]


@pytest.mark.parametrize(
    ("rules", "kept"),
    [
        pytest.param(Rules(3), "0100 0200", id="day"),
        pytest.param(Rules(1, daily=3), "0100 0200", id="daily"),
        pytest.param(Rules(1, weekly=3), "0200", id="of a week the newest that came on its day"),
    ],
)
def test_what_is_added_to_a_day_that_is_over_takes_that_day_from_nobody(rules: Rules, kept: str) -> None:
    """A source delivers tarballs of the hours after its last honest one, in the next night."""
    honest = [tarball("2013/05/01/010000", "a"), tarball("2013/05/02/010000", "b")]
    added = [tarball(f"2013/05/01/{hour:02}3000", f"evil {hour}") for hour in range(2, 9)]
    reasons = judge([*honest, *added], rules, behind=[one.relpath for one in added])
    by_time = {one.stamp[8:10] + one.stamp[11:13]: [*reasons[one.relpath]] for one in honest}
    assert [
        time for time, why in sorted(by_time.items()) if [word for word in why if not word.startswith("oldest")]
    ] == [{"0100": "0101", "0200": "0201"}[word] for word in kept.split()]
    for one in added:
        assert not any(word.startswith(("day ", "daily ", "weekly ")) for word in reasons[one.relpath])


def test_what_came_after_its_day_has_that_day_where_nobody_else_has() -> None:
    alone = tarball("2013/05/01/083000", "a")
    newest = tarball("2013/05/02/010000", "b")
    assert "day 2/2" in judge([alone, newest], Rules(2), behind=[alone.relpath])[alone.relpath]
