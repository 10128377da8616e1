"""Encrypting anew: older tarballs are opened with an identity and closed for the recipients of today, on the source, where plaintext is at home.

What is read of one goes from age by pipes to age, and to no disk. A tarball keeps its name, its stamp and all that its dump recorded; digest, size
and signature are those of the new ciphertext. Those of targets come to `.altbackup/rekey/<target>/came` of the source, and go back from `new` there.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..archive.write import ArchiveFormat, store_archive
from ..kinds.registry import CATEGORIES
from ..synchronize.offer import Offer, parse_offers
from ..system.age import Identities, decrypting, explained, is_encrypted
from ..system.digest import open_plain
from ..system.errors import AltbackupError, DigestMismatch, InvalidInput, ToolFailed
from ..system.processes import Deadline
from ..system.programs import find_tool
from ..system.recipients import parse_recipients, shown
from ..system.twins import duplicate
from ..system.units import counted
from ..tree.contents import CONTENT
from ..tree.encryption import (
    FIRST,
    PLAIN,
    TO,
    keyed,
    known_public_key,
    opened,
    recipients_of,
    same_recipients,
    sealed,
    secret_of,
    shared,
)
from ..tree.failures import explain, failure
from ..tree.layout import ALONE, TEMPORARY, Tarball, Tree, base_in, is_relpath, open_tree
from ..tree.leftovers import remove_temporary
from ..tree.owner import source_of
from ..tree.publish import make_folders, read_record, remove_folder, remove_if_there, require_writable, verify
from ..tree.rekeyed import BEFORE, CAME, FOLDER, NEW, put_in_place
from ..tree.scan import scan
from ..tree.sidecar import Dna
from .signed import verified_statement

STAGE = "rekey"


@dataclass(frozen=True)
class Wanted:
    """To whom the items of a source are encrypted today."""

    to: tuple[str, ...]
    items: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    names: frozenset[str] = frozenset()
    """The items that are asked for (category/name), none for all"""

    def is_any(self) -> bool:
        """Return whether anything is encrypted."""
        return bool(self.to) or any(self.items.values())

    def of(self, key: str) -> tuple[str, ...]:
        """Return the recipients of an item, none where it is not encrypted, or not asked for."""
        return self.items.get(key, self.to) if not self.names or key in self.names else ()


def parse_wanted_recipients(items: Sequence[Mapping[str, Any]], to: Sequence[str], names: Sequence[str]) -> Wanted:
    """Return to whom items are encrypted: as a plan has them, with `to` as the recipients of their source; `names` are asked for. Raise InvalidInput."""
    own = {
        f"{CATEGORIES[str(item['kind'])]}/{item['name']}": parse_recipients(item["encrypt_to"], "encrypt_to")
        for item in items
        if item.get("encrypt_to") is not None and item.get("kind") in CATEGORIES
    }
    return Wanted(parse_recipients(to, "encrypt_to"), own, frozenset(names))


def empty() -> dict[str, Any]:
    """Return the result of a call that did nothing."""
    return {"changed": False, "rekeyed": [], "current": [], "notes": [], "failures": []}


@dataclass(frozen=True)
class Work:
    """A source, and what it needs to encrypt anew."""

    tree: Tree
    wanted: Wanted
    identities: Identities
    secret: bytes
    signing_key: str
    """The public key of its own signatures"""
    deadline: Deadline

    @property
    def source(self) -> str:
        """The name under which it signs."""
        return source_of(self.tree) or os.path.basename(self.tree.base)


def begin(base: str, wanted: Wanted, identities: Identities, signing_key: str, deadline: Deadline) -> Work:
    """Return the work at a source that can be done. Raise InvalidInput, ToolMissing, AltbackupError or OSError where it cannot."""
    tree = require_writable(base)
    require_identity(identities)
    for tool in ("age", "ssh-keygen"):
        find_tool(tool)
    public = " ".join(known_public_key(tree).split()[:2])
    if not public:
        raise AltbackupError(
            "this source has no key of signatures (.altbackup/encryption/signing_key), so it has encrypted nothing, or has lost its key: nothing was "
            "encrypted anew"
        )
    if signing_key and signing_key.split()[:2] != public.split():
        raise AltbackupError(
            f"this source signs with {public}, but altbackup_signing_key is {signing_key}: nothing was encrypted anew"
        )
    return Work(tree, wanted, identities, secret_of(tree), public, deadline)


def require_identity(identities: Identities) -> None:
    """Raise InvalidInput where there is no identity."""
    if not identities:
        raise InvalidInput(
            "what is encrypted is opened with its key before it is encrypted anew: give the identity of one of the former recipients as "
            "altbackup_identity_file"
        )


def rekey(
    base: str,
    wanted: Wanted,
    *,
    identities: Identities,
    signing_key: str = "",
    targets: Sequence[str] = (),
    deadline: Deadline,
    check_mode: bool = False,
) -> dict[str, Any]:
    """Encrypt the older tarballs of a source's own tree anew; return `rekeyed`, `current` (all that are for whom they should be), `notes` and `failures`.

    A tarball that cannot be opened, or is not what its dump recorded, stays, is a failure, and holds up no other; what belongs together, a full
    tarball and its differentials, goes together. For `targets` folders are made into which theirs come. In check mode nothing is written.
    Raise AltbackupError where nothing can be done.
    """
    result = empty()
    tree = open_tree(base)
    if not check_mode:
        _remove_temporaries(tree, result)
    chains, result["current"] = _own(tree, wanted, result)
    if check_mode:
        if chains:
            require_identity(identities)
        result["rekeyed"] = [_told(one.relpath, one.dna) for chain in chains for one in chain if one.dna]
        result["changed"] = bool(result["rekeyed"])
        return result
    if not chains and not (targets and wanted.is_any()):
        return result
    work = begin(base, wanted, identities, signing_key, deadline)
    remove_folder(tree.private_path(FOLDER))
    for target in targets:
        make_folders(folder_of(tree, target, CAME), tree.private)
    for chain in chains:
        try:
            _rekey_chain(work, chain, result)
        except (AltbackupError, OSError) as error:
            first = chain[0].relpath
            result["failures"].append(failure(STAGE, f"{first} is encrypted as it was: {error}", relpath=first))
    result["changed"] = bool(result["rekeyed"])
    if result["rekeyed"]:
        number = counted(len(result["rekeyed"]), "tarball")
        result["notes"].append(
            f"{number} of this source encrypted anew; the next check reads them, and the next drill proves them"
        )
    return result


def folder_of(tree: Tree, target: str, part: str) -> str:
    """Return where a target's tarballs lie on a source while they are encrypted anew. Raise InvalidInput."""
    if not target or "/" in target or target.startswith(".") or "\0" in target:
        raise InvalidInput(f"{target!r} is no name of a target")
    return tree.private_path(FOLDER, target, part)


