"""Progress of long steps: lines on a terminal while they run, and none if nobody watches."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
from helpers.entry_point import PROGRAM
from integration.site import Site
from integration.test_quiet import night
from integration.test_terminal import STEERING, seen_on_a_terminal

SIZE = 30 << 20
SENT = re.compile(
    r"dayabay: synchronize: to cms01 [\d.]+ (?:MiB|KiB) of 30 MiB sent \((\d+) %\), ([\d.]+ [KM]iB|\d+ bytes?)/s"
)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A source with one large file, and a target; the transfer takes half a minute."""
    site = Site(tmp_path)
    folder = site.live / "large"
    folder.mkdir(parents=True)
    (folder / "file").write_bytes(os.urandom(SIZE))
    items = [{"kind": "folder", "name": "large", "path": str(folder)}]
    site.add_source("dayabay", altbackup_targets=["cms01"], altbackup_items=items, altbackup_bwlimit="1M")
    site.add_target("cms01")
    (tmp_path / "home").mkdir()
    return site


@pytest.mark.full
@pytest.mark.parametrize("program", ["altbackup", "ansible-playbook"])
def test_a_slow_transfer_is_shown_on_a_terminal(site: Site, program: str) -> None:
    playbook = Path(__file__).resolve().parents[2] / "playbooks" / "backup.yml"
    argv = [PROGRAM, "run"] if program == "altbackup" else [Path(sys.executable).with_name("ansible-playbook")]
    said = seen_on_a_terminal(site, *argv, playbook, "-i", site.write_inventory())
    percents = [int(match[1]) for match in SENT.finditer(said)]
    assert len(percents) >= 2 and percents == sorted(percents) and percents[0] < percents[-1], said
    assert "nothing failed" in said
    assert [
        ascii(line) for line in said.split("\n") if STEERING.search(re.sub(r"\x1b\[[\d;]*m", "", line.rstrip("\r")))
    ] == []
    assert not list(site.folder.rglob("altbackup-progress-*"))


@pytest.mark.full
def test_nothing_is_shown_where_nobody_watches(site: Site) -> None:
    code, lines = night(site)
    assert code == 0, lines
    assert not [line for line in lines if " sent (" in line or "iB/s" in line], lines


@pytest.mark.full
def test_a_large_dump_is_shown(site: Site) -> None:
    folder = site.live / "large"
    (folder / "file").unlink()
    for number in range(3):
        (folder / f"file{number}").write_bytes(os.urandom(32 << 20))
    site.hosts["dayabay"] |= {"altbackup_compress_level": 19, "altbackup_bwlimit": ""}
    program = Path(sys.executable).with_name("ansible-playbook")
    inventory, playbooks = site.write_inventory(), Path(__file__).resolve().parents[2] / "playbooks"
    said = seen_on_a_terminal(site, program, "-i", inventory, playbooks / "dump.yml")
    assert re.search(r"dayabay: dump: folders/large [\d.]+ MiB written, [\d.]+ [KM]iB/s", said), said
