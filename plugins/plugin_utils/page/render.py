"""Renders pages of HTML from the templates beside this file. Every value passes `shown`, and Jinja then escapes it."""

from __future__ import annotations

import base64
import hashlib
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ...module_utils.system.units import counted, readable
from ..history import record
from ..history.standing import MAX_AGE, Standing, State, last_line
from ..planning.quantities import age
from ..report.plain_text import clean
from ..report.secrecy import mask_text
from . import plots
from .advice import troubles
from .site import DAYS, GOOD, Copy, Disk, Item, Key, Site, chains, date_of
from .trend import LOOKED_BACK, Forecast

INDEX = "index.html"
ITEMS = "items"
_FOLDER = Path(__file__).parent
_LONGEST = 2000
"""Most characters of a value on a page"""
_MOST = 50
"""Most failures, troubles and bad nights on one page"""
_MOST_RUNS = 30
_MOST_BARS = 60
_MOST_GROWING = 15
_MOST_PROOFS = 20
_SOON = 30.0
"""Days in which a disk must not fill up"""
_MONTH = 30 * 86400.0
_GOOD_STATES = (record.GOOD, record.REBUILT)
Plot = tuple[str, str, str, Markup, str, str]
"""Title, what its top and bottom are, the plot, and its first and last label"""


def shown(value: Any) -> Any:
    """Return a template's value as a page may show it: cleaned, secrets masked, at most _LONGEST characters.

    Markup, which this program made, is returned unchanged.
    """
    return clean(mask_text(value), _LONGEST) if isinstance(value, str) and not isinstance(value, Markup) else value


def page_of(key: Key) -> str:
    """Return the file name of an item's page: what a file name can hold of the item's name, and a digest."""
    plain = re.sub(r"[^a-z0-9]+", "-", "-".join(key).lower()).strip("-")[:40]
    digest = hashlib.sha256("\0".join(key).encode("utf-8", "surrogateescape")).hexdigest()[:12]
    return f"{plain or 'item'}-{digest}.html"


@dataclass(frozen=True)
class _Row:
    """An item on the first page."""

    item: Key
    copies: tuple[Standing, ...]
    growth: tuple[int, int, int] | None

    @property
    def href(self) -> str:
        return f"{ITEMS}/{page_of(self.item)}"

    @property
    def title(self) -> str:
        return "/".join(self.item[1:])


