"""Opening folders part by part: links and folders of other users lead nowhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers.racing import swapping
from helpers.trees import NOBODY, needs_root, nobodys_folder

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput
from ansible_collections.altbackup.core.plugins.module_utils.system.opened import (
    make_below,
    prune_below,
    require_kept,
    require_own,
    walked,
)

pytestmark = needs_root


def where(path: Path) -> tuple[str, list[str]]:
    """Return the real path of a path, and its missing parts."""
    with walked(str(path)) as (steps, missing):
        for step in steps:
            assert os.path.samestat(os.fstat(step.descriptor), os.stat(step.path))
        return steps[-1].path, missing


def make(path: Path, owner: int = 0, mode: int = 0o755) -> Path:
    """Make a folder."""
    path.mkdir(parents=True)
    path.chmod(mode)
    os.chown(path, owner, owner)
    return path


def test_folders_are_opened_up_to_what_is_missing(tmp_path: Path) -> None:
    make(tmp_path / "a" / "b")
    assert where(tmp_path / "a" / "b") == (f"{tmp_path}/a/b", [])
    assert where(tmp_path / "a" / "c" / "d") == (f"{tmp_path}/a", ["c", "d"])


def test_links_of_root_where_root_alone_writes_are_followed(tmp_path: Path) -> None:
    make(tmp_path / "real" / "below")
    make(tmp_path / "a")
    (tmp_path / "absolute").symlink_to(tmp_path / "real")
    (tmp_path / "a" / "relative").symlink_to("../absolute/./below")
    assert where(tmp_path / "a" / "relative" / "x") == (f"{tmp_path}/real/below", ["x"])


@pytest.mark.parametrize(
    "how", ["his folder and link", "his link", "shared folder", "sticky folder", "below his folder"]
)
def test_links_that_others_can_have_made_are_refused(tmp_path: Path, how: str) -> None:
    make(tmp_path / "real")
    modes = {"shared folder": 0o775, "sticky folder": 0o1777}
    owner = NOBODY if how in ("his folder and link", "below his folder") else 0
    folder = make(tmp_path / "folder", owner, modes.get(how, 0o755))
    if how == "below his folder":
        folder = make(folder / "of root")
    (folder / "link").symlink_to(tmp_path / "real")
    if how in ("his folder and link", "his link"):
        os.chown(folder / "link", NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(InvalidInput, match=r"folder/(of root/)?link, a link of .* it is not followed"):
        where(folder / "link" / "x")


@pytest.mark.parametrize(
    ("target", "said"), [("loop", "more than 40 links"), ("nothing/../real", "which is not there")]
)
def test_links_that_lead_nowhere_are_told(tmp_path: Path, target: str, said: str) -> None:
    (tmp_path / "loop").symlink_to(target)
    with pytest.raises(InvalidInput, match=said):
        where(tmp_path / "loop" / "x")


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InvalidInput, match="file is no folder"):
        where(tmp_path / "file" / "x")


@pytest.mark.parametrize(
    ("owner", "mode", "keeps", "own"),
    [
        (0, 0o755, True, True),
        (0, 0o1777, True, False),
        (0, 0o775, False, False),
        (NOBODY, 0o755, False, False),
        (NOBODY, 0o1777, False, False),
    ],
)
def test_it_is_known_where_others_can_replace_things(
    tmp_path: Path, owner: int, mode: int, keeps: bool, own: bool
) -> None:
    with walked(str(make(tmp_path / "folder", owner, mode) / "x")) as (steps, _):
        assert (steps[-1].keeps, steps[-1].own) == (keeps, own)
    below = make(tmp_path / "folder" / "below")
    with walked(str(below)) as (steps, _):
        assert (steps[-1].held, steps[-1].keeps) == (keeps, keeps)


def test_missing_folders_are_made_and_pruned_again(tmp_path: Path) -> None:
    with walked(str(tmp_path / "a" / "b" / "c")) as (steps, missing):
        made = make_below(steps[-1], missing, 0o755)
        assert (tmp_path / "a" / "b" / "c").is_dir()
        for step in made:
            os.close(step.descriptor)
        (tmp_path / "a" / "kept").write_text("x")
        prune_below(steps[-1], missing)
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["kept"]


def test_nothing_is_made_or_pruned_through_a_link_that_is_swapped_in(tmp_path: Path) -> None:
    victim = make(tmp_path / "victim")
    make(victim / "b")
    reached = refused = 0
    with nobodys_folder() as home, swapping(make(home / "a", NOBODY), victim):
        for turn in range(100_000):
            if turn >= 500 and reached and refused:
                break
            try:
                with walked(str(home / "a" / "b" / "c")) as (steps, missing):
                    made = make_below(steps[-1], missing, 0o755)
                    for step in made:
                        os.close(step.descriptor)
                    prune_below(steps[-1], missing)
                reached += 1
            except (InvalidInput, FileNotFoundError):
                refused += 1
            assert sorted(str(path.relative_to(victim)) for path in victim.rglob("*")) == ["b"]
    assert reached
    assert refused


@pytest.mark.parametrize("what", ["link", "file", "other owner", "open mode"])
def test_a_private_folder_that_is_none_is_refused(tmp_path: Path, what: str) -> None:
    path = tmp_path / "private"
    if what == "link":
        path.symlink_to(make(tmp_path / "real", mode=0o700))
    elif what == "file":
        path.write_text("x")
    else:
        make(path, NOBODY if what == "other owner" else 0, 0o700 if what == "other owner" else 0o755)
    with pytest.raises(
        InvalidInput, match=r"a private folder of .* belongs, mode 0700: it is not used and nothing in it was touched"
    ):
        require_own(str(path))


def test_a_private_folder_of_this_user_or_none_is_used(tmp_path: Path) -> None:
    require_own(str(make(tmp_path / "private", mode=0o700)))
    require_own(str(tmp_path / "nothing"))
    require_own(str(tmp_path / "nothing" / "below"))


def test_a_folder_in_which_others_replace_things_is_named(tmp_path: Path) -> None:
    require_kept(str(make(tmp_path / "sticky", mode=0o1777)), "drills")
    with pytest.raises(InvalidInput, match=r"for drills cannot be used: .*/open is of root \(uid 0\), mode 0777"):
        require_kept(str(make(tmp_path / "open", mode=0o777)), "drills")
    with pytest.raises(InvalidInput, match="for drills is no folder"):
        require_kept(str(tmp_path / "nothing"), "drills")
