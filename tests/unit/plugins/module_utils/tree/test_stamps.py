"""Stamps and days."""

from __future__ import annotations

import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput
from ansible_collections.altbackup.core.plugins.module_utils.tree import stamps

TODAY = "2013/05/10"


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("", TODAY),
        ("   ", TODAY),
        ("-1", "2013/05/09"),
        ("-10", "2013/04/30"),
        ("-365", "2012/05/10"),
        ("-99999", "1739/07/27"),
        (" -2\n", "2013/05/08"),
        ("2013/05/10", "2013/05/10"),
        (" 2012/02/29 ", "2012/02/29"),
        ("0001/01/01", "0001/01/01"),
        ("0999/12/31", "0999/12/31"),
        ("9999/12/31", "9999/12/31"),
    ],
)
def test_day_of_a_user_is_interpreted(text: str, day: str) -> None:
    assert stamps.interpret_day(text, TODAY) == day


@pytest.mark.parametrize(
    "text",
    [
        *("today", "yesterday", "1", "+1", "0", "-0", "-01", "--1", "- 1", "-1.5", "-1d", "-", "all", "-100000"),
        *("2013-04-13", "2013/5/1", "2013/05/1", "13/05/10", "2013/02/30", "2013/13/01", "2013/00/10", "0000/01/01"),
        *("2013/05/10/104701", "2013/05/10/", "/2013/05/10", "2013 05 10", "2013/ 5/10", "2013/05/10x", "20130510"),
        *(
            "\uff12\uff10\uff11\uff13/\uff10\uff15/\uff11\uff10",
            "-\uff11",
            "\u0662\u0660\u0661\u0663/\u0660\u0665/\u0661\u0660",
            "2013\u221505\u221510",
            "\u22121",
            "2013/05/10\x00",
            "2013/05\n/10",
            "../../etc/p",
        ),
    ],
)
def test_any_other_day_is_an_error_that_says_what_is_meant(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"neither empty \(today\), nor a number of days back like -1, nor a date"):
        stamps.interpret_day(text, TODAY)


def test_days_back_end_at_the_first_day_there_is() -> None:
    assert stamps.interpret_day("-9", "0001/01/10") == "0001/01/01"
    with pytest.raises(InvalidInput):
        stamps.interpret_day("-10", "0001/01/10")


@given(st.text(max_size=20))
def test_a_day_is_a_date_or_an_error(text: str) -> None:
    try:
        day = stamps.interpret_day(text, TODAY)
    except InvalidInput:
        return
    assert stamps.is_stamp(f"{day}/000000")


@pytest.mark.parametrize("text", ["2013/05/10/104701", "2012/02/29/000000", "0001/01/01/000000", "9999/12/31/235959"])
def test_stamp_is_read(text: str) -> None:
    assert stamps.is_stamp(text)
    assert (
        stamps.parse_stamp(text).isoformat()
        == f"{text[:4]}-{text[5:7]}-{text[8:10]}T{text[11:13]}:{text[13:15]}:{text[15:]}"
    )
    assert stamps.day_of(text) == text[:10]


@pytest.mark.parametrize(
    "text",
    [
        *("", "2013/05/10", "2013/05/10/1047", "2013/05/10/240000", "2013/05/10/106001", "2013/05/10/104760"),
        *("2013/05/10/104761", "2013/02/30/104701", "0000/01/01/000000", "2013-05-10/104701", "2013/05/10/104701\n"),
        *(
            " 2013/05/10/104701",
            "2013/05/10/10470\uff11",
            "../2013/05/10/104701",
            "2013/05/10/104701/",
            "2013/5/10/104701",
        ),
    ],
)
def test_what_is_no_stamp_is_an_error_that_shows_one(text: str) -> None:
    assert not stamps.is_stamp(text)
    with pytest.raises(
        InvalidInput, match="is not a date and time of the form YYYY/MM/DD/HHMMSS, like 2013/05/10/104701"
    ):
        stamps.parse_stamp(text)


# 2013-05-10 23:58:00 UTC is 2013-05-11 07:58:00 in Taipei and 16:58:00 of the 10th in Los Angeles.
@pytest.mark.parametrize(
    ("zone", "stamp"),
    [
        ("UTC", "2013/05/10/235800"),
        ("Etc/UTC", "2013/05/10/235800"),
        ("Asia/Taipei", "2013/05/11/075800"),
        ("America/Los_Angeles", "2013/05/10/165800"),
        ("Europe/Berlin", "2013/05/11/015800"),
    ],
)
@pytest.mark.parametrize("own", ["UTC", "Asia/Taipei", "America/Los_Angeles", None])
def test_stamp_does_not_depend_on_the_zone_of_the_node(
    monkeypatch: pytest.MonkeyPatch, zone: str, stamp: str, own: str | None
) -> None:
    if own:
        monkeypatch.setenv("TZ", own)
    else:
        monkeypatch.delenv("TZ", raising=False)
    assert stamps.stamp_at(1368230280, zone) == stamp
    assert stamps.today_in(zone, 1368230280) == stamp[:10]
    assert os.environ.get("TZ") == own


def test_zone_of_the_process_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/Los_Angeles")
    time.tzset()
    before = time.localtime(0)
    stamps.stamp_at(0, "Asia/Taipei")
    assert time.localtime(0) == before
    monkeypatch.undo()
    time.tzset()


def test_night_of_summer_time_has_a_stamp_for_each_hour() -> None:
    # 2013-10-27 in Berlin: 00:30 and 01:30 UTC are both 02:30 there; the day holds.
    assert stamps.stamp_at(1382833800, "Europe/Berlin") == stamps.stamp_at(1382837400, "Europe/Berlin")
    assert stamps.today_in("Europe/Berlin", 1382833800) == "2013/10/27"


