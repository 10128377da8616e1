"""The spool: what is to be told lies here, one file each, until it was taken over."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import time
from pathlib import Path

from ..report.private_files import write_private

MAIL, MESSAGE = "eml", "note"
"""What the names of files end with: mails, and messages for other channels"""
OVERDUE = 86400.0
"""Seconds after which what could not be sent is a failure of its own."""
_NAME = re.compile(r"(\d{13})-\d+-\d+\.(eml|note)")
_COUNTER = itertools.count()


def put(spool: Path, content: bytes, kind: str) -> Path:
    """Write a file of a kind into the spool, for this user alone, whole or not at all; return it. Raise OSError."""
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
    """Return the files of the spool of these kinds, the oldest first; none if there is no spool."""
    with contextlib.suppress(OSError):
        found = [(path, _NAME.fullmatch(path.name)) for path in spool.iterdir()]
        return sorted(path for path, match in found if match and match[2] in kinds)
    return []


def overdue(spool: Path, now: float) -> str:
    """Given the spool and the time in seconds since 1970, return what is wrong if anything lies there for more than a day."""
    old = [path for path in waiting(spool, MAIL, MESSAGE) if now - int(path.name[:13]) / 1000 > OVERDUE]
    if not old:
        return ""
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(int(old[0].name[:13]) / 1000))
    what = "mail" if all(path.suffix == f".{MAIL}" for path in old) else "message"
    count = f"{len(old)} {what}{'' if len(old) == 1 else 's'}"
    return f"{count} could not be sent for more than a day, the first of {since}: see {spool}"
