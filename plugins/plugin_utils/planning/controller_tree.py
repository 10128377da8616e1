"""Content of the controller's own item: this collection and the inventory of the run, as on disk, with vaults still encrypted."""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ...module_utils.system.errors import InvalidInput
from ...module_utils.system.units import readable
from ...module_utils.system.visible import one_line

COLLECTION = Path(__file__).resolve().parents[3]
PLACE = "ansible_collections/altbackup/core"
"""Path of the collection in the item, at which Ansible finds it"""
_EXCLUDED = ("__pycache__", "*.py[co]", "*.retry", ".git", ".venv", ".venv-*", ".ansible", ".*_cache", ".hypothesis")
_EXCLUDED_AT_TOP = ("var",)
_BESIDE = ("group_vars", "host_vars")
_MOST = 32 << 20
"""Most bytes of the item; inventory and collection have a few MiB, and are transferred in a module's options"""
_KEY = re.compile(
    rb"^\s*-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----|^PuTTY-User-Key-File|^AGE-SECRET-KEY-|-----BEGIN PGP PRIVATE",
    re.MULTILINE,
)
_SECRET_FILE = re.compile(
    r"id_(?:rsa|dsa|ecdsa|ed25519)(?:_sk)?|.*\.(?:key|ppk|p12|pfx|jks|kdbx|keytab)|\.(?:netrc|pgpass|my\.cnf)"
    r"|[._]?(?:ansible|vault|become|sudo|ssh)?[._-]?(?:vault[._-]?)?(?:pass|passwd|password|passphrase)s?(?:[._-]?file)?(?:\.txt)?"
    r"|.*vault[._-]?pass.*",
    re.IGNORECASE,
)
"""Names of files that contain only a secret; YAML files of the inventory, such as passwords.yml, are not among them"""

Entries = dict[str, dict[str, Any]]


def controller_tree(inventories: Sequence[str], collection: Path = COLLECTION, secrets: Iterable[str] = ()) -> Entries:
    """Return {path in the item: {mode, content} or {link}} of the inventory's sources and the collection. Raise InvalidInput or OSError.

    Files that hold a private key or, by their names, a password are left out, and so are those named as `secrets`, unless they are
    encrypted by a vault. README.txt in the item names them.
    """
    reader = _Reader({os.path.realpath(path) for path in secrets})
    entries = reader.below(collection, PLACE)
    entries["collection"] = {"link": PLACE}
    kept = {way for path in [*entries, *reader.left_out] for way in _with_parents(path)}
    places: list[str] = []
    for source in [Path(os.path.abspath(source)) for source in inventories if os.path.exists(source)]:
        inside = f"{PLACE}/{_inside(source, collection)}"
        if inside in kept:
            places.append(inside)
            continue
        places.append(_unused(f"inventory/{source.name}", places))
        real = Path(os.path.realpath(source))
        if real.is_dir():
            entries |= reader.below(real, places[-1])
        else:
            entries |= reader.file(real, places[-1])
            for name in _BESIDE:
                if (source.parent / name).is_dir():
                    entries |= reader.below(Path(os.path.realpath(source.parent / name)), f"inventory/{name}")
    if not places:
        raise InvalidInput(
            f"the inventory ({', '.join(inventories) or 'none'}) is no file or folder that could be kept"
        )
    entries["README.txt"] = {"mode": 0o600, "content": _readme(places, reader.left_out).encode("utf-8", "replace")}
    return entries


def _inside(path: Path, folder: Path) -> str:
    real = Path(os.path.realpath(path))
    return str(real.relative_to(folder)) if real.is_relative_to(folder) else ""


def _with_parents(path: str) -> Iterator[str]:
    while path:
        yield path
        path = path.rpartition("/")[0]


def _unused(place: str, taken: Iterable[str]) -> str:
    number, found = 2, place
    while found in taken:
        number, found = number + 1, f"{place}-{number}"
    return found


def _raise(error: OSError) -> None:
    raise error


