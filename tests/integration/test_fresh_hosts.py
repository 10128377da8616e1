"""From three fresh hosts with nothing but sshd and Python to a scheduled, verified night, as a newcomer gets there."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from integration.site import REPOSITORY
from integration.test_installed_collection import build
from lab import Host, Lab
from lab.disc import make_disc, why_no_disc
from lab.host import PATH
from lab.lab_fixture import needs_namespaces
from lab.processes import wait_until

NAMES = ("desk", "dayabay", "cms01")
PACKAGES = ("sudo", "git", "make", "python3-venv", "python3-apt", "cron", "rsync", "subversion", "tar", "zstd", "pigz")
"""What the hosts may install; none of it is on them before"""
REQUIREMENTS = (REPOSITORY / "requirements.txt", REPOSITORY / "requirements-demo.txt")
MOST_STEPS = 6
OFFLINE = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/media/disc/wheels", "PIP_ROOT_USER_ACTION": "ignore"}
MAIL = {"ALTBACKUP_MAIL_TO": "scm-admins@example.org", "ALTBACKUP_MAIL_HOST": "controller"}
HOSTS = "--source scm@dayabay --become --target root@cms01 --allow-root-filesystem"


@dataclass
class Newcomer:
    """Somebody at the shell of the controller, whose steps are counted."""

    desk: Host
    settings: dict[str, str]
    steps: list[tuple[str, float]] = field(default_factory=list)

    def step(self, command: str) -> str:
        """Do a step, which must succeed; return what it says."""
        began = time.monotonic()
        done = self.run(command)
        self.steps.append((command, time.monotonic() - began))
        print(f"$ {command}\n{done.stdout}{done.stderr}")
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
        return done.stdout

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in root's home."""
        return self.desk.run(["bash", "-c", command], env=self.settings, timeout=3000)

    def told(self) -> str:
        """Return the steps with the seconds that each took, for people."""
        lines = [f"{seconds:7.1f} s  {command}" for command, seconds in self.steps]
        return "\n".join([*lines, f"{sum(seconds for _, seconds in self.steps):7.1f} s  {len(lines)} steps"])


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Lab]:
    """Three hosts, each with a root of its own; the source is reached as an ordinary user who may use sudo."""
    disc = make_disc(REPOSITORY / "var" / "lab", PACKAGES, REQUIREMENTS)
    with Lab(NAMES, tmp_path, sources=["desk"], discs=dict.fromkeys(NAMES, disc)) as lab:
        for name, packages in {
            "desk": ("git", "make", "python3-venv"),
            "dayabay": ("sudo",),
            "cms01": ("python3-apt",),
        }.items():
            for argv in (["update"], ["install", "--no-install-recommends", *packages]):
                lab[name].run(["apt-get", "-qq", "-y", *argv], timeout=1200, check=True)
            lab[name].run(["find", "/var/lib/apt/lists", "/var/cache/apt", "!", "-type", "d", "-delete"], check=True)
        for name in ("dayabay", "cms01"):
            (lab[name].folder / "home" / ".ssh" / "known_hosts").unlink()
            missing = ["rsync", "zstd", "git", "crontab"]
            assert lab[name].run(["which", *missing]).stdout == "", "the host is not fresh"
        source = lab["dayabay"]
        source.run(["useradd", "--create-home", "--shell", "/bin/bash", "scm"], check=True)
        source.run(["cp", "-r", "/root/.ssh", "/home/scm/"], check=True)
        source.run(["rm", "/root/.ssh/authorized_keys"], check=True)
        source.run(["chown", "-R", "scm:", "/home/scm"], check=True)
        source.outside("/etc/sudoers.d/scm").write_text("scm ALL=(ALL) NOPASSWD: ALL\n")
        subprocess.run(["git", "init", "-q", "--bare", str(tmp_path / "toolbox.git")], check=True)
        shutil.copytree(tmp_path / "toolbox.git", source.outside("/srv/git/toolbox.git"))
        source.run(["chown", "-R", "scm:", "/srv/git"], check=True)
        yield lab


@contextlib.contextmanager
def mail_server(lab: Lab) -> Iterator[None]:
    """A mail server on the machine beside the hosts."""
    argv = [sys.executable, "-m", "aiosmtpd", "-n", "-l", f"{lab.address}:25"]
    with subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            reach = [lab["desk"].python, "-c", f"import socket; socket.create_connection(('{lab.address}', 25), 5)"]
            wait_until(lambda: lab["desk"].run(reach).returncode == 0, 60, "the mail server")
            yield
        finally:
            server.terminate()


