"""Orders into servers: what is refused before a server is asked, and that nothing is left of it."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Any, ClassVar

import pytest
from helpers.trees import needs_root

from ansible_collections.altbackup.core.plugins.module_utils.kinds.into import Load
from ansible_collections.altbackup.core.plugins.module_utils.restore import into_server
from ansible_collections.altbackup.core.plugins.module_utils.restore.order import Order, parse_order
from ansible_collections.altbackup.core.plugins.module_utils.restore.restore import abandon, prepare, restore
from ansible_collections.altbackup.core.plugins.module_utils.restore.signed import Unsigned
from ansible_collections.altbackup.core.plugins.module_utils.restore.work_folder import discard, is_left, working
from ansible_collections.altbackup.core.plugins.module_utils.system.age import NoKey
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError, InvalidInput
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.tree.publish import remove_folder

NOW = "2013/05/14/090000"
TARBALL = {"relpath": "databases/main/2013/05/10/104701/main.tar.zst", "dig": "0" * 64, "size": 5, "alg": "sha256"}


def order(tmp_path: Path, **more: Any) -> Order:
    values = {"destination": str(tmp_path / "meanwhile"), "kind": "postgresql", "tarballs": [TARBALL]}
    return parse_order({**values, "into": {"user": "root", "host": str(tmp_path)}, **more}, NOW)


def test_an_order_into_a_server_is_told_by_its_place(tmp_path: Path) -> None:
    given = order(tmp_path, into={"user": "root", "database": "wiki"}, replace="move_aside")
    assert given.place == "database wiki of the PostgreSQL server of this host"
    assert (given.aside, given.suffix) == ("", ".20130514-090000")


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"into": {"host": "/x"}}, "into: key 'user' is missing"),
        ({"into": {"user": "root", "hast": "/x"}}, "unknown key 'hast'"),
        ({"member": "main/wiki.dump"}, "a part of a tarball is not loaded into a server"),
        ({"kind": "svn"}, "into is for kinds postgresql, mysql, ldap only"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, more: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        order(tmp_path, **more)


@pytest.mark.parametrize("check_mode", [True, False])
def test_a_server_that_does_not_answer_is_told_before_anything_travels(tmp_path: Path, check_mode: bool) -> None:
    user = "root" if os.geteuid() == 0 else os.environ["USER"]
    with pytest.raises(AltbackupError, match="psql failed"):
        prepare(order(tmp_path, into={"user": user, "host": str(tmp_path)}), check_mode=check_mode)
    assert list(tmp_path.iterdir()) == []


def test_a_user_that_is_not_known_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="user 'nosuchuser' does not exist on this node"):
        prepare(order(tmp_path, into={"user": "nosuchuser"}))


def test_an_encrypted_one_that_its_source_did_not_sign_comes_into_no_server(tmp_path: Path) -> None:
    encrypted = {**TARBALL, "relpath": f"{TARBALL['relpath']}.age"}
    me = pwd.getpwuid(os.geteuid()).pw_name
    given = {"tarballs": [encrypted], "into": {"user": me, "host": str(tmp_path)}}
    for more, error in (({"signing_key": "ssh-ed25519 AAAA"}, Unsigned), ({}, NoKey)):
        for check_mode in (True, False):
            with pytest.raises(error):
                prepare(order(tmp_path, **given, **more), check_mode=check_mode)
        with pytest.raises(error):
            restore(order(tmp_path, **given, **more), Deadline(60, "restore"))
    assert list(tmp_path.iterdir()) == []


class Dying:
    """A loader that is cut off while something is in the server."""

    cleared: ClassVar[list[Any]] = []

    def check(self, load: Load) -> None:
        pass

    def clear(self, load: Load) -> None:
        self.cleared.append(load.left["made"])
        load.note_made({})


def test_what_is_left_in_one_server_is_forgotten_by_no_restore_to_elsewhere(
    tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(into_server, "loader_of", lambda kind: Dying())
    me = pwd.getpwuid(os.geteuid()).pw_name
    first = order(tmp_path, into={"user": me, "host": "/one"})
    with working(first.destination) as work:
        into_server._note(work, first, {"made": ["thing"]})
        discard(work)  # as any other restore by way of that path does
    assert is_left(first.destination)
    for more in ({"into": {"user": me, "host": "/two"}}, {"into": {"user": me, "host": "/one"}, "kind": "mysql"}):
        for check_mode in (True, False):
            with pytest.raises(
                AltbackupError, match=r"PostgreSQL server at /one.*restore there again, or give another"
            ):
                prepare(order(tmp_path, **more), check_mode=check_mode)
    assert Dying.cleared == []
    prepare(order(tmp_path, into={"user": me, "host": "/one", "database": "wiki"}))
    assert Dying.cleared == [["thing"]]
    abandon(first)
    assert not is_left(first.destination)
    remove_folder(str(state / "restores"))


@needs_root
def test_what_was_prepared_is_removed_where_the_tarballs_do_not_arrive(
    tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fine:
        def check(self, load: Any) -> None:
            load.notes.append("looked at")

    monkeypatch.setattr(into_server, "loader_of", lambda kind: Fine())
    given = order(tmp_path)
    assert prepare(given, check_mode=True)["notes"] == ["looked at"]
    result = prepare(given)
    assert result["notes"] == [] and os.path.isdir(result["incoming"])
    abandon(given)
    assert list(tmp_path.iterdir()) == [] and list((state / "restores").iterdir()) == []
    remove_folder(str(state / "restores"))
