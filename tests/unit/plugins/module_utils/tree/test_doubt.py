"""Plausibility of a dump's findings: tables of records."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.tree.doubt import (
    Churn,
    Limits,
    identity_of,
    judge,
    measures_of,
    nights_before,
    trusted,
)

HALF = Limits(shrink=0.5)


def record(night: int, name: str = "site", **more: Any) -> dict[str, Any]:
    """Return the record of a night's dump; by default its content is unique."""
    relpath = f"folders/{name}/2026/11/{night:02}/013000/{name}.tar.zst"
    return {
        "relpath": relpath,
        "name": name,
        "kind": "folder",
        "alg": "sha256",
        "size": 9,
        "dig": f"{night:064}",
        **more,
    }


def measured(night: int, **measures: Any) -> dict[str, Any]:
    return record(night, measures=measures)


def history(*entries: int, **more: int) -> list[dict[str, Any]]:
    """Return the records of nights with so many entries."""
    return [measured(night, entries=number, **more) for night, number in enumerate(entries, 1)]


@pytest.mark.parametrize(
    ("before", "now", "limits", "said"),
    [
        (
            [1204],
            3,
            Limits(),
            "entries fell from 1,204 to 3 (99.8 %, allowed 30 %) since the last good night (2026/11/01)",
        ),
        (
            [900, 1204, 1100],
            842,
            Limits(),
            "entries fell from 1,204 to 842 (30.1 %, allowed 30 %) since the largest of the last 3 good nights (2026/11/02)",
        ),
        ([1000], 700, Limits(), ""),
        ([1000], 699, Limits(), "entries fell from 1,000 to 699 (30.1 %, allowed 30 %)"),
        ([1000], 501, HALF, ""),
        ([1000], 0, Limits(shrink=1.0), ""),
        ([1000, 750, 600], 500, HALF, ""),
        ([1000, 800, 650], 550, Limits(), "from 1,000 to 550"),
        ([100], 69, Limits(), "from 100 to 69"),
        ([99], 69, Limits(), ""),
        ([99], 10, Limits(), ""),
        ([99], 9, Limits(), "entries fell from 99 to 9 (90.9 %, allowed 90 %)"),
        ([3], 0, Limits(), "entries fell from 3 to 0 (100 %, allowed 30 %)"),
        ([3], 1, Limits(), ""),
        ([3], 0, Limits(shrink=1.0), ""),
        ([0], 0, Limits(), ""),
        ([1000000], 1, Limits(), "(99.9999 %, allowed 30 %)"),
        ([3], 5000, Limits(), ""),
    ],
)
def test_a_measure_that_fell_too_far_is_told_with_its_figures(
    before: list[int], now: int, limits: Limits, said: str
) -> None:
    found = judge(measured(20, entries=now), history(*before), limits)
    assert [said in text for text in found] == ([True] if said else []), found


def test_only_the_last_seven_days_count_each_with_its_newest_dump() -> None:
    before = history(5000, 1000, 1000, 1000, 1000, 1000, 1000, 1000)
    assert judge(measured(20, entries=800), before, Limits()) == []
    assert judge(measured(20, entries=800), before[:7], Limits())
    again = {**measured(2, entries=9000), "relpath": "folders/site/2026/11/02/003000/site.tar.zst"}
    assert judge(measured(20, entries=800), [again, *before[1:]], Limits()) == []


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ({"entries": 20, "bytes": 3 << 20}, {"entries": 12, "bytes": 3 << 20}, ["entries"]),
        ({"entries": 20, "bytes": 1 << 19}, {"entries": 12, "bytes": 1 << 10}, []),
        ({"entries": 20, "bytes": 1 << 19}, {"entries": 12, "bytes": 0}, ["bytes"]),
        ({"entries": 200, "bytes": 1 << 19}, {"entries": 200, "bytes": 1 << 18}, ["bytes"]),
        ({"rows": 5000, "attachments": 3}, {"rows": 5000, "attachments": 1}, []),
        ({"rows": 5000, "attachments": 3}, {"rows": 5000, "attachments": 0}, ["attachments"]),
        ({"rows": 5000}, {"rows": 0}, ["rows"]),
        ({"revisions": 20000}, {"revisions": 19999}, ["revisions"]),
        ({"revisions": 3}, {"revisions": 2}, ["revisions"]),
        ({"revisions": 3}, {"revisions": 4}, []),
        ({"entries": 2000}, {"rows": 1}, []),
        ({"entries": "2000"}, {"entries": 1}, []),
        ({"entries": True}, {"entries": 0}, []),
    ],
)
def test_small_items_are_asked_about_when_next_to_nothing_is_left(
    before: dict[str, Any], now: dict[str, Any], said: list[str]
) -> None:
    assert [text.split()[0] for text in judge(measured(2, **now), [measured(1, **before)], Limits())] == said


