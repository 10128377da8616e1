"""Sets: members that are copied between the same hooks, and a list of them that is whole or not there."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers.age_keys import age_key
from helpers.drills import drill_one
from helpers.trees import FIRST, SECOND, THIRD, Base, item, unpack

from ansible_collections.altbackup.core.plugins.module_utils.archive.write import ArchiveFormat
from ansible_collections.altbackup.core.plugins.module_utils.kinds.items import parse_item
from ansible_collections.altbackup.core.plugins.module_utils.kinds.proofs import prove
from ansible_collections.altbackup.core.plugins.module_utils.kinds.sets import flattened
from ansible_collections.altbackup.core.plugins.module_utils.stages import count
from ansible_collections.altbackup.core.plugins.module_utils.system import programs
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import ProofFailed
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.system.sandbox import Sandbox
from ansible_collections.altbackup.core.plugins.module_utils.tree.encryption import shared
from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import Moment
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.plan_items import sort_items

KEYS = ["folders/data", "folders/config"]


@pytest.fixture
def base(tmp_path: Path) -> Base:
    return Base(tmp_path / "base")


@pytest.fixture
def live(tmp_path: Path) -> Path:
    for name in ("data", "config", "other"):
        (tmp_path / "live" / name).mkdir(parents=True)
        for number in range(10):
            (tmp_path / "live" / name / f"file{number}").write_text(f"{name} {number}")
    return tmp_path / "live"


def forge(live: Path, **more: Any) -> dict[str, Any]:
    """Return a set of two folders, as users write it."""
    members = [item("folder", live / name, name) for name in ("data", "config")]
    return {"kind": "set", "name": "forge", "members": members, **more}


def writing(tmp_path: Path, word: str, code: int = 0) -> list[str]:
    """Return the words of a program that writes down a word and what is there of copies."""
    text = (
        "import os, sys\n"
        f"names = [name for name in ('data', 'config', 'forge', 'other') if os.path.exists(f'{tmp_path}/base/folders/{{name}}/last') or "
        f"os.path.exists(f'{tmp_path}/base/sets/{{name}}/last')]\n"
        f"print({word!r}, os.environ['ALTBACKUP_STATE'], *names, file=open({str(tmp_path / 'log')!r}, 'a'))\n"
        f"sys.exit({code})"
    )
    return [sys.executable, "-c", text]


def log_of(tmp_path: Path) -> list[str]:
    path = tmp_path / "log"
    return path.read_text().splitlines() if path.exists() else []


def test_members_are_copied_between_the_hooks_and_listed(base: Base, live: Path, tmp_path: Path) -> None:
    hooks = {"before": [writing(tmp_path, "before")], "after": [writing(tmp_path, "after")]}
    result = base.dump(forge(live, **hooks))
    assert not result["failures"]
    assert [tarball["relpath"] for tarball in result["tarballs"]] == [
        f"folders/data/{FIRST}/data.tar.zst",
        f"folders/config/{FIRST}/config.tar.zst",
        f"sets/forge/{FIRST}/forge.tar.zst",
    ]
    assert log_of(tmp_path) == ["before begun", "after done data config forge"]
    listed = json.loads((unpack(result["tarballs"][2], tmp_path / "out") / "members.json").read_text())
    assert [entry["relpath"] for entry in listed["members"]] == [
        tarball["relpath"] for tarball in result["tarballs"][:2]
    ]
    assert result["tarballs"][2]["record"]["members"] == [entry["relpath"] for entry in listed["members"]]


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


def test_a_member_that_fails_leaves_no_list_and_others_go_on(base: Base, live: Path, tmp_path: Path) -> None:
    hooks = {"after": [writing(tmp_path, "after")], "on_failure": [writing(tmp_path, "failed")]}
    wanted = forge(live, **hooks)
    wanted["members"][0]["path"] = str(live / "missing")
    result = base.dump(wanted, item("folder", live / "other", "other"))
    assert sorted(tarball["name"] for tarball in result["tarballs"]) == ["config", "other"]
    assert [entry["name"] for entry in result["failures"]] == ["data", "forge"]
    assert "folders/data" in result["failures"][1]["reason"]
    assert not (base.path / "sets").exists()
    assert [line.split()[:2] for line in log_of(tmp_path)] == [["after", "failed"], ["failed", "failed"]]


def test_a_before_that_fails_keeps_all_members_from_being_copied(base: Base, live: Path, tmp_path: Path) -> None:
    result = base.dump(forge(live, before=[writing(tmp_path, "before", 1)]), item("folder", live / "other", "other"))
    assert [tarball["name"] for tarball in result["tarballs"]] == ["other"]
    assert sorted(entry["name"] for entry in result["failures"]) == ["config", "data", "forge"]


def test_not_now_of_a_set_is_not_now_of_its_members(base: Base, live: Path, tmp_path: Path) -> None:
    base.dump(forge(live))
    result = base.dump(forge(live, before=[writing(tmp_path, "before", 75)]), stamp=SECOND)
    assert not result["failures"] and not result["tarballs"]
    assert sorted(result["not_now"]) == ["folders/config", "folders/data", "sets/forge"]


def test_a_member_may_have_hooks_of_its_own_within_those_of_the_set(base: Base, live: Path, tmp_path: Path) -> None:
    wanted = forge(live, before=[writing(tmp_path, "set")], after=[writing(tmp_path, "set after")])
    wanted["members"][1].update(before=[writing(tmp_path, "member")], after=[writing(tmp_path, "member after")])
    assert not base.dump(wanted)["failures"]
    assert log_of(tmp_path) == [
        "set begun",
        "member begun data",
        "member after done data config",
        "set after done data config forge",
    ]


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


def test_what_a_killed_call_copied_is_in_no_list_with_what_a_rerun_copies(base: Base, live: Path) -> None:
    first, last = forge(live)["members"]
    base.dump(first)
    for _ in range(2):
        result = base.dump(forge(live))
        assert [(entry["name"], "folders/data" in entry["reason"]) for entry in result["failures"]] == [("forge", True)]
        assert [tarball["name"] for tarball in result["tarballs"]] == ["data", "config"]
    assert not base.dump(forge(live), stamp=SECOND)["failures"]


@pytest.mark.parametrize("error", [{"before": "stop"}, {"keep": "many"}, {"name": "for/ge"}, {"members": [[]]}])
def test_no_member_of_a_set_that_cannot_be_read_is_copied_without_its_hooks(
    base: Base, live: Path, error: dict[str, Any]
) -> None:
    own = item("folder", live / "data", "data")
    members = error.pop("members", [])
    wanted = forge(live, **error)
    wanted["members"] = ["folders/data", wanted["members"][1], *members]
    result = base.dump(own, wanted, item("folder", live / "other", "other"))
    assert [tarball["name"] for tarball in result["tarballs"]] == ["other"]
    good, bad = sort_items([own, wanted, item("folder", live / "other", "other")])
    assert [one.name for one in good] == ["other"]
    assert {"data", "config"} < {entry["name"] for entry in bad}


def test_no_member_of_two_sets_of_one_name_is_copied_without_their_hooks(base: Base, live: Path) -> None:
    second = {"kind": "set", "name": "forge", "members": [item("folder", live / "other", "other")]}
    assert not base.dump(forge(live), second)["tarballs"]


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


@pytest.mark.parametrize("evil", ["{}", "no json", '{"members": [{"relpath": "../../etc/passwd"}]}', '{"members": []}'])
def test_a_drill_proves_the_list_and_finds_what_is_none(base: Base, live: Path, tmp_path: Path, evil: str) -> None:
    tarball = base.dump(forge(live))["tarballs"][2]
    drill_one(base, tarball, tmp_path / "drill")
    top = unpack(tarball, tmp_path / "out")
    (top / "members.json").write_text(evil)
    for record in (tarball["record"], {}):
        with pytest.raises(ProofFailed, match="members"):
            prove("set", str(top), record, str(tmp_path), Deadline(60, "drill"), Sandbox())


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([], "is not a list of items"),
        ("folders/data", "is not a list of items"),
        (["folders/unknown"], "its member folders/unknown is no item here"),
        (["data"], "is neither an item, with kind and name, nor the name of one"),
        (["folders/data", "folders/data"], "names an item twice"),
        ([{"kind": "folder"}], "is neither an item"),
        (["sets/forge"], "is a set itself"),
    ],
)
def test_a_set_that_cannot_be_meant_is_one_clear_error(base: Base, live: Path, members: Any, said: str) -> None:
    result = base.dump({"kind": "set", "name": "forge", "members": members}, item("folder", live / "other", "other"))
    reasons = [entry["reason"] for entry in result["failures"]]
    assert any(said in reason for reason in reasons), reasons
    assert [tarball["name"] for tarball in result["tarballs"]] == ["other"]


def test_no_member_of_a_set_with_an_error_is_copied_without_its_hooks(base: Base, live: Path) -> None:
    wanted = forge(live)
    wanted["members"][0]["excluded"] = []
    result = base.dump(wanted, item("folder", live / "other", "other"))
    assert [tarball["name"] for tarball in result["tarballs"]] == ["other"]
    assert {entry["name"] for entry in result["failures"]} == {"data", "config", "forge"}


def test_a_member_of_two_sets_is_an_error_of_both(base: Base, live: Path) -> None:
    second = {"kind": "set", "name": "second", "members": ["folders/data"]}
    result = base.dump(forge(live), second, item("folder", live / "other", "other"))
    assert [tarball["name"] for tarball in result["tarballs"]] == ["other"]
    assert any(
        "folders/data is a member of sets/forge and sets/second" in entry["reason"] for entry in result["failures"]
    )


def test_what_is_written_in_a_set_means_the_same_in_the_plan(live: Path) -> None:
    plain = flattened([forge(live)])
    assert flattened(plain) == plain
    assert [parse_item(value).key for value in plain] == [*KEYS, "sets/forge"]
    assert parse_item(plain[2]).option("members") == tuple(KEYS)


def test_members_are_encrypted_as_their_set_is_unless_they_say_something_else(live: Path) -> None:
    one, other = forge(live)["members"]
    written = {**forge(live), "encrypt_to": ["age1"], "members": [one, {**other, "encrypt_to": []}]}
    plain = flattened([written])
    assert [item.get("encrypt_to") for item in plain] == [["age1"], [], ["age1"]]
    assert flattened(plain) == plain
