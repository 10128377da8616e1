"""An error of an open file names it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import name_os_errors


def test_error_of_a_descriptor_gets_the_path_of_its_file(tmp_path: Path) -> None:
    with open(tmp_path / "file", "wb") as stream:
        with pytest.raises(OSError, match="Bad file descriptor: '/the/path'") as caught, name_os_errors("/the/path"):
            os.read(stream.fileno(), 1)
    assert (caught.value.errno, caught.value.filename) == (errno.EBADF, "/the/path")


@pytest.mark.parametrize("error", [FileNotFoundError(errno.ENOENT, "No such file", "/other"), OSError("words alone")])
def test_error_that_has_a_path_or_no_number_is_left_as_it_is(error: OSError) -> None:
    with pytest.raises(OSError) as caught, name_os_errors("/the/path"):  # noqa: PT011
        raise error
    assert caught.value is error
