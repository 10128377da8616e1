"""Dumping to recipients: what a source needs for it, which tarballs hold the same, and what is recorded so that a target learns nothing."""

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
from ..system.visible import extra_vars
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
from .dump_state import Dump


def form_of(item: Item, form: ArchiveFormat) -> ArchiveFormat:
    """Given an item and how its source writes archives, return how this one is written."""
    return form if item.encrypt_to is None else replace(form, recipients=tuple(item.encrypt_to))


def prepare(tree: Tree, signing_key: str, deadline: Deadline, *, check_mode: bool) -> tuple[bytes, str]:
    """Given a source's tree and the public key of its signatures, empty where nobody says it, see that it can encrypt and sign; return its secret and that key.

    What is not there yet is made, unless in check mode. Raise AltbackupError or OSError.
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


def require_still_encrypted(work: Dump, before: Sequence[Tarball], *, check_mode: bool = False) -> None:
    """Given the item's verified tarballs, the newest last, raise InvalidInput if it was encrypted, is to be no more, and nobody accepted that.

    What was accepted before that was told was something else: a suspect. When it was told is kept, unless in check mode.
    """
    if work.form.recipients or not before or not is_encrypted(before[-1].filename):
        return
    newest, item, tree = before[-1], work.item, work.context.tree
    told = refused_at(tree, item.key)
    is_told = told > newest.stamp
    if not is_told or not work.marks.accepts(item.key, told):
        if not is_told and not check_mode:
            with contextlib.suppress(OSError):  # then it is told once more
                keep_refused(tree, item.key, work.context.stamp)
        source = source_of(tree) or "SOURCE"
        accepted = extra_vars({"altbackup_accept": [f"{source}/{item.key}"]})
        raise InvalidInput(
            f"item {item.kind} {item.name!r}: it was encrypted until {newest.stamp}, and no recipient is named any more (altbackup_encrypt_to): it was "
            f"not dumped, as every target could read it. Name them again, or accept it: ansible-playbook -i INVENTORY altbackup.core.mark {accepted}"
        )


def equal_to(work: Dump, before: Sequence[Tarball], dna: Dna, plain: str) -> list[Tarball]:
    """Given the item's verified tarballs, the newest last, and what was made now, return those that have the same bytes.

    Of encrypted ones these are those of the same plain archive to the same recipients, and all of them are one ciphertext.
    """
    if not work.form.recipients:
        return [tarball for tarball in before if tarball.dna and tarball.dna.same_content(dna)]
    found = []
    for tarball in before:
        record = read_record(work.context.tree, tarball.key, tarball.stamp)
        known = tarball.dna
        if (
            known is not None
            and is_encrypted(tarball.filename)
            and record.get(PLAIN) == plain
            and dna_in(record) == (known.alg, known.size, known.dig)
            and (known.base is None) == (dna.base is None)
            and same_recipients(record, work.form.recipients)
        ):
            found.append(tarball)
    last = found[-1].dna if found else None
    return [tarball for tarball in found if tarball.dna and last and tarball.dna.same_content(last)]


def comparable(work: Dump, before: Sequence[Tarball]) -> list[Tarball]:
    """Return those tarballs of an item whose contents are told as that of the new one is: encrypted ones have keyed digests, and nothing opens them here."""
    return [tarball for tarball in before if is_encrypted(tarball.filename) == bool(work.form.recipients)]


def with_keyed(work: Dump, record: Mapping[str, Any], plain: str) -> dict[str, Any]:
    """Given the record of a dump and the keyed digest of its plain archive, return it as that of an encrypted tarball; of another one, as it is."""
    if not work.form.recipients:
        return dict(record)
    content = keyed_content(work.secret, str(record.get(CONTENT) or plain))
    return {**record, PLAIN: plain, TO: list(work.form.recipients), CONTENT: content}


def with_seal(work: Dump, record: Mapping[str, Any], content: str, equal: Sequence[Tarball]) -> dict[str, Any]:
    """Given the record of a dump, the plain digest of its content, and what has equal bytes, return it sealed and signed; of another one, as it is.

    Raise AltbackupError or OSError.
    """
    if not work.form.recipients:
        return dict(record)
    tree, item, stamp = work.context.tree, work.item, work.context.stamp
    first = read_record(tree, item.key, equal[-1].stamp).get(FIRST) if equal else None
    return sealed(
        tree,
        {**record, FIRST: str(first or (equal[-1].stamp if equal else stamp))},
        content,
        source=source_of(tree) or os.path.basename(tree.base),
        key=item.key,
        stamp=stamp,
        deadline=work.context.deadline,
    )
