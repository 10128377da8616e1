"""A week of encrypted nights of every kind; then source and controller are gone, and an identity alone brings all of it back."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.age_keys import age_key, ssh_key
from helpers.marks import MARKS, contents_of, marks_in
from helpers.servers import (
    Mariadb,
    Postgresql,
    Slapd,
    live,
    mariadb,
    of_mariadb,
    of_mercurial,
    of_postgresql,
    of_slapd,
    person,
    place,
    postgresql,
    run_as_user,
    slapd,
    user_name,
)
from helpers.stores import Place, brought, served
from helpers.trees import describe_tree
from integration.lab_site import NAMES, QUICK, LabSite, environment, stamps_of
from integration.site import KINDS, call, commit_svn, git
from lab import Lab
from lab.inventory import connection
from lab.lab_fixture import needs_namespaces

pytestmark = [needs_namespaces, pytest.mark.full]

NIGHTS = [f"2013/05/{day:02}/104701" for day in range(6, 13)]
NOT_WANTED = b"not wanted\n"
IN_SETTINGS, IN_PATH, IN_PATTERN, IN_ARGUMENT = MARKS[:4]
"""Marks that stand in the inventory alone"""


@pytest.fixture(scope="module")
def hosts() -> Iterator[Lab]:
    """A lab in folders that the users of servers can pass through."""
    with place() as home, Lab(["dayabay", "cms01", "sdu", "fresh"], home.parent, sources=["dayabay", "sdu"]) as lab:
        yield lab


class Live:
    """Live data of every kind, and who plants marks in them."""

    def __init__(self, site: LabSite, template: Path, stack: contextlib.ExitStack) -> None:
        site.give_all_kinds("dayabay", template, bulk=200_000)
        self.folder, self.work = site.live_of("dayabay"), site.folder / "work"
        git(self.folder, "clone", "--quiet", self.folder / "git", self.work)
        self.postgresql, self.mariadb = stack.enter_context(postgresql()), stack.enter_context(mariadb())
        self.ldap: Slapd = stack.enter_context(slapd())
        mercurial = stack.enter_context(live("hg"))
        self.mercurial = Path(str(mercurial["path"]))
        self.postgresql.sql("CREATE ROLE staff", "CREATE DATABASE wiki OWNER staff")
        self.postgresql.sql("CREATE TABLE page (body text)", database="wiki")
        self.mariadb.sql("CREATE DATABASE wiki", "CREATE TABLE wiki.page (body text)")
        for name in ("files", IN_PATH):
            (self.folder / name).mkdir()
            (self.folder / name / "file").write_text("content\n")
        (self.folder / IN_PATH / IN_PATTERN).write_bytes(NOT_WANTED)
        self._sql("wiki.db", "CREATE TABLE pages (body)")
        (self.folder / "output").write_text("numbers\n")
        self.items: list[dict[str, Any]] = [
            *site.hosts["dayabay"]["altbackup_items"],
            mercurial,
            self.postgresql.item(name="main", user="root"),
            self.mariadb.item(name="tickets", user="root"),
            self.ldap.item(name="directory"),
            {
                "kind": "command",
                "name": "numbers",
                "user": "root",
                "argv": ["/bin/sh", "-c", 'exec cat "$1"', IN_ARGUMENT, str(self.folder / "output")],
            },
            {"kind": "folder", "name": "plain", "path": str(self.folder / IN_PATH), "exclude": [IN_PATTERN]},
            {
                "kind": "set",
                "name": "wiki",
                "members": [
                    {"kind": "sqlite", "name": "wiki", "path": str(self.folder / "wiki.db")},
                    {"kind": "folder", "name": "files", "path": str(self.folder / "files")},
                ],
            },
        ]

    def plant(self, night: int) -> None:
        """Plant a seventh of the marks, each at another place than the one before."""
        marks, places = MARKS[4:], self._places()
        for number, mark in enumerate(marks):
            if number * len(NIGHTS) // len(marks) == night:
                places[number % len(places)](mark)

    def _places(self) -> list[Callable[[str], object]]:
        """Return what each plants a mark in a kind of place."""
        folder = self.folder
        return [
            lambda mark: (folder / "folder" / mark).write_text("a name\n"),
            lambda mark: self._append(folder / "folder" / "users.conf", mark),
            lambda mark: (folder / "folder" / f"link {len(os.listdir(folder / 'folder'))}").symlink_to(mark),
            lambda mark: os.setxattr(folder / "folder" / "users.conf", f"user.{mark}", b""),
            lambda mark: os.setxattr(folder / "folder" / "mode", f"user.comment{mark[7:10]}", mark.encode()),
            lambda mark: commit_svn(folder / "svn", mark, "a name, and a message\n"),
            lambda mark: commit_svn(folder / "svn", f"file of {mark[7:10]}", f"{mark}\n"),
            lambda mark: self._commit_git(mark, "file", "a message\n"),
            lambda mark: self._commit_git("a name", mark, "a name\n"),
            lambda mark: self._commit_git("a content", "file", f"{mark}\n"),
            lambda mark: git(self.work, "push", "--quiet", "origin", f"HEAD:refs/heads/{mark}"),
            lambda mark: self._sql("trac/db/trac.db", "INSERT INTO ticket (summary) VALUES (?)", mark),
            lambda mark: self._append(folder / "trac" / "conf" / "trac.ini", f"# {mark}"),
            lambda mark: (folder / "trac" / "htdocs" / mark).write_text("a name\n"),
            lambda mark: self._sql("sqlite.db", "INSERT INTO readings VALUES (?, 1)", mark),
            lambda mark: self._sql("sqlite.db", f"CREATE TABLE {mark} (n)"),
            lambda mark: self._commit_mercurial(mark, "file 0", "a message\n"),
            lambda mark: self._commit_mercurial("a name", mark, "a name\n"),
            lambda mark: run_as_user(
                "hg", "--repository", self.mercurial, "bookmark", mark, environment={"HGRCPATH": ""}
            ),
            lambda mark: self.postgresql.sql(f"INSERT INTO page VALUES ('{mark}')", database="wiki"),
            lambda mark: self.postgresql.sql(f"CREATE TABLE {mark} (n int)", database="wiki"),
            lambda mark: self.postgresql.sql(f"CREATE ROLE {mark}"),
            lambda mark: self.mariadb.sql(f"INSERT INTO wiki.page VALUES ('{mark}')"),
            lambda mark: self.mariadb.sql(f"CREATE TABLE wiki.{mark} (n int)"),
            lambda mark: self.mariadb.sql(f"CREATE USER {mark}@localhost"),
            lambda mark: self.ldap.add(person(0).replace("person 0", mark)),
            lambda mark: self._append(folder / "output", mark),
            lambda mark: self._append(folder / "files" / "file", mark),
            lambda mark: self._sql("wiki.db", "INSERT INTO pages VALUES (?)", mark),
        ]

    @staticmethod
    def _append(path: Path, mark: str) -> None:
        with path.open("a") as stream:
            stream.write(f"{mark}\n")

    def _sql(self, name: str, statement: str, *values: str) -> None:
        with contextlib.closing(sqlite3.connect(self.folder / name)) as database, database:
            database.execute(statement, values)

    def _commit_git(self, message: str, name: str, text: str) -> None:
        self._append(self.work / name, text)
        git(self.work, "add", name)
        git(self.work, "commit", "--quiet", "-m", message)
        git(self.work, "push", "--quiet", "origin", "HEAD:main")

    def _commit_mercurial(self, message: str, name: str, text: str) -> None:
        self._append(self.mercurial / name, text)
        shutil.chown(self.mercurial / name, user_name())
        words = ("--config", "ui.username=a", "--repository", self.mercurial)
        run_as_user("hg", *words, "commit", "--addremove", "--message", message, environment={"HGRCPATH": ""})

    def paths(self) -> dict[str, Path]:
        """Return {category/name: where it lies} of all items that have a place."""
        repositories = {
            f"{category}/{NAMES[kind]}": self.folder / (f"{kind}.db" if kind == "sqlite" else kind)
            for kind, category in zip(KINDS, ("svn", "tracs", "git", "folders", "databases"), strict=True)
        }
        more = {"folders/plain": IN_PATH, "folders/files": "files", "databases/wiki": "wiki.db"}
        return {**repositories, "hg/hg": self.mercurial, **{key: self.folder / name for key, name in more.items()}}


def state(key: str, path: Path) -> Any:
    """Return what is in an item that lies at a path, read by the programs of its kind."""
    if key.startswith("svn/"):
        return call("svnadmin", "dump", "--quiet", path)
    if key.startswith("git/"):
        return git(path, "for-each-ref"), git(path, "log", "--all", "-p"), git(path, "fsck", "--full", "--strict")
    if key.startswith("hg/"):
        return of_mercurial(path)
    if key in ("databases/monitor", "databases/wiki"):
        return rows(path)
    tree = {name: entry for name, entry in describe_tree(path).items() if IN_PATTERN.encode() not in name}
    if key.startswith("tracs/"):
        plain = {name: entry[:4] for name, entry in tree.items() if b"trac.db" not in name}
        return rows(path / "db" / "trac.db"), plain, (path / "conf" / "trac.ini").read_text()
    if key == "folders/plain":
        del tree[b"."]  # its time is that of the file that is left out
    return tree, sorted(set(contents_of(path)) - {IN_PATTERN.encode(), NOT_WANTED})


def rows(path: Path) -> str:
    """Return all that is in an SQLite database, or in the one in a folder."""
    (path,) = path.iterdir() if path.is_dir() else [path]
    with contextlib.closing(sqlite3.connect(path)) as database:
        return "\n".join(database.iterdump())


class Ruins:
    """What is left when source and controller are gone: two targets, a store, one identity; and a new machine."""

    def __init__(self, site: LabSite, place: Place, identity: Path, folder: Path) -> None:
        self.site, self.place, self.identity = site, place, identity
        self.machine, self.folder = site.lab["fresh"], site.place("fresh")
        self.folder.mkdir(parents=True)
        self.controller = folder / "controller"

    def disk(self) -> Path:
        """Carry the disk of a target to the new machine, with all of its links; return its folder there."""
        call("cp", "-a", self.site.place("cms01") / "copies", self.folder / "disk")
        return self.folder / "disk"

    def download(self) -> Path:
        """Bring all of the store to the new machine; return its folder there."""
        return brought(self.place, self.folder / "download")

    def by_script(self, disk: Path, key: str, to: Path) -> None:
        """Restore an item of a disk by its restore.sh, on the new machine."""
        to.parent.mkdir(parents=True, exist_ok=True)
        key_file = self.folder / "identity"
        shutil.copy(self.identity, key_file)
        argv = ["sh", disk / "restore.sh", "restore", "--special-modes", "--identity", key_file, f"dayabay/{key}", to]
        done = self.machine.run([str(word) for word in argv], timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "nothing tells who made" in done.stdout, done.stdout

    def by_playbook(self, orders: list[dict[str, Any]], *words: str) -> subprocess.CompletedProcess[str]:
        """Run the playbook of the collection that came back, with the inventory that came back."""
        given = self.controller.parent / "orders.yml"
        given.write_text(yaml.safe_dump({"altbackup_restore": orders}))
        checkout = self.controller / "collection"
        argv = [Path(sys.executable).with_name("ansible-playbook"), "-i", self.controller / "inventory" / "inventory"]
        argv += [checkout / "playbooks" / "restore.yml", "-e", f"@{given}", *words]
        home = self.controller.parent / "home"
        home.mkdir(exist_ok=True)
        own = {"HOME": str(home), "ANSIBLE_CONFIG": str(checkout / "ansible.cfg")}
        return subprocess.run(
            [str(word) for word in argv],
            cwd=checkout,
            env={**environment(), **own},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )


def order(key: str, **more: Any) -> dict[str, Any]:
    """Return an entry of altbackup_restore."""
    kinds = {"tracs": "trac", "folders": "folder", "commands": "command", "databases": "sqlite"}
    named = {"databases/main": "postgresql", "databases/tickets": "mysql", "databases/directory": "ldap"}
    category, name = key.split("/")
    kind = named.get(key) or kinds.get(category, category)
    return {"source": "dayabay", "kind": kind, "name": name, "to_host": "fresh", **more}


@pytest.fixture
def site(hosts: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabSite:
    """A source that encrypts all to two recipients, two targets, of which one fills a bucket, and a new machine."""
    monkeypatch.setenv("HOME", str(tmp_path / "old home"))
    (tmp_path / "old home").mkdir()
    made = LabSite(tmp_path / "site", lab=hosts, limits=QUICK)
    made.folder.mkdir()
    made.add_source(
        "dayabay",
        altbackup_targets=["cms01", "sdu"],
        altbackup_transport={"sdu": "pull"},
        altbackup_keep=7,
        altbackup_full_every=3,
        altbackup_include_controller=True,
        nobody_asks_for_this=IN_SETTINGS,
    )
    for name in ("cms01", "sdu"):
        made.add_target(name, altbackup_keep=7)
    made.hosts["fresh"] = {**connection(hosts, hosts["fresh"]), **QUICK}
    made.groups["ungrouped"] = ["fresh"]
    return made


@pytest.fixture
def bucket(hosts: Lab, site: LabSite, tmp_path: Path) -> Iterator[Place]:
    """A bucket that a target of the lab reaches over its link."""
    with served("s3", tmp_path / "served", address=hosts.address) as place:
        taken = {f"altbackup_store_{name}": place.options[name] for name in ("remote", "config")}
        site.hosts["vault"] = {"ansible_host": "192.0.2.1", **taken}
        site.groups["stores"] = ["vault"]
        site.hosts["cms01"]["altbackup_stores"] = ["vault"]
        yield place


def test_an_identity_alone_brings_back_a_week_of_every_kind(
    hosts: Lab, site: LabSite, bucket: Place, live_template: Path, tmp_path: Path
) -> None:
    with contextlib.ExitStack() as stack:
        keys = [age_key(tmp_path, "one"), ssh_key(tmp_path)]
        site.hosts["dayabay"]["altbackup_encrypt_to"] = [key.recipient for key in keys]
        live_data = Live(site, live_template, stack)
        site.hosts["dayabay"]["altbackup_items"] = live_data.items
        for night, stamp in enumerate(NIGHTS):
            live_data.plant(night)
            run = site.run("backup", stamp=stamp)
            assert run.rc == 0, run.stdout
            public = site.tree("dayabay") / ".altbackup" / "encryption" / "signing_key.pub"
            site.hosts["dayabay"]["altbackup_signing_key"] = " ".join(public.read_text().split()[:2])
        for target in ("cms01", "sdu"):
            assert sorted(set(stamps_of(site.tree("dayabay", target)))) == NIGHTS
        assert [path for path in site.tree("dayabay", "sdu").rglob("*.tar*") if ".age" not in path.name] == []
        assert any(".diff." in path.name for path in site.tree("dayabay", "sdu").rglob("*.age"))

        paths = live_data.paths()
        expected = {key: state(key, path) for key, path in paths.items()}
        servers = (of_postgresql(live_data.postgresql, "wiki"), of_mariadb(live_data.mariadb, "wiki"))
        directory = of_slapd(live_data.ldap)
        output = (live_data.folder / "output").read_bytes()
        lose(site, live_data, hosts)

        for name in ("cms01", "sdu"):
            assert marks_in(contents_of(hosts[name].folder)) == set(), name
        assert marks_in(bucket.all_versions()) == set()

        ruins = Ruins(site, bucket, keys[1].path, tmp_path / "new")
        served_places = {"disk": ruins.disk(), "download": ruins.download()}
        ruins.controller.parent.mkdir()
        ruins.by_script(served_places["disk"], "folders/altbackup-controller", ruins.folder / "controller")
        shutil.copytree(ruins.folder / "controller", ruins.controller, symlinks=True)
        assert IN_SETTINGS in json.dumps(
            yaml.safe_load((ruins.controller / "inventory/inventory/host_vars/dayabay.yml").read_text())
        )

        others = ("databases/main", "databases/tickets", "databases/directory", "commands/numbers")
        for name, disk in served_places.items():
            for key in [*paths, *others, "sets/wiki"]:
                ruins.by_script(disk, key, ruins.folder / f"from {name}" / key)
        for origin in ("sdu", "vault"):
            to = ruins.folder / f"from {origin}"
            for key in [*paths, *others]:
                (to / key).parent.mkdir(parents=True, exist_ok=True)
            orders = [order(key, to=str(to / key), special_modes=True, **{"from": origin}) for key in [*paths, *others]]
            refused = ruins.by_playbook(orders)
            assert refused.returncode != 0 and "is encrypted to" in refused.stdout, refused.stdout
            assert [path for path in to.rglob("*") if path.parent != to] == []
            done = ruins.by_playbook(orders, "-e", f"altbackup_identity_file={ruins.identity}")
            assert done.returncode == 0, done.stdout + done.stderr
        found = {}
        for origin in ("disk", "download", "sdu", "vault"):
            back = ruins.folder / f"from {origin}"
            assert {key: state(key, back / key) for key in paths} == expected, origin
            assert (back / "commands/numbers/output").read_bytes() == output
            found[origin] = {key: describe_tree(back / key, times=False) for key in others}
        assert all(each == found["disk"] for each in found.values())
        members = json.loads((ruins.folder / "from disk/sets/wiki/members.json").read_text())
        assert "databases/wiki" in json.dumps(members) and "folders/files" in json.dumps(members)

        assert load(ruins, live_data, stack) == (*servers, directory)
        inventory = b"".join(contents_of(ruins.controller / "inventory"))
        texts = [repr((expected, servers, directory, output)).encode(), inventory]
        assert marks_in(texts) == set(MARKS), "each mark was in what came back"


def lose(site: LabSite, live_data: Live, hosts: Lab) -> None:
    """Lose the source, and the controller with its inventory and its home."""
    hosts["dayabay"].stop_sshd()
    live_data.postgresql.stop()
    live_data.mariadb.stop()
    shutil.rmtree(site.place("dayabay"))
    for folder in (live_data.ldap.config, live_data.ldap.folder / "db", live_data.mercurial):
        shutil.rmtree(folder)
    for folder in (site.folder, Path(os.environ["HOME"])):
        shutil.rmtree(folder)


def load(ruins: Ruins, lost: Live, stack: contextlib.ExitStack) -> tuple[list[str], list[str], list[str]]:
    """Load what was in servers into new ones; return what is there then."""
    other: Postgresql = stack.enter_context(postgresql())
    another: Mariadb = stack.enter_context(mariadb())
    run_as_user("mkdir", "-m", "700", lost.ldap.config, lost.ldap.folder / "db")
    placed: Mapping[str, Any] = {"host": str(other.sockets), "user": "root", "login": "postgres", "globals": True}
    orders = [
        order("databases/main", into=placed),
        order("databases/tickets", into={**placed, "host": str(another.socket), "login": "root"}),
        order("databases/directory", into={"folder": str(lost.ldap.config), "user": user_name()}),
    ]
    done = ruins.by_playbook(orders, "-e", f"altbackup_identity_file={ruins.identity}")
    assert done.returncode == 0, done.stdout + done.stderr
    return of_postgresql(other, "wiki"), of_mariadb(another, "wiki"), of_slapd(lost.ldap)
