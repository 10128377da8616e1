"""Drills: tarballs are unpacked into a scratch folder and proved to restore; the proof is kept beside each."""

from __future__ import annotations

import contextlib
import math
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..archive.examine import examine
from ..archive.rules import Contents, Limits, TooLarge
from ..archive.unpack import extract
from ..kinds.proofs import prove, version_of
from ..kinds.registry import kind_in, kind_of
from ..system import progress
from ..system.age import NOBODY, Identities, is_encrypted
from ..system.digest import cores, digest_file, in_parallel
from ..system.errors import AltbackupError, InvalidInput, ProofFailed
from ..system.opened import require_kept, require_own
from ..system.processes import Deadline
from ..system.sandbox import Sandbox, require_allowed
from ..system.units import counted, readable, told_apart
from ..system.visible import printable
from ..tree.abilities import keeps_owners
from ..tree.contents import CONTENT, dna_in
from ..tree.encryption import opened, shared_proof
from ..tree.failures import failure
from ..tree.incomplete import missing_of
from ..tree.layout import ALONE, DRILLING, Tarball, Tree, open_tree, parse_filename
from ..tree.leftovers import drill_folder
from ..tree.proof_files import last_proved, moment_at, write_proof
from ..tree.publish import make_folders, read_record, remove_folder, require_writable
from ..tree.remembered import with_remembered
from ..tree.scan import full_of, scan
from ..tree.scan_failures import ahead
from ..tree.sidecar import Dna
from ..tree.stamps import Moment

STAGE = "drill"
PROVING: dict[str, Any] = {
    "names": {"type": "list", "elements": "str"},
    "remembered": {"type": "bool", "default": False},
    "share": {"type": "float", "default": 1},
    "limit": {"type": "int", "default": 0},
    "user": {"type": "str", "default": "nobody"},
    "verify": {"type": "dict", "default": {}},
    "identity": {"type": "str", "default": "", "no_log": True},
    "identity_file": {"type": "path", "default": "", "no_log": False},
}
"""What a call of a module that drills may be told: which items, how much at a time, and as whom"""
MARGIN = 64 << 20
"""Bytes of the disk that a drill leaves free, by what it expects."""
_UNCOMPARED = (
    "it is a differential, and it or its full tarball has devices or named pipes, which a drill does not make: it was unpacked, but what came "
    "out was compared with nothing"
)
_RESERVE = 16 << 20
"""Bytes of the disk with which a drill stops that finds the disk fuller than it expected: others write there, too."""


def names_of(options: Mapping[str, Any]) -> list[str] | None:
    """Given the parameters of a module that drills, return which items (category/name) it chooses from, None for all."""
    names = options["names"]
    return with_remembered(options["base"], {}, names)[1] if names is not None and options["remembered"] else names


def drill(
    base: str,
    names: Sequence[str] | None = None,
    *,
    moment: Moment,
    sandbox: Sandbox,
    deadline: Deadline,
    share: float = 1.0,
    limit: int = 0,
    folder: str = "",
    now: float | None = None,
    verify: Mapping[str, Sequence[str]] | None = None,
    identities: Identities = NOBODY,
    check_mode: bool = False,
) -> dict[str, Any]:
    """Given a base, prove that the newest verified tarball of each item restores; return `proved`, `left`, `notes`, `failures`.

    `verify` is {category/name: the argv that is to judge what a command gave}, of those items that have one.

    `names` (category/name) limits it to these items, `share` (above 0, up to 1) to that part of them whose last proof is
    oldest. At most `limit` bytes (0: as many as are free) are unpacked at a time, below `folder` or the private folder;
    all of it is removed, whatever happens. Of what is encrypted the ciphertext alone is proved where there are no `identities`.
    In check mode `proved` are those that would be tried.
    Raise AltbackupError where nothing can be done.
    """
    tree = open_tree(base) if check_mode else require_writable(base)
    result: dict[str, Any] = {"changed": False, "proved": [], "left": [], "notes": [], "failures": []}
    chosen = choose(tree, names, share, moment, result)
    try:
        if chosen:
            require_allowed(sandbox, deadline)
    except AltbackupError as error:  # is so of every tarball
        result["failures"].append(failure(STAGE, error))
        return result
    if check_mode:
        result["proved"] = [{**_described(tarball), "when": ""} for tarball in chosen]
        result["changed"] = bool(chosen)
        return result
    with _scratch(tree, folder, result) as scratch:
        room = _Room(scratch, limit)
        work = _Drill(
            tree, replace(sandbox, file_size=room.capacity), deadline, scratch, room, now, verify or {}, identities
        )
        for outcome in in_parallel(work.guarded, chosen, max(1, min(cores(), len(chosen)))):
            result["proved"] += outcome.proved
            result["failures"] += outcome.failures
            result["notes"] += outcome.notes
    result["changed"] = bool(result["proved"])
    return result


