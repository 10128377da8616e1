"""What is known of a full archive, kept for the differentials after it: that it comes back, and is none where it is damaged."""

from __future__ import annotations

import collections
import gzip
import io
import itertools
import json
import stat
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.trees import needs_root, small_disk

from ansible_collections.altbackup.core.plugins.module_utils.archive.attributes import Attributes
from ansible_collections.altbackup.core.plugins.module_utils.archive.digests import Digests
from ansible_collections.altbackup.core.plugins.module_utils.archive.snapshot import (
    Entry,
    Members,
    Snapshot,
    read_known,
    read_snapshot,
    write_known,
    write_snapshot,
)
from ansible_collections.altbackup.core.plugins.module_utils.archive.states import FILE, FOLDER, OTHER, State, Unproven


def state(path: str, form: int = FILE) -> State:
    """Return the state of a thing as it was seen before."""
    return State(path.encode(), form, b"seen of " + path.encode().ljust(8, b"_"), b"l" * 16)


def entry(path: str, form: int = FILE, **values: object) -> Entry:
    """Return a member of an archive, which tells nothing of how it was seen."""
    given = State(path.encode(), form, bytes(16), bytes(16))
    line = (tarfile.SYMTYPE if form == OTHER else tarfile.REGTYPE) + b"\0" + path.encode() + b"\n"
    return replace(Entry(given, 5, b"d" * 32, 1, True, b"attributes", line), **values)  # type: ignore[arg-type]


TOP = (entry("", FOLDER, digest=b"", size=0), state("", FOLDER))
A, B, LINK = (
    (entry("a"), state("a")),
    (entry("b", is_plain=False), state("b")),
    (entry("link", OTHER), state("link", OTHER)),
)


def written(path: Path, *pairs: tuple[Entry, State]) -> Snapshot:
    """Write a snapshot, and return it as it is read."""
    write_snapshot(str(path), {"top": "thing"}, [one for one, _ in pairs], [seen for _, seen in pairs])
    found = read_snapshot(str(path))
    assert found is not None
    return found


def test_members_come_back_with_what_was_seen_of_them(tmp_path: Path) -> None:
    snapshot = written(tmp_path / "snapshot", TOP, A, B, LINK)
    assert snapshot.about == {"top": "thing", "form": 1}
    assert list(snapshot.entries()) == [replace(one, state=seen) for one, seen in (TOP, A, B, LINK)]
    assert stat.S_IMODE((tmp_path / "snapshot").stat().st_mode) == 0o600
    assert list(written(tmp_path / "empty").entries()) == []


def test_a_reader_gets_what_it_needs_and_which_are_links(tmp_path: Path) -> None:
    snapshot = written(tmp_path / "snapshot", TOP, A, LINK)
    with (tmp_path / "known").open("wb") as output:
        assert write_known(snapshot, output) == {"link"}
    known = read_known(str(tmp_path / "known"))
    assert list(known) == [b"", b"a", b"link"]
    assert known[b"a"] == replace(A[0], state=A[1], attributes=b"", line=b"")


@pytest.mark.parametrize(
    ("members", "states", "reason"),
    [
        pytest.param([A[0]], [], "what was not seen before", id="nothing was seen"),
        pytest.param([A[0]], [B[1]], "what was not seen before", id="another one was"),
        pytest.param([B[0], A[0]], [A[1], B[1]], "what was not seen before", id="in another order"),
        pytest.param([A[0], A[0]], [A[1]], "what was not seen before", id="one twice"),
        pytest.param([A[0]], [state("a", FOLDER)], "something else than was seen", id="it was a folder"),
        pytest.param([entry("a", FOLDER)], [A[1]], "something else than was seen", id="it is a folder"),
    ],
)
def test_what_is_not_of_one_archive_is_no_snapshot(
    tmp_path: Path, members: list[Entry], states: list[State], reason: str
) -> None:
    with pytest.raises(Unproven, match=reason):
        write_snapshot(str(tmp_path / "snapshot"), {}, members, states)


def test_what_was_seen_and_is_not_archived_does_not_matter(tmp_path: Path) -> None:
    write_snapshot(str(tmp_path / "snapshot"), {}, [B[0]], [A[1], B[1], LINK[1]])
    found = read_snapshot(str(tmp_path / "snapshot"))
    assert found is not None and [one.state for one in found.entries()] == [B[1]]


