"""The controller's own item: its inventory and this collection, handed to a source as one text and dumped there like a folder."""

from __future__ import annotations

import base64
import json
import os
import zlib
from collections.abc import Mapping
from typing import Any

from ..system.errors import InvalidInput, name_os_errors
from ..system.twins import point, set_mode
from ..system.units import readable
from ..tree.layout import Tree
from ..tree.publish import make_folders, remove_folder

CONTROLLER = "altbackup-controller"
CONTROLLER_KEY = f"folders/{CONTROLLER}"
_TIME = 946684800
"""2000-01-01: of all files, so that what did not change is the same; zip files know no year before 1980"""
_MOST = 256 << 20
"""Bytes of text, which has up to six for a byte of a file"""


def controller_item(tree: Tree) -> dict[str, Any]:
    """Given a source's tree, return the item, whose folder is private."""
    return {"kind": "folder", "name": CONTROLLER, "path": tree.private_path("controller")}


def pack_controller(entries: Mapping[str, Mapping[str, Any]], problem: str = "") -> str:
    """Given {relative path: {mode, content (bytes)} or {link}}, or why there is none, return one text, the same for the same entries."""
    plain = {
        path: {"link": entry["link"]}
        if "link" in entry
        else {"mode": entry["mode"], "content": str(entry["content"], "latin-1")}
        for path, entry in sorted(entries.items())
    }
    text = json.dumps({"entries": plain, "problem": problem}, sort_keys=True)
    return base64.b64encode(zlib.compress(text.encode("ascii"))).decode("ascii")


def unpack_controller(tree: Tree, packed: str) -> None:
    """Given what the controller packed, replace the item's folder by it. Raise InvalidInput or OSError.

    Only its user can read it.
    """
    try:
        unpacker = zlib.decompressobj()
        text = unpacker.decompress(base64.b64decode(packed), _MOST)
        if not unpacker.eof:
            raise ValueError(f"it is cut, or has more than {readable(_MOST)}")
        handed = json.loads(text)
    except (ValueError, zlib.error) as error:
        raise InvalidInput(f"what the controller handed over cannot be read: {error}") from error
    if handed["problem"]:
        raise InvalidInput(handed["problem"])
    folder = tree.private_path("controller")
    fresh = f"{folder}.new"
    remove_folder(fresh)
    make_folders(fresh, tree.private)
    for path, entry in handed["entries"].items():
        _write(fresh, path, entry)
    for parent, folders, files in os.walk(fresh, topdown=False):
        for name in [*folders, *files, "."]:
            os.utime(os.path.join(parent, name), (_TIME, _TIME), follow_symlinks=False)
    remove_folder(folder)
    os.rename(fresh, folder)


def _write(folder: str, path: str, entry: Mapping[str, Any]) -> None:
    parts = path.split("/")
    if not {"", ".", ".."}.isdisjoint(parts):
        raise InvalidInput(f"the controller handed over {path!r}, which is no path below its item")
    full = os.path.join(folder, *parts)
    make_folders(os.path.dirname(full), folder)
    if "link" in entry:
        point(entry["link"], full)
        return
    descriptor = os.open(full, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with name_os_errors(full), os.fdopen(descriptor, "wb") as stream:
        stream.write(bytes(entry["content"], "latin-1"))
    set_mode(full, 0o700 if entry["mode"] & 0o100 else 0o600)
