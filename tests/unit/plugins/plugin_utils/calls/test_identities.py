"""To whom identities are handed: to no target, and in no file."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.calls.identities import (
    KeyRefused,
    handed_identity,
    require_no_file,
)

ENCRYPTED = ["folders/notes/2013/05/10/104701/notes.tar.zst.age"]
TARGETS = {"cms01": {}, "dayabay": {}}


def test_a_file_of_the_controller_is_handed_over_and_another_read_there(tmp_path: Path) -> None:
    path = tmp_path / "key"
    plan = {"identity_file": str(path), "targets": TARGETS}
    assert handed_identity(plan, "fresh", ENCRYPTED) == {"identity_file": str(path)}
    path.write_text("secret\n")
    assert handed_identity(plan, "fresh", ENCRYPTED) == {"identity": "secret\n"}
    assert handed_identity(plan, "fresh", ["folders/notes/2013/05/10/104701/notes.tar.zst"]) == {}
    assert handed_identity({**plan, "identity_file": ""}, "fresh", ENCRYPTED) == {}


def test_no_target_gets_one_but_for_what_is_its_own(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret\n")
    plan = {"identity_file": str(tmp_path / "key"), "targets": TARGETS}
    with pytest.raises(KeyRefused, match="cms01 is a target, on which nothing is decrypted"):
        handed_identity(plan, "cms01", ENCRYPTED, "dayabay")
    with pytest.raises(KeyRefused):
        handed_identity({**plan, "identity_file": "/not/here"}, "cms01", ENCRYPTED, "dayabay")
    assert handed_identity(plan, "dayabay", ENCRYPTED, "dayabay") == {"identity": "secret\n"}


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    plan = {"identity_file": str(tmp_path), "targets": {}}
    with pytest.raises(KeyRefused, match="cannot be read on the controller"):
        handed_identity(plan, "fresh", ENCRYPTED)


def test_a_pipe_that_nobody_writes_to_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    said: list[str] = []

    def ask() -> None:
        try:
            handed_identity({"identity_file": str(tmp_path / "pipe"), "targets": {}}, "fresh", ENCRYPTED)
        except KeyRefused as error:
            said.append(str(error))

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(10)
    assert "is no plain file" in "".join(said)


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"secret \xff\n")
    (tmp_path / "link").symlink_to("key")
    found = handed_identity({"identity_file": str(tmp_path / "link"), "targets": {}}, "fresh", ENCRYPTED)
    assert found == {"identity": "secret \udcff\n"}


def test_it_is_in_no_file_of_a_node() -> None:
    require_no_file({"identity": "secret"}, True)
    require_no_file({"identity": "", "identity_file": "/key"}, False)
    with pytest.raises(KeyRefused, match="turn pipelining on") as caught:
        require_no_file({"identity": "secret"}, False)
    assert "secret" not in str(caught.value)
