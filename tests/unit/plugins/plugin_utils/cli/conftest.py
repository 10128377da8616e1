"""What several files of tests of commands share."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from helpers.questions import HOSTS, once

from ansible_collections.altbackup.core.plugins.plugin_utils.cli import inventory


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an inventory, which is the one that is meant, and let runs be kept in a folder of the test."""
    path = tmp_path / "hosts.yml"
    path.write_text(yaml.safe_dump(HOSTS))
    monkeypatch.setattr(inventory, "load_site", once)
    monkeypatch.setenv("ALTBACKUP_INVENTORY", str(path))
    monkeypatch.setenv("ALTBACKUP_ARTIFACTS", str(tmp_path / "state"))
    return path
