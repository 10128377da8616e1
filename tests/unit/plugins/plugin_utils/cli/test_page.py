"""`altbackup report`: the page is written and named, or it is said why not."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.kept_nights import keep, night, own_place, said


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where histories and runs lie."""
    return own_place(tmp_path, monkeypatch)


def test_the_first_page_is_named(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    keep(night(0))
    assert said(capsys, "report", "--html", "page") == (0, "page/index.html\n", "")
    assert "all is well" in (folder / "page" / "index.html").read_text()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--html", "mine"], "'other'"),
        (["--html", "none/page"], "none/page: No such file or directory"),
        (["--html", "file/page"], "Not a directory"),
    ],
)
def test_what_cannot_be_written_says_why(
    words: list[str], why: str, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    (folder / "mine").mkdir()
    (folder / "mine" / "other").write_text("mine")
    (folder / "file").touch()
    code, out, err = said(capsys, "report", *words)
    assert (code, out, len(err.splitlines())) == (1, "", 1) and why in err
    assert (folder / "mine" / "other").read_text() == "mine"


def test_a_damaged_history_is_told(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    keep(night(0))
    (path,) = (folder / "history").rglob("*.sqlite*")
    path.write_bytes(b"x" * 8192)
    code, out, err = said(capsys, "report", "--html", "page")
    assert (code, out, len(err.splitlines())) == (1, "", 1) and "Traceback" not in err