def test_bytes_are_told_as_people_read_them() -> None:
    (text,) = judge(measured(2, bytes=3 << 20), [measured(1, bytes=5 << 30)], Limits())
    assert text.startswith("bytes fell from 5.0 GiB to 3.0 MiB (99.9 %, allowed 30 %)")


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ({"uuid": "a"}, {"uuid": "a"}, ""),
        ({"uuid": "a"}, {"uuid": "b"}, "its UUID is b now, and was a in the last good night (2026/11/01)"),
        (
            {"mount": "UUID 1"},
            {"mount": "overlay overlay"},
            "the file system that its path is on is overlay overlay now",
        ),
        ({"uuid": "a"}, {}, ""),
        ({}, {"uuid": "b"}, ""),
        ({"uuid": "a"}, {"roots": "b"}, ""),
        ({"new word": "a"}, {"new word": "b"}, "its new word is b now"),
        ({"mount": "a\n\x1b[2J"}, {"mount": "b"}, r"was a\n\x1b[2J in"),
    ],
)
def test_an_identity_that_changed_is_told(before: dict[str, str], now: dict[str, str], said: str) -> None:
    found = judge(record(2, identity=now), [record(1, identity=before)], Limits())
    assert [said in text for text in found] == ([True] if said else []), found


def test_the_newest_night_that_knew_a_word_is_what_it_is_compared_with() -> None:
    before = [record(1, identity={"mount": "a"}), record(2, identity={"mount": "b"}), record(3, identity={})]
    assert judge(record(4, identity={"mount": "b"}), before, Limits()) == []
    assert judge(record(4, identity={"mount": "a"}), before, Limits())


def test_what_the_kind_doubts_is_told_as_it_says_it() -> None:
    said = ["HEAD was rewritten", "HEAD was rewritten", "tag v1 is gone"]
    assert judge(record(2, doubts=said), history(3), Limits()) == ["HEAD was rewritten", "tag v1 is gone"]


@pytest.mark.parametrize(
    "same",
    [
        {"content": "c0", "dig": "other"},
        {"manifest": "m0", "entries": 3, "bytes": 4, "size": 1},
        {"manifest": "m0", "entries": 3, "bytes": 4, "content": "of other modes", "size": 1},
        {"formerly": {"alg": "sha256", "size": 9, "dig": f"{1:064}"}, "size": 10},
        {"dig": f"{1:064}"},
    ],
)
def test_the_same_content_as_in_the_last_good_night_is_never_suspect(same: dict[str, Any]) -> None:
    common = {"content": "c0", "manifest": "m0", "entries": 3, "bytes": 4}
    last = record(
        1,
        identity={"mount": "a"},
        measures={"entries": 5000},
        **common,
    )
    now = {**record(2, identity={"mount": "b"}, measures={"entries": 1}, doubts=["odd"]), **same}
    assert judge(now, [last], Limits()) == []
    assert len(judge({**now, **dict.fromkeys(same, "different")}, [last], Limits())) == 3


def test_without_any_night_before_nothing_is_suspect() -> None:
    assert judge(record(1, identity={"mount": "a"}, measures={"entries": 1}, doubts=["odd"]), [], Limits()) == []


