"""Module node_examine, in process on real files: facts of bases, programs, items and peers, and what could be backed up."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import is_as_documented, marked, run_module, tree_hash


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of this user's."""
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    monkeypatch.setenv("HOME", str(home))
    return home


def facts(**options: Any) -> dict[str, Any]:
    """Run the module; return its facts."""
    result = run_module("node_examine", **options)
    assert is_as_documented("node_examine", result)
    assert result["changed"] is False
    found: dict[str, Any] = result["facts"]
    return found


def owner(base: Path) -> dict[str, str]:
    return {"base": str(base), "role": "target", "name": "cms01"}


def test_bases_are_told_of_as_they_are_and_nothing_is_changed(tmp_path: Path) -> None:
    ready, bare = marked(tmp_path / "ready"), tmp_path / "bare"
    bare.mkdir(mode=0o755)
    bare.chmod(0o777)
    before = tree_hash(tmp_path)
    found = facts(owners=[owner(ready), owner(bare), owner(tmp_path / "none")], now=0)
    assert tree_hash(tmp_path) == before
    shown = [(base["there"], base["marker"], base.get("mode"), base["problem"][:4]) for base in found["bases"]]
    assert shown == [(True, True, shown[0][2], ""), (True, False, "0777", shown[1][3]), (False, False, None, "")]
    assert found["bases"][2]["above"] == {"path": str(tmp_path), "writable": True}
    assert (found["uid"], found["asked"]) == (os.geteuid(), 0)
    assert 10**9 < found["began"] <= found["ended"]


def test_items_and_programs_are_looked_for(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    items = [{"kind": "folder", "name": name, "path": str(tmp_path / name)} for name in ("notes", "gone")]
    found = facts(items=items, tools=["tar", "no-such-tool"], kinds=["git"])
    assert [(item["key"], item["problem"]) for item in found["items"]] == [
        ("folders/notes", ""),
        ("folders/gone", "No such file or directory"),
    ]
    assert found["tools"]["no-such-tool"] == ""
    assert "tar" in found["tools"]["tar"]
    assert "git" in found["tools"]


def test_the_way_to_a_peer_is_told_of_up_to_where_it_ends(home: Path) -> None:
    key = home / ".ssh" / "altbackup"
    key.write_text("secret")
    key.chmod(0o644)
    Path(f"{key}.pub").write_text("ssh-ed25519 AAAA somebody\nanother line\n")
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = server.getsockname()[1]
    common = {"folder": "/data", "ssh_key": str(key), "connect_timeout": 5, "io_timeout": 5}
    peers = [
        {"node": "cms01", "host": "no-such-host.invalid", **common},
        {"node": "sdu", "host": "127.0.0.1", "port": closed, **common},
    ]
    one, other = facts(peers=peers)["peers"]
    assert one["name"].startswith("no-such-host.invalid")
    assert (other["name"], other["port"]) == ("", f"127.0.0.1 port {closed}: Connection refused")
    assert other["dialled"]["port"] == closed
    shown = {name: other["key"][name] for name in ("path", "there", "mode", "public")}
    assert shown == {"path": str(key), "there": True, "mode": "0644", "public": "ssh-ed25519 AAAA"}


def test_keys_that_open_an_account_are_read_with_what_is_loose_about_them(home: Path) -> None:
    path = home / ".ssh" / "authorized_keys"
    path.write_text("# of dayabay\nrestrict ssh-ed25519 AAAA\n\n")
    (home / ".ssh").chmod(0o775)
    found = facts(logins=["", "no-such-user"])["authorized"]
    assert found[""]["lines"] == ["restrict ssh-ed25519 AAAA"]
    assert [(entry["path"], entry["mode"]) for entry in found[""]["loose"]] == [(str(home / ".ssh"), "0775")]
    assert found["no-such-user"]["problem"] == "there is no user no-such-user"


def test_what_could_be_backed_up_is_found_and_links_and_what_is_inside_are_not(tmp_path: Path) -> None:
    group = tmp_path / "srv" / "git" / "group"
    group.mkdir(parents=True)
    for path in (group / "one.git", tmp_path / "srv" / "git" / "two.git"):
        subprocess.run(["git", "init", "-q", "--bare", path], check=True)
    (group / "link.git").symlink_to(group / "one.git")
    subprocess.run(["git", "init", "-q", "--bare", group / "one.git" / "hooks" / "inner.git"], check=True)
    found = facts(below=[str(tmp_path / "srv")], folders=[str(tmp_path), str(tmp_path / "none")])
    assert found["repositories"] == [
        {"kind": "git", "path": str(group / "one.git")},
        {"kind": "git", "path": str(tmp_path / "srv" / "git" / "two.git")},
    ]
    assert (found["folders"], found["unseen"], found["cut"]) == ([str(tmp_path)], [], False)
    assert found["servers"] == []
    (configuration := tmp_path / "slapd.d").mkdir()
    (server,) = facts(servers={"ldap": [str(configuration)]})["servers"]
    assert (server["kind"], server["path"], server["mine"]) == ("ldap", str(configuration), True)
