"""Lines of this collection in authorized_keys, and those of others."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.altbackup.core.plugins.module_utils.system.authorized_keys import (
    changed_lines,
    edit,
    line_of,
    purpose_of,
    sources_of,
)
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError, InvalidInput

KEY = f"ssh-ed25519 {'A' * 68}"
OTHER = f"ssh-ed25519 {'B' * 68}"
FOLDER = "/data/.altbackup/incoming/dayabay"
COMMAND = ["/usr/bin/python3", "-I", "/data/.altbackup/bin/forced_command.py", FOLDER]


def test_a_line_has_the_restrictions_the_address_and_the_command() -> None:
    line = line_of(KEY, COMMAND, "192.0.2.7", FOLDER)
    assert line == f'restrict,from="192.0.2.7",command="{" ".join(COMMAND)}" {KEY} altbackup:{FOLDER}'
    assert line_of(KEY, COMMAND, "", FOLDER).startswith('restrict,command="')
    assert (purpose_of(line), sources_of([line])) == (FOLDER, "192.0.2.7")


@given(st.lists(st.text(st.characters(categories=("L", "N", "P", "S", "Zs")), min_size=1), min_size=1, max_size=4))
def test_the_login_shell_reads_every_command_as_it_was_meant(words: list[str]) -> None:
    try:
        line = line_of(KEY, words, "", "x")
    except InvalidInput:
        assert not all(word.isprintable() for word in words)
        return
    inner = line.removeprefix('restrict,command="').partition(f'" {KEY}')[0]
    assert shlex.split(inner.replace('\\"', '"').replace("\\\\", "\\")) == words


@pytest.mark.parametrize(
    ("key", "command", "sources", "purpose"),
    [
        ("ssh-ed25519 short", COMMAND, "", FOLDER),
        (f"{KEY}\n{OTHER}", COMMAND, "", FOLDER),
        (f'command="id" {KEY}', COMMAND, "", FOLDER),
        (KEY, [*COMMAND, "a\nb"], "", FOLDER),
        (KEY, COMMAND, '*",command="id', FOLDER),
        (KEY, COMMAND, "a b", FOLDER),
        (KEY, COMMAND, "", "a\nb"),
    ],
)
def test_what_would_be_another_line_is_refused(key: str, command: list[str], sources: str, purpose: str) -> None:
    with pytest.raises(InvalidInput):
        line_of(key, command, sources, purpose)


LINES = st.lists(
    st.sampled_from(
        ["# a comment\n", f"{KEY} me@home\n", "\n", f'command="x" {OTHER} altbackup:no\n', f"{OTHER} last"]
    ),
    max_size=6,
)


@given(LINES, st.lists(st.sampled_from([KEY, OTHER]), max_size=2, unique=True), st.integers(0, 6))
def test_lines_of_others_keep_their_bytes_and_places(foreign: list[str], keys: list[str], place: int) -> None:
    foreign = [
        line if line.endswith("\n") or number == len(foreign) - 1 else f"{line}\n"
        for number, line in enumerate(foreign)
    ]
    own = [line_of(key, COMMAND, "", FOLDER) for key in keys]
    there = [
        *foreign[:place],
        *([f"{line_of(KEY, COMMAND, '192.0.2.1', FOLDER)}\n"] if place < len(foreign) else []),
        *foreign[place:],
    ]
    found = changed_lines(there, {FOLDER: own})
    assert [line for line in found if purpose_of(line) != FOLDER] == [
        line if line.endswith("\n") or not own or found[-1] == line else f"{line}\n" for line in foreign
    ]
    assert [line for line in found if purpose_of(line) == FOLDER] == [f"{line}\n" for line in own]
    assert changed_lines(found, {FOLDER: own}) == found, "a second time changes nothing"


def test_a_file_is_written_once_private_and_no_more(tmp_path: Path) -> None:
    wanted = {FOLDER: [line_of(KEY, COMMAND, "", FOLDER)]}
    assert edit(str(tmp_path), wanted, write=False)[0]
    assert not list(tmp_path.iterdir())
    assert [edit(str(tmp_path), wanted, write=True)[0] for _ in range(2)] == [True, False]
    path = tmp_path / ".ssh" / "authorized_keys"
    assert path.read_text() == f"{wanted[FOLDER][0]}\n"
    assert [oct(one.stat().st_mode & 0o777) for one in (path, path.parent)] == ["0o600", "0o700"]
    path.write_bytes(b"# caf\xe9\n" + path.read_bytes())
    assert edit(str(tmp_path), {FOLDER: []}, write=True)[0]
    assert path.read_bytes() == b"# caf\xe9\n"
    assert [one.name for one in path.parent.iterdir()] == ["authorized_keys"]


@pytest.mark.parametrize("what", ["link", "folder behind a link", "pipe", "writable folder", "hard link"])
def test_nothing_is_written_through_what_others_may_have_put_there(tmp_path: Path, what: str) -> None:
    folder = tmp_path / "home" / ".ssh"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (elsewhere / "file").write_text("of somebody else\n")
    folder.parent.mkdir()
    if what == "folder behind a link":
        folder.symlink_to(elsewhere)
    else:
        folder.mkdir(mode=0o700)
    path = folder / "authorized_keys"
    if what == "link":
        path.symlink_to(elsewhere / "file")
    if what == "pipe":
        os.mkfifo(path)
    if what == "hard link":
        os.link(elsewhere / "file", path)
    if what == "writable folder":
        folder.chmod(0o777)
    with pytest.raises(AltbackupError):
        edit(str(folder.parent), {FOLDER: [line_of(KEY, COMMAND, "", FOLDER)]}, write=True)
    assert (elsewhere / "file").read_text() == "of somebody else\n"
    assert [one.name for one in elsewhere.iterdir()] == ["file"]