def test_a_suspect_that_nobody_accepted_stays_one_while_it_does_not_change() -> None:
    doubtful = record(2, suspect=["entries fell"])
    again = {**record(3), "dig": doubtful["dig"]}
    for before in ([], history(3)):
        assert judge(again, before, Limits(), doubtful=doubtful) == ["it is what it was on 2026/11/02: entries fell"]
        assert judge(record(3), before, Limits(), doubtful=doubtful) == []
    later = {**again, "suspect": judge(again, [], Limits(), doubtful=doubtful)}
    assert judge({**record(4), "dig": doubtful["dig"]}, [], Limits(), doubtful=later) == later["suspect"]


def test_suspects_count_once_they_are_accepted_and_then_nothing_before_them_does() -> None:
    nights = [record(1), record(2, suspect=["x"]), record(3), record(4, suspect=["x"]), record(5)]
    days = {
        accepted: [entry["relpath"].split("/")[4] for entry in trusted(nights, accepted)]
        for accepted in ("", "2026/11/01/235959", "2026/11/02/013000", "2026/11/03/000000", "2026/12/01/000000")
    }
    assert list(days.values()) == [
        ["01", "03", "05"],
        ["01", "03", "05"],
        ["02", "03", "05"],
        ["02", "03", "05"],
        ["04", "05"],
    ]


def test_nights_whose_copies_are_gone_count_by_what_newer_records_tell() -> None:
    told = nights_before(history(1000, 750))
    assert told == [
        {"stamp": "2026/11/01/013000", "measures": {"entries": 1000}},
        {"stamp": "2026/11/02/013000", "measures": {"entries": 750}},
    ]
    kept = {**measured(3, entries=720), "nights": told}
    assert "from 1,000 to 600" in judge(measured(4, entries=600), [kept], Limits())[0]
    assert [entry["stamp"][8:10] for entry in nights_before([kept])] == ["01", "02", "03"]
    accepted = {**kept, "suspect": ["x"]}
    assert judge(measured(4, entries=600), [accepted], Limits()) == []
    assert len(nights_before(history(*range(100, 120)))) == 7


def test_only_what_was_counted_alike_is_compared_also_by_nights_whose_copies_are_gone() -> None:
    older = [{**measured(1, rows=9000, entries=50), "counted": {"rows": "a"}}, measured(2, rows=5000, entries=500)]
    told = nights_before(older)
    assert [night.get("counted") for night in told] == [{"rows": "a"}, None]
    kept = {**measured(3, rows=4000, entries=500), "counted": {"rows": "b"}, "nights": told}
    fell = {
        text: judge(
            {**measured(4, rows=1000, entries=300), "counted": {"rows": text} if text else {}}, [kept], Limits()
        )
        for text in ("", "a", "b", "c")
    }
    rows = {text: [reason for reason in reasons if reason.startswith("rows")] for text, reasons in fell.items()}
    assert rows == {
        "": ["rows fell from 5,000 to 1,000 (80 %, allowed 30 %) since the last good night (2026/11/02)"],
        "a": ["rows fell from 9,000 to 1,000 (88.9 %, allowed 30 %) since the last good night (2026/11/01)"],
        "b": ["rows fell from 4,000 to 1,000 (75 %, allowed 30 %) since the last good night (2026/11/03)"],
        "c": [],
    }
    assert all("largest of the last 3 good nights" in reasons[-1] for reasons in fell.values())


@pytest.mark.parametrize("counted", [None, "x", {"entries": 3}, {"entries": ""}, [1]])
def test_what_says_not_how_it_was_counted_was_counted_as_ever(counted: Any) -> None:
    assert (
        "from 1,000 to 600"
        in judge(measured(4, entries=600), [{**measured(3, entries=1000), "counted": counted}], Limits())[0]
    )


@pytest.mark.parametrize("nights", [None, "x", [1], [{"stamp": "x"}], [{"stamp": "2026/11/01/013000", "measures": 3}]])
def test_nights_that_are_none_count_for_nothing(nights: Any) -> None:
    assert judge(measured(4, entries=600), [{**measured(3, entries=600), "nights": nights, "dig": "x"}], Limits()) == []


