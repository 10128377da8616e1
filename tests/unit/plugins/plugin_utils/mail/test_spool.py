"""What is to be told lies in the spool, one file each."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.mail.spool import (
    MAIL,
    MESSAGE,
    OVERDUE,
    overdue,
    put,
    waiting,
)


def test_mails_of_one_moment_have_names_of_their_own(tmp_path: Path) -> None:
    paths = [put(tmp_path, b"x", MAIL) for _ in range(20)]
    assert len(set(paths)) == 20
    assert waiting(tmp_path, MAIL) == sorted(paths)
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".new")]


def test_a_message_of_yesterday_is_overdue(tmp_path: Path) -> None:
    (tmp_path / "1000000000000-1-1.note").touch()
    assert overdue(tmp_path, time.time()).startswith("1 message could not be sent for more than a day")


NOW = 1_700_000_000.0


def lay(spool: Path, *entries: tuple[float, str]) -> None:
    """Lay files into the spool, each so many seconds old and of a kind."""
    spool.mkdir(exist_ok=True)
    for number, (age, kind) in enumerate(entries):
        (spool / f"{int((NOW - age) * 1000):013d}-1-{number}.{kind}").touch()


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([], ""),
        ([(0, MAIL)], ""),
        ([(OVERDUE, MAIL)], ""),
        ([(OVERDUE + 1, MAIL)], "1 mail could not be sent"),
        ([(OVERDUE + 1, MESSAGE)], "1 message could not be sent"),
        ([(OVERDUE + 9, MAIL), (OVERDUE + 5, MAIL), (0, MAIL)], "2 mails could not be sent"),
        ([(OVERDUE + 9, MAIL), (OVERDUE + 5, MESSAGE)], "2 messages could not be sent"),
        ([(-OVERDUE, MAIL)], ""),
    ],
)
def test_what_lies_for_more_than_a_day_is_told(entries: list[tuple[float, str]], said: str, tmp_path: Path) -> None:
    lay(tmp_path, *entries)
    assert bool(said) == bool(overdue(tmp_path, NOW)) and overdue(tmp_path, NOW).startswith(said)


def test_the_oldest_is_first_and_what_is_no_file_of_the_spool_is_left_alone(tmp_path: Path) -> None:
    lay(tmp_path, (5, MAIL), (9, MESSAGE), (7, MAIL))
    for name in ("memory.json", "x.eml", "123-1-1.eml", "1700000000000-1-1.eml.new", "1700000000000-1-1.txt", "../x"):
        (tmp_path / name.replace("/", "_")).touch()
    ages = [NOW - int(path.name[:13]) / 1000 for path in waiting(tmp_path, MAIL, MESSAGE)]
    assert ages == [9, 7, 5]
    assert [path.suffix for path in waiting(tmp_path, MESSAGE)] == [".note"]
    assert waiting(tmp_path) == []


def test_where_there_is_no_spool_nothing_waits(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for spool in (tmp_path / "none", tmp_path / "file"):
        assert (waiting(spool, MAIL), overdue(spool, NOW)) == ([], "")


def test_what_cannot_be_kept_whole_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="Not a directory"):
        put(tmp_path / "file" / "spool", b"x", MAIL)

    def full(source: str, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        put(tmp_path / "spool", b"x", MAIL)
    assert os.listdir(tmp_path / "spool") == []
