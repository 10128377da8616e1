"""Renames in one step: nothing is replaced that is not to be."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.system.renames import EXCHANGE, NO_REPLACE, renameat2


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    """A folder with two files, held open."""
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


class Library:
    """A C library whose renameat2 ends with an error, or is not there."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __getattr__(self, name: str) -> Callable[..., int]:
        if not self._number:
            raise AttributeError(name)

        def refuse(*_: Any) -> int:
            ctypes.set_errno(self._number)
            return -1

        return refuse


def there(path: Path) -> dict[str, str]:
    return {found.name: found.read_text() for found in path.iterdir()}


def test_two_things_change_their_names(folder: int, tmp_path: Path) -> None:
    renameat2(folder, "one", folder, "two", EXCHANGE)
    assert there(tmp_path) == {"one": "two", "two": "one"}
    with pytest.raises(FileNotFoundError):
        renameat2(folder, "one", folder, "none", EXCHANGE)


@pytest.mark.parametrize("number", [None, 0, errno.EINVAL, errno.ENOSYS, errno.ENOTSUP])
def test_what_is_to_replace_nothing_replaces_nothing_whatever_the_file_system_can_do(
    folder: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int | None
) -> None:
    if number is not None:
        monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: Library(number))
    with pytest.raises(FileExistsError):
        renameat2(folder, "one", folder, "two", NO_REPLACE)
    assert there(tmp_path) == {"one": "one", "two": "two"}
    os.symlink("nowhere", "link", dir_fd=folder)
    with pytest.raises(FileExistsError):
        renameat2(folder, "one", folder, "link", NO_REPLACE)
    os.unlink("link", dir_fd=folder)
    renameat2(folder, "one", folder, "new \udcff", NO_REPLACE)
    assert there(tmp_path) == {"new \udcff": "one", "two": "two"}


@pytest.mark.parametrize(
    ("number", "flags"),
    [(errno.EINVAL, EXCHANGE), (0, EXCHANGE), (errno.EXDEV, NO_REPLACE), (errno.EACCES, NO_REPLACE)],
)
def test_what_cannot_be_done_otherwise_is_told(
    folder: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, flags: int
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: Library(number))
    with pytest.raises(OSError, match="new") as caught:
        renameat2(folder, "one", folder, "new", flags)
    assert caught.value.errno == (number or errno.ENOSYS)
    assert there(tmp_path) == {"one": "one", "two": "two"}
