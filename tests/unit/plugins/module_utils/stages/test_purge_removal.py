"""Carrying out a purge on real files: what goes goes whole, and what cannot go keeps no other from going."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import marked, put
from helpers.tarballs import stamp_of

from ansible_collections.altbackup.core.plugins.module_utils.stages import purge_removal as room
from ansible_collections.altbackup.core.plugins.module_utils.stages.purge import PurgeRequest, purge
from ansible_collections.altbackup.core.plugins.module_utils.stages.purge_plan import PurgePlan
from ansible_collections.altbackup.core.plugins.module_utils.stages.purge_removal import (
    clean_up,
    count_late,
    count_removed,
    empty_trash,
    remove_going,
)
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import Tarball, Tree, open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.publish import read_record, write_record
from ansible_collections.altbackup.core.plugins.module_utils.tree.scan import scan
from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import Moment


def relpath(stamp: str) -> str:
    """Return where the tarball of a stamp lies."""
    return f"svn/x/{stamp}/x-1.tar"


def at(stamp: str) -> Moment:
    """Return when a run of a stamp is, by a clock that is not behind any other."""
    return Moment(stamp, "2099/12/31/000000")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A tree with tarballs of four days, and records of their dumps."""
    base = marked(tmp_path / "base")
    for day in ("01", "02", "03", "04"):
        put(base, relpath(stamp_of(day)), day.encode())
        write_record(open_tree(str(base)), "svn/x", stamp_of(day), {"day": day})
    return open_tree(str(base))


def plan_of(tree: Tree, due: str, allowed: int) -> PurgePlan:
    """Return a plan by which tarballs of some days are to go."""
    found = {one.stamp[8:10]: one for one in scan(tree).verified()}
    return PurgePlan([found[day] for day in due.split()], {"svn/x": allowed})


def there(tree: Tree) -> str:
    return " ".join(one.stamp[8:10] for one in scan(tree).verified())


@pytest.mark.parametrize("day", ["", "2013/05/10"])
def test_what_goes_goes_with_its_record_and_is_in_the_trash_if_a_day_is_given(tree: Tree, day: str) -> None:
    removed, failed, failures = remove_going(tree, plan_of(tree, "01 02", 1), day)
    assert ([one.stamp[8:10] for one in removed], failed, failures) == (["01"], set(), [])
    assert list(removed.values()) == [not day]
    assert there(tree) == "02 03 04"
    assert read_record(tree, "svn/x", stamp_of("01")) == {} != read_record(tree, "svn/x", stamp_of("02"))
    assert not os.path.exists(tree.path("svn/x/2013/05/01"))


def test_one_that_cannot_be_removed_is_told_and_another_one_goes_in_its_place(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = room.take_out

    def stubborn(tree: Tree, tarball: Tarball) -> str:
        if tarball.stamp == stamp_of("01"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), tarball.relpath)
        return real(tree, tarball)

    monkeypatch.setattr(room, "take_out", stubborn)
    removed, failed, failures = remove_going(tree, plan_of(tree, "01 02 03", 1))
    assert ([one.stamp[8:10] for one in removed], failed) == (["02"], {relpath(stamp_of("01"))})
    assert "could not be removed: " in failures[0]["reason"] and "Input/output error" in failures[0]["reason"]
    assert there(tree) == "01 03 04"


def test_what_stands_beside_a_tarball_keeps_its_folder(tree: Tree) -> None:
    beside = Path(tree.path(f"svn/x/{stamp_of('01')}/notes.txt"))
    beside.write_text("mine")
    removed, _, failures = remove_going(tree, plan_of(tree, "01", 1))
    assert (len(removed), failures, beside.read_text()) == (1, [], "mine")
    assert sorted(os.listdir(beside.parent)) == ["notes.txt"]