@pytest.mark.parametrize(
    ("churn", "limits", "encrypted"),
    [
        (Churn(100, 100, 100, 0.95, 0.0), Limits(), True),
        (Churn(100, 51, 51, 0.95, 0.0), Limits(), True),
        (Churn(100, 50, 50, 0.95, 0.0), Limits(), False),
        (Churn(100, 90, 90, 0.95, 0.0), Limits(churn=0.95), False),
        (Churn(100, 100, 100, 0.95, 0.90), Limits(), False),
        (Churn(100, 100, 100, 0.6, 0.2), Limits(), False),
        (Churn(100, 100, 100, 0.6, 0.1), Limits(), True),
        (Churn(100, 100, 100, 0.1, 0.0), Limits(), False),
        (Churn(100, 100, 10, 0.95, 0.0), Limits(), False),
        (Churn(100, 100, 100, None, 0.0), Limits(), False),
        (Churn(100, 100, 100, 0.9, None), Limits(), False),
        (Churn(9, 9, 9, 0.95, 0.0), Limits(), False),
        (Churn(0, 0, 9, None, 0.0), Limits(), False),
    ],
)
def test_files_that_lost_their_order_all_at_once_are_doubtful(churn: Churn, limits: Limits, encrypted: bool) -> None:
    found = judge(record(2), [record(1)], limits, churn=churn)
    assert bool(found) == encrypted, found
    if encrypted:
        assert f"{churn.gone:,} are gone or hold something else" in found[0]


@pytest.mark.parametrize(
    ("before", "now", "gone", "said"),
    [
        ("/data/a", "/data/b", 51, True),
        ("/data/a", "/data/b", 50, False),
        ("/data/a", "/data/a", 100, False),
        ("", "/data/b", 100, False),
    ],
)
def test_a_path_that_leads_elsewhere_is_doubtful_when_other_files_are_there(
    before: str, now: str, gone: int, said: bool
) -> None:
    found = judge(record(2, place=now), [record(1, place=before)], Limits(), churn=Churn(100, gone, 100))
    assert ["its path leads to /data/b now, and led to /data/a then" in text for text in found] == [True] * said


def test_records_of_older_versions_tell_what_they_know() -> None:
    assert measures_of({"entries": 3, "bytes": 4, "manifest": "x"}) == {"entries": 3, "bytes": 4}
    assert measures_of({"rows": {"a": 3, "b": None, "c": 4}, "attachments": 2}) == {"rows": 7, "attachments": 2}
    svn = {"kind": "svn", "name": "x-1", "relpath": "svn/x-1/2026/11/01/013000/x-1-20.tar.zst", "uuid": "u"}
    assert (measures_of(svn), identity_of(svn)) == ({"revisions": 20}, {"uuid": "u"})
    assert (measures_of({}), identity_of({})) == ({}, {})
    relpath = "svn/x-1/2026/11/02/013000/x-1-3.tar.zst"
    now = {**svn, "relpath": relpath, "identity": {"uuid": "v"}, "measures": {"revisions": 3}}
    assert [text.split(" ")[0] for text in judge(now, [svn], Limits())] == ["its", "revisions"]


def test_what_is_measured_otherwise_than_before_is_compared_in_the_old_way_and_then_in_the_new_one_alone() -> None:
    older = record(1, rows={"content": 600, "index": 500})
    first = record(2, rows={"content": 590, "index": 500}, measures={"rows": 590})
    assert judge(first, [older], Limits()) == []
    assert "rows fell from 1,100 to 200" in judge({**first, "rows": {"content": 200}}, [older], Limits())[0]
    second = {**record(3, rows={"content": 580}, measures={"rows": 580}), "nights": nights_before([older])}
    assert judge(second, [older, first], Limits()) == []
    assert (nights_before([older]), [entry["stamp"] for entry in nights_before([older, first])]) == (
        [],
        ["2026/11/02/013000"],
    )
