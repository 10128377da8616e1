"""Several hosts on one machine, reached by real ssh."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import secrets
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from . import files, network, registry
from .errors import LabError, NamespacesNeeded
from .host import Host
from .launch import launch, reports
from .namespaced import FreshHost, NamespacedHost
from .processes import Process, identify
from .pythons import find_python, own_python
from .ssh_files import client_options

NAME = re.compile(r"[a-z][a-z0-9-]{0,30}\Z")
SSHD_NEEDS = "/run/sshd"


class Lab:
    """Hosts in namespaces of their own, or, where none can be made, sshd's on loopback ports; the block's end ends them.

    `sources` have an ssh key of their own, authorized on every host. `pythons` names the interpreter of some hosts ("oldest", "newest",
    "3.9" or a path). `discs` gives some hosts, in namespaces, a root of their own: {name: folder with `root`}, shown to it as /media/disc.
    `sshd_options` take precedence over the lab's own. A lab that is `detached` outlives this process and is ended by
    close() on the result of attach().
    """

    def __init__(
        self,
        names: Sequence[str],
        folder: Path,
        *,
        sources: Sequence[str] = (),
        pythons: Mapping[str, str] | None = None,
        ports: Mapping[str, int] | None = None,
        discs: Mapping[str, Path] | None = None,
        sshd_options: Mapping[str, str] | None = None,
        loopback: bool = False,
        detached: bool = False,
    ) -> None:
        bad = [name for name in names if not NAME.match(name)]
        unknown = {*sources, *(pythons or {}), *(ports or {}), *(discs or {})} - set(names)
        if bad or unknown or not names or len(set(names)) < len(names) or len(names) > 200:
            raise LabError(f"names of hosts must be 1 to 200 plain, distinct, known ones: {bad or unknown or names}")
        self.names, self.sources, self.ports = list(names), list(sources), dict(ports or {})
        self.discs = dict(discs or {})
        self.sshd_options, self.detached = dict(sshd_options or {}), detached
        self.interpreters = {name: "/usr/bin/python3" if name in self.discs else own_python() for name in names}
        for name, which in (pythons or {}).items():
            found = find_python(which)
            if found is None:
                raise LabError(f"no Python {which} on this machine")
            self.interpreters[name] = found
        forced = loopback or os.environ.get("ALTBACKUP_LAB") == "loopback"
        self.reason = "loopback ports were asked for" if forced else network.why_not()
        if self.discs and self.reason:
            raise NamespacesNeeded(f"hosts with a root of their own need namespaces: {self.reason}")
        self.id = secrets.token_hex(4)
        self.folder = Path(folder).absolute() / f"lab-{self.id}"
        self.hosts: dict[str, Host] = {}
        self.address = "127.0.0.1"
        self.seconds_up = 0.0
        self._starter: subprocess.Popen[bytes] | None = None
        self.record = registry.Record(
            id=self.id,
            folder=str(self.folder),
            owner=identify(os.getpid()),
            keep_folder=bool(os.environ.get("ALTBACKUP_LAB_KEEP")),
            namespaces=self.reason is None,
        )

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    def __enter__(self) -> Lab:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def key(self) -> Path:
        """Return the controller's key, authorized on every host."""
        return self.folder / "client_key"

    @property
    def known_hosts(self) -> Path:
        """Return the file of the hosts' real keys, by name and by address."""
        return self.folder / "known_hosts"

    @property
    def ssh_config(self) -> Path:
        """Return the ssh_config by which the controller reaches every host by its name."""
        return self.folder / "ssh_config"

    @property
    def control_sockets(self) -> Path:
        """Return a folder with a short path for ssh's control sockets, whose masters end with the lab."""
        return self.record.sockets

    @property
    def ssh_options(self) -> list[str]:
        """Return options of ssh for the controller: its key, the lab's host keys, no prompts."""
        return client_options(self.known_hosts, self.key)

    def ssh(
        self, name: str, *argv: str, options: Sequence[str] = (), timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on a host over ssh from the controller."""
        command = ["ssh", "-F", str(self.ssh_config), *options, name, *argv]
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=timeout,
            check=False,
        )

    def start(self) -> Lab:
        """Start the lab; on an error nothing of it stays."""
        began = time.monotonic()
        registry.reap()
        if self.reason:
            print(f"lab: no namespaces ({self.reason}): sshd's on loopback ports instead", flush=True)
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        self.seconds_up = time.monotonic() - began
        return self

    def close(self) -> None:
        """End every process of the lab and remove everything that it made; a second call does nothing."""
        registry.dispose(self.record)
        if self._starter is not None:
            self._starter.kill()
            self._starter.wait()
        self.hosts = {}

    def _start(self) -> None:
        registry.write(self.record)
        files.make_folders(self.folder, self.names, self.record.namespaces, self.discs)
        with ThreadPoolExecutor(1) as pool:
            keys = pool.submit(files.make_keys, self.folder, self.names, self.sources)
            inits = self._start_keeper()
            keys.result()
        places = range(network.FIRST_HOST, network.FIRST_HOST + len(self.names))
        if self.record.namespaces:
            self._connect(inits, places)
        else:
            if os.geteuid() == 0:
                Path(SSHD_NEEDS).mkdir(mode=0o755, exist_ok=True)
            self.hosts = {name: self._host(Host, name, 0, self.address, free_port()) for name in self.names}
        files.configure(self.folder, self.hosts, self.record.namespaces, self.sshd_options)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(Host.start_sshd, self.hosts.values()))
        if self.detached:
            self.record = registry.write(replace(self.record, owner=None))

    def _start_keeper(self) -> dict[str, Process]:
        """Start the process that holds the lab, and return the init of each host."""
        self._starter = launch(self.record, self.detached)
        count = 1 + (len(self.names) if self.record.namespaces else 0)
        inits = {}
        for report in reports(self._starter, count, self.folder / "keeper.log"):
            if "keeper" in report:
                self.record = registry.write(replace(self.record, keeper=identify(report["keeper"])))
            else:
                inits[report["host"]] = identify(report["pid"])
        return inits

    def _connect(self, inits: Mapping[str, Process], places: Sequence[int]) -> None:
        """Give the lab a network and the hosts their addresses."""
        assert self.record.keeper is not None
        keeper = self.record.keeper.pid
        net = network.claim(keeper)
        self.record = registry.write(replace(self.record, device=net.device))
        self.address = net.address(network.CONTROLLER)
        network.wire(net, keeper, [inits[name].pid for name in self.names])
        for name, place in zip(self.names, places, strict=True):
            port = self.ports.get(name, 22)
            kind = FreshHost if name in self.discs else NamespacedHost
            self.hosts[name] = self._host(kind, name, place, net.address(place), port, inits[name])
        table = files.hosts_table(self.hosts, self.address)
        for host in self.hosts.values():
            host.write_etc("hosts", table)

    def _host(
        self, kind: type[Host], name: str, place: int, address: str, port: int, init: Process | None = None
    ) -> Host:
        folder = self.folder / "hosts" / name
        return kind(
            name=name,
            address=address,
            port=port,
            user=pwd.getpwuid(os.geteuid()).pw_name if self.reason else "root",
            folder=folder,
            python=self.interpreters[name],
            known_hosts=self.known_hosts,
            key=folder / "home/.ssh/id_ed25519" if name in self.sources else None,
            place=place,
            init=init,
            switch=self.record.keeper,
            reason=self.reason,
        )


def free_port() -> int:
    """Return a loopback port that nobody listens on at the moment."""
    with contextlib.closing(socket.socket()) as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])
