"""What a dump reports of an item: what is incomplete, suspect, damaged, or had no room."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from helpers.dumps import dump_of
from helpers.original_trees import put
from helpers.trees import FIRST, SECOND

from ansible_collections.altbackup.core.plugins.module_utils.stages.dump_report import (
    report_incomplete,
    report_suspect,
    report_unusable,
    with_space,
)
from ansible_collections.altbackup.core.plugins.module_utils.stages.dump_state import Outcome, Past
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import (
    AltbackupError,
    DigestMismatch,
    NoRoom,
    ToolFailed,
)
from ansible_collections.altbackup.core.plugins.module_utils.tree.marks import Marks
from ansible_collections.altbackup.core.plugins.module_utils.tree.readings import readings
from ansible_collections.altbackup.core.plugins.module_utils.tree.scan import scan

RELPATH = f"folders/x/{SECOND}/x.tar"


@pytest.mark.parametrize(
    ("error", "begins"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/x/y"), "/x/y: No space left on device: "),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), "/x/y"), "/x/y: Disk quota exceeded: "),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "BASE: No space left on device: "),
        (ToolFailed("svnadmin failed: Can't write: No space left on device"), "svnadmin failed: Can't write: No space"),
        (OSError(errno.EIO, os.strerror(errno.EIO)), None),
        (ToolFailed("svnadmin failed"), None),
        (AltbackupError("nothing of that"), None),
    ],
)
def test_of_a_full_disk_it_is_told_how_much_is_free(
    tmp_path: Path, error: AltbackupError | OSError, begins: str | None
) -> None:
    tree = dump_of(tmp_path / "base").context.tree
    found = with_space(error, tree)
    if begins is None:
        assert found is error
        return
    assert isinstance(found, NoRoom) and str(found).startswith(begins.replace("BASE", tree.base))
    assert str(found).endswith(f" are free below {tree.base}; nothing was kept of this attempt")


@pytest.mark.parametrize("reasons", [[], ["a"], ["a", "b"]])
def test_each_reason_why_an_item_is_not_whole_is_a_failure(tmp_path: Path, reasons: list[str]) -> None:
    outcome = Outcome()
    report_incomplete(dump_of(tmp_path / "base").item, iter(reasons), outcome)
    assert [entry["reason"] for entry in outcome.failures] == [f"item folder 'x': {reason}" for reason in reasons]
    assert {entry["name"] for entry in outcome.failures} <= {"x"}


@pytest.mark.parametrize(
    ("record", "accepted", "is_told"),
    [
        ({}, "", False),
        ({"suspect": []}, "", False),
        ({"suspect": ["it shrank"]}, "", True),
        ({"suspect": ["it shrank"]}, FIRST, True),
        ({"suspect": ["it shrank"]}, SECOND, False),
        ({"suspect": True}, "", True),
    ],
)
def test_a_suspect_that_nobody_accepted_is_a_failure(
    tmp_path: Path, record: dict[str, Any], accepted: str, is_told: bool
) -> None:
    dump = dump_of(tmp_path / "base", marks=Marks({"folders/x": accepted} if accepted else {}))
    report_suspect(dump, {"relpath": RELPATH, **record})
    assert bool(dump.outcome.failures) is is_told


def test_a_suspect_is_told_with_what_to_do_about_it(tmp_path: Path) -> None:
    dump = dump_of(tmp_path / "base", past=Past([{"relpath": f"folders/x/{FIRST}/x.tar"}]))
    report_suspect(dump, {"relpath": RELPATH, "suspect": ["it shrank", "its UUID changed"]})
    (entry,) = dump.outcome.failures
    first, kept, look, accept, right = entry["reason"].split("\n")
    assert first == "item folder 'x': the new copy is suspect: it shrank; its UUID changed"
    assert (
        kept.endswith(f"counts as none: {RELPATH}")
        and f"altbackup restore SOURCE/folders/x --at {SECOND} --to /NEW/PATH " in look
    )
    assert accept.endswith(": altbackup accept SOURCE/folders/x -i INVENTORY")
    assert f"the last good one again, of {FIRST}" in right and f" --at {FIRST} " in right
    without = dump_of(tmp_path / "other", past=Past(whole=False))
    report_suspect(without, {"relpath": RELPATH, "suspect": ["it shrank"]})
    assert without.outcome.failures[0]["reason"].endswith("the next night is compared with the last good one again")


@pytest.mark.parametrize(
    ("error", "said", "doubted"),
    [
        (DigestMismatch("x is not what was written"), "an older copy is damaged: x is not what was written; ", True),
        (
            OSError(errno.EIO, os.strerror(errno.EIO), "x"),
            "an older copy cannot be used: x: Input/output error; ",
            False,
        ),
    ],
)
def test_an_older_copy_that_cannot_be_used_is_told_and_if_damaged_read_first_by_the_next_check(
    tmp_path: Path, error: DigestMismatch | OSError, said: str, doubted: bool
) -> None:
    dump = dump_of(tmp_path / "base")
    put(tmp_path / "base", RELPATH)
    (old,) = scan(dump.context.tree).verified()
    report_unusable(dump.context.tree, old, error, dump.outcome)
    assert dump.outcome.failures[0]["reason"] == f"{said}the new one was stored by itself"
    assert readings(dump.context.tree) == ({RELPATH: ""} if doubted else {})
