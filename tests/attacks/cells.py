"""Which cells of role, kind and stage have attempts, and why the others have none."""

from __future__ import annotations

from collections.abc import Iterator

from attacks.registry import ATTEMPTS, KINDS, ROLES, STAGES

ALL = " ".join(KINDS)
REASONS: tuple[tuple[str, str, str, str], ...] = (
    ("user", "check purge heal undo mark", ALL, "reads, moves and removes below the base alone, whose folder is root's (0700): no path of a user leads there"),
    ("user", "preflight", "sqlite", "is not discovered, and its size is taken by lstat: nothing is opened"),
    ("user", "list", "folder sqlite", "is not discovered: its name is the administrator's"),
    ("user", "rekey", ALL, "reads and replaces below the base alone, whose folder is root's (0700)"),
    ("source", "rekey", ALL, "has a source make its older tarballs anew: one that was taken over must not be asked for it (docs/encryption.md)"),
    ("source", "adopt", ALL, "looks at the marker beside a copy on that node alone: root there is the attacker"),
    ("source", "restore.sh", ALL, "reads on a target what was accepted there: the rows of the target have the same bytes"),
    ("target", "dump", ALL, "asks no target for anything"),
    ("target", "adopt", ALL, "happens on the source alone"),
)  # fmt: skip


def covered() -> dict[tuple[str, str, str], int]:
    """Return the number of attempts of each cell, including empty ones."""
    found = {(role, stage, kind): 0 for role in ROLES for stage in STAGES for kind in KINDS}
    for attempt in ATTEMPTS:
        for stage in attempt.stage.split():
            for kind in attempt.kinds:
                found[attempt.role, stage, kind] += 1
    return found


def reason(role: str, stage: str, kind: str) -> str:
    """Return why a cell is empty, an empty text if that is unknown."""
    found = (
        why for who, stages, kinds, why in REASONS if who == role and stage in stages.split() and kind in kinds.split()
    )
    return next(found, "")


def table() -> Iterator[str]:
    """Yield the lines of a table of all cells, with the reasons below."""
    cells = covered()
    yield f"{'role':8} {'stage':12} " + " ".join(f"{kind:>7}" for kind in KINDS)
    for role in ROLES:
        for stage in STAGES:
            counts = [str(cells[role, stage, kind] or "-") for kind in KINDS]
            yield f"{role:8} {stage:12} " + " ".join(f"{count:>7}" for count in counts)
    for role, stages, kinds, why in REASONS:
        yield f"- {role}, {stages}, {'all kinds' if kinds == ALL else kinds}: it {why}"