def tidy(base: str) -> dict[str, Any]:
    """Remove what came from targets, and what was to go there."""
    remove_folder(require_writable(base).private_path(FOLDER))
    return empty()


def _told(relpath: str, dna: Dna) -> dict[str, Any]:
    return {"relpath": relpath, "size": dna.size, "dig": dna.dig, "alg": dna.alg, **base_in(dna)}


def _own(tree: Tree, wanted: Wanted, result: dict[str, Any]) -> tuple[list[list[Tarball]], list[str]]:
    """Return a tree's own tarballs that are encrypted to others than they should be, those that need one another together, and all others."""
    found = [
        one
        for one in scan(tree, tolerate_unreadable=True).tarballs
        if (one.verified or one.state == ALONE) and is_encrypted(one.filename) and is_relpath(one.relpath)
    ]
    chains: dict[tuple[str, str], list[Tarball]] = {}
    current, unnamed = [], set()
    for one in sorted(found, key=lambda one: (one.dna is not None and one.dna.base is not None, one.stamp)):
        to = wanted.of(one.key)
        if not to:
            unnamed.update([] if wanted.names else [one.key])
        elif same_recipients(read_record(tree, one.key, one.stamp), to):
            current.append(one.relpath)
        elif one.dna:
            chains.setdefault((one.key, one.dna.base_dig or one.dna.dig), []).append(one)
    result["notes"] += [
        f"{key}: nobody is named to whom it is to be encrypted: its tarballs stay as they are"
        for key in sorted(unnamed)
    ]
    return list(chains.values()), current


def _remove_temporaries(tree: Tree, result: dict[str, Any]) -> None:
    """Remove what killed runs left beside the tarballs of a source, also of items that are dumped no more; what cannot be removed is a failure."""
    for relpath in scan(tree, tolerate_unreadable=True).temporaries:
        try:
            result["notes"].append(remove_temporary(tree, relpath))
        except OSError as error:
            reason = f"{relpath}, which a killed run left, cannot be removed: {explain(error)}"
            result["failures"].append(failure(STAGE, reason, relpath=relpath))


def _rekey_chain(work: Work, chain: Sequence[Tarball], result: dict[str, Any]) -> None:
    """Encrypt tarballs anew that need one another: first all of them, then they take their places. Raise AltbackupError or OSError."""
    tree = work.tree
    with _Made(work) as made:
        ready = []
        for one in chain:
            dna = one.dna
            if dna is None:
                continue
            record = read_record(tree, one.key, one.stamp)
            old = _Old(one.relpath, dna, record, tree.path(one.relpath), str(record.get(PLAIN) or ""))
            ready.append((one, *made.made(old, lambda key, dig: _own_full(tree, key, dig))))
        for one, path, dna, record in ready:
            put_in_place(tree, path, one.relpath, dna, record)
            result["rekeyed"].append(_told(one.relpath, dna))
            result["current"].append(one.relpath)


