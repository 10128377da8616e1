"""The progress of a transfer over real ssh: the poll uses the module's connection, and changes nothing."""

from __future__ import annotations

import os
import re

import pytest
from integration.lab_site import DAY1, QUICK, LabSite
from lab import Lab
from lab.lab_fixture import lab_fixture, needs_namespaces

pytestmark = [needs_namespaces, pytest.mark.full]

sites = lab_fixture(["dayabay", "cms01"], sources=["dayabay", "cms01"])


@pytest.mark.parametrize("transport", ["push", "pull"])
def test_a_slow_transfer_over_ssh_is_shown(
    sites: Lab, tmp_path_factory: pytest.TempPathFactory, transport: str
) -> None:
    site = LabSite(tmp_path_factory.mktemp("progress"), lab=sites, limits=QUICK)
    site.add_source("dayabay", altbackup_targets=["cms01"], altbackup_bwlimit="512K", altbackup_transport=transport)
    site.add_target("cms01")
    (path,) = [entry["path"] for entry in site.hosts["dayabay"]["altbackup_items"]]
    with open(os.path.join(path, "large"), "wb") as stream:
        stream.write(os.urandom(15 << 20))
    run = site.run("backup", stamp=DAY1)
    assert run.rc == 0, run.message
    line = (
        r"dayabay: synchronize on cms01: from dayabay .* received \("
        if transport == "pull"
        else "dayabay: synchronize: to cms01 .* sent \\("
    )
    assert re.search(line, run.stdout), run.stdout
