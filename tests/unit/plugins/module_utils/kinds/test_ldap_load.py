"""A directory of LDAP comes back into empty folders, and never over files that are there."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.loads import load
from helpers.servers import Slapd, run_as_user, slapd
from helpers.trees import Base

from ansible_collections.altbackup.core.plugins.module_utils.kinds import ldap_load as kind
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError, ToolFailed

pytestmark = pytest.mark.full


@pytest.fixture
def server() -> Iterator[Slapd]:
    with slapd() as made:
        yield made


def entries(folder: Path, number: str) -> str:
    return run_as_user("slapcat", "-o", "ldif-wrap=no", "-F", folder, "-n", number).stdout


def emptied(*folders: Path) -> None:
    """Let folders be new ones of the user of servers."""
    for folder in folders:
        shutil.rmtree(folder)
        run_as_user("mkdir", "-m", "700", folder)


def test_a_directory_comes_back_into_empty_folders(server: Slapd, served_base: Base) -> None:
    expected = [entries(server.config, number) for number in ("0", "1")]
    tarball = served_base.dump_one(server.item())
    for folder in (server.config, server.folder / "db"):
        with pytest.raises(AltbackupError, match=r"is not empty .*, and nothing is loaded over files that are there"):
            load(served_base, tarball, {"folder": str(server.config)})
        emptied(folder)
    notes = load(served_base, tarball, {"folder": str(server.config)})
    assert [entries(server.config, number) for number in ("0", "1")] == expected
    assert any("1 database of LDAP loaded" in note for note in notes)
    with server.running():
        pass


def test_a_load_that_fails_leaves_the_folders_empty(
    server: Slapd, served_base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    tarball = served_base.dump_one(server.item())
    folders = (server.config, server.folder / "db")
    emptied(*folders)
    add = kind._add

    def fail(given: kind.Load, number: str, name: str) -> None:
        add(given, number, name)
        if number == "1":
            assert all(any(folder.iterdir()) for folder in folders)
            raise ToolFailed("it failed here")

    monkeypatch.setattr(kind, "_add", fail)
    with pytest.raises(AltbackupError, match="it failed here"):
        load(served_base, tarball, {"folder": str(server.config)})
    assert not any(any(folder.iterdir()) for folder in folders)


def test_what_cannot_be_used_is_told(server: Slapd, served_base: Base, tmp_path: Path) -> None:
    tarball = served_base.dump_one(server.item())
    with pytest.raises(AltbackupError, match=r"No such file or directory: make it first: install -d"):
        load(served_base, tarball, {"folder": str(server.folder / "nowhere")})
    with pytest.raises(AltbackupError, match="never run as root"):
        load(served_base, tarball, {"folder": str(server.config), "user": "root"})
    with pytest.raises(AltbackupError, match=r"--aside .* is not for an LDAP server"):
        load(served_base, tarball, {"folder": str(server.config)}, replace="move_aside")


def test_the_folders_of_databases_are_read_in_every_form() -> None:
    encoded = base64.b64encode("/var/lib/é".encode()).decode()
    text = f"dn: x\nolcDbDirectory: /var/lib/ld\n ap\n\ndn: y\nOLCDBDIRECTORY:: {encoded}\n"
    assert kind.folders_in(text) == ["/var/lib/ldap", "/var/lib/é"]
    with pytest.raises(ValueError, match="base64"):
        kind.folders_in("olcDbDirectory:: !\n")
