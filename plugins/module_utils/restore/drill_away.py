"""Drills on a scratch host: the tarballs' node selects, the scratch host unpacks and proves, the node stores the proofs.

On the scratch host the tarballs lie in a temporary tree with a marker and a lock like any other, which the drilling call removes. One that
a killed run left is removed when a tree is made in its place.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from ..system.age import NOBODY, Identities
from ..system.errors import AltbackupError, InvalidInput, ProofFailed
from ..system.opened import require_kept, require_own
from ..system.processes import Deadline
from ..system.sandbox import Sandbox
from ..system.seeing import is_folder, is_there
from ..system.units import shortage
from ..tree.encryption import shared
from ..tree.layout import DRILLING, MARKER, Tree, is_plain_file, open_tree, split_relpath
from ..tree.locks import Run, held
from ..tree.proof_files import write_proof
from ..tree.publish import read_record, remove_folder, write_record, write_sidecar
from ..tree.scan import scan
from ..tree.sidecar import parse, serialize
from ..tree.stamps import Moment
from .drill import drill
from .drill_choice import chain_of, choose, failure_of
from .drill_space import MARGIN

_PROOF_KEYS = ("dig", "size", "alg", "stamp", "kind", "when", "seconds", "facts", "versions", "notes")


def choose_away(base: str, names: Sequence[str] | None, share: float, moment: Moment) -> dict[str, Any]:
    """Return what is to be drilled elsewhere as `chosen`, with `left` and `failures`; options as in drill_choice.choose.

    Each entry of `chosen` has `relpath`, `record` and `tarballs` (relpath, size, dna), a differential after its full one. Raise
    AltbackupError.
    """
    tree = open_tree(base)
    result: dict[str, Any] = {"changed": False, "chosen": [], "left": [], "notes": [], "failures": []}
    for tarball in choose(tree, names, share, moment, result):
        try:
            parts = [
                {"relpath": part.relpath, "size": part.size, "dna": serialize(part.dna)}
                for part in chain_of(tree, tarball)
                if part.dna is not None
            ]
        except ProofFailed as error:
            result["failures"].append(failure_of(tarball.relpath, error))
            continue
        record = shared(read_record(tree, tarball.key, tarball.stamp))
        result["chosen"].append({"relpath": tarball.relpath, "record": record, "tarballs": parts})
    return result


def make_away(base: str, size: int, run: Run | None, *, check_mode: bool = False) -> dict[str, Any]:
    """Make a temporary tree for tarballs of `size` bytes, owned by the run. Raise AltbackupError or OSError."""
    base = _temporary(base)
    folder = os.path.dirname(base)
    if not is_folder(folder):
        raise InvalidInput(f"folder {folder!r} for drills is no folder on this host")
    require_kept(folder, "drills")
    require_own(base)
    notes = [] if check_mode else _remove_abandoned(base, run)
    free = shutil.disk_usage(folder).free
    if size > free - MARGIN:
        short = shortage(size, free, MARGIN, purpose=" for the tarballs to drill", where=f" in {folder}")
        raise AltbackupError(
            f"{short}: they were not brought there. A smaller altbackup_drill_share takes fewer at a time, and altbackup_drill_folder names another disk"
        )
    if not check_mode:
        os.mkdir(base, 0o700)
        os.mkdir(os.path.join(base, MARKER), 0o700)
        with held(open_tree(base), run):
            pass
    return {"changed": True, "notes": notes, "failures": []}


def drill_away(
    base: str,
    chosen: Sequence[Mapping[str, Any]],
    *,
    moment: Moment,
    sandbox: Sandbox,
    deadline: Deadline,
    limit: int = 0,
    verify: Mapping[str, Sequence[str]] | None = None,
    identities: Identities = NOBODY,
) -> dict[str, Any]:
    """Prove the chosen tarballs, which arrived in a temporary tree; return `proved`, `notes` and `failures`.

    The tree is removed in any case. Raise AltbackupError or OSError.
    """
    tree = open_tree(_own_temporary(base))
    try:
        failures = [problem for problem in (_write_sidecars(tree, entry) for entry in chosen) if problem]
        absent = {entry["relpath"] for entry in failures}
        keys = [_key(entry["relpath"]) for entry in chosen if entry["relpath"] not in absent]
        if not keys:
            return {"changed": False, "proved": [], "notes": [], "failures": failures}
        result = drill(
            tree.base,
            keys,
            moment=moment,
            sandbox=sandbox,
            deadline=deadline,
            limit=limit,
            verify=verify,
            identities=identities,
        )
        return {**result, "failures": [*failures, *result["failures"]]}
    finally:
        remove_folder(tree.base)


def keep_proofs(base: str, proofs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Write proofs of tarballs that were drilled elsewhere, each if its tarball has not changed; return these as `proved`, and `failures`.

    Raise AltbackupError or OSError.
    """
    tree = open_tree(base)
    keys = {_key(str(proof["relpath"])) for proof in proofs}
    verified = {tarball.relpath: tarball for tarball in scan(tree, keys=keys, tolerate_unreadable=True).verified()}
    result: dict[str, Any] = {"changed": False, "proved": [], "notes": [], "failures": []}
    for proof in proofs:
        tarball = verified.get(proof["relpath"])
        dna = tarball.dna if tarball else None
        if (
            tarball is None
            or dna is None
            or (dna.dig, dna.size, dna.alg) != (proof["dig"], proof["size"], proof["alg"])
        ):
            reason = "it is no longer the tarball that was drilled, so its proof was not kept"
            result["failures"].append(failure_of(proof["relpath"], reason))
            continue
        write_proof(tree, tarball, {key: proof[key] for key in _PROOF_KEYS})
        result["proved"].append(dict(proof))
        result["changed"] = True
    return result


