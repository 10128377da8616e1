"""Orders into servers: what is refused before a server is asked, and that nothing is left of it."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Any, ClassVar

import pytest
from helpers.age_keys import age_key, ssh_key
from helpers.trees import FIRST, Base, item, needs_root

from ansible_collections.altbackup.core.plugins.module_utils.archive.write import ArchiveFormat
from ansible_collections.altbackup.core.plugins.module_utils.kinds.into import Load
from ansible_collections.altbackup.core.plugins.module_utils.restore import into_server
from ansible_collections.altbackup.core.plugins.module_utils.restore.order import Order, parse_order
from ansible_collections.altbackup.core.plugins.module_utils.restore.restore import abandon, prepare, restore
from ansible_collections.altbackup.core.plugins.module_utils.restore.signed import Unsigned
from ansible_collections.altbackup.core.plugins.module_utils.restore.work_folder import discard, is_left, working
from ansible_collections.altbackup.core.plugins.module_utils.system.age import NoKey
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError, InvalidInput
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.tree.encryption import shared
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


class Looker:
    """What loads, and looks at what it is told."""

    def __init__(self) -> None:
        self.records: list[Any] = []

    def check(self, load: Any) -> None:
        self.records.append(load.record)

    def clear(self, load: Any) -> None:
        raise AssertionError("nothing is left")

    def load(self, load: Any) -> None:
        raise AssertionError("nothing was signed")


@pytest.fixture
def looker(monkeypatch: pytest.MonkeyPatch, state: Path) -> Looker:
    looker = Looker()
    monkeypatch.setattr(into_server, "loader_of", lambda kind: looker)
    return looker


@needs_root
@pytest.mark.parametrize("check_mode", [True, False])
def test_what_the_source_did_not_sign_comes_into_no_server(tmp_path: Path, looker: Looker, check_mode: bool) -> None:
    key = age_key(tmp_path, "one")
    forged = {**TARBALL, "relpath": f"{TARBALL['relpath']}.age"}
    options = {"identity": key.text, "signing_key": ssh_key(tmp_path).recipient}
    given = order(tmp_path, tarballs=[forged], destination=str(tmp_path / "place" / "meanwhile"), **options)
    with pytest.raises(Unsigned, match="has no signature of its source"):
        prepare(given, check_mode=check_mode)
    with pytest.raises(Unsigned, match="has no signature of its source"):
        restore(given, Deadline(60, "restore"))
    assert not (tmp_path / "place").exists()


@needs_root
@pytest.mark.parametrize("check_mode", [True, False])
def test_a_server_is_compared_with_what_the_dump_sealed(tmp_path: Path, looker: Looker, check_mode: bool) -> None:
    key, other = age_key(tmp_path, "one"), age_key(tmp_path, "other")
    live, source = tmp_path / "live", Base(tmp_path / "source")
    live.mkdir()
    (live / "file").touch()
    made = source.dump_one(item("folder", live, "main"), form=ArchiveFormat(recipients=(key.recipient,)))
    public = (source.path / ".altbackup/encryption/signing_key.pub").read_text()
    record = shared(made["record"])
    told = {**{name: made[name] for name in ("relpath", "size", "dig", "alg")}, "record": record}
    options: dict[str, Any] = {"tarballs": [told], "record": record, "base": str(source.path)}
    options["signing_key"] = " ".join(public.split()[:2])
    assert prepare(order(tmp_path, **options, identity=key.text), check_mode=check_mode)["notes"] == []
    assert (looker.records[0]["path"], looker.records[0]["entries"]) == (str(live), 2)
    with pytest.raises(NoKey, match=f"is encrypted to {key.recipient}"):
        prepare(order(tmp_path, **options, identity=other.text), check_mode=check_mode)
    unsigned = order(tmp_path, **{**options, "signing_key": ""}, identity=key.text)
    assert made["relpath"].startswith(f"folders/main/{FIRST}")
    assert f"made {made['relpath']}: whoever knows" in prepare(unsigned, check_mode=check_mode)["notes"][0]
