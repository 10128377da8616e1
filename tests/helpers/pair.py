"""A source's tree and a target's on one machine, and the transfer of a run between them."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.altbackup.core.plugins.module_utils.synchronize import (
    accept,
    prepare,
    rsync,
    send,
    transfer_plan,
)
from ansible_collections.altbackup.core.plugins.module_utils.synchronize.offer import listing
from ansible_collections.altbackup.core.plugins.module_utils.synchronize.peers import Peer
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.locks import held
from ansible_collections.altbackup.core.plugins.module_utils.tree.origin import parse_origin
from ansible_collections.altbackup.core.plugins.module_utils.tree.rulings import parse_ruling
from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import Moment

NOW = Moment("2013/05/10/235959", "2013/05/10/235959")

DAY1, DAY2, DAY3 = (f"2013/05/{day:02}" for day in (8, 9, 10))

BULK = 3_000_000


PEER = Peer(
    "cms01",
    "/copies/.altbackup/incoming/dayabay",
    host="192.0.2.10",
    port=2222,
    user="backup",
    ssh_key="/home/scm/.ssh/altbackup",
    ssh_args=("-o", "ProxyJump=gate.example.org"),
    connect_timeout=7.4,
    io_timeout=61,
)
"""A target on another machine, with all that can be said of the way to it"""


def relpath(day: str, item: str = "folders/notes") -> str:
    return f"{item}/{day}/104701/{item.split('/')[1]}.tar"


def content(seed: int, size: int = 20_000) -> bytes:
    return random.Random(seed).randbytes(size)


def part_of(data: bytes) -> str:
    return f"sha256-{hashlib.sha256(data).hexdigest()}"


def run_at(stamp: str) -> Moment:
    return Moment(stamp, stamp)


@dataclass
class Pair:
    """A source and a target, and the calls of a run between them."""

    source: Path
    copies: Path
    pull: bool = False
    wire: int = 0
    notes: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def tree(self) -> Path:
        return self.copies / "dayabay"

    @property
    def incoming(self) -> Path:
        return self.copies / ".altbackup" / "incoming" / "dayabay"

    def prepare(self, **options: Any) -> dict[str, Any]:
        tarballs = [
            entry
            for entry in listing(str(self.source), moment=NOW, records=True)["tarballs"]
            if entry["state"] == "verified"
        ]
        values: dict[str, Any] = {
            "origin": parse_origin(options.pop("origin", None)),
            "day": DAY3,
            "moment": NOW,
            "basis": True,
            **self.options,
            **options,
        }
        keep, rules, keeps = (
            values.pop(name, default) for name, default in (("keep", 3), ("rules", {}), ("keeps", {}))
        )
        values["ruling"] = parse_ruling(keep, rules, "synchronize", keeps)
        with held(open_tree(str(self.tree)), None) as hold:
            result = prepare.prepare(transfer_plan.Request(str(self.tree), tarballs, **values), hold)
        self.notes += result["notes"]
        known = {entry["relpath"]: entry for entry in tarballs}
        result["tarballs"] = [known[path] for path in result["send"]]
        return result

    def carry(self, tarballs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Send tarballs, or lay them out for the target to fetch; return the failures."""
        peer = Peer("cms01", str(self.incoming))
        deliveries, offers = ([], [("cms01", tarballs)]) if self.pull else ([(peer, tarballs)], [])
        result = send.send(str(self.source), deliveries, Deadline(60), offers)
        self.wire += sum(result["wire"].values())
        return list(result["failures"])

    def accept(
        self, tarballs: list[dict[str, Any]], *, retry: bool = False, moment: Moment = NOW, origin: Any = None
    ) -> dict[str, Any]:
        peer = Peer("dayabay", send.offer_folder(str(self.source), "cms01"))
        fetch = (lambda folder, wanted: rsync.fetch(folder, peer, wanted, Deadline(60))) if self.pull else None
        with held(open_tree(str(self.tree)), None) as hold:
            result = accept.accept(hold, tarballs, moment=moment, fetch=fetch, retry=retry, origin=parse_origin(origin))
        self.wire += result["wire"]
        self.notes += result["notes"]
        return result

    def run(self, **options: Any) -> list[str]:
        """Run all steps; return the reasons of failures."""
        prepared = self.prepare(**options)
        failures = list(prepared["failures"])
        if prepared["tarballs"]:
            failures += self.carry(prepared["tarballs"])
            failures += self.accept(
                prepared["tarballs"], moment=options.get("moment", NOW), origin=options.get("origin")
            )["failures"]
        return [entry["reason"] for entry in failures]

    def there(self) -> dict[str, bytes]:
        """Return {relpath: bytes} of the target's verified tarballs, read from the files."""
        found = {}
        for path in sorted(self.tree.rglob("*.dna")):
            tarball = path.with_suffix("")
            data = tarball.read_bytes()
            assert hashlib.sha256(data).hexdigest() in path.read_text()
            found[str(tarball.relative_to(self.tree))] = data
        return found
