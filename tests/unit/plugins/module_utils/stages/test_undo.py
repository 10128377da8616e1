"""Undoing a purge: what is named is put back, and nothing that is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from helpers.original_trees import marked, put
from helpers.tarballs import stamp_of

from ansible_collections.altbackup.core.plugins.module_utils.stages import undo as room
from ansible_collections.altbackup.core.plugins.module_utils.stages.purge_plan import PurgePlan
from ansible_collections.altbackup.core.plugins.module_utils.stages.purge_removal import remove_going
from ansible_collections.altbackup.core.plugins.module_utils.stages.undo import undo
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import BaseUnusable, InvalidInput
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.scan import scan

NAME = f"svn/x/{stamp_of('01')}"


@pytest.mark.parametrize(
    ("days", "stamps"),
    [(["2013/05/10"], []), ([], [NAME]), (["2013/05/10", "2013/05/11"], [NAME, f"git/a b/{stamp_of('02')}"])],
)
def test_days_and_tarballs_may_be_named(days: list[str], stamps: list[str]) -> None:
    room._require_named(days, stamps)


@pytest.mark.parametrize(
    ("days", "stamps", "reason"),
    [
        ([], [], "undo: neither days nor stamps are named"),
        ([""], [], "undo: day '' is not a date like 2013/05/10"),
        (["-1"], [], "-1"),
        ([" 2013/05/10"], [], "undo: day ' 2013/05/10' is not a date"),
        (["2013/02/30"], [], "2013/02/30"),
        (["today"], [], "today"),
        (["2013/05/10", "x"], [], "'x'"),
        ([], [""], "undo: '' is not category/name/YYYY/MM/DD/HHMMSS"),
        ([], ["svn/x"], "undo: 'svn/x' is not category/name"),
        ([], [stamp_of("01")], "is not category/name"),
        ([], [f"/x/{stamp_of('01')}"], "is not category/name"),
        ([], [f"svn//{stamp_of('01')}"], "is not category/name"),
        ([], [f"{NAME}/x.tar"], "is not category/name"),
        ([], ["svn/x/2013/13/10/104701"], "is not category/name"),
        (["2013/05/10"], ["svn/x"], "is not category/name"),
    ],
)
def test_what_is_no_day_and_no_tarball_is_refused(days: list[str], stamps: list[str], reason: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(reason)):
        room._require_named(days, stamps)


def test_a_base_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(BaseUnusable):
        undo(str(tmp_path / "none"), ["2013/05/10"], [])


@pytest.mark.parametrize(
    ("days", "stamps", "back", "told"),
    [
        (["2013/05/10"], [], "01 02", ["2013/05/10"]),
        (["2013/05/11"], [], "03", ["2013/05/11"]),
        (["2013/05/12"], [], "", []),
        ([], [NAME], "01", []),
        (["2013/05/11"], [NAME], "01 03", ["2013/05/11"]),
        ([], [f"svn/other/{stamp_of('01')}"], "", []),
    ],
)
def test_what_is_named_is_put_back(
    tmp_path: Path, days: list[str], stamps: list[str], back: str, told: list[str]
) -> None:
    base = marked(tmp_path / "base")
    tree = open_tree(str(base))
    for day in ("01", "02", "03", "04"):
        put(base, f"svn/x/{stamp_of(day)}/x.tar", day.encode())
    tarballs = {one.stamp[8:10]: one for one in scan(tree).verified()}
    for names, day in (("01 02", "2013/05/10"), ("03", "2013/05/11")):
        remove_going(tree, PurgePlan([tarballs[name] for name in names.split()], {"svn/x": 9}), day)
    predicted = undo(str(base), days, stamps, check_mode=True)
    assert [one.stamp[8:10] for one in scan(tree).verified()] == ["04"]
    result = undo(str(base), days, stamps)
    assert [path.split("/")[4] for path in result["put_back"]] == back.split()
    assert (result["put_back"], result["days"]) == (predicted["put_back"], told)
    assert (result["changed"], result["failures"]) == (bool(back), [])
    assert len(result["in_trash"]) == 3 - len(back.split()) and len(predicted["in_trash"]) == 3
    assert sorted([*back.split(), "04"]) == [one.stamp[8:10] for one in scan(tree).verified()]
