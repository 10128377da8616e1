"""The process that holds a lab: when it ends, all processes of the lab end, and it ends when its owner does."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

from .processes import descendants
from .registry import Record, forget, parse

HOST = ["unshare", "--fork", "--kill-child", "--pid", "--mount", "--propagation", "private", "--uts", "--ipc", "--net"]
SUBREAPER = 36


def report(**words: object) -> None:
    """Report to the owner in one line of JSON."""
    os.write(1, json.dumps(words).encode() + b"\n")


def start(argv: list[str]) -> int:
    """Start a program that ends with this process; return its pid."""
    return os.posix_spawnp("setpriv", ["setpriv", "--pdeathsig", "KILL", *argv], os.environ, setsid=True)


def collect() -> set[int]:
    """Return the pids of the children that have ended since the last call."""
    ended = set()
    with contextlib.suppress(ChildProcessError):
        while pid := os.waitpid(-1, os.WNOHANG)[0]:
            ended.add(pid)
    return ended


def finish(record: Record) -> None:
    """End every process below this one, wait for their end, then remove the rest of the lab, and exit."""
    while below := descendants(os.getpid()):
        for pid in below:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, 0)
    forget(record)
    os._exit(0)


def end_hosts(record: Record, hosts: set[int]) -> None:
    """End the hosts, each with all of its processes, wait for it, then remove the rest of the lab, and exit."""
    for pid in hosts:
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)
    subprocess.run(["ip", "link", "delete", "uplink"], capture_output=True, check=False)
    forget(record)
    os._exit(0)


def owner_gone(owner: int | None, patience: float) -> bool:
    """Return whether the owner ended within `patience` seconds; `pidfd` is the owner's, or None for a lab without owner."""
    poll = select.poll()
    if owner is not None:
        poll.register(owner, select.POLLIN)
    return bool(poll.poll(patience * 1000))


def keep_namespaces(record: Record, owner: int | None) -> None:
    """Start every host in namespaces of its own and hold them."""
    init = str(Path(__file__).with_name("host_init.py"))
    folders = sorted(Path(record.folder, "hosts").iterdir())
    hosts = {start([*HOST, sys.executable, "-I", "-S", init, own.name, str(own)]) for own in folders}
    os.dup2(2, 1)
    while not owner_gone(owner, 5):
        hosts -= collect()
    end_hosts(record, hosts)


def keep_loopback(record: Record, owner: int | None) -> None:
    """Run an sshd for every host that has a file `wanted`, and none for the others."""
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, lambda *_: finish(record))
    os.dup2(2, 1)
    running: dict[Path, int] = {}
    while not owner_gone(owner, 0.02):
        ended = collect()
        running = {own: pid for own, pid in running.items() if pid not in ended}
        for own in Path(record.folder, "hosts").iterdir():
            wanted = (own / "wanted").exists()
            if wanted and own not in running:
                running[own] = start(["/usr/sbin/sshd", "-D", "-f", f"{own}/sshd_config", "-E", f"{own}/sshd.log"])
            elif not wanted and own in running:
                for pid in [running[own], *descendants(running[own])]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
    finish(record)


def main() -> None:
    """Hold the lab of the record named on the command line, for the owner whose pidfd is given, if any."""
    record = parse(sys.argv[1])
    owner = int(sys.argv[2]) if len(sys.argv) > 2 else None
    if owner is not None:
        os.set_inheritable(owner, False)
    report(keeper=int(os.readlink("/proc/self")))
    (keep_namespaces if record.namespaces else keep_loopback)(record, owner)


if __name__ == "__main__":
    main()
