"""A file is sent by only one process, and stays until its mail was taken over."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from helpers.mail_server import serving

from ansible_collections.altbackup.core.plugins.module_utils.system.mail_transport import Refused, locked, send_file

MAIL = b"From: a@example.org\r\nTo: b@example.org, c@example.org\r\nSubject: x\r\n\r\ntext\r\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A mail in a file."""
    (tmp_path / "mail").write_bytes(MAIL)
    return tmp_path / "mail"


def send(path: Path, host: str = "", port: int = 0, sendmail: str = "") -> str:
    """Send a file by a server or a program."""
    way: dict[str, Any] = {"host": host, "port": port, "security": "none", "username": "", "sendmail": sendmail}
    return send_file(way, str(path), time.monotonic() + 20)


def test_mail_that_was_taken_over_is_gone(file: Path) -> None:
    with serving("accepts") as server:
        assert send(file, server.host, server.port) == ""
        assert [sorted(names) for names in server.recipients] == [["b@example.org", "c@example.org"]]
    assert not file.exists()


def test_mail_that_was_refused_stays_as_it_was(file: Path) -> None:
    with pytest.raises(Refused, match="no server is set, and there is no sendmail"):
        send(file)
    assert file.read_bytes() == MAIL


def test_file_of_another_process_and_one_that_is_gone_are_left_alone(file: Path) -> None:
    with locked(str(file)) as stream:
        assert stream is not None
        assert send(file, "nowhere.invalid", 1) == ""
    assert file.exists()
    assert send(file.with_name("gone"), "nowhere.invalid", 1) == ""
