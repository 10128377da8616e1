"""Peers: the other ends of transfers, and the ssh that reaches them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..system.errors import InvalidInput
from ..system.programs import find_tool
from ..system.ssh import SETTING, scrub, unseal

SSH: dict[str, Any] = {"ssh_args": {"type": "str", "default": "", "no_log": True}}
"""Argument spec of a module that dials peers"""
KEY, KNOWN_HOSTS = "key", "known_hosts"
"""File names of what set-up makes for a peer"""


@dataclass(frozen=True)
class Peer:
    """The other end of a transfer and a folder there, reached by ssh, or on this machine if `host` is empty."""

    node: str
    """Its inventory name"""
    folder: str
    host: str = ""
    port: int | None = None
    user: str = ""
    ssh_key: str = ""
    ssh_args: tuple[str, ...] = ()
    bwlimit: str = ""
    connect_timeout: float = 15
    io_timeout: float = 60
    min_rate: float = 0
    """Fewest bytes a second, measured over five times `io_timeout`; 0 for no limit"""
    nice: int = 0
    ionice: str = ""
    trust: str = ""
    """Folder on this node of what set-up made for this peer: `key` and `known_hosts`"""
    sudo: str = ""
    """User as whom rsync runs there by sudo, without password, if it is not the one that logs in"""

    def __str__(self) -> str:
        if not self.host:
            return "this machine"
        key = f", key {self.ssh_key}" if self.ssh_key else ""
        more = f", further options ({SETTING})" if self.ssh_args else ""
        return (
            f"{self.user + '@' if self.user else ''}{self.host}{f' port {self.port}' if self.port else ''}{key}{more}"
        )

    def censored(self, text: str) -> str:
        """Return output of ssh or rsync without what may be a secret in the options of ssh."""
        known = (self.node, self.host, self.user, self.folder, self.ssh_key, str(self.port or ""))
        return scrub(text, self.ssh_args, known)


def parse_peer(value: Mapping[str, Any], ssh_args: str = "") -> Peer:
    """Return a peer from its fields, as modules take them, and sealed options of ssh. Raise InvalidInput."""
    words = unseal(ssh_args)
    try:
        if "ssh_args" in value:
            raise TypeError("its ssh_args may hold secrets: they are a parameter of the module, sealed")
        peer = Peer(**{**value, "ssh_args": words})
        return replace(
            peer,
            port=int(peer.port) if peer.port else None,
            ssh_key=os.path.expanduser(peer.ssh_key or ""),
            connect_timeout=float(peer.connect_timeout),
            io_timeout=float(peer.io_timeout),
            min_rate=float(peer.min_rate),
            nice=int(peer.nice),
        )
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"peer {value.get('node', '')!r}: {error}") from error


def ssh_command(peer: Peer) -> list[str]:
    """Return the argv of ssh without host: it never prompts, and gives up a silent peer."""
    alive = max(1, int(peer.io_timeout // 3))
    command = [find_tool("ssh"), "-oBatchMode=yes", f"-oConnectTimeout={max(1, round(peer.connect_timeout))}"]
    command += [f"-oServerAliveInterval={alive}", "-oServerAliveCountMax=3", "-oStrictHostKeyChecking=yes"]
    command += ["-oControlMaster=no"]  # a connection that stays open would outlive the transfer
    if peer.port:
        command += ["-p", str(peer.port)]
    key = peer.ssh_key or (os.path.join(peer.trust, KEY) if is_bound(peer) else "")
    if key:
        command += ["-i", key, "-oIdentitiesOnly=yes"]
    known = os.path.join(peer.trust, KNOWN_HOSTS)
    if peer.trust and os.path.isfile(known):
        quoted = known.replace("%", "%%")
        command += [f'-oUserKnownHostsFile="{quoted}"', "-oGlobalKnownHostsFile=none"]
        command += [f"-oHostKeyAlias={alias_of(peer.node)}", "-oUpdateHostKeys=no"]
    return [*command, *peer.ssh_args]


def is_bound(peer: Peer) -> bool:
    """Return whether a peer is reached with a key that set-up made for it, which leads to one folder there whatever path is requested."""
    return bool(peer.trust) and not peer.ssh_key and os.path.isfile(os.path.join(peer.trust, KEY))


def alias_of(node: str) -> str:
    """Return the alias under which a node's host keys are known, whatever its address."""
    return node if re.fullmatch(r"[A-Za-z0-9][\w.-]*", node, re.ASCII) else "peer"
