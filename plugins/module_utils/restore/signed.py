"""Encrypted tarballs of a restore: that their keys are at hand, and that the source itself made them, before anything travels or is unpacked.

age authenticates nobody: whoever knows the recipients can make a file that opens. What tells is the source's signature over whose tarball it is, its
stamp and its digest.
"""

from __future__ import annotations

import base64
import binascii
import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..system.age import NoKey, is_encrypted
from ..system.errors import AltbackupError, ToolFailed
from ..system.processes import Deadline, run
from ..system.programs import find_tool
from ..system.recipients import shown
from ..system.visible import one_line
from ..tree.encryption import NAMESPACE, SIGNATURE, SIGNED, VERSION, opened, recipients_of
from ..tree.layout import split_relpath
from .order import Archive, Order

_LONGEST = 1 << 16
"""Most characters of what a record says of a signature"""


class Unsigned(AltbackupError):
    """An encrypted tarball that its source did not make, or not as what it is given out for."""


def encrypted_of(order: Order) -> list[Archive]:
    """Return the tarballs of an order that are encrypted."""
    return [archive for archive in order.archives if is_encrypted(archive.filename)]


def unlocked(order: Order, deadline: Deadline) -> tuple[Order, list[str]]:
    """Given an order, return it with what its dump recorded, of an encrypted tarball out of the sealed part of its record, and notes.

    Raise Unsigned for one that its source did not sign, NoKey, which names the recipients, where no identity opens it, ToolMissing or OSError.
    """
    archives = encrypted_of(order)
    if not archives:
        return order, []
    notes = require_signed(order, archives, deadline)
    to = shown(recipients_of(order.record))
    whom = (
        f"to {to}: give the identity of one of them" if to else "and its record does not say to whom: give the identity"
    )
    if not order.identities:
        raise NoKey(
            f"{archives[-1].relpath} is encrypted {whom}, as altbackup_identity_file, on the controller or on this host"
        )
    find_tool("age")
    try:
        return replace(order, record=opened(order.record, order.identities, deadline)), notes
    except NoKey as error:
        raise NoKey(
            f"{archives[-1].relpath} is encrypted {whom}, as altbackup_identity_file; the one that was given does not open it ({error})"
        ) from error


def require_signed(order: Order, archives: list[Archive], deadline: Deadline) -> list[str]:
    """Given encrypted tarballs of an order, return a note if no key is known by which to tell who made them. Raise Unsigned or ToolMissing."""
    if not order.signing_key:
        source = order.origin.get("source")
        made = f"nothing tells that {source} made {archives[-1].relpath}: whoever knows the recipients could have"
        return [f"{made}. Its public key of signatures, of the recovery sheet, belongs into altbackup_signing_key"]
    full = order.archives[0].dna.dig if len(order.archives) > 1 else ""
    for archive in archives:
        said = verified_statement(archive.record, order.signing_key, deadline, archive.relpath)
        category, name, stamp, _ = split_relpath(archive.relpath)
        is_differential = archive is order.archives[-1] and bool(full)
        wanted = {
            "item": f"{category}/{name}",
            "stamp": stamp,
            "alg": archive.dna.alg,
            "dig": archive.dna.dig,
            "size": str(archive.dna.size),
            "base_dig": full if is_differential else "",
        }
        for what, text in wanted.items():
            if said.get(what, "") != text:
                raise Unsigned(
                    f"{archive.relpath} is not what its source signed: {what} is {one_line(text) or 'none'}, and was {one_line(said.get(what, '')) or 'none'}. "
                    "Somebody exchanged it: take it from another node (from), or another stamp (at), and look at who has this node in his hands"
                )
        if order.sources and said.get("source") not in order.sources:
            raise Unsigned(
                f"{archive.relpath} was signed as one of {one_line(said.get('source', ''))}, not of {', '.join(order.sources)}"
            )
    return []


def verified_statement(record: Mapping[str, Any], signing_key: str, deadline: Deadline, relpath: str) -> dict[str, str]:
    """Given the record of a tarball and the source's public key, return what the source signed, {word: text}. Raise Unsigned or ToolMissing."""
    signed, signature = (record.get(name) for name in (SIGNED, SIGNATURE))
    advice = "take it from another node (from), or another stamp (at)"
    if (
        not isinstance(signed, str)
        or not isinstance(signature, str)
        or not signed
        or len(signed) + len(signature) > _LONGEST
    ):
        raise Unsigned(f"{relpath} has no signature of its source, though altbackup_signing_key is known: {advice}")
    try:
        text, armored = (base64.b64decode(value, validate=True) for value in (signed, signature))
        with tempfile.TemporaryDirectory(prefix="altbackup-signed-") as folder:
            for name, content in (("allowed", f"{NAMESPACE} {signing_key}\n".encode()), ("signature", armored)):
                with open(os.path.join(folder, name), "xb") as stream:
                    stream.write(content)
            argv = [find_tool("ssh-keygen"), "-q", "-Y", "verify", "-n", NAMESPACE, "-I", NAMESPACE]
            argv += ["-f", os.path.join(folder, "allowed"), "-s", os.path.join(folder, "signature")]
            run(argv, what=f"verifying the signature of {relpath}", deadline=deadline, input=text)
        lines = text.decode("utf-8").splitlines()
    except (binascii.Error, ValueError, ToolFailed) as error:
        raise Unsigned(
            f"{relpath}: its signature is not that of altbackup_signing_key, so somebody else made it: {advice} ({error})"
        ) from error
    if not lines or lines[0] != VERSION:
        raise Unsigned(f"{relpath}: what was signed is no statement of this kind: {advice}")
    return {word: rest for word, _, rest in (line.partition(" ") for line in lines[1:])}
