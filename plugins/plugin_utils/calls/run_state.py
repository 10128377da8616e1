"""What a run knows of each host, kept in a file a host in the temporary folder that Ansible makes for the run and removes after it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

from ansible import constants

_ENDING = ".altbackup-state"


def load(host: str) -> dict[str, Any]:
    """Given a host of the play, return what the run knows of it, empty for nothing yet."""
    try:
        with open(_path(host), encoding="utf-8") as stream:
            state: dict[str, Any] = json.load(stream)
    except FileNotFoundError:
        return {}
    return state


def save(host: str, state: Mapping[str, Any]) -> None:
    """Keep what the run knows of a host. Calls for one host do not overlap, so none can lose what another one notes."""
    path = _path(host)
    with open(f"{path}.new", "w", encoding="utf-8") as stream:
        json.dump(state, stream)
    os.replace(f"{path}.new", path)


def _path(host: str) -> str:
    name = hashlib.sha256(
        host.encode("utf-8", "surrogateescape")
    ).hexdigest()  # a host may have any name, of any length
    return os.path.join(constants.DEFAULT_LOCAL_TMP, f"{name}{_ENDING}")