@pytest.mark.parametrize("place", ["records", "records/svn", "records/svn/x"])
def test_no_record_is_removed_behind_a_link(tree: Tree, tmp_path: Path, place: str) -> None:
    path = Path(tree.private) / place
    path.rename(tmp_path / "other")
    path.symlink_to(tmp_path / "other")
    removed, failed, failures = remove_going(tree, plan_of(tree, "01", 1))
    assert (len(removed), failed) == (1, set())
    assert "was removed, but not all that belongs to it: " in failures[0]["reason"]
    assert len([*(tmp_path / "other").rglob("*.json")]) == 4


@pytest.mark.parametrize("place", ["records", "records/svn", "records/svn/x"])
def test_no_record_is_looked_for_behind_a_link(tmp_path: Path, place: str) -> None:
    base, other = marked(tmp_path / "base"), tmp_path / "other"
    stamps = ["2013/05/08/104701", "2013/05/09/104701"]
    for number, stamp in enumerate(stamps):
        put(base, relpath(stamp), str(number).encode())
    where = other / Path("records/svn/x/2013/05/07/104701.json").relative_to(place)
    where.parent.mkdir(parents=True)
    where.write_text("{}")
    path = base / ".altbackup" / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(other)
    result = purge(PurgeRequest(str(base), 1, moment=at(stamps[1])))
    assert where.read_text() == "{}"
    assert "lies behind, a link" in result["failures"][0]["reason"]


def test_records_of_what_is_gone_are_removed(tmp_path: Path) -> None:
    base = marked(tmp_path / "base")
    stamps = ["2013/05/08/104701", "2013/05/09/104701"]
    put(base, relpath(stamps[1]), b"x")
    for stamp in stamps:
        write_record(open_tree(str(base)), "svn/x", stamp, {})
    result = purge(PurgeRequest(str(base), 1, moment=at(stamps[1])))
    assert result["failures"] == [] and result["changed"]
    found = (base / ".altbackup" / "records").rglob("*.json")
    assert [str(path).endswith(f"{stamps[1]}.json") for path in found] == [True]


def test_what_killed_purges_left_is_seen_to_item_by_item(tree: Tree) -> None:
    staying = scan(tree).verified()
    assert clean_up(tree, ["svn/x", "svn/none"], ["svn/x"], staying) == (False, [])
    os.makedirs(tree.path("svn/x/2012/01/01/104701"))
    os.makedirs(tree.path("svn/x/notes"))
    write_record(tree, "svn/x", "2012/01/01/104701", {})
    assert clean_up(tree, ["svn/x"], ["svn/x"], staying) == (True, [])
    assert not os.path.exists(tree.path("svn/x/2012")) and os.path.isdir(tree.path("svn/x/notes"))
    assert there(tree) == "01 02 03 04"
    assert clean_up(tree, ["svn/x"], ["svn/x"], staying) == (False, [])


@pytest.mark.parametrize(
    ("number", "full", "told"), [(errno.ENOSPC, True, True), (errno.EDQUOT, True, True), (errno.EIO, False, False)]
)
def test_a_full_disk_does_not_keep_a_purge_from_removing(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, number: int, full: bool, told: bool
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    assert (count_removed(tree, 2), count_late(tree, 2)) == (False, [])
    monkeypatch.setattr(room, "count_purged", refuse)
    if not full:
        with pytest.raises(OSError, match="Input/output"):
            count_removed(tree, 1)
        return
    assert count_removed(tree, 1) is told
    (entry,) = count_late(tree, 1)
    assert "1 tarball went, and there is no room to write that down" in entry["reason"]


@pytest.mark.parametrize(
    ("today", "days", "is_gone"), [("", 7, False), ("2013/06/01", None, False), ("2013/06/01", 7, True)]
)
def test_the_trash_is_emptied_where_it_is_known_which_day_it_is(
    tree: Tree, today: str, days: int | None, is_gone: bool
) -> None:
    remove_going(tree, plan_of(tree, "01", 1), "2013/05/10")
    kept = Path(tree.private) / "trash"
    freed, notes, failures = empty_trash(tree, today, days, scan(tree).verified())
    assert (freed > 0, notes, failures) == (is_gone, [], [])
    assert bool([*kept.rglob("x-1.tar")]) is not is_gone
