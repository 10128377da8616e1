"""Order of a restore: what goes where, and how."""

from __future__ import annotations

import grp
import os
import pwd
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..archive.examine import DECOMPRESSORS
from ..archive.unpack import clean_member
from ..kinds.base import BESIDE_A_DATABASE
from ..kinds.into import parse_into, place_of
from ..kinds.items import decode_name
from ..kinds.registry import KINDS, kind_of
from ..system.age import MOST_IDENTITIES, NOBODY, SUFFIX, Identities, is_encrypted
from ..system.digest import DIGEST_LENGTHS, open_plain
from ..system.errors import InvalidInput
from ..system.values import nearest, quoted
from ..system.visible import command_of, one_line
from ..tree.layout import parse_filename, split_relpath
from ..tree.sidecar import Dna
from ..tree.stamps import parse_stamp

_NO_ID = (1 << 32) - 1
"""(uid_t)-1, by which chown(2) leaves an owner unchanged; no valid id is that large"""
REPLACE = ("refuse", "move_aside")


@dataclass(frozen=True)
class Archive:
    """A tarball to restore from: its path below its base, and its expected content."""

    relpath: str
    dna: Dna
    record: Mapping[str, Any] = field(default_factory=dict)
    """The public part of the record of an encrypted tarball's dump"""

    @property
    def filename(self) -> str:
        """Its file name."""
        return self.relpath.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Order:
    """A parsed order of a restore."""

    destination: str
    kind: str
    archives: tuple[Archive, ...]
    """The full tarball, then the differential, if there is one"""
    origin: Mapping[str, Any]
    """Content of the marker: source, item, stamp, dig, node, host, when, by"""
    base: str = ""
    """The tree with the tarballs if it is on this node; empty if they arrive in the work folder"""
    live_base: str = ""
    """The base of this host's own tarballs, if it is a source"""
    live_items: tuple[Mapping[str, Any], ...] = ()
    """The items of this host: mappings of kind and path"""
    live_discover: Mapping[str, str] = field(default_factory=dict)
    """{kind: folder} in which this host discovers items"""
    record: Mapping[str, Any] = field(default_factory=dict)
    member: str = ""
    replace: str = "refuse"
    aside: str = ""
    """Path to which what is at the destination is moved; empty if nothing may be there"""
    consent: bool = False
    special_modes: bool = False
    numeric: bool = False
    """Whether owners are restored by number instead of by name"""
    owner: str = ""
    group: str = ""
    mode: str = ""
    selinux: str = ""
    proof_user: str = "nobody"
    identities: Identities = NOBODY
    """Identities that decrypt an encrypted tarball"""
    signing_key: str = ""
    """The public key of the source's signatures, empty if it is not known"""
    sources: tuple[str, ...] = ()
    """The names under which the source may have signed; empty: any"""
    into: Mapping[str, Any] = field(default_factory=dict)
    """The server to load into, as from into.parse_into; the item is then unpacked beside `destination`, where nothing is left"""
    suffix: str = ""
    """Suffix of the name under which something in that server is moved aside"""

    @property
    def place(self) -> str:
        """The destination or server, for messages."""
        return place_of(self.kind, self.into) if self.into else self.destination

    @property
    def top(self) -> str:
        """The top folder in the tarballs: that of the full one."""
        _, name, _, filename = split_relpath(self.archives[0].relpath)
        _, extension = parse_filename(filename, name) or (None, "")
        return filename[: -len(extension)]

    @property
    def member_path(self) -> str:
        """The member's path in the tarball, in which %XX is a byte, as in names of items. Raise InvalidInput."""
        return clean_member(decode_name(self.member), self.top)

    @property
    def title(self) -> str:
        """What is restored, for messages."""
        part = f"{one_line(self.member)} of " if self.member else ""
        return f"{part}{self.origin.get('item')} of {self.origin.get('source')}, {self.origin.get('stamp')}, from {self.origin.get('node')}"

    @property
    def look(self) -> str:
        """The command that shows what is in the tarballs."""
        item = f"{self.origin.get('source')}/{self.origin.get('item')}"
        return command_of("ls", item, "--at", str(self.origin.get("stamp")))


def parse_order(values: Mapping[str, Any], stamp: str) -> Order:
    """Return the module's order, checked; `stamp` is the run's and names what is moved aside. Raise InvalidInput."""
    destination = str(values["destination"])
    plain = os.path.isabs(destination) and os.path.normpath(destination) == destination
    if not plain or destination.startswith("//") or destination == "/" or "\0" in destination:
        raise InvalidInput(f"destination {destination!r} is not a plain absolute path")
    live_items = tuple(map(_live_item, values.get("live_items") or ()))
    for kind in (values["kind"], *(item["kind"] for item in live_items)):
        if kind not in KINDS:
            raise InvalidInput(f"unknown kind {kind!r}, {nearest(str(kind), tuple(KINDS))}")
    parse_stamp(stamp)
    archives = [_archive(entry) for entry in values["tarballs"]]
    if not 1 <= len(archives) <= 2:
        raise InvalidInput("a restore takes one tarball, or a full one and its differential")
    if archives[-1].record == {} and is_encrypted(archives[-1].filename):
        archives[-1] = replace(archives[-1], record=values.get("record") or {})
    names = ("base", "live_base", "member", "replace", "owner", "group", "mode", "selinux")
    texts = {name: str(values.get(name) or "") for name in names}
    if texts["mode"] and not re.fullmatch(r"[0-7]{3,4}", texts["mode"], re.ASCII):
        raise InvalidInput(f"mode {texts['mode']!r} is not one in octal digits, like 0640")
    if "\0" in texts["selinux"]:
        raise InvalidInput(f"selinux {texts['selinux']!r} is not a context: it holds a NUL byte")
    flags = {name: bool(values.get(name)) for name in ("consent", "special_modes", "numeric")}
    suffix = f".{re.sub('/', '', stamp[:10])}-{stamp[11:]}"
    aside = f"{destination}{suffix}"
    into = _parse_into(values)
    return Order(
        destination,
        str(values["kind"]),
        tuple(archives),
        values.get("origin") or {},
        record=values.get("record") or {},
        proof_user=str(values.get("proof_user") or "nobody"),
        aside=aside if texts["replace"] == "move_aside" and not into else "",
        into=into,
        suffix=suffix if texts["replace"] == "move_aside" else "",
        live_items=live_items,
        identities=identities_of(values),
        signing_key=str(values.get("signing_key") or ""),
        sources=tuple(map(str, values.get("sources") or ())),
        live_discover={str(kind): str(folder) for kind, folder in (values.get("live_discover") or {}).items()},
        **texts,  # type: ignore[arg-type]
        **flags,  # type: ignore[arg-type]
    )


