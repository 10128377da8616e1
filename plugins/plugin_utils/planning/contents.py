"""Contents of tarballs: what to list, find or compare, from the user's options, the plan and what nodes hold; as plain JSON values."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ...module_utils.kinds.items import check_name
from ...module_utils.kinds.registry import CATEGORIES
from ...module_utils.restore.contents import MOST, MOST_EVER, STAGE, STEPS
from ...module_utils.system.age import is_encrypted
from ...module_utils.system.errors import InvalidInput
from ...module_utils.system.values import nearest
from ...module_utils.system.visible import one_line
from ...module_utils.tree.failures import failure
from ...module_utils.tree.layout import item_key, parse_filename
from ...module_utils.tree.stamps import Moment, day_of, interpret_day, is_stamp
from ..report import call_failures
from ..report.results import read_result
from ..report.secrecy import quoted
from .restore_source import base_of, find_full
from .stores import server_of, store_trees, stores_with

KEYS = ("step", "item", "at", "other", "from", "path", "name", "recursive", "most")
_SHOWN = 5
"""Most stamps in a message"""
_FACTS = ("revision", "rows", "entries", "bytes", "measures")
"""Values in the records of two dumps that a comparison reports beside the files"""


def plan_contents(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return the checked options of altbackup_contents (see KEYS) and `sources`, {source: category/name, "" for all}. Raise InvalidInput."""
    value = plan["contents"]
    unknown = [f"unknown key {key!r}, {nearest(str(key), KEYS)}" for key in value if key not in KEYS]
    if unknown:
        raise InvalidInput("; ".join(unknown))
    given = {key: value[key] for key in KEYS if value.get(key) is not None}
    wrong = [
        f"{key} {quoted(entry)} is not a text"
        for key, entry in given.items()
        if key not in ("recursive", "most") and not isinstance(entry, str)
    ]
    if not isinstance(given.get("recursive", False), bool):
        wrong.append(f"recursive {quoted(given['recursive'])} is neither true nor false")
    most = given.get("most", MOST)
    if isinstance(most, bool) or not isinstance(most, int) or not 0 < most <= MOST_EVER:
        wrong.append(f"most {quoted(most)} is not a number from 1 to {MOST_EVER}")
    step = given.get("step", "list")
    if step not in STEPS:
        wrong.append(f"step {quoted(step)} is not one of {', '.join(STEPS)}")
    if step == "find" and not str(given.get("name", "")).strip("/"):
        wrong.append("step find needs a name to look for, as name")
    if step != "find" and not given.get("item"):
        wrong.append(f"step {step} needs an item, as source/category/name, as item")
    if wrong:
        raise InvalidInput("; ".join(wrong))
    texts = {key: given.get(key, "") for key in ("path", "name", "from")}
    days = {key: _day(key, given.get(key, ""), plan) for key in ("at", "other")}
    wanted = {**texts, **days, "step": step, "recursive": bool(given.get("recursive")), "most": most}
    item = str(given.get("item", ""))
    sources = {_source(item, plan): _key(item, plan)} if item else dict.fromkeys(plan["sources"], "")
    known = [*plan["sources"], *plan["targets"], *plan.get("stores", {})]
    if wanted["from"] and wanted["from"] not in known:
        raise InvalidInput(
            f"from {quoted(wanted['from'])} is neither a source nor a target, nor a store, {nearest(wanted['from'], known)}"
        )
    return {**wanted, "item": item, "sources": sources}


def _day(name: str, text: str, plan: Mapping[str, Any]) -> str:
    """Return a stamp or a day, "" for the newest. Raise InvalidInput."""
    text = text.strip()
    if not text or is_stamp(text):
        return text
    try:
        return interpret_day(text, day_of(plan["stamp"]))
    except InvalidInput:
        raise InvalidInput(
            f"{name} {text!r} is neither a stamp like 2013/05/10/104701, nor a date like 2013/05/10, nor a number of days back like -1"
        ) from None


def _source(item: str, plan: Mapping[str, Any]) -> str:
    source = item.partition("/")[0]
    if source not in plan["sources"]:
        raise InvalidInput(
            f"item {quoted(item)}: {source!r} is no source of the inventory, {nearest(source, list(plan['sources']))}"
        )
    return source


def _key(item: str, plan: Mapping[str, Any]) -> str:
    """Return category/name of an item, which may have been removed from the inventory. Raise InvalidInput."""
    source, _, key = item.partition("/")
    category, _, name = key.partition("/")
    categories = tuple(CATEGORIES.values())
    if category not in categories or not name:
        alike = [f"{source}/{each}" for each in plan["sources"][source]["item_keys"]]
        raise InvalidInput(f"item {quoted(item)} is not source/category/name, {nearest(item, alike)}")
    return f"{category}/{check_name(name)}"


