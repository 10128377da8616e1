"""The start of the process that holds a lab, and its first reports."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .errors import LabError
from .registry import Record

PATIENCE = 20
SPACES = ["unshare", "--fork", "--kill-child", "--pid", "--net"]


def launch(record: Record, detached: bool) -> subprocess.Popen[bytes]:
    """Start the keeper of a lab; unless detached, it ends the lab when this process ends, in whatever way."""
    package = __package__ or "lab"
    root = Path(__file__).parents[len(package.split("."))]
    spaces = SPACES if record.namespaces else []
    argv = [*spaces, sys.executable, "-m", f"{package}.keeper", json.dumps(asdict(record))]
    owner = None if detached else os.pidfd_open(os.getpid())
    try:
        with open(Path(record.folder, "keeper.log"), "wb") as log:
            return subprocess.Popen(
                [*argv, *([] if owner is None else [str(owner)])],
                cwd=root,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=[] if owner is None else [owner],
                start_new_session=True,
            )
    finally:
        if owner is not None:
            os.close(owner)


def reports(keeper: subprocess.Popen[bytes], count: int, log: Path) -> Iterator[dict[str, Any]]:
    """Return the first `count` reports of a keeper and its hosts. Raise LabError with their messages or the keeper's log."""
    assert keeper.stdout is not None
    deadline = time.monotonic() + PATIENCE
    with keeper.stdout as pipe:
        buffer = b""
        while count > 0:
            ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
            more = os.read(pipe.fileno(), 65536) if ready else b""
            if not more:
                words = log.read_text(encoding="utf-8", errors="replace").strip()
                raise LabError(f"the lab's keeper did not report: {words or 'no word of it'}")
            *lines, buffer = (buffer + more).split(b"\n")
            for report in map(json.loads, lines):
                if "error" in report:
                    raise LabError(f"{report['host']}: {report['error']}")
                count -= 1
                yield report
