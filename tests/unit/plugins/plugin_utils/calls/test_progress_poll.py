"""The progress poll beside a call: only if somebody watches and the connection allows it, and never to the call's harm."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.waiting import wait_until

from ansible_collections.altbackup.core.plugins.module_utils.system.progress import PREFIX
from ansible_collections.altbackup.core.plugins.plugin_utils.calls import progress_poll
from ansible_collections.altbackup.core.plugins.plugin_utils.report import progress_view

ENTRY = '[{"item": "svn/a", "doing": "sent", "done": 1024, "total": 2048, "about": false, "seconds": 1.0}]'


class Action:
    """An action of a task on this machine."""

    def __init__(
        self, folder: Path, *, transport: str = "ansible.builtin.ssh", name: str = "altbackup.core.tarball_send"
    ) -> None:
        self._task = SimpleNamespace(
            action=name, args={"base": "/b"}, check_mode=False, no_log=False, async_val=0, delegate_to=None, _role=None
        )
        self._connection = SimpleNamespace(transport=transport, become=None)
        self.options: dict[str, Any] = {"remote_tmp": str(folder), "password": None, "become_pass": None}
        self.looks: list[str] = []
        self.answer: Any = None

    def get_shell_option(self, name: str, default: Any = None) -> Any:
        return self.options.get(name, default)

    get_connection_option = get_become_option = get_shell_option

    def _low_level_execute_command(self, command: str, in_data: bytes) -> dict[str, Any]:
        self.looks.append(command)
        if callable(self.answer):
            return dict(self.answer())
        done = subprocess.run(["/bin/sh", "-c", command], input=in_data, capture_output=True, check=False)
        return {"rc": done.returncode, "stdout": done.stdout.decode(), "stderr": done.stderr.decode()}


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is displayed to a watcher, with polls as often as possible."""
    lines: list[str] = []
    monkeypatch.setattr(progress_view, "WATCHED", True)
    monkeypatch.setattr(progress_poll, "_EVERY", 0.001)
    monkeypatch.setattr(progress_poll, "Display", lambda: SimpleNamespace(display=lines.append))
    return lines


def test_what_the_node_tells_is_shown(tmp_path: Path, shown: list[str]) -> None:
    action = Action(tmp_path)
    with progress_poll.shown_while(action, "dayabay"):
        path = Path(action._task.args["progress"])
        assert path.parent == tmp_path and path.name.startswith(PREFIX) and action._task.args["base"] == "/b"
        assert wait_until(lambda: len(action.looks) > 1)  # nothing is there yet
        assert shown == []
        path.write_text(ENTRY)
        assert wait_until(lambda: bool(shown))
    assert shown[0] == "dayabay: tarball_send: svn/a 1.0 KiB of 2.0 KiB sent (50 %), 1.0 KiB/s"
    assert action._task.args == {"base": "/b"}


def test_each_call_has_a_file_of_its_own(tmp_path: Path, shown: list[str]) -> None:
    paths = set()
    for _ in range(3):
        action = Action(tmp_path)
        with progress_poll.shown_while(action, "dayabay"):
            paths.add(action._task.args["progress"])
    assert len(paths) == 3


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("action", "altbackup.core.preflight"),
        ("check_mode", True),
        ("no_log", True),
        ("async_val", 60),
        ("transport", "community.general.lxd"),
        ("transport", "ansible.netcommon.libssh"),
        ("password", "x"),
        ("become_pass", "x"),
        ("remote_tmp", "/tmp/a b"),
        ("remote_tmp", "/tmp/$(reboot)"),
        ("remote_tmp", "/tmp/a;b"),
        ("watched", False),
    ],
)
def test_a_call_that_cannot_be_looked_at_is_as_any_other(
    tmp_path: Path, shown: list[str], monkeypatch: pytest.MonkeyPatch, where: str, value: Any
) -> None:
    action = Action(tmp_path)
    if where == "watched":
        monkeypatch.setattr(progress_view, "WATCHED", value)
    elif where == "transport":
        action._connection.transport = value
    elif where in action.options:
        action._connection.become = SimpleNamespace()
        action.options[where] = value
    else:
        setattr(action._task, where, value)
    before = threading.active_count()
    with progress_poll.shown_while(action, "dayabay"):
        assert action._task.args == {"base": "/b"}
        assert threading.active_count() == before


def fail() -> dict[str, Any]:
    """Fail as a connection does."""
    raise ConnectionError("gone")


@pytest.mark.parametrize("answer", [fail, lambda: {"rc": 1}, dict, lambda: {"rc": 0, "stdout": "\x1b[31m"}])
def test_a_look_that_fails_changes_nothing(tmp_path: Path, shown: list[str], answer: Any) -> None:
    action = Action(tmp_path)
    action.answer = answer
    with progress_poll.shown_while(action, "dayabay"):
        assert wait_until(lambda: bool(action.looks))
    assert shown == []


def test_a_look_that_never_ends_holds_up_nobody(
    tmp_path: Path, shown: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_poll, "_PATIENCE", 0.01)
    action, over, others = Action(tmp_path), threading.Event(), set(threading.enumerate())
    action.answer = lambda: {"rc": 0, "stdout": ENTRY} if over.wait(60) else {}
    with progress_poll.shown_while(action, "dayabay"):
        assert wait_until(lambda: bool(action.looks))
    assert not over.is_set()
    over.set()
    assert wait_until(lambda: set(threading.enumerate()) <= others)
    assert shown == []  # the stage has ended meanwhile


def test_an_error_of_the_call_is_its_own(tmp_path: Path, shown: list[str]) -> None:
    action = Action(tmp_path)
    with pytest.raises(KeyError), progress_poll.shown_while(action, "dayabay"):
        raise KeyError
    assert action._task.args == {"base": "/b"}


def test_lines_name_stage_and_place() -> None:
    task = SimpleNamespace(_role="altbackup.core.check", action="altbackup.core.dna_verify", delegate_to="cms01")
    assert progress_poll._title(task, "dayabay") == "dayabay: check on cms01"
    task.delegate_to = "dayabay"
    assert progress_poll._title(task, "dayabay") == "dayabay: check"
