"""The order of items in a dump: members of sets between the hooks of these, items with hooks one after the other, a failure of one alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.sets import forge, log_of, three_folders, writing
from helpers.trees import FIRST, SECOND, Base, item, unpack

from ansible_collections.altbackup.core.plugins.module_utils.archive.write import store_archive
from ansible_collections.altbackup.core.plugins.module_utils.stages import dump_item


@pytest.fixture
def base(tmp_path: Path) -> Base:
    return Base(tmp_path / "base")


@pytest.fixture
def live(tmp_path: Path) -> Path:
    return three_folders(tmp_path)


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


def test_what_a_killed_call_copied_is_in_no_list_with_what_a_rerun_copies(base: Base, live: Path) -> None:
    first, last = forge(live)["members"]
    base.dump(first)
    for _ in range(2):
        result = base.dump(forge(live))
        assert [(entry["name"], "folders/data" in entry["reason"]) for entry in result["failures"]] == [("forge", True)]
        assert [tarball["name"] for tarball in result["tarballs"]] == ["data", "config"]
    assert not base.dump(forge(live), stamp=SECOND)["failures"]


def test_a_bug_met_by_one_item_does_not_stop_the_others(
    base: Base, live: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(destination: str, *arguments: Any, **options: Any) -> Any:
        if "bad" in destination:
            raise KeyError("surprise")
        return store_archive(destination, *arguments, **options)

    monkeypatch.setattr(dump_item, "store_archive", write)
    result = base.dump(item("folder", live / "data", "bad"), item("folder", live / "data", "good"))
    assert [tarball["name"] for tarball in result["tarballs"]] == ["good"]
    (entry,) = result["failures"]
    assert (entry["stage"], entry["name"]) == ("dump", "bad")
    assert entry["reason"].endswith("item folder 'bad': unexpected KeyError: 'surprise'")