def checkout(desk: Host, _: Path) -> tuple[list[str], str, str]:
    """Give the controller what a clone would bring; return the steps that make it usable, the program, and the PATH to it."""
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True).stdout
    pack = ["tar", "-c", "-C", str(REPOSITORY), "--null", "-T", "-"]
    subprocess.run([*pack, "-f", str(desk.folder / "home" / "clone.tar")], input=tracked, check=True)
    return (
        ["mkdir altbackup && tar -x -f clone.tar -C altbackup", "make -C altbackup environment-demo"],
        "altbackup/bin/altbackup",
        PATH,
    )


def collection(desk: Host, folder: Path) -> tuple[list[str], str, str]:
    """Give the controller the tarball of make build; return the steps that make it usable, the program, and the PATH to it."""
    shutil.copy(build(folder), desk.folder / "home")
    own = [desk.home / "ansible/bin", desk.home / "collections/ansible_collections/altbackup/core/bin"]
    page = (REPOSITORY / "docs" / "getting-started.md").read_text(encoding="utf-8")
    steps = re.findall(r"^    (python3 -m venv .*|ansible/bin/.*)$", page, re.MULTILINE)
    assert len(steps) == 2
    return steps, "altbackup", ":".join(map(str, [*own, PATH]))


def started_by_cron(newcomer: Newcomer, program: str) -> str:
    """Let the cron of the controller start the backup of the crontab at the next minute; return the state of that run."""

    def backups() -> list[str]:
        """Return the states of all runs of the chain, the newest first."""
        told = json.loads(newcomer.run(f"{program} runs -i inventory/first --json").stdout)
        return [str(run["state"]) for run in told["runs"] if str(run["playbook"]).startswith("backup")]

    assert backups() == []
    assert newcomer.desk.processes("cron"), "set-up has started none"
    sooner = r"crontab -l > table && sed -E '/run backup/s/^([0-9]+ ){2}/* * /' table | crontab -"
    assert newcomer.run(sooner).returncode == 0
    wait_until(backups, 600, "the run of cron")
    assert newcomer.run("crontab table").returncode == 0
    wait_until(lambda: "running" not in backups(), 900, "the end of the run of cron")
    return backups()[-1]


@needs_namespaces
@pytest.mark.skipif(why_no_disc() is not None, reason=f"no root of its own for a host: {why_no_disc()}")
@pytest.mark.root
@pytest.mark.full
@pytest.mark.parametrize("brought", [checkout, collection], ids=["checkout", "collection"])
def test_a_newcomer_gets_from_fresh_hosts_to_a_scheduled_verified_night(
    brought: Callable[[Host, Path], tuple[list[str], str, str]], hosts: Lab, tmp_path: Path
) -> None:
    desk = hosts["desk"]
    steps, program, path = brought(desk, tmp_path)
    newcomer = Newcomer(desk, {**OFFLINE, **MAIL, "PATH": path})
    with mail_server(hosts):
        newcomer.steps.append((f"export {' '.join(f'{name}={value}' for name, value in MAIL.items())}", 0.0))
        for command in steps:
            newcomer.step(command)
        newcomer.step(f"{program} init first {HOSTS} --mail scm-admins@example.org --no-doctor")
        prediction = newcomer.run(f"{program} run setup -i inventory/first --check")
        assert prediction.returncode == 0, prediction.stdout + prediction.stderr
        newcomer.step(f"{program} run setup -i inventory/first")
        assert started_by_cron(newcomer, program) == "good"
        drilled = newcomer.run(f"{program} run drill -i inventory/first")
        assert drilled.returncode == 0, drilled.stdout + drilled.stderr
        newcomer.step(f"{program} doctor -i inventory/first")
        print(newcomer.told())
        assert len(newcomer.steps) <= MOST_STEPS
        again = newcomer.run(f"{program} run setup -i inventory/first")
        assert again.returncode == 0, again.stdout + again.stderr
        log = newcomer.run(f"{program} log").stdout
        recap = re.findall(r"changed=(\d+)", log)
        assert recap and set(recap) == {"0"}, log
    copies = hosts["cms01"].run(["find", "/var/backups/altbackup/target/dayabay", "-name", "*.dna"], check=True).stdout
    assert "folders/etc/" in copies and "git/toolbox/" in copies
    proofs = hosts["cms01"].run(["find", "/var/backups/altbackup/target/dayabay", "-name", "*.proof"]).stdout
    assert "git/toolbox/" in proofs, "the target, which has no item of its own, proves what came"
    table = hosts["cms01"].run(["crontab", "-l"], check=True).stdout
    check = "/var/backups/altbackup/target/.altbackup/watch/altbackup-watch /var/backups/altbackup/target"
    assert re.search(rf"^\d+ \* \* \* \*.*{re.escape(check)}$", table, re.MULTILINE), table
    authorized = (hosts["cms01"].folder / "home/.ssh/authorized_keys").read_text()
    assert 'restrict,from="' in authorized and "forced_command.py" in authorized
    assert not Path("/var/backups/altbackup").exists(), "nothing of it is on the machine of the tests"
