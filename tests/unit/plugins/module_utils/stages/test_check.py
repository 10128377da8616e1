"""Functions of check, in situations that the modules' tests cannot cause."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import DAY, STAMP, marked, put, reasons

from ansible_collections.altbackup.core.plugins.module_utils.stages import check
from ansible_collections.altbackup.core.plugins.module_utils.tree.sidecar import Dna

CONTENT = b"abc" * 1000


def shrink(path: Path) -> None:
    """Truncate a file."""
    os.truncate(path, 10)


@pytest.mark.parametrize(
    ("meanwhile", "reason"),
    [
        (shrink, "has 10 bytes, but its dna says 3000"),
        (Path.unlink, "cannot be read: No such file or directory"),
        (lambda path: path.write_bytes(CONTENT + b"x"), "has 3001 bytes, but its dna says 3000"),
        (lambda path: path.write_bytes(CONTENT[::-1]), "does not match its dna: sha256 is"),
    ],
)
@pytest.mark.parametrize("by_path", [True, False])
def test_what_happens_to_a_file_meanwhile_is_seen_and_stops_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, meanwhile: Callable[[Path], Any], reason: str, by_path: bool
) -> None:
    base = marked(tmp_path / "b")
    bad = put(base, f"svn/bad/{STAMP}/bad-1.tar", CONTENT)
    good = put(base, f"svn/good/{STAMP}/good-1.tar", CONTENT)
    digests = check.digests

    def late(dnas: Mapping[str, Dna]) -> Any:
        meanwhile(bad)
        return digests(dnas)

    monkeypatch.setattr(check, "digests", late)
    if by_path:
        result = check.verify_paths([str(bad), str(good)])
    else:
        result = check.verify_base(str(base), DAY)
    prefix = f"{base}/" if by_path else ""
    assert result["match"] == [f"{prefix}svn/good/{STAMP}/good-1.tar"]
    assert result["mismatch"] == [f"{prefix}svn/bad/{STAMP}/bad-1.tar"]
    assert len(result["failures"]) == 1
    assert f"svn/bad/{STAMP}/bad-1.tar {reason}" in reasons(result)[0]


@pytest.mark.parametrize(
    ("outcome", "state", "reason"),
    [
        (("d1", 3000), "match", ""),
        (("d1", 10), "mismatch", "x.tar has 10 bytes, but its dna says 3000"),
        (("d2", 3000), "mismatch", "x.tar does not match its dna: sha256 is d2, expected d1"),
        (
            FileNotFoundError(2, "No such file or directory"),
            "mismatch",
            "x.tar cannot be read: No such file or directory",
        ),
    ],
)
def test_verdict_on_what_was_read(outcome: tuple[str, int] | OSError, state: str, reason: str) -> None:
    assert check.compare_with_dna("x.tar", Dna("d1", 3000, "sha256"), outcome) == check.Verification(
        state, "x.tar", reason
    )
