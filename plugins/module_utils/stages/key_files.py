"""Private keys that lie in what is backed up, where programs usually keep them, so that the controller sees which open the very backups they lie in.

Only public keys are returned; of a file with a secret nothing is but its path.
"""

from __future__ import annotations

import contextlib
import glob
import itertools
import os
import pwd
import re
from collections.abc import Sequence

from ..kinds.items import Item
from ..kinds.patterns import Patterns
from ..system.digest import open_plain
from ..system.paths import is_within

_OF_USERS = (".ssh/*.pub", ".age/*", ".config/age/*", ".config/sops/age/*")
_OF_HOST = ("/etc/age/*", "/etc/altbackup/*")
_MOST_FILES = 1000
"""Most files of one folder, so that no user hides the keys of others"""
_MOST_BYTES = 1 << 16
_SSH = re.compile(rb"(ssh-(?:ed25519|rsa) [A-Za-z0-9+/]{1,4096}={0,2})(?:\s|\Z)")
_AGE = re.compile(rb"^# public key: (age1[a-z0-9]{58})\s*$", re.MULTILINE)
_AGE_SECRET = b"AGE-SECRET-KEY-1"
_SSH_SECRET = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")


def keys_in(item: Item, more: Sequence[str] = ()) -> list[dict[str, str]]:
    """Return {path, public} of private keys that the dump of an item would take, as far as they lie in the usual places or at the paths in `more`.

    `public` is empty where nothing tells the public key.
    """
    patterns, within = Patterns(item.exclude), os.path.realpath(item.path)
    found = {}
    for path in _candidates(item.path, more):
        real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))  # a dump follows no link
        if is_within(real, within) and not _is_excluded(patterns, os.path.relpath(real, within)):
            key = _key_at(path)
            if key is not None:
                found[path] = key
    return [{"path": path, "public": public} for path, public in sorted(found.items())]


def _is_excluded(patterns: Patterns, inside: str) -> bool:
    parts = inside.split("/")
    above = ("/".join(parts[:count]) for count in range(1, len(parts)))
    return any(patterns.match(folder, True) for folder in above) or bool(patterns.match(inside, False))


def _candidates(within: str, more: Sequence[str]) -> list[str]:
    """Return the paths of files that may be private keys."""
    homes = {entry.pw_dir for entry in pwd.getpwall() if _meet(entry.pw_dir, within)}
    patterns = [os.path.join(glob.escape(home), pattern) for home in sorted(homes) for pattern in _OF_USERS]
    paths = (path for pattern in (*patterns, *_OF_HOST) for path in itertools.islice(glob.iglob(pattern), _MOST_FILES))
    return [*dict.fromkeys([*more, *(path[:-4] if path.endswith(".pub") else path for path in paths)])]


def _meet(home: str, within: str) -> bool:
    return is_within(home, within) or is_within(within, home)


def _key_at(path: str) -> str | None:
    """Return the public key of the private one in a file, empty where nothing tells it, None if there is no private key."""
    text = _begin_of(path)
    if _AGE_SECRET in text:
        told = _AGE.search(text)
        return told[1].decode() if told else ""
    if _SSH_SECRET.search(text):
        told = _SSH.match(_begin_of(f"{path}.pub"))
        return told[1].decode() if told else ""
    return None


def _begin_of(path: str) -> bytes:
    """Return what a plain file begins with, nothing if there is none that can be read."""
    with contextlib.suppress(OSError), open_plain(path) as stream:
        return stream.read(_MOST_BYTES)
    return b""
