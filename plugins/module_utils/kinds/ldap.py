"""Kind `ldap`: the configuration and the databases of an OpenLDAP server, by slapcat, while the server is in use.

slapcat reads the files of the server itself, as their owner; with back-mdb that is one state of each database. A proof
loads all of it by slapadd into an empty folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..archive.write import Part
from ..system.digest import digest_file, open_plain
from ..system.errors import AltbackupError, InvalidInput, ToolMissing, name_os_errors
from ..system.processes import output_of
from ..system.programs import find_tool
from ..system.units import counted, first_of
from . import ldap_survey
from .base import Arrangement, Context, Kind, Snapshot, owner_found, scratch_folder, walk
from .command import uid_of
from .earlier import stamp_of
from .items import Item
from .ldap_survey import entries_in, unfolded

if TYPE_CHECKING:
    from .proofs import Proof

CONFIG, FILE, ENDING = "config.ldif", "slapd.conf", ".ldif"
_WITHOUT_ENTRIES = (
    "frontend",
    "config",
    "monitor",
    "ldap",
    "meta",
    "asyncmeta",
    "relay",
    "null",
    "passwd",
    "perl",
    "sock",
    "dnssrv",
)
"""Backends that store no entries"""
_CONSISTENT = ("mdb", "wt")
_MOST = 1 << 28
_SHOWN = 5


def check(item: Item, context: Context) -> None:
    """Raise InvalidInput unless the item's path is a configuration of slapd that can be read."""
    title = f"item ldap {item.name!r}"
    if not os.path.exists(item.path):
        raise InvalidInput(f"{title}: path {item.path} does not exist")
    is_folder = os.path.isdir(item.path)
    if not os.access(item.path, os.R_OK | (os.X_OK if is_folder else 0)):
        raise InvalidInput(f"{title}: path {item.path} cannot be read by uid {os.geteuid()}")
    if is_folder and not os.path.isfile(os.path.join(item.path, "cn=config.ldif")):
        raise InvalidInput(
            f"{title}: path {item.path} is no configuration of slapd: it has no cn=config.ldif; give the folder slapd.d, or the file slapd.conf"
        )


def databases_of(config: str) -> dict[str, tuple[str, str]]:
    """Return {number: (backend, suffix)} of the databases that store entries, from a configuration as LDIF."""
    found: dict[str, tuple[str, str]] = {}
    for entry in "\n".join(unfolded(config)).split("\n\n"):
        match = re.search(r"^olcDatabase: \{(-?\d+)\}(\w+)$", entry, re.MULTILINE)
        if match and match[2] not in _WITHOUT_ENTRIES:
            suffix = re.search(r"^olcSuffix: (.*)$", entry, re.MULTILINE)
            found[match[1]] = (match[2], suffix[1] if suffix else "")
    return found


def databases_of_file(config: str) -> dict[str, tuple[str, str]]:
    """Return the same from the text of a slapd.conf; slapcat counts the databases in it from 1."""
    found: dict[str, tuple[str, str]] = {}
    number, backend = 0, ""
    for line in re.sub(r"\n[ \t]+", " ", config).split("\n"):
        words = line.split(None, 1)
        if len(words) < 2:
            continue
        if words[0].lower() == "database":
            backend = words[1].strip().lower()
            number += backend not in ("frontend", "config")
            if backend not in _WITHOUT_ENTRIES:
                found[str(number)] = (backend, "")
        elif words[0].lower() == "suffix" and str(number) in found:
            found[str(number)] = (backend, words[1].strip().strip('"'))
    return found


@contextlib.contextmanager
def copy(item: Item, context: Context) -> Iterator[Snapshot]:
    """Yield the item's configuration and databases as LDIF."""
    folder, title = scratch_folder(context, item), f"item ldap {item.name!r}"
    notes: list[str] = []
    is_folder = os.path.isdir(item.path)
    how = ["-F", item.path] if is_folder else ["-f", item.path]

    def slapcat(number: str, name: str) -> int:
        path = os.path.join(folder, name)
        argv = [find_tool("slapcat"), "-g", "-o", "ldif-wrap=no", *how, "-n", number]
        what = f"{title}: reading database {number}"
        stderr_lines: list[str] = []
        with name_os_errors(path), open(path, "xb") as out, output_of(
            argv, what=what, deadline=context.deadline, stderr_lines=stderr_lines
        ) as output:
            os.chmod(out.fileno(), 0o600)
            shutil.copyfileobj(output, out)
        entries = _entries(path)
        if not entries:
            raise AltbackupError(
                f"{title}: slapcat ended with exit code 0, but gave no entry of database {number}: {first_of(stderr_lines, _SHOWN) or 'it said nothing'}"
            )
        return entries

    if is_folder:
        slapcat("0", CONFIG)
        databases = databases_of(_text(os.path.join(folder, CONFIG)))
    else:
        text = _text(item.path)
        _require_whole(title, item.path, text)
        if re.search(r"^include\s", text, re.MULTILINE):
            notes.append(
                f"{item.path} includes other files, such as schemas, which are not in the copy: back them up as a folder"
            )
        with open(os.path.join(folder, FILE), "x", encoding="utf-8", errors="surrogateescape", newline="") as out:
            out.write(text)
        os.chmod(out.name, 0o600)
        databases = databases_of_file(text)
    if not databases:
        raise AltbackupError(
            f"{title}: the configuration {item.path} names no database that stores entries: nothing was dumped"
        )
    found: dict[str, dict[str, Any]] = {}
    for number, (backend, suffix) in databases.items():
        name = f"{number}{ENDING}"
        entries = slapcat(number, name)
        digest, _ = digest_file(os.path.join(folder, name), "sha256")
        found[number] = {"suffix": suffix, "backend": backend, "entries": entries, "file": name, "digest": digest}
        if backend not in _CONSISTENT:
            notes.append(
                f"database {number} ({suffix}) is of backend {backend}, of which slapcat gives no one state while slapd writes"
            )
    total = sum(int(entry["entries"]) for entry in found.values())
    record = {
        "directories": found,
        "config": CONFIG if is_folder else FILE,
        "measures": {"LDAP entries": total},
        "doubts": doubts_of(context.good, [str(entry["suffix"]) for entry in found.values()]),
    }
    yield Snapshot([Part(folder, list(walk(folder)[0]))], record, fixed_times=True, notes=notes)


