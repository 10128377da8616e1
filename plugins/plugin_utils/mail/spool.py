"""The spool: mails and messages lie here, one file each, until they were accepted."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import time
from pathlib import Path

from ..report.private_files import write_private

MAIL, MESSAGE = "eml", "note"
"""Extensions of files: mails, and messages for other channels"""
OVERDUE = 86400.0
"""Seconds after which an unsent file is a failure of its own."""
_NAME = re.compile(r"(\d{13})-\d+-\d+\.(eml|note)")
_COUNTER = itertools.count()


def put(spool: Path, content: bytes, kind: str) -> Path:
    """Write a file with mode 0600 into the spool, all of it or nothing; return its path. Raise OSError."""
    spool.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = spool / f"{int(time.time() * 1000):013d}-{os.getpid()}-{next(_COUNTER)}.{kind}"
    try:
        write_private(f"{path}.new", content)
        os.replace(f"{path}.new", path)
    except OSError:
        Path(f"{path}.new").unlink(missing_ok=True)
        raise
    return path


def waiting(spool: Path, *kinds: str) -> list[Path]:
    """Return the spool's files of these kinds, the oldest first; [] if there is no spool."""
    with contextlib.suppress(OSError):
        found = [(path, _NAME.fullmatch(path.name)) for path in spool.iterdir()]
        return sorted(path for path, match in found if match and match[2] in kinds)
    return []


def overdue(spool: Path, now: float) -> str:
    """Return a sentence if files lie in the spool for more than a day, else ""; `now` is in seconds since 1970."""
    old = [path for path in waiting(spool, MAIL, MESSAGE) if now - int(path.name[:13]) / 1000 > OVERDUE]
    if not old:
        return ""
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(int(old[0].name[:13]) / 1000))
    what = "mail" if all(path.suffix == f".{MAIL}" for path in old) else "message"
    count = f"{len(old)} {what}{'' if len(old) == 1 else 's'}"
    return f"{count} could not be sent for more than a day, the first of {since}: see {spool}"
