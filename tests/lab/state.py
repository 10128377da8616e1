"""A running lab as a file, so that another process can use it."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from . import registry
from .host import Host
from .lab import Lab
from .namespaced import NamespacedHost
from .processes import Process

PATHS = ("folder", "known_hosts", "key")
PROCESSES = ("init", "switch")


def save(lab: Lab, path: Path) -> None:
    """Write the state of a running lab to a file of JSON."""
    hosts = {name: {**asdict(host), "data": host.data, "home": host.home} for name, host in lab.hosts.items()}
    plain = {
        "id": lab.id,
        "folder": lab.folder,
        "address": lab.address,
        "key": lab.key,
        "known_hosts": lab.known_hosts,
        "ssh_config": lab.ssh_config,
        "control_sockets": lab.control_sockets,
        "reason": lab.reason,
        "sources": lab.sources,
        "hosts": hosts,
        "record": asdict(lab.record),
    }
    new = path.with_name(f"{path.name}.new")
    new.write_text(json.dumps(plain, indent=2, default=str) + "\n", encoding="utf-8")
    new.replace(path)


def attach(path: Path) -> Lab:
    """Return the lab of a state file, which close() ends. Raise OSError or ValueError."""
    plain = json.loads(path.read_text(encoding="utf-8"))
    lab = Lab(list(plain["hosts"]), Path(plain["folder"]).parent, sources=plain["sources"])
    lab.id, lab.folder, lab.address, lab.reason = plain["id"], Path(plain["folder"]), plain["address"], plain["reason"]
    lab.record = registry.parse(json.dumps(plain["record"]))
    kind = NamespacedHost if lab.record.namespaces else Host
    lab.hosts = {name: _host(kind, values) for name, values in plain["hosts"].items()}
    lab.interpreters = {name: host.python for name, host in lab.hosts.items()}
    return lab


def is_running(lab: Lab) -> bool:
    """Return whether the process that holds the lab is alive."""
    return lab.record.keeper is not None and lab.record.keeper.alive


def _host(kind: type[Host], values: dict[str, Any]) -> Host:
    known = {field.name: values[field.name] for field in fields(Host)}
    known |= {name: Path(known[name]) for name in PATHS if known[name] is not None}
    known |= {name: Process(**known[name]) for name in PROCESSES if known[name] is not None}
    return kind(**known)
