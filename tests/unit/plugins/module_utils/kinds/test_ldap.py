"""Kind `ldap`: OpenLDAP directories are dumped by slapcat while in use, and proved by slapadd."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.drills import alter, drill_one
from helpers.servers import Slapd, person, run_as_user, slapd
from helpers.trees import FIRST, SECOND, Base, unpack
from helpers.waiting import wait_until

from ansible_collections.altbackup.core.plugins.module_utils.kinds import ldap as kind
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import ProofFailed, ToolMissing

pytestmark = pytest.mark.full


@pytest.fixture
def server() -> Iterator[Slapd]:
    with slapd() as made:
        yield made


def test_a_directory_in_use_is_dumped_and_proved(server: Slapd, served_base: Base, tmp_path: Path) -> None:
    with server.running():
        tarball = served_base.dump_one(server.item())
    assert tarball["relpath"] == f"databases/thing/{FIRST}/thing.tar.zst"
    assert tarball["record"]["measures"] == {"LDAP entries": 21}
    top = unpack(tarball, tmp_path / "out")
    assert sorted(path.name for path in top.iterdir()) == ["1.ldif", "config.ldif"]
    expected = run_as_user("slapcat", "-o", "ldif-wrap=no", "-F", server.config, "-n", "1").stdout
    assert (top / "1.ldif").read_text() == expected
    proof = drill_one(served_base, tarball, tmp_path / "scratch")
    assert proof["facts"] == {"databases": 1, "entries": 21, "loaded": 21} and proof["notes"] == []


def test_equal_content_gives_equal_bytes_whatever_was_done_to_the_server(server: Slapd, served_base: Base) -> None:
    first = served_base.dump_one(server.item())
    for _ in range(2):
        with server.running():
            pass
    run_as_user("slapindex", "-F", server.config, "-n", "1")
    second = served_base.dump_one(server.item(), stamp=SECOND)
    assert os.path.samefile(first["path"], second["path"])
    server.add(person(21))
    assert served_base.dump_one(server.item(), stamp="2013/05/12/104701")["dig"] != first["dig"]


def test_a_database_without_an_entry_is_a_failure(server: Slapd, served_base: Base) -> None:
    for path in (server.folder / "db").iterdir():
        path.unlink()
    with server.running():
        assert wait_until((server.folder / "db" / "data.mdb").exists, 60), "slapd makes an empty database"
    assert "gave no entry of database 1" in served_base.reason(server.item())


def wrong_folder(server: Slapd) -> None:
    for path in server.config.iterdir():
        subprocess.run(["rm", "-r", path], check=True)


def damaged(server: Slapd) -> None:
    (server.config / "cn=config.ldif").write_text("nonsense\n")


def missing_database(server: Slapd) -> None:
    subprocess.run(["rm", "-r", server.folder / "db"], check=True)


@pytest.mark.parametrize(
    ("change", "said"), [(wrong_folder, "has no cn=config.ldif"), (damaged, "slapcat"), (missing_database, "slapcat")]
)
def test_a_wrong_configuration_gives_a_failure_and_no_copy(
    server: Slapd, served_base: Base, change: Any, said: str
) -> None:
    change(server)
    assert said in served_base.reason(server.item())


def test_entries_that_vanish_are_doubted(server: Slapd, served_base: Base) -> None:
    served_base.dump_one(server.item())
    run_as_user("rm", "-r", server.folder / "db")
    run_as_user("mkdir", server.folder / "db")
    server.add("dn: dc=example,dc=org\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: x\n\n")
    (failure,) = served_base.dump(server.item(), stamp=SECOND)["failures"]
    assert "is suspect" in failure["reason"] and "LDAP entries" in failure["reason"]
    good = {"directories": {"1": {"suffix": "dc=old"}}, "relpath": f"databases/thing/{FIRST}/thing.tar.zst"}
    assert kind.doubts_of(good, ["dc=new"]) == [f"1 database of the dump of {FIRST} vanished: dc=old"]


def lose_entry(top: Path) -> None:
    path = top / "1.ldif"
    path.write_text(path.read_text().rpartition("\ndn:")[0] + "\n")


def change_entry(top: Path) -> None:
    path = top / "1.ldif"
    path.write_text(path.read_text().replace("sn: 7", "sn: 8"))


def lose_database(top: Path) -> None:
    (top / "1.ldif").unlink()


def lose_config(top: Path) -> None:
    (top / "config.ldif").write_text("")


def lose_module(top: Path) -> None:
    path = top / "config.ldif"
    path.write_text(path.read_text().replace("back_mdb", "no_such_module"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lose_entry, "holds 20 entries, but its dump recorded 21"),
        (change_entry, "another one than its dump recorded"),
        (lose_database, "its databases are none"),
        (lose_config, "config.ldif holds no entry"),
        (lose_module, "cannot be loaded"),
    ],
)
def test_a_proof_finds_what_is_not_as_it_was(
    server: Slapd, served_base: Base, tmp_path: Path, change: Any, said: str
) -> None:
    tarball = served_base.dump_one(server.item())
    alter(Path(tarball["path"]), tmp_path / "unpacked", change)
    with pytest.raises(ProofFailed, match=said):
        drill_one(served_base, tarball, tmp_path / "scratch")


def test_without_slapadd_the_proof_counts_and_says_that_it_proved_less(
    server: Slapd, served_base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tarball = served_base.dump_one(server.item())

    def without(name: str) -> str:
        raise ToolMissing(f"{name} is not installed")

    monkeypatch.setattr(kind, "find_tool", without)
    proof = drill_one(served_base, tarball, tmp_path / "scratch")
    assert any("only counted, which proves less" in note for note in proof["notes"])


def test_a_restore_over_existing_files_is_what_slapadd_refuses(
    server: Slapd, served_base: Base, tmp_path: Path
) -> None:
    top = unpack(served_base.dump_one(server.item()), tmp_path / "out")
    done = run_as_user("slapadd", "-F", server.config, "-n", "1", text=(top / "1.ldif").read_text(), check=False)
    assert done.returncode != 0
    run_as_user("rm", "-r", server.folder / "db")
    run_as_user("mkdir", server.folder / "db")
    server.add((top / "1.ldif").read_text())
    assert (
        run_as_user("slapcat", "-o", "ldif-wrap=no", "-F", server.config, "-n", "1").stdout
        == (top / "1.ldif").read_text()
    )
