"""What a source keeps for encryption in `.altbackup/encryption/`, and what of the record of an encrypted tarball a target may see.

`secret` keys the digests by which the source knows its plain archives again, `signing_key` and `signing_key.pub` are those of its signatures, and
`refused/<category>/<name>` has the stamp under which an item was not dumped, as it would have become readable. A record
says in `sealed` all that its dump knew, encrypted to the recipients of the tarball; a target gets that, and what it needs to know.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import os
import re
import secrets
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from ..system.age import Identities, decrypt, encrypt, is_encrypted
from ..system.errors import AltbackupError, ToolFailed
from ..system.processes import Deadline, run
from ..system.programs import clean_environment, find_tool
from .contents import CONTENT, FORMERLY
from .layout import Tree
from .private import read_private
from .publish import make_folders, remove_if_there, write_text
from .rekeyed import BEFORE
from .stamps import is_stamp

PLAIN, TO, FIRST = "plain", "to", "first"
"""Of records: the keyed digest of the plain archive, the recipients, and the stamp under which these bytes were first stored"""
SEALED, SIGNED, SIGNATURE = "sealed", "signed", "signature"
"""Of records: what the dump knew, encrypted, what the source signed, and how"""
NAMESPACE = "altbackup"
"""That of the signatures"""
_SEEN = (
    "kind",
    "relpath",
    "dig",
    "size",
    "alg",
    "base",
    "base_dig",
    "members",  # the paths of tarballs, which lie beside it
    CONTENT,
    FORMERLY,
    TO,
    FIRST,
    BEFORE,
    SEALED,
    SIGNED,
    SIGNATURE,
)
_HIDDEN = {
    "suspect": "its content is doubtful; why is in its encrypted record",
    "incomplete": "it is not whole; what is missing is in its encrypted record",
}
_LONGEST_KEY = 4096
_SECRET = re.compile("[0-9a-f]{64}")
VERSION = "altbackup signature 1"
_OWN = (SEALED, SIGNED, SIGNATURE)
_LARGEST = 64 << 20
"""Most bytes of what a sealed record may hold"""


def _path(tree: Tree, name: str) -> str:
    return tree.private_path("encryption", name)


def secret_of(tree: Tree) -> bytes:
    """Return the secret of a source, kept in its own tree, made where there is none. Raise AltbackupError or OSError."""
    path = _path(tree, "secret")
    try:
        text = read_private(tree, path, _LONGEST_KEY).decode("ascii", "replace").strip()
    except FileNotFoundError:
        text = secrets.token_hex(32)
        make_folders(os.path.dirname(path), tree.private)
        write_text(path, f"{text}\n")
    except ValueError:
        text = ""
    if not _SECRET.fullmatch(text):
        raise AltbackupError(
            f"{path} is no secret of a dump, so what is unchanged cannot be told: bring it back, or remove it, and all is stored once more"
        )
    return bytes.fromhex(text)


def keyed(secret: bytes) -> Any:
    """Return the HMAC that takes an archive; its digest tells nothing to others."""
    return hmac.new(secret, b"archive\0", "sha256")


def keyed_content(secret: bytes, content: str) -> str:
    """Return what stands for a content where others can see it; `content` is what stands for it elsewhere."""
    return hmac.new(secret, b"content\0" + content.encode(), "sha256").hexdigest()


def public_key_of(tree: Tree, deadline: Deadline) -> str:
    """Return the public key of a source's signatures, kept in its own tree, made where there is none. Raise AltbackupError or OSError."""
    path = _path(tree, "signing_key")
    if not os.path.lexists(path):
        make_folders(os.path.dirname(path), tree.private)
        new = f"{path}.new"
        for left in (new, f"{new}.pub"):
            remove_if_there(left)
        argv = [find_tool("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", NAMESPACE, "-f", new]
        run(argv, what="making the key of signatures", deadline=deadline)
        os.replace(f"{new}.pub", f"{path}.pub")
        os.replace(new, path)
    argv = [find_tool("ssh-keygen"), "-y", "-P", "", "-f", path]
    words = (
        run(argv, what=f"reading the key of signatures {path}", deadline=deadline).decode("ascii", "replace").split()
    )
    if len(words) < 2:
        raise AltbackupError(
            f"{path} is no key of signatures: bring it back, or remove it, and enter the new one that the next dump makes"
        )
    return " ".join(words[:2])


def known_public_key(tree: Tree) -> str:
    """Return the public key of a source's signatures as the file in its own tree has it, empty where there is none. Raise BaseUnusable or OSError."""
    try:
        return read_private(tree, f"{_path(tree, 'signing_key')}.pub", _LONGEST_KEY).decode("ascii", "replace").strip()
    except (FileNotFoundError, ValueError):
        return ""


def refused_at(tree: Tree, key: str) -> str:
    """Return the stamp under which an item (category/name) was not dumped as it was to be readable, empty for none; `tree` is the source's own.

    Raise BaseUnusable or OSError.
    """
    try:
        text = read_private(tree, _path(tree, f"refused/{key}"), _LONGEST_KEY).decode("ascii", "replace").strip()
    except (FileNotFoundError, ValueError):
        return ""
    return text if is_stamp(text) else ""


def keep_refused(tree: Tree, key: str, stamp: str) -> None:
    """Keep that an item was not dumped under a stamp. Raise OSError."""
    path = _path(tree, f"refused/{key}")
    make_folders(os.path.dirname(path), tree.private)
    write_text(path, f"{stamp}\n")


def statement(source: str, key: str, stamp: str, record: Mapping[str, Any]) -> str:
    """Return what a source signs of a tarball: whose it is, its stamp and that under which its bytes were first stored, and digests."""
    lines = [
        VERSION,
        f"source {source}",
        f"item {key}",
        f"stamp {stamp}",
        f"first {record[FIRST]}",
        f"content {record[CONTENT]}",
        f"alg {record['alg']}",
        f"dig {record['dig']}",
        f"size {record['size']}",
    ]
    if record.get(BEFORE):
        lines.append(f"{BEFORE} {record[BEFORE]}")
    if record.get("base_dig"):
        lines.append(f"base_dig {record['base_dig']}")
    return "".join(f"{line}\n" for line in lines)


def sign(tree: Tree, text: str, deadline: Deadline) -> str:
    """Return the source's signature of a text; `tree` is the source's own. Raise AltbackupError or OSError."""
    argv = [find_tool("ssh-keygen"), "-q", "-Y", "sign", "-n", NAMESPACE, "-f", _path(tree, "signing_key")]
    environment = clean_environment(SSH_AUTH_SOCK="")
    signature = run(argv, what="signing", deadline=deadline, input=text.encode(), environment=environment).decode(
        "ascii"
    )
    if "BEGIN SSH SIGNATURE" not in signature:
        raise AltbackupError("signing: ssh-keygen made no signature: OpenSSH 8.1 or newer is needed")
    return signature


def sealed(
    tree: Tree,
    record: Mapping[str, Any],
    content: str,
    *,
    source: str,
    key: str,
    stamp: str,
    deadline: Deadline,
) -> dict[str, Any]:
    """Return the record of a dump to recipients with all of it sealed, and with its signature; `content` is the plain digest of its content.

    Raise AltbackupError or OSError.
    """
    known = {name: value for name, value in record.items() if name not in (*_OWN, PLAIN, CONTENT, FORMERLY)}
    inside = {**known, **({CONTENT: content} if content else {})}
    text = statement(source, key, stamp, record)
    signature = sign(tree, text, deadline)
    closed = encrypt(zlib.compress(json.dumps(inside, sort_keys=True).encode()), record[TO], deadline)
    return {
        **record,
        SEALED: base64.b64encode(closed).decode("ascii"),
        SIGNED: base64.b64encode(text.encode()).decode("ascii"),
        SIGNATURE: base64.b64encode(signature.encode()).decode("ascii"),
    }


def shared(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of the record of a dump may be handed to a target; of one that is not encrypted that is all."""
    if SEALED not in record and TO not in record and not is_encrypted(str(record.get("relpath", ""))):
        return dict(record)
    hidden = {name: [text] for name, text in _HIDDEN.items() if record.get(name)}
    return {**{name: record[name] for name in _SEEN if name in record}, **hidden}


def shared_proof(proof: Mapping[str, Any], relpath: str) -> dict[str, Any]:
    """Return what of a proof of a tarball may lie beside that on a target: of an encrypted one not what was found in it."""
    return {**proof, "facts": {}, "notes": []} if is_encrypted(relpath) else dict(proof)


def recipients_of(record: Mapping[str, Any]) -> list[str]:
    """Return to whom a dump's tarball is encrypted, as far as that is recorded."""
    recorded = record.get(TO)
    return [str(one) for one in recorded] if isinstance(recorded, (list, tuple)) else []


def opened(record: Mapping[str, Any], identities: Identities, deadline: Deadline) -> dict[str, Any]:
    """Return what the dump of an encrypted tarball knew, with what anybody can see of its record; of another tarball, all of the record.

    Raise NoKey where no identity opens it, AltbackupError where what is in it is none, or ToolMissing.
    """
    text = record.get(SEALED)
    if not isinstance(text, str) or not text:
        return {name: value for name, value in record.items() if name != CONTENT or TO not in record}
    title = f"the record of {record.get('relpath') or 'a tarball'}"
    try:
        squeezed = decrypt(base64.b64decode(text, validate=True), identities, deadline, title)
        inside = json.loads(zlib.decompressobj().decompress(squeezed, _LARGEST))
    except (binascii.Error, zlib.error, ValueError, RecursionError, ToolFailed) as error:
        raise AltbackupError(f"{title} is damaged, or was changed: {error}") from error
    if not isinstance(inside, dict):
        raise AltbackupError(f"{title} is damaged, or was changed: it is no mapping")
    for name in ("relpath", "dig", "size", "alg"):
        if inside.get(name) != record.get(name):
            raise AltbackupError(f"{title} tells of another tarball in its encrypted part: somebody changed it")
    return {**{name: record[name] for name in (TO, *_OWN) if name in record}, **inside}


def same_recipients(record: Mapping[str, Any], recipients: Sequence[str]) -> bool:
    """Return whether a tarball is encrypted to just these."""
    return sorted(recipients_of(record)) == sorted(recipients)
