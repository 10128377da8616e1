"""Sets: members that are copied between the same hooks, and a list of them that is whole or not there."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from helpers.age_keys import age_key
from helpers.drills import drill_one
from helpers.sets import KEYS, forge, log_of, three_folders, writing
from helpers.trees import FIRST, SECOND, THIRD, Base, item, unpack

from ansible_collections.altbackup.core.plugins.module_utils.archive.write import ArchiveFormat
from ansible_collections.altbackup.core.plugins.module_utils.kinds.proofs import prove
from ansible_collections.altbackup.core.plugins.module_utils.stages import count
from ansible_collections.altbackup.core.plugins.module_utils.system import programs
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import ProofFailed
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.system.sandbox import Sandbox
from ansible_collections.altbackup.core.plugins.module_utils.tree.encryption import shared
from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import Moment


@pytest.fixture
def base(tmp_path: Path) -> Base:
    return Base(tmp_path / "base")


@pytest.fixture
def live(tmp_path: Path) -> Path:
    return three_folders(tmp_path)


def test_a_rerun_does_nothing(base: Base, live: Path, tmp_path: Path) -> None:
    hooks = {"before": [writing(tmp_path, "before")]}
    base.dump(forge(live, **hooks))
    files = base.files()
    again = base.dump(forge(live, **hooks))
    assert (again["changed"], again["failures"], base.files()) == (False, [], files)
    assert len(log_of(tmp_path)) == 1


def test_items_beside_a_set_may_be_its_members(base: Base, live: Path) -> None:
    own = [item("folder", live / name, name) for name in ("data", "config", "other")]
    result = base.dump(*own, {"kind": "set", "name": "forge", "members": KEYS})
    assert not result["failures"]
    assert sorted(tarball["name"] for tarball in result["tarballs"]) == ["config", "data", "forge", "other"]


def test_a_suspect_member_makes_the_set_suspect(base: Base, live: Path) -> None:
    for number in range(200):
        (live / "data" / f"more{number}").write_text("x" * 2000)
    base.dump(forge(live))
    for number in range(200):
        (live / "data" / f"more{number}").unlink()
    result = base.dump(forge(live), stamp=SECOND)
    assert len(result["tarballs"]) == 3
    assert {entry["name"] for entry in result["failures"]} == {"data", "forge"}
    assert all("suspect" in entry["reason"] for entry in result["failures"])
    assert "folders/data is suspect" in result["tarballs"][2]["record"]["suspect"][0]


def counted(base: Base, day: str) -> list[str]:
    """Return what a check says of a day."""
    moment = Moment(THIRD, THIRD)
    expect = {"data": 1, "config": 1, "forge": 1}
    found = count.count(str(base.path), day, expect, items=[*KEYS, "sets/forge"], moment=moment)
    return [entry["reason"] for entry in found["failures"]]


def test_a_set_of_which_a_member_is_missing_is_a_failure_of_its_check(base: Base, live: Path) -> None:
    result = base.dump(forge(live))
    assert counted(base, FIRST[:10]) == []
    os.unlink(f"{result['tarballs'][1]['path']}.dna")
    assert any("sets/forge" in reason and "folders/config" in reason for reason in counted(base, FIRST[:10]))


def test_a_member_that_did_not_change_since_the_morning_is_listed_as_that(base: Base, live: Path) -> None:
    base.dump(forge(live), stamp="2013/05/10/080000")
    (live / "data" / "file1").write_text("new")
    result = base.dump(forge(live), stamp="2013/05/10/120000")
    assert result["tarballs"][2]["record"]["members"] == [
        "folders/data/2013/05/10/120000/data.tar.zst",
        "folders/config/2013/05/10/080000/config.tar.zst",
    ]
    assert counted(base, FIRST[:10]) == []


def test_a_member_that_is_again_what_it_was_in_the_morning_is_listed_as_that(base: Base, live: Path) -> None:
    changed, before = live / "data" / "file1", os.stat(live / "data" / "file1")
    base.dump(forge(live), stamp="2013/05/10/080000")
    changed.write_text("new")
    base.dump(forge(live), stamp="2013/05/10/100000")
    changed.write_text("data 1")
    os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns))
    result = base.dump(forge(live), stamp="2013/05/10/120000")
    assert result["tarballs"][0]["relpath"] == "folders/data/2013/05/10/080000/data.tar.zst"
    assert result["tarballs"][2]["record"]["members"] == [tarball["relpath"] for tarball in result["tarballs"][:2]]


@pytest.mark.parametrize("plain", ["data", "forge"])
def test_no_member_of_a_set_of_which_a_part_cannot_be_encrypted_is_copied_without_its_hooks(
    base: Base, live: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: str
) -> None:
    base.dump(forge(live))
    real = programs.shutil.which
    monkeypatch.setattr(
        programs.shutil, "which", lambda name, path=None: None if name == "age" else real(name, path=path)
    )
    recipients = [age_key(tmp_path, "one").recipient]
    form = ArchiveFormat(recipients=tuple(recipients))
    wanted = forge(live, before=[writing(tmp_path, "before")])
    for member in wanted["members"]:
        member["encrypt_to"] = recipients
    (wanted if plain == "forge" else wanted["members"][0])["encrypt_to"] = []
    other = item("folder", live / "other", "other", encrypt_to=[])
    result = base.dump(wanted, other, stamp="2013/05/10/120000", form=form)
    assert [tarball["name"] for tarball in result["tarballs"]] == ["other"]
    assert log_of(tmp_path) == []


def test_a_list_that_others_can_read_does_not_tell_why_an_encrypted_member_is_suspect(
    base: Base, live: Path, tmp_path: Path
) -> None:
    wanted = forge(live)
    wanted["members"][0]["encrypt_to"] = [age_key(tmp_path, "one").recipient]
    wanted["members"][0]["require"] = "planted-marker"
    (live / "data" / "planted-marker").mkdir()
    for number in range(200):
        (live / "data" / "planted-marker" / f"more{number}").write_text("x" * 2000)
    base.dump(wanted)
    for number in range(200):
        (live / "data" / "planted-marker" / f"more{number}").unlink()
    result = base.dump(wanted, stamp=SECOND)
    member, listed = result["tarballs"][0]["record"], result["tarballs"][2]["record"]
    assert "folders/data is suspect" in listed["suspect"][0]
    assert not any(reason in json.dumps(listed) for reason in member["suspect"]), listed["suspect"]


def test_a_target_is_told_what_the_encrypted_list_of_a_set_names(base: Base, live: Path, tmp_path: Path) -> None:
    form = ArchiveFormat(recipients=(age_key(tmp_path, "one").recipient,))
    result = base.dump(forge(live), form=form)
    assert not result["failures"]
    told = shared(result["tarballs"][2]["record"])
    assert told["members"] == [tarball["relpath"] for tarball in result["tarballs"][:2]]


@pytest.mark.sampled(4)
@pytest.mark.parametrize("evil", ["{}", "no json", '{"members": [{"relpath": "../../etc/passwd"}]}', '{"members": []}'])
def test_a_drill_proves_the_list_and_finds_what_is_none(base: Base, live: Path, tmp_path: Path, evil: str) -> None:
    tarball = base.dump(forge(live))["tarballs"][2]
    drill_one(base, tarball, tmp_path / "drill")
    top = unpack(tarball, tmp_path / "out")
    (top / "members.json").write_text(evil)
    for record in (tarball["record"], {}):
        with pytest.raises(ProofFailed, match="members"):
            prove("set", str(top), record, str(tmp_path), Deadline(60, "drill"), Sandbox())
