"""Extended attributes that only root may set: collected from the headers of an archive, and set after a confined tar has unpacked it."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import tempfile
from typing import Any

from ..system.errors import name_os_errors
from ..system.units import and_more
from ..system.visible import printable

_PREFIX = "SCHILY.xattr."
_NAMESPACES = (f"{_PREFIX}trusted.", f"{_PREFIX}security.")
_CAPABILITY = "security.capability"
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Attributes:
    """The privileged extended attributes of one archive, in a temporary file: where files have labels there is one for each member."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile("w+")
        self._refused: dict[tuple[str, str], tuple[str, int]] = {}
        """{(attribute, error): (first path, number of paths)}"""

    def __enter__(self) -> Attributes:
        return self

    def __exit__(self, *_: object) -> None:
        with name_os_errors(tempfile.gettempdir()):
            self._file.close()

    def add(self, member: Any) -> None:
        """Collect the attributes of a member, a TarInfo."""
        for key, value in member.pax_headers.items():
            if key.startswith(_NAMESPACES):
                name = key[len(_PREFIX) :].replace("%3D", "=").replace("%25", "%")
                content = base64.b64encode(value.encode("utf-8", "surrogateescape")).decode()
                with name_os_errors(tempfile.gettempdir()):
                    self._file.write(json.dumps([member.name, name, content]) + "\n")

    def apply(self, folder: str, *, special_modes: bool) -> None:
        """Set the attributes below a folder; capabilities only with `special_modes`. Raise OSError.

        Like tar, continue after an attribute that is refused, such as a label of another policy: see `refused`.
        """
        with name_os_errors(tempfile.gettempdir()):
            self._file.seek(0)
        for line in self._file:
            path, name, content = json.loads(line)
            if name == _CAPABILITY and not special_modes:
                continue
            with contextlib.ExitStack() as stack, contextlib.suppress(FileNotFoundError, NotADirectoryError):
                above = os.open(folder, _FOLDER)
                stack.callback(os.close, above)
                *parents, last = [part for part in path.split("/") if part not in ("", ".")]
                for part in parents:
                    above = os.open(part, _FOLDER, dir_fd=above)
                    stack.callback(os.close, above)
                try:
                    os.setxattr(f"/proc/self/fd/{above}/{last}", name, base64.b64decode(content), follow_symlinks=False)
                except FileNotFoundError:
                    raise
                except OSError as error:
                    key = (name, error.strerror or str(error))
                    first, count = self._refused.get(key, (path, 0))
                    self._refused[key] = (first, count + 1)

    def refused(self) -> list[str]:
        """Return a note on each attribute and error of those that could not be set."""
        return [
            f"{printable(name)} of {printable(path)}{and_more(count, 1)} could not be set: {why}"
            for (name, why), (path, count) in self._refused.items()
        ]
