"""Putting into a store what it lacks: the tarball, what proves that it arrived, and last the sidecar that vouches for it."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..system.digest import CHUNK, new_hash, open_plain, within_limits
from ..system.errors import AltbackupError, DigestMismatch
from ..system.units import counted
from ..tree.encryption import shared
from ..tree.failures import explain
from ..tree.layout import Tarball
from ..tree.publish import read_record, write_text
from ..tree.sidecar import SUFFIX, Dna, serialize
from .known import Copy
from .plan import FINISH, PUT, REPEAT, REPLACE, Held, Upload, private_path
from .remote import Missing
from .work import Work

_GIVES_UP = 2
"""Uploads one after the other that fail before no more is tried"""


def upload(work: Work, uploads: Sequence[Upload], copies: Mapping[str, Copy], held: Held) -> dict[str, Copy]:
    """Put there what the store lacks; return its copies then."""
    copies = dict(copies)
    if work.check_mode:
        work.uploaded += [one.tarball.relpath for one in uploads]
        return copies
    try:
        _put_guides(work)
    except (AltbackupError, OSError) as error:
        work.fail(error)
    copies = _locked(work, copies)
    failed = 0
    for number, upload in enumerate(uploads):
        relpath = upload.tarball.relpath
        try:
            copies[relpath] = _put(work, upload, held)
            (work.replaced if upload.way == REPLACE else work.uploaded).append(relpath)
            work.save(copies)
            failed = 0
        except (AltbackupError, OSError) as error:
            copies.pop(relpath, None)
            failed += 1
            rest = len(uploads) - number - 1
            over = work.remote.deadline.is_over() or failed >= _GIVES_UP
            more = f"; {counted(rest, 'more tarball')} not tried in this run" if over and rest else ""
            work.fail(f"{relpath} could not be put there: {explain(error)}{more}", relpath)
            if over:
                break
    return copies


def _locked(work: Work, copies: dict[str, Copy]) -> dict[str, Copy]:
    """Lock what was never locked, as what a run put there that was killed before; return the copies then."""
    found = dict(copies)
    for relpath, copy in copies.items() if work.locker and work.store.lock_days else ():
        if copy.until or work.locker is None:
            continue
        try:
            untils = [work.locker.lock(work.at(relpath) + ending, anew=False) for ending in ("", SUFFIX)]
            found[relpath] = replace(copy, until=untils[0])
        except AltbackupError as error:
            work.fail(f"{relpath} could not be locked: {explain(error)}", relpath)
    return found


def _put(work: Work, upload: Upload, held: Held) -> Copy:
    """Put a tarball there; of one that a killed run left, and that is not good, begin anew. Raise AltbackupError or OSError."""
    if upload.way != FINISH:
        return put_one(work, upload, held)
    try:
        return put_one(work, upload, held)
    except DigestMismatch:
        return put_one(work, replace(upload, way=REPLACE), held)


def _put_guides(work: Work) -> None:
    """Let the store have what a target's base has for the day on which there is nothing else."""
    with tempfile.TemporaryDirectory(prefix="altbackup-store-") as folder:
        for name, text in work.options["guides"].items():
            try:
                there = work.remote.content(name, len(text.encode()))
            except Missing:
                there = b""
            if there == text.encode():
                continue
            write_text(os.path.join(folder, name), text)
            if there and work.locker:
                work.locker.remove(name)
            elif there:
                work.remote.remove(name)
            work.remote.put(folder, [name])


def put_one(work: Work, upload: Upload, held: Held) -> Copy:
    """Put a tarball there, read it back where nothing else tells that it arrived, lock it, and vouch for it. Raise AltbackupError or OSError."""
    one, path = upload.tarball, work.at(upload.tarball.relpath)
    dna = one.dna
    if dna is None:
        raise AssertionError(f"{one.relpath} is not verified")
    if upload.way == REPLACE:
        for old in (path + SUFFIX, path):
            work.remove(old)
    md5 = ""
    if upload.way in (PUT, REPLACE):
        md5 = _require_good(work, one, dna)
        work.remote.put(work.tree.base, [one.relpath], work.source)
        work.sent += one.size
    elif upload.way == REPEAT:
        md5 = _repeat(work, upload, path, dna)
    read = _require_arrived(work, one, dna, path, md5, surely=upload.way == FINISH)
    until = work.locker.lock(path) if work.locker and work.store.lock_days else 0.0
    _vouch(work, one, dna)
    if work.locker and work.store.lock_days:
        work.locker.lock(path + SUFFIX)
    return Copy(
        dna,
        work.moment.stamp,
        work.moment.stamp if read else "",
        False,
        md5,
        until,
        "",
        tuple(held.suspects.get(one.relpath, ())),
        one.relpath in held.partial,
    )