def identities_of(values: Mapping[str, Any], *, needed: bool = True) -> Identities:
    """Return the identities that the controller passed on, or those in a file of this host; none if that is missing and not `needed`.

    Raise InvalidInput.
    """
    path = str(values.get("identity_file") or "")
    if values.get("identity") or not path:
        return Identities(str(values.get("identity") or ""))
    try:
        with open_plain(path) as stream:
            return Identities(stream.read(MOST_IDENTITIES + 1).decode("utf-8", "surrogateescape"))
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not needed:
            return NOBODY
        raise InvalidInput(
            f"altbackup_identity_file {path!r} is neither on the controller nor on this host a file that can be read: {error.strerror}"
        ) from error


def _parse_into(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the server of an order, {} for none. Raise InvalidInput."""
    if not values.get("into"):
        return {}
    into = parse_into(values["into"], str(values["kind"]))
    if "user" not in into:
        raise InvalidInput("into: key 'user' is missing: as whom the server's programs run on this node")
    if values.get("member"):
        raise InvalidInput("into and member: a part of a tarball is not loaded into a server; leave one of them out")
    return into


def _live_item(value: Mapping[str, Any]) -> Mapping[str, str]:
    if "kind" not in value or "path" not in value:
        raise InvalidInput(f"live_items: {quoted(value)} has no kind and path")
    return {"kind": str(value["kind"]), "path": str(value["path"])}


def _archive(value: Mapping[str, Any]) -> Archive:
    relpath = str(value.get("relpath", ""))
    split_relpath(relpath)
    dig, size, alg = (str(value.get(key, "")) for key in ("dig", "size", "alg"))
    if len(dig) != DIGEST_LENGTHS.get(alg) or not re.fullmatch(r"[0-9a-f]+", dig):
        raise InvalidInput(
            f"{relpath}: {quoted(dig)} is not a digest of {quoted(alg)}, one of {', '.join(sorted(DIGEST_LENGTHS))}"
        )
    if not re.fullmatch(r"\d{1,18}", size, re.ASCII):
        raise InvalidInput(f"{relpath}: size {quoted(size)} is not a number of bytes")
    return Archive(relpath, Dna(dig, int(size), alg), value.get("record") or {})


def remembered_of(order: Order) -> dict[str, Any]:
    """Return the values that tell two orders of one destination apart, as plain JSON values."""
    return {
        "source": str(order.origin.get("source", "")),
        "kind": order.kind,
        "tarball": [
            [archive.relpath, archive.dna.alg, archive.dna.dig, archive.dna.size] for archive in order.archives
        ],
        "member": order.member_path,
        "owner or group": list(owner_of(order)),
        "mode": order.mode,
        "selinux": order.selinux,
        "special_modes": order.special_modes,
        "numeric": order.numeric or None,
    }


def tools_for(order: Order) -> list[str]:
    """Return the programs that a restore needs, so that a missing one is found before anything is transferred."""
    names = [archive.filename for archive in order.archives]
    locked = ["age"] if any(map(is_encrypted, names)) else []
    names = [name[: -len(SUFFIX)] if is_encrypted(name) else name for name in names]
    endings = [os.path.splitext(name)[1] for name in names]
    decompressors = [DECOMPRESSORS[ending] for ending in endings if ending in DECOMPRESSORS]
    return ["tar", "cp", "sync", *locked, *decompressors, *(kind_of(order.kind).tools if not order.member else ())]


def suffixes_beside(order: Order) -> Sequence[str]:
    """Return the suffixes of files that must not exist beside the destination; a member of a tarball may be a database."""
    return BESIDE_A_DATABASE if order.member else kind_of(order.kind).beside


def owner_of(order: Order) -> tuple[int, int]:
    """Return (uid, gid) to set, -1 to keep the archived one. Raise InvalidInput for names that this node does not know."""
    return (
        _id_of(order.owner, "owner", lambda name: pwd.getpwnam(name).pw_uid),
        _id_of(order.group, "group", lambda name: grp.getgrnam(name).gr_gid),
    )


def _id_of(name: str, what: str, look_up: Any) -> int:
    if not name:
        return -1
    if re.fullmatch(r"\d{1,10}", name, re.ASCII):
        if int(name) >= _NO_ID:
            raise InvalidInput(f"{what} {name} is no number that an owner can have")
        return int(name)
    try:
        return int(look_up(name))
    except (KeyError, ValueError):  # not a valid name
        raise InvalidInput(f"{what} {name!r} is not known on this node: make it first, or give its number") from None
