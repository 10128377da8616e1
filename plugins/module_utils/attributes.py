"""Extended attributes that only root may set: taken from an archive's headers, and set when a confined tar has unpacked the rest."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import tempfile
from typing import Any

_PREFIX = "SCHILY.xattr."
_NAMESPACES = (f"{_PREFIX}trusted.", f"{_PREFIX}security.")
_CAPABILITY = "security.capability"
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Attributes:
    """Those of one archive, in a temporary file: where files have labels they are as many as these."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile("w+")

    def __enter__(self) -> Attributes:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, member: Any) -> None:
        """Take those of a member."""
        for key, value in member.pax_headers.items():
            if key.startswith(_NAMESPACES):
                name = key[len(_PREFIX) :].replace("%3D", "=").replace("%25", "%")
                content = base64.b64encode(value.encode("utf-8", "surrogateescape")).decode()
                self._file.write(json.dumps([member.name, name, content]) + "\n")

    def give(self, folder: str, *, special_modes: bool) -> None:
        """Set them below a folder, where the file system and the kernel have such; capabilities only for `special_modes`. Raise OSError."""
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
                _set(f"/proc/self/fd/{above}/{last}", name, base64.b64decode(content))


def _set(path: str, name: str, value: bytes) -> None:
    """Set an attribute; as tar does, go on where that is refused, like a label of another policy."""
    try:
        os.setxattr(path, name, value, follow_symlinks=False)
    except FileNotFoundError:
        raise
    except OSError:
        return
