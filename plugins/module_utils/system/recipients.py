"""Recipients: the public keys to which age encrypts, as users write them. Pure; the plan and the nodes judge alike."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable

from .errors import InvalidInput
from .values import quoted

AGE = "age1"
SSH = ("ssh-ed25519", "ssh-rsa")
_FORMS = "age1..., ssh-ed25519 AAAA... or ssh-rsa AAAA..."
_LETTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_KEY_BYTES = 32
_LEAST_RSA = 256
"""Bytes of a modulus of 2048 bits, below which age takes none"""
_SECRETS = re.compile(r"AGE-SECRET-KEY-|-----BEGIN .*PRIVATE KEY-----", re.IGNORECASE)


def parse_recipient(text: str) -> str:
    """Parse a recipient; return it without its comment. Raise InvalidInput, in which no secret key is quoted."""
    words = text.split()
    if _SECRETS.search(text):
        raise InvalidInput(
            "has a secret key where a public one belongs: print that of an age identity with age-keygen -y FILE, that of an ssh key with "
            "ssh-keygen -y -f FILE"
        )
    if text.startswith(("/", "~")):
        raise InvalidInput(
            f"names the file {quoted(text)}, which the controller cannot read, or which holds no recipient"
        )
    if words and words[0] in SSH:
        return _ssh(words)
    if len(words) != 1:
        raise InvalidInput(f"{quoted(text)} is no recipient: write {_FORMS}, or the absolute path of a file of them")
    word = words[0].lower() if words[0].isupper() else words[0]
    if not word.startswith(AGE):
        raise InvalidInput(f"{quoted(text)} is no recipient: write {_FORMS}, or the absolute path of a file of them")
    if len(word) != len(AGE) + 58 or not _is_bech32(word):
        raise InvalidInput(
            f"{quoted(text)} is no whole recipient of age, or has a letter that is wrong: copy it again (age-keygen -y prints it). "
            "Those of plugins are not taken"
        )
    return word


def _ssh(words: list[str]) -> str:
    """Return the kind and the key of an ssh key from its words. Raise InvalidInput."""
    kind = words[0]
    key = words[1] if len(words) > 1 else ""
    try:
        parts = _fields(base64.b64decode(key, validate=True))
    except (binascii.Error, ValueError):
        parts = []
    good = len(parts) == (2 if kind == SSH[0] else 3) and parts[0] == kind.encode()
    if not good or (kind == SSH[0] and len(parts[1]) != _KEY_BYTES):
        raise InvalidInput(
            f"{quoted(' '.join(words[:2]))} is no whole {kind} key: copy it again from its file, which ends in .pub"
        )
    if kind == SSH[1] and len(parts[2].lstrip(b"\0")) < _LEAST_RSA:
        raise InvalidInput(
            f"{quoted(' '.join(words[:2]))} has less than 2048 bits, to which age does not encrypt: make another one"
        )
    return f"{kind} {key}"


def _fields(blob: bytes) -> list[bytes]:
    """Return the fields of an ssh key. Raise ValueError."""
    found = []
    while blob:
        size = int.from_bytes(blob[:4], "big")
        if len(blob) < 4 + size:
            raise ValueError("it is cut")
        found.append(blob[4 : 4 + size])
        blob = blob[4 + size :]
    return found


def _is_bech32(word: str) -> bool:
    """Return whether the checksum of a text in Bech32 (BIP 173) is right."""
    prefix, _, data = word.rpartition("1")
    if not data or any(letter not in _LETTERS for letter in data):
        return False
    values = [ord(letter) >> 5 for letter in prefix] + [0] + [ord(letter) & 31 for letter in prefix]
    check = 1
    for value in [*values, *map(_LETTERS.index, data)]:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATOR):
            check ^= generator if top >> bit & 1 else 0
    return check == 1


def parse_recipients(value: object, title: str = "") -> tuple[str, ...]:
    """Parse a list of recipients; return each once, sorted. Raise InvalidInput."""
    if not isinstance(value, (list, tuple)) or not all(isinstance(text, str) for text in value):
        raise InvalidInput(
            f"{title} {quoted(value)} is not a list of recipients: write {_FORMS}, or files of them".strip()
        )
    try:
        return tuple(sorted({parse_recipient(text.strip()) for text in value}))
    except InvalidInput as error:
        raise InvalidInput(f"{title} {error}".strip()) from None


def lines_of(text: str) -> list[str]:
    """Return the recipients in the text of a file, not yet judged: one a line, none in comments."""
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def shown(recipients: Iterable[str]) -> str:
    """Return recipients as messages name them: what tells them apart."""
    return ", ".join(one if one.startswith(AGE) else f"{one.split(' ')[0]} ...{one[-12:]}" for one in recipients)