def _own_full(tree: Tree, key: str, dig: str) -> str:
    """Return the digest that an item's full tarball has here now, empty where there is none; `dig` is the one by which a differential knows it.

    It may have another stamp than the differential names: links are one tarball.
    """
    fulls = [one for one in scan(tree, keys={key}).verified() if one.dna is not None and one.dna.base is None]
    known = {one.dna.dig: one for one in fulls if one.dna is not None}
    if dig in known:
        return dig
    return next((now for now, one in known.items() if read_record(tree, key, one.stamp).get(BEFORE) == dig), "")


@dataclass(frozen=True)
class _Old(Offer):
    """A tarball as it was encrypted before."""

    path: str
    plain: str
    """The keyed digest of what is in it, where this source knows that"""


class _Made:
    """What was encrypted anew, each ciphertext once; the files are removed at the end."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._done: dict[tuple[str, str], tuple[str, Dna]] = {}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> _Made:
        make_folders(self._work.tree.private_path("tmp"), self._work.tree.private)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def digest_of(self, key: str, dig: str) -> str:
        """Return the digest that an item's tarball, which had the digest `dig`, has now, empty where it was not encrypted anew here."""
        known = self._done.get((key, dig))
        return known[1].dig if known else ""

    def made(self, old: _Old, full: Callable[[str, str], str]) -> tuple[str, Dna, dict[str, Any]]:
        """Return new file, dna and record of a tarball of before; `full` tells the digest that a full one has now. Raise AltbackupError or OSError."""
        work, to = self._work, self._work.wanted.of(old.key)
        base_dig = old.dna.base_dig
        if old.dna.base is not None and base_dig is not None:
            now = self.digest_of(old.key, base_dig) or full(old.key, base_dig)
            if not now:
                raise AltbackupError(
                    f"its full tarball {old.key}/{old.dna.base} is not there as it was: it would be bound to nothing"
                )
            base_dig = now
        inside = _opened(old, work)
        path, dna = self._done.get((old.key, old.dna.dig)) or self._encrypt(old, to)
        self._done[old.key, old.dna.dig] = path, dna
        dna = replace(dna, base=old.dna.base, base_dig=base_dig)
        known = {name: value for name, value in inside.items() if name not in (CONTENT, TO)}
        record = {
            **old.record,
            **known,
            TO: list(to),
            **_told(old.relpath, dna),
            BEFORE: old.dna.dig,
            FIRST: str(old.record.get(FIRST) or old.stamp),
            CONTENT: str(old.record.get(CONTENT) or ""),
        }
        content = str(inside.get(CONTENT) or "")
        told: dict[str, Any] = {"source": work.source, "key": old.key, "stamp": old.stamp, "deadline": work.deadline}
        return path, dna, sealed(work.tree, record, content, **told)

    def _encrypt(self, old: _Old, to: Sequence[str]) -> tuple[str, Dna]:
        """Write the ciphertext for today's recipients to a file of its own, and read that back. Raise AltbackupError or OSError."""
        work = self._work
        verify(old.path, old.dna)
        name = f"{TEMPORARY}{os.getpid()}-rekey-{len(self._done)}-{os.path.basename(old.path)}"
        path = work.tree.private_path("tmp", name)
        remove_if_there(path)
        self._stack.callback(remove_if_there, path)
        plain = keyed(work.secret)
        form = ArchiveFormat(extension=".tar", algorithm=old.dna.alg, recipients=tuple(to))
        try:
            with open_plain(old.path) as source, decrypting(work.identities, source, old.relpath) as age:
                stream = age.stdout
                dna = store_archive(
                    path, stream, age, old.relpath, top="", form=form, deadline=work.deadline, plain=plain
                )
        except ToolFailed as error:
            raise explained(error, old.relpath) from error
        if old.plain and plain.hexdigest() != old.plain:
            raise AltbackupError(
                "what is in it is not what its dump recorded, or the secret of this source (.altbackup/encryption/secret) is another one than then"
            )
        verify(path, dna, from_disk=True)
        return path, dna


def _opened(old: _Old, work: Work) -> dict[str, Any]:
    """Return what the dump of a tarball knew. Raise NoKey, which names the recipients, or AltbackupError."""
    told = (old.record.get("alg"), old.record.get("size"), old.record.get("dig"))
    if told != (old.dna.alg, old.dna.size, old.dna.dig):
        raise AltbackupError("its record is of other bytes")
    try:
        return opened(old.record, work.identities, work.deadline)
    except AltbackupError as error:
        to = shown(recipients_of(old.record)) or "recipients that its record does not tell"
        raise type(error)(f"it is encrypted to {to}: {error}") from error


