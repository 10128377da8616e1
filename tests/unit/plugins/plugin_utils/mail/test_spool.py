"""What is to be told lies in the spool, one file each."""

from __future__ import annotations

import os
import time
from pathlib import Path

from ansible_collections.altbackup.core.plugins.plugin_utils.mail.spool import MAIL, overdue, put, waiting


def test_mails_of_one_moment_have_names_of_their_own(tmp_path: Path) -> None:
    paths = [put(tmp_path, b"x", MAIL) for _ in range(20)]
    assert len(set(paths)) == 20
    assert waiting(tmp_path, MAIL) == sorted(paths)
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".new")]


def test_a_message_of_yesterday_is_overdue(tmp_path: Path) -> None:
    (tmp_path / "1000000000000-1-1.note").touch()
    assert overdue(tmp_path, time.time()).startswith("1 message could not be sent for more than a day")
