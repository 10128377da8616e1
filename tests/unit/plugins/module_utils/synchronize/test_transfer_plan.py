"""The plan of a transfer, decided on values alone: what happens to each offer, and what fits on the disk."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest
from helpers.pair import DAY1, DAY3, NOW, relpath, run_at
from helpers.pairs import relpath_of
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.altbackup.core.plugins.module_utils.stages.purge_plan import Copies, plan_purge
from ansible_collections.altbackup.core.plugins.module_utils.synchronize import transfer_plan
from ansible_collections.altbackup.core.plugins.module_utils.synchronize.offer import Offer
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import Tarball
from ansible_collections.altbackup.core.plugins.module_utils.tree.marks import Marks
from ansible_collections.altbackup.core.plugins.module_utils.tree.retention import Rules
from ansible_collections.altbackup.core.plugins.module_utils.tree.rulings import RULES, Ruling
from ansible_collections.altbackup.core.plugins.module_utils.tree.sidecar import Dna
from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import STAMP_FORMAT, Moment, parse_stamp


def offers(words: str, size: int = 5) -> list[Offer]:
    """Return a source's offers of one item, each named by two digits for its day of May 2013 and a letter for its content."""
    return [Offer(relpath(f"2013/05/{word[:2]}"), Dna(word[2:], size, "sha256"), {}) for word in words.split()]


def tarballs(words: str, size: int = 5) -> list[Tarball]:
    """Return a target's tarballs of the item, each content in one file."""
    return [
        Tarball("folders", "notes", one.stamp, "notes.tar", size, (1, ord(one.dna.dig)), 1, one.dna, "", "verified")
        for one in offers(words)
    ]


def days(found: Iterable[Offer | Tarball]) -> str:
    return " ".join(one.stamp[8:10] for one in found)


@pytest.mark.parametrize(
    ("offered", "own", "options", "expected"),
    [
        pytest.param("08a 09b 10c", "", {}, ("", "", "", "10 09 08"), id="all is lacking"),
        pytest.param("08a 09b 10c", "08a 10c", {}, ("10 08", "", "", "09"), id="what is there is not sent"),
        pytest.param("08a 10c", "08b", {}, ("", "08", "", "10"), id="other bytes are not touched"),
        pytest.param("07a 08b 09c 10d", "", {"keep": 2}, ("", "", "08 07", "10 09"), id="purge would not keep them"),
        pytest.param(
            "07a 08b 09c", "", {"keep": 1, "day": "2013/05/08"}, ("", "", "07", "08 09"), id="the day's is wanted"
        ),
        pytest.param("08a 10b", "09a", {}, ("", "", "", "10 08<09"), id="its content is here"),
        pytest.param("10a", "07a 08a", {}, ("", "", "", "10<08"), id="of one file one name is enough"),
        pytest.param(
            "07a 08b 09c", "", {"keep": 1, "rules": {"daily": 2}}, ("", "", "07", "09 08"), id="a rule keeps a day more"
        ),
        pytest.param(
            "01a 02b 09c", "", {"keep": 1, "rules": {"monthly": 2}}, ("", "", "02", "09 01"), id="and the oldest"
        ),
        pytest.param(
            "07a 09b 10c",
            "06d 08e",
            {"keep": 1, "rules": {"weekly": 1}},
            ("", "", "09 07", "10"),
            id="late ones fill what is free",
        ),
        pytest.param("08a 10c", "", {"unseen": DAY1}, ("", "", "", "10"), id="what is not seen is left out"),
        pytest.param("08a 10c", "", {"came": None}, ("", "", "08", "10"), id="what cannot be judged is not sent"),
    ],
)
def test_plan_tells_what_becomes_of_each_tarball(
    offered: str, own: str, options: dict[str, Any], expected: tuple[str, ...]
) -> None:
    request = transfer_plan.Request(
        "/base", (), options.get("day", DAY3), NOW, Ruling({"": options.get("keep", 4)}, options.get("rules", {}))
    )
    unseen = [f"folders/notes/{options['unseen']}"] if "unseen" in options else []
    held_here = {"folders/notes": transfer_plan.Held(tarballs(own), options.get("came", {}))}
    plan = transfer_plan.plan_transfer(request, offers(offered), held_here, unseen)
    lacking = [days([offer]) + "".join(f"<{days([one])}" for one in copies) for offer, copies in plan.lacking]
    differing = days(offer for offer, _ in plan.differing)
    assert (days(plan.have), differing, days(plan.unwanted), " ".join(lacking)) == expected


