"""Files that only this user can read, such as those that may hold secrets."""

from __future__ import annotations

import os


def write_private(path: str, data: bytes) -> None:
    """Write a file, created with mode 0600; its data is on disk when this returns."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
