"""Drills: unpack tarballs into a scratch folder and prove that they restore; the proof is stored beside each."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
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
from ..system.units import counted
from ..tree.abilities import keeps_owners
from ..tree.contents import CONTENT, dna_in
from ..tree.encryption import opened, shared_proof
from ..tree.failures import failure
from ..tree.incomplete import missing_of
from ..tree.layout import DRILLING, Tarball, Tree, open_tree, parse_filename
from ..tree.leftovers import drill_folder
from ..tree.proof_files import moment_at, write_proof
from ..tree.publish import make_folders, read_record, remove_folder, require_writable
from ..tree.sidecar import Dna
from ..tree.stamps import Moment
from .drill_choice import STAGE, chain_of, choose, failure_of
from .drill_space import SpaceAllowance

_UNCOMPARED = (
    "it is a differential, and it or its full tarball has devices or named pipes, which a drill does not make: it was unpacked, but the "
    "result was compared with nothing"
)
_RESERVE = 16 << 20
"""Free bytes at which unpacking stops, if others fill the disk meanwhile"""


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
    """Prove that the newest verified tarball of each item restores; return `proved`, `left`, `notes` and `failures`.

    `names` (category/name) limits it to these items, `share` (above 0, up to 1) to the part of them whose last proof is oldest. At most
    `limit` bytes (0: as many as are free) are unpacked at a time, below `folder` or the private folder; all of it is removed in any case.
    `verify` is {category/name: argv of the program that judges a command's output}. Without `identities` only the ciphertext of encrypted
    tarballs is verified. In check mode `proved` are those that would be tried. Raise AltbackupError if nothing can be drilled.
    """
    tree = open_tree(base) if check_mode else require_writable(base)
    result: dict[str, Any] = {"changed": False, "proved": [], "left": [], "notes": [], "failures": []}
    chosen = choose(tree, names, share, moment, result)
    try:
        if chosen:
            require_allowed(sandbox, deadline)
    except AltbackupError as error:  # concerns every tarball
        result["failures"].append(failure(STAGE, error))
        return result
    if check_mode:
        result["proved"] = [{**_described(tarball), "when": ""} for tarball in chosen]
        result["changed"] = bool(chosen)
        return result
    with _scratch(tree, folder, result) as scratch:
        allowance = SpaceAllowance(scratch, limit)
        work = _Drill(
            tree,
            replace(sandbox, file_size=allowance.capacity),
            deadline,
            scratch,
            allowance,
            now,
            verify or {},
            identities,
        )
        for outcome in in_parallel(work.guarded, chosen, max(1, min(cores(), len(chosen)))):
            result["proved"] += outcome.proved
            result["failures"] += outcome.failures
            result["notes"] += outcome.notes
    result["changed"] = bool(result["proved"])
    return result


def _described(tarball: Tarball) -> dict[str, Any]:
    return {"relpath": tarball.relpath, "category": tarball.category, "name": tarball.name, "stamp": tarball.stamp}


@contextlib.contextmanager
def _scratch(tree: Tree, folder: str, result: dict[str, Any]) -> Iterator[str]:
    """Yield an empty private folder, removed at the end; one that a killed drill left is removed first. Raise AltbackupError or OSError."""
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


@dataclass
class _Outcome:
    """Proof, failures and notes of one tarball."""

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
    allowance: SpaceAllowance
    now: float | None
    verify: Mapping[str, Sequence[str]] = field(default_factory=dict)
    identities: Identities = NOBODY

    def guarded(self, tarball: Tarball) -> _Outcome:
        """Drill one tarball; any error is its failure, so that the others are drilled all the same."""
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
        """Prove one tarball and write its proof. Raise AltbackupError or OSError."""
        start = time.monotonic()
        record = self._record(tarball, outcome)
        kind = kind_in(tarball.category, record.get("kind"))
        if not kind:
            raise InvalidInput(f"category {tarball.category} is that of no kind, so it cannot be proved")
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
            with self.allowance.reserved(sum(entry.stored for entry in contents), self.deadline):
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
        """Return the record of a tarball's dump, {} if there is none or it is another tarball's."""
        record = read_record(self.tree, tarball.key, tarball.stamp)
        if record and record.get("relpath", tarball.relpath) != tarball.relpath:
            outcome.notes.append(f"{tarball.relpath}: the record under its stamp is that of {record['relpath']}")
            return {}
        return record

    def _require_match(self, tarball: Tarball, record: Mapping[str, Any]) -> None:
        """Raise ProofFailed unless a tarball's bytes have the digest and size of its dna and of its record."""
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
        limits = Limits(self.allowance.capacity)
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
            raise TooLarge(f"{self.allowance.refusal()} ({error})") from error

    def _prove(
        self, kind: str, path: str, record: Mapping[str, Any], folder: str, parts: Sequence[Contents], key: str
    ) -> dict[str, Any]:
        """Return the proof (facts, versions, notes) of an unpacked item. Raise AltbackupError or OSError."""
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
    """Return the names in a folder, [] if the path is not a folder."""
    return os.listdir(path) if os.path.isdir(path) and not os.path.islink(path) else []


def _require_recorded(record: Mapping[str, Any], name: str, found: Any) -> None:
    """Raise ProofFailed if a value differs from the one that the dump recorded; an empty value is not compared."""
    if found != "" and record.get(name, found) != found:
        raise ProofFailed(f"the {name} of its archive are {found}, but its dump recorded {record[name]}")


def _content(tarball: Tarball) -> dict[str, Any]:
    if tarball.dna is None:
        raise AssertionError(f"{tarball.relpath} is not verified")
    return {"dig": tarball.dna.dig, "size": tarball.dna.size, "alg": tarball.dna.alg}


def _stem(tarball: Tarball) -> str:
    """Return a tarball's file name without its extension: the name of its top folder."""
    parsed = parse_filename(tarball.filename, tarball.name)
    return tarball.filename[: -len(parsed[1])] if parsed else tarball.name


def _require_revision(tarball: Tarball, facts: Mapping[str, Any]) -> None:
    """Raise ProofFailed if the youngest revision is not the one in the file's name."""
    named = re.findall(r"-(\d+)", _stem(tarball)[len(tarball.name) :])  # a second try of the dump adds its own number
    if "revision" in facts and named and str(facts["revision"]) not in named:
        raise ProofFailed(f"its youngest revision is {facts['revision']}, but its name says {named[0]}")