@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 4)), max_size=14, unique_by=lambda night: night[0]),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 4)), max_size=14, unique_by=lambda night: night[0]),
    st.builds(Rules, st.integers(1, 3), *(st.integers(0, 4) for _ in range(4)), st.sampled_from([0.0, 86400.0, 1e6])),
)
def test_by_all_rules_nothing_is_sent_that_the_targets_purge_would_remove(
    offered: list[tuple[int, int]], own: list[tuple[int, int]], rules: Rules
) -> None:
    def named(nights: list[tuple[int, int]], offset: int) -> list[Offer]:
        """Return offers of every 12th hour since a day in December."""
        begun = parse_stamp(f"2012/12/20/{offset:02}0000")
        stamps = {(begun + timedelta(hours=12 * night)).strftime(STAMP_FORMAT): number for night, number in nights}
        return [
            Offer(f"folders/notes/{stamp}/notes.tar", Dna(f"{number}{offset}", 5, "sha256"), {})
            for stamp, number in stamps.items()
        ]

    moment = Moment("2013/01/19/235959", "2013/01/19/235959")
    words = {rule: getattr(rules, rule) for rule in RULES}
    request = transfer_plan.Request("/base", (), "2013/01/20", moment, Ruling({"": rules.keep}, words))
    here = [transfer_plan._as_tarball(offer) for offer in named(own, 1)]
    held_here = {"folders/notes": transfer_plan.Held(here, {})}
    plan = transfer_plan.plan_transfer(request, named(offered, 0), held_here)
    arrived = [transfer_plan._as_tarball(offer) for offer, _ in plan.lacking]
    came = {one.relpath: moment.stamp for one in arrived}
    purge = plan_purge({"folders/notes": Copies([*here, *arrived], rules, came=came)}, (), moment.stamp)
    assert not {one.relpath for one in purge.due} & set(came)


def test_contents_count_by_what_their_dumps_recorded_whichever_side_has_them() -> None:
    here = tarballs("04a 05b 06c 07d")
    dna = Dna("e" * 64, 5, "sha256")
    told = {"dig": dna.dig, "size": 5, "alg": "sha256", "content": "c" * 64}
    coming = [Offer(relpath("2013/05/10"), dna, told)]
    request = transfer_plan.Request("/base", (), DAY3, NOW, Ruling({"": 3}))
    content = {one.relpath: "c" * 64 for one in here[2:]}
    for known, days_kept in ((content, "04 05 06 07 10"), ({}, "06 07 10")):
        kept = transfer_plan._kept(
            request, coming, {"folders/notes": transfer_plan.Held(here, {}, content=known)}, Marks()
        )
        assert " ".join(sorted(path[22:24] for path in kept)) == days_kept


def test_a_source_that_lists_thousands_of_the_last_hours_is_asked_for_some_of_them() -> None:
    many = [Offer(f"folders/notes/2013/05/10/{10 + number // 3600:02}{number % 3600 // 60:02}{number % 60:02}/notes.tar", Dna(f"{number:x}", 5, "sha256"), {})
            for number in range(3000)]  # fmt: skip
    request = transfer_plan.Request(
        "/base", (), "2013/05/11", run_at("2013/05/10/235959"), Ruling({"": 3}, {"within": 86400.0})
    )
    plan = transfer_plan.plan_transfer(request, many, {"folders/notes": transfer_plan.Held()})
    wanted = [offer.relpath for offer, _ in plan.lacking]
    assert wanted == sorted((offer.relpath for offer in many), reverse=True)[:103]
    assert len(plan.unwanted) == 2897


@pytest.mark.parametrize(
    ("lacking", "arrived", "room", "sent", "bases"),
    [
        pytest.param("10a 09b", {}, 99, "10 09", "", id="all has room"),
        pytest.param("10a 09b", {}, 5, "10", "", id="the second has none"),
        pytest.param("10a 09b", {"a": 3, "b": 2}, 5, "10 09", "", id="what arrived needs none"),
        pytest.param("10a 09a 08b", {}, 10, "10 09 08", "", id="one content needs it once"),
        pytest.param("10a", {}, (2 << 20) + 5, "10", "07", id="an older one is laid out"),
        pytest.param("10a", {}, (2 << 20) + 4, "10", "", id="the older one has no room"),
        pytest.param("10a", {"a": 0}, 4 << 20, "10", "", id="something arrived already"),
        pytest.param("10a 09b", {}, (2 << 20) + 10, "10 09", "07", id="the older one has room once"),
        pytest.param("07a", {}, 4 << 20, "07", "", id="it is its own older one"),
    ],
)
def test_load_is_what_there_is_room_for(
    lacking: str, arrived: dict[str, int], room: int, sent: str, bases: str
) -> None:
    held_here = {"folders/notes": transfer_plan.Held(tarballs("07z", 2 << 20))}
    there = {f"sha256-{content}": size for content, size in arrived.items()}
    load = transfer_plan.plan_load(offers(lacking), there, transfer_plan.MARGIN + room, held_here)
    assert days(one for one in offers(lacking) if one.transit_name in load.sent) == sent
    assert days(load.left_out) == " ".join(word[:2] for word in lacking.split() if word[:2] not in sent.split())
    assert days(load.bases.values()) == bases


def test_what_has_no_room_takes_its_differentials_with_it() -> None:
    full, diff = (
        Offer(relpath_of("08F"), Dna("f", 1000), {}),
        Offer(relpath_of("09D"), Dna("d", 10, "sha256", "x", "f"), {}),
    )
    other = Offer(relpath_of("10F"), Dna("o", 10), {})
    held_here = {"folders/notes": transfer_plan.Held()}
    load = transfer_plan.plan_load([full, diff, other], {}, transfer_plan.MARGIN + 100, held_here)
    assert [offer.relpath for offer in load.left_out] == [full.relpath, diff.relpath]
    load = transfer_plan.plan_load([full, diff, other], {}, transfer_plan.MARGIN + 10_000, held_here)
    assert load.left_out == []
