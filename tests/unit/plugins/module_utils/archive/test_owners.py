"""Owners in archives."""

from __future__ import annotations

import tarfile

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.archive import owners as owners_module
from ansible_collections.altbackup.core.plugins.module_utils.archive.owners import Owner, Owners
from ansible_collections.altbackup.core.plugins.module_utils.system.names import Names


def owners_of(*found: Owner) -> Owners:
    """Return the owners in an archive with these members."""
    owners = Owners()
    for uid, gid, user, group in found:
        member = tarfile.TarInfo("x")
        member.uid, member.gid, member.uname, member.gname = uid, gid, user, group
        owners.add_member(member)
    return owners


A, B = (1, 2, "a", "b"), (3, 4, "c", "d")


def test_the_digest_is_one_of_what_is_there_in_whatever_order() -> None:
    assert owners_of(A, B, A).digest == owners_of(B, A).digest != owners_of(A).digest


@pytest.mark.parametrize(
    "other", [(9, 2, "a", "b"), (1, 9, "a", "b"), (1, 2, "x", "b"), (1, 2, "a", "x"), (1, 2, "", "b")]
)
def test_the_digest_sees_numbers_and_names(other: Owner) -> None:
    assert owners_of(other).digest != owners_of(A).digest


def test_names_that_are_none_are_left_out() -> None:
    found = owners_of(A, (5, 6, "", "e\nf"), (7, 8, "x" * 300, "g\x1b[2J"), (9, 10, "\udcff", "h"))
    assert found.names() == Names({1: "a"}, {2: "b", 10: "h"})


def test_owners_without_end_take_no_memory_and_have_no_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owners_module, "MOST", 3)
    many = owners_of(*((number, number, "", "") for number in range(100)))
    assert (len(many.found), many.digest) == (4, "")
    several = owners_of(A, B)
    several.add(many)
    assert (len(several.found), several.digest) == (4, "")


def test_those_of_a_second_archive_come_to_those_of_the_first() -> None:
    both = owners_of(A)
    both.add(owners_of(B))
    assert both == owners_of(A, B)