def nodes_of(plan: Mapping[str, Any], source: str, only: str = "", step: str = "list") -> list[str]:
    """Return the nodes that may hold a source's tarballs, in the order of preference; with `only` that node alone.

    Stores come last, as what they have must be fetched first; a search through all nights leaves them out without `only`.
    """
    nodes = [*plan["sources"][source]["targets"], source]
    nodes += stores_with(plan, source) if only or step != "find" else []
    return [node for node in dict.fromkeys(nodes) if only in ("", node)]


def store_searches(plan: Mapping[str, Any], server: str) -> list[dict[str, Any]]:
    """Return the trees of the stores that a node fills in which to look; none where nothing can be looked for."""
    try:
        wanted = plan_contents(plan)
    except InvalidInput:
        return []
    asked = {source: nodes_of(plan, source, wanted["from"], wanted["step"]) for source in wanted["sources"]}
    return [
        {**tree, "keys": [wanted["sources"][tree["source"]]] if wanted["sources"][tree["source"]] else []}
        for tree in store_trees(plan, server=server)
        if tree["node"] in asked.get(tree["source"], ())
    ]


def searches(plan: Mapping[str, Any], node: str) -> list[dict[str, Any]]:
    """Return the trees to search on a node, as tarball_find takes them; [] if the options are not valid."""
    try:
        wanted = plan_contents(plan)
    except InvalidInput:
        return []
    return [
        {"source": source, "base": base_of(plan, node, source), "keys": [key] if key else []}
        | ({"own": True} if node == source else {})
        | ({} if key else {"every": True})
        for source, key in wanted["sources"].items()
        if node in nodes_of(plan, source, wanted["from"], wanted["step"])
    ]