def _excluded(name: str, top: bool) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in (*_EXCLUDED, *(_EXCLUDED_AT_TOP if top else ())))


def _is_secret(name: str, content: bytes) -> bool:
    """Return whether a file is a private key or, by its name, holds a password; a vault counts as none."""
    if content.startswith(b"$ANSIBLE_VAULT;"):
        return False
    return _KEY.search(content) is not None or _SECRET_FILE.fullmatch(name) is not None


class _Reader:
    """Reads regular files, without following links or blocking on pipes, up to _MOST bytes in total."""

    def __init__(self, secrets: Collection[str]) -> None:
        self.left_out: list[str] = []
        """Paths in the item of files that were left out"""
        self._secrets = secrets
        self._sizes: dict[str, int] = {}

    def below(self, folder: Path, place: str) -> Entries:
        """Return the files and links below a folder, without caches and the like; links are kept as links, folders are not entries."""
        found: Entries = {}
        for parent, folders, files, descriptor in os.fwalk(folder, onerror=_raise):
            inside = os.path.relpath(parent, folder)
            folders[:] = sorted(name for name in folders if not _excluded(name, inside == "."))
            for name in sorted([*files, *folders]):
                if _excluded(name, inside == "."):
                    continue
                path = os.path.normpath(os.path.join(place, inside, name))
                mode = os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode
                if stat.S_ISLNK(mode):
                    found[path] = {"link": os.readlink(name, dir_fd=descriptor)}
                elif stat.S_ISREG(mode):
                    found |= self._content(os.path.join(parent, name), path, name, descriptor)
        return found

    def file(self, path: Path, place: str) -> Entries:
        """Return the entry of one file."""
        return self._content(str(path), place, str(path))

    def _content(self, shown: str, place: str, name: str, folder: int | None = None) -> Entries:
        opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        with os.fdopen(opened, "rb") as stream:
            status = os.fstat(opened)
            if not stat.S_ISREG(status.st_mode):
                raise InvalidInput(f"{shown} was a file, and is none now: somebody changes what is read")
            room = _MOST - sum(self._sizes.values())
            content = stream.read(room + 1) if status.st_size <= room else b""
        self._sizes[place] = max(status.st_size, len(content))
        if self._sizes[place] > room:
            largest = sorted(self._sizes, key=lambda path: self._sizes[path])[-3:]
            raise InvalidInput(
                f"inventory and collection have more than {readable(_MOST)}: what is not theirs belongs elsewhere, such as {', '.join(largest)}"
            )
        if os.path.realpath(shown) in self._secrets or _is_secret(os.path.basename(name), content):
            self.left_out.append(place)
            return {}
        return {place: {"mode": status.st_mode & 0o777, "content": content}}


def _readme(places: Sequence[str], left_out: Sequence[str]) -> str:
    secrets = "".join(f"    {one_line(path)}\n" for path in left_out)
    inventories = " ".join(f"-i {os.path.relpath(place, PLACE)}" for place in places)
    return (
        "What made these backups: the collection altbackup.core, and the inventory of the machine that ran it.\n"
        "Values and files that were encrypted with ansible-vault still are; their passwords and the ssh keys are not here.\n"
        f"{f'Left out, as they are secrets or are called like them:{chr(10)}{secrets}' if secrets else ''}"
        "Whoever held this copy may have changed it, and what it holds will run as you: first compare its digest, which `list.yml` and\n"
        "*.dna show, with that of other copies: on other targets it is the same, and of other sources that dump it alike, too.\n"
        "What to do with it stands in collection/docs/worst-day.md. For a first look, in the folder collection:\n\n"
        "    tools/bootstrap demo\n"
        '    export ANSIBLE_COLLECTIONS_PATH="$(cd -P ../../.. && pwd)"\n'
        f"    .venv/bin/ansible-inventory {inventories} --graph\n"
        f"    .venv/bin/ansible-playbook {inventories} playbooks/list.yml\n"
    )
