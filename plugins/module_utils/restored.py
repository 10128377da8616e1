"""The marker of a restored copy, a file beside it: until somebody adopts the copy, no dump takes it for live data."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from typing import Any

from .digest import open_plain
from .errors import AltbackupError
from .publish import flush_folder, remove_if_there

SUFFIX = ".altbackup-restored"
KEYS = ("source", "item", "stamp", "dig", "node", "host", "when", "by")
_LONGEST = 65536


def marker_path(path: str) -> str:
    """Return where the marker of a copy is: beside it, since in it it would be a change."""
    return path.rstrip("/") + SUFFIX


def serialize_marker(origin: Mapping[str, Any]) -> str:
    """Given what is known of a restore, return the marker's text: one line of JSON with exactly these KEYS."""
    return json.dumps({key: str(origin.get(key, "")) for key in KEYS}, sort_keys=True) + "\n"


def read_marker(path: str) -> dict[str, str] | None:
    """Given the path of a copy, return what its marker says, None without one; what cannot be read of it is empty."""
    try:
        with open_plain(marker_path(path)) as stream:
            values = json.loads(stream.read(_LONGEST))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        values = {}
    known = values if isinstance(values, dict) else {}
    return {key: str(known.get(key, "")) for key in KEYS}


def require_adopted(path: str, key: str) -> None:
    """Given an item's path and its key, raise AltbackupError if it is a restored copy that nobody adopted."""
    marker = read_marker(path)
    if marker is None:
        return
    adopt = json.dumps({"altbackup_adopt": [f"{marker['host'] or 'SOURCE'}/{key}"]})
    raise AltbackupError(
        f"{path} is a copy that was restored at {marker['when'] or 'an unknown time'} by {marker['by'] or 'somebody'}: "
        f"{marker['item'] or 'an unknown item'} of {marker['source'] or 'an unknown source'}, {marker['stamp'] or 'of an unknown stamp'}, "
        f"taken from {marker['node'] or 'an unknown node'}. It is not backed up until it is adopted as the live one: "
        f"ansible-playbook -i INVENTORY playbooks/restore.yml -e '{adopt}'"
    )


def adopt(path: str, *, check_mode: bool = False) -> bool:
    """Given the path of a copy, remove its marker; return whether there was one. Raise OSError."""
    marker = marker_path(path)
    if not os.path.lexists(marker):
        return False
    if not check_mode:
        remove_if_there(marker)
        with contextlib.suppress(FileNotFoundError):
            flush_folder(os.path.dirname(marker))
    return True
