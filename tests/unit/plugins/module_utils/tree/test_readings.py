"""Readings of tarballs, and which are due: all in turn, an even share each night."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from helpers.original_trees import marked
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import Tarball, Tree, open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.readings import (
    Kept,
    due_share,
    files_of,
    is_fresh,
    keep_readings,
    read_first,
    readings,
)
from ansible_collections.altbackup.core.plugins.module_utils.tree.sidecar import Dna
from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import STAMP_FORMAT, Moment

TONIGHT = datetime(2026, 11, 23, 1, 30)  # noqa: DTZ001 (stamps have no zone)
NIGHT = timedelta(days=1)


def stamp(moment: datetime) -> str:
    """Return the stamp of a time."""
    return moment.strftime(STAMP_FORMAT)


def at(moment: datetime) -> Moment:
    """Return the moment of a run that starts then."""
    return Moment(stamp(moment), stamp(moment))


def ago(nights: float) -> str:
    """Return the stamp of so many nights before tonight."""
    return stamp(TONIGHT - nights * NIGHT)


def tarball(made: str, inode: int, size: int = 100) -> Tarball:
    """Return a tarball as a scan does."""
    return Tarball("svn", "x", made, "x-1.tar", size, (1, inode), 1, Dna("d", size), "", "verified")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Return a base."""
    return open_tree(str(marked(tmp_path / "b")))


def test_what_was_read_is_known_again_and_what_is_doubted_counts_as_never_read(tree: Tree) -> None:
    assert readings(tree) == {}
    keep_readings(tree, {"svn/x/2026/11/20/013000/x-1.tar": ago(1), "svn/x/2026/11/21/013000/x-2.tar": ago(2)})
    read_first(tree, ["svn/x/2026/11/20/013000/x-1.tar"])
    known = readings(tree)
    assert known == {"svn/x/2026/11/20/013000/x-1.tar": "", "svn/x/2026/11/21/013000/x-2.tar": ago(2)}
    (file,) = files_of([tarball("2026/11/20/013000", 1)], known, at(TONIGHT)).values()
    assert (file.last, file.doubted) == ("", True)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1}', '{"a": "yesterday"}', "[" * 100000, "\0" * 4096])
def test_a_damaged_file_is_named(tree: Tree, text: str) -> None:
    keep_readings(tree, {})
    path = Path(tree.private_path("state", "readings"))
    path.write_text(text)
    with pytest.raises(AltbackupError, match=f"{path}, .* is damaged"):
        readings(tree)
    read_first(tree, ["a"])
    assert readings(tree) == {"a": ""}


def test_names_of_one_file_are_read_together() -> None:
    one, other = tarball("2026/11/20/013000", 1), tarball("2026/11/22/013000", 1)
    files = files_of([one, other], {one.relpath: ago(2)}, at(TONIGHT))
    assert files == {(1, 1): Kept(100, "2026/11/22/013000", ago(2))}
    assert files[1, 1].last == "2026/11/22/013000"  # it was read when it got that name


def test_what_the_future_says_is_no_reading() -> None:
    early = tarball("2026/11/30/013000", 1)
    files = files_of([early], {early.relpath: stamp(TONIGHT + NIGHT)}, at(TONIGHT))
    assert files == {(1, 1): Kept(100, "", "")}


@pytest.mark.parametrize(
    ("files", "due"),
    [
        ({}, []),
        ({n: Kept(100, ago(n), ago(n)) for n in range(1, 8)}, [7]),
        ({n: Kept(100, ago(n)) for n in range(1, 8)}, [7]),  # their readings are unknown: they wait for their turn
        ({n: Kept(100, ago(100 + n)) for n in range(14)}, [13, 12]),
        ({n: Kept(100, ago(100), ago(6.6)) for n in range(3)}, [0, 1, 2]),  # they would be overdue
        ({n: Kept(100, ago(100), ago(6)) for n in range(14)}, [0, 1]),
        ({1: Kept(1000, ago(3), ago(3)), 2: Kept(10, ago(2), ago(2))}, [1]),
        ({1: Kept(10, ago(3), ago(3)), 2: Kept(1000, ago(2), ago(2))}, [1, 2]),  # the share is of bytes
        ({1: Kept(100, ago(1)), 2: Kept(100, ago(1), doubted=True)}, [2]),
        ({1: Kept(700, ago(9), ago(0.1)), 2: Kept(100, ago(5), ago(5))}, []),  # the night has read more than its share
        ({1: Kept(700, ago(0.2), ago(0.1)), 2: Kept(100, ago(5), ago(5))}, [2]),  # that was made tonight, not reread
    ],
)
def test_share_of_a_night(files: dict[int, Kept], due: list[int]) -> None:
    assert due_share(files, 7, at(TONIGHT)) == due


@given(
    sizes=st.lists(st.integers(1, 1000), max_size=60),
    days=st.integers(1, 14),
    jitter=st.lists(st.floats(-0.1, 0.1), min_size=60, max_size=60),
    known=st.booleans(),
)
def test_all_are_read_in_that_time_and_every_night_a_share(
    sizes: list[int], days: int, jitter: list[float], known: bool
) -> None:
    """Whatever the sizes, after the first round no file is ever overdue, and no night reads far more than its share."""
    files = {n: Kept(size, ago(1000), ago(days * n / len(sizes)) if known else "") for n, size in enumerate(sizes)}
    for night in range(3 * days):
        now = TONIGHT + (night + jitter[night]) * NIGHT
        due = due_share(files, days, at(now))
        share = sum(sizes) / days
        if not known or days > 1:
            read = sum(
                files[n].size for n in due if not files[n].read or files[n].read > stamp(now - (days - 0.5) * NIGHT)
            )
            assert read < share + max(sizes, default=0) + 1
        files.update({n: Kept(files[n].size, files[n].made, stamp(now)) for n in due})
        if night >= days:
            assert all(is_fresh(file, days, at(now)) for file in files.values())


def test_thirty_copies_of_equal_size_take_a_week_of_even_nights() -> None:
    files = {n: Kept(100, ago(n), ago(n)) for n in range(1, 31)}
    counts = []
    for night in range(14):
        now = TONIGHT + night * NIGHT
        due = due_share(files, 7, at(now))
        counts.append(len(due))
        files.update({n: Kept(100, files[n].made, stamp(now)) for n in due})
    assert set(counts[7:]) <= {4, 5}


def test_fresh_is_what_was_read_within_the_days() -> None:
    moment = at(TONIGHT)
    assert is_fresh(Kept(1, ago(30), ago(6.9)), 7, moment) and is_fresh(Kept(1, ago(6)), 7, moment)
    assert not is_fresh(Kept(1, ago(30), ago(7.1)), 7, moment)
    assert not is_fresh(Kept(1, ago(1), ago(1), doubted=True), 7, moment)
