"""The pictures of docs/retention.md match the rules."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[3]


def draw(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run tools/retention_picture.py."""
    command = [sys.executable, str(ROOT / "tools" / "retention_picture.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_the_pictures_of_retention_are_up_to_date_and_shown() -> None:
    result = draw("--check")
    assert result.returncode == 0, result.stderr
    pictures = sorted((ROOT / "docs" / "images").glob("retention-*.svg"))
    page = (ROOT / "docs" / "retention.md").read_text(encoding="utf-8")
    assert len(pictures) == 3
    for path in pictures:
        assert f"(images/{path.name})" in page
        assert ElementTree.parse(path).getroot().tag.endswith("svg")


def test_a_stale_picture_is_found_and_drawn_anew(tmp_path: Path) -> None:
    assert draw("--check", "--folder", str(tmp_path)).returncode == 1
    assert draw("--folder", str(tmp_path)).returncode == 0
    path = tmp_path / "retention-target.svg"
    text = path.read_text(encoding="utf-8")
    path.write_text("old\n", encoding="utf-8")
    assert draw("--check", "--folder", str(tmp_path)).returncode == 1
    assert path.read_text(encoding="utf-8") == "old\n"
    assert draw("--folder", str(tmp_path)).returncode == 0
    assert path.read_text(encoding="utf-8") == text
