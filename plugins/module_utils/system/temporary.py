"""Files that hand a list, options or a secret to a program, and are gone after it.

Unbuffered: what found no room is told with where it was written, and not once more, without that, as the file is closed.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from typing import IO

from .errors import name_os_errors


@contextlib.contextmanager
def temporary_file(content: bytes) -> Iterator[str]:
    """Yield the path of a file with this content, which this user alone can read, and which is then gone. Raise OSError, with its path."""
    with tempfile.NamedTemporaryFile(buffering=0) as file:
        _fill(file, content, file.name)
        yield file.name


@contextlib.contextmanager
def temporary_stream(content: bytes) -> Iterator[IO[bytes]]:
    """Yield a file without a name that has this content, open at its beginning. Raise OSError, with the folder of such files."""
    with tempfile.TemporaryFile(buffering=0) as file:
        _fill(file, content, tempfile.gettempdir())
        file.seek(0)
        yield file


def _fill(file: IO[bytes], content: bytes, path: str) -> None:
    rest = memoryview(content)
    with name_os_errors(path):
        while rest:
            rest = rest[file.write(rest) :]
