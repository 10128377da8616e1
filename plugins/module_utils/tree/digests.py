"""The digests of files, each read once, on all cores."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping

from ..system import progress
from ..system.digest import digest_file, in_parallel
from .sidecar import Dna


def digests(dnas: Mapping[str, Dna], from_disk: Collection[str] = ()) -> dict[str, tuple[str, int] | OSError]:
    """Return {path: (digest, bytes) or the error of reading} of {path: dna}; hard links are read once, on all cores.

    Paths in `from_disk` are read from the medium, not from the kernel's cache. The digest uses the dna's algorithm; a file whose names need
    two algorithms is read once for each. Names of one file share one result object.
    """
    asked = set(from_disk)
    groups: dict[tuple[object, ...], list[str]] = {}
    for path, dna in dnas.items():
        try:
            status = os.lstat(path)
            groups.setdefault((status.st_dev, status.st_ino, dna.alg), []).append(path)
        except OSError:
            groups.setdefault((path,), []).append(path)

    def read(paths: list[str]) -> tuple[str, int] | OSError:
        try:
            return digest_file(paths[0], dnas[paths[0]].alg, from_disk=not asked.isdisjoint(paths))
        except OSError as error:
            return error

    # the largest first, so that no core is left alone with it at the end
    order = sorted(groups.values(), key=lambda paths: -dnas[paths[0]].size)
    with progress.all_of_it("read", sum(dnas[paths[0]].size for paths in order)):
        results = in_parallel(read, order)
    return {path: result for paths, result in zip(order, results) for path in paths}
