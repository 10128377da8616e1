"""Builds the program with which a target checks on its sources: one file that Python runs, with the needed parts of module_utils."""

from __future__ import annotations

import ast
import functools
import io
import zipfile
from pathlib import Path

_ROOM = Path(__file__).resolve().parents[2] / "module_utils"
_PACKAGE = "altbackup"
_START = "watch/program"
_TIME = (1980, 1, 1, 0, 0, 0)
"""Time of all members, so that the file is the same wherever it is built"""
_MAIN = f"import sys\nfrom {_PACKAGE}.{_START.replace('/', '.')} import main\nsys.exit(main(sys.argv[1:]))\n"


@functools.cache
def build() -> bytes:
    """Return the program: a zip file behind a #! line."""
    content = io.BytesIO(b"#!/usr/bin/env python3\n")
    content.seek(0, io.SEEK_END)
    with zipfile.ZipFile(content, "a", zipfile.ZIP_DEFLATED) as archive:
        parts = {"__main__.py": _MAIN, f"{_PACKAGE}/__init__.py": ""}
        for name in needed():
            parts[f"{_PACKAGE}/{Path(name).parent}/__init__.py"] = ""
            parts[f"{_PACKAGE}/{name}.py"] = (_ROOM / f"{name}.py").read_text(encoding="utf-8")
        for name, text in sorted(parts.items()):
            entry = zipfile.ZipInfo(name, _TIME)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, text, zipfile.ZIP_DEFLATED)
    return content.getvalue()


def needed() -> list[str]:
    """Return the parts of module_utils that the program needs, such as `tree/layout`."""
    found: list[str] = []
    todo = [_START]
    while todo:
        name = todo.pop()
        if name not in found:
            found.append(name)
            todo += _imported(name)
    return sorted(found)


def _imported(name: str) -> list[str]:
    """Return the parts of module_utils that a part imports."""
    here = Path(name).parent.as_posix()
    found = []
    for node in ast.walk(ast.parse((_ROOM / f"{name}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            folder = here if node.level == 1 else ""
            module = "/".join(filter(None, (folder, (node.module or "").replace(".", "/"))))
            if (_ROOM / f"{module}.py").is_file():
                found.append(module)
            else:
                found += [f"{module}/{alias.name}" for alias in node.names]
    return found
