"""Identity of a machine that does not disclose its machine-id."""

from __future__ import annotations

import hashlib
import hmac
import re

_APPLICATION = bytes.fromhex("5c0e3b9a7d4f4c1e9a52d8b6f0e71342")
"""Application id from which ids are derived: see sd_id128_get_machine_app_specific(3)"""


def machine_id(path: str = "/etc/machine-id") -> str:
    """Return an id derived from this machine's machine-id, 32 hex digits; empty if it has none. See machine-id(5)."""
    try:
        with open(path, "rb") as stream:
            text = stream.read(64).strip()
    except OSError:
        return ""
    if not re.fullmatch(b"[0-9a-f]{32}", text):
        return ""
    derived = hmac.new(bytes.fromhex(text.decode("ascii")), _APPLICATION, hashlib.sha256).digest()[:16]
    return derived.hex()
