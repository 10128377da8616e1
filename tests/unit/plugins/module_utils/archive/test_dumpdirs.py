"""The lists of folders in a differential: what they say, and that what a stream of an archive holds besides passes as it is."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import pytest
from helpers.hostile import TOP, block, folder, member, pax, stream

from ansible_collections.altbackup.core.plugins.module_utils.archive import dumpdirs
from ansible_collections.altbackup.core.plugins.module_utils.archive.dumpdirs import DumpdirInserter, list_folders
from ansible_collections.altbackup.core.plugins.module_utils.archive.states import FILE, FOLDER, OTHER, State, Unproven
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import Hostile


def states(words: str) -> list[State]:
    """Return states: `a/` is a folder, `a` a file, `a@` a link; `/` is the top folder."""
    forms = {"/": FOLDER, "@": OTHER}
    return [State(word.rstrip("/@").encode(), forms.get(word[-1], FILE), b"", b"") for word in words.split()]


@pytest.mark.parametrize(
    ("words", "lists"),
    [
        pytest.param("", {}, id="nothing"),
        pytest.param("/", {b"": b"\0"}, id="an empty folder"),
        pytest.param("/ a b@", {b"": b"Ya\0Yb\0\0"}, id="files and what else there is"),
        pytest.param("/ d/ d/x", {b"": b"Dd\0\0", b"d": b"Yx\0\0"}, id="a folder"),
        pytest.param("/ b a c/", {b"": b"Ya\0Yb\0Dc\0\0", b"c": b"\0"}, id="by name, whatever they are"),
        pytest.param("/ aD a", {b"": b"Ya\0YaD\0\0"}, id="a letter of a name is none of a list"),
        pytest.param("/ a a", {b"": b"Ya\0\0"}, id="one is told once"),
        pytest.param("d/x", {b"d": b"Yx\0\0"}, id="a folder that is not told of itself"),
    ],
)
def test_lists_have_what_a_folder_holds_by_name(words: str, lists: dict[bytes, bytes]) -> None:
    assert list_folders(states(words)) == lists


@pytest.mark.parametrize(("limit", "refused"), [(9, False), (8, True)])
def test_a_folder_with_too_many_entries_has_no_list(monkeypatch: pytest.MonkeyPatch, limit: int, refused: bool) -> None:
    monkeypatch.setattr(dumpdirs, "_LARGEST_LIST", limit)
    given = states("/ abc def")
    if not refused:
        monkeypatch.setattr(dumpdirs, "_LARGEST_LIST", 11)
        assert list_folders(given) == {b"": b"Yabc\0Ydef\0\0"}
        return
    with pytest.raises(Unproven, match="one of its folders has too many entries"):
        list_folders(given)


def passed(content: bytes, lists: dict[bytes, bytes] | None = None, size: int = 1 << 16) -> bytes:
    """Return what comes out of a stream, read in pieces of a size."""
    source = DumpdirInserter(io.BytesIO(content), lists or {}, TOP)
    found = b"".join(iter(lambda: source.read(size), b""))
    source.close()
    return found


def entered(content: bytes) -> dict[str, Any]:
    """Return {name: its list} of an archive, as Python reads it."""
    with tarfile.open(fileobj=io.BytesIO(content), errors="surrogateescape") as archive:
        return {found.name: found.pax_headers.get("GNU.dumpdir") for found in archive}


LONG = f"{TOP}/{'n' * 200}"


@pytest.mark.parametrize("size", [1, 100, 512, 1 << 16])
def test_lists_are_entered_in_the_headers_of_their_folders_alone(size: int) -> None:
    members = [folder(), folder(f"{TOP}/d"), member(f"{TOP}/d/x", bytes(1000)), folder(LONG), folder(f"{TOP}/else")]
    lists = {b"": b"Dd\0\0", b"d": b"Yx\0\0", LONG[len(TOP) + 1 :].encode(): b"\0", b"x": b"Yno\0\0"}
    found = passed(stream(members), lists, size)
    assert entered(found) == {
        TOP: "Dd\0\0",
        f"{TOP}/d": "Yx\0\0",
        f"{TOP}/d/x": None,
        LONG: "\0",
        f"{TOP}/else": None,
    }
    with tarfile.open(fileobj=io.BytesIO(found)) as archive:
        inside = archive.extractfile(f"{TOP}/d/x")
        assert inside is not None and inside.read() == bytes(1000)


def test_a_list_that_is_there_already_stays() -> None:
    content = stream([folder(GNU__dumpdir="Yown\0\0")])
    assert passed(content, {b"": b"Yother\0\0"}) == content


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"x", id="less than a block"),
        pytest.param(bytes(10240), id="zeros"),
        pytest.param(b"\xff" * 2000, id="no archive"),
        pytest.param(stream([folder("other")]), id="another top folder"),
        pytest.param(stream([folder(f"{TOP}else")]), id="a name that begins alike"),
        pytest.param(stream([folder(), member(f"{TOP}/a", b"x")])[:700], id="cut"),
        pytest.param(pax(b"no records"), id="an extended header at the end"),
        pytest.param(pax(b"1" * 5000 + b" path=x\n") + block(f"{TOP}/a"), id="a length of thousands of digits"),
        pytest.param(pax(("size", "9" * 5000)) + block(f"{TOP}/a"), id="a size of thousands of digits"),
        pytest.param(pax(b"0 path=x\n") + block(f"{TOP}/a"), id="a length of nothing"),
        pytest.param(block(f"{TOP}/a", at_124=b"\x80" + b"\xff" * 11), id="a file larger than any"),
        pytest.param(block(f"{TOP}/a", at_124=b"99999999999\0"), id="a size that is no number"),
    ],
)
def test_what_has_no_folder_with_a_list_passes_as_it_is(content: bytes) -> None:
    assert passed(content, {b"": b"Ya\0\0"} if TOP not in str(content[:20]) else {}) == content


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(block("PaxHeaders/x", b"x", 1 << 33) + bytes(512), id="a header of gigabytes"),
        pytest.param(pax(("comment", "x" * 400_000)) * 4, id="header after header"),
    ],
)
def test_headers_are_held_in_memory_up_to_a_limit(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(dumpdirs, "_LARGEST_LIST", 500_000)
    with pytest.raises(Hostile, match="its archive has a header that is too long"):
        passed(content)
