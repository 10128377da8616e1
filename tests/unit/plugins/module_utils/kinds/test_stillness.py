"""Messages on a folder in which something changed while it was archived."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.kinds.base import Context
from ansible_collections.altbackup.core.plugins.module_utils.kinds.items import Item
from ansible_collections.altbackup.core.plugins.module_utils.kinds.stillness import Stillness
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import SourceChanged
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import Tree

CONTEXT = Context(Tree("", ""), "", Deadline())
Walk = dict[bytes, tuple[int, ...]]


def seen(mode: int = stat.S_IFREG | 0o644, size: int = 4, time: int = 1, inode: int = 7) -> tuple[int, ...]:
    """Return a walk's entry of a path."""
    return mode, 0, 0, size, time, time, inode


FOLDER = stat.S_IFDIR | 0o755
BEFORE: Walk = {b".": seen(FOLDER, 0), b"./log": seen(), b"./sub": seen(FOLDER, 0, inode=8), b"./sub/x": seen(inode=9)}


def judged(
    after: Walk, context: Context = CONTEXT, *, left_out: Sequence[bytes] = (), path: str = "", **more: Any
) -> Any:
    """Return (notes, failures) of a folder that changed from BEFORE to `after`; its archive holds the bytes `1234` of each file."""

    def asked(paths: Sequence[str]) -> Mapping[str, Sequence[Any]]:
        return {name: (4, hashlib.sha256(b"1234").hexdigest()) for name in paths}

    return Stillness(Item("folder", "x", path, **more), context, BEFORE, left_out).judge({**BEFORE, **after}, asked)


def test_nothing_is_said_where_nothing_changed() -> None:
    assert judged({}) == ([], [])


@pytest.mark.parametrize(
    ("after", "named"),
    [
        ({b"./log": seen(time=2)}, "log"),
        ({b"./log": seen(size=3, time=2)}, "log"),
        ({b"./new": seen(inode=10)}, "new"),
        ({b"./sub": seen(FOLDER, 0, time=2, inode=8)}, "sub"),
    ],
)
def test_what_changed_is_worth_another_try_and_then_a_failure(after: Walk, named: str) -> None:
    with pytest.raises(SourceChanged, match=named) as error:
        judged(after)
    assert error.value.paths == [name for name in (named,) if f"./{name}".encode() in BEFORE]
    notes, (failure,) = judged(after, replace(CONTEXT, last=True))
    assert notes == [] and f"is stored as no state of its own, or not at all: ./{named}" in failure


@pytest.mark.parametrize("after", [{b"./new": seen(inode=10)}, {b"./sub": seen(FOLDER, 0, time=2, inode=8)}])
def test_what_appears_and_times_of_folders_are_harmless_where_nothing_else_is_to_be_had(after: Walk) -> None:
    assert judged(after, replace(CONTEXT, lenient=True)) == ([], [])


def test_what_may_change_is_a_note() -> None:
    (note,), failures = judged({b"./log": seen(time=2)}, changing=("/log",))
    assert note.endswith("is stored as it was read: ./log") and failures == []
    with pytest.raises(SourceChanged):
        judged({b"./log": seen(time=2)}, changing=("*.log",))


@pytest.mark.parametrize("content", ["12345678", "abcd5678"])
def test_what_only_grew_is_told_from_what_was_written_anew(tmp_path: Path, content: str) -> None:
    file = tmp_path / "log"
    file.write_text(content)
    after = {b"./log": seen(size=8, time=2, inode=file.stat().st_ino)}
    before = {**BEFORE, b"./log": seen(inode=file.stat().st_ino)}
    stillness = Stillness(Item("folder", "x", str(tmp_path)), CONTEXT, before, ())
    told = {"log": (4, hashlib.sha256(b"1234").hexdigest())}
    if content.startswith("1234"):
        (note,), failures = stillness.judge({**before, **after}, lambda paths: told)
        assert note.startswith("only grew while it was read") and failures == []
    else:
        with pytest.raises(SourceChanged):
            stillness.judge({**before, **after}, lambda paths: told)


def test_what_was_left_out_is_a_failure() -> None:
    notes, (failure,) = judged({b"./log": seen(time=2)}, left_out=[b"./log"])
    assert notes == [] and failure.startswith("changed whenever it was read, and is not stored: ./log")
