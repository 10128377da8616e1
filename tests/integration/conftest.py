"""Fixtures of the tests of whole playbooks."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.site import Site, make_live, without_marks


@pytest.fixture(scope="session")
def live_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One small item of every kind, made once."""
    return make_live(tmp_path_factory.mktemp("template") / "live")


@pytest.fixture(autouse=True)
def no_marks(tmp_path: Path) -> Iterator[None]:
    """Keep the journal of marks free of the inventory of a test's own site."""
    with without_marks(tmp_path):
        yield


@pytest.fixture
def bare_site(tmp_path: Path) -> Site:
    """A site without hosts and data."""
    return Site(tmp_path)


@pytest.fixture
def site(tmp_path: Path, live_template: Path) -> Iterator[Site]:
    """One source and one target on this machine, with live data of its own."""
    shutil.copytree(live_template, tmp_path / "live", symlinks=True)
    made = Site(tmp_path)
    made.add_source("dayabay", altbackup_targets=["cms01"])
    made.add_target("cms01")
    yield made
    shutil.rmtree(tmp_path / "runner", ignore_errors=True)
