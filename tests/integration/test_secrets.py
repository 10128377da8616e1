"""A secret in an option of ssh, or a password of a database, occurs nowhere in a run's output, mails and files, however verbose the run is."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.entry_point import REPOSITORY, Desk, whole_texts
from helpers.leaks import command_lines, spoken_in
from helpers.mail_server import MailServer, serving
from helpers.servers import mariadb, place, postgresql, private_file, slapd, user_name
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


PASSWORDS = ("averysecretpassword", "averysecretoption", "aloadersword", "aloadersoption", "wrongpassword")
OF_OTHERS = ("passwordofalice", "treesecret", "configsecret")
"""Those that databases hold, and their copies"""


@pytest.mark.full
def test_passwords_of_databases_are_told_nowhere(server: MailServer) -> None:
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(place()).parent / "site"
        folder.mkdir()
        cluster, tickets = stack.enter_context(postgresql()), stack.enter_context(mariadb())
        directory = stack.enter_context(slapd())
        cluster.sql(
            "CREATE ROLE alice LOGIN PASSWORD 'passwordofalice'",
            "CREATE DATABASE wiki OWNER alice",
            "CREATE ROLE backup LOGIN IN ROLE pg_read_all_data",
            "CREATE ROLE loader LOGIN CREATEDB IN ROLE alice",
        )
        cluster.sql("SET ROLE alice", "CREATE TABLE page AS SELECT generate_series(1, 9) n", database="wiki")
        tickets.sql(
            "CREATE USER alice@localhost IDENTIFIED BY 'passwordofalice'",
            "CREATE DATABASE wiki",
            "CREATE TABLE wiki.page AS SELECT seq FROM seq_1_to_9",
            "CREATE USER backup@localhost, loader@localhost",
            "GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON *.* TO backup@localhost",
            "GRANT ALL ON back.* TO loader@localhost",
            database="mysql",
        )
        readers = [
            cluster.ask_for_password("backup", "averysecretpassword"),
            tickets.ask_for_password("backup", "averysecretoption"),
        ]
        loaders = [
            cluster.ask_for_password("loader", "aloadersword"),
            tickets.ask_for_password("loader", "aloadersoption"),
        ]
        hooks = {"before": [["/bin/true"]], "after": [["/bin/true"]]}
        members = [
            cluster.item(**readers[0]),
            tickets.item(name="tickets", **readers[1]),
            directory.item(name="people"),
        ]
        site, desk = Site(folder), Desk(folder)
        desk.mail_to(server)
        items = [{"kind": "set", "name": "wiki", "members": members, **hooks}]
        site.add_source("db01", altbackup_items=items, altbackup_targets=["cms01"], altbackup_before=hooks["before"])
        site.add_target("cms01")
        inventory = str(site.write_inventory())

        def run(playbook: str, code: int, **extra: object) -> str:
            done = desk.call(
                *("run", str(REPOSITORY / "playbooks" / f"{playbook}.yml"), "-i", inventory, "-vvv"),
                *("-e", json.dumps({f"altbackup_{name}": value for name, value in extra.items()})),
                ANSIBLE_LOG_PATH=str(folder / "ansible.log"),
                ANSIBLE_CONFIG=str(REPOSITORY / "ansible.cfg"),
            )
            assert done.returncode == code, done.stdout + done.stderr
            return done.stdout + done.stderr

        into = {"user": user_name(), "database": "back", "original": "wiki"}
        places = (
            ({"kind": "postgresql", "name": "thing"}, str(cluster.sockets)),
            ({"kind": "mysql", "name": "tickets"}, str(tickets.socket)),
        )
        restores = [
            {"source": "db01", **item, "into": {**into, "host": host, **loader}}
            for (item, host), loader in zip(places, loaders, strict=True)
        ]
        with command_lines(0.02) as seen:
            told = run("backup", 0, stamp="2026/11/25/013000") + run("drill", 0)
            told += run("restore", 0, restore=restores)
            private_file(Path(readers[0]["password_file"]), "*:*:*:backup:wrongpassword\n")
            told += run("backup", 2, stamp="2026/11/26/013000")
        (mail,) = server.mails
        assert "password authentication failed" in told and "password authentication failed" in whole_texts(mail)
        assert cluster.sql("SELECT count(*) FROM page", database="back").stdout == "9\n"
        assert any(b"pg_dump" in line for line in seen) and any(b"mariadb-dump" in line for line in seen)
        for word in (*PASSWORDS, *OF_OTHERS):
            assert word not in told + whole_texts(mail)
            assert not [line for line in seen if word.encode() in line]
            assert spoken_in(folder, word) == []
