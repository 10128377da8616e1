"""The network of a lab: a bridge, a cable to every host and one to the controller, and nothing beyond."""

from __future__ import annotations

import functools
import ipaddress
import os
import random
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from .errors import LabError

# The range reserved for tests of devices (RFC 2544), where nobody's hosts are.
SUBNETS = list(ipaddress.IPv4Network("198.18.0.0/15").subnets(new_prefix=24))
CONTROLLER, FIRST_HOST = 1, 11
NAMESPACES = ["unshare", "--fork", "--pid", "--mount", "--uts", "--ipc", "--net"]
TOOLS = ("ip", "unshare", "nsenter", "setpriv")


@dataclass(frozen=True)
class Network:
    """The addresses of one lab; the number of its subnet is part of the name of the controller's device."""

    number: int

    @property
    def device(self) -> str:
        """Return the controller's device, whose name is unique among labs."""
        return f"ablab{self.number}"

    def address(self, place: int) -> str:
        """Return the address at a place of the subnet."""
        return str(SUBNETS[self.number][place])

    def hardware_address(self, place: int) -> str:
        """Return the hardware address of the address at a place."""
        return f"02:ab:{self.number >> 8:02x}:{self.number & 255:02x}:00:{place:02x}"


def ip(commands: Sequence[str], pid: int | None = None) -> None:
    """Run ip commands, in the network namespace of process `pid` if given. Raise LabError with ip's message."""
    enter = ["nsenter", f"--target={pid}", "--net"] if pid else []
    argv = [*enter, "ip", "-batch", "-"]
    done = subprocess.run(argv, input="\n".join(commands) + "\n", capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"ip: {done.stderr.strip()}")


def claim(keeper: int) -> Network:
    """Make the cable from the controller to the keeper's namespace under an unused name, and so reserve a subnet."""
    for number in random.sample(range(len(SUBNETS)), len(SUBNETS)):
        network = Network(number)
        try:
            ip([f"link add name {network.device} type veth peer name uplink netns {keeper}"])
        except LabError as error:
            if "File exists" not in str(error):
                raise
        else:
            return network
    raise LabError(f"all {len(SUBNETS)} subnets are in use")


def wire(network: Network, keeper: int, hosts: Sequence[int]) -> None:
    """Connect the hosts, given by the pids of their inits, and the controller to the bridge.

    Neighbours are fixed, so that a cut link is silent, as a remote one is, instead of "no route to host".
    """
    places = [CONTROLLER, *range(FIRST_HOST, FIRST_HOST + len(hosts))]
    switch = ["link add name bridge0 type bridge", "link set bridge0 up", "link set uplink master bridge0 up"]
    for place, pid in zip(places[1:], hosts, strict=True):
        own = network.hardware_address(place)
        switch.append(f"link add name port{place} type veth peer name eth0 address {own} netns {pid}")
        switch.append(f"link set port{place} master bridge0 up")
    ip(switch, keeper)

    def connect(place: int, pid: int | None, device: str) -> None:
        others = [other for other in places if other != place]
        ip(
            [
                "link set lo up",
                f"link set {device} address {network.hardware_address(place)} up",
                f"address add {network.address(place)}/24 dev {device}",
                *(
                    f"neigh replace {network.address(other)} lladdr {network.hardware_address(other)} dev {device}"
                    for other in others
                ),
            ],
            pid,
        )

    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(connect, CONTROLLER, None, network.device)]
        jobs += [pool.submit(connect, *it, "eth0") for it in zip(places[1:], hosts, strict=True)]
    for job in jobs:
        job.result()


@functools.cache
def why_not() -> str | None:
    """Return why no host can have namespaces of its own here, or None if it can."""
    if os.geteuid() != 0:
        return "not root"
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        return f"not installed: {', '.join(missing)}"
    trial = "ip link add name trial0 type veth peer name trial1 && ip link add name trial2 type bridge"
    done = subprocess.run([*NAMESPACES, "sh", "-c", trial], capture_output=True, text=True, check=False)
    return (done.stderr.strip() or "namespaces cannot be made") if done.returncode else None