def rekey_of_target(
    base: str,
    wanted: Wanted,
    target: str,
    tarballs: Sequence[Mapping[str, Any]],
    *,
    identities: Identities,
    signing_key: str = "",
    deadline: Deadline,
) -> dict[str, Any]:
    """Make what is to take the places of `tarballs` on a target that are encrypted to other recipients than is wanted; return that as `rekeyed`.

    What this source has for today's recipients is taken from its own tree; what came from the target is encrypted anew, if this source signed it
    as just that. Raise AltbackupError where nothing can be done.
    """
    result = empty()
    work = begin(base, wanted, identities, signing_key, deadline)
    came, new = (folder_of(work.tree, target, part) for part in (CAME, NEW))
    remove_folder(new)
    offers = {offer.relpath: offer for offer in parse_offers(tarballs) if is_encrypted(offer.relpath)}
    old = [offer for offer in offers.values() if work.wanted.of(offer.key)]
    old = [offer for offer in old if not same_recipients(offer.record, work.wanted.of(offer.key))]
    with _Made(work) as made:
        for offer in sorted(old, key=lambda one: (one.dna.base is not None, one.stamp)):
            try:
                dna, record = _from_own(work, offer, new) or _from_target(work, offer, offers, came, new, made)
            except (AltbackupError, OSError) as error:
                reason = f"{offer.relpath} on {target} is encrypted as it was: {error}"
                result["failures"].append(failure(STAGE, reason, relpath=offer.relpath))
                continue
            result["rekeyed"].append({**_told(offer.relpath, dna), "record": shared(record)})
    result["changed"] = bool(result["rekeyed"])
    return result


def _from_own(work: Work, offer: Offer, new: str) -> tuple[Dna, dict[str, Any]] | None:
    """Lay out what this source has for today's recipients under the same name, None where it has not. Raise AltbackupError or OSError."""
    here = [one for one in scan(work.tree, keys={offer.key}).verified() if one.relpath == offer.relpath]
    record = read_record(work.tree, offer.key, offer.stamp) if here else {}
    if not here or here[0].dna is None or not same_recipients(record, work.wanted.of(offer.key)):
        return None
    if record.get(CONTENT) != offer.record.get(CONTENT):
        raise AltbackupError("this source has another content under that stamp: neither was touched")
    _lay_out(work.tree, work.tree.path(offer.relpath), os.path.join(new, offer.relpath))
    return here[0].dna, record


def _from_target(
    work: Work, offer: Offer, offers: Mapping[str, Offer], came: str, new: str, made: _Made
) -> tuple[Dna, dict[str, Any]]:
    """Encrypt anew what came from a target, if this source signed it. Raise AltbackupError or OSError."""
    path = os.path.join(came, offer.relpath)
    if not os.path.lexists(path):
        raise AltbackupError("it did not come to the source, which has it no more")
    require_own_signature(work, offer)

    def full(key: str, dig: str) -> str:
        for there in offers.values():
            if there.key == key and there.dna.base is None and there.record.get(BEFORE) == dig:
                require_own_signature(work, there)
                return there.dna.dig
        return _own_full(work.tree, key, dig)

    try:
        place, dna, record = made.made(_Old(offer.relpath, offer.dna, offer.record, path, ""), full)
    except DigestMismatch as error:
        raise AltbackupError(f"what came is not what the target's dna says: {error}") from error
    _lay_out(work.tree, place, os.path.join(new, offer.relpath))
    return dna, record


def require_own_signature(work: Work, offer: Offer) -> None:
    """Raise Unsigned or AltbackupError unless this source itself has signed a tarball of a target as just what it is given out for.

    Else a target could have it sign, and encrypt, what it never dumped.
    """
    statement = verified_statement(offer.record, work.signing_key, work.deadline, offer.relpath)
    asked = {
        "source": work.source,
        "item": offer.key,
        "stamp": offer.stamp,
        "alg": offer.dna.alg,
        "dig": offer.dna.dig,
        "size": str(offer.dna.size),
        "base_dig": offer.dna.base_dig or "",
        "content": str(offer.record.get(CONTENT) or ""),
        "first": str(offer.record.get(FIRST) or ""),
        BEFORE: str(offer.record.get(BEFORE) or ""),
    }
    for what, text in asked.items():
        if statement.get(what, "") != text:
            raise AltbackupError(f"it is not what this source signed: {what} is another one. Somebody exchanged it")


def _lay_out(tree: Tree, path: str, place: str) -> None:
    """Make a second file of one where it is fetched from. Raise AltbackupError or OSError."""
    make_folders(os.path.dirname(place), tree.private)
    remove_if_there(place)
    duplicate(path, place)