class Pages:
    """Renders a site: the items' pages one by one, then the first page, which summarizes them."""

    def __init__(self, site: Site, version: str = "") -> None:
        self._site, self._version = site, version
        self._rows: list[_Row] = []

    @cached_property
    def _templates(self) -> Environment:
        environment = Environment(
            loader=FileSystemLoader(_FOLDER),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=shown,
        )
        environment.filters |= {"moment": self._moment, "bytes": _bytes, "age": age, "change": _change}
        return environment

    def _moment(self, seconds: float) -> str:
        return datetime.fromtimestamp(seconds, self._site.clock).strftime("%Y-%m-%d %H:%M")

    def _day(self, seconds: float) -> str:
        return datetime.fromtimestamp(seconds, self._site.clock).strftime("%Y/%m/%d")

    @cached_property
    def _frame(self) -> dict[str, Any]:
        """Values that all pages share."""
        style, script = ((_FOLDER / name).read_text(encoding="utf-8") for name in ("style.css", "page.js"))
        return {
            "style": Markup(style),
            "style_digest": _digest(style),
            "script": Markup(script),
            "script_digest": _digest(script),
            "now": round(self._site.now),
            "limit": round(max((entry.max_age for entry in self._site.state.copies), default=MAX_AGE)),
            "zone": self._site.zone,
            "version": self._version,
        }

    def items(self, items: Iterable[Item]) -> Iterator[tuple[str, str]]:
        """Yield (file name in the folder of items, page) of each item."""
        template = self._templates.get_template("item.html.j2")
        for item in items:
            self._rows.append(_Row(item.key, tuple(copy.now for copy in item.copies), item.growth))
            yield page_of(item.key), template.render(self._frame | self._item(item))

    def _item(self, item: Item) -> dict[str, Any]:
        state = State(tuple(copy.now for copy in item.copies), runs=())
        bad = sorted(
            (
                (day, copy.now.node, night)
                for copy in item.copies
                for day, night in copy.nights.items()
                if night.state != GOOD
            ),
            key=lambda entry: (entry[0], entry[1]),
            reverse=True,
        )
        proofs: dict[str, list[str]] = {}
        for copy in item.copies:
            for when in copy.proofs:
                proofs.setdefault(when, []).append(copy.now.node)
        return {
            "item": item,
            "item_word": shlex.quote(item.title),
            "troubles": troubles(state),
            "told": _told_of(item.copies),
            "calendars": self._calendars(item),
            "legend": plots.legend(),
            "bad_nights": bad[:_MOST],
            "more_bad_nights": max(len(bad) - _MOST, 0),
            "plots": list(_item_plots(item)),
            "proofs": sorted(proofs.items(), reverse=True)[:_MOST_PROOFS],
            "most": _MOST,
        }

    def _calendars(self, item: Item) -> list[dict[str, Any]]:
        """Return the calendars of all nodes from the same first night on, so that they can be compared."""
        known = [day for copy in item.copies for day in copy.nights]
        if not known:
            return []
        today = min(max(self._day(self._site.now), *known), self._day(self._site.now + 86400))
        first = max(min(known), self._day(self._site.now - (DAYS - 1) * 86400))
        return [self._calendar(copy, first, today) for copy in item.copies]

    def _calendar(self, copy: Copy, first: str, last: str) -> dict[str, Any]:
        told = [night for day, night in copy.nights.items() if first <= day <= last]
        good = sum(night.state == GOOD for night in told)
        sentence = f"{good} of {counted(len(told), 'night')} since {first} left a good copy"
        label = f"Calendar of {shown(copy.now.node)}: {sentence}; those that did not are listed below"
        return {
            "node": copy.now.node,
            "told": sentence,
            "plot": plots.calendar(copy.nights, first, last, label, shown),
        }

    def index(self) -> str:
        """Return the first page; `items` must have been consumed before."""
        site = self._site
        found = troubles(site.state)
        hrefs = {"/".join(row.item): row.href for row in self._rows}
        copies = [entry for row in self._rows for entry in row.copies]
        disks = [self._disk(disk) for disk in site.disks]
        values = {
            "inventories": [name or "an inventory that is no file" for name in site.inventories],
            "inventory_word": shlex.quote(next(iter(site.inventories), "") or "INVENTORY"),
            "well": site.state.is_well,
            "verdict": last_line(site.state, "below"),
            "troubles": found[:_MOST],
            "more_troubles": max(len(found) - _MOST, 0),
            "hrefs": hrefs,
            "groups": list(self._groups()),
            "disks": disks,
            "growing": list(self._growing()),
            "runs": [_run(run) for run in site.runs[:_MOST_RUNS]],
            "run_plots": list(self._run_plots()),
            "failed": site.failures[:_MOST],
            "more_failed": max(len(site.failures) - _MOST, 0),
            "proofs": list(_proofs(copies, hrefs)),
            "unproved": any(entry.proof_age is None or entry.proof_age > _MONTH for entry in copies),
            "suspects": [entry for entry in copies if entry.suspect],
            "holds": [entry for entry in copies if entry.holds],
        }
        names = {
            "troubles": "not well",
            "groups": "items",
            "disks": "space",
            "growing": "growth",
            "runs": "runs",
            "failed": "failures",
            "proofs": "proofs",
            "suspects": "suspects",
            "holds": "holds",
        }
        ids = {"groups": "state", "disks": "space", "growing": "growth", "failed": "failures"}
        parts = [(ids.get(key, key), name) for key, name in names.items() if values[key]]
        return self._templates.get_template("index.html.j2").render(self._frame | values | {"parts": parts})

    def _groups(self) -> Iterator[dict[str, Any]]:
        """Yield the values of each source's table of items."""
        sources: dict[str, list[_Row]] = {}
        for row in self._rows:
            sources.setdefault(row.item[0], []).append(row)
        for source, rows in sources.items():
            entries = [entry for row in rows for entry in row.copies]
            places = sorted({(entry.role != "source", entry.node, entry.role) for entry in entries})
            columns = {(node, role): node for _, node, role in places}
            if (source, "target") in columns:  # a host can be its own target
                columns[source, "target"] = f"{source} as target"
            yield {
                "source": source,
                "nodes": list(columns.values()),
                "rows": [_state_row(row, columns) for row in rows],
            }

    def _disk(self, disk: Disk) -> dict[str, Any]:
        told = {
            "node": disk.node,
            "role": disk.role,
            "free": disk.free or 0,
            "held": disk.held,
            "full": disk.ahead.days,
            "soon": disk.ahead.days is not None and disk.ahead.days < _SOON,
            "told": self._ahead(disk.ahead),
            "plot": None,
        }
        if len(disk.series) < 2:
            return told
        high = max(free for _, free in disk.series)
        return {
            **told,
            "plot": plots.line(disk.series, 0, high, f"Free bytes on {shown(disk.node)} over time"),
            "high": readable(round(high)),
            "first": self._day(disk.series[0][0]),
            "last": self._day(disk.series[-1][0]),
        }

    def _ahead(self, ahead: Forecast) -> str:
        if ahead.rate is None:
            return "Too few nights are known to say when it will be full."
        if ahead.rate <= 0:
            return "It does not fill up at present."
        rate = f"at the {readable(round(ahead.rate))} a day of the last {LOOKED_BACK} days"
        if ahead.days is None:
            return f"Not full in the next ten years, {rate}."
        day = datetime.fromtimestamp(self._site.now, self._site.clock) + timedelta(days=ahead.days)
        return f"Full in {counted(round(ahead.days), 'day')}, on {day:%Y-%m-%d}, {rate}."

    def _growing(self) -> Iterator[dict[str, Any]]:
        known = [(row.growth, row) for row in self._rows if row.growth is not None and row.growth[0] > 0]
        known.sort(key=lambda entry: -entry[0][0])
        for (grown, _, now), row in known[:_MOST_GROWING]:
            share = plots.share(grown, known[0][0][0])
            yield {"href": row.href, "title": "/".join(row.item), "growth": grown, "now": now, "bar": share}

    def _run_plots(self) -> Iterator[Plot]:
        runs = [run for run in reversed(chains(self._site)[:_MOST_BARS]) if run["ended"] is not None]
        if len(runs) < 2:
            return
        ends = self._moment(runs[0]["started"]), self._moment(runs[-1]["started"])
        took = [run["ended"] - run["started"] for run in runs]
        good = [run["state"] in _GOOD_STATES for run in runs]
        count = counted(len(runs), "backup")
        title = f"How long the last {count} took (red: not good)"
        yield title, age(max(took)), "0", plots.bars(list(zip(took, good, strict=True)), max(took), title), *ends
        sent = [float(run["sent"] or 0) for run in runs]
        title = f"What the last {count} sent (red: not good)"
        drawn = plots.bars(list(zip(sent, good, strict=True)), max(sent), title)
        yield title, readable(round(max(sent))), "0", drawn, *ends


