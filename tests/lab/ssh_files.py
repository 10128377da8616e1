"""Files that ssh needs: keys, known hosts, and the configuration of both ends."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from .errors import LabError

SSHD = "/usr/sbin/sshd"


def make_keys(comments: Mapping[Path, str]) -> None:
    """Make keys, {path: comment}, in parallel. Raise LabError."""
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", ""]
    running = [
        subprocess.Popen(
            [*argv, "-C", comment, "-f", str(path)], stdin=subprocess.DEVNULL, stdout=-1, stderr=subprocess.STDOUT
        )
        for path, comment in comments.items()
    ]
    for process in running:
        words = process.communicate()[0]
        if process.returncode:
            raise LabError(f"ssh-keygen: {words.decode(errors='replace').strip()}")


def public(key: Path) -> str:
    """Return the public half of a key, one line without its end."""
    return Path(f"{key}.pub").read_text(encoding="utf-8").strip()


def known_hosts_line(names: Iterable[str], port: int, host_key: Path) -> str:
    """Return the line of known_hosts for a host under the given names."""
    shown = [name if port == 22 else f"[{name}]:{port}" for name in names]
    return f"{','.join(shown)} {public(host_key).rpartition(' ')[0]}\n"


def client_options(known_hosts: Path, key: Path | None = None) -> list[str]:
    """Return options of ssh that accept the lab's host keys and no others, and never ask."""
    settings = {
        "UserKnownHostsFile": f'"{known_hosts}"',
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "BatchMode": "yes",
        "IdentitiesOnly": "yes",
    }
    options = ["-i", str(key)] if key else []
    for name, value in settings.items():
        options += ["-o", f"{name}={value}"]
    return options


def shell_words(options: list[str]) -> str:
    """Return options as one text, quoted for a shell."""
    return shlex.join(options)


def client_config(hosts: Iterable[tuple[str, str, int, str]], key: Path, known_hosts: Path) -> str:
    """Return the text of an ssh_config for hosts, each (name, address, port, user)."""
    blocks = [
        f"Host {name}\n    HostName {address}\n    Port {port}\n    User {user}\n"
        for name, address, port, user in hosts
    ]
    settings = client_options(known_hosts)[1::2]
    common = "".join(f"    {setting.replace('=', ' ', 1)}\n" for setting in settings)
    return "".join(blocks) + f'Host *\n    IdentityFile "{key}"\n{common}'


def server_config(own: Path, address: str, port: int, strict: bool, extra: Mapping[str, str]) -> str:
    """Return the text of a host's sshd_config; sshd uses the first of repeated settings."""
    settings = {
        "Port": str(port),
        "ListenAddress": address,
        "HostKey": f'"{own}/host_key"',
        "PidFile": f'"{own}/sshd.pid"',
        "AuthorizedKeysFile": f'"{own}/home/.ssh/authorized_keys"',
        "StrictModes": "yes" if strict else "no",
        "UsePAM": "no",
        "UseDNS": "no",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "PermitRootLogin": "prohibit-password",
        "TCPKeepAlive": "yes",
        "ClientAliveInterval": "15",
        "ClientAliveCountMax": "4",
        "MaxStartups": "200",
        "MaxSessions": "200",
        "PrintMotd": "no",
        "LogLevel": "VERBOSE",
    }
    lines = [f"{name} {value}" for name, value in extra.items()]
    lines += [f"{name} {value}" for name, value in settings.items() if name not in extra]
    return "\n".join([*lines, "Subsystem sftp internal-sftp", ""])
