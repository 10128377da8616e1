"""What a restore makes of an unpacked tarball: which part of it is the thing, and whose it is."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.orders import order
from helpers.trees import NOBODY, needs_root

from ansible_collections.altbackup.core.plugins.module_utils.archive.owners import Owners
from ansible_collections.altbackup.core.plugins.module_utils.restore import unpacked as room
from ansible_collections.altbackup.core.plugins.module_utils.restore.unpacked import names_wanted
from ansible_collections.altbackup.core.plugins.module_utils.restore.work_folder import discard, working
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError, InvalidInput
from ansible_collections.altbackup.core.plugins.module_utils.system.names import Names


@needs_root
@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({}, Names({1: "alice"}, {2: "staff"})),
        ({"numeric": True}, Names()),
        ({"owner": "root"}, Names({}, {2: "staff"})),
        ({"group": "root"}, Names({1: "alice"}, {})),
        ({"owner": "0", "group": "0"}, Names()),
    ],
)
def test_names_count_where_owners_are_restored_by_them(values: dict[str, Any], names: Names) -> None:
    owners = Owners()
    owners.found.add((1, 2, "alice", "staff"))
    assert names_wanted(order(**values), owners) == names


def make(*names: str) -> Callable[[Path], Any]:
    """Return what makes a folder with files and, by a slash at the end, folders."""

    def build(top: Path) -> None:
        top.mkdir()
        for name in names:
            (top / name).mkdir() if name.endswith("/") else (top / name).write_text("x")

    return build


@pytest.mark.parametrize(
    ("kind", "destination", "build", "thing"),
    [
        pytest.param("folder", "/x/thing", make("a", "b"), "", id="a folder is itself"),
        pytest.param("folder", "/x/thing", make("a"), "", id="though there is one file in it"),
        pytest.param("sqlite", "/x/db", make("app.db"), "app.db", id="a database is its one file"),
        pytest.param("git", "/x/work", make(".git/"), "", id="a working tree"),
        pytest.param("git", "/x/work/.git", make(".git/"), ".git", id="a repository in its own place"),
        pytest.param("git", "/x/.git", make("HEAD", "objects/"), "", id="a bare one in such a place"),
        pytest.param("git", "/x/.git", make(".git/", "more"), "", id="with anything beside it"),
        pytest.param("git", "/x/.git", make(".git"), "", id="a file of that name"),
    ],
)
def test_what_is_to_stand_at_the_destination_is_found(
    tmp_path: Path, kind: str, destination: str, build: Callable[[Path], Any], thing: str
) -> None:
    build(tmp_path / "top")
    found = room._path_to_place(order(kind=kind, destination=destination), str(tmp_path / "top"))
    assert found == os.path.join(tmp_path / "top", thing).rstrip("/")


@pytest.mark.parametrize("names", [(), ("a", "b"), ("folder/",)])
def test_a_database_that_is_not_one_file_is_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    make(*names)(tmp_path / "top")
    with pytest.raises(AltbackupError, match=f"holds {len(names)} entries where one database file was expected"):
        room._path_to_place(order(kind="sqlite"), str(tmp_path / "top"))


def test_a_database_behind_a_link_is_refused(tmp_path: Path) -> None:
    make()(tmp_path / "top")
    (tmp_path / "top" / "app.db").symlink_to("/etc/hostname")
    with pytest.raises(AltbackupError, match="one database file was expected"):
        room._path_to_place(order(kind="sqlite"), str(tmp_path / "top"))


@needs_root
@pytest.mark.parametrize(
    ("values", "top", "below"),
    [
        ({}, (0, 0, 0o755), (0, 0, 0o644)),
        ({"mode": "0700"}, (0, 0, 0o700), (0, 0, 0o644)),
        ({"mode": "2750"}, (0, 0, 0o2750), (0, 0, 0o644)),
        ({"owner": str(NOBODY)}, (NOBODY, 0, 0o755), (NOBODY, 0, 0o644)),
        ({"group": "7", "mode": "0711"}, (0, 7, 0o711), (0, 7, 0o644)),
    ],
)
def test_owners_go_to_all_and_the_mode_to_the_top(
    tmp_path: Path, values: dict[str, Any], top: tuple[int, ...], below: tuple[int, ...]
) -> None:
    with working(str(tmp_path / "thing")) as work:
        path = Path(work.folder("unpacked")) / "thing"
        path.mkdir(mode=0o755)
        path.chmod(0o755)
        (path / "file").write_text("x")
        (path / "file").chmod(0o644)
        (path / "link").symlink_to(tmp_path / "precious")
        (tmp_path / "precious").write_text("x")
        before = (tmp_path / "precious").stat()
        room._set_attributes(work, order(**values), str(path))
        found = [path.stat(), (path / "file").stat()]
        assert [(one.st_uid, one.st_gid, stat.S_IMODE(one.st_mode)) for one in found] == [top, below]
        after = (tmp_path / "precious").stat()
        assert (after.st_uid, after.st_mode) == (before.st_uid, before.st_mode)
        discard(work)


def test_a_link_has_no_mode(tmp_path: Path) -> None:
    with working(str(tmp_path / "thing")) as work:
        path = Path(work.folder("unpacked")) / "thing"
        path.symlink_to("/nonexistent")
        with pytest.raises(InvalidInput, match="mode 0700 cannot be given: what was restored is a link"):
            room._set_attributes(work, order(mode="0700"), str(path))
        discard(work)
