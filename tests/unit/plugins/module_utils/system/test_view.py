"""A process that enters a view can trust it: no other user's link leads elsewhere."""

from __future__ import annotations

import errno
import os
import pwd
from pathlib import Path

import pytest
from helpers.trees import needs_root

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput
from ansible_collections.altbackup.core.plugins.module_utils.system.view import groups_of, open_thing


def opened(path: str) -> str:
    """Return the path that a path leads to."""
    descriptor = open_thing(path)
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def test_own_links_and_dots_are_followed(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to("a/./b/..")
    (tmp_path / "absolute").symlink_to(tmp_path / "link" / "b")
    assert opened(f"{tmp_path}/absolute/../../a/b") == f"{tmp_path}/a/b"


def test_links_in_a_circle_and_what_is_missing_name_the_path(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to("circle")
    for name, number in (("circle", errno.ELOOP), ("missing", errno.ENOENT)):
        with pytest.raises(OSError, match=f"{tmp_path}/{name}") as caught:
            open_thing(f"{tmp_path}/{name}")
        assert caught.value.errno == number


@needs_root
def test_link_of_another_user_leads_only_to_what_is_his(tmp_path: Path) -> None:
    for name, owner in (("his", 4711), ("mine", 0)):
        (tmp_path / name).mkdir()
        os.chown(tmp_path / name, owner, owner)
        (tmp_path / f"to-{name}").symlink_to(name)
        os.lchown(tmp_path / f"to-{name}", 4711, 4711)
    assert opened(f"{tmp_path}/to-his") == f"{tmp_path}/his"
    with pytest.raises(InvalidInput, match="through the link 'to-mine' of uid 4711 to what belongs to uid 0"):
        open_thing(f"{tmp_path}/to-mine")


def test_user_whom_the_node_does_not_know_has_no_group() -> None:
    assert groups_of(0)[1] == pwd.getpwuid(0).pw_gid
    assert groups_of(4711) == ([], 65534)
