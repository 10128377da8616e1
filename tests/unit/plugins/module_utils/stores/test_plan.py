"""What a store has, and what is to become of it: by what was listed and what is remembered alone."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.stores.known import Copy
from ansible_collections.altbackup.core.plugins.module_utils.stores.plan import (
    FINISH,
    PUT,
    REPEAT,
    REPLACE,
    Held,
    View,
    as_tarball,
    overdue,
    plan_reading,
    plan_uploads,
    private_path,
    unread_sidecars,
    view_of,
)
from ansible_collections.altbackup.core.plugins.module_utils.stores.remote import Object
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import Tarball
from ansible_collections.altbackup.core.plugins.module_utils.tree.retention import Rules
from ansible_collections.altbackup.core.plugins.module_utils.tree.sidecar import Dna, serialize
from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import Moment

NOW = Moment("2013/05/20/104701", "2013/05/20/104701")


def path_of(day: int, key: str = "svn/x", ending: str = "") -> str:
    """Return where the tarball of a day of May 2013 lies."""
    return f"{key}/2013/05/{day:02}/104701/{key.split('/')[1]}{ending}.tar"


def dna_of(text: str, size: int = 100, **base: str) -> Dna:
    """Return the dna of something."""
    return Dna(hashlib.sha256(text.encode()).hexdigest(), size, "sha256", base.get("base"), base.get("base_dig"))


def one_of(day: int, text: str = "", **options: Any) -> Tarball:
    """Return a tarball that the node holds."""
    dna = options.pop("dna", None) or dna_of(text or str(day))
    return as_tarball(path_of(day, **options), Copy(dna))


def copy_of(text: str, **options: Any) -> Copy:
    """Return a copy in the store."""
    return Copy(dna_of(text), **options)


def view(copies: dict[str, Copy] | None = None, **parts: Any) -> View:
    """Return what a store has."""
    empty: dict[str, Any] = {"halves": {}, "damaged": {}, "orphans": [], "gone": [], "strange": []}
    return View(copies or {}, **{**empty, **parts})


def listed(*paths: str, size: int = 100) -> list[Object]:
    """Return tarballs as they were listed, each with its sidecar."""
    return [
        Object(name, length)
        for path in paths
        for name, length in ((path, size), (f"{path}.dna", len(serialize(dna_of("1")))))
    ]


def test_sidecars_that_are_known_are_not_read_again() -> None:
    objects = listed(path_of(1), path_of(2), path_of(3))
    known = {path_of(1): copy_of("1"), path_of(2): Copy(dna_of("2", 1234567))}
    assert unread_sidecars(objects, known) == [f"{path_of(day)}.dna" for day in (2, 3)]


@pytest.mark.parametrize(
    ("objects", "read", "part", "expected"),
    [
        (listed(path_of(1)), {f"{path_of(1)}.dna": dna_of("1")}, "copies", [path_of(1)]),
        (listed(path_of(1), size=99), {f"{path_of(1)}.dna": dna_of("1")}, "damaged", [path_of(1)]),
        (listed(path_of(1)), {f"{path_of(1)}.dna": "has a malformed dna"}, "damaged", [path_of(1)]),
        (listed(path_of(1))[:1], {}, "halves", [path_of(1)]),
        (listed(path_of(1))[1:], {}, "orphans", [path_of(1)]),
        (
            [Object("svn/x/notes.txt", 1), Object("svn/x/2013/05/01/104701/x.tar.partial", 1)],
            {},
            "strange",
            ["svn/x/2013/05/01/104701/x.tar.partial", "svn/x/notes.txt"],
        ),
    ],
)
def test_what_was_listed_is_told_apart(
    objects: list[Object], read: dict[str, Dna | str], part: str, expected: list[str]
) -> None:
    found = view_of(objects, {}, read)
    assert [*getattr(found, part)] == expected
    others = {"copies", "damaged", "halves", "orphans", "strange", "gone"} - {part}
    assert not any(getattr(found, name) for name in others)


def test_what_is_remembered_and_not_there_is_gone_unless_it_is_hidden() -> None:
    known = {path_of(1): copy_of("1"), path_of(2): copy_of("2")}
    assert view_of([], known, {}, [path_of(2)]).gone == [path_of(1)]


def test_the_newest_goes_first_but_a_full_one_before_its_differential() -> None:
    full = one_of(10)
    assert full.dna is not None
    needs = dna_of("d", base="2013/05/10/104701/x.tar", base_dig=full.dna.dig)
    tarballs = [full, one_of(12), one_of(19, ending=".diff", dna=needs)]
    uploads = plan_uploads(Held(tarballs), view(), {"svn/x": Rules(9)}, NOW)
    assert [upload.tarball.stamp[8:10] for upload in uploads] == ["10", "19", "12"]
    assert {upload.way for upload in uploads} == {PUT}


@pytest.mark.parametrize(
    ("there", "way"),
    [
        ({}, PUT),
        ({"halves": {path_of(19): 100}}, FINISH),
        ({"halves": {path_of(19): 99}}, REPLACE),
        ({"damaged": {path_of(19): "has 99 bytes"}}, REPLACE),
        ({"orphans": [path_of(19)]}, REPLACE),
        ({"copies": {path_of(18): copy_of("19")}}, REPEAT),
        ({"copies": {path_of(18): copy_of("19", doubted=True)}}, PUT),
    ],
)
def test_how_a_tarball_gets_there_follows_from_what_is_there(there: dict[str, Any], way: str) -> None:
    (upload,) = plan_uploads(Held([one_of(19)]), view(**there), {"svn/x": Rules(9)}, NOW)
    assert upload.way == way


def test_what_the_rules_of_the_store_would_remove_is_not_put_there() -> None:
    tarballs = [one_of(day) for day in range(10, 21)]
    uploads = plan_uploads(Held(tarballs), view(), {"svn/x": Rules(3)}, NOW)
    assert [upload.tarball.stamp[8:10] for upload in uploads] == ["20", "19", "18"]


def test_what_came_late_takes_no_place_of_what_came_in_time() -> None:
    copies = {path_of(day): copy_of(str(day), came=f"2013/05/{day}/104701") for day in (12, 14, 16)}
    uploads = plan_uploads(Held([one_of(15), one_of(20)]), view(copies), {"svn/x": Rules(3)}, NOW)
    assert [upload.tarball.stamp[8:10] for upload in uploads] == ["20"]


def test_nothing_is_put_under_a_delete_marker_nor_of_no_item_nor_of_the_future() -> None:
    tarballs = [one_of(19), one_of(20), one_of(18, key="svn/other"), one_of(21)]
    uploads = plan_uploads(Held(tarballs), view(), {"svn/x": Rules(9)}, NOW, hidden=[path_of(20), f"{path_of(18)}.dna"])
    assert [upload.tarball.relpath for upload in uploads] == [path_of(19)]


def test_a_share_is_read_each_night_that_which_waits_longest_first() -> None:
    copies = {
        path_of(day): copy_of(str(day), came="2013/05/01/000000", read=f"2013/05/{day}/104701") for day in range(10, 17)
    }
    copies[path_of(9)] = copy_of("9", came="2013/05/09/000000")
    due = plan_reading(copies, 4, NOW)
    assert due[:2] == [path_of(9), path_of(10)]
    assert len(plan_reading(copies, 4, NOW, every=True)) == 8
    assert path_of(9) not in plan_reading(copies, 4, NOW, good=[path_of(9)])
    assert plan_reading(copies, 0, NOW) == []


def test_what_was_not_read_in_time_is_overdue() -> None:
    copies = {
        path_of(1): copy_of("1", came="2013/05/01/104701"),
        path_of(2): copy_of("2", came="2013/05/01/104701", read="2013/05/19/104701"),
    }
    copies[path_of(19)] = copy_of("19", came="2013/05/19/104701")
    assert overdue(copies, 7, NOW) == [path_of(1)]


def test_records_lie_where_a_target_has_them() -> None:
    assert private_path("dayabay", "records", path_of(1)) == ".altbackup/records/dayabay/svn/x/2013/05/01/104701.json"