def _digest(text: str) -> str:
    """Return the SHA-256 digest of a text in base64, as a Content-Security-Policy names it."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _bytes(size: float) -> str:
    return readable(round(size))


def _change(size: int) -> str:
    return "=" if size == 0 else f"{'+' if size > 0 else '-'}{readable(abs(size))}"


def _told_of(copies: Sequence[Copy]) -> str:
    ages = [copy.now.age for copy in copies if copy.now.age is not None]
    return f"the newest good copy is {age(min(ages))} old" if ages else "there is no good copy"


def _state_row(row: _Row, columns: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    places = {(entry.node, entry.role): entry for entry in row.copies}
    return {
        "href": row.href,
        "title": row.title,
        "bad": any(entry.faults for entry in row.copies),
        "cells": [(name, places.get(place)) for place, name in columns.items()],
        "size": next((entry.size for entry in row.copies if entry.size is not None), None),
        "growth": row.growth[0] if row.growth else None,
    }


def _run(run: Mapping[str, Any]) -> dict[str, Any]:
    told = {name: run[name] for name in ("started", "playbook", "state", "failures", "user", "controller", "sent")}
    took = None if run["ended"] is None or run["rebuilt"] else run["ended"] - run["started"]
    return {**told, "took": took, "good": run["state"] in _GOOD_STATES}


def _proofs(copies: Iterable[Standing], hrefs: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield for each node how many of its items were proved in the last month, before, and never."""
    nodes: dict[str, list[Standing]] = {}
    for entry in copies:
        nodes.setdefault(entry.node, []).append(entry)
    for node, entries in sorted(nodes.items()):
        proved = [entry for entry in entries if entry.proof_age is not None]
        recent = sum((entry.proof_age or 0.0) <= _MONTH for entry in proved)
        oldest = max(proved, key=lambda entry: entry.proof_age or 0.0, default=None)
        yield {
            "node": node,
            "count": len(entries),
            "recent": recent,
            "before": len(proved) - recent,
            "never": len(entries) - len(proved),
            "oldest": oldest,
            "href": hrefs[oldest.item] if oldest else "",
        }


def _item_plots(item: Item) -> Iterator[Plot]:
    sizes = next((copy.sizes for copy in item.copies if len(copy.sizes) > 1), ())
    if sizes:
        yield _plot("Size of the copy", sizes, _bytes)
    if len(item.live) > 1:
        yield _plot("Size of what is backed up", item.live, _bytes)
    if len(item.dumps) > 1:
        yield _plot("Seconds that its dump took", item.dumps, lambda number: f"{number:.3g} s", low=0.0)
    for copy in item.copies:
        if len(copy.sent) > 1:
            yield _plot(f"Bytes sent to {shown(copy.now.node)}", copy.sent, _bytes, low=0.0)


def _plot(title: str, series: Sequence[tuple[str, float]], told: Any, low: float | None = None) -> Plot:
    values = [value for _, value in series]
    least, most = min(values) if low is None else low, max(values)
    days = [date_of(day).toordinal() for day, _ in series]
    label = f"{title}, from {told(values[0])} on {series[0][0]} to {told(values[-1])} on {series[-1][0]}"
    drawn = plots.line(list(zip(map(float, days), map(float, values), strict=True)), least, most, label)
    return title, told(most), told(least), drawn, series[0][0], series[-1][0]
