"""Files of recipients, read on the controller before the plan is made, and whether what is encrypted can be opened by more than one key."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from ...module_utils.system.digest import open_plain
from ...module_utils.system.recipients import lines_of
from .inventory_errors import Errors
from .plan_items import sort_items

ENCRYPT_TO = "altbackup_encrypt_to"
_OF_ITEMS = "encrypt_to"
_MEMBERS = "members"
_LARGEST = 1 << 20


def read_file(path: str) -> str:
    """Return the text of a file of the controller, of at most a MiB. Raise OSError or ValueError."""
    with open_plain(os.path.realpath(os.path.expanduser(path))) as stream:
        content = stream.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise ValueError("it is too long")
    return content.decode("utf-8")


def with_recipients(variables: Mapping[str, Any], read: Callable[[str], str] = read_file) -> dict[str, Any]:
    """Given the variables of a host, return them with the recipients in place of the files that name them, of the source and of its items.

    One that cannot be read, or has none, stays, and is an error of the plan: nothing of it is ever taken for no recipient at all.
    """
    result = dict(variables)
    if ENCRYPT_TO in result:
        result[ENCRYPT_TO] = _read_all(result[ENCRYPT_TO], read)
    if "altbackup_items" in result:
        result["altbackup_items"] = _of_items(result["altbackup_items"], read)
    return result


def _of_items(items: Any, read: Callable[[str], str]) -> Any:
    """Return items as written, and the members of sets among them, with the recipients in place of the files that name them."""
    if not isinstance(items, (list, tuple)):
        return items
    found = []
    for item in items:
        if isinstance(item, Mapping):
            own = {_OF_ITEMS: _read_all(item[_OF_ITEMS], read)} if _OF_ITEMS in item else {}
            members = {_MEMBERS: _of_items(item[_MEMBERS], read)} if _MEMBERS in item else {}
            found.append({**item, **own, **members})
        else:
            found.append(item)
    return found


def _read_all(value: Any, read: Callable[[str], str]) -> Any:
    if isinstance(value, str) and value.startswith(("/", "~")):
        value = [value]
    if not isinstance(value, (list, tuple)):
        return value
    found: list[Any] = []
    for entry in value:
        found += _read(entry, read) or [entry]
    return found


def _read(entry: Any, read: Callable[[str], str]) -> list[str]:
    if not isinstance(entry, str) or not entry.strip().startswith(("/", "~")):
        return []
    try:
        return lines_of(read(entry.strip()))
    except (OSError, ValueError):
        return []


def check_recipients(host: str, values: Mapping[str, Any], errors: Errors) -> None:
    """Add an error for each thing that a single key opens, unless somebody said that this is meant: who loses it has no copy."""
    if values["altbackup_single_recipient"]:
        return
    several = {"": values[ENCRYPT_TO] or ()}
    several.update({item.key: item.encrypt_to or () for item in sort_items(values["altbackup_items"] or ())[0]})
    for key, recipients in several.items():
        if len(recipients) == 1:
            of = f"of {key}, encrypt_to, " if key else ""
            text = (
                f"{of}names one recipient: who loses that key has no copy any more. Name a second one, whose key is kept elsewhere, or set "
                "altbackup_single_recipient: true"
            )
            errors.add(host, ENCRYPT_TO if not key else "altbackup_items", text)
