"""What an archived repository says of its references, read as text, and what of them is compared with its record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.kinds.git_proof import (
    _archived_references,
    _compare_repository,
    _resolved,
)
from ansible_collections.altbackup.core.plugins.module_utils.kinds.git_tool import References
from ansible_collections.altbackup.core.plugins.module_utils.kinds.proofs import Proof
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import ProofFailed
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.system.sandbox import Sandbox

A, B, WIDE = b"a" * 40, b"b" * 40, b"c" * 64
HEAD = b"ref: refs/heads/main"


def archived(tmp_path: Path, loose: dict[str, bytes], packed: bytes | None = None, head: bytes = HEAD) -> References:
    """Return the references of a repository with loose and packed ones."""
    folder = tmp_path / "thing.git"
    (folder / "refs").mkdir(parents=True)
    (folder / "HEAD").write_bytes(head)
    if packed is not None:
        (folder / "packed-refs").write_bytes(packed)
    for name, value in loose.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(value)
    return _archived_references(str(folder), str(folder / "refs"))


@pytest.mark.parametrize(
    ("loose", "packed", "lines"),
    [
        pytest.param({}, None, [], id="none"),
        pytest.param({}, b"", [], id="an empty list"),
        pytest.param({"refs/heads/main": A + b"\n"}, None, [(A, b"refs/heads/main", b"")], id="a loose one"),
        pytest.param({}, A + b" refs/heads/main\n", [(A, b"refs/heads/main", b"")], id="a packed one"),
        pytest.param({}, A + b" refs/heads/main", [(A, b"refs/heads/main", b"")], id="without an end of line"),
        pytest.param(
            {"refs/heads/main": B}, A + b" refs/heads/main\n", [(B, b"refs/heads/main", b"")], id="the loose one counts"
        ),
        pytest.param(
            {},
            b"# pack-refs with: peeled\n" + A + b" refs/tags/v1\n^" + B + b"\n",
            [(A, b"refs/tags/v1", b"")],
            id="what a tag leads to is none",
        ),
        pytest.param({"refs/heads/w": WIDE}, None, [(WIDE, b"refs/heads/w", b"")], id="of SHA-256"),
        pytest.param(
            {"refs/heads/main": A, "refs/remotes/o/HEAD": HEAD},
            None,
            [(A, b"refs/heads/main", b""), (A, b"refs/remotes/o/HEAD", b"refs/heads/main")],
            id="a symbolic one",
        ),
        pytest.param(
            {"refs/x": b"ref: refs/none"}, None, [(b"", b"refs/x", b"refs/none")], id="one that leads to nothing"
        ),
        pytest.param({}, A + b" refs/a b\n", [(A, b"refs/a b", b"")], id="a name with a space"),
        pytest.param({}, A + b" refs/\xff\n", [(A, b"refs/\xff", b"")], id="a name of any bytes"),
    ],
)
def test_references_are_read_as_text(
    tmp_path: Path, loose: dict[str, bytes], packed: bytes | None, lines: list[Any]
) -> None:
    found = archived(tmp_path, loose, packed)
    assert (found.head, list(found.lines)) == (HEAD, lines)


@pytest.mark.parametrize(
    ("loose", "packed"),
    [
        pytest.param({"refs/heads/main": b""}, None, id="nothing in it"),
        pytest.param({"refs/heads/main": A[:39]}, None, id="too short"),
        pytest.param({"refs/heads/main": A + b"0"}, None, id="too long"),
        pytest.param({"refs/heads/main": A.upper()}, None, id="no lower case"),
        pytest.param({"refs/heads/main": b"ref: HEAD"}, None, id="it leads out of refs"),
        pytest.param({"refs/heads/main": b"ref: ../../etc/passwd"}, None, id="it leads out"),
        pytest.param({}, b"nonsense\n", id="a line without a name"),
        pytest.param({}, b"\n", id="an empty line"),
        pytest.param({}, A + b" HEAD\n", id="a packed name that is none of refs"),
        pytest.param({}, A + b" refs/../../x\n", id="a packed name that leads out"),
        pytest.param({}, A + b" refs//x\n", id="a packed name with an empty part"),
        pytest.param({}, A + b" /refs/x\n", id="an absolute packed name"),
    ],
)
def test_what_is_no_reference_is_told(tmp_path: Path, loose: dict[str, bytes], packed: bytes | None) -> None:
    with pytest.raises(ProofFailed, match=r"thing.git: .* is no reference"):
        archived(tmp_path, loose, packed)


@pytest.mark.parametrize("name", ["refs/heads/main", "packed-refs"])
def test_what_lies_behind_a_link_is_not_read(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "thing.git"
    (folder / "refs" / "heads").mkdir(parents=True)
    (folder / "HEAD").write_bytes(HEAD)
    (tmp_path / "secret").write_bytes(A)
    (folder / name).symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="symbolic links"):
        _archived_references(str(folder), str(folder / "refs"))


@pytest.mark.parametrize(
    ("found", "value"),
    [
        ({}, A),
        ({b"refs/a": A}, b"ref: refs/a"),
        ({b"refs/a": b"ref: refs/b", b"refs/b": A}, b"ref: refs/a"),
        ({b"refs/%d" % n: b"ref: refs/%d" % (n + 1) for n in range(9)} | {b"refs/9": A}, b"ref: refs/0"),
    ],
)
def test_a_symbolic_reference_leads_to_its_object(found: dict[bytes, bytes], value: bytes) -> None:
    assert _resolved(found, value) == A


@pytest.mark.parametrize(
    "found", [{}, {b"refs/a": b"ref: refs/a"}, {b"refs/a": b"ref: refs/b", b"refs/b": b"ref: refs/a"}]
)
def test_one_that_leads_nowhere_or_in_a_circle_leads_to_no_object(found: dict[bytes, bytes]) -> None:
    assert _resolved(found, b"ref: refs/a") in (b"", b"ref: refs/a", b"ref: refs/b")


@pytest.mark.parametrize(
    ("known", "missing", "reason", "notes"),
    [
        pytest.param({}, 0, "", 0, id="nothing was recorded"),
        pytest.param({}, 3, "", 1, id="nothing was recorded of a partial clone"),
        pytest.param({"count": 1}, 0, "", 0, id="as recorded"),
        pytest.param({"count": 2}, 0, "it has 1 reference, but its dump recorded 2", 0, id="one is gone"),
        pytest.param({"count": "1"}, 0, "it has 1 reference, but its dump recorded 1", 0, id="a number that is none"),
        pytest.param({"count": None}, 0, "it has 1 reference, but its dump recorded None", 0, id="no number"),
        pytest.param({"count": 1}, 1, "it lacks 1 object, but its dump recorded 0", 0, id="an object is missing"),
        pytest.param({"count": 1, "missing": 2}, 2, "", 1, id="a partial clone"),
        pytest.param({"count": 1, "missing": 2}, 3, "it lacks 3 objects, but its dump recorded 2", 0, id="one more"),
        pytest.param({"missing": 1}, 0, "it lacks 0 objects, but its dump recorded 1", 0, id="one came back"),
    ],
)
def test_numbers_are_those_that_its_dump_recorded(
    tmp_path: Path, known: dict[str, Any], missing: int, reason: str, notes: int
) -> None:
    proof = Proof(str(tmp_path / "thing"), known, str(tmp_path), Deadline(60), Sandbox())
    found = References(HEAD, ((A, b"refs/heads/main", b""),))
    if not reason:
        _compare_repository(proof, "sub: ", known, found, missing)
        assert len(proof.notes) == notes
        return
    with pytest.raises(ProofFailed, match=f"^thing: sub: {reason}$"):
        _compare_repository(proof, "sub: ", known, found, missing)
