"""The witness sees whatever happens to what it watches, and each cell has an attempt or a reason."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from attacks import cells, rows
from attacks.registry import ATTEMPTS
from attacks.witness import Witness, told_in

assert rows.ALL, "the rows are registered when they are imported"


def read(path: Path) -> None:
    """Read it."""
    path.read_bytes()


def open_alone(path: Path) -> None:
    """Open it, and read nothing."""
    os.close(os.open(path, os.O_RDONLY))


def read_by_another_name(path: Path) -> None:
    """Read it through a hard link."""
    os.link(path, path.parents[3] / "link")
    (path.parents[3] / "link").read_bytes()


def list_folder(path: Path) -> None:
    """List the folder that it is in."""
    os.listdir(path.parent)


def write(path: Path) -> None:
    """Write the same bytes."""
    path.write_bytes(path.read_bytes())


def rename(path: Path) -> None:
    """Rename it away."""
    path.rename(path.parents[3] / "taken")


def remove(path: Path) -> None:
    """Remove it."""
    path.unlink()


def change_mode(path: Path) -> None:
    """Let all read it."""
    path.chmod(0o644)


def lay_beside(path: Path) -> None:
    """Lay another file beside it."""
    path.with_name("new").write_text("x")


def replace(path: Path) -> None:
    """Replace it by an equal file."""
    other = path.parents[3] / "equal"
    other.write_bytes(b"x" * path.stat().st_size)
    other.replace(path)


WAYS = (read, open_alone, read_by_another_name, list_folder, write, rename, remove, change_mode, lay_beside, replace)


@pytest.mark.parametrize("way", WAYS, ids=[way.__name__ for way in WAYS])
def test_the_witness_sees_what_happened_to_a_canary(tmp_path: Path, way: Callable[[Path], None]) -> None:
    witness = Witness(tmp_path / "outside")
    canary = witness.folder("row") / "secret"
    witness.file("other")
    witness.begin()
    way(canary)
    assert set(witness.end()) == {"row"}


def test_the_witness_sees_nothing_where_nothing_happened(tmp_path: Path) -> None:
    witness = Witness(tmp_path / "outside")
    canary = witness.file("row")
    (tmp_path / "link").symlink_to(canary)
    witness.begin()
    os.lstat(canary)
    os.readlink(tmp_path / "link")
    assert witness.end() == {}


def test_content_is_found_in_archives_mails_and_texts(tmp_path: Path) -> None:
    witness = Witness(tmp_path / "outside")
    found = tmp_path / "found"
    found.mkdir()
    for name in ("zst", "gz", "mail", "plain"):
        witness.file(name)
    for name, option in (("zst", "--zstd"), ("gz", "--gzip")):
        argv = ["tar", "-c", option, "-f", str(found / f"a.tar.{name}"), "-C", str(tmp_path / "outside"), name]
        subprocess.run(argv, check=True)
    text = (tmp_path / "outside" / "mail" / "secret").read_text()
    encoded = subprocess.run(["base64"], input=text, capture_output=True, text=True, check=True).stdout
    (found / "x.eml").write_text(f"Subject: x\nContent-Transfer-Encoding: base64\n\n{encoded}")
    plain = (tmp_path / "outside" / "plain" / "secret").read_text()
    assert set(told_in(found, texts=(plain,))) == {"zst", "gz", "mail", "plain"}


def test_each_cell_has_an_attempt_or_a_reason() -> None:
    empty = [cell for cell, count in cells.covered().items() if not count and not cells.reason(*cell)]
    needless = [cell for cell, count in cells.covered().items() if count and cells.reason(*cell)]
    assert (empty, needless) == ([], [])


def test_there_are_enough_attempts_and_each_has_a_name_of_its_own() -> None:
    names = [attempt.name for attempt in ATTEMPTS]
    assert len(names) == len(set(names)) and len(names) >= 40
    assert sum(name.startswith("race-") for name in names) >= 5
