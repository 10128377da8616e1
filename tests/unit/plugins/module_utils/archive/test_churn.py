"""The fate of an earlier dump's files, by the lists of their contents."""

from __future__ import annotations

import io
import random
from collections.abc import Mapping
from pathlib import Path

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.archive import churn
from ansible_collections.altbackup.core.plugins.module_utils.archive.digests import Digests
from ansible_collections.altbackup.core.plugins.module_utils.system.digest import new_hash
from ansible_collections.altbackup.core.plugins.module_utils.tree.doubt import Churn

TEXT = Path("/usr/share/common-licenses/GPL-3")
CHANCES = random.Random(1)


def digests_of(files: Mapping[str, bytes]) -> Digests:
    """Return the digests of files, {path: content}."""
    digests = Digests()
    for path, content in files.items():
        value = new_hash("sha256")
        value.update(content)
        digests.add(path, len(content), value.digest(), content[:4096])
    return digests


def compared(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> Churn:
    with digests_of(before) as old, digests_of(after) as new:
        return churn.compare_lists(io.BytesIO(b"".join(old.compact())), new.compact)


@pytest.mark.parametrize("at_a_time", [1, 2, 1000])
def test_files_that_are_gone_or_hold_something_else_are_counted(
    at_a_time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(churn, "_AT_A_TIME", at_a_time)
    before = {str(number): b"content %d" % number * 100 for number in range(10)} | {"empty": b""}
    after = {**before, "3": b"other" * 100, "4": b"", "new": b"new" * 200, "empty": b"x"}
    del after["5"], after["6"]
    assert compared(before, after) == Churn(10, 4, 3, 1.0, 1.0)
    assert compared(before, before) == Churn(10, 0, 0)
    assert compared({}, before) == Churn(0, 0, 10, None, 1.0)


def test_a_renamed_file_is_gone_and_another_one_came() -> None:
    text, chance = TEXT.read_bytes(), CHANCES.randbytes(5000)
    assert compared({"a": text, "b": text}, {"a": text, "b.locked": chance}) == Churn(2, 1, 1, 1.0, 0.0)