def _require_whole(title: str, path: str, text: str) -> None:
    """Raise InvalidInput where what a slapd.conf includes names databases: which one has which number is not known from the file alone."""
    for included in re.findall(r'^include\s+"?([^"\s]+)', text, re.MULTILINE | re.IGNORECASE):
        if re.search(r"^(?:database|include)\s", _text(included), re.MULTILINE | re.IGNORECASE):
            raise InvalidInput(
                f"{title}: {included}, which {path} includes, names databases, or includes more: convert all to a folder slapd.d (slaptest -f {path} -F "
                "FOLDER), and give that"
            )


def doubts_of(good: Mapping[str, Any], suffixes: list[str]) -> list[str]:
    """Return doubts about the suffixes that there are now, compared with the record of a good dump."""
    known = good.get("directories")
    before = [str(entry.get("suffix")) for entry in known.values()] if isinstance(known, Mapping) else []
    gone = sorted(set(before) - set(suffixes))
    return (
        [f"{counted(len(gone), 'database')} of the dump of {stamp_of(good)} vanished: {first_of(gone, _SHOWN)}"]
        if gone
        else []
    )


def _entries(path: str) -> int:
    """Return of how many entries a file of LDIF is. Raise OSError."""
    with open_plain(path) as stream:
        return sum(line.startswith(b"dn:") for line in stream)


def _text(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape") as stream:
        return stream.read(_MOST)


def arrange(item: Item, context: Context) -> Arrangement:
    """Return what slapcat has: all that the item's user has, or else the owner of the configuration, and an empty folder. Raise InvalidInput."""
    user = str(item.option("user") or "")
    uid = uid_of(item, user) if user else owner_found(item.path)
    if uid == 0 and not user:
        raise InvalidInput(
            f"item ldap {item.name!r}: path {item.path} is root's, and slapcat loads the modules that it names: give user, the one that slapd runs as"
        )
    return Arrangement(uid, [], scratch=[scratch_folder(context, item)], confined=False)


def prove(proof: Proof) -> None:
    """All of it loaded into an empty folder, entries counted; where there is no slapadd, entries counted in the LDIF."""
    names = os.listdir(proof.path)
    config = str(proof.record.get("config") or (FILE if FILE in names else CONFIG))
    proof.plain(config)
    recorded = proof.record.get("directories")
    known: Mapping[str, Any] = recorded if isinstance(recorded, Mapping) else {}
    numbers = sorted(name[: -len(ENDING)] for name in names if re.fullmatch(r"\d+\.ldif", name))
    if known and set(numbers) != set(known):
        raise proof.fail(
            f"its databases are {first_of(numbers, _SHOWN) or 'none'}, but its dump recorded {first_of(sorted(known), _SHOWN)}"
        )
    if not numbers:
        raise proof.fail("it holds no database")
    files = {number: f"{number}{ENDING}" for number in numbers}
    counts = {number: _entries(proof.plain(name)) for number, name in files.items()}
    if entries_in(_text(proof.plain(config))) == 0 and config == CONFIG:
        raise proof.fail(f"{CONFIG} holds no entry")
    for number, name in files.items():
        _compare(proof, known, number, counts[number], "holds")
        if known and digest_file(proof.plain(name), "sha256")[0] != known[number]["digest"]:
            raise proof.fail(f"{name} is another one than its dump recorded")
    proof.facts.update(databases=len(numbers), entries=sum(counts.values()))
    try:
        programs = {name: find_tool(name) for name in ("slapadd", "slapcat")}
    except ToolMissing as error:
        proof.notes.append(f"it was not loaded, only counted, which proves less: {error}")
        return
    with proof.opened() as path:
        text = proof.sandbox.run(
            [json.dumps(programs), proof.inside(path), json.dumps({"config": config, "databases": files})],
            proof.scratch,
            what=f"{proof.title}: loading it into an empty folder",
            deadline=proof.deadline,
            program=ldap_survey,
        )
    found = proof.told(text)
    if found["problem"]:
        raise proof.fail(f"it cannot be loaded: {found['problem']}")
    for number, entries in found["entries"].items():
        if entries != counts[number]:
            raise proof.fail(
                f"its database {number} has {counted(entries, 'entry', 'entries')} once loaded, but {counts[number]} in its file"
            )
    proof.facts["loaded"] = sum(found["entries"].values())


def _compare(proof: Proof, known: Mapping[str, Any], number: str, entries: int, what: str) -> None:
    expected = known.get(number, {}).get("entries")
    if known and entries != expected:
        raise proof.fail(
            f"its database {number} {what} {counted(entries, 'entry', 'entries')}, but its dump recorded {expected}"
        )


KIND = Kind(
    check,
    copy,
    arrange,
    prove,
    clients=("slapcat",),
    unforeseen="slapcat is not run in check mode, so whether it succeeds is not known",
)
