"""Trial of a peer, step by step, to find where the way to it fails: name, port, key, or rsync in its folder."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from typing import Any

from ..system.digest import open_plain
from ..system.errors import AltbackupError
from ..system.processes import Deadline
from ..system.programs import clean_environment, inherited_environment
from ..system.ssh import effective_settings
from ..tree.failures import explain
from .peers import Peer, ssh_command
from .rsync import reach

_MOST_SAID = 2000


def try_peer(peer: Peer, deadline: Deadline, *, fetch: bool = False) -> dict[str, Any]:
    """Return what each step to a peer shows; texts are empty where a step succeeds.

    `name` and `port` tell what is wrong with these, `said` is the output of ssh or rsync. `dialled` is how ssh resolves the peer: host,
    port, user, file of known host keys, and whether the connection is direct; `key` is its private key: path, mode, owner, and its public
    half as far as it is known.
    """
    facts: dict[str, Any] = {"node": peer.node, "fetch": fetch, "name": "", "port": "", "said": "", "shown": str(peer)}
    if not peer.host:
        return {**facts, "dialled": {}, "key": {}}
    environment = clean_environment(**inherited_environment("HOME", "USER", "LOGNAME"))
    settings = effective_settings(ssh_command(peer), f"{peer.user + '@' if peer.user else ''}{peer.host}", environment)
    direct = not settings.get("proxyjump") and settings.get("proxycommand", "none") == "none"
    host, port = settings.get("hostname", peer.host), int(settings.get("port") or peer.port or 22)
    known = os.path.expanduser((settings.get("userknownhostsfile") or "~/.ssh/known_hosts").split()[0].strip('"'))
    alias = settings.get("hostkeyalias", "")
    facts["dialled"] = {
        "host": peer.host,
        "address": host,
        "port": port,
        "user": settings.get("user", peer.user),
        "known_hosts": known,
        "known_hosts_folder": os.path.isdir(os.path.dirname(known)),
        "alias": "" if alias == "none" else alias,
        "direct": direct,
    }
    facts["key"] = _key(peer, settings.get("identityfile", ""))
    if direct:
        facts["name"] = _unresolved(host, port)
        facts["port"] = "" if facts["name"] else _closed(host, port, peer.connect_timeout)
    if not (facts["name"] or facts["port"]):
        try:
            reach(peer, deadline, fetch=fetch)
        except (AltbackupError, OSError) as error:
            facts["said"] = explain(error)[-_MOST_SAID:]
    return facts


def _key(peer: Peer, first: str) -> dict[str, Any]:
    """Return path, mode, owner and public half of the private key used for a peer; `first` is ssh's own first choice."""
    path = peer.ssh_key or os.path.expanduser(first.strip('"'))
    if not path:
        return {}
    found: dict[str, Any] = {"path": path, "named": bool(peer.ssh_key), "there": False, "public": "", "mode": ""}
    try:
        status = os.stat(path)
    except OSError as error:
        return {**found, "why": error.strerror or ""}
    found.update(there=True, mode=f"{stat.S_IMODE(status.st_mode):04o}", mine=status.st_uid == os.geteuid())
    with contextlib.suppress(OSError), open_plain(f"{path}.pub") as stream:
        found["public"] = " ".join(stream.readline(8192).decode("utf-8", "replace").split()[:2])
    return found


def _unresolved(host: str, port: int) -> str:
    try:
        socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return f"{host}: {getattr(error, 'strerror', '') or error}"
    return ""


def _closed(host: str, port: int, seconds: float) -> str:
    try:
        with socket.create_connection((host, port), max(1.0, min(seconds, 30.0))):
            return ""
    except socket.timeout:
        return f"no answer from {host} port {port} within {seconds:g} s"
    except OSError as error:
        return f"{host} port {port}: {error.strerror or error}"
