"""Identities, which open what is encrypted: to whom they are handed, and how."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleError

from ...module_utils.system.age import MOST_IDENTITIES, SUFFIX, is_encrypted
from ...module_utils.system.digest import open_plain

_ADVICE = (
    "the identity that opens it is not handed over, as Ansible would write it to a file there: turn pipelining on (ANSIBLE_PIPELINING=true, or "
    "pipelining = True below [connection] of ansible.cfg), and ANSIBLE_KEEP_REMOTE_FILES off"
)
OPTION = "identity"


class KeyRefused(AnsibleError):  # type: ignore[misc]
    """An identity that is not handed over: a failure of what was to be decrypted, not of its host."""


def handed_identity(plan: Mapping[str, Any], host: str, relpaths: Iterable[str], source: str = "") -> dict[str, str]:
    """Return the options of a call on a host that needs a key for the tarballs that it unpacks; `source` is whose tarballs these are.

    A file of the controller is handed over, another one read on the host. A target gets none, unless what it unpacks is its own.
    Raise KeyRefused.
    """
    path = str(plan.get("identity_file") or "")
    if not path or not any(map(is_encrypted, relpaths)):
        return {}
    if host in plan["targets"] and host != source:
        raise KeyRefused(
            f"{host} is a target, on which nothing is decrypted: what opens the copies is not to come where they lie. Restore to another host (to_host)"
        )
    if not os.path.lexists(path):
        return {"identity_file": path}
    try:
        with open_plain(os.path.realpath(path)) as stream:
            return {OPTION: stream.read(MOST_IDENTITIES + 1).decode("utf-8", "surrogateescape")}
    except OSError as error:
        raise KeyRefused(
            f"altbackup_identity_file {path} cannot be read on the controller: {error.strerror}"
        ) from error


def drilling_identity(plan: Mapping[str, Any], host: str, source: str) -> dict[str, str]:
    """Return the options by which a host that drills tarballs of a source opens what is encrypted: none for a target. Raise KeyRefused."""
    if host in plan["targets"] and host != source:
        return {}
    return handed_identity(plan, host, [SUFFIX], source)


def require_no_file(options: Mapping[str, Any], pipelined: bool) -> None:
    """Raise KeyRefused where the options of a call have an identity and would reach the node in a file, which `pipelined` ones do not."""
    if options.get(OPTION) and not pipelined:
        raise KeyRefused(_ADVICE)
