"""Peers, and calls of ssh: no prompt, no endless silence."""

from __future__ import annotations

import os

import pytest
from helpers.pair import PEER

from ansible_collections.altbackup.core.plugins.module_utils.synchronize.peers import Peer, parse_peer, ssh_command
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput
from ansible_collections.altbackup.core.plugins.module_utils.system.ssh import seal


def test_ssh_never_asks_and_never_waits_without_end() -> None:
    words = ssh_command(PEER)
    assert {
        "-oBatchMode=yes",
        "-oStrictHostKeyChecking=yes",
        "-oConnectTimeout=7",
        "-oServerAliveInterval=20",
        "-oServerAliveCountMax=3",
        "-oIdentitiesOnly=yes",
        "-oControlMaster=no",
    } <= set(words)
    assert words[-2:] == ["-o", "ProxyJump=gate.example.org"]
    for pair in (["-p", "2222"], ["-i", "/home/scm/.ssh/altbackup"]):
        assert words[words.index(pair[0]) + 1] == pair[1]


def test_peer_is_what_a_plan_has_or_refused() -> None:
    value = {"node": "cms01", "folder": "/x", "host": "h", "port": "22", "io_timeout": "5"}
    assert parse_peer(value, seal(["-v"])) == Peer("cms01", "/x", "h", 22, ssh_args=("-v",), io_timeout=5.0)
    assert parse_peer({"node": "a", "folder": "/x", "ssh_key": "~/key"}).ssh_key == os.path.expanduser("~/key")
    for wrong in (
        {"node": "cms01"},
        {**value, "port": "ssh"},
        {**value, "pasword": "x"},
        {**value, "ssh_args": ["-v"]},
    ):
        with pytest.raises(InvalidInput, match="peer 'cms01'"):
            parse_peer(wrong)