@pytest.mark.parametrize("damage", ["cut", "bit", "empty", "zeros", "cut short", "no compression"])
def test_a_snapshot_that_is_damaged_is_none(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "snapshot"
    written(path, TOP, *[(entry(f"{number}" * 20), state(f"{number}" * 20)) for number in range(50)])
    content = bytearray(path.read_bytes())
    changed = {
        "cut": content[:-20],
        "cut short": content[:5],
        "empty": b"",
        "zeros": bytes(len(content)),
        "no compression": gzip.decompress(content),
    }
    content[len(content) // 2] ^= 1
    path.write_bytes(changed.get(damage, content))
    snapshot = read_snapshot(str(path))
    if snapshot is not None:
        with pytest.raises(Unproven, match="is damaged"):
            list(snapshot.entries())


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\n", id="no line of it"),
        pytest.param(b"no JSON\n", id="no JSON"),
        pytest.param(b"[" * 60000, id="nested without end"),
        pytest.param(b"\xff\n", id="no text"),
        pytest.param(b"[1]\n", id="no mapping"),
        pytest.param(b"{}\n", id="of no form"),
        pytest.param(b'{"form": 2}\n', id="of another form"),
        pytest.param(b'{"form": 1, "x": "' + b"x" * (1 << 17) + b'"}\n', id="longer than any"),
    ],
)
def test_what_is_no_snapshot_is_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "snapshot"
    path.write_bytes(gzip.compress(content))
    assert read_snapshot(str(path)) is None


def test_a_snapshot_that_is_not_there_or_behind_a_link_is_none(tmp_path: Path) -> None:
    written(tmp_path / "snapshot", TOP)
    (tmp_path / "link").symlink_to("snapshot")
    assert read_snapshot(str(tmp_path / "none")) is None
    assert read_snapshot(str(tmp_path / "link")) is None


@pytest.mark.parametrize("cut", [1, 30, 95, 99])
def test_entries_that_are_cut_are_damaged(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "snapshot"
    written(path, TOP, A)
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-cut]))
    snapshot = read_snapshot(str(path))
    assert snapshot is not None
    with pytest.raises(Unproven, match="what is known of its full tarball, is damaged"):
        list(snapshot.entries())


def test_an_old_snapshot_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "snapshot").write_text("old")
    with pytest.raises(FileExistsError):
        write_snapshot(str(tmp_path / "snapshot"), {}, [], [])
    assert (tmp_path / "snapshot").read_text() == "old"


def test_what_is_told_while_an_archive_is_made_comes_back_in_its_order() -> None:
    with Members() as members:
        assert list(members) == []
        for name, kind in (("thing", tarfile.DIRTYPE), ("a\udcff", tarfile.REGTYPE), ("link", tarfile.SYMTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.size = kind, 7
            members.add(info, name, b"", 2, is_plain=False, attributes=b"x", line=b"y")
            assert [one.state.path for one in members][-1] == name.encode("utf-8", "surrogateescape")
        assert [one.state.file_type for one in members] == [FOLDER, FILE, OTHER]
        assert [(one.digest, one.size, one.content_class, one.is_plain) for one in members] == [(b"", 7, 2, False)] * 3


def test_about_is_kept_as_it_was_given(tmp_path: Path) -> None:
    about = {"top": "ä", "dig": "0" * 64, "way": [[0, 0], False, True]}
    write_snapshot(str(tmp_path / "snapshot"), about, [], [])
    line = gzip.GzipFile(fileobj=io.BytesIO((tmp_path / "snapshot").read_bytes())).readline()
    assert json.loads(line) == {**about, "form": 1}


def _digests() -> Iterator[None]:
    with Digests() as digests:
        for number in itertools.count():
            yield digests.put(f"file {number}", 1, bytes(32), 0)


def _attributes() -> Iterator[None]:
    member = tarfile.TarInfo("top/file")
    member.pax_headers = {"SCHILY.xattr.trusted.x": "y" * 100}
    with Attributes() as attributes:
        while True:
            yield attributes.add(member)


def _members() -> Iterator[None]:
    with Members() as members:
        for number in itertools.count():
            path = f"file {number}"
            yield members.add(
                tarfile.TarInfo(path), path, bytes(32), 0, is_plain=True, attributes=bytes(16), line=b"x" * 100
            )


@needs_root
@pytest.mark.parametrize("writes", [_digests, _attributes, _members])
def test_a_full_disk_below_temporary_files_is_told_with_its_place(
    writes: Callable[[], Iterator[None]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path / "disk", "size=64k") as disk:
        monkeypatch.setattr(tempfile, "tempdir", str(disk))
        with pytest.raises(OSError, match="No space left on device") as caught:
            collections.deque(itertools.islice(writes(), 100_000), maxlen=0)
        assert caught.value.filename == str(disk)