def choose(
    tree: Tree, names: Sequence[str] | None, share: float, moment: Moment, result: dict[str, Any]
) -> list[Tarball]:
    """Given a tree, items and the part of them to drill, return the newest verified tarballs of those whose last proof is oldest.

    What is later than the moment does not count.
    What is `left`, and `failures`, are entered in the result. Raise InvalidInput.
    """
    if not 0 < share <= 1:
        raise InvalidInput(f"share {share:g} is not a part of the items above 0 and up to 1")
    newest, proved = _newest(tree, names, moment, result)
    order = sorted(newest.values(), key=lambda tarball: (proved[tarball.key], tarball.key))
    chosen = order[: math.ceil(share * len(order))]
    result["left"] = [tarball.relpath for tarball in order[len(chosen) :]]
    return chosen


def chain_of(tree: Tree, tarball: Tarball) -> list[Tarball]:
    """Given a tarball, return those that unpack to one state: the full one, then its differential. Raise ProofFailed without it."""
    dna = tarball.dna
    if dna is None or dna.base is None:
        return [tarball]
    relpath = f"{tarball.key}/{dna.base}"
    there = scan(tree, keys={tarball.key}).verified()
    full = full_of(tarball, there)
    if full is None and relpath in {entry.relpath for entry in there}:
        raise ProofFailed(f"its full tarball {relpath} is another one than it was made against: it cannot be restored")
    if full is None:
        raise ProofFailed(f"its full tarball {relpath} is missing or not verified: it cannot be restored")
    return [full, tarball]


def failure_of(relpath: str, reason: str | BaseException) -> dict[str, Any]:
    """Given a tarball and why it was not proved, return the failure."""
    found = failure(STAGE, reason, relpath=relpath)
    return {**found, "reason": f"{printable(relpath)}: {found['reason']}"}


def _described(tarball: Tarball) -> dict[str, Any]:
    return {"relpath": tarball.relpath, "category": tarball.category, "name": tarball.name, "stamp": tarball.stamp}


def _newest(
    tree: Tree, names: Sequence[str] | None, moment: Moment, result: dict[str, Any]
) -> tuple[dict[str, Tarball], dict[str, float]]:
    """Return {category/name: its newest verified tarball} and when each item was last proved; an item without one is a failure."""
    found = scan(tree, keys=None if names is None else set(names), tolerate_unreadable=True)
    verified = [
        tarball
        for tarball in found.tarballs
        if (tarball.verified or tarball.state == ALONE)
        and parse_filename(tarball.filename, tarball.name)
        and moment.counts(tarball.stamp)
    ]
    newest = {tarball.key: tarball for tarball in sorted(verified, key=lambda tarball: tarball.stamp)}
    for relpath, why in found.unreadable:
        reason = f"what folder {relpath} holds was not drilled: it cannot be read{why}"
        result["failures"].append(failure(STAGE, reason, relpath=relpath))
    result["failures"] += ahead(tree, moment, None if names is None else set(names))
    for key in names or ():
        if key not in newest:
            reason = f"there is no verified tarball of {key}: nothing of it could be proved"
            result["failures"].append(failure(STAGE, reason, key=key, absent=True))
    if names is None and not newest:
        result["failures"].append(failure(STAGE, f"no verified tarballs in {tree.base}: nothing could be proved"))
    if names is not None and not names:
        result["failures"].append(failure(STAGE, f"no items are expected in {tree.base}: nothing could be proved"))
    return newest, last_proved(tree, verified)


@contextlib.contextmanager
def _scratch(tree: Tree, folder: str, result: dict[str, Any]) -> Iterator[str]:
    """Yield an empty private folder, which is removed whatever happens; what a killed drill left there goes first."""
    if folder and not (os.path.isabs(folder) and os.path.isdir(folder)):
        raise InvalidInput(f"folder {folder!r} for drills is not the absolute path of a folder on this node")
    path = os.path.join(folder, f"{DRILLING}{tree.source or 'own'}") if folder else drill_folder(tree)
    if folder:
        require_kept(folder, "drills")
        require_own(path)
    if os.path.lexists(path):
        remove_folder(path)
        result["notes"].append(f"removed {path}, which a killed drill left")
    if folder:
        os.mkdir(path, 0o700)
    else:
        make_folders(path, tree.private)
    try:
        if not keeps_owners(path):
            raise AltbackupError(
                f"{os.path.dirname(path)}: its file system keeps no owners, so nothing can be unpacked there for another user to read: nothing was "
                "drilled; set altbackup_drill_folder to a folder on another disk"
            )
        yield path
    finally:
        remove_folder(path)