@pytest.mark.parametrize(
    "zone",
    [
        *(
            "",
            "Nowhere/City",
            "../etc/passwd",
            "/etc/passwd",
            "Asia",
            "Asia/../../../../etc/passwd",
            "zone.tab",
            "Asia/",
        ),
        *("/usr/share/zoneinfo/UTC", "taipei", "Asia/Taipei\x00", "UTC0", ":UTC", "Asia/Taipei "),
    ],
)
def test_unknown_zone_is_an_error_and_not_taken_for_utc(zone: str) -> None:
    with pytest.raises(InvalidInput, match="is not known on this node: use a name like UTC or Asia/Taipei"):
        stamps.today_in(zone)


@pytest.mark.parametrize(
    ("stamp", "zone", "moment"),
    [
        ("2013/05/10/104701", "UTC", 1368182821),
        ("2013/05/10/104701", "Asia/Taipei", 1368154021),
        ("2013/07/27/023000", "Europe/Berlin", 1374885000),
        ("2013/12/27/023000", "Europe/Berlin", 1388107800),
        ("2013/10/27/023000", "Europe/Berlin", 1382833800),  # and once more an hour later
        ("2013/10/27/015959", "Europe/Berlin", 1382831999),
    ],
)
def test_stamp_means_its_first_moment(stamp: str, zone: str, moment: int) -> None:
    assert stamps.earliest_moment(stamp, zone) == moment
    assert stamps.stamp_at(moment, zone) == stamp


@pytest.mark.parametrize(
    ("epoch", "zone", "latest"),
    [
        (1382835600 - 1, "Europe/Berlin", "2013/10/27/025959"),
        (1382835600, "Europe/Berlin", "2013/10/27/025959"),  # 02:00:00 again
        (1382835600 + 1800.7, "Europe/Berlin", "2013/10/27/025959"),
        (1382835600 + 3599, "Europe/Berlin", "2013/10/27/025959"),
        (1382835600 + 3600, "Europe/Berlin", "2013/10/27/030000"),
        (1365260400 + 1000, "Australia/Lord_Howe", "2013/04/07/015959"),  # half an hour
        (1364691600, "Europe/Berlin", "2013/03/31/030000"),
        (1368182821.9, "UTC", "2013/05/10/104701"),
        (1368182821, "Asia/Taipei", "2013/05/10/184701"),
    ],
)
def test_latest_stamp_is_what_clocks_had_shown(epoch: float, zone: str, latest: str) -> None:
    assert stamps.latest_stamp(epoch, zone) == latest


@pytest.mark.parametrize(
    ("run", "clock", "stamp", "counts", "ahead"),
    [
        ("2013/05/10/104701", "2013/05/10/104701", "2013/05/10/104701", True, False),
        ("2013/05/10/104701", "2013/05/10/104701", "2013/05/10/104702", False, True),
        ("2013/05/10/104701", "2013/05/12/000000", "2013/05/11/104701", False, False),
        ("2013/05/10/104701", "2013/05/12/000000", "2013/05/12/000000", False, False),
        ("2013/05/10/104701", "2013/05/12/000000", "2013/05/12/000001", False, True),
        ("2013/05/10/104701", "2013/05/10/104650", "2013/05/10/104701", True, False),
        ("2013/05/10/104701", "2013/05/10/104650", "2099/01/01/000000", False, True),
        ("2013/05/10/104701", "2013/05/12/000000", "0001/01/01/000000", True, False),
    ],
)
def test_stamp_counts_up_to_the_run_and_is_ahead_of_all_after_the_clock(
    run: str, clock: str, stamp: str, counts: bool, ahead: bool
) -> None:
    moment = stamps.Moment(run, clock)
    assert (moment.counts(stamp), moment.is_ahead(stamp)) == (counts, ahead)


@pytest.mark.parametrize(
    ("stamp", "clock", "expected"),
    [
        ("", "", ("2013/05/10/184701", "2013/05/10/184701", "2013/05/11/184701")),
        ("2013/05/09/000000", "", ("2013/05/09/000000", "2013/05/10/184701", "2013/05/11/184701")),
        ("2013/05/09/000000", "2013/05/11/000000", ("2013/05/09/000000", "2013/05/11/000000")),
    ],
)
def test_what_a_call_is_not_told_is_that_of_now(stamp: str, clock: str, expected: tuple[str, ...]) -> None:
    options = {"stamp": stamp, "clock": clock, "timezone": "Asia/Taipei"}
    assert stamps.moment_of(options, 1368182821) == stamps.Moment(*expected)


def test_zones_are_not_needed_where_both_are_told() -> None:
    told = {"stamp": "2013/05/09/000000", "clock": "2013/05/11/000000", "timezone": "Not/Here"}
    assert stamps.moment_of(told).clock == told["clock"]
    for wrong in ({"stamp": "2013/05/09"}, {"clock": "tomorrow"}):
        with pytest.raises(InvalidInput, match="is not a date and time"):
            stamps.moment_of({**told, **wrong})


@pytest.mark.parametrize(
    ("stamp", "run", "late"),
    [
        ("2013/05/09/104701", "2013/05/10/104701", True),
        ("2013/05/09/104702", "2013/05/10/104701", False),
        ("2012/02/29/104701", "2013/05/10/104701", True),
        ("2013/05/10/104701", "2013/05/10/104701", False),
        ("2013/05/11/104701", "2013/05/10/104701", False),
    ],
)
def test_late_is_a_day_or_more_after_its_stamp(stamp: str, run: str, late: bool) -> None:
    assert stamps.is_late(stamp, run) is late


def test_stamp_that_a_zone_skips_still_means_a_moment() -> None:
    assert abs(stamps.earliest_moment("2013/03/31/023000", "Europe/Berlin") - 1364693400) <= 3600
