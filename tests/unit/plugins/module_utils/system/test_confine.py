"""The confining program is complete in its text, and an error of the C library names what it was about."""

from __future__ import annotations

import errno
import inspect
import subprocess
import sys

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.system import confine


def test_error_of_the_c_library_says_what_it_was_about() -> None:
    confine.check(0, "nothing")
    with pytest.raises(OSError, match="a mount") as caught:
        confine.check(confine.libc.umount2(b"/nowhere", 0), "a mount")
    assert caught.value.errno in (errno.ENOENT, errno.EPERM)


def test_program_is_loaded_from_its_text() -> None:
    assert confine.load("import os\ndef twice(number):\n    return 2 * number\n").twice(4) == 8


def test_program_needs_nothing_but_the_standard_library() -> None:
    command = [sys.executable, "-I", "-S", "-B", "-c", f"{inspect.getsource(confine)}\nprint(REFUSED)", "{}"]
    done = subprocess.run(
        [*command[:5], command[5].replace('__name__ == "__main__"', "False"), "{}"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, f"{confine.REFUSED}\n"), done.stderr
