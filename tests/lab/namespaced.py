"""A host of the lab that has its own network, processes, mounts and name."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import LabError
from .host import Host
from .network import ip
from .processes import Process, Running, in_namespace, wait_until
from .ssh_files import SSHD

ENTER = ["--mount", "--uts", "--ipc", "--net", "--pid"]
FILLER = ".filler"
FAKETIME = next(Path("/usr/lib").glob("**/faketime/libfaketime.so.1"), None)


def fast_clock(seconds: int) -> list[str]:
    """Return the variables `NAME=value` that advance the clocks of a process by `seconds`.

    Monotonic clocks are advanced, too: if libfaketime leaves those alone, waiting with a limit fails in Python.
    """
    if FAKETIME is None:
        raise LabError("libfaketime is not installed")
    return [f"LD_PRELOAD={FAKETIME}", f"FAKETIME={seconds:+d}"]


@dataclass
class NamespacedHost(Host):
    """A host whose every process lives in namespaces of its own and ends with the first of them."""

    @property
    def home(self) -> Path:
        """Return the home of the host's user, private to the host."""
        return self.folder / "home"

    @property
    def pid(self) -> int:
        """Return the pid of the host's first process, which holds the namespaces."""
        return _pid(self.init, self.name)

    @property
    def boot_id(self) -> str:
        """Return the boot id that the host sees."""
        return (self.folder / "boot_id").read_text(encoding="ascii").strip()

    def command(self, argv: Sequence[str], cwd: str | os.PathLike[str] | None) -> list[str]:
        """Return the command of the machine that runs a command inside the host's namespaces."""
        path = self.folder / "environment"
        words = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return ["nsenter", f"--target={self.pid}", *ENTER, *super().command([*words, *argv], cwd)]

    def outside(self, path: str | os.PathLike[str]) -> Path:
        """Return the path by which this machine sees the file at a path on the host, in private mounts, too."""
        return Path(f"/proc/{self.pid}/root{os.path.abspath(path)}")

    def processes(self, name: str | None = None) -> list[Running]:
        """Return the processes of the host, or those of one program name, by their pids on this machine."""
        return [it for it in in_namespace(self.pid) if name is None or _program(it.argv) == name]

    def launch_sshd(self) -> None:
        """Start the host's sshd, without waiting until it listens."""
        self.run([SSHD, "-f", f"{self.folder}/sshd_config", "-E", f"{self.folder}/sshd.log"], check=True)

    def stop_sshd(self) -> None:
        """Kill the host's sshd and all its sessions; connections are refused from now on."""
        self._kill("sshd", lambda _: True)

    def _kill(self, name: str, meant: Callable[[Running], bool]) -> None:
        def none_left() -> bool:
            left = [process for process in self.processes(name) if meant(process)]
            for process in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
            return not left

        wait_until(none_left, 10, f"the end of {name} on {self.name}")

    def cut(self) -> None:
        """Cut the host's link: both ends receive nothing more from each other, and nothing is refused."""
        ip([f"link set port{self.place} down"], _pid(self.switch, "the switch"))

    def restore(self) -> None:
        """Restore the host's link and wait until it carries packets."""
        ip([f"link set port{self.place} up"], _pid(self.switch, "the switch"))
        wait_until(self._link_is_up, 10, f"the link of {self.name}")

    def _link_is_up(self) -> bool:
        shown = self.run(["ip", "-json", "link", "show", "dev", "eth0"], check=True).stdout
        return bool(json.loads(shown)[0]["operstate"] == "UP")

    def limit_rate(self, rate: int | None) -> None:
        """Limit the host's link to `rate` bytes a second each way; None lifts the limit."""
        ends = (_pid(self.switch, "the switch"), f"port{self.place}"), (self.pid, "eth0")
        for pid, device in ends:
            change = ["qdisc", "replace" if rate else "delete", "dev", device, "root"]
            if rate:
                burst = max(rate // 50, 70_000)
                change += ["tbf", "rate", f"{rate * 8}bit", "burst", str(burst), "latency", "200ms"]
            argv = ["nsenter", f"--target={pid}", "--net", "tc", *change]
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
            if done.returncode and rate:
                raise LabError(f"tc: {done.stderr.strip()}")

    def bytes_received(self) -> int:
        """Return the bytes that the host has received over its link, headers included."""
        return self._counters()[0]

    def bytes_sent(self) -> int:
        """Return the bytes that the host has sent over its link, headers included."""
        return self._counters()[8]

    def _counters(self) -> list[int]:
        for line in Path(f"/proc/{self.pid}/net/dev").read_text(encoding="ascii").splitlines():
            device, _, counters = line.partition(":")
            if device.strip() == "eth0":
                return [int(word) for word in counters.split()]
        raise LabError(f"{self.name} has no eth0")

    def small_disk(self, size: int, at: Path | None = None) -> Path:
        """Mount an empty disk of `size` bytes on the host, at a given path or a new one, and return that path."""
        disks = self.folder / "disks"
        path = at or disks / str(len(list(disks.iterdir())) + 1)
        path.mkdir(parents=True, exist_ok=True)
        self.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "lab-disk", str(path)], check=True)
        return path

    def unmount(self, path: Path) -> None:
        """Unmount what is mounted on a path of the host, even if it is in use."""
        self.run(["umount", "--lazy", str(path)], check=True)

    def fill_disk(self, path: Path, leave: int = 0) -> None:
        """Fill the small disk at `path` until no more than `leave` bytes are free."""
        self._must_be_mounted(path)
        with open(self.outside(path) / FILLER, "ab") as filler:
            if (surplus := self.disk_free(path) - leave) > 0:
                os.posix_fallocate(filler.fileno(), filler.tell(), surplus)

    def free_disk(self, path: Path) -> None:
        """Free what fill_disk has filled."""
        (self.outside(path) / FILLER).unlink(missing_ok=True)

    def remount_readonly(self, path: Path) -> None:
        """Make a folder, or the small disk at `path`, read-only. Raise LabError while it is being written to."""
        if not self._is_mounted(path):
            self.run(["mount", "--bind", str(path), str(path)], check=True)
        self.run(["mount", "-o", "remount,bind,ro", str(path)], check=True)

    def remount_writable(self, path: Path) -> None:
        """Undo remount_readonly."""
        self._must_be_mounted(path)
        self.run(["mount", "-o", "remount,bind,rw", str(path)], check=True)

    def _is_mounted(self, path: Path) -> bool:
        return self.run(["mountpoint", "-q", str(path)]).returncode == 0

    def _must_be_mounted(self, path: Path) -> None:
        if not self._is_mounted(path):
            raise LabError(f"{path} is no mount point on {self.name}")

    def set_timezone(self, name: str) -> None:
        """Set the time zone of the host, for processes started from now on."""
        zone = Path("/usr/share/zoneinfo", name)
        if not zone.is_file():
            raise LabError(f"no time zone {name} on this machine")
        local = self.outside("/etc") / "localtime"
        local.unlink(missing_ok=True)
        local.symlink_to(zone)
        self.write_etc("timezone", f"{name}\n")

    def skew_clock(self, seconds: int) -> None:
        """Advance the clock of processes started on the host from now on by `seconds`; 0 restores it.

        libfaketime does it, loaded by every session: the kernel's times of files, and statically linked programs, stay right.
        """
        self.set_environment(fast_clock(seconds) if seconds else ())

    def set_environment(self, words: Sequence[str]) -> None:
        """Give every process started on the host from now on the variables `NAME=value`; existing sessions are unchanged."""
        (self.folder / "environment").write_text("\n".join(words), encoding="utf-8")
        config = self.folder / "sshd_config"
        lines = [line for line in config.read_text(encoding="utf-8").splitlines() if not line.startswith("SetEnv ")]
        given = ["SetEnv " + " ".join(f'"{word}"' for word in words)] if words else []
        config.write_text("\n".join([*given, *lines, ""]), encoding="utf-8")
        if any(map(_listens, self.processes("sshd"))):
            self._kill("sshd", _listens)
            self.start_sshd()

    def set_login_shell(self, shell: str) -> None:
        """Set the login shell of the host's user."""
        lines = (self.outside("/etc") / "passwd").read_text(encoding="utf-8").splitlines()
        changed = [
            line.rpartition(":")[0] + f":{shell}" if line.startswith(f"{self.user}:") else line for line in lines
        ]
        self.write_etc("passwd", "\n".join(changed) + "\n")

    def write_etc(self, name: str, text: str) -> None:
        """Give the host a file in /etc of its own."""
        path = self.outside("/etc") / name
        new = path.with_name(f".{name}.new")
        new.write_text(text, encoding="utf-8")
        new.replace(path)


@dataclass
class FreshHost(NamespacedHost):
    """A host with a root of its own, whose sshd is as its distribution has it."""

    @property
    def home(self) -> Path:
        """Return root's home, by the host's own path; outside, it is `home` in the host's folder."""
        return Path("/root")

    def launch_sshd(self) -> None:
        """Start the host's sshd with the configuration in its /etc, without waiting until it listens."""
        for half in ("", ".pub"):
            path = self.outside(f"/etc/ssh/ssh_host_ed25519_key{half}")
            path.write_bytes((self.folder / f"host_key{half}").read_bytes())
            path.chmod(0o644 if half else 0o600)
        self.run([SSHD, "-E", f"{self.folder}/sshd.log"], check=True)


def _pid(process: Process | None, whose: str) -> int:
    if process is None or not process.alive:
        raise LabError(f"{whose} is not running")
    return process.pid


def _listens(process: Running) -> bool:
    return "[listener]" in " ".join(process.argv)


def _program(argv: tuple[str, ...]) -> str:
    return os.path.basename(argv[0].partition(":")[0].strip()) if argv else ""