class _Room:
    """How many bytes may be unpacked at a time; whoever needs more waits for others to end, or is refused."""

    def __init__(self, folder: str, limit: int) -> None:
        self.folder = folder
        self.limit = limit
        self.free = shutil.disk_usage(folder).free
        self.capacity = max(0, min(self.free - MARGIN, limit or self.free))
        self._taken = 0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def taken(self, size: int, deadline: Deadline) -> Iterator[None]:
        """Have room for a number of bytes while the block lasts. Raise AltbackupError if there never is, or DeadlineExceeded."""
        if size > self.capacity:
            raise AltbackupError(self.refusal(size))
        with self._changed:
            while self._taken + size > self.capacity:
                self._changed.wait(deadline.remaining())
                deadline.remaining()
            self._taken += size
        try:
            yield
        finally:
            with self._changed:
                self._taken -= size
                self._changed.notify_all()

    def refusal(self, size: int | None = None) -> str:
        """Return what is said to somebody who needs so many bytes; None for more than there are, however many."""
        needed, free = (f"more than {readable(self.capacity)}", readable(self.free))
        if size is not None:
            needed, free = told_apart(size, self.free)
        limited = f" and altbackup_drill_limit is {readable(self.limit)}" if self.limit else ""
        return (
            f"{needed} are needed to unpack it, but {free} are free in {self.folder}, of which {readable(MARGIN)} stay free{limited}: "
            "it was not drilled"
        )


@dataclass
class _Outcome:
    """What became of one tarball."""

    proved: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Drill:
    """What all tarballs of one drill share."""

    tree: Tree
    sandbox: Sandbox
    deadline: Deadline
    scratch: str
    room: _Room
    now: float | None
    verify: Mapping[str, Sequence[str]] = field(default_factory=dict)
    identities: Identities = NOBODY

    def guarded(self, tarball: Tarball) -> _Outcome:
        """Drill one tarball so that nothing that goes wrong with it reaches the others."""
        outcome = _Outcome()
        try:
            with progress.at_work(tarball.key):
                self._drill(tarball, outcome)
        except (AltbackupError, OSError) as error:
            outcome.failures.append(failure_of(tarball.relpath, error))
        except Exception as error:  # noqa: BLE001 (a bug that one tarball meets does not stop the others)
            outcome.failures.append(failure_of(tarball.relpath, f"unexpected {type(error).__name__}: {error}"))
        return outcome

    def _drill(self, tarball: Tarball, outcome: _Outcome) -> None:
        """Prove one tarball and keep the proof. Raise AltbackupError or OSError."""
        start = time.monotonic()
        record = self._record(tarball, outcome)
        kind = kind_in(tarball.category, record.get("kind"))
        if not kind:
            raise InvalidInput(f"category {tarball.category} is that of no kind: how it is proved is not known")
        chain = chain_of(self.tree, tarball)
        for part in chain:
            self._require_match(part, record if part is tarball else {})
        if any(is_encrypted(part.filename) for part in chain):
            if not self.identities:
                outcome.notes.append(
                    f"{tarball.relpath}: it is encrypted, and no key is here: the ciphertext alone was proved"
                )
                return
            record = opened(record, self.identities, self.deadline)
        paths = [self.tree.path(part.relpath) for part in chain]
        top = _stem(chain[0])
        folder = tempfile.mkdtemp(dir=self.scratch)
        try:
            contents: list[Contents] = []
            for path in paths:
                below = {link for entry in contents for link in entry.links}
                contents.append(self._examine(path, top, kind, len(paths) == 1, below))
            special = [entry.special for entry in contents]
            replaced = [link for entry in contents for link in entry.replaced]
            with self.room.taken(sum(entry.stored for entry in contents), self.deadline):
                unpacked = os.path.join(folder, "item")
                os.mkdir(unpacked, 0o700)
                extract(
                    paths,
                    unpacked,
                    owners=False,
                    special=special,
                    replaced=replaced,
                    deadline=self.deadline,
                    sandbox=self.sandbox,
                    reserve=_RESERVE,
                    identities=self.identities,
                )
                if len(chain) == 1:
                    _require_recorded(record, "owners", contents[-1].owners.digest)
                kind = kind_in(tarball.category, record.get("kind"), _members(os.path.join(unpacked, top)))
                proof = self._prove(kind, os.path.join(unpacked, top), record, folder, contents, tarball.key)
                _require_revision(tarball, proof["facts"])
        finally:
            remove_folder(folder)
        proof["versions"]["tar"] = version_of("tar", self.deadline)
        if omitted := {name for names in special for name in names}:
            proof["notes"].append(
                f"{counted(len(omitted), 'device or named pipe was', 'devices or named pipes were')} not unpacked"
            )
        outcome.notes += [f"{tarball.relpath}: {note}" for note in proof["notes"]]
        whole = {
            **_content(tarball),
            "stamp": tarball.stamp,
            "kind": kind,
            "when": moment_at(time.time() if self.now is None else self.now),
            "seconds": round(time.monotonic() - start, 3),
            **proof,
        }
        write_proof(self.tree, tarball, shared_proof(whole, tarball.relpath))
        outcome.proved.append({**_described(tarball), **whole, **({"incomplete": True} if missing_of(record) else {})})

    def _record(self, tarball: Tarball, outcome: _Outcome) -> dict[str, Any]:
        """Return what the dump recorded of a tarball, empty if that is nothing."""
        record = read_record(self.tree, tarball.key, tarball.stamp)
        if record and record.get("relpath", tarball.relpath) != tarball.relpath:
            outcome.notes.append(f"{tarball.relpath}: the record under its stamp is that of {record['relpath']}")
            return {}
        return record

    def _require_match(self, tarball: Tarball, record: Mapping[str, Any]) -> None:
        """Raise ProofFailed unless a tarball is what its dna, and its record, say."""
        dna = tarball.dna
        if dna is None:
            raise ProofFailed("it has no dna")
        path = self.tree.path(tarball.relpath)
        expected = [(dna, "its dna")]
        recorded = dna_in(record)
        if recorded:
            alg, size, dig = recorded
            expected.append((Dna(dig, size, alg), "what its dump recorded"))
        found: dict[str, tuple[str, int]] = {}
        for wanted, what in expected:
            if wanted.alg not in found:
                found[wanted.alg] = digest_file(path, wanted.alg)
            if found[wanted.alg] != (wanted.dig, wanted.size):
                dig, size = found[wanted.alg]
                raise ProofFailed(
                    f"it does not match {what}: {wanted.alg} is {dig} over {size} bytes, expected {wanted.dig} over {wanted.size}"
                )

    def _examine(self, path: str, top: str, kind: str, alone: bool, below: Collection[str]) -> Contents:
        limits = Limits(self.room.capacity)
        is_tree = kind_of(kind).is_tree
        try:
            return examine(
                path,
                top=top,
                limits=limits,
                deadline=self.deadline,
                special=is_tree,
                sandbox=self.sandbox,
                digested=alone and is_tree,
                below=below,
                identities=self.identities,
            )
        except TooLarge as error:
            raise TooLarge(f"{self.room.refusal()} ({error})") from error

    def _prove(
        self, kind: str, path: str, record: Mapping[str, Any], folder: str, parts: Sequence[Contents], key: str
    ) -> dict[str, Any]:
        """Return the proof of an unpacked item, by what its parts hold. Raise AltbackupError or OSError."""
        if os.path.islink(path) or not os.path.isdir(path):
            raise ProofFailed(f"it holds no folder {os.path.basename(path)}")
        contents = parts[-1]
        if kind_of(kind).is_tree and len(parts) == 1:
            _require_recorded(record, "entries", contents.entries)
            _require_recorded(record, "bytes", contents.bytes)
            _require_recorded(record, "manifest", contents.digest)
            _require_recorded(record, CONTENT, contents.content)
        if any(part.special for part in parts):
            if len(parts) > 1:
                return {"facts": {}, "versions": {}, "notes": [_UNCOMPARED]}
            facts = {"entries": contents.entries, "bytes": contents.bytes, "manifest": contents.digest}
            return {"facts": facts, "versions": {}, "notes": []}
        return prove(kind, path, record, folder, self.deadline, self.sandbox, verify=self.verify.get(key))


