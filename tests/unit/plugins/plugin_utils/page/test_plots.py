"""Plots are sound SVG whatever they are of, and say what they show."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

import pytest
from helpers.page_records import HOSTILE
from markupsafe import Markup

from ansible_collections.altbackup.core.plugins.plugin_utils.page import plots
from ansible_collections.altbackup.core.plugins.plugin_utils.page.site import FAILED, GOOD, NONE, SUSPECT, Night


def parsed(plot: Markup) -> ElementTree.Element:
    assert isinstance(plot, Markup)
    return ElementTree.fromstring(str(plot).encode("utf-8", "replace"))


def numbers(plot: Markup) -> list[float]:
    """Return all numbers of the paths of a plot."""
    found = [path.get("d") or "" for path in parsed(plot).iter("path")]
    return [float(text) for text in re.findall(r"-?\d+(?:\.\d+)?", " ".join(found))]


@pytest.mark.parametrize(
    ("points", "low", "high", "path"),
    [
        ([(0, 0), (10, 10)], 0, 10, "0 96.0L1000 4.0"),
        ([(0, 5), (10, 5)], 5, 5, "0 50.0L1000 50.0"),
        ([(0, 0), (10, 0)], 0, 0, "0 50.0L1000 50.0"),
        ([(3, 1), (3, 2)], 1, 2, "0 96.0L0 4.0"),
        ([(0, 10), (5, 0), (10, 10)], 0, 10, "0 4.0L500 96.0L1000 4.0"),
        ([(1, 1)], 0, 1, "0 4.0"),
    ],
)
def test_a_line_goes_from_its_first_point_to_its_last(
    points: Sequence[tuple[float, float]], low: float, high: float, path: str
) -> None:
    area, line = parsed(plots.line(points, low, high, "x")).iter("path")
    assert (line.get("class"), line.get("d")) == ("line", f"M{path}")
    assert area.get("d") == f"M0 100L{path}L1000 100Z"


@pytest.mark.parametrize(
    ("values", "high", "kinds"),
    [
        ([], 0, []),
        ([(1, True)], 1, ["good"]),
        ([(0, True)], 0, ["good"]),
        ([(1, False)], 1, ["bad"]),
        ([(1, True), (2, False), (0, True)], 2, ["good", "bad"]),
    ],
)
def test_bars_that_are_not_good_are_drawn_apart(
    values: list[tuple[float, bool]], high: float, kinds: list[str]
) -> None:
    plot = plots.bars(values, high, "x")
    assert [path.get("class") for path in parsed(plot)] == kinds
    assert all(-100 <= number <= 1000 for number in numbers(plot))
    assert str(plot).count("M") == len(values)


@pytest.mark.parametrize(
    ("part", "whole", "width"),
    [(1, 2, "50.0"), (0, 2, "0.0"), (3, 2, "100.0"), (-1, 2, "0.0"), (1, 0, "0.0"), (0, 0, "0.0")],
)
def test_a_share_is_between_nothing_and_all(part: float, whole: float, width: str) -> None:
    (bar,) = parsed(plots.share(part, whole))
    assert bar.get("width") == width


NIGHTS = {
    "2026/11/27": Night(SUSPECT, "it shrank"),
    "2026/11/28": Night(GOOD),
    "2026/11/30": Night(FAILED, "no space"),
    "2026/12/01": Night(NONE, "none"),
    "2020/01/01": Night(FAILED, "of long ago"),
}


def test_a_calendar_has_a_line_a_month_and_a_shape_a_night() -> None:
    plot = plots.calendar(NIGHTS, "2026/11/26", "2026/12/02", "the <label>", str)
    root = parsed(plot)
    assert root.get("aria-label") == "the <label>"
    assert [text.text for text in root.iter("text")][:2] == ["2026-11", "2026-12"]
    titles = [title.text for title in root.iter("title")]
    assert titles == ["2026/11/27: suspect: it shrank", "2026/11/30: failed: no space", "2026/12/01: no copy: none"]
    paths = {path.get("class"): path.get("d") or "" for path in root if path.get("class")}
    assert (paths["good"].count("M"), paths["gap"].count("M")) == (1, 3)


@pytest.mark.parametrize(("first", "last", "cells"), [("2026/11/28", "2026/11/28", 1), ("2026/11/28", "2026/11/27", 0)])
def test_a_calendar_of_a_day_or_of_none_is_sound(first: str, last: str, cells: int) -> None:
    paths = {path.get("class"): path.get("d") or "" for path in parsed(plots.calendar({}, first, last, "x", str))}
    assert paths["gap"].count("M") == cells and not paths["good"]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_nodes_say_is_text_in_a_plot(text: str) -> None:
    shown = text.replace("\x1b", "").replace("\x07", "")
    plot = plots.calendar({"2026/11/28": Night(FAILED, shown)}, "2026/11/28", "2026/11/28", shown, str)
    assert {each.tag for each in parsed(plot).iter()} == {"svg", "text", "path", "title"}
    for other in (plots.line([(0, 1), (1, 2)], 0, 2, shown), plots.bars([(1, True)], 1, shown)):
        assert {each.tag for each in parsed(other).iter()} == {"svg", "path"}


def test_a_legend_has_a_shape_for_each_state() -> None:
    said = [said for _, said in plots.legend()]
    assert said == ["a good copy", "suspect", "failed", "no copy", "no run"]
    assert len({str(shape) for shape, _ in plots.legend()}) == len(said)
    for shape, _ in plots.legend():
        parsed(shape)
