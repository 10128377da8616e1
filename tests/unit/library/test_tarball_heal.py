"""Module tarball_heal, in process on real files: an arrived copy replaces a rotted one only if its content is the same."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import (
    DAY,
    STAMP,
    is_as_documented,
    marked,
    modern_text,
    put,
    reasons,
    run_module,
    tree_hash,
)

CONTENT, ROTTEN, OTHER = b"a tarball", b"a ravaged", b"a turbine"
KEY = "folders/notes"
RELPATH = f"{KEY}/{STAMP}/notes.tar"
NEXT = f"{KEY}/2013/05/11/104701/notes.tar"
NOW = {"stamp": "2013/05/12/013000", "clock": "2013/05/12/013000"}


def offer(content: bytes = CONTENT, relpath: str = RELPATH, **more: Any) -> dict[str, Any]:
    """Return a tarball as another node offers it."""
    dig = hashlib.sha256(content).hexdigest()
    return {
        "relpath": relpath,
        "size": len(content),
        "dig": dig,
        "alg": "sha256",
        "record": {"kind": "folder"},
        "held": relpath,
        **more,
    }


@pytest.fixture(params=["source", "target"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a base with a tarball in its quarantine, known under two stamps, and an arrived good copy."""
    base = marked(tmp_path / "b") if request.param == "source" else marked(tmp_path / "copies") / "dayabay"
    put(base, RELPATH, CONTENT)
    (base / NEXT).parent.mkdir(parents=True)
    os.link(base / RELPATH, base / NEXT)
    Path(f"{base / NEXT}.dna").write_bytes(Path(f"{base / RELPATH}.dna").read_bytes())
    Path(f"{base / RELPATH}.proof").write_text("{}")
    with (base / RELPATH).open("r+b") as stream:
        stream.write(ROTTEN)
    result = run_module(
        "tarball_check",
        base=str(base),
        day=DAY,
        expect={"notes": 1},
        quarantine=True,
        reverify_days=7,
        fail=False,
        **NOW,
    )
    assert {entry["relpath"] for entry in result["quarantined"]} == {RELPATH, NEXT}
    assert len(result["failures"]) == 1, "it is one file"
    arrived(base).mkdir(parents=True)
    (arrived(base) / "notes.tar").write_bytes(CONTENT)
    return base


def arrived(base: Path) -> Path:
    """Return the folder of arrived copies."""
    private = (
        base / ".altbackup" / "healing" if base.name == "b" else base.parent / ".altbackup" / "healing" / base.name
    )
    return private / os.path.dirname(RELPATH)


def heal(base: Path, *tarballs: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Run the module."""
    result = run_module("tarball_heal", base=str(base), tarballs=list(tarballs), **{**NOW, **options})
    assert is_as_documented("tarball_heal", result)
    return result


def apart(base: Path) -> list[Path]:
    """Return the folders of the quarantine."""
    private = base / ".altbackup" if base.name == "b" else base.parent / ".altbackup"
    return sorted(path.parent for path in private.glob("quarantine/**/why.json"))


def test_a_good_copy_takes_all_the_places_that_the_file_had(base: Path) -> None:
    result = heal(base, offer(), offer(relpath=NEXT, held=RELPATH))
    assert (result["healed"], result["failures"], result["changed"]) == ([RELPATH, NEXT], [], True)
    for relpath in (RELPATH, NEXT):
        assert (base / relpath).read_bytes() == CONTENT
        assert Path(f"{base / relpath}.dna").read_text() == modern_text(CONTENT)
    assert (base / RELPATH).samefile(base / NEXT)
    assert Path(f"{base / RELPATH}.proof").read_text() == "{}"
    assert os.readlink(base / KEY / "last") == "2013/05/11/104701"
    assert [json.loads((folder / "why.json").read_text())["healed"] for folder in apart(base)] == [NOW["clock"]] * 2
    assert [(folder / "notes.tar").read_bytes() for folder in apart(base)] == [ROTTEN] * 2
    assert not arrived(base).exists()
    checked = run_module("tarball_check", base=str(base), day=DAY, expect={"notes": 1}, quarantine=True, **NOW)
    assert (checked["quarantined"], sorted(checked["healed"]), checked["notes"]) == ([], [RELPATH, NEXT], [])
    again = heal(base, offer(), fail=False)
    assert len(again["failures"]) == 1 and not again["changed"]


def test_one_that_stands_here_under_another_stamp_is_taken_without_a_transfer(base: Path) -> None:
    put(base, f"{KEY}/2013/05/09/104701/notes.tar", CONTENT)
    held = f"{KEY}/2013/05/09/104701/notes.tar"
    assert heal(base, offer(held=held, here=True))["healed"] == [RELPATH]
    assert (base / RELPATH).samefile(base / held)


@pytest.mark.parametrize(
    ("given", "came", "reason"),
    [
        (offer(OTHER), OTHER, "is not what lies in the quarantine"),
        (
            offer(relpath=f"{KEY}/2013/05/08/104701/notes.tar", held=RELPATH),
            CONTENT,
            "is not what lies in the quarantine",
        ),
        (offer(relpath=f"{KEY}/2013/05/13/104701/notes.tar", held=RELPATH), CONTENT, "is stamped later than this run"),
        (offer(), ROTTEN, "what came is not what it was"),
        (offer(), CONTENT[:4], "what came is not what it was"),
        (offer(held=f"{KEY}/2013/05/08/104701/notes.tar"), CONTENT, "did not arrive"),
        (offer(held="../../../../etc/passwd"), CONTENT, "it is not said where it lies elsewhere"),
        (offer(held=f"{KEY}/2013/05/09/104701/notes.tar", here=True), CONTENT, "No such file"),
    ],
)
def test_nothing_else_takes_its_place(base: Path, given: dict[str, Any], came: bytes, reason: str) -> None:
    (arrived(base) / "notes.tar").write_bytes(came)
    before = tree_hash(base / "folders") if (base / "folders").exists() else {}
    result = heal(base, given, fail=False)
    assert (result["healed"], len(result["failures"]), result["changed"]) == ([], 1, False)
    assert reason in reasons(result)[0]
    assert (tree_hash(base / "folders") if (base / "folders").exists() else {}).keys() == before.keys()
    assert not (base / RELPATH).exists() and len(apart(base)) == 2
    assert arrived(base).parents[5].is_dir() and not arrived(base).exists(), "the next one comes there"


def test_it_may_be_the_sidecar_that_rotted(base: Path) -> None:
    (arrived(base) / "notes.tar").write_bytes(ROTTEN)
    assert heal(base, offer(ROTTEN))["healed"] == [RELPATH]


def test_what_stands_there_is_not_touched(base: Path) -> None:
    put(base, RELPATH, OTHER)
    result = heal(base, offer(), fail=False)
    assert "stands there already" in reasons(result)[0]
    assert (base / RELPATH).read_bytes() == OTHER


def test_in_check_mode_nothing_is_healed(base: Path) -> None:
    before = tree_hash(base)
    assert heal(base, offer(), check=True)["changed"]
    assert tree_hash(base) == before
