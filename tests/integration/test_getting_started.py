"""docs/getting-started.md exactly as written, from two bare hosts and a controller to a verified night and a schedule, in the lab."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.site import REPOSITORY
from lab import Host, Lab
from lab.lab_fixture import lab_fixture, needs_namespaces
from lab.processes import wait_until

PAGE = REPOSITORY / "docs" / "getting-started.md"
RUN = "export PATH ALTBACKUP_MAIL_TO=scm-admins@example.org ALTBACKUP_MAIL_HOST={server} ANSIBLE_SSH_CONTROL_PATH_DIR=/run/cp ANSIBLE_TIMEOUT=60"
"""Environment of the controller's shell: a mail server on the network, a short path for sockets, and the patience that a busy machine needs"""

hosts = lab_fixture(["desk", "dayabay", "cms01"], sources=["desk"])


@pytest.fixture
def desk(hosts: Lab) -> Iterator[Host]:
    """The controller: a checkout, a crontab and a mail server of its own. The nodes have only sshd, Python and what is installed here, the target a crontab."""
    for name in ("dayabay", "cms01"):
        host = hosts[name]
        for place in ("/var/backups", "/srv", "/home"):
            host.run(["mount", "-t", "tmpfs", "tmpfs", place], check=True)
        (host.home / ".ssh" / "known_hosts").unlink()
    hosts["dayabay"].run(["git", "init", "-q", "--bare", "/srv/git/toolbox.git"], check=True)
    for host in (hosts["desk"], hosts["cms01"]):
        host.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/var/spool/cron"], check=True)
        host.run(["mkdir", "-m", "1730", "/var/spool/cron/crontabs"], check=True)
        host.run(["chgrp", "crontab", "/var/spool/cron/crontabs"], check=True)
    desk = hosts["desk"]
    (desk.home / "bin").mkdir()
    (desk.home / "bin" / "altbackup").symlink_to(REPOSITORY / "bin" / "altbackup")
    with desk.popen([sys.executable, "-m", "aiosmtpd", "-n", "-l", f"{desk.address}:25"]) as server:
        wait_until(
            lambda: desk.run(["bash", "-c", f": </dev/tcp/{desk.address}/25"]).returncode == 0, 60, "the mail server"
        )
        yield desk
        server.terminate()


def commands() -> list[str]:
    """Return the commands of the page, in order, without the one that asks what another one prints."""
    lines = [line.strip() for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("    ")]
    return [line for line in lines if line.startswith("bin/altbackup") and line != "bin/altbackup init first"]


def as_written(desk: Host, command: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the page on the controller, in the checkout."""
    return desk.run(["bash", "-c", f"{RUN.format(server=desk.address)}; {command}"], cwd=desk.home, timeout=3000)


@needs_namespaces
@pytest.mark.full
def test_the_page_leads_from_bare_hosts_to_a_verified_night(hosts: Lab, desk: Host) -> None:
    steps = commands()
    assert len(steps) == 7
    for command in steps:
        done = as_written(desk, command)
        print(f"$ {command}\n{done.stdout}{done.stderr}")
        assert done.returncode == 0, f"{command}: {done.returncode}"
    stored = hosts["cms01"].run(["find", "/var/backups/altbackup/target/dayabay", "-name", "*.dna"], check=True).stdout
    assert "folders/etc/" in stored
    assert "git/toolbox/" in stored
    entries = desk.run(["crontab", "-l"], check=True).stdout
    assert "run backup" in entries and "ALTBACKUP_MAIL_TO=scm-admins@example.org" in entries
    own = hosts["cms01"].run(["crontab", "-l"], check=True).stdout
    assert "/altbackup-watch /var/backups/altbackup/target" in own and "/altbackup-watch" not in entries
    key = (hosts["cms01"].home / ".ssh" / "authorized_keys").read_text()
    assert 'restrict,from="' in key and "forced_command.py" in key
    again = as_written(desk, "bin/altbackup run setup -i inventory/first")
    assert again.returncode == 0
    log = as_written(desk, "bin/altbackup log").stdout
    recap = re.findall(r"changed=(\d+)", log)
    assert recap and set(recap) == {"0"}, log
    assert started_by_cron(desk) == "good"
    assert not Path("/var/backups/altbackup").exists(), "nothing of it is on the machine of the tests"


def started_by_cron(desk: Host) -> str:
    """Let real cron start the backup of the crontab at the next minute; return the state of that run."""

    def backups() -> list[str]:
        """Return the states of all runs of the chain, the newest first."""
        told = json.loads(as_written(desk, "bin/altbackup runs -i inventory/first --json").stdout)
        return [str(run["state"]) for run in told["runs"] if str(run["playbook"]).startswith("backup")]

    before = len(backups())
    (desk.home / "empty").touch()
    for argv in (
        ["mount", "-t", "tmpfs", "tmpfs", "/etc/cron.d"],
        ["mount", "--bind", str(desk.home / "empty"), "/etc/crontab"],
    ):
        desk.run(argv, check=True)
    sooner = r"crontab -l | sed -E '/run backup/s/^([0-9]+ ){2}/* * /' | crontab -"
    assert as_written(desk, sooner).returncode == 0
    with desk.popen(["cron", "-f"]) as cron:
        try:
            wait_until(lambda: len(backups()) > before and backups()[0] != "running", 180, "the run of cron")
        finally:
            as_written(desk, "crontab -r")
            cron.terminate()
            wait_until(lambda: desk.run(["pgrep", "--full", "ansible-playbook"]).returncode != 0, 120, "its end")
            desk.run(["pkill", "cron"])
    return backups()[0]
