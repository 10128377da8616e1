"""Calls of bin/altbackup as cron makes them: from an empty environment, with the test's own mail server."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from helpers.mail_server import MailServer, read_mail
from helpers.waiting import wait_until

from ansible_collections.altbackup.core.plugins.plugin_utils.cli import processes

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAM = REPOSITORY / "bin" / "altbackup"
TO = "admin@example.org"
LOCAL = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
GONE = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_timeout": 5}
"""A host that cannot be reached: nobody listens on that port"""


@dataclass
class Desk:
    """The place of a user of the entry point: a home, an inventory, playbooks, and an environment as cron gives it."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("home", "play"):
            (self.folder / name).mkdir()
        self.environment = {"HOME": str(self.folder / "home"), "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh"}
        self.environment |= {"ALTBACKUP_HISTORY": str(self.state / "history"), "ALTBACKUP_JOURNAL": "none"}
        self.write_inventory(one=LOCAL)

    @property
    def state(self) -> Path:
        """Default folder of runs."""
        return self.folder / "home" / ".local" / "state" / "altbackup"

    @property
    def spool(self) -> Path:
        """Default folder of waiting mails."""
        return self.folder / "home" / ".altbackup" / "spool"

    def write_inventory(self, **hosts: dict[str, Any]) -> None:
        """Write the inventory."""
        (self.folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}))

    def write_playbook(self, name: str, *tasks: dict[str, Any], **play: Any) -> Path:
        """Write a playbook of one play."""
        path = self.folder / "play" / name
        whole = {"name": "Do it", "hosts": "all", "gather_facts": False, **play, "tasks": list(tasks)}
        path.write_text(yaml.safe_dump([whole], sort_keys=False, allow_unicode=True))
        return path

    def mail_to(self, server: MailServer) -> None:
        """Mail failures by a server."""
        self.environment |= {"ALTBACKUP_MAIL_TO": TO, "ALTBACKUP_MAIL_HOST": server.host}
        self.environment |= {"ALTBACKUP_MAIL_PORT": str(server.port), "ALTBACKUP_MAIL_TIMEOUT": "5s"}

    def command(self, *words: str) -> list[str]:
        """Return the words of a call, those of a run with the inventory."""
        inventory = ["-i", "hosts.yml"] if words[0] == "run" and "-i" not in words else []
        return [str(PROGRAM), *words, *inventory]

    def call(self, *words: str, program: Path = PROGRAM, **more: str) -> subprocess.CompletedProcess[str]:
        """Call the entry point, with additions to the environment, and wait."""
        return subprocess.run(
            [str(program), *self.command(*words)[1:]],
            cwd=self.folder,
            env={**self.environment, **more},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=600,
        )

    @contextlib.contextmanager
    def going(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """Start the entry point, which runs until the end of the block at most."""
        process = subprocess.Popen(
            self.command(*words),
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        with process:
            try:
                yield process
            finally:
                process.kill()
                for left in self.left():
                    os.kill(left.pid, 9)

    def left(self) -> list[processes.Process]:
        """Return the processes that are left of this desk's runs."""
        found = []
        for process in processes.living():
            with contextlib.suppress(OSError):
                if f"ALTBACKUP_RUN={self.folder}".encode() in Path(f"/proc/{process.pid}/environ").read_bytes():
                    found.append(process)
        return found

    def runs(self) -> list[Path]:
        """Return the folders of runs, the oldest first."""
        return sorted((self.state / "runs").glob("*"))

    def result(self, number: int = -1) -> dict[str, Any]:
        """Return the result of a run, by default of the newest."""
        return dict(json.loads((self.runs()[number] / "result.json").read_text()))

    def spooled(self) -> list[Path]:
        """Return the mails in the spool."""
        return sorted(self.spool.glob("*.eml"))


def sleeper(folder: Path) -> dict[str, Any]:
    """Return a task that notes its start in a file, and then sleeps in a session of its own, ignoring SIGTERM and SIGHUP."""
    script = f"trap '' TERM HUP; echo > '{folder}/asleep'; sleep 1000; sleep 1000"
    return {"name": "Sleep", "ansible.builtin.command": {"argv": ["setsid", "sh", "-c", script]}}


def wait_asleep(folder: Path) -> None:
    """Wait until that task sleeps."""
    assert wait_until((folder / "asleep").exists, 60)


def ansible_of(entry: int) -> int:
    """Return the pid of the entry point's ansible-playbook; `process` is the entry point."""
    (child,) = [process for process in processes.living() if process.parent == entry]
    return child.pid


def whole_texts(raw: bytes) -> str:
    """Return all texts of a mail: as sent over the wire, and decoded."""
    texts = [raw.decode("utf-8", "replace")]
    for part in read_mail(raw).walk():
        if not part.is_multipart():
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes)
            texts.append(
                (gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content).decode("utf-8", "replace")
            )
    return "\n".join(texts)


def python() -> Path:
    """Return the Python of the tests, which is the entry point's, too."""
    return Path(sys.executable)
