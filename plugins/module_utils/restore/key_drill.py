"""Drill of keys: each recipient's identity must decrypt the newest encrypted tarball of each item to its end; nothing is unpacked.

It runs on the source, where plaintext already is; no target decrypts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

from ..system.age import Identities, decrypting, explained, is_encrypted, recipients_in, split
from ..system.digest import CHUNK, open_plain
from ..system.errors import AltbackupError, InvalidInput, ToolFailed
from ..system.processes import Deadline, ended_at
from ..system.recipients import shown
from ..tree.encryption import recipients_of
from ..tree.layout import Tarball, open_tree
from ..tree.publish import read_record
from ..tree.stamps import Moment
from .drill_choice import choose, failure_of


def drill_keys(
    base: str, names: Sequence[str] | None, *, identities: Identities, moment: Moment, deadline: Deadline
) -> dict[str, Any]:
    """Decrypt the newest tarball of each encrypted item once for each recipient; return `notes` and `failures`.

    A recipient whose identity is missing is a failure. Raise InvalidInput without identities, AltbackupError or OSError.
    """
    if not identities:
        raise InvalidInput(
            "a drill of keys needs the keys: hand over the identities of all recipients in one file, as altbackup_identity_file"
        )
    tree = open_tree(base)
    result: dict[str, Any] = {"changed": False, "proved": [], "left": [], "notes": [], "failures": []}
    keys: dict[str, Identities] = {}
    for one in split(identities):
        keys.update(dict.fromkeys(recipients_in(one, deadline), one))
    encrypted = [one for one in choose(tree, names, 1.0, moment, result) if is_encrypted(one.filename)]
    missing: set[str] = set()
    for tarball in encrypted:
        recipients = recipients_of(read_record(tree, tarball.key, tarball.stamp))
        if not recipients:
            result["failures"].append(
                failure_of(tarball.relpath, "its record does not tell to whom it is encrypted: no key was tried")
            )
        for recipient in recipients:
            if recipient not in keys:
                missing.add(recipient)
                continue
            _try_identity(tree.path(tarball.relpath), tarball, recipient, keys[recipient], deadline, result)
    for recipient in sorted(missing):
        reason = (
            f"the identity of {shown([recipient])} was not among the keys: that it still opens anything is not known"
        )
        result["failures"].append(failure_of(os.path.basename(base), reason))
    if not encrypted:
        result["notes"].append("nothing is encrypted here: no key was tried")
    return result


def _try_identity(
    path: str, tarball: Tarball, recipient: str, identity: Identities, deadline: Deadline, result: dict[str, Any]
) -> None:
    """Decrypt a tarball to its end with one identity, and add a note or a failure to the result."""
    start, size = time.monotonic(), 0
    try:
        with open_plain(path) as source, decrypting(identity, source, tarball.relpath) as age:
            with ended_at(deadline, [age]):
                while block := age.stdout.read(CHUNK):
                    size += len(block)
            try:
                age.check(deadline, f"decrypting {tarball.relpath}")
            except ToolFailed as error:
                raise explained(error, tarball.relpath) from error
    except (AltbackupError, OSError) as error:
        result["failures"].append(
            failure_of(tarball.relpath, f"the key of {shown([recipient])} does not open it: {error}")
        )
        return
    seconds = time.monotonic() - start
    result["notes"].append(
        f"{tarball.relpath}: the key of {shown([recipient])} opens it, {size} bytes in {seconds:.1f} s"
    )
