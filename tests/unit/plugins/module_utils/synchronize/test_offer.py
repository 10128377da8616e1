"""What a listing says of tarballs that are not named as those of their item."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.original_trees import bound_by_modes, marked, put

from ansible_collections.altbackup.core.plugins.module_utils.synchronize.offer import listing
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
