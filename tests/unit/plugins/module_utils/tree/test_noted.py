"""Notes of dumps beside their records, bound to these by their content."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.trees import marked

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import Tree, open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.noted import (
    NotNoted,
    forget_noted,
    keep_noted,
    noted_by,
    noted_path,
    open_noted,
)

KEY = "folders/site"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return open_tree(str(marked(tmp_path / "base")))


def blocks() -> Iterator[bytes]:
    yield b"one"
    yield b"two"


def test_what_was_noted_is_read_again_and_written_once(tree: Tree) -> None:
    digest = keep_noted(tree, KEY, blocks)
    path = Path(noted_path(tree, KEY, digest))
    before = path.stat()
    assert keep_noted(tree, KEY, blocks) == digest
    assert (path.stat().st_ino, path.stat().st_mtime_ns, path.stat().st_mode & 0o777) == (
        before.st_ino,
        before.st_mtime_ns,
        0o600,
    )
    with open_noted(tree, KEY, {"noted": {"files": digest}}, "files") as stream:
        assert stream.read() == b"onetwo"
    assert os.listdir(path.parent) == [digest]


def test_what_was_changed_since_is_a_failure_that_names_the_file(tree: Tree) -> None:
    digest = keep_noted(tree, KEY, blocks)
    path = Path(noted_path(tree, KEY, digest))
    for content in (b"", b"onetwO"):
        path.write_bytes(content)
        with (
            pytest.raises(AltbackupError, match=f"{path}, .* is damaged, .*: rm {path} ") as error,
            open_noted(tree, KEY, {"noted": {"files": digest}}, "files"),
        ):
            pass
        assert not isinstance(error.value, NotNoted)


@pytest.mark.parametrize("record", [{}, {"noted": {"files": "0" * 64}}, {"noted": 3}, {"noted": {"files": "../x"}}])
def test_what_is_not_there_is_told_apart(tree: Tree, record: dict[str, object]) -> None:
    with pytest.raises(NotNoted), open_noted(tree, KEY, record, "files"):
        pass


def test_what_no_record_names_is_forgotten(tree: Tree) -> None:
    forget_noted(tree, KEY, [])
    first, second = keep_noted(tree, KEY, blocks), keep_noted(tree, KEY, lambda: [b"x"])
    other = keep_noted(tree, "folders/other", blocks)
    Path(noted_path(tree, KEY, f".altbackup-tmp-1-{first}")).touch()
    forget_noted(tree, KEY, [second])
    assert os.listdir(os.path.dirname(noted_path(tree, KEY, first))) == [second]
    assert os.path.exists(noted_path(tree, "folders/other", other))
    for key in (KEY, "folders/other"):
        forget_noted(tree, key, [])
    assert not os.path.exists(os.path.join(tree.private, "noted"))


def test_only_digests_are_names_of_files() -> None:
    said = {
        "files": "a" * 64,
        "up": "../" + "a" * 61,
        "short": "a",
        "number": 3,
        "upper": "A" * 64,
        "line": "a" * 63 + "\n",
    }
    assert noted_by({"noted": said}) == {"files": "a" * 64}


def test_a_failed_write_leaves_nothing(tree: Tree) -> None:
    turns = []

    def failing() -> Iterator[bytes]:
        turns.append(1)
        yield b"x"
        if len(turns) > 1:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        keep_noted(tree, KEY, failing)
    assert os.listdir(os.path.dirname(noted_path(tree, KEY, "x"))) == []
