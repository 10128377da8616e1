"""The files of a lab, written before its hosts start."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Collection, Mapping
from pathlib import Path

from . import ssh_files
from .host import Host

ZONES = Path("/usr/share/zoneinfo")


def make_folders(folder: Path, names: Collection[str], namespaces: bool, discs: Mapping[str, Path]) -> None:
    """Make the folder of the lab and one for each host; those with a disc get a root of their own."""
    for name in names:
        own = folder / "hosts" / name
        for below in ("data", "disks", "home/.ssh", "etc", "machine"):
            (own / below).mkdir(parents=True)
        (own / "home").chmod(0o700)
        (own / "home/.ssh").chmod(0o700)
        (own / "boot_id").write_text(f"{uuid.uuid4()}\n", encoding="ascii")
        if name in discs:
            for layer in ("root", "upper", "work"):
                (own / layer).mkdir()
            (own / "disc").symlink_to(discs[name].absolute())
            name_host(own / "etc", name)
        elif namespaces:
            make_etc(own / "etc", name, own / "home")


def name_host(etc: Path, name: str) -> None:
    """Write the files of /etc that tell one host from another."""
    for file, text in {"hostname": name, "machine-id": secrets.token_hex(16)}.items():
        (etc / file).write_text(f"{text}\n", encoding="utf-8")


def make_etc(etc: Path, name: str, home: Path) -> None:
    """Write the files of /etc that a host has of its own."""
    name_host(etc, name)
    users = Path("/etc/passwd").read_text(encoding="utf-8").splitlines()
    others = [line for line in users if not line.startswith("root:")]
    texts = {
        "nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files\nservices: files\nprotocols: files\n",
        "passwd": "\n".join([f"root:x:0:0:root:{home}:/bin/bash", *others]) + "\n",
        "shadow": "root:*:19000:0:99999:7:::\n",
        "timezone": "Etc/UTC\n",
    }
    for file, text in texts.items():
        (etc / file).write_text(text, encoding="utf-8")
    (etc / "shadow").chmod(0o600)
    if (ZONES / "Etc/UTC").exists():
        (etc / "localtime").symlink_to(ZONES / "Etc/UTC")


def make_keys(folder: Path, names: Collection[str], sources: Collection[str]) -> None:
    """Make the host keys, the client's key and the keys of the sources, and authorize each of these on every host."""
    own = {name: folder / "hosts" / name for name in names}
    keys = {path / "host_key": name for name, path in own.items()}
    keys[folder / "client_key"] = "controller"
    keys |= {own[name] / "home/.ssh/id_ed25519": name for name in sources}
    ssh_files.make_keys(keys)
    clients = [folder / "client_key", *(own[name] / "home/.ssh/id_ed25519" for name in sources)]
    for path in own.values():
        authorized = path / "home/.ssh/authorized_keys"
        authorized.write_text("".join(f"{ssh_files.public(key)}\n" for key in clients), encoding="utf-8")
        authorized.chmod(0o600)


def configure(folder: Path, hosts: Mapping[str, Host], namespaces: bool, sshd_options: Mapping[str, str]) -> None:
    """Write the configuration of both ends of ssh and the known hosts, for the controller and for every host."""
    known = ""
    for name, host in hosts.items():
        known += ssh_files.known_hosts_line((name, host.address), host.port, host.folder / "host_key")
        listen = "0.0.0.0" if namespaces else host.address
        text = ssh_files.server_config(host.folder, listen, host.port, namespaces, sshd_options)
        (host.folder / "sshd_config").write_text(text, encoding="utf-8")
    for path in (folder / "known_hosts", *(host.folder / "home/.ssh/known_hosts" for host in hosts.values())):
        path.write_text(known, encoding="utf-8")
    dialled = [(host.name, host.address, host.port, host.user) for host in hosts.values()]
    text = ssh_files.client_config(dialled, folder / "client_key", folder / "known_hosts")
    (folder / "ssh_config").write_text(text, encoding="utf-8")


def hosts_table(hosts: Mapping[str, Host], controller: str) -> str:
    """Return the text of /etc/hosts, with the hosts and the controller."""
    lines = ["127.0.0.1 localhost", f"{controller} controller", *(f"{it.address} {it.name}" for it in hosts.values())]
    return "\n".join([*lines, ""])
