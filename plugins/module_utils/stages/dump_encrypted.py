"""Dumps encrypted to recipients: requirements, tarballs of equal content, and records that reveal nothing to targets."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..archive.write import ArchiveFormat
from ..kinds.items import Item
from ..system.age import is_encrypted
from ..system.errors import AltbackupError, InvalidInput
from ..system.processes import Deadline
from ..system.programs import find_tool
from ..system.visible import command_of
from ..tree.contents import CONTENT, dna_in
from ..tree.encryption import (
    FIRST,
    PLAIN,
    TO,
    keep_refused,
    keyed_content,
    known_public_key,
    public_key_of,
    refused_at,
    same_recipients,
    sealed,
    secret_of,
)
from ..tree.layout import Tarball, Tree
from ..tree.owner import source_of
from ..tree.publish import read_record
from ..tree.sidecar import Dna
from .dump_state import ItemDump


def format_of(item: Item, form: ArchiveFormat) -> ArchiveFormat:
    """Return the archive format of an item, from that of its source and its own recipients."""
    return form if item.encrypt_to is None else replace(form, recipients=tuple(item.encrypt_to))


def prepare_encryption(tree: Tree, signing_key: str, deadline: Deadline, *, check_mode: bool) -> tuple[bytes, str]:
    """Make sure that a source can encrypt and sign; return its secret and the public key of its signatures, both empty in check mode.

    `signing_key` is the configured public key, empty if there is none. Keys that are missing are made, unless in check mode. Raise AltbackupError or OSError.
    """
    for tool in ("age", "ssh-keygen"):
        find_tool(tool)
    public = " ".join(known_public_key(tree).split()[:2]) if check_mode else public_key_of(tree, deadline)
    if signing_key and signing_key.split()[:2] != public.split():
        raise AltbackupError(
            f"this source signs with {public or 'a key that its next dump makes'}, but altbackup_signing_key is {signing_key}: nobody could tell its "
            "copies from forged ones. If its state was lost or its base is new, enter the new key there, and on the recovery sheet; "
            "else find out who changed it"
        )
    return (b"", "") if check_mode else (secret_of(tree), public)


def require_still_encrypted(dump: ItemDump, before: Sequence[Tarball], *, check_mode: bool = False) -> None:
    """Raise InvalidInput if an item was encrypted, is not to be any more, and nobody accepted that.

    `before` are its verified tarballs, the newest last. The stamp of the first refusal is stored, unless in check mode: an acceptance that is older than that
    refusal was meant for a suspect.
    """
    if dump.form.recipients or not before or not is_encrypted(before[-1].filename):
        return
    newest, item, tree = before[-1], dump.item, dump.context.tree
    first_refusal = refused_at(tree, item.key)
    is_current = first_refusal > newest.stamp
    if not is_current or not dump.marks.accepts(item.key, first_refusal):
        if not is_current and not check_mode:
            with contextlib.suppress(OSError):  # then the next dump refuses it as the first one did
                keep_refused(tree, item.key, dump.context.stamp)
        source = source_of(tree) or "SOURCE"
        raise InvalidInput(
            f"item {item.kind} {item.name!r}: it was encrypted until {newest.stamp}, and no recipient is named any more (altbackup_encrypt_to): it was "
            f"not dumped, as every target could read it. Name them again, or accept it: {command_of('accept', f'{source}/{item.key}')}"
        )


def equal_to(dump: ItemDump, before: Sequence[Tarball], dna: Dna, plain: str) -> list[Tarball]:
    """Return those of the item's verified tarballs (the newest last) that have the same bytes as what was made now.

    For encrypted ones these are those with the same keyed digest `plain` and the same recipients, reduced to one ciphertext.
    """
    if not dump.form.recipients:
        return [tarball for tarball in before if tarball.dna and tarball.dna.same_content(dna)]
    found = []
    for tarball in before:
        record = read_record(dump.context.tree, tarball.key, tarball.stamp)
        known = tarball.dna
        if (
            known is not None
            and is_encrypted(tarball.filename)
            and record.get(PLAIN) == plain
            and dna_in(record) == (known.alg, known.size, known.dig)
            and (known.base is None) == (dna.base is None)
            and same_recipients(record, dump.form.recipients)
        ):
            found.append(tarball)
    last = found[-1].dna if found else None
    return [tarball for tarball in found if tarball.dna and last and tarball.dna.same_content(last)]


def comparable(dump: ItemDump, before: Sequence[Tarball]) -> list[Tarball]:
    """Return the tarballs whose content digests can be compared with that of the new one: keyed digests of encrypted ones only with such."""
    return [tarball for tarball in before if is_encrypted(tarball.filename) == bool(dump.form.recipients)]


def with_keyed(dump: ItemDump, record: Mapping[str, Any], plain: str) -> dict[str, Any]:
    """Return the record of an encrypted tarball with keyed digests instead of plain ones; any other record is returned as it is."""
    if not dump.form.recipients:
        return dict(record)
    content = keyed_content(dump.secret, str(record.get(CONTENT) or plain))
    return {**record, PLAIN: plain, TO: list(dump.form.recipients), CONTENT: content}


def with_seal(dump: ItemDump, record: Mapping[str, Any], content: str, equal: Sequence[Tarball]) -> dict[str, Any]:
    """Return the record of an encrypted tarball sealed and signed; any other record is returned as it is. Raise AltbackupError or OSError.

    `content` is the plain content digest, `equal` the tarballs of equal bytes, the newest last.
    """
    if not dump.form.recipients:
        return dict(record)
    tree, item, stamp = dump.context.tree, dump.item, dump.context.stamp
    first = read_record(tree, item.key, equal[-1].stamp).get(FIRST) if equal else None
    return sealed(
        tree,
        {**record, FIRST: str(first or (equal[-1].stamp if equal else stamp))},
        content,
        source=source_of(tree) or os.path.basename(tree.base),
        key=item.key,
        stamp=stamp,
        deadline=dump.context.deadline,
    )
