"""The state folder of the command line: a folder for each run, a lock for each job, and the rotation of old runs."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..report.private_files import write_private

RUNNING = "running"
ASKED = "asked"
"""Folder of questions that failed, each with a state folder of its own"""
RESULT, LOG, EVENTS = "result.json", "stdout", "events"
_FORMAT = "altbackup run 1"
_NAME = re.compile(r"\d{8}T\d{6}Z-[\w.+-]{1,80}-\d+")


def state_folder(option: str, environment: Mapping[str, str]) -> Path:
    """Return the state folder, where runs are kept: by `option`, the environment, or the XDG default."""
    chosen = option or environment.get("ALTBACKUP_ARTIFACTS", "")
    if chosen:
        return Path(chosen).expanduser().absolute()
    base = environment.get("XDG_STATE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path("~/.local/state").expanduser()) / "altbackup"


def private_folder(path: Path) -> Path:
    """Make a folder with mode 0700 unless it exists; return it. Raise OSError."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def is_result(found: Any) -> bool:
    """Return whether a value has what every result of a run has, in its form: when it started, how it stands, and what failed."""
    if not isinstance(found, dict) or found.get("format") != _FORMAT or not isinstance(found.get("state"), str):
        return False
    failures, inventory = found.get("failures") or [], found.get("inventory") or []
    if not (isinstance(failures, list) and all(isinstance(entry, dict) for entry in failures)):
        return False
    return (
        isinstance(inventory, list)
        and _is_moment(found.get("started"))
        and (found.get("ended") is None or _is_moment(found["ended"]))
    )


def _is_moment(value: Any) -> bool:
    with contextlib.suppress(ValueError, OverflowError):
        return isinstance(value, str) and datetime.fromisoformat(value).timestamp() >= 0
    return False


