"""Runs every situation once, for real, against a server that records the mails."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from helpers.mail_server import MailServer, read_mail, text_of
from integration.mail.situations import LOCAL_HOSTS, SECRETS, Situation

REPOSITORY = Path(__file__).resolve().parents[3]
CRASH = """
from ansible.module_utils.basic import AnsibleModule
import os


def main():
    module = AnsibleModule(argument_spec={"how": {}, "password": {"no_log": True}})
    how, password = module.params["how"], module.params["password"] or ""
    if how == "crash":
        raise RuntimeError("boom " + password)
    if how == "kill":
        os.kill(os.getpid(), 9)
    if how == "true":
        module.fail_json(msg=True)
    module.fail_json(msg="wrapped " + password, deprecations=[{"msg": "old", "version": "9"}], warnings=["careful"])


main()
"""


@dataclass
class Ran:
    """The end of a run, and the mails about it."""

    situation: Situation
    exit_code: int
    said: str
    seconds: float
    spool: Path
    mails: list[bytes] = field(default_factory=list)

    def text(self) -> str:
        """Return all texts of its mail: subject, text, HTML and log."""
        message = read_mail(self.mails[0])
        logs = [gzip.decompress(part.get_content()).decode() for part in message.iter_attachments()]
        return "\n".join([str(message["Subject"]), text_of(message), text_of(message, "html"), *logs])


def recipient(number: int) -> str:
    """Return the recipient of a situation's mail."""
    return f"situation{number}@example.org"


def write_project(folder: Path, situation: Situation) -> list[str]:
    """Write a situation's files; return its command line, without the program."""
    (folder / "library").mkdir(parents=True)
    (folder / "library" / "crash.py").write_text(CRASH)
    (folder / "play.yml").write_text(situation.playbook, encoding="utf-8")
    (folder / "second.yml").write_text(
        "- hosts: alpha\n  gather_facts: false\n  tasks: [{ansible.builtin.command: sh -c 'echo broken pipe of two >&2; exit 1'}]\n"
    )
    (folder / "vault").write_text(SECRETS["vault"])
    local: dict[str, Any] = {"ansible_connection": "local"}
    gone = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    hosts: dict[str, Any] = {name: dict(local) for name in LOCAL_HOSTS} | {"gone": gone}
    inventory: dict[str, Any] = {
        "all": {"hosts": hosts, "vars": {"ansible_python_interpreter": sys.executable, **situation.variables}}
    }
    if situation.program == "backup":
        hosts["alpha"] |= {
            "altbackup_base": str(folder / "base"),
            "altbackup_items": [{"kind": "folder", "name": "library", "path": str(folder / "library")}],
            "altbackup_targets": ["gone", "beta"],
        }
        hosts["gone"]["altbackup_target_base"] = hosts["beta"]["altbackup_target_base"] = "/nowhere/at/all"
        (folder / "base" / ".altbackup").mkdir(parents=True)
        inventory |= {"sources": {"hosts": {"alpha": {}}}, "targets": {"hosts": {"gone": {}, "beta": {}}}}
    (folder / "hosts.yml").write_text(yaml.safe_dump(inventory))
    playbook = {"ansible": [], "backup": [str(REPOSITORY / "playbooks" / "backup.yml")]}.get(
        situation.program, ["play.yml"]
    )
    arguments = [
        word.replace("{vault}", f"x@{folder / 'vault'}") if word == "{vault}" else word for word in situation.arguments
    ]
    return ["-i", "hosts.yml", *playbook, *arguments]


def environment(folder: Path, options: dict[str, str]) -> dict[str, str]:
    """Return the environment of a run: cron's, and the options of the mail."""
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"),
        "ANSIBLE_LIBRARY": str(folder / "library"),
        "ANSIBLE_ASYNC_DIR": str(folder / "async"),
        "ANSIBLE_NOCOLOR": "1",
        "ALTBACKUP_MAIL_SPOOL": str(folder / "spool"),
        "ALTBACKUP_HISTORY": str(folder / "history"),
        **{f"ALTBACKUP_MAIL_{name}": value for name, value in options.items()},
    }


def run(folder: Path, situation: Situation, options: dict[str, str]) -> Ran:
    """Run a situation."""
    arguments = write_project(folder, situation)
    program = Path(sys.executable).with_name("ansible" if situation.program == "ansible" else "ansible-playbook")
    started = time.monotonic()
    done = subprocess.run(
        [str(program), *arguments],
        cwd=folder,
        env=environment(folder, options),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=120,
    )
    seconds = time.monotonic() - started
    return Ran(
        situation, done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace"), seconds, folder / "spool"
    )


def run_all(folder: Path, situations: tuple[Situation, ...], server: MailServer) -> list[Ran]:
    """Run all situations, two at a time; each mail goes to a recipient of its own."""
    options = {"HOST": server.host, "PORT": str(server.port), "TIMEOUT": "20"}

    def start(numbered: tuple[int, Situation]) -> Ran:
        number, situation = numbered
        return run(folder / str(number), situation, {**options, "TO": recipient(number)})

    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(start, enumerate(situations)))
    for raw, names in zip(server.mails, server.recipients, strict=True):
        runs[int(names[0].removeprefix("situation").partition("@")[0])].mails.append(raw)
    return runs
