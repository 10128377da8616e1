"""What a store is like, as the node that fills it finds it: facts, none of which is judged here. Nothing is changed."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Mapping
from typing import Any

from ..system.errors import AltbackupError, InvalidInput, NotMounted
from ..system.processes import Deadline
from ..tree.failures import explain
from . import s3
from .presence import IDENTITY, require_there
from .remote import Missing, Remote
from .settings import Secrets, Store, bucket_of, parse_store, read_secrets

_PATIENCE = 1.0
"""How many of its own silences it may take to see a store"""


def examine_store(value: Mapping[str, Any], deadline: Deadline) -> dict[str, Any]:
    """Return, of a store as modules take it, `name`, `place`, `is_disk`, `there`, `away` (why a disk is not there), `problem`, `id` and `other` (the name of
    the store that it says to be), `loose` (files of secrets that are not their user's alone), and of a bucket whether it `versioned` and `lockable` is."""
    found: dict[str, Any] = {
        **dict.fromkeys(("name", "place"), ""),
        "is_disk": False,
        "there": False,
        **dict.fromkeys(("away", "problem", "id", "other"), ""),
        "loose": [],
    }
    try:
        store = parse_store(value)
        found.update(name=store.name, place=store.remote, is_disk=store.is_disk)
        found["loose"] = [path for path in (store.config, store.environment) if path and _is_loose(path)]
        secrets = read_secrets(store)
        limit = Deadline(deadline.at_most(_PATIENCE * (store.connect_timeout + store.io_timeout)), "looking at a store")
        _look(store, secrets, limit, found)
    except NotMounted as error:
        found["away"] = explain(error)
    except (AltbackupError, OSError) as error:
        found["problem"] = explain(error)
    return found


def _is_loose(path: str) -> bool:
    """Return whether others than its user can read or change a file."""
    with contextlib.suppress(OSError):
        status = os.stat(path)
        return stat.S_IMODE(status.st_mode) & 0o077 != 0 or status.st_uid not in (0, os.geteuid())
    return False


def _look(store: Store, secrets: Secrets, deadline: Deadline, found: dict[str, Any]) -> None:
    """See whether a store answers, which it is, and what its bucket can do. Raise AltbackupError or OSError."""
    remote = Remote(store, secrets, deadline)
    require_there(remote)
    bucket = bucket_of(store, secrets)
    if bucket is not None:
        found["versioned"] = s3.is_versioned(bucket[0], deadline)
        found["lockable"] = s3.can_lock(bucket[0], deadline)
    elif store.lock_days:
        raise InvalidInput(
            f"altbackup_store_lock_days locks objects of S3, but {store.remote.partition(':')[0]} is no remote of type s3 with a bucket in its path and its "
            "keys in its configuration or environment"
        )
    try:
        told = json.loads(remote.content(IDENTITY))
        found["id"], found["other"] = str(told["id"])[:32], str(told["store"])[:160]
    except Missing:
        remote.is_empty()  # which asks, where a file that is not there tells nothing
    except (ValueError, KeyError, TypeError, RecursionError):
        found["problem"] = f"{remote.at(IDENTITY)} tells which store it is, but is damaged"
    found["there"] = True
