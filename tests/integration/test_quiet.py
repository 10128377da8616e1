"""The amount of a night's output: few lines on a terminal and from cron, and everything in the log."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.entry_point import PROGRAM, REPOSITORY
from helpers.mail_server import serving, text_of
from integration.site import Site
from integration.test_terminal import seen_on_a_terminal

PLACES = {"dayabay": "abc", "lingao": "def"}
MOST = 60


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Two sources with three folders each, and two targets."""
    site = Site(tmp_path)
    for source, names in PLACES.items():
        items = []
        for name in names:
            folder = site.live / name
            folder.mkdir(parents=True)
            (folder / "file").write_text(f"of {name}\n")
            items.append({"kind": "folder", "name": name, "path": str(folder)})
        site.add_source(source, altbackup_targets=["cms01", "sdu"], altbackup_items=items)
    for target in ("cms01", "sdu"):
        site.add_target(target)
    (tmp_path / "home").mkdir()
    return site


def night(site: Site, **more: str) -> tuple[int, list[str]]:
    """Run the backup with ansible-playbook as cron does; return its exit code and output lines."""
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(site.folder / "home"),
        "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"),
        "ALTBACKUP_MAIL_TO": "none",
        "ALTBACKUP_HISTORY": str(site.folder / "history"),
        **more,
    }
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    command = [program, "-i", str(site.write_inventory()), str(REPOSITORY / "playbooks" / "backup.yml")]
    done = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=600,
    )
    return done.returncode, done.stdout.decode().splitlines()


@pytest.mark.full
@pytest.mark.slow
def test_a_night_says_little_and_its_log_all(site: Site) -> None:
    code, lines = night(site)
    assert code == 0, lines
    assert len(lines) <= MOST
    for source, names in PLACES.items():
        for stage in ("preflight", "dump", "check", "synchronize", "purge"):
            assert [line for line in lines if line.startswith(f"{source}: {stage}: ")], (stage, lines)
        for name in names:
            (row,) = [line for line in lines if line.startswith(f"{source}: folders/{name} ")]
            assert row.endswith(f"{source}, cms01, sdu") and " bytes " in row, row
    assert "failed" not in " ".join(lines[:-1])

    said = seen_on_a_terminal(site, PROGRAM, "run", "backup", "-i", site.write_inventory())
    assert len(said.splitlines()) <= MOST, said
    assert "dayabay: dump: 3 tarballs, " in said and "TASK" not in said
    (log,) = (site.folder / "home").rglob("stdout")
    text = log.read_text()
    assert len(text.splitlines()) > 200
    for task in ("dump : Make tonight's tarballs", "report : Tell what this run did", "purge : Remove what"):
        assert f"TASK [altbackup.core.{task}" in text
    assert "dayabay: dump: 3 tarballs" not in text


@pytest.mark.full
@pytest.mark.slow
def test_one_cause_is_one_failure_on_the_terminal_and_in_the_mail(site: Site) -> None:
    for names in PLACES.values():
        for name in names:
            shutil.rmtree(site.live / name)
    with serving("accepts") as server:
        mail = {"ALTBACKUP_MAIL_TO": "a@example.org", "ALTBACKUP_MAIL_HOST": server.host}
        code, lines = night(site, **mail, ALTBACKUP_MAIL_PORT=str(server.port))
        (message,) = server.messages()
    assert code == 2
    text = text_of(message)
    assert "6 failures on 2 hosts in backup.yml" in text
    assert lines.count("6 failures:") == 1
    for source, names in PLACES.items():
        for name in names:
            cause = f"{source}: dump of folders/{name}: path {site.live / name} does not exist"
            assert [sum(cause in line for line in told) for told in (lines, text.splitlines()[1:])] == [1, 1]
            follows = f"so on {source}, cms01, sdu: check: expecting 1 tarball for {name} of {source} on "
            assert [sum(follows in line for line in told) for told in (lines, text.splitlines()[1:])] == [1, 1]
    for told in (lines, text.splitlines()):
        assert sum(line.strip() == "no good copy there" for line in told) == 6, told
    assert "nothing could be verified" not in f"{lines}{text}"
    assert len(lines) <= MOST
