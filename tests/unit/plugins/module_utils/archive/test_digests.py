"""What is kept of the files in an archive: sizes, digests, and how their content looks."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import zipfile
from pathlib import Path

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.archive.digests import (
    COMPACT,
    ORDERED,
    RANDOM,
    UNCLASSIFIED,
    Digests,
    content_class_of,
)

TEXT = Path("/usr/share/common-licenses/GPL-3")
CHANCES = random.Random(1)


def of(content: bytes) -> bytes:
    """Return the digest of a content."""
    return hashlib.sha256(content).digest()


@pytest.mark.parametrize(
    ("content", "look"),
    [
        (b"", UNCLASSIFIED),
        (b"short", UNCLASSIFIED),
        (CHANCES.randbytes(15), UNCLASSIFIED),
        (CHANCES.randbytes(32), RANDOM),
        (b"user: secret, of a few bytes\n", ORDERED),
        (("x" * 4095 + "\u00e4").encode()[:4096], ORDERED),
        ("Gr\u00fc\u00dfe".encode("latin-1") * 100, ORDERED),
        ("a few words of text".encode("utf-16") * 20, ORDERED),
        (b"a word, and " * 30, ORDERED),
        (bytes(4096), ORDERED),
        (CHANCES.randbytes(256), RANDOM),
        (CHANCES.randbytes(1000), RANDOM),
        (CHANCES.randbytes(4096), RANDOM),
        (b"Salted__" + CHANCES.randbytes(4088), RANDOM),
        (b"age-encryption.org/v1\n-> X25519 " + b"Qx7" * 14 + b"\n---\n" + CHANCES.randbytes(4000), RANDOM),
        (b"\x89PNG\r\n" + CHANCES.randbytes(4000), ORDERED),
        (b"\0\0\0\x18ftypmp42" + CHANCES.randbytes(4000), ORDERED),
        (gzip.compress(CHANCES.randbytes(5000)), ORDERED),
    ],
)
def test_what_looks_like_chance_is_told_from_what_was_compressed(content: bytes, look: int) -> None:
    assert content_class_of(content[:4096]) == look


def test_texts_sources_and_office_documents_have_an_order() -> None:
    document = io.BytesIO()
    with zipfile.ZipFile(document, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", TEXT.read_text())
    for content in (TEXT.read_bytes(), Path(__file__).read_bytes(), document.getvalue()):
        assert content_class_of(content[:4096]) == ORDERED


@pytest.mark.parametrize(
    ("head", "look"),
    [
        pytest.param(b"\xff" * 15, UNCLASSIFIED, id="too short for anything"),
        pytest.param(b"\xff" * 16, RANDOM, id="long enough to be no text"),
        pytest.param(b"x" * 16, ORDERED, id="long enough to be one"),
        pytest.param(b"\xff" * 255, RANDOM, id="too short to be compressed"),
        pytest.param(b"\xff" * 256, ORDERED, id="long enough to be compressed"),
        pytest.param(b"x" * 4093 + "\U0001f600".encode()[:3], ORDERED, id="the last character is cut"),
        pytest.param("\U0001f600".encode()[:3] + b"x" * 20, RANDOM, id="another one is"),
        pytest.param(b"x" * 20 + b"\x80", RANDOM, id="a byte that begins no character at the end"),
        pytest.param(b"xPK\x03\x04" + b"\xff" * 20, RANDOM, id="a signature that is not at the beginning"),
    ],
)
def test_a_look_has_its_limits(head: bytes, look: int) -> None:
    assert content_class_of(head) == look


def test_files_are_found_by_their_paths_and_the_last_of_one_path_counts() -> None:
    with Digests() as digests:
        assert digests.look_up(["a"]) == {}
        digests.add("a", 1, of(b"a"))
        digests.add("a\udcff", 2, of(b"bb"))
        assert digests.look_up(["a", "b"]) == {"a": (1, of(b"a").hex())}
        digests.add("a", 3, of(b"ccc"))  # what is looked up does not end what is added
        assert digests.look_up(["a", "a\udcff"]) == {"a": (3, of(b"ccc").hex()), "a\udcff": (2, of(b"bb").hex())}


def test_what_is_kept_for_later_has_no_empty_files_and_is_in_the_order_of_the_archive() -> None:
    with Digests() as digests:
        assert b"".join(digests.compact()) == b""
        for number in range(3000):
            digests.put(str(number), number % 3, of(b"%d" % number), number % 2)
        entries = list(COMPACT.iter_unpack(b"".join(digests.compact())))
    numbers = [number for number in range(3000) if number % 3]
    assert len(entries) == len(numbers) == 2000
    assert [entry[1] >> 56 for entry in entries] == [number % 2 for number in numbers]
    assert [entry[1] & (1 << 56) - 1 for entry in entries] == [
        int.from_bytes(of(b"%d" % number)[:7], "little") for number in numbers
    ]


@pytest.mark.parametrize(("every", "least", "most"), [(1, 1000, 1000), (10, 50, 150), (1 << 32, 0, 1)])
def test_of_one_file_in_so_many_it_is_told_how_it_looks(every: int, least: int, most: int) -> None:
    with Digests() as digests:
        digests.every = every
        looks = [digests.add(str(number), 20, of(b""), b"a text of some words") for number in range(1000)]
    assert least <= looks.count(ORDERED) <= most
    assert set(looks) <= {ORDERED, UNCLASSIFIED}
