"""What a page shows, read from the records of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers import page_records
from helpers.page_records import night
from helpers.pages_written import ITEM, written

from ansible_collections.altbackup.core.plugins.plugin_utils.history import store
from ansible_collections.altbackup.core.plugins.plugin_utils.history.standing import Standing
from ansible_collections.altbackup.core.plugins.plugin_utils.page import site
from ansible_collections.altbackup.core.plugins.plugin_utils.page.site import Copy, Disk, Item, Night
from ansible_collections.altbackup.core.plugins.plugin_utils.page.trend import Forecast


@pytest.fixture(autouse=True)
def histories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where histories lie."""
    monkeypatch.setenv(store.PLACE, str(tmp_path / "history"))


def test_a_zone_that_nobody_knows_is_utc(tmp_path: Path) -> None:
    pages = written(tmp_path, night(0, [ITEM], timezone="Mars/Olympus"))
    assert "2026-11-28 01:30" in pages["index.html"].text
    record = page_records.night(0, [ITEM], timezone="Asia/Taipei")
    assert "2026-11-28 09:30" in written(tmp_path, record)["index.html"].text


STANDING = Standing("dayabay", "cms01", "target", "svn", "dybsvn")
KEY = ("dayabay", "svn", "dybsvn")
STAMP = "2026/11/28/013000"


def copy_of(*rows: tuple[Any, ...], problems: dict[str, str] | None = None) -> Copy:
    return site._copy(STANDING, rows, problems or {})


def row(stamp: str | None = STAMP, run: str = STAMP, **more: Any) -> tuple[Any, ...]:
    """Return a row as the history has it of a copy in a run."""
    told = {"size": 7, "bytes": None, "seconds": None, "sent": None, "proved": None, "suspect": "", "problem": ""}
    told |= {"playbook": "backup.yml", "rebuilt": 0, **more}
    names = ("size", "bytes", "seconds", "sent", "proved", "suspect", "problem")
    return (stamp, *(told[name] for name in names), run, told["playbook"], told["rebuilt"])


@pytest.mark.parametrize(
    ("rows", "problems", "nights"),
    [
        ([], {}, {}),
        ([row()], {}, {"2026/11/28": Night("good")}),
        ([row(None)], {}, {"2026/11/28": Night("none", "no copy of that night")}),
        ([row("")], {}, {"2026/11/28": Night("none", "no copy of that night")}),
        ([row("", problem="no space")], {}, {"2026/11/28": Night("failed", "no space")}),
        ([row("", suspect="it shrank", problem="x")], {}, {"2026/11/28": Night("suspect", "it shrank")}),
        ([row("")], {"2026/11/28": "no marker"}, {"2026/11/28": Night("failed", "no marker")}),
        ([row("")], {"2026/11/27": "no marker"}, {"2026/11/28": Night("none", "no copy of that night")}),
        ([row("", problem="x", playbook="list.yml")], {}, {}),
        ([row(playbook="list.yml")], {}, {"2026/11/28": Night("good")}),
        ([row("", problem="x", rebuilt=1)], {}, {}),
        ([row("", run="")], {}, {}),
        (
            [row("2026/11/27/013000", problem="no space")],
            {},
            {"2026/11/27": Night("good"), "2026/11/28": Night("failed", "no space")},
        ),
        ([row("", problem="x"), row(run="2026/11/28/070000")], {}, {"2026/11/28": Night("good")}),
    ],
)
def test_a_night_is_what_became_of_its_copy(
    rows: list[tuple[Any, ...]], problems: dict[str, str], nights: dict[str, Night]
) -> None:
    assert copy_of(*rows, problems=problems).nights == nights


def test_sizes_proofs_and_what_came_are_told_by_day() -> None:
    rows = [
        row(size=5, sent=3, proved="2026-11-28T02:00:00Z"),
        row(size=6, sent=4, run="2026/11/28/070000", proved="2026-11-29T02:00:00Z"),
        row("2026/11/27/013000", size=None),
    ]
    copy = copy_of(*rows)
    assert (copy.sizes, copy.sent) == ([("2026/11/28", 6)], [("2026/11/28", 7)])
    assert copy.proofs == ["2026-11-29T02:00:00Z", "2026-11-28T02:00:00Z"]


@pytest.mark.parametrize(
    ("sizes", "live", "growth"),
    [
        ([], [], None),
        ([("2026/11/28", 7)], [], None),
        ([("2026/11/27", 5), ("2026/11/28", 7)], [], (2, 1, 7)),
        ([("2026/11/27", 9), ("2026/11/28", 7)], [], (-2, 1, 7)),
        ([("2026/01/01", 1), ("2026/11/27", 5), ("2026/11/28", 7)], [], (2, 1, 7)),
        ([("2026/01/01", 1), ("2026/11/28", 7)], [], None),
        ([("2026/11/27", 5), ("2026/11/28", 7)], [("2026/11/27", 50), ("2026/11/28", 80)], (30, 1, 80)),
        ([("2026/11/27", 5), ("2026/11/28", 7)], [("2026/11/28", 80)], (2, 1, 7)),
    ],
)
def test_growth_is_that_of_the_last_month(
    sizes: list[tuple[str, int]], live: list[tuple[str, int]], growth: tuple[int, int, int] | None
) -> None:
    assert Item(KEY, [Copy(STANDING, sizes=sizes)], live).growth == growth


def test_the_disk_that_is_full_first_comes_first() -> None:
    disks = [Disk("b", "target", 1), Disk("a", "source", 1), Disk("c", "target", 1, ahead=Forecast(1.0, 5.0))]
    disks.append(Disk("d", "target", 1, ahead=Forecast(1.0, 3.0)))
    assert [disk.node for disk in sorted(disks, key=site._fullest)] == ["d", "c", "a", "b"]


@pytest.mark.parametrize(
    ("first", "last", "days"),
    [
        ("2026/11/28", "2026/11/28", ("2026/11/28",)),
        ("2026/02/28", "2026/03/01", ("2026/02/28", "2026/03/01")),
        ("2024/02/28", "2024/03/01", ("2024/02/28", "2024/02/29", "2024/03/01")),
        ("2026/11/28", "2026/11/27", ()),
        ("2026/12/31", "2027/01/01", ("2026/12/31", "2027/01/01")),
    ],
)
def test_days_are_counted_over_the_ends_of_months(first: str, last: str, days: tuple[str, ...]) -> None:
    assert site.days_between(first, last) == days


def test_failures_are_those_of_the_item_at_its_source() -> None:
    told = {"category": "svn", "name": "dybsvn", "node": "cms01", "tree": "dayabay -> cms01"}
    rows = [told, {**told, "tree": "", "node": "dayabay"}, {**told, "name": ""}, {**told, "tree": "juno -> cms01"}]
    found = site._failures_by_item(rows)
    assert {key: len(entries) for key, entries in found.items()} == {KEY: 2, ("juno", "svn", "dybsvn"): 1}
