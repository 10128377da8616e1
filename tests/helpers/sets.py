"""Sets of folders, and programs that write down what is there of copies."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from helpers.trees import item

KEYS = ["folders/data", "folders/config"]


def three_folders(tmp_path: Path) -> Path:
    """Return a folder with three folders of ten files."""
    for name in ("data", "config", "other"):
        (tmp_path / "live" / name).mkdir(parents=True)
        for number in range(10):
            (tmp_path / "live" / name / f"file{number}").write_text(f"{name} {number}")
    return tmp_path / "live"


def forge(live: Path, **more: Any) -> dict[str, Any]:
    """Return a set of two folders, as users write it."""
    members = [item("folder", live / name, name) for name in ("data", "config")]
    return {"kind": "set", "name": "forge", "members": members, **more}


def writing(tmp_path: Path, word: str, code: int = 0) -> list[str]:
    """Return the words of a program that writes down a word and what is there of copies."""
    text = (
        "import os, sys\n"
        f"names = [name for name in ('data', 'config', 'forge', 'other') if os.path.exists(f'{tmp_path}/base/folders/{{name}}/last') or "
        f"os.path.exists(f'{tmp_path}/base/sets/{{name}}/last')]\n"
        f"print({word!r}, os.environ['ALTBACKUP_STATE'], *names, file=open({str(tmp_path / 'log')!r}, 'a'))\n"
        f"sys.exit({code})"
    )
    return [sys.executable, "-c", text]


def log_of(tmp_path: Path) -> list[str]:
    """Return the lines that these programs wrote."""
    path = tmp_path / "log"
    return path.read_text().splitlines() if path.exists() else []
