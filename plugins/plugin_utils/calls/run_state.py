"""The state of a run for each host, in a file a host in Ansible's temporary folder of the run, which Ansible removes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

from ansible import constants

_ENDING = ".altbackup-state"


def load(host: str) -> dict[str, Any]:
    """Return the state of a host, {} before its first call."""
    try:
        with open(_path(host), encoding="utf-8") as stream:
            state: dict[str, Any] = json.load(stream)
    except FileNotFoundError:
        return {}
    return state


def save(host: str, state: Mapping[str, Any]) -> None:
    """Store the state of a host. Calls for one host do not overlap, so no update is lost."""
    path = _path(host)
    with open(f"{path}.new", "w", encoding="utf-8") as stream:
        json.dump(state, stream)
    os.replace(f"{path}.new", path)


def _path(host: str) -> str:
    name = hashlib.sha256(
        host.encode("utf-8", "surrogateescape")
    ).hexdigest()  # a host may have any name, of any length
    return os.path.join(constants.DEFAULT_LOCAL_TMP, f"{name}{_ENDING}")
