"""Reading back what lies in a store: a share each night, or by the store's own digest where it is one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from ..system.errors import AltbackupError, SidecarMalformed
from ..system.units import counted
from ..tree.failures import explain
from ..tree.sidecar import MAX_BYTES, SUFFIX, Dna, parse
from .known import Copy
from .locks import Seen
from .plan import REPLACE, Held, Upload, overdue, plan_reading
from .remote import Remote
from .upload import put_one
from .work import TOLD, Work


def read_sidecars(remote: Remote, source: str, paths: Sequence[str]) -> dict[str, Dna | str]:
    """Return {path: what a sidecar says, or what is wrong with it}. Raise AltbackupError or OSError."""
    found: dict[str, Dna | str] = {}
    if not paths:
        return found
    with tempfile.TemporaryDirectory(prefix="altbackup-store-") as folder:
        remote.fetch([f"{source}/{path}" for path in paths], folder, len(paths) * (MAX_BYTES + 1))
        for path in paths:
            try:
                with open(os.path.join(folder, source, path), "rb") as stream:
                    found[path] = parsed(stream.read(MAX_BYTES + 1))
            except FileNotFoundError:
                found[path] = "has a dna that could not be read"
    return found


def parsed(content: bytes) -> Dna | str:
    """Return the dna in the content of a sidecar, or what is wrong with it."""
    try:
        if len(content) > MAX_BYTES:
            return "has a malformed dna: it is too long"
        return parse(content.decode("utf-8"))
    except UnicodeDecodeError:
        return "has a malformed dna: it is no text"
    except SidecarMalformed as error:
        return f"has a malformed dna: {error}"


def digested(work: Work, copies: Mapping[str, Copy], seen: Seen) -> set[str]:
    """Return the relpaths of the copies of which the store's own digest tells now that their bytes are good; one that differs tells nothing."""
    return {
        relpath
        for relpath, copy in copies.items()
        if copy.digest and relpath in seen.latest and seen.latest[relpath].digest == copy.digest and not copy.doubted
    }


def read_back(
    work: Work, copies: Mapping[str, Copy], good: Collection[str], held: Held, *, every: bool
) -> dict[str, Copy]:
    """Read the share of the night; return the copies with what that found. What is bad is told, counts no more, and is replaced by the next upload."""
    copies = {
        relpath: replace(copy, read=work.moment.stamp) if relpath in good else copy for relpath, copy in copies.items()
    }
    if work.check_mode:
        return copies
    due = plan_reading(copies, work.options["reverify_days"], work.moment, good=good, every=every)
    read = read_sidecars(work.remote, work.source, [relpath + SUFFIX for relpath in due])
    for number, relpath in enumerate(due):
        copy = copies[relpath]
        problem = _problem(work, relpath, copy, read[relpath + SUFFIX])
        if problem is None:
            copies[relpath] = replace(copy, read=work.moment.stamp, doubted=False)
            work.match.append(relpath)
            continue
        reason, is_bad = problem
        work.fail(reason, relpath)
        if is_bad:
            work.mismatch.append(relpath)
            copies[relpath] = replace(copy, doubted=True)
            copies = _healed(work, copies, relpath, held)
        if work.remote.deadline.is_over():
            work.fail(f"{counted(len(due) - number - 1, 'more tarball was', 'more tarballs were')} to be read tonight")
            break
    for relpath in overdue(copies, work.options["reverify_days"], work.moment)[:TOLD]:
        if relpath not in work.mismatch and relpath not in good:
            work.fail(
                f"{relpath} was not read for more than {work.options['reverify_days']} days (altbackup_reverify_days)",
                relpath,
            )
    return copies


def _problem(work: Work, relpath: str, copy: Copy, sidecar: Dna | str) -> tuple[str, bool] | None:
    """Return what is wrong with a copy that is read, and whether that is known of its bytes; None for a good one."""
    if sidecar != copy.dna:
        problem = sidecar if isinstance(sidecar, str) else f"has a dna of {sidecar.dig}, which was {copy.dna.dig}"
        return f"{relpath} {problem}", True
    try:
        dig, size = work.remote.digest(work.at(relpath), copy.dna.alg, copy.dna.size)
    except (AltbackupError, OSError) as error:
        return f"{relpath} could not be read: {explain(error)}", False
    work.read += size
    if size != copy.dna.size:
        return f"{relpath} has {'more' if size > copy.dna.size else size} bytes, but its dna says {copy.dna.size}", True
    if dig != copy.dna.dig:
        return f"{relpath} does not match its dna: {copy.dna.alg} is {dig}, expected {copy.dna.dig}", True
    return None


def _healed(work: Work, copies: dict[str, Copy], relpath: str, held: Held) -> dict[str, Copy]:
    """Put a good copy in the place of one that is not, where the node has it and the step is to upload; return the copies then."""
    own = next((one for one in held.tarballs if one.relpath == relpath and one.dna == copies[relpath].dna), None)
    rest = {path: copy for path, copy in copies.items() if path != relpath}
    if own is None or "upload" not in work.options["steps"]:
        return copies
    try:
        healed = put_one(work, Upload(own, REPLACE), held)
    except (AltbackupError, OSError) as error:
        work.fail(f"{relpath} could not be replaced by a good one: {explain(error)}", relpath)
        return copies
    work.replaced.append(relpath)
    work.notes.append(f"{relpath} was replaced by a good one")
    return {**rest, relpath: healed}
