"""Runs the demo's commands, and shows each as a person would type it."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import demo_database
from demo_places import INVENTORY, LOGS, ROOT, WORK

REPOSITORIES = 5
"""Items of inventory/local; where its server is installed, there is one of a database, too"""

PLAYBOOK = ".venv/bin/ansible-playbook"
LONGEST_COMMAND = 600  # seconds
WIDTH = max(60, min(110, shutil.get_terminal_size((110, 24)).columns))
IDENTITY = {"NAME": "Demo", "EMAIL": "demo@example.org"}


class DemoFailed(Exception):
    """Raised if a step ends otherwise than the demo shows."""


@dataclass(frozen=True)
class Ran:
    """A finished command: exit code, output, seconds, and its log."""

    code: int
    output: str
    seconds: float
    log: Path


class Shell:
    """Runs commands in the checkout, shows each as a person would type it, and logs each."""

    def __init__(self) -> None:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "GIT_", "LC_"))}
        common = {
            "LANG": "C.UTF-8",
            "PYTHONWARNINGS": "ignore",
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ALTBACKUP_MAIL_TO": "none",
            "ALTBACKUP_HISTORY": str(ROOT / WORK / "history"),
            "XDG_CACHE_HOME": str(ROOT / WORK / "cache"),
            "ANSIBLE_HOME": str(ROOT / WORK / "ansible"),
            "ANSIBLE_LOCAL_TEMP": str(ROOT / WORK / "tmp"),
            "ANSIBLE_REMOTE_TEMP": str(ROOT / WORK / "tmp"),
        }
        self._environment = {**inherited, **common}
        # Commands that make live data neither read nor write the user's own settings.
        self._isolated = {
            **self._environment,
            "HOME": str(ROOT / WORK / "home"),
            "GIT_CONFIG_NOSYSTEM": "1",
            **{f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in IDENTITY.items()},
        }
        self._count = 0
        self.database: demo_database.Server | None = None
        """The server that is backed up, too, if there is one"""

    @property
    def items(self) -> int:
        """How many items there are."""
        return REPOSITORIES + (self.database is not None)

    def make(self, *argv: str | Path, folder: Path | None = None) -> str:
        """Run a command that makes or changes live data; return its output. Raise DemoFailed unless it exits 0."""
        words = [str(word) for word in argv]
        if folder:
            show_command(f"(cd {shlex.quote(str(folder))} && {shlex.join(words)})")
        else:
            show_command(shlex.join(words))
        ran = self._run(words, words[0], self._isolated, folder or Path())
        if ran.code:
            raise DemoFailed(f"{words[0]} ended with exit code {ran.code}:\n{ran.output.rstrip()}")
        return ran.output

    def line(self, command: str) -> None:
        """Run one line of shell. Raise DemoFailed unless it exits 0."""
        show_command(command)
        ran = self._run(["sh", "-c", command], command, self._environment)
        if ran.code:
            raise DemoFailed(f"{command}: exit code {ran.code}:\n{ran.output.rstrip()}")

    def play(self, *arguments: str, fails: bool = False) -> Ran:
        """Run ansible-playbook with the demo's inventory and show its output.

        Raise DemoFailed if it fails unexpectedly or, with `fails`, if it does not fail.
        """
        arguments = (arguments[0], "-i", str(INVENTORY), *arguments[1:])
        show_command(shlex.join([PLAYBOOK, *arguments]))
        ran = self._run([PLAYBOOK, *arguments], Path(arguments[0]).stem, self._environment, show=show_line)
        print(f"    exit code {ran.code} after {ran.seconds:.1f} s", flush=True)
        if bool(ran.code) != fails:
            raise DemoFailed(f"{arguments[0]} ended with exit code {ran.code}; {ran.log} says why")
        return ran

    def _run(
        self,
        argv: Sequence[str],
        title: str,
        environment: dict[str, str],
        folder: Path = Path(),
        show: Callable[[str], None] = lambda line: None,
    ) -> Ran:
        """Run a command, passing each line of its output to `show` as it comes. Raise DemoFailed after LONGEST_COMMAND seconds."""
        self._count += 1
        log = (
            LOGS
            / f"{self._count:02}-{re.sub(r'[^A-Za-z0-9]+', '-', Path(title.split(maxsplit=1)[0]).name).strip('-')}.log"
        )
        start = time.monotonic()
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
        limit = threading.Timer(LONGEST_COMMAND, end_group, [process])
        limit.start()
        try:
            with log.open("wb") as stream:
                output = ""
                for line in process.stdout or ():
                    stream.write(line)
                    text = line.decode(errors="backslashreplace")
                    show(text)
                    output += text
            code = process.wait()
        finally:
            timed_out = limit.finished.is_set()
            limit.cancel()
            end_group(process)
        if timed_out:
            raise DemoFailed(f"{shlex.join(argv)} did not end within {LONGEST_COMMAND} s; see {log}")
        return Ran(code, output, time.monotonic() - start, log)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill all processes of a command, however it ended."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def show_step(title: str, *sentences: str) -> None:
    """Print the heading of a step and sentences about it."""
    print("", textwrap.fill(f"== {title}", WIDTH, subsequent_indent="   "), sep="\n")
    for sentence in sentences:
        print(textwrap.fill(sentence, WIDTH))
    sys.stdout.flush()


def show_command(command: str) -> None:
    """Print a command as a person would type it."""
    print(f"  $ {command}", flush=True)


def note(text: str) -> None:
    """Print what was done without a command, or the result of one."""
    print(textwrap.fill(text, WIDTH, initial_indent="    ", subsequent_indent="    "), flush=True)


def show_line(line: str) -> None:
    """Print a line of ansible-playbook's output, wrapped if it is long."""
    indent = " " * (4 + len(line) - len(line.lstrip()))
    wrapped = textwrap.wrap(
        line.strip(),
        WIDTH,
        initial_indent=indent,
        subsequent_indent=f"{indent}    ",
        break_on_hyphens=False,
        break_long_words=False,
    )
    print("\n".join(wrapped) if len(indent + line.strip()) > WIDTH else f"    {line.rstrip()}", flush=True)


def expect(condition: bool, text: str) -> None:
    """Raise DemoFailed unless the condition holds."""
    if not condition:
        raise DemoFailed(text)