class Run:
    """The folder of a run. Rotation does not remove it while a process holds it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._held: int | None = None

    def hold(self) -> bool:
        """Lock the folder until this process ends or releases it; return whether no other process has it. Raise OSError."""
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._held = descriptor
        return True

    def release(self) -> None:
        """Release the folder."""
        if self._held is not None:
            os.close(self._held)
            self._held = None

    @property
    def result(self) -> dict[str, Any]:
        """The stored result of the run, {} if the folder is not a run's."""
        with contextlib.suppress(OSError, ValueError, RecursionError):
            found = json.loads((self.folder / RESULT).read_text(encoding="utf-8"))
            if is_result(found):
                return dict(found)
        return {}

    def write(self, result: Mapping[str, Any]) -> None:
        """Replace the stored result, all of it or nothing. Raise OSError."""
        path = self.folder / RESULT
        text = json.dumps({"format": _FORMAT, **result}, indent=1, ensure_ascii=False, default=str)
        write_private(f"{path}.new", text.encode("utf-8", "replace") + b"\n")
        os.replace(f"{path}.new", path)

    def receipt(self) -> dict[str, Any]:
        """Return what the callback wrote about its mail, {} if it wrote nothing."""
        with contextlib.suppress(OSError, ValueError, RecursionError):
            found = json.loads((self.folder / "mail.json").read_text(encoding="utf-8"))
            return found if isinstance(found, dict) else {}
        return {}

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield the events of the run in their order."""
        files = [
            (int(number), path) for path in self.event_files() if (number := path.name.partition("-")[0]).isdigit()
        ]
        for _, path in sorted(files):
            with contextlib.suppress(OSError, ValueError, RecursionError):
                event = json.loads(path.read_text(encoding="utf-8"))
                if isinstance(event, dict):
                    yield event

    def event_files(self) -> list[Path]:
        """Return the files of its events, also where a run that was killed has left them."""
        return [*self.folder.glob(f"{EVENTS}/*.json"), *self.folder.glob("ansible/job_events/*.json")]

    def log(self, limit: int) -> str:
        """Return the output of the run; if it has more than `limit` bytes, its beginning and end."""
        try:
            with open(self.folder / LOG, "rb") as stream:
                size = os.fstat(stream.fileno()).st_size
                if size <= limit:
                    return stream.read().decode("utf-8", "replace")
                head = stream.read(limit // 3)
                stream.seek(size - (limit - limit // 3))
                return b"".join((head, b"\n[... the middle is left out ...]\n", stream.read())).decode(
                    "utf-8", "replace"
                )
        except OSError:
            return ""


def new_run(state: Path, label: str, now: datetime) -> Run:
    """Make and hold the folder of a new run. Raise OSError."""
    runs = private_folder(private_folder(state) / "runs")
    stem = re.sub(r"[^\w.+-]", "_", label, flags=re.ASCII)[:60] or "run"
    run = Run(runs / f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{stem}-{os.getpid()}")
    run.folder.mkdir(mode=0o700)
    run.hold()
    return run


def all_runs(state: Path) -> list[Run]:
    """Return the runs of a state folder, the newest first, ignoring other folders."""
    with contextlib.suppress(OSError):
        folders = [path for path in (state / "runs").iterdir() if _NAME.fullmatch(path.name)]
        runs = [Run(path) for path in folders if path.is_dir() and not path.is_symlink()]
        return sorted((run for run in runs if run.result), key=lambda run: run.folder.name, reverse=True)
    return []


def asked_runs(state: Path) -> list[Run]:
    """Return the runs of questions that failed, the newest first."""
    with contextlib.suppress(OSError):
        runs = [run for folder in (state / ASKED).iterdir() for run in all_runs(folder)]
        return sorted(runs, key=lambda run: run.folder.name, reverse=True)
    return []


def is_of_question(folder: str) -> bool:
    """Return whether the folder of a run is, or was, that of a question."""
    return Path(folder).parent.parent.parent.name == ASKED


def rotate(state: Path, keep_runs: int, keep_days: float, now: float) -> list[str]:
    """Remove runs beyond the newest `keep_runs`, and those older than `keep_days`; return sentences on what could not be removed.

    The newest run, runs in use, and folders that are no run's are never removed. `now` is in seconds since 1970.
    """
    problems = []
    for number, run in enumerate(all_runs(state)):
        old = now - run.folder.joinpath(RESULT).stat().st_mtime > keep_days * 86400
        if number == 0 or (number < keep_runs and not old):
            continue
        try:
            if run.hold():
                shutil.rmtree(run.folder)
        except OSError as error:
            problems.append(f"{run.folder} could not be removed: {error}")
        finally:
            run.release()
    return problems


@dataclass
class Lock:
    """The lock of a job: an open file that this process has locked (flock) until it ends."""

    path: Path
    descriptor: int
    before: dict[str, Any]
    """The previous holder's signature"""

    def sign(self, holder: Mapping[str, Any]) -> None:
        """Write the holder into the file. Raise OSError."""
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, json.dumps(holder, default=str).encode() + b"\n", 0)


class Taken(Exception):
    """Raised when another process has the lock; `holder` is its signature, {} if not known."""

    def __init__(self, holder: dict[str, Any]) -> None:
        super().__init__(
            f"already running since {holder.get('since', 'a moment ago')}, pid {holder.get('pid', 'unknown')}: that run goes on, and this one did nothing; "
            "wait for its end, which altbackup last tells, and run this again if it is still wanted"
        )
        self.holder = holder


def take_lock(state: Path, job: str) -> Lock:
    """Take the lock of a job, whose name is `job`. Raise Taken, OSError."""
    folder = private_folder(private_folder(state) / "locks")
    path = folder / f"{hashlib.sha256(job.encode('utf-8', 'replace')).hexdigest()[:20]}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = _holder(descriptor)
        for _ in range(20):  # the holder may be about to sign
            if _is_alive(holder):
                break
            time.sleep(0.05)
            holder = _holder(descriptor)
        os.close(descriptor)
        raise Taken(holder) from None
    return Lock(path, descriptor, _holder(descriptor))


def _holder(descriptor: int) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError, RecursionError):
        found = json.loads(os.pread(descriptor, 65536, 0))
        return found if isinstance(found, dict) else {}
    return {}


def _is_alive(holder: Mapping[str, Any]) -> bool:
    return isinstance(pid := holder.get("pid"), int) and os.path.exists(f"/proc/{pid}")
