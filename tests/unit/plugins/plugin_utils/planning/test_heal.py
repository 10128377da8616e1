"""The node from which a rotted tarball is fetched, and the messages about it: plain values."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.planning.heal import (
    after_errand,
    copies,
    errands,
    files_of,
    good_copies,
    healing_folder,
    rounds,
    unattached,
    unhealed_items,
    waiting,
    with_outcomes,
)

FIRST, SECOND = "svn/x/2013/05/10/104701/x-1.tar", "svn/x/2013/05/11/104701/x-1.tar"
PLACE = {"node": "cms01", "source": "dayabay", "role": "target", "base": "/copies/dayabay"}
CONTENT = {"dig": "aa", "size": 7, "alg": "sha256"}
THIRD = "git/y/2013/05/11/104701/y.tar"
FAILURE = {"relpath": SECOND, "reason": "it rotted", "node": "dayabay"}


def apart(relpath: str = SECOND, told: str = SECOND, **more: Any) -> dict[str, Any]:
    """Return an entry of a quarantine as a check reports it."""
    reason = "it rotted" if told else ""
    return {"relpath": relpath, **CONTENT, "read": "bb", "read_size": 7, "told": told, "reason": reason, **more}


def held(*tarballs: dict[str, Any], problem: str = "") -> dict[str, Any]:
    """Return a holder's good copies of what rotted, or its problem."""
    rotten = files_of(PLACE, [apart(), apart(FIRST), apart(THIRD, THIRD, dig="dd")], [])
    return {"base": "/b", "copies": good_copies(rotten, tarballs), "problem": problem}


def copy(relpath: str = SECOND, **more: Any) -> dict[str, Any]:
    """Return a good copy as a holder reports it."""
    return {"relpath": relpath, **CONTENT, "state": "verified", "record": {}, **more}


def test_the_names_of_one_file_are_one_and_its_failure_is_told_later() -> None:
    other = {"relpath": SECOND, "reason": "something else"}
    (file,) = files_of(PLACE, [apart(), apart(FIRST)], [FAILURE, other])
    assert [name["relpath"] for name in file["names"]] == [SECOND, FIRST]
    assert file["failures"] == [FAILURE]
    assert unattached([FAILURE, other], [file]) == [other]
    assert unhealed_items([file]) == {"svn/x"}


def test_what_waits_since_before_has_no_failure() -> None:
    (file,) = files_of(PLACE, [apart(told="")], [FAILURE])
    assert file["failures"] == [] and len(waiting(file)) == 1


@pytest.mark.parametrize(
    ("holders", "found"),
    [
        ({}, []),
        ({"target sdu": held(copy()), "source dayabay": held(copy())}, ["source dayabay", "target sdu"]),
        ({"target sdu": held(copy()), "target cms01": held(copy(FIRST))}, ["target cms01", "target sdu"]),
        ({"target sdu": held(copy(), problem="is locked")}, []),
        ({"target sdu": held(copy(state="mismatch"))}, []),
        ({"target sdu": held(copy(state="quarantined"))}, []),
        ({"target sdu": held(copy(dig="cc"))}, []),
        ({"target sdu": held(copy(size=8))}, []),
        ({"target sdu": held(copy(dig="bb"))}, ["target sdu"]),  # it may be the sidecar that rotted
        ({"target sdu": held(copy("../../etc/passwd"))}, []),
        ({"target sdu": held(copy("svn/x/2013/05/01/104701/x-1.tar"))}, ["target sdu"]),
    ],
)
def test_who_has_a_good_copy(holders: dict[str, Any], found: list[str]) -> None:
    files = files_of(PLACE, [apart()], [])
    assert list(copies(files[0], holders)) == found
    assert rounds(files, holders) == len(found)


def test_one_errand_for_a_tree_and_a_holder_and_the_next_holder_where_that_failed() -> None:
    third = THIRD
    files = files_of(PLACE, [apart(), apart(FIRST), apart(third, third, dig="dd")], [])
    holders = {"source dayabay": held(copy(), copy(third, dig="dd")), "target sdu": held(copy(FIRST))}
    (errand,) = errands(files, holders)
    assert [(one["relpath"], one["held"]) for one in errand["tarballs"]] == [
        (SECOND, SECOND),
        (FIRST, SECOND),
        (third, third),
    ]
    files = after_errand(files, errand, [third], ["no luck"])
    (errand,) = errands(files, holders)
    assert errand["label"] == "dayabay: target cms01 from target sdu"
    assert [(one["relpath"], one["held"]) for one in errand["tarballs"]] == [(SECOND, FIRST), (FIRST, FIRST)]
    assert unhealed_items(files) == {"svn/x"}
    files = with_outcomes(after_errand(files, errand, [SECOND], ["no luck either"]), holders)
    assert errands(files, holders) == []
    assert files[0]["outcome"] == (
        "in part healed from sdu, but NOT healed, the next run tries again: from dayabay: no luck; from sdu: no luck either"
    )
    assert files[1]["outcome"].startswith("healed from dayabay: ")


def test_three_of_three_rotten_is_loud() -> None:
    files = files_of(PLACE, [apart()], [])
    holders = {"source dayabay": held(), "target cms01": held(), "target sdu": held(problem="is gone")}
    (file,) = with_outcomes(files, holders)
    assert (
        file["outcome"] == "NOT healed: NO NODE HAS A GOOD COPY of it (asked: dayabay, cms01). Not asked: sdu (is gone)"
    )


def test_where_good_copies_come_to() -> None:
    assert healing_folder(PLACE) == "/copies/.altbackup/healing/dayabay"
    assert healing_folder({**PLACE, "role": "source", "base": "/backup"}) == "/backup/.altbackup/healing"


class Counted(dict[str, Any]):
    """A tarball that counts how often it is examined."""

    looked = 0

    def get(self, key: str, default: Any = None) -> Any:
        Counted.looked += 1
        return super().get(key, default)


def test_what_a_holder_says_beyond_what_is_needed_is_looked_at_once_and_not_kept() -> None:
    files = files_of(PLACE, [apart(f"svn/x/2013/05/{day:02}/104701/x-1.tar", told="") for day in range(1, 29)], [])
    told = [Counted(copy(f"svn/x/2012/05/01/{number:06}/x-1.tar")) for number in range(5000)]
    told += [Counted(copy(f"svn/y/2012/05/01/{number:06}/y-1.tar", dig="ee")) for number in range(5000)]
    Counted.looked = 0
    good = good_copies(files, told)
    assert [len(copies) for copies in good.values()] == [1]
    assert Counted.looked < 5 * len(told)
    assert rounds(files, {"source dayabay": {"base": "/b", "copies": good, "problem": ""}}) == 1


def test_what_a_source_knows_of_what_is_encrypted_goes_to_no_target() -> None:
    relpath = f"{SECOND}.age"
    rotten = files_of(PLACE, [apart(relpath, relpath)], [])
    record = {
        "relpath": relpath,
        "to": ["age1"],
        "sealed": "c2VhbGVk",
        "rows": {"patients": 5},
        "path": "/srv/x",
        "plain": "ff",
    }
    told = {"base": "/b", "copies": good_copies(rotten, [copy(relpath, record=record)]), "problem": ""}
    text = str(errands(rotten, {"source dayabay": told}))
    assert "c2VhbGVk" in text
    for hidden in ("patients", "/srv/x", "plain"):
        assert hidden not in text