def _members(path: str) -> list[str]:
    """Return the names of what is in a folder, none where it is none."""
    return os.listdir(path) if os.path.isdir(path) and not os.path.islink(path) else []


def _require_recorded(record: Mapping[str, Any], name: str, found: Any) -> None:
    """Raise ProofFailed where an archive holds something else than its dump recorded; what could not be found out is not compared."""
    if found != "" and record.get(name, found) != found:
        raise ProofFailed(f"the {name} of its archive are {found}, but its dump recorded {record[name]}")


def _content(tarball: Tarball) -> dict[str, Any]:
    if tarball.dna is None:
        raise AssertionError(f"{tarball.relpath} is not verified")
    return {"dig": tarball.dna.dig, "size": tarball.dna.size, "alg": tarball.dna.alg}


def _stem(tarball: Tarball) -> str:
    """Return a tarball's file name without its extension: that of its top folder."""
    parsed = parse_filename(tarball.filename, tarball.name)
    return tarball.filename[: -len(parsed[1])] if parsed else tarball.name


def _require_revision(tarball: Tarball, facts: Mapping[str, Any]) -> None:
    """Raise ProofFailed if the youngest revision is not the one that the file's name says."""
    named = re.findall(r"-(\d+)", _stem(tarball)[len(tarball.name) :])  # a second number is that of a second try
    if "revision" in facts and named and str(facts["revision"]) not in named:
        raise ProofFailed(f"its youngest revision is {facts['revision']}, but its name says {named[0]}")
