"""Reads inventories through ansible-inventory, and keeps the items that lists found, for names and their completion."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...module_utils.system.errors import InvalidInput
from ..report.private_files import write_private
from .items import Site, read_site
from .job import Job, ansible_settings, child_environment, find_ansible
from .run_store import private_folder

_SECONDS = 120
_KEPT = "items.json"
_MOST_KEPT = 20
"""Most inventories whose items are kept"""
_VAULT = ("--vault-password-file", "--vault-pass-file", "--vault-id")


def load_site(job: Job, passed: Sequence[str], environment: Mapping[str, str]) -> Site:
    """Return what a job's inventories say; `passed` are options for ansible-playbook. Raise InvalidInput, also without sources."""
    site = read_site(read_inventory(job, passed, environment))
    if not site.sources:
        raise InvalidInput(f"the inventory {', '.join(job.inventory)} has no group sources with hosts in it")
    return site


def read_inventory(job: Job, passed: Sequence[str], environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the output of `ansible-inventory --list` for a job; `passed` are options for ansible-playbook. Raise InvalidInput."""
    path = find_ansible(environment)
    added = child_environment(ansible_settings(environment), environment, colour=False)
    command = ["ansible-inventory", "--list", *_vault_options(passed)]
    for name in job.inventory:
        command += ["-i", name]
    try:
        done = subprocess.run(
            command,
            check=False,
            env={**environment, **added, "PATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise InvalidInput(
            f"ansible-inventory took longer than {_SECONDS} s to read {', '.join(job.inventory)}"
        ) from None
    try:
        found = json.loads(done.stdout) if done.returncode == 0 else None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        stderr_text = " ".join(done.stderr.split())[-1000:]
        raise InvalidInput(
            f"the inventory {', '.join(job.inventory)} cannot be read: {stderr_text or 'ansible-inventory said nothing'}"
        )
    return found


def _vault_options(passed: Sequence[str]) -> list[str]:
    """Return the options among those for ansible-playbook with which ansible-inventory opens vaults."""
    found = []
    for number, word in enumerate(passed):
        name, equals, _ = word.partition("=")
        if name in _VAULT:
            found += [word] if equals else list(passed[number : number + 2])
    return found


def kept_items(state: Path, inventory: Sequence[str]) -> list[str] | None:
    """Return the items that the last list of these inventories found, None if there was none; `state` is the state folder."""
    found = _kept(state).get(_name(inventory))
    return [str(item) for item in found] if isinstance(found, list) else None


def all_kept_items(state: Path) -> list[str]:
    """Return the items that lists of any inventory found; `state` is the state folder."""
    return sorted({str(item) for items in _kept(state).values() if isinstance(items, list) for item in items})


def keep_items(state: Path, inventory: Sequence[str], items: Iterable[str]) -> None:
    """Store the items that a list found. Raise OSError."""
    known = _kept(state)
    known.pop(_name(inventory), None)
    known[_name(inventory)] = sorted(set(items))
    path = private_folder(state) / _KEPT
    write_private(f"{path}.new", json.dumps(dict(list(known.items())[-_MOST_KEPT:])).encode())
    os.replace(f"{path}.new", path)


def _name(inventory: Sequence[str]) -> str:
    return json.dumps(list(inventory))


def _kept(state: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError, RecursionError):  # it is known again after the next list
        found = json.loads((state / _KEPT).read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    return {}
