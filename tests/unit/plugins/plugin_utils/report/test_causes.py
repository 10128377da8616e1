"""One cause is one failure: what is missing because it was not made, not sent or found bad is listed below that."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.altbackup.core.plugins.module_utils.tree.failures import KEYS
from ansible_collections.altbackup.core.plugins.plugin_utils.report import run_summary
from ansible_collections.altbackup.core.plugins.plugin_utils.report.causes import (
    by_cause,
    following_lines,
    good_copy,
    titled,
)

Entry = dict[str, Any]


def entry(stage: str, item: str = "", target: str = "", *, absent: bool = False, **more: Any) -> dict[str, Any]:
    """Return a failure of dayabay, or of its tree on a target."""
    category, _, name = item.rpartition("/")
    told = dict.fromkeys(KEYS, "")
    reason = f"{stage} of {item} on {target or 'dayabay'}"
    if absent:
        reason = f"expecting 1 tarball for {name} of dayabay but got 0" if item else f"no tarballs in {target}"
    base = {"node": "dayabay", "delegate": target, "tree": f"dayabay -> {target}" if target else ""}
    marked = {"absent": True} if absent else {}
    return {**told, **base, "stage": stage, "category": category, "name": name, "reason": reason, **marked, **more}


def miss(item: str, target: str = "") -> dict[str, Any]:
    """Return the failure of a missing tarball of an item."""
    return entry("check", item, target, absent=True)


def shape(failures: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """Return (reason, number of consequences) of each cause."""
    return [(cause["reason"], len(following)) for cause, following in by_cause(failures)]


def test_an_item_without_a_copy_on_several_nodes_is_one_failure_of_a_drill() -> None:
    missing = [
        entry("drill", "folders/a", target, absent=True, reason="there is no verified tarball of folders/a", good="")
        for target in ("", "sdu", "cms01")
    ]
    other = entry("drill", "folders/b", absent=True, good="")
    ((cause, following), (also, none)) = by_cause([*missing, other])
    assert (cause, following, also, none) == (missing[0], missing[1:], other, [])
    assert good_copy(cause) == ""
    assert following_lines(following, [good_copy(cause)]) == [
        "so on sdu, cms01: drill: there is no verified tarball of folders/a"
    ]


def test_that_there_is_no_good_copy_is_said_once() -> None:
    cause = {**DUMP, "good": ""}
    following = [{**miss("a", target), "good": ""} for target in ("", "sdu")]
    assert good_copy(cause) == "no good copy there"
    assert not any("no good copy" in line for line in following_lines(following, [good_copy(cause)]))
    assert any(
        "no good copy" in line for line in following_lines(following, ["last good copy there: 2013/05/10 10:00:00"])
    )


DUMP = entry("dump", "folders/a")
SEND = entry("synchronize", target="sdu")


@pytest.mark.parametrize(
    ("failures", "expected"),
    [
        # a failed dump, with the counts on the source and both targets, which know only names
        ([DUMP, miss("a"), miss("a", "cms01"), miss("a", "sdu")], [(DUMP["reason"], 3)]),
        # "no tarball at all" is implied by the missing ones
        ([DUMP, miss("", "cms01"), miss("a", "cms01")], [(DUMP["reason"], 1)]),
        ([DUMP, miss("", "cms01")], [(DUMP["reason"], 1)]),
        # the whole dump, or the transfer to one target
        ([entry("dump"), miss("a", "sdu"), miss("b", "cms01")], [(entry("dump")["reason"], 2)]),
        ([SEND, miss("a", "sdu"), miss("b", "sdu")], [(SEND["reason"], 2)]),
        # no consequence on another target
        ([SEND, miss("a", "cms01")], [(SEND["reason"], 0), (miss("a")["reason"], 0)]),
        # no consequence for another item, nor of a stage outside the chain
        ([DUMP, miss("b")], [(DUMP["reason"], 0), (miss("b")["reason"], 0)]),
        ([entry("preflight"), miss("b")], [(entry("preflight")["reason"], 0), (miss("b")["reason"], 0)]),
        ([entry("purge", "folders/b"), miss("b")], [(entry("purge", "folders/b")["reason"], 0), (miss("b")["reason"], 0)]),
        # a damaged tarball of the source is not sent
        ([entry("check", "folders/a"), miss("a", "sdu")], [(entry("check", "folders/a")["reason"], 1)]),
        # a cause on the target precedes one on its source
        (
            [entry("check", "folders/a"), entry("check", "folders/a", "sdu"), miss("a"), miss("a", "sdu")],
            [("check of folders/a on dayabay", 1), ("check of folders/a on sdu", 1)],
        ),
        # the item's own failure precedes a general one
        ([SEND, entry("synchronize", "folders/a", "sdu"), miss("a", "sdu")], [(SEND["reason"], 0), ("synchronize of folders/a on sdu", 1)]),
        # without another cause, a tarball missing on the source is the cause
        ([miss("a", "sdu"), miss("a")], [(miss("a")["reason"], 1)]),
        ([miss("")], [(miss("")["reason"], 0)]),
        # a check of a target alone names its tree, and its node is the target
        ([DUMP, {**miss("a", "sdu"), "node": "sdu", "delegate": ""}], [(DUMP["reason"], 1)]),
        # another source's item of the same name
        ([DUMP, {**miss("a"), "node": "lingao"}], [(DUMP["reason"], 0), (miss("a")["reason"], 0)]),
    ],
)  # fmt: skip
def test_what_follows_is_told_with_its_cause(failures: list[dict[str, Any]], expected: list[tuple[str, int]]) -> None:
    assert shape(failures) == expected


def test_what_follows_is_a_line_for_each_thing_that_is_said() -> None:
    lines = following_lines([miss("a"), miss("a", "cms01"), miss("b", "cms01")])
    assert lines == [
        "so on dayabay, cms01: check: expecting 1 tarball for a of dayabay but got 0",
        "so on cms01: check: expecting 1 tarball for b of dayabay but got 0",
    ]
    assert following_lines([miss(f"{number}") for number in range(50)])[-1] == "and 30 more of that kind"


def test_report_counts_causes_and_indents_what_follows() -> None:
    text = run_summary.report([DUMP, miss("a"), miss("a", "cms01")])
    assert text.splitlines() == [
        "1 failure:",
        "  1. dayabay: dump of folders/a: dump of folders/a on dayabay",
        "    so on dayabay, cms01: check: expecting 1 tarball for a of dayabay but got 0",
    ]


def test_every_failure_is_told_once() -> None:
    failures = [DUMP, SEND, miss("a"), miss("a", "sdu"), miss("b", "sdu"), miss("c", "cms01"), entry("purge")]
    told = [entry for cause, following in by_cause(failures) for entry in (cause, *following)]
    assert sorted(map(id, told)) == sorted(map(id, failures))


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"good": "2026/11/27/013000"}, "last good copy there: 2026/11/27 01:30:00"),
        ({"good": ""}, "no good copy there"),
        ({}, ""),
        *(({"good": lie}, "") for lie in (None, 5, ["2026/11/27/013000"], "yesterday", "2026/11/27/013000\n", "2026/99/27/013000")),
    ],
)  # fmt: skip
def test_good_copy_is_told_as_a_person_reads_it(told: dict[str, Any], said: str) -> None:
    assert good_copy({**DUMP, **told}) == said


def test_good_copy_is_told_of_the_cause_and_of_each_node_on_which_something_follows() -> None:
    goods = {"": "2026/11/27/013000", "cms01": "2026/11/27/013000", "sdu": ""}
    follows = [{**miss("a", target), "good": good} for target, good in goods.items()]
    said = "check: expecting 1 tarball for a of dayabay but got 0"
    assert following_lines(follows) == [
        f"so on dayabay, cms01: {said}; last good copy there: 2026/11/27 01:30:00",
        f"so on sdu: {said}; no good copy there",
    ]
    text = run_summary.report([{**DUMP, "good": ""}, *follows[:1]])
    assert text.splitlines()[2] == "    no good copy there"


@pytest.mark.parametrize(
    ("places", "line"),
    [
        (["dayabay"], "dayabay"),
        (["dayabay", "lingao", "dayabay"], "dayabay, lingao"),
        (["dayabay -> cms01", "lingao -> cms01"], "dayabay, lingao -> cms01"),
        (["cms01", "dayabay -> cms01", "dayabay -> sdu"], "cms01; dayabay -> cms01; dayabay -> sdu"),
        ([f"s{number} -> t" for number in range(200)], f"{', '.join(f's{number}' for number in range(100))} -> t and 100 more"),
    ],
)  # fmt: skip
def test_sources_of_one_target_are_named_together(places: list[str], line: str) -> None:
    assert titled(places) == line


def test_what_is_wrong_with_a_targets_own_base_is_told_once_with_its_sources() -> None:
    why = {"stage": "preflight", "reason": "base /copies has no marker\n.altbackup/"}
    entries = [
        {**entry("preflight", target="cms01"), **why, "node": node, "tree": f"{node} -> cms01"}
        for node in ("dayabay", "lingao")
    ]
    text = run_summary.report([*entries, entry("dump", "svn/a"), {**entry("dump", "svn/a"), "reason": "another"}])
    assert text.splitlines()[:3] == [
        "3 failures:",
        "  1. dayabay, lingao -> cms01: preflight: base /copies has no marker",
        "    .altbackup/",
    ]


def test_each_copy_of_an_item_is_a_failure_of_its_own_with_its_last_good_copy() -> None:
    one = entry("check", "svn/a", "cms01", good="2013/05/09/104701")
    other = {**one, "delegate": "sdu", "tree": "dayabay -> sdu", "good": ""}
    lines = run_summary.report([one, other]).splitlines()
    assert lines[0] == "2 failures:"
    assert lines[1].startswith("  1. dayabay -> cms01: check of svn/a: ")
    assert lines[2] == "    last good copy there: 2013/05/09 10:47:01"
    assert lines[3].startswith("  2. dayabay -> sdu: check of svn/a: ")
    assert lines[4] == "    no good copy there"


class Counted(dict[str, Any]):
    """A failure that counts how often it is examined."""

    asked = 0

    def get(self, key: str, default: Any = None) -> Any:
        Counted.asked += 1
        return super().get(key, default)


def test_each_of_many_failures_is_looked_at_a_few_times_alone() -> None:
    entries = [
        Counted(node="dayabay", stage="dump", name="", category="", reason="a lie"),
        *(Counted(node="dayabay", stage="check", category="svn", name=f"x{n}", reason="a lie") for n in range(1000)),
        *(
            Counted(node="dayabay", delegate="cms01", stage="check", category="svn", name=f"x{n}", absent=True)
            for n in range(2000)
        ),
    ]
    Counted.asked = 0
    roots = by_cause(entries)
    assert [len(following) for _, following in roots] == [1000, *[1] * 1000]
    assert Counted.asked < 40 * len(entries)


failures = st.lists(
    st.fixed_dictionaries(
        {
            "node": st.sampled_from(["dayabay", "lingao"]),
            "delegate": st.sampled_from(["", "cms01", "sdu"]),
            "stage": st.sampled_from(["dump", "check", "synchronize", "drill", "purge"]),
            "category": st.sampled_from(["", "svn", "tracs"]),
            "name": st.sampled_from(["", "x", "y"]),
            "absent": st.booleans(),
        }
    ),
    max_size=12,
)


def searched(entry: Entry, roots: list[tuple[Entry, list[Entry]]]) -> tuple[Entry, list[Entry]] | None:
    """Return the likeliest cause by searching all of them: of the item here, then elsewhere, then general ones."""

    def rank(cause: Entry) -> int | None:
        if cause["node"] != entry["node"] or cause["delegate"] not in ("", entry["delegate"]):
            return None
        whole = cause["stage"] in ("dump", "synchronize") and not cause["name"]
        chain = cause["stage"] != "purge" and (cause["absent"] or cause["name"])
        same = chain and cause["name"] == entry["name"]
        same = same and (cause["category"] == entry["category"] or "" in (cause["category"], entry["category"]))
        if entry["name"]:
            return (0 if cause["delegate"] == entry["delegate"] else 1) if same else 2 if whole else None
        return 0 if whole else 1 if chain else None

    ranks = [(rank(root[0]), number) for number, root in enumerate(roots)]
    best = min(((one, number) for one, number in ranks if one is not None), default=None)
    return roots[best[1]] if best else None


@given(failures)
def test_a_cause_is_found_as_by_looking_through_all_of_them(entries: list[Entry]) -> None:
    roots: list[tuple[Entry, list[Entry]]] = [(entry, []) for entry in entries if not entry["absent"]]
    absent = sorted((entry for entry in entries if entry["absent"]), key=lambda entry: bool(entry["delegate"]))
    named = {(entry["node"], entry["delegate"]) for entry in absent if entry["name"]}
    for entry in absent:
        if entry["name"] or (entry["node"], entry["delegate"]) not in named:
            cause = searched(entry, roots)
            if cause:
                cause[1].append(entry)
            else:
                roots.append((entry, []))
    expected = sorted(roots, key=lambda root: [id(entry) for entry in entries].index(id(root[0])))
    assert [(id(root), list(map(id, rest))) for root, rest in by_cause(entries)] == [
        (id(root), list(map(id, rest))) for root, rest in expected
    ]
