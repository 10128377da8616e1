"""Polls the progress of a module while it runs, and shows it. It never changes how the module ends."""

from __future__ import annotations

import contextlib
import copy
import re
import secrets
import threading
from collections.abc import Iterator
from typing import Any

from ansible.utils.display import Display

from ...module_utils.system.progress import PREFIX
from ..report import progress_view
from ..report.progress_view import Progress

LONG = frozenset(
    {
        "dna_verify",
        "tarball_accept",
        "tarball_carry",
        "tarball_check",
        "tarball_dump",
        "tarball_drill",
        "tarball_drill_away",
    }
)
LONG |= {"tarball_prepare", "tarball_restore", "tarball_send"}
"""Modules that may run for long"""
_EVERY = 10.0
"""Seconds until the first poll, and between the end of one and the next"""
_CONNECTIONS = ("ssh", "local")
"""Connections that start a process for each command, so that one more at the same time does no harm"""
_FOLDER = re.compile(r"(?:~\w*)?[\w/.$+-]*")
_MOST_BYTES = 4096
_PATIENCE = 1.0


@contextlib.contextmanager
def shown_while(action: Any, host: str) -> Iterator[None]:
    """Show the progress of an action's module, which is about to run, during the block, if somebody watches."""
    poll = _Poll(action, host) if progress_view.WATCHED and _is_shown(action) else None
    if poll is None or not poll.folder:
        yield
        return
    before = action._task.args
    action._task.args = {**before, "progress": poll.path}
    poll.start()
    try:
        yield
    finally:
        poll.stop()
        action._task.args = before


def _is_shown(action: Any) -> bool:
    """Return whether a call may run for long, and its connection takes a second command without a password."""
    task, connection = action._task, action._connection
    if str(task.action).rpartition(".")[2] not in LONG or "progress" in task.args:
        return False
    if task.check_mode or task.no_log or task.async_val:
        return False
    transport = str(connection.transport).rpartition(".")[2]
    return transport in _CONNECTIONS and not (
        (transport == "ssh" and action.get_connection_option("password"))
        or (connection.become is not None and action.get_become_option("become_pass"))
    )


class _Poll:
    """The thread that polls."""

    def __init__(self, action: Any, host: str) -> None:
        self.folder = str(action.get_shell_option("remote_tmp", default="~/.ansible/tmp")).rstrip("/")
        if not _FOLDER.fullmatch(self.folder):  # quoting it would keep the shell from expanding ~
            self.folder = ""
        self.path = f"{self.folder}/{PREFIX}{secrets.token_hex(16)}"
        self._action = action
        self._host = host
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Start to poll."""
        self._thread.start()

    def stop(self) -> None:
        """Stop polling. A poll that the node does not answer is not waited for; it ends as any other command there."""
        self._over.set()
        self._thread.join(_PATIENCE)

    def _run(self) -> None:
        # Errors are ignored here on purpose: a run must neither fail nor warn for lack of progress lines.
        with contextlib.suppress(Exception):
            progress, display = Progress(_title(self._action._task, self._host)), Display()
            while not self._over.wait(_EVERY):
                text = self._look()
                if self._over.is_set():
                    return
                for line in progress.lines(text):
                    display.display(line)

    def _look(self) -> str:
        """Return the text of the node's progress file, "" if there is none."""
        action = copy.copy(self._action)
        connection = action._connection = copy.copy(action._connection)
        if connection.become is not None:
            connection.become = copy.copy(connection.become)  # it keeps state of the command it waits for
        # input keeps Ansible from requesting a terminal of ssh
        result = action._low_level_execute_command(f"head -c {_MOST_BYTES} {self.path}", in_data=b"\n")
        return str(result["stdout"]) if result["rc"] == 0 else ""


def _title(task: Any, host: str) -> str:
    """Return the beginning of the lines of a task on a host."""
    stage = str(task._role or "").rpartition(".")[2] or str(task.action).rpartition(".")[2]
    delegate = str(task.delegate_to or "")
    return f"{host}: {stage}{f' on {delegate}' if delegate not in ('', host) else ''}"
