"""People's marks on copies: accepted, held, released and retired, and errors in them."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import Moment
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.marks import all_marks, given_marks, marked

NOW = Moment("2013/05/10/104701", "2013/05/10/104701")
BEFORE = "2013/05/10/104700"
NIGHT = "2013/05/09/013000"
SOURCES: dict[str, Any] = {
    "dayabay": {"item_keys": ["svn/dybsvn", "tracs/dybsvn"], "discover": {}, "retired": {"svn/old": "2013/05/01"}},
    "juno": {"item_keys": ["git/toolbox"], "discover": {"git": "/git"}},
}
NOTHING: dict[str, Any] = {"accept": [], "hold": {}, "release": []}


def given(extra: Any = (), moment: Moment = NOW, **settings: Any) -> tuple[Any, list[str]]:
    names = [f"altbackup_{name}" for name in settings] if extra == () else extra
    return given_marks({**NOTHING, **settings}, SOURCES, moment, names)


def test_what_is_accepted_is_what_was_there_before_the_run_or_up_to_a_stamp() -> None:
    said, errors = given(accept=["dayabay/svn/dybsvn", f"juno/git/toolbox/{NIGHT}"])
    assert errors == []
    assert said == {"dayabay": {"accepted": {"svn/dybsvn": BEFORE}}, "juno": {"accepted": {"git/toolbox": NIGHT}}}


@pytest.mark.parametrize(
    ("stamp", "before"),
    [
        ("2013/05/10/000000", "2013/05/09/235959"),
        ("2013/01/01/000000", "2012/12/31/235959"),
        ("0999/03/01/000000", "0999/02/28/235959"),
    ],
)
def test_a_suspect_of_this_run_is_not_accepted_by_it(stamp: str, before: str) -> None:
    said, _ = given(moment=Moment(stamp, stamp), accept=["dayabay/svn/dybsvn"])
    assert said["dayabay"]["accepted"]["svn/dybsvn"] == before


def test_the_latest_of_what_is_accepted_of_an_item_counts() -> None:
    said, _ = given(accept=["dayabay/svn/dybsvn", f"dayabay/svn/dybsvn/{NIGHT}"])
    assert said["dayabay"]["accepted"] == {"svn/dybsvn": BEFORE}


def test_tarballs_are_held_with_a_text_and_released() -> None:
    said, errors = given(
        hold={f"dayabay/svn/dybsvn/{NIGHT}": "before\nthe move ", f"dayabay/svn/old/{NIGHT}": 2013},
        release=[f"dayabay/tracs/dybsvn/{NIGHT}"],
    )
    assert errors == []
    assert said["dayabay"]["holds"] == {
        f"svn/dybsvn/{NIGHT}": "before\\nthe move",
        f"svn/old/{NIGHT}": "2013",
        f"tracs/dybsvn/{NIGHT}": "",
    }


def test_what_a_source_may_discover_is_known_there_alone() -> None:
    said, errors = given(accept=["juno/git/group%2Fproject"])
    assert (errors, list(said["juno"]["accepted"])) == ([], ["git/group%2Fproject"])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"accept": ["dayaby/svn/dybsvn"]}, ["altbackup_accept", "'dayaby' is no source", "did you mean 'dayabay'"]),
        ({"accept": ["dayabay/svn/dybsv"]}, ["svn/dybsv is no item of dayabay", "did you mean 'dayabay/svn/dybsvn'"]),
        ({"accept": ["juno/svn/toolbox"]}, ["svn/toolbox is no item of juno"]),
        ({"accept": ["juno/git/.x"]}, ["git/.x is no item of juno"]),
        ({"accept": ["svn/dybsvn"]}, ["is not source/category/name"]),
        ({"accept": [f"dayabay/svn//{NIGHT}"]}, ["is not source/category/name"]),
        ({"accept": ["dayabay/svn/dybsvn/2013/05/09"]}, ["is not source/category/name"]),
        ({"accept": ["dayabay/svn/dybsvn/2013/05/39/013000"]}, ["is no stamp of the form"]),
        ({"accept": ["dayabay/svn/dybsvn/2013/05/10/104701"]}, ["is not before this run, 2013/05/10/104701"]),
        ({"hold": {"dayabay/svn/dybsvn": "x"}}, ["altbackup_hold", "has no stamp behind it"]),
        ({"hold": {f"dayabay/svn/dybsvn/{NIGHT}": ""}}, ["write why it is held"]),
        ({"hold": {f"dayabay/svn/dybsvn/{NIGHT}": " "}}, ["write why it is held"]),
        ({"hold": {f"dayabay/svn/dybsvn/{NIGHT}": None}}, ["write why it is held"]),
        ({"hold": {f"dayabay/svn/dybsvn/{NIGHT}": True}}, ["write why it is held"]),
        ({"hold": {f"dayabay/svn/dybsvn/{NIGHT}": ["x"]}}, ["write why it is held"]),
        ({"hold": {f"dayabay/svn/dybsvn/{NIGHT}": "x" * 1001}}, ["in 1 to 1000 characters"]),
        ({"hold": {"dayabay/svn/dybsvn/2013/05/11/013000": "x"}}, ["is later than now"]),
        ({"release": ["dayabay/svn/dybsvn"]}, ["altbackup_release", "has no stamp behind it"]),
        (
            {"hold": {f"dayabay/svn/dybsvn/{NIGHT}": "x"}, "release": [f"dayabay/svn/dybsvn/{NIGHT}"]},
            ["altbackup_release", "stands in altbackup_hold, too"],
        ),
    ],
)
def test_what_cannot_be_meant_is_an_error_and_nothing_is_given(settings: dict[str, Any], words: list[str]) -> None:
    said, errors = given(**settings)
    assert (said, len(errors)) == ({}, 1)
    for word in words:
        assert word in errors[0], errors


def test_every_error_is_told() -> None:
    _, errors = given(accept=["x", "y/z"], release=["a"])
    assert len(errors) == 3


def test_a_retirement_is_noted_where_it_is_given_for_a_run() -> None:
    assert given(extra=["altbackup_retired"])[0] == {"dayabay": {"retired": {"svn/old": "2013/05/01"}}}
    assert given(extra=[])[0] == {}


def test_a_retirement_is_taken_back_for_a_run_alone() -> None:
    again = {"dayabay": {**SOURCES["dayabay"], "retired": {"svn/old": ""}}}
    said, errors = given_marks(NOTHING, again, NOW, ["altbackup_retired"])
    assert (said, errors) == ({"dayabay": {"retired": {"svn/old": ""}}}, [])
    known = {"dayabay": {"retired": {"svn/old": "2013/05/01"}}}
    assert all_marks(known, said, again)["dayabay"]["retired"] == {"svn/old": ""}, "for nodes that get it later"
    said, (error,) = given_marks(NOTHING, again, NOW, [])
    assert said == {} and "svn/old of dayabay has no day" in error and "-e" in error


def test_all_marks_are_those_that_are_known_and_those_that_are_given() -> None:
    known = {
        "dayabay": {"accepted": {"svn/dybsvn": NIGHT}, "holds": {f"svn/dybsvn/{NIGHT}": "x"}, "retired": {}},
        "gone": {"accepted": {"svn/x": NIGHT}},
        "juno": {"accepted": {}, "holds": {}, "retired": {}},
    }
    now = {"dayabay": {"accepted": {"svn/dybsvn": BEFORE}, "holds": {f"svn/dybsvn/{NIGHT}": ""}}}
    assert all_marks(known, now, SOURCES) == {
        "dayabay": {"accepted": {"svn/dybsvn": BEFORE}, "holds": {f"svn/dybsvn/{NIGHT}": ""}, "retired": {}}
    }
    assert all_marks({}, {}, SOURCES) == {}


PLAN: dict[str, Any] = {
    "given": {"dayabay": {"holds": {f"svn/dybsvn/{NIGHT}": "x", f"svn/old/{NIGHT}": ""}}},
    "nodes": {
        "dayabay": {"trees": [{"role": "source", "source": "dayabay"}]},
        "cms01": {"trees": [{"role": "target", "source": "juno"}, {"role": "target", "source": "dayabay"}]},
        "sdu": {"trees": [{"role": "target", "source": "dayabay"}]},
    },
}


def test_it_is_told_who_gets_what_was_marked_later() -> None:
    hold = f"svn/dybsvn/{NIGHT}"
    states = {"dayabay": {"held": {"dayabay": [], "dayabay -> cms01": [hold]}}, "cms01": {}}
    failures, notes = marked(PLAN, states)
    assert failures == []
    assert notes == ["dayabay -> sdu: gets what was marked of dayabay in the next run that reaches it"]
    states["sdu"] = {"held": {"dayabay -> sdu": []}}
    assert marked(PLAN, states) == ([], [])


def test_a_tarball_that_no_node_has_cannot_be_held() -> None:
    states = {"dayabay": {"held": {"dayabay": [], "dayabay -> cms01": []}}}
    ((failure,), notes) = marked(PLAN, states)
    assert (failure["node"], failure["category"], failure["name"]) == ("dayabay", "svn", "dybsvn")
    for word in (
        f"svn/dybsvn/{NIGHT} is held",
        "on dayabay, dayabay -> cms01",
        "(dayabay -> sdu was not asked)",
        "altbackup_release",
    ):
        assert word in failure["reason"]
    assert len(notes) == 1


def test_a_run_that_marks_nowhere_says_that_all_get_it_later_and_a_run_that_is_told_nothing_nothing() -> None:
    failures, (note,) = marked(PLAN, {})
    assert failures == []
    assert note.startswith("dayabay, dayabay -> cms01, dayabay -> sdu: gets")
    assert marked({**PLAN, "given": {}}, {}) == ([], [])
