"""A host of the lab, as every lab has it: a name, an address, an sshd, a data folder."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

from .errors import LabError, NamespacesNeeded
from .processes import Process, Running, wait_until
from .ssh_files import client_options, make_keys

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass
class Host:
    """A host that is an sshd on a loopback port; functions that need namespaces raise NamespacesNeeded."""

    name: str
    address: str
    port: int
    user: str
    folder: Path
    python: str
    known_hosts: Path
    key: Path | None = None
    place: int = 0
    init: Process | None = None
    switch: Process | None = None
    reason: str | None = None

    @property
    def data(self) -> Path:
        """Return the host's folder for data, under the same path inside and outside of the host."""
        return self.folder / "data"

    @property
    def home(self) -> Path:
        """Return the home of the host's user."""
        return Path(pwd.getpwuid(os.geteuid()).pw_dir)

    @property
    def ssh_options(self) -> list[str]:
        """Return options of ssh for this host as a client: its own key, the lab's host keys, no prompts."""
        return client_options(self.known_hosts, self.key)

    @property
    def log(self) -> str:
        """Return what the host's sshd has logged so far."""
        path = self.folder / "sshd.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def command(self, argv: Sequence[str], cwd: str | os.PathLike[str] | None) -> list[str]:
        """Return the command of the machine that runs a command on this host."""
        return ["env", "-C", os.fspath(cwd or self.home), *argv]

    def popen(
        self,
        argv: Sequence[str],
        *,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        stdin: int | IO[Any] = subprocess.DEVNULL,
        stdout: int | IO[Any] = subprocess.PIPE,
        stderr: int | IO[Any] = subprocess.PIPE,
    ) -> subprocess.Popen[str]:
        """Start a command on this host, not over ssh, in a session of its own with a clean environment."""
        clean = {"PATH": PATH, "HOME": str(self.home), "USER": self.user, "LANG": "C.UTF-8", **(env or {})}
        return subprocess.Popen(
            self.command(argv, cwd),
            env=clean,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            encoding="utf-8",
            errors="surrogateescape",
            start_new_session=True,
        )

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        text: str | None = None,
        timeout: float = 60,
        check: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on this host, not over ssh. Raise TimeoutExpired after ending its session."""
        stdin = subprocess.DEVNULL if text is None else subprocess.PIPE
        with self.popen(argv, cwd=cwd, env=env, stdin=stdin) as process:
            try:
                out, err = process.communicate(text, timeout)
            except BaseException:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                raise
        if check and process.returncode:
            raise LabError(f"{self.name}: {argv} gave {process.returncode}: {err.strip()}")
        return subprocess.CompletedProcess(list(argv), process.returncode, out, err)

    def answers(self) -> bool:
        """Return whether the host's sshd greets the controller."""
        with contextlib.suppress(OSError), socket.create_connection((self.address, self.port), timeout=2) as peer:
            return peer.recv(4) == b"SSH-"
        return False

    def await_sshd(self, patience: float = 15) -> None:
        """Wait until the host's sshd greets. Raise LabError with its log."""
        try:
            wait_until(self.answers, patience, f"sshd of {self.name}")
        except LabError as error:
            raise LabError(f"{error}; its log: {self.log[-1000:]}") from None

    def launch_sshd(self) -> None:
        """Start the host's sshd, without waiting for it."""
        (self.folder / "wanted").touch()

    def start_sshd(self) -> None:
        """Start the host's sshd and wait until it greets."""
        self.launch_sshd()
        self.await_sshd()

    def stop_sshd(self) -> None:
        """Kill the host's sshd and all its sessions, and wait until connections are refused."""
        (self.folder / "wanted").unlink(missing_ok=True)
        wait_until(lambda: not self.answers(), 15, f"the end of the sshd of {self.name}")

    def change_host_key(self) -> None:
        """Give the host another, unknown host key, as after a new installation."""
        self.stop_sshd()
        for path in (self.folder / "host_key", self.folder / "host_key.pub"):
            path.unlink()
        make_keys({self.folder / "host_key": f"{self.name} {time.time_ns()}"})
        self.start_sshd()

    def _needs_namespaces(self) -> NoReturn:
        raise NamespacesNeeded(f"needs network namespaces, and there are none: {self.reason}")

    def outside(self, path: str | os.PathLike[str]) -> Path:
        """Return the path by which this machine sees the file at a path on the host."""
        return Path(path)

    def processes(self, name: str | None = None) -> list[Running]:
        """Return the processes of the host, or those of one program name."""
        self._needs_namespaces()

    def cut(self) -> None:
        """Cut the host's link: both ends receive nothing more from each other."""
        self._needs_namespaces()

    def restore(self) -> None:
        """Restore the host's link."""
        self._needs_namespaces()

    def limit_rate(self, rate: int | None) -> None:
        """Limit the host's link to `rate` bytes a second each way; None lifts the limit."""
        self._needs_namespaces()

    def bytes_received(self) -> int:
        """Return the bytes that the host has received over its link, headers included."""
        self._needs_namespaces()

    def bytes_sent(self) -> int:
        """Return the bytes that the host has sent over its link, headers included."""
        self._needs_namespaces()

    def small_disk(self, size: int, at: Path | None = None) -> Path:
        """Mount an empty disk of `size` bytes on the host, at a given path or a new one, and return that path."""
        self._needs_namespaces()

    def unmount(self, path: Path) -> None:
        """Unmount what is mounted on a path of the host, even if it is in use."""
        self._needs_namespaces()

    def disk_free(self, path: Path) -> int:
        """Return the free bytes of the disk that holds a path of the host."""
        space = os.statvfs(self.outside(path))
        return space.f_bavail * space.f_frsize

    def fill_disk(self, path: Path, leave: int = 0) -> None:
        """Fill the small disk at `path` until no more than `leave` bytes are free."""
        self._needs_namespaces()

    def free_disk(self, path: Path) -> None:
        """Free what fill_disk has filled."""
        self._needs_namespaces()

    def remount_readonly(self, path: Path) -> None:
        """Make a folder, or the small disk at `path`, read-only on the host."""
        self._needs_namespaces()

    def remount_writable(self, path: Path) -> None:
        """Undo remount_readonly."""
        self._needs_namespaces()

    def set_timezone(self, name: str) -> None:
        """Set the time zone of the host, for processes started from now on."""
        self._needs_namespaces()

    def skew_clock(self, seconds: int) -> None:
        """Advance the clock of processes started on the host from now on by `seconds`; 0 restores it."""
        self._needs_namespaces()

    def set_login_shell(self, shell: str) -> None:
        """Set the login shell of the host's user."""
        self._needs_namespaces()

    def write_etc(self, name: str, text: str) -> None:
        """Give the host a file in /etc of its own."""
        self._needs_namespaces()
