"""The fate of an earlier dump's files, by the lists of their contents."""

from __future__ import annotations

import gzip
import io
import random
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.archive import churn
from ansible_collections.altbackup.core.plugins.module_utils.archive.digests import (
    CHANCE,
    ORDER,
    UNTRIED,
    Digests,
    look_of,
)
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


@pytest.mark.parametrize(
    ("content", "look"),
    [
        (b"", UNTRIED),
        (b"short", UNTRIED),
        (CHANCES.randbytes(15), UNTRIED),
        (CHANCES.randbytes(32), CHANCE),
        (b"user: secret, of a few bytes\n", ORDER),
        (("x" * 4095 + "\u00e4").encode()[:4096], ORDER),
        ("Gr\u00fc\u00dfe".encode("latin-1") * 100, ORDER),
        ("a few words of text".encode("utf-16") * 20, ORDER),
        (b"a word, and " * 30, ORDER),
        (bytes(4096), ORDER),
        (CHANCES.randbytes(256), CHANCE),
        (CHANCES.randbytes(1000), CHANCE),
        (CHANCES.randbytes(4096), CHANCE),
        (b"Salted__" + CHANCES.randbytes(4088), CHANCE),
        (b"age-encryption.org/v1\n-> X25519 " + b"Qx7" * 14 + b"\n---\n" + CHANCES.randbytes(4000), CHANCE),
        (b"\x89PNG\r\n" + CHANCES.randbytes(4000), ORDER),
        (b"\0\0\0\x18ftypmp42" + CHANCES.randbytes(4000), ORDER),
        (gzip.compress(CHANCES.randbytes(5000)), ORDER),
    ],
)
def test_what_looks_like_chance_is_told_from_what_was_compressed(content: bytes, look: int) -> None:
    assert look_of(content[:4096]) == look


def test_texts_sources_and_office_documents_have_an_order() -> None:
    document = io.BytesIO()
    with zipfile.ZipFile(document, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", TEXT.read_text())
    for content in (TEXT.read_bytes(), Path(__file__).read_bytes(), document.getvalue()):
        assert look_of(content[:4096]) == ORDER
