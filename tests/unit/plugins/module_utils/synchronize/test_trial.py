"""A peer tried step by step: at which one the way to it ends, in words, whatever its name and port are."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.synchronize import trial as room
from ansible_collections.altbackup.core.plugins.module_utils.synchronize.peers import Peer
from ansible_collections.altbackup.core.plugins.module_utils.synchronize.trial import try_peer
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without anything of ssh."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def tried(**values: Any) -> dict[str, Any]:
    return try_peer(Peer("cms01", "/data", connect_timeout=2, io_timeout=2, **values), Deadline(30, "trial"))


def test_this_machine_has_no_way_to_it() -> None:
    found = tried()
    assert {key: found[key] for key in ("node", "name", "port", "said", "dialled", "key")} == {
        "node": "cms01",
        "name": "",
        "port": "",
        "said": "",
        "dialled": {},
        "key": {},
    }


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 70 + ".invalid", "ä" * 70, "a..b"])
def test_a_name_that_leads_nowhere_is_told_and_no_port_tried(host: str) -> None:
    assert room._unresolved(host, 22).startswith(f"{host}: ")


def test_a_name_that_leads_somewhere_is_fine() -> None:
    assert room._unresolved("127.0.0.1", 22) == room._unresolved("localhost", 0) == ""


def test_a_port_that_is_closed_or_none_is_told_and_an_open_one_is_fine() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        assert room._closed("127.0.0.1", number, 5) == ""
    assert room._closed("127.0.0.1", number, 5) == f"127.0.0.1 port {number}: Connection refused"
    assert room._closed("127.0.0.1", 99_999, 5).startswith("127.0.0.1 port 99999: ")


def test_what_ssh_takes_a_peer_to_mean_is_told_with_where_the_way_ends(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
    found = tried(host="127.0.0.1", port=number, user="scm")
    assert found["port"] == f"127.0.0.1 port {number}: Connection refused"
    assert (found["name"], found["said"], found["shown"]) == ("", "", f"scm@127.0.0.1 port {number}")
    dialled = found["dialled"]
    assert (dialled["host"], dialled["port"], dialled["user"], dialled["direct"]) == ("127.0.0.1", number, "scm", True)


@pytest.mark.parametrize("option", ["ProxyJump=jump.invalid", "ProxyCommand=false"])
def test_a_peer_behind_another_one_is_tried_by_ssh_alone(option: str) -> None:
    found = tried(host="no-such-host.invalid", ssh_args=("-o", option))
    assert (found["dialled"]["direct"], found["name"], found["port"]) == (False, "", "")
    assert found["said"]


@pytest.mark.parametrize(
    ("public", "told"),
    [
        (None, ""),
        ("", ""),
        ("ssh-ed25519 AAAA me@home\n", "ssh-ed25519 AAAA"),
        ("ssh-ed25519\n", "ssh-ed25519"),
        ("\n\nlater", ""),
        ("x" * 10_000, "x" * 8192),
    ],
)
def test_of_a_key_the_public_half_is_told_and_never_the_private_one(home: Path, public: str | None, told: str) -> None:
    path = home / "key"
    path.write_text("secret")
    path.chmod(0o640)
    if public is not None:
        Path(f"{path}.pub").write_text(public)
    found = room._key(Peer("cms01", "/data", ssh_key=str(path)), "")
    assert (found["public"], found["mode"], found["there"], found["mine"]) == (told, "0640", True, True)
    assert "secret" not in str(found)


def test_a_key_that_is_not_there_says_so_and_none_is_none(home: Path) -> None:
    found = room._key(Peer("cms01", "/data"), '"~/none"')
    assert (found["path"], found["there"], found["named"]) == (f"{home}/none", False, False)
    assert found["why"] == os.strerror(2)
    assert room._key(Peer("cms01", "/data"), "") == {}
