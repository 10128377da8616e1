"""A secret in an option of ssh occurs nowhere in a run's output, mails and files, however it is quoted and however verbose the run is."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.entry_point import REPOSITORY, Desk, whole_texts
from helpers.mail_server import MailServer, serving
from integration.site import Site

SECRET = "hunter2-Überholt"
WAYS = {
    "quoted": f"-v -o 'ProxyCommand=sshpass -p \"{SECRET}\" nc %h %p'",
    "escaped": f"-v -o ProxyCommand=sshpass\\ -p{SECRET}\\ false",
    "misquoted": f"-v -o ProxyCommand='sshpass -p' {SECRET}",
    "misspelt": f"-v -o ProxyComand='sshpass -p {SECRET} false' -o {SECRET}",
    "an environment": f"-vvv -o 'SetEnv TOKEN={SECRET}' -o 'ProxyCommand=sh -c \"echo {SECRET} >&2\"'",
    "an address": f"-v -o 'ProxyCommand=false http://scm:{SECRET}@proxy.example.org:3128'",
}


@pytest.fixture
def server() -> Iterator[MailServer]:
    with serving("accepts") as running:
        yield running


def spoken_in(folder: Path, part: str) -> list[str]:
    """Return the files below a folder, but for the inventory, that hold a text, also in JSON's spelling."""
    spellings = [part.encode(), json.dumps(part)[1:-1].encode()]
    return [
        str(path)
        for path in folder.rglob("*")
        if path.is_file() and "inventory" not in path.parts and any(form in path.read_bytes() for form in spellings)
    ]


@pytest.mark.parametrize(
    ("way", "transport"),
    [
        pytest.param(way, transport, marks=[] if way == "quoted" else pytest.mark.full)
        for way, transport in zip(WAYS, itertools.cycle(("push", "pull")), strict=False)
    ],
)
def test_a_secret_in_options_of_ssh_is_told_nowhere(
    way: str, transport: str, tmp_path: Path, server: MailServer
) -> None:
    desk = Desk(tmp_path)
    desk.mail_to(server)
    site = Site(tmp_path)
    note = site.live / "notes" / "note"
    note.parent.mkdir(parents=True)
    note.write_text("x\n")
    elsewhere = {"altbackup_rsync_host": "127.0.0.1", "altbackup_rsync_port": 1, "altbackup_connect_timeout": "5s"}
    items = [{"kind": "folder", "name": "notes", "path": str(note.parent)}]
    more = {"altbackup_ssh_args": WAYS[way], **elsewhere}
    site.add_source("dayabay", altbackup_targets=["cms01"], altbackup_transport=transport, **more)
    site.hosts["dayabay"]["altbackup_items"] = items
    site.add_target("cms01", **more)
    inventory = site.write_inventory()
    verbose = ["-vvv"] if way in ("quoted", "misspelt") else []
    done = desk.call(
        *("run", str(REPOSITORY / "playbooks" / "backup.yml"), "-i", str(inventory), *verbose),
        *("-e", json.dumps({"altbackup_ssh_args": WAYS[way]})),
        ANSIBLE_LOG_PATH=str(tmp_path / "ansible.log"),
        ANSIBLE_CONFIG=str(REPOSITORY / "ansible.cfg"),
        ANSIBLE_SSH_COMMON_ARGS=WAYS[way],
    )
    assert done.returncode == 2, done.stdout + done.stderr
    (mail,) = server.mails
    told = f"{done.stdout}{done.stderr}{whole_texts(mail)}"
    assert "cannot be reached from this node as" in told
    assert "further options (altbackup_ssh_args)" in told
    assert (tmp_path / "ansible.log").stat().st_size
    for part in (SECRET, SECRET[:7]):
        assert part not in told
        assert spoken_in(tmp_path, part) == []
