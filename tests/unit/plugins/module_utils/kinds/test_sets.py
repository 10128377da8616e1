"""What users write of sets, and why one of them cannot be meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.sets import KEYS, forge, three_folders
from helpers.trees import Base, item

from ansible_collections.altbackup.core.plugins.module_utils.kinds.items import parse_item
from ansible_collections.altbackup.core.plugins.module_utils.kinds.sets import flattened
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.plan_items import sort_items


@pytest.fixture
def base(tmp_path: Path) -> Base:
    return Base(tmp_path / "base")


@pytest.fixture
def live(tmp_path: Path) -> Path:
    return three_folders(tmp_path)


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
