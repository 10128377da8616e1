"""The controller's journal of marks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.system import own_state
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError, Locked
from ansible_collections.altbackup.core.plugins.plugin_utils.planning import journal
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.journal import known_marks, note_marks

NIGHT, LATER = "2013/05/09/013000", "2013/05/10/013000"
HOLD = f"svn/dybsvn/{NIGHT}"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Two sources of one inventory."""
    (tmp_path / "hosts.yml").touch()
    return dict.fromkeys(("dayabay", "juno"), str(tmp_path / "hosts.yml"))


def test_what_is_noted_is_known_later_and_added_to(files: dict[str, str], state: Path) -> None:
    assert known_marks(files) == {}
    assert list(state.iterdir()) == [], "a run that marks nothing writes nothing"
    (path,) = note_marks(files, {"dayabay": {"accepted": {"svn/dybsvn": LATER}, "holds": {HOLD: "x"}}})
    assert known_marks(files) == {"dayabay": {"accepted": {"svn/dybsvn": LATER}, "holds": {HOLD: "x"}, "retired": {}}}
    note_marks(files, {"juno": {"retired": {"git/x": "2013/05/09"}}})
    note_marks(files, {"dayabay": {"accepted": {"svn/dybsvn": NIGHT}, "holds": {HOLD: ""}}})
    assert known_marks(files) == {
        "dayabay": {"accepted": {"svn/dybsvn": LATER}, "holds": {HOLD: ""}, "retired": {}},
        "juno": {"accepted": {}, "holds": {}, "retired": {"git/x": "2013/05/09"}},
    }
    assert oct(os.stat(path).st_mode & 0o777) == "0o600"
    assert oct(os.stat(os.path.dirname(path)).st_mode & 0o777) == "0o700"
    assert json.loads(Path(path).read_text())["inventory"] == files["dayabay"]


def test_what_is_noted_twice_is_written_once(files: dict[str, str]) -> None:
    given = {"dayabay": {"holds": {HOLD: "x"}}}
    (path,) = note_marks(files, given)
    before = os.stat(path).st_ino
    assert note_marks(files, given) == [path]
    assert os.stat(path).st_ino == before


def test_sources_of_one_name_in_two_inventories_share_no_marks(files: dict[str, str], tmp_path: Path) -> None:
    other = tmp_path / "other.yml"
    other.touch()
    link = tmp_path / "link.yml"
    link.symlink_to("hosts.yml")
    note_marks(files, {"dayabay": {"holds": {HOLD: "x"}}})
    assert known_marks({"dayabay": str(other)}) == {}
    assert known_marks({"dayabay": ""}) == {}
    assert list(known_marks({"dayabay": str(link)})) == ["dayabay"], "however it is named"
    both = {"dayabay": files["dayabay"], "juno": str(other)}
    assert len(note_marks(both, {"dayabay": {"holds": {HOLD: "y"}}, "juno": {"holds": {HOLD: "z"}}})) == 2
    assert {source: marks["holds"][HOLD] for source, marks in known_marks(both).items()} == {
        "dayabay": "y",
        "juno": "z",
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\0\0",
        "[]",
        "{}",
        '{"sources": []}',
        '{"sources": {"a": 1}}',
        '{"sources": {"a": {"accepted": {"x": "y"}}}}',
    ],
)
def test_a_damaged_journal_is_never_empty_and_never_written_over(files: dict[str, str], text: str) -> None:
    (path,) = note_marks(files, {"dayabay": {"holds": {HOLD: "x"}}})
    Path(path).write_text(text)
    for function in (lambda: known_marks(files), lambda: note_marks(files, {"juno": {"holds": {HOLD: "x"}}})):
        with pytest.raises(AltbackupError) as error:
            function()
        for word in (path, "is damaged", f"mv {path}"):
            assert word in str(error.value)
    assert Path(path).read_text() == text


def test_a_journal_that_is_no_file_cannot_be_read(files: dict[str, str]) -> None:
    (path,) = note_marks(files, {"dayabay": {"holds": {HOLD: "x"}}})
    os.unlink(path)
    os.mkdir(path)
    with pytest.raises(AltbackupError, match="cannot be read"):
        known_marks(files)


def test_a_user_without_a_home_has_noted_nothing(files: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> str:
        raise AltbackupError("uid 4711 has no entry in passwd")

    monkeypatch.setattr(own_state, "state_folder", nowhere)
    monkeypatch.setattr(journal, "state_folder", nowhere)
    assert known_marks(files) == {}
    with pytest.raises(AltbackupError, match="no entry in passwd"):
        note_marks(files, {"dayabay": {"holds": {HOLD: "x"}}})


def test_two_runs_that_note_at_once_lose_nothing(files: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = note_marks(files, {"dayabay": {"holds": {HOLD: "x"}}})
    lock = os.path.join(os.path.dirname(path), ".lock")
    code = (
        "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout and other.stdout.readline()
        monkeypatch.setattr(journal, "_WAIT", 0.1)
        with pytest.raises(Locked, match="run again"):
            note_marks(files, {"juno": {"holds": {HOLD: "x"}}})
        other.communicate()
    note_marks(files, {"juno": {"holds": {HOLD: "x"}}})
    assert list(known_marks(files)) == ["dayabay", "juno"]
