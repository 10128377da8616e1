"""Archives as a dump writes them, in one call."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.altbackup.core.plugins.module_utils.archive.manifest import Manifest
from ansible_collections.altbackup.core.plugins.module_utils.archive.write import (
    ArchiveChecker,
    ArchiveFormat,
    Part,
    store_archive,
    tar_process,
)
from ansible_collections.altbackup.core.plugins.module_utils.system.names import Names
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.tree.sidecar import Dna


def write_archive(
    destination: str,
    parts: Sequence[Part],
    *,
    top: str,
    form: ArchiveFormat,
    deadline: Deadline,
    owner: tuple[int, int] | None = None,
    fixed_times: bool = False,
    sparse: bool = False,
    manifest: Manifest | None = None,
    checker: ArchiveChecker | None = None,
    stderr_lines: list[str] | None = None,
    names: Names | None = None,
) -> Dna:
    """Write an archive as a new file, flush it, and return its Dna; `top` is the name of its top folder.

    A given manifest is filled in the same pass, in which a `checker` sees what is written; `stderr_lines` receives tar's warnings. Raise
    ToolFailed, ToolMissing, DeadlineExceeded, what the judge raises, or OSError; the caller removes the file.
    """
    with tar_process(parts, top=top, owner=owner, fixed_times=fixed_times, sparse=sparse, names=names) as tar:
        stream, root = tar.stdout, parts[0].root
        dna = store_archive(
            destination, stream, tar, root, top=top, form=form, deadline=deadline, manifest=manifest, checker=checker
        )
        if stderr_lines is not None:
            stderr_lines += tar.stderr().splitlines()
    return dna
