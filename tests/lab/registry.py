"""The records of the labs of this machine, and the end of a lab whose owner is dead."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from .processes import Process, end, wait_until


@dataclass(frozen=True)
class Record:
    """What is needed to end a lab: its processes, its device and its folder."""

    id: str
    folder: str
    owner: Process | None = None
    keeper: Process | None = None
    device: str | None = None
    keep_folder: bool = False
    namespaces: bool = True

    @property
    def path(self) -> Path:
        """Return the file that holds this record."""
        return directory() / f"{self.id}.json"

    @property
    def sockets(self) -> Path:
        """Return the folder of ssh's control sockets, whose path must be short."""
        return directory() / self.id

    @property
    def stale(self) -> bool:
        """Return whether nobody will end this lab any more."""
        if self.owner is not None:
            return not self.owner.alive
        return self.keeper is not None and not self.keeper.alive


def directory() -> Path:
    """Return the folder of records, private to this user."""
    if os.geteuid() == 0:
        return Path("/run/altbackup-lab")
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime, "altbackup-lab") if runtime else Path(tempfile.gettempdir(), f"altbackup-lab-{os.getuid()}")


def write(record: Record) -> Record:
    """Write a record under its own name and return it."""
    while True:
        directory().mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            record.sockets.mkdir(mode=0o700, exist_ok=True)
            temporary = record.path.with_suffix(".new")
            temporary.write_text(json.dumps(asdict(record)), encoding="utf-8")
            temporary.rename(record.path)
            return record


def parse(text: str) -> Record:
    """Return the record in a JSON text. Raise ValueError or TypeError."""
    plain = json.loads(text)
    owner, keeper = (Process(**plain[key]) if plain[key] else None for key in ("owner", "keeper"))
    return replace(Record(**plain), owner=owner, keeper=keeper)


def read_all() -> list[Record]:
    """Return the records of all labs of this user."""
    found = []
    for path in sorted(directory().glob("*.json")):
        with contextlib.suppress(OSError, ValueError, TypeError):
            found.append(parse(path.read_text(encoding="utf-8")))
    return found


def forget(record: Record) -> None:
    """Remove what a lab without processes leaves: control sockets, device, folder, record."""
    if record.sockets.is_dir():
        for socket in record.sockets.iterdir():
            if socket.is_socket():
                leave = ["ssh", "-F", "none", "-o", f"ControlPath={socket}", "-O", "exit", "lab"]
                with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                    subprocess.run(leave, capture_output=True, timeout=5, check=False)
    if record.device and Path("/sys/class/net", record.device).exists():
        subprocess.run(["ip", "link", "delete", record.device], capture_output=True, check=False)
        wait_until(lambda: not Path(f"/sys/class/net/{record.device}").exists(), 10, f"{record.device} to go away")
    if not record.keep_folder:
        shutil.rmtree(record.folder, ignore_errors=True)
    shutil.rmtree(record.sockets, ignore_errors=True)
    record.path.with_suffix(".new").unlink(missing_ok=True)
    record.path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        directory().rmdir()


def dispose(record: Record) -> None:
    """End a lab: its keeper and so every process of it, then the rest."""
    if record.keeper is not None:
        if not record.namespaces:
            end(record.keeper, signal.SIGTERM, patience=5)
        end(record.keeper)
    forget(record)


def reap() -> list[str]:
    """End every lab whose owner is dead; return their ids."""
    stale = [record for record in read_all() if record.stale]
    for record in stale:
        dispose(record)
    return [record.id for record in stale]
