"""Processes that end as if killed before one of their changes of a file system."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from ansible_collections.altbackup.core.plugins.module_utils.restore import replace

_CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chown", "os.chmod", "renameat2")


def killed_at(point: int, function: Callable[[], Any]) -> bool:
    """Run a function in a child that ends as if killed before its `point`th change of a file system; return whether it did."""
    child = os.fork()
    if child == 0:
        count = 0

        def watch(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal count
            writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
            if writes or event in _CHANGES:
                count += 1
                if count > point:
                    os._exit(9)

        real = replace.renameat2

        def renamed(*arguments: Any) -> None:
            watch("renameat2", ())
            real(*arguments)
            watch("renameat2", ())

        replace.renameat2 = renamed
        sys.addaudithook(watch)
        status = 1
        try:
            function()
            status = 0
        finally:
            os._exit(status)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert ended in (0, 9)
    return ended == 9
