"""Encrypted tarballs of a restore: whether an identity decrypts them, and whether the source signed them, before they are transferred or unpacked.

age does not authenticate: whoever knows the recipients can encrypt a file to them. Authentic is what the source signed: the item, its stamp
and the digest of the tarball.
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

_MOST_CHARACTERS = 1 << 16
"""Most characters of statement and signature in a record"""


class Unsigned(AltbackupError):
    """An encrypted tarball without a valid signature of its source, or with one of another tarball."""


def encrypted_of(order: Order) -> list[Archive]:
    """Return the encrypted tarballs of an order."""
    return [archive for archive in order.archives if is_encrypted(archive.filename)]


def unsealed(order: Order, deadline: Deadline) -> tuple[Order, list[str]]:
    """Return the order with the record of its dump, decrypted if the tarball is encrypted, and notes.

    Raise Unsigned if the source did not sign it, NoKey, which names the recipients, if no identity decrypts it, ToolMissing or OSError.
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
    """Verify that the source signed encrypted tarballs of an order; return a note if its public key is not known. Raise Unsigned or ToolMissing."""
    if not order.signing_key:
        source = order.origin.get("source")
        made = f"nothing tells that {source} made {archives[-1].relpath}: whoever knows the recipients could have"
        return [f"{made}. Its public key of signatures, of the recovery sheet, belongs into altbackup_signing_key"]
    full = order.archives[0].dna.dig if len(order.archives) > 1 else ""
    for archive in archives:
        statement = verified_statement(archive.record, order.signing_key, deadline, archive.relpath)
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
            if statement.get(what, "") != text:
                raise Unsigned(
                    f"{archive.relpath} is not what its source signed: {what} is {one_line(text) or 'none'}, "
                    f"and was {one_line(statement.get(what, '')) or 'none'}. "
                    "It was replaced by another one: take it from another node (from), or another stamp (at), and find out who can write on this one"
                )
        if order.sources and statement.get("source") not in order.sources:
            raise Unsigned(
                f"{archive.relpath} was signed as one of {one_line(statement.get('source', ''))}, not of {', '.join(order.sources)}"
            )
    return []


def verified_statement(record: Mapping[str, Any], signing_key: str, deadline: Deadline, relpath: str) -> dict[str, str]:
    """Return {word: text} that the source signed of a tarball, whose record is given. Raise Unsigned or ToolMissing."""
    signed, signature = (record.get(name) for name in (SIGNED, SIGNATURE))
    advice = "take it from another node (from), or another stamp (at)"
    if (
        not isinstance(signed, str)
        or not isinstance(signature, str)
        or not signed
        or len(signed) + len(signature) > _MOST_CHARACTERS
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
