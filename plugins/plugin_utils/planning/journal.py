"""The controller's journal of marks: accepted suspects, holds, releases and retired items, for nodes that were absent then or have lost them.

One file for each inventory, as sources of two inventories may have the same name, in the private folder of the user who runs.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shlex
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from ...module_utils.system.digest import open_plain
from ...module_utils.system.errors import AltbackupError, InvalidInput, Locked
from ...module_utils.system.own_state import has_state, opened_state, state_folder
from ...module_utils.tree.marks import added, parse_given
from ...module_utils.tree.publish import write_text

FOLDER = "marks"
_LONGEST = 64 << 20
"""Most bytes of a file"""
_WAIT = 10.0
"""Seconds to wait for the lock"""


def journal_name(inventory: str) -> str:
    """Return the file name of an inventory's journal; "" is an inventory without a file."""
    place = os.path.realpath(inventory) if inventory else ""
    return f"{hashlib.sha256(os.fsencode(place)).hexdigest()[:32]}.json"


def known_marks(inventories: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return {source: marks, as modules take them} of the sources that have any; `inventories` is {source: inventory file}.

    Raise AltbackupError if a journal cannot be read or is damaged.
    """
    if not _is_there():
        return {}
    found = {}
    with opened_state(FOLDER) as (_, folder):
        journals = {file: _read(os.path.join(folder, journal_name(file))) for file in {*inventories.values()}}
        for source, file in inventories.items():
            if source in journals[file]:
                found[source] = journals[file][source]
    return found


def note_marks(inventories: Mapping[str, str], given: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Add marks ({source: marks}) to the journals of the sources' inventories ({source: inventory file}); return the journals' paths.

    Raise AltbackupError or OSError: then a journal is unchanged.
    """
    paths = []
    with opened_state(FOLDER) as (_, folder), locked(folder):
        for file in sorted({inventories.get(source, "") for source in given}):
            path = os.path.join(folder, journal_name(file))
            known = _read(path)
            new = dict(known)
            for source, marks in given.items():
                if inventories.get(source, "") == file:
                    new[source] = asdict(added(parse_given(known.get(source)), parse_given(marks)))
            if new != known:
                text = json.dumps(
                    {"inventory": os.path.realpath(file) if file else "", "sources": new}, indent=1, sort_keys=True
                )
                write_text(path, text + "\n")
            paths.append(path)
    return paths


def _is_there() -> bool:
    """Return whether this user has a journal; without a home there is none."""
    try:
        state_folder()
    except AltbackupError:
        return False
    return has_state(FOLDER)


def _read(path: str) -> dict[str, dict[str, Any]]:
    """Return {source: marks} of a journal, {} if there is no file. Raise AltbackupError."""
    try:
        with open_plain(path) as stream:
            text = stream.read(_LONGEST + 1)
        if len(text) > _LONGEST:
            raise InvalidInput(f"it has more than {_LONGEST} bytes")
        sources = json.loads(text)["sources"]
        return {str(source): asdict(parse_given(marks)) for source, marks in sources.items()}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise AltbackupError(_error_text(path, f"cannot be read ({error.strerror})")) from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, InvalidInput) as error:
        raise AltbackupError(_error_text(path, "is damaged")) from error


def _error_text(path: str, what: str) -> str:
    return (
        f"{path}, this controller's journal of what was accepted, held and released, {what}: nodes that have it go on by that, but one that was "
        f"absent does not get it. Mend the file, or move it away, and mark again what is missing: mv {shlex.quote(path)} "
        f"{shlex.quote(f'{path}.damaged')}"
    )


@contextlib.contextmanager
def locked(folder: str) -> Iterator[None]:
    """Hold the lock of a state folder while the block lasts. Raise Locked or OSError."""
    path = os.path.join(folder, ".lock")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    end = time.monotonic() + _WAIT
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= end:
                    raise Locked(f"{path} has been in use by another process for {_WAIT:g} s: run again") from None
            time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)
