"""Listing of tarballs that are not named as those of their item."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import bound_by_modes, marked, put
from helpers.pairs import put_pairs

from ansible_collections.altbackup.core.plugins.module_utils.synchronize.offer import listing, parse_offers
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput
from ansible_collections.altbackup.core.plugins.module_utils.tree.sidecar import read
from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import Moment

NOW = Moment("2013/05/31/235959", "2013/05/31/235959")


@pytest.mark.parametrize(
    ("relpath", "todo"),
    [
        (
            "folders/svnsetup/2013/05/08/104701/apache2.tar.gz",
            "rename it to svnsetup[-<revision>].tar.gz, and its dna with it, or move it out of the base",
        ),
        (
            "svn/dybsvn/2013/05/08/104701/dybsvn-20496-before-upgrade.tar",
            "rename it to dybsvn[-<revision>].tar, and its dna with it, or move it out of the base",
        ),
        (".snapshot/notes/2013/05/08/104701/notes.tar.zst", "purged: move it out of the base"),
    ],
)
def test_verified_tarball_with_a_strange_name_has_a_note_that_says_what_to_do(
    tmp_path: Path, relpath: str, todo: str
) -> None:
    base = marked(tmp_path / "base")
    put(base, relpath)
    put(base, "folders/svnsetup/2013/05/09/104701/svnsetup.tar.gz")
    put(base, "folders/svnsetup/2013/05/09/104702/apache2.tar.gz", dna=None)
    result = listing(str(base), moment=NOW)
    assert len(result["tarballs"]) == 3
    (note,) = result["notes"]
    key = "/".join(relpath.split("/")[:2])
    assert note.startswith(
        f"{relpath} is not named as a tarball of {key}, so it is not counted, not copied to any target "
    )
    assert note.endswith(todo)


def test_folder_that_cannot_be_read_is_a_failure_and_hides_no_other(tmp_path: Path) -> None:
    base = marked(tmp_path / "base")
    good = "folders/svnsetup/2013/05/09/104701/svnsetup.tar.gz"
    put(base, good)
    folder = put(base, "svn/dybsvn/2013/05/09/104701/dybsvn-7.tar.gz").parent
    folder.chmod(0)
    with bound_by_modes():
        result = listing(str(base), moment=NOW)
    folder.chmod(0o700)
    assert [entry["relpath"] for entry in result["tarballs"]] == [good]
    (failure,) = result["failures"]
    assert failure["reason"].startswith(
        "what folder svn/dybsvn/2013/05/09/104701 holds is not known: it cannot be read by uid 0: Permission denied"
    )


def test_tarballs_of_a_time_that_has_not_come_are_of_that_state_and_failures(tmp_path: Path) -> None:
    base = marked(tmp_path / "base")
    for stamp in ("2013/05/10/104701", "2013/06/01/000000", "2013/06/02/000000"):
        put(base, f"svn/x/{stamp}/x-1.tar")
    result = listing(str(base), moment=NOW)
    assert [entry["state"] for entry in result["tarballs"]] == ["verified", "future", "future"]
    (failure,) = result["failures"]
    assert failure["relpath"] == "svn/x/2013/06/01/000000/x-1.tar"
    assert listing(str(base), "2013/05/10", moment=NOW)["failures"] == [failure]
    assert listing(str(base), moment=Moment(NOW.stamp, "2013/06/02/000000"))["failures"] == []


FULL, DIFF = "folders/x/2013/05/08/104701/x.tar", "folders/x/2013/05/09/104701/x.diff.tar"
DIG = {"dig": "0" * 64, "size": 5, "alg": "sha256"}


def test_a_differential_is_offered_with_what_it_needs(tmp_path: Path) -> None:
    base = marked(tmp_path / "base")
    _, diff = put_pairs(base, "08F 09D", "folders/x")
    full, told = listing(str(base), moment=NOW)["tarballs"]
    assert (told["base"], told["base_dig"]) == ("2013/05/08/104701/x.tar", full["dig"]) and "base" not in full
    (offer,) = parse_offers([told])
    assert offer.dna == read(f"{base / diff}.dna")


@pytest.mark.parametrize(
    "value",
    [
        {**DIG, "relpath": DIFF},
        {**DIG, "relpath": DIFF, "base": "2013/05/08/104701/x.tar", "base_dig": "x"},
        {**DIG, "relpath": DIFF, "base": "../../y/2013/05/08/104701/y.tar", "base_dig": "0" * 64},
        {**DIG, "relpath": DIFF, "base": "/etc/passwd", "base_dig": "0" * 64},
        {**DIG, "relpath": FULL, "base": "2013/05/07/104701/x.tar", "base_dig": "0" * 64},
    ],
)
def test_what_is_said_of_a_full_tarball_and_cannot_be_is_refused(value: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="is not the full tarball of a differential"):
        parse_offers([value])