def _require_good(work: Work, one: Tarball, dna: Dna) -> str:
    """Read a tarball of the node as it goes; return the MD5 of its bytes. Raise AltbackupError where they are not what its dna says."""
    dig, md5, size = digest_both(work.tree.path(one.relpath), dna.alg)
    if (dig, size) != (dna.dig, dna.size):
        raise AltbackupError(
            f"{work.tree.path(one.relpath)} does not match its dna: it is not put into any store; see what the check of its node says"
        )
    return md5


def _repeat(work: Work, upload: Upload, path: str, dna: Dna) -> str:
    """Let the store make a tarball of one with the same bytes, or put it there as any other one where it cannot; return its MD5."""
    like = work.memory.copies.get(upload.like)
    try:
        if work.store.is_disk:
            work.remote.link(work.at(upload.like), path)
            return like.digest if like else ""
        if work.remote.copies:
            work.remote.copy(work.at(upload.like), path)
            return like.digest if like else ""
    except FileExistsError as error:
        raise AltbackupError(
            f"something came to that path while it was to be put there, and is left alone: the next run looks at it: {error.filename2 or error.filename}"
        ) from error
    except (AltbackupError, OSError):
        pass  # it is sent; what came there meanwhile, in part or by somebody else, is not removed, and the next run looks at it
    md5 = _require_good(work, upload.tarball, dna)
    work.remote.put(work.tree.base, [upload.tarball.relpath], work.source)
    work.sent += dna.size
    return md5


def _require_arrived(work: Work, one: Tarball, dna: Dna, path: str, md5: str, *, surely: bool) -> bool:
    """Raise AltbackupError unless what the store has now is that tarball; return whether that is known by all of its bytes.

    A bucket checks each part by a digest that goes with it, so that its own digest, or the size of what came in parts, is enough. Of any other store it is
    read back.
    """
    if work.locker and not surely:
        version = work.locker.newest(path)
        if version is None or version.size != dna.size:
            raise AltbackupError(
                f"after it was put there, the store has {version.size if version else 'no'} bytes of {dna.size}"
            )
        if md5 and version.digest == md5:
            return True
        if not version.digest:
            return False
    dig, size = work.remote.digest(path, dna.alg, dna.size)
    work.read += size
    if (dig, size) != (dna.dig, dna.size):
        work.remove(path)
        raise DigestMismatch(
            f"the store gave back other bytes than it got: {dna.alg} {dig} over {size} bytes, expected {dna.dig} over {dna.size}; they were removed"
        )
    return True


def _vouch(work: Work, one: Tarball, dna: Dna) -> None:
    """Put its record and its sidecar there, that last."""
    record = private_path(work.source, "records", one.relpath)
    known = shared(read_record(work.tree, one.key, one.stamp))
    with tempfile.TemporaryDirectory(prefix="altbackup-store-") as folder:
        paths = []
        if known and not _has(work, record, known):
            paths.append((record, json.dumps(known, sort_keys=True) + "\n"))
        paths.append((work.at(one.relpath) + SUFFIX, serialize(dna)))
        for path, text in paths:
            os.makedirs(os.path.dirname(os.path.join(folder, path)), 0o700, exist_ok=True)
            write_text(os.path.join(folder, path), text)
        work.remote.put(folder, [path for path, _ in paths])


def _has(work: Work, path: str, record: Mapping[str, Any]) -> bool:
    """Return whether the store has the record of a dump already, as of a run that was killed; one that differs is removed."""
    text = (json.dumps(record, sort_keys=True) + "\n").encode()
    try:
        if work.remote.content(path, len(text)) == text:
            return True
    except Missing:
        return False
    work.remove(path)
    return False


def digest_both(path: str, algorithm: str) -> tuple[str, str, int]:
    """Return the digest, the MD5 and the size in bytes of a file, read once. Raise OSError."""
    one, other, size = new_hash(algorithm), new_hash("md5"), 0
    with open_plain(path) as stream:
        while chunk := stream.read(CHUNK):
            within_limits()
            one.update(chunk)
            other.update(chunk)
            size += len(chunk)
    return one.hexdigest(), other.hexdigest(), size