def abandon_away(base: str) -> dict[str, Any]:
    """Remove a temporary tree. Raise InvalidInput or OSError."""
    remove_folder(_own_temporary(base))
    return {"changed": True, "notes": [], "failures": []}


def _temporary(base: str) -> str:
    """Return the normalized path of a temporary tree. Raise InvalidInput for any other path, since the tree will be removed."""
    if not os.path.isabs(base) or not os.path.basename(os.path.normpath(base)).startswith(DRILLING):
        raise InvalidInput(
            f"base {base!r} is not the absolute path of a temporary tree, whose name begins with {DRILLING}"
        )
    return os.path.normpath(base)


def _own_temporary(base: str) -> str:
    """Return the path of a temporary tree that belongs to this user alone. Raise InvalidInput."""
    base = _temporary(base)
    require_kept(os.path.dirname(base), "drills")
    require_own(base)
    return base


def _remove_abandoned(base: str, run: Run | None) -> list[str]:
    """Remove a temporary tree that no living run holds; return a note on it. Raise Locked."""
    if not is_there(base):
        return []
    if is_folder(os.path.join(base, MARKER)) and not os.path.islink(base):
        with held(open_tree(base), run):
            remove_folder(base)
    else:
        remove_folder(base)
    return [f"removed {base}, which a killed drill left"]


def _write_sidecars(tree: Tree, entry: Mapping[str, Any]) -> dict[str, Any] | None:
    """Write the sidecars and the record of what arrived; return a failure if the tarball to prove did not arrive. Raise AltbackupError."""
    for part in entry["tarballs"]:
        split_relpath(part["relpath"])
        if is_plain_file(tree.path(part["relpath"])):
            write_sidecar(tree.path(part["relpath"]), parse(part["dna"]))
    if not is_plain_file(tree.path(entry["relpath"])):
        return failure_of(entry["relpath"], "it did not arrive on the scratch host, so nothing of it was proved")
    if entry["record"]:
        category, name, stamp, _ = split_relpath(entry["relpath"])
        write_record(tree, f"{category}/{name}", stamp, entry["record"])
    return None


def _key(relpath: str) -> str:
    return "/".join(split_relpath(relpath)[:2])