def choose(plan: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return `wanted`, `chosen` (calls), `answers` that need no call, `failures` and `notes`, by what tarball_find returned on each node.

    A node that cannot be asked is noted and left out; if no node has what is wanted, that is a failure.
    """
    empty: dict[str, Any] = {"wanted": {}, "chosen": [], "answers": [], "failures": [], "notes": {}}
    try:
        wanted = plan_contents(plan)
    except InvalidInput as error:
        return {**empty, "failures": [_failure("localhost", f"altbackup_contents: {error}")]}
    moment = Moment(plan["stamp"], plan["clock"])
    offers: dict[str, list[dict[str, Any]]] = {}
    passed: dict[str, list[str]] = {}
    for source, key in wanted["sources"].items():
        for node in nodes_of(plan, source, wanted["from"], wanted["step"]):
            own, problem = _offer(source, node, found.get(node))
            there = [entry for entry in own if not moment.is_ahead(entry["stamp"])]
            offers.setdefault(source, []).extend(
                {**entry, "node": node} for entry in there if key in ("", entry["key"])
            )
            if problem:
                passed.setdefault(source, []).append(f"{node}: {problem}")
        if source in offers:  # targets cannot decrypt
            own_ones = {name: server_of(plan, name, source) == source for name in (source, *stores_with(plan, source))}
            offers[source].sort(key=lambda entry: is_encrypted(entry["relpath"]) and not own_ones.get(entry["node"]))
    result = _CHOICES[wanted["step"]](plan, wanted, offers, passed)
    notes = {source: [f"passed over {each}" for each in problems] for source, problems in passed.items()}
    return {**empty, "wanted": wanted, **result, "notes": notes}


def _failure(node: str, reason: str, key: str = "") -> dict[str, Any]:
    return {**failure(STAGE, reason, key=key), "node": node}


def _offer(source: str, node: str, registered: Mapping[str, Any] | None) -> tuple[list[dict[str, Any]], str]:
    """Return the verified tarballs of a source that a node reported, newest last, and why it could not be asked, if so."""
    if not registered:
        return [], "is not among the hosts of this run: is it left out by --limit?"
    result = read_result(registered, STAGE)
    if result.get("unreachable"):
        return [], " ".join(call_failures.unreachable(result).split())
    if result.get("failed") or result.get("failures"):
        reasons = [entry["reason"] for entry in result.get("failures") or []] or [result.get("msg")]
        return [], " ".join(" ".join(map(str, reasons)).split())
    tree = next((tree for tree in result.get("trees") or [] if tree["source"] == source), None)
    if tree is None:
        return [], "did not tell what it holds"
    entries = [{**entry, "key": item_key(entry["relpath"])} for entry in tree["tarballs"]]
    there = [
        {**entry, "base": _base(entry, entries), "needs": _brought(entry, entries)}
        for entry in entries
        if entry["state"] == "verified"
        and parse_filename(os.path.basename(entry["relpath"]), entry["key"].partition("/")[2])
    ]
    return [entry for entry in there if entry["base"] is not None], str(tree.get("problem") or "")


def _base(tarball: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the path of the full tarball that one needs, from the item's folder; "" for a full one, None if it is missing."""
    if not tarball["base"]:
        return ""
    own = [entry for entry in entries if entry["key"] == tarball["key"]]
    full = find_full(own, f"{tarball['key']}/{tarball['base']}", tarball["base_dig"])
    if full is None or full["state"] != "verified" or full["dig"] != tarball["base_dig"]:
        return None
    return str(full["relpath"]).split("/", 2)[2]


def _brought(tarball: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what is to be brought of a store to look into a tarball: it, and the full one that it needs."""
    base = _base(tarball, entries)
    full = [entry for entry in entries if base and entry["relpath"] == f"{tarball['key']}/{base}"]
    return [{name: entry[name] for name in ("relpath", "size", "dig", "alg")} for entry in (*full, tarball)]


def _at(offers: Sequence[Mapping[str, Any]], day: str) -> list[Mapping[str, Any]]:
    return [entry for entry in offers if not day or day in (entry["stamp"], day_of(entry["stamp"]))]


def _none_message(key: str, source: str, day: str, offers: Sequence[Mapping[str, Any]], passed: Sequence[str]) -> str:
    """Return the message that no node has a tarball of an item and day, with the newest stamps there are."""
    at = f" of {day}" if day else ""
    stamps = sorted({entry["stamp"] for entry in offers})
    there = f"; the newest are of {', '.join(stamps[-_SHOWN:])}" if stamps else ""
    return f"no node has a verified tarball of {key} of {source}{at}{there}{'; ' if passed else ''}{'; '.join(passed)}"


def _of_item(
    wanted: Mapping[str, Any], offers: Mapping[str, Sequence[Mapping[str, Any]]], passed: Mapping[str, Sequence[str]]
) -> tuple[str, str, list[Mapping[str, Any]], list[str]]:
    ((source, key),) = wanted["sources"].items()
    return source, key, list(offers[source]), list(passed.get(source, ()))


def _choose_list(
    plan: Mapping[str, Any],
    wanted: Mapping[str, Any],
    offers: Mapping[str, Sequence[Mapping[str, Any]]],
    passed: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    source, key, own, problems = _of_item(wanted, offers, passed)
    there = _at(own, wanted["at"])
    if not there:
        return {"failures": [_failure(source, _none_message(key, source, wanted["at"], own, problems), key)]}
    newest = max(entry["stamp"] for entry in there)
    best = next(entry for entry in there if entry["stamp"] == newest)
    return {"chosen": [_call(plan, wanted, best["node"], source, [best])]}


def _choose_find(
    plan: Mapping[str, Any],
    wanted: Mapping[str, Any],
    offers: Mapping[str, Sequence[Mapping[str, Any]]],
    passed: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    """Choose calls so that each content is read once, on the first node that has it."""
    taken: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    known = set()
    failures = []
    for source, own in offers.items():
        there = _at(own, wanted["at"])
        if not there:
            key = wanted["sources"][source] or "anything"
            failures.append(_failure(source, _none_message(key, source, wanted["at"], own, passed.get(source, ()))))
        for entry in sorted(there, key=lambda each: str(each["stamp"]), reverse=True):
            content = (source, entry["key"], entry["alg"], entry["dig"], entry["base_dig"])
            if content not in known:
                known.add(content)
                taken.setdefault((entry["node"], source), []).append(entry)
    chosen = [_call(plan, wanted, node, source, entries) for (node, source), entries in taken.items()]
    nights = [
        {
            "source": source,
            "relpath": entry["relpath"],
            "stamps": sorted({e["stamp"] for e in _at(offers[source], wanted["at"]) if _same(e, entry)}),
        }
        for (_, source), entries in taken.items()
        for entry in entries
    ]
    return {"chosen": chosen, "failures": failures, "answers": nights}


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(one[name] == other[name] for name in ("key", "alg", "dig", "base_dig"))


def _choose_diff(
    plan: Mapping[str, Any],
    wanted: Mapping[str, Any],
    offers: Mapping[str, Sequence[Mapping[str, Any]]],
    passed: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    source, key, own, problems = _of_item(wanted, offers, passed)
    stamps = sorted({entry["stamp"] for entry in own})
    days = sorted(day for day in (wanted["at"], wanted["other"]) if day)
    ends = []
    for day in days:
        there = _at(own, day)
        if not there:
            return {"failures": [_failure(source, _none_message(key, source, day, own, problems), key)]}
        ends.append(max(entry["stamp"] for entry in there))
    new = ends[-1] if len(ends) == 2 else stamps[-1] if stamps else ""
    older = [stamp for stamp in stamps if stamp < new]
    old = ends[0] if ends and ends[0] != new else older[-1] if older and len(ends) < 2 else ""
    if not old:
        what = f"{key} of {source} has one night alone, {new}" if new else _none_message(key, source, "", own, problems)
        return {"failures": [_failure(source, f"nothing can be compared: {what}", key)]}
    pairs = [
        (first, second)
        for second in own
        for first in own
        if second["stamp"] == new and first["stamp"] == old and first["node"] == second["node"]
    ]
    if not pairs:
        held = [f"{entry['node']} has {entry['stamp']}" for entry in own if entry["stamp"] in (old, new)]
        return {"failures": [_failure(source, f"no node has both {old} and {new} of {key}: {', '.join(held)}", key)]}
    first, second = pairs[0]
    answer = {
        "source": source,
        "old": _identified(first),
        "new": _identified(second),
        "facts": facts(first["record"], second["record"]),
    }
    if all(first[name] == second[name] for name in ("alg", "dig", "size", "base_dig")):
        return {"answers": [{**answer, "same": True}]}
    return {"answers": [answer], "chosen": [_call(plan, wanted, first["node"], source, [first, second])]}


def _identified(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: entry[name] for name in ("relpath", "stamp", "size", "node")}


def facts(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the numbers in which the records of two dumps differ: revisions, rows of tables, and what the kind measures."""
    found: list[dict[str, Any]] = []
    for name in _FACTS:
        before, after = old.get(name), new.get(name)
        pairs = {name: (before, after)}
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            pairs = {str(key): (before.get(key), after.get(key)) for key in sorted({*before, *after}, key=str)}
        for part, (was, is_now) in pairs.items():
            is_told = name == "measures" and any((fact["old"], fact["new"]) == (was, is_now) for fact in found)
            if (
                was == is_now
                or is_told
                or not all(each is None or type(each) in (int, float) for each in (was, is_now))
            ):
                continue
            what, of = (name, part) if name == "rows" else (part, "")
            found.append({"what": one_line(what), "of": one_line(of), "old": was, "new": is_now})
    return found


def _call(
    plan: Mapping[str, Any], wanted: Mapping[str, Any], node: str, source: str, entries: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the call that reads tarballs on a node, with the options of its module."""
    options = {name: wanted[name] for name in ("step", "path", "name", "recursive", "most")}
    stored = node in plan.get("stores", {})
    needed = {part["relpath"]: part for entry in entries for part in entry["needs"]} if stored else {}
    return {
        "node": node,
        "source": source,
        "server": server_of(plan, node, source),
        "store": node if stored else "",
        "fetch": list(needed.values()),
        "label": f"{source} on {node}",
        "options": {
            **options,
            "base": base_of(plan, node, source),
            "tarballs": [{"relpath": entry["relpath"], "base": entry["base"]} for entry in entries],
        },
        "told": [_identified(entry) for entry in entries],
    }


_CHOICES = {"list": _choose_list, "find": _choose_find, "diff": _choose_diff}


def answer(choice: Mapping[str, Any], read: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one mapping of what was found, by the choice and the results of its calls (source, node, contents, totals)."""
    wanted = choice.get("wanted") or {}
    told = [entry for call in choice.get("chosen") or () for entry in call["told"]]
    totals: dict[str, int] = {}
    for each in read:
        for name, number in each["totals"].items():
            totals[name] = totals.get(name, 0) + number
    return {
        "step": wanted.get("step", ""),
        "item": wanted.get("item", ""),
        "path": wanted.get("path", ""),
        "name": wanted.get("name", ""),
        "tarballs": told,
        "answers": list(choice.get("answers") or ()),
        "entries": [
            {**entry, "source": each["source"], "node": each["node"]} for each in read for entry in each["contents"]
        ],
        "totals": totals,
    }


def lines(found: Mapping[str, Any]) -> list[str]:
    """Return the lines in which an answer is printed."""
    rows = [
        (
            str(entry.get("what") or entry.get("type", "")),
            f"{entry.get('size', 0):,}",
            "/".join(entry["relpath"].split("/")[:6]) if found["step"] == "find" else "",
            one_line(entry["path"]),
        )
        for entry in found["entries"]
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    table = [f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:<{widths[2]}}  {d}" for a, b, c, d in rows]
    same = [
        f"{entry['old']['relpath']} and {entry['new']['relpath']} are the same"
        for entry in found["answers"]
        if entry.get("same")
    ]
    changed = [
        f"{fact['what']}{' of ' if fact['of'] else ''}{fact['of']}: {fact['old']} -> {fact['new']}"
        for entry in found["answers"]
        for fact in entry.get("facts") or ()
    ]
    totals = ", ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in found["totals"].items())
    return [*same, *changed, *table, *([totals] if totals else [])]
