"""Write missing sidecars."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..system.digest import digest_file, in_parallel, new_hash, open_plain
from ..system.errors import name_os_errors
from ..system.seeing import as_whom
from ..tree.failures import failure
from ..tree.layout import EXTENSIONS, is_differential, plain_status, read_state
from ..tree.publish import write_sidecar
from ..tree.sidecar import SUFFIX, Dna

_STAGE = "check"


def write_dnas(paths: Sequence[str], algorithm: str, force: bool, *, check_mode: bool = False) -> dict[str, Any]:
    """Write the missing sidecars of tarballs at absolute paths; return `dna`, `failures` and `changed`.

    A sidecar that does not match its tarball stays unless `force` is given: the tarball may be what is damaged.
    """
    new_hash(algorithm)
    result: dict[str, Any] = {"changed": False, "dna": [], "failures": []}
    if not paths:
        result["failures"].append(failure(_STAGE, "no paths are given: there is nothing to compute"))

    def look(path: str) -> tuple[Dna, bool] | str:
        try:
            return _dna_of(path, algorithm, force)
        except OSError as error:
            return f"{path} cannot be read{as_whom(error)}"

    for path, outcome in zip(paths, in_parallel(look, paths)):
        if isinstance(outcome, str):
            result["failures"].append(failure(_STAGE, outcome))
            continue
        dna, write = outcome
        try:
            if write and not check_mode:
                _flush(path)
                write_sidecar(path, dna)
        except OSError as error:
            result["failures"].append(failure(_STAGE, f"{path}{SUFFIX} cannot be written{as_whom(error)}"))
            continue
        result["changed"] = result["changed"] or write
        result["dna"].append({"path": path, "dig": dna.dig, "size": dna.size, "alg": dna.alg})
    return result


def _dna_of(path: str, algorithm: str, force: bool) -> tuple[Dna, bool] | str:
    """Return a tarball's dna and whether its sidecar has to be written, or a message why it gets none. Raise OSError."""
    if not os.path.isabs(path):
        return f"path {path!r} is not absolute"
    if not path.endswith(EXTENSIONS):
        return f"{path} is no tarball: its name ends in none of {', '.join(EXTENSIONS)}"
    before = plain_status(path)
    if before is None:
        return f"{path} does not exist or is no plain file"
    if not before.st_size:
        return f"{path} is empty, which no tarball is"
    old, problem, state = read_state(path, before.st_size)
    if state == "malformed" and not force:
        return f"{path} {problem}; force replaces it"
    if is_differential(path) and (old is None or old.base is None):
        return f"{path} is a differential: only its dump knows which full tarball it needs, so it gets no dna; copy that of another node"
    new = Dna(*digest_file(path, old.alg if old else algorithm), old.alg if old else algorithm)
    if old and old.same_content(new):
        return old, False
    if old and not force:
        return (
            f"{path} does not match its dna: {old.alg} is {new.dig} over {new.size} bytes, "
            f"expected {old.dig} over {old.size}; force replaces the dna"
        )
    if old:
        new = replace(old, dig=digest_file(path, algorithm)[0], size=new.size, alg=algorithm)
    after = os.lstat(path)
    if (before.st_ino, before.st_size, before.st_mtime_ns) != (after.st_ino, new.size, after.st_mtime_ns):
        return f"{path} changed while it was read: is it still being written?"
    return new, True


def _flush(path: str) -> None:
    """Flush a tarball to the medium, so that after a power cut no sidecar exists without its tarball's content."""
    with name_os_errors(path), open_plain(path) as stream:
        os.fsync(stream.fileno())
