"""Recipients in a plan: files of the controller are read, and one key alone is an error."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest
from helpers.inventories import FOLDER, SVN, plan_of

from ansible_collections.altbackup.core.plugins.plugin_utils.planning.recipients import with_recipients

AGE = "age1g4g5qfujfqphvnxk2esljtk7hwvczk9hj7lnmng2h5qjhtadvgyskyeuaw"
ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHnajoQqp8NzRC590NI4cRIptpdGEI5aVIYC/y89sV5s"
BOTH = [AGE, ED25519]


def _errors(**values: Any) -> list[str]:
    errors: list[str] = plan_of({"dayabay": with_recipients(values)})["errors"]
    return errors


def test_recipients_stand_in_the_plan() -> None:
    own = {**FOLDER, "encrypt_to": []}
    plan = plan_of({"dayabay": {"altbackup_encrypt_to": BOTH[::-1], "altbackup_items": [SVN, own]}})
    assert plan["errors"] == []
    assert plan["sources"]["dayabay"]["encrypt_to"] == BOTH
    assert plan["sources"]["juno"]["encrypt_to"] == []
    items = plan["sources"]["dayabay"]["item_list"]
    assert ["encrypt_to" in item for item in items] == [False, True]
    assert items[1]["encrypt_to"] == []


def test_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "recipients"
    path.write_text(f"# two\n{AGE}\n{ED25519} me\n")
    item = {**SVN, "encrypt_to": [str(path)]}
    values = with_recipients({"altbackup_encrypt_to": str(path), "altbackup_items": [item, FOLDER]})
    assert values["altbackup_encrypt_to"] == [AGE, f"{ED25519} me"]
    assert values["altbackup_items"] == [{**SVN, "encrypt_to": [AGE, f"{ED25519} me"]}, FOLDER]
    assert _errors(altbackup_encrypt_to=[str(path)]) == []


@pytest.mark.parametrize("content", [None, "", "# nothing\n", b"\xff\xfe"])
def test_a_file_without_recipients_never_means_none(tmp_path: Path, content: str | bytes | None) -> None:
    path = tmp_path / "recipients"
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    (error,) = _errors(altbackup_encrypt_to=[str(path)])
    assert error.startswith(f"dayabay: altbackup_encrypt_to names the file '{path}', which the controller cannot read")
    items = [{**SVN, "encrypt_to": [str(path)]}]
    plan = plan_of({"dayabay": with_recipients({"altbackup_items": items})})
    assert plan["sources"]["dayabay"]["item_list"] == []
    assert f"encrypt_to names the file '{path}'" in plan["sources"]["dayabay"]["item_errors"][0]["reason"]


def test_a_pipe_that_nobody_writes_to_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    said: list[str] = []
    asking = threading.Thread(
        target=lambda: said.extend(_errors(altbackup_encrypt_to=[str(tmp_path / "pipe")])), daemon=True
    )
    asking.start()
    asking.join(10)
    assert "which the controller cannot read" in "".join(said)


def test_files_of_members_of_a_set_are_read(tmp_path: Path) -> None:
    (tmp_path / "recipients").write_text(f"{AGE}\n{ED25519}\n")
    member = {**SVN, "encrypt_to": str(tmp_path / "recipients")}
    values = with_recipients({"altbackup_items": [{"kind": "set", "name": "forge", "members": [member, FOLDER]}]})
    assert values["altbackup_items"][0]["members"] == [{**SVN, "encrypt_to": BOTH}, FOLDER]
    plan = plan_of({"dayabay": values})
    assert plan["errors"] == []
    assert plan["sources"]["dayabay"]["item_errors"] == []
    assert [item.get("encrypt_to") for item in plan["sources"]["dayabay"]["item_list"]] == [BOTH, None, None]


@pytest.mark.parametrize("members", [None, "x", 5, [5, None]])
def test_what_is_no_list_of_members_is_left_as_it_is(members: Any) -> None:
    item = {"kind": "set", "name": "forge", "members": members}
    assert with_recipients({"altbackup_items": [item]})["altbackup_items"] == [item]


def test_one_recipient_is_an_error_unless_it_is_meant() -> None:
    (error,) = _errors(altbackup_encrypt_to=[AGE, AGE])
    assert error.startswith(
        "dayabay: altbackup_encrypt_to names one recipient: who loses that key has no copy any more"
    )
    (error,) = _errors(altbackup_items=[{**SVN, "encrypt_to": [AGE]}])
    assert error.startswith("dayabay: altbackup_items of svn/dybsvn, encrypt_to, names one recipient")
    assert _errors(altbackup_encrypt_to=[AGE], altbackup_single_recipient=True) == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([AGE, "age1x"], "altbackup_encrypt_to 'age1x' is no whole recipient of age"),
        (["AGE-SECRET-KEY-1QQQ", AGE], "altbackup_encrypt_to has a secret key where a public one belongs"),
        ({"a": 1}, "altbackup_encrypt_to"),
    ],
)
def test_bad_recipients_are_errors(value: Any, expected: str) -> None:
    (error,) = _errors(altbackup_encrypt_to=value)
    assert error.startswith(f"dayabay: {expected}")
    assert "QQQ" not in error


def test_the_key_of_signatures_is_judged() -> None:
    plan = plan_of({"dayabay": {"altbackup_signing_key": f"{ED25519} altbackup"}})
    assert (plan["errors"], plan["sources"]["dayabay"]["signing_key"]) == ([], ED25519)
    for wrong in (AGE, "ssh-ed25519 AAAA"):
        (error,) = _errors(altbackup_signing_key=wrong)
        assert error.startswith("dayabay: altbackup_signing_key ")
