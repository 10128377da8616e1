"""Records and folders of nights, kept where a test has its own, and what the program says of them."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import stamp_at
from ansible_collections.altbackup.core.plugins.plugin_utils.cli import status
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.main import main
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.run_store import Run
from ansible_collections.altbackup.core.plugins.plugin_utils.history import store
from ansible_collections.altbackup.core.plugins.plugin_utils.history.store import Record, write_records

HOUR, DAY = 3600.0, 86400.0


def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let histories and runs lie below a folder of the test, and be there; return it."""
    monkeypatch.setenv(store.PLACE, str(tmp_path / "history"))
    monkeypatch.setenv("ALTBACKUP_ARTIFACTS", str(tmp_path / "state"))
    for name in ("ALTBACKUP_INVENTORY", "ANSIBLE_INVENTORY", "ANSIBLE_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


PLACES = (("dayabay", "source"), ("cms01", "target"))
ITEMS = (("svn", "dybsvn"), ("folders", "notes"))


def night(days: float, *, run: dict[str, Any] | None = None, **copies: Any) -> Record:
    """Return the record of a night so many days ago."""
    started = time.time() - days * DAY
    stamp = stamp_at(started, "UTC")
    places = [{"node": node, "source": "dayabay", "role": role} for node, role in PLACES]
    told = {"stamp": stamp, "size": 1 << 20, "suspect": "", "holds": "", **copies}
    return Record(
        {
            "token": f"{days}",
            "stamp": stamp,
            "playbook": "backup.yml",
            "state": "good",
            "started": started,
            "ended": started + 90,
            **(run or {}),
        },
        [{**place, "whole": 1, "free": 1 << 30} for place in places],
        [{**place, "category": category, "name": name, **told} for place in places for category, name in ITEMS],
    )


def keep(*records: Record, inventory: str = "") -> None:
    assert write_records(inventory, list(records), 400, time.time()) == []


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Call the entry point; return its exit code and what it said."""
    code = main(words)
    out, err = capsys.readouterr()
    return code, out, err


def documented(*lists: str) -> list[set[str]]:
    """Return the keys of entries that docs/monitoring.md tells of."""
    page = (Path(status.__file__).parents[3] / "docs" / "monitoring.md").read_text(encoding="utf-8")
    section = page.partition("\n## JSON\n")[2].partition("\n## ")[0]
    found = []
    for name in lists:
        (text,) = re.findall(rf"^\| `{name}` \| (.*) \|$", section, re.MULTILINE)
        found.append(set(re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)", "", text))))
    return found


def make_run(folder: Path, name: str, **result: Any) -> Path:
    """Make the folder of a run under altbackup."""
    place = folder / "state" / "runs" / name
    place.mkdir(parents=True)
    told = {
        "playbook": "backup.yml",
        "state": "good",
        "started": "2026-11-28T01:30:00+00:00",
        "user": "scm",
        "node": "hub",
        "inventory": ["/x"],
    }
    Run(place).write({**told, **result})
    (place / "stdout").write_text(f"the log of {name}\n\x1b[31mred\n")
    return place
