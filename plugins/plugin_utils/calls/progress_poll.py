"""Looks from time to time, beside a module that runs, at how far it is, and shows that. It never changes how the module ends."""

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
"""The modules that may take long"""
_EVERY = 10.0
"""Seconds until the first look, and between the end of one and the next"""
_CONNECTIONS = ("ssh", "local")
"""Those that begin a process of their own for each command, so that one more at the same time is as any other"""
_FOLDER = re.compile(r"(?:~\w*)?[\w/.$+-]*")
_MOST_BYTES = 4096
_PATIENCE = 1.0


@contextlib.contextmanager
def shown_while(action: Any, host: str) -> Iterator[None]:
    """Given an action that is about to run its module, and its host, show how far it is while the block lasts, if somebody watches."""
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
    """Return whether a call may take long, and its connection can be used beside it without a password."""
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
    """The thread that looks."""

    def __init__(self, action: Any, host: str) -> None:
        self.folder = str(action.get_shell_option("remote_tmp", default="~/.ansible/tmp")).rstrip("/")
        if not _FOLDER.fullmatch(self.folder):  # it would have to be quoted, and then its ~ were none
            self.folder = ""
        self.path = f"{self.folder}/{PREFIX}{secrets.token_hex(16)}"
        self._action = action
        self._host = host
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End it. A look that a node does not answer is left alone: it ends as any other command there."""
        self._over.set()
        self._thread.join(_PATIENCE)

    def _run(self) -> None:
        # Here alone, all that goes wrong is swallowed on purpose: a run does not fail, or say anything, for want of these lines.
        with contextlib.suppress(Exception):
            progress, display = Progress(_title(self._action._task, self._host)), Display()
            while not self._over.wait(_EVERY):
                text = self._look()
                if self._over.is_set():
                    return
                for line in progress.lines(text):
                    display.display(line)

    def _look(self) -> str:
        """Return what the node tells, empty for nothing."""
        action = copy.copy(self._action)
        connection = action._connection = copy.copy(action._connection)
        if connection.become is not None:
            connection.become = copy.copy(connection.become)  # it notes what it waits for
        # what is fed to it keeps ssh from asking for a terminal there
        result = action._low_level_execute_command(f"head -c {_MOST_BYTES} {self.path}", in_data=b"\n")
        return str(result["stdout"]) if result["rc"] == 0 else ""


def _title(task: Any, host: str) -> str:
    """Given a task and its host, return what its lines begin with."""
    stage = str(task._role or "").rpartition(".")[2] or str(task.action).rpartition(".")[2]
    delegate = str(task.delegate_to or "")
    return f"{host}: {stage}{f' on {delegate}' if delegate not in ('', host) else ''}"
