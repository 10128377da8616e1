"""What a look at things shows before they are archived, and that what a reader wrote of it is data."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.archive.states import (
    FILE,
    FOLDER,
    OTHER,
    State,
    Unproven,
    list_state,
    read_states,
    write_state,
)
from ansible_collections.altbackup.core.plugins.module_utils.archive.write import Part


def listed(top: Path, names: list[bytes], *, owner: bool = False, fixed_times: bool = False) -> list[State]:
    """Return the states of what is in a folder."""
    return [state for _, _, state, _ in list_state([Part(str(top), names)], owner=owner, fixed_times=fixed_times)]


def test_things_are_seen_by_their_forms_and_what_is_gone_is_not(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    names = [b".", b"./file", b"./link", b"./gone", b"./file/below"]
    assert [(state.path, state.file_type) for state in listed(tmp_path, names)] == [
        (b"", FOLDER),
        (b"file", FILE),
        (b"link", OTHER),
    ]


CHANGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "nothing": (lambda path: None, "the same"),
    "content of another length": (lambda path: path.write_text("longer"), "other"),
    "mode": (lambda path: path.chmod(0o600), "other"),
    "time": (lambda path: os.utime(path, ns=(0, 1)), "other but for its time"),
    "time of access": (lambda path: os.utime(path, ns=(0, path.stat().st_mtime_ns)), "seen"),
    "another file of that name": (
        lambda path: [os.link(path, f"{path}.old"), path.unlink(), path.write_text("x"), os.utime(path, ns=(5, 5))],
        "seen",
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_is_seen_is_more_than_what_lasts(tmp_path: Path, what: str) -> None:
    path = tmp_path / "file"
    path.write_text("x")
    os.utime(path, ns=(5, 5))
    change, expected = CHANGES[what]
    before = {fixed: listed(tmp_path, [b"./file"], fixed_times=fixed)[0] for fixed in (False, True)}
    change(path)
    after = {fixed: listed(tmp_path, [b"./file"], fixed_times=fixed)[0] for fixed in (False, True)}
    lasts, lasts_without_times = (
        before[fixed].copy_fingerprint == after[fixed].copy_fingerprint for fixed in (False, True)
    )
    assert (before[False].fingerprint == after[False].fingerprint, lasts, lasts_without_times) == {
        "the same": (True, True, True),
        "seen": (False, True, True),
        "other but for its time": (False, False, True),
        "other": (False, False, False),
    }[expected]


@pytest.mark.parametrize(
    "states",
    [
        [],
        [State(b"", FOLDER, b"s" * 16, b"l" * 16)],
        [State(b"", FOLDER, bytes(16), bytes(16)), State(b"a\n\xff/b", FILE, b"\xff" * 16, b"x" * 16)],
        [State(b"a" * 8192, OTHER, bytes(16), bytes(16))],
    ],
)
def test_states_come_back_as_they_were_written(tmp_path: Path, states: list[State]) -> None:
    output = io.BytesIO()
    for state in states:
        write_state(output, state)
    (tmp_path / "states").write_bytes(output.getvalue())
    assert list(read_states(str(tmp_path / "states"))) == states


@pytest.mark.parametrize(
    "content", [b"x", b"\0" * 35 + b"y", b"\x02\0\x01" + b"\0" * 32 + b"..", b"\x02\0\x01" + b"\0" * 32 + b"/a"]
)
def test_what_a_reader_wrote_is_data(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "states"
    path.write_bytes(content)
    with pytest.raises(Unproven):
        list(read_states(str(path)))
    os.truncate(path, 1 << 30)
    with pytest.raises(Unproven, match="too many entries"):
        list(read_states(str(path)))


@pytest.mark.parametrize("path", [b"/", b"a//b", b"a/", b".", b"a/./b", b"a/..", b"..", b"a\0b", b"a" * 8193])
def test_a_path_that_leads_elsewhere_or_is_longer_than_any_is_none(tmp_path: Path, path: bytes) -> None:
    output = io.BytesIO()
    write_state(output, State(path, FILE, bytes(16), bytes(16)))
    (tmp_path / "states").write_bytes(output.getvalue())
    with pytest.raises(Unproven, match="is no path"):
        list(read_states(str(tmp_path / "states")))


def test_states_behind_a_link_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/hostname")
    with pytest.raises(OSError, match="symbolic links"):
        list(read_states(str(tmp_path / "link")))
