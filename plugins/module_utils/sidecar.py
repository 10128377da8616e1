"""The dna sidecar beside each tarball: its digest and size, on one line.

Two forms are read and written: JSON, and the mapping that the original `altbackup.py` wrote
(`{'dig': '<32 hex>', 'size': 61}`, md5, sometimes with a trailing `L`). The text is never evaluated.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass

from .digest import DIGEST_LENGTHS
from .errors import SidecarMalformed

SUFFIX = ".dna"
MAX_BYTES = 4096
_KEYS = frozenset({"dig", "size", "alg", "base", "base_dig"})
_PAIR = re.compile(r"""\s*(?P<q>['"])(?P<key>\w+)(?P=q)\s*:\s*(?:(?P<v>['"])(?P<text>[^'"\\]*)(?P=v)|(?P<number>\d+)L?)\s*""")


@dataclass(frozen=True)
class Dna:
    """Digest (lower-case hex), size (bytes) and algorithm of a tarball; for a differential its full one, too."""

    dig: str
    size: int
    alg: str = "sha256"
    base: str | None = None
    base_dig: str | None = None

    def same_content(self, other: Dna) -> bool:
        """Return whether both describe the same bytes."""
        return (self.dig, self.size, self.alg) == (other.dig, other.size, other.alg)


def parse(text: str) -> Dna:
    """Given the text of a sidecar, return its Dna. Raise SidecarMalformed."""
    values = _mapping(text.strip())
    unknown = sorted(set(values) - _KEYS)
    if unknown:
        raise SidecarMalformed(f"unknown key {unknown[0]!r}")
    missing = sorted({"dig", "size"} - set(values))
    if missing:
        raise SidecarMalformed(f"key {missing[0]!r} is missing")
    alg, dig, size = values.get("alg", "md5"), values["dig"], values["size"]
    if not isinstance(alg, str) or alg not in DIGEST_LENGTHS:
        raise SidecarMalformed(f"unknown digest algorithm {alg!r}, expected one of {', '.join(sorted(DIGEST_LENGTHS))}")
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise SidecarMalformed(f"size {size!r} is not a number of bytes")
    for key in ("base", "base_dig"):
        if not isinstance(values.get(key, ""), str):
            raise SidecarMalformed(f"{key} {values[key]!r} is not a text")
    return Dna(_hex(dig, alg), size, alg, _text(values.get("base")), _text(values.get("base_dig")))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _hex(value: object, alg: str) -> str:
    if not isinstance(value, str) or not re.fullmatch("[0-9a-fA-F]{%d}" % DIGEST_LENGTHS[alg], value):
        raise SidecarMalformed(f"digest {value!r} is not {DIGEST_LENGTHS[alg]} hexadecimal digits of {alg}")
    return value.lower()


def _mapping(text: str) -> dict[str, object]:
    """Given JSON or the original's mapping of texts and numbers, return it as a dict. Raise SidecarMalformed."""
    if not text:
        raise SidecarMalformed("it is empty")
    try:
        return _unique(list(json.loads(text, object_pairs_hook=_Pairs)))
    except (ValueError, TypeError, RecursionError):
        pass
    if not (text.startswith("{") and text.endswith("}")):
        raise SidecarMalformed(f"{text[:60]!r} is not one mapping of dig and size")
    pairs: list[tuple[str, object]] = []
    rest = text[1:-1]
    while True:
        match = _PAIR.match(rest)
        if not match:
            raise SidecarMalformed(f"{text[:60]!r} is not one mapping of dig and size")
        number = match.group("number")
        pairs.append((match.group("key"), int(number) if number is not None else match.group("text")))
        rest = rest[match.end() :]
        if not rest:
            return _unique(pairs)
        if not rest.startswith(","):
            raise SidecarMalformed(f"{text[:60]!r} is not one mapping of dig and size")
        rest = rest[1:]
        if not rest.strip():
            return _unique(pairs)


class _Pairs(list):  # type: ignore[type-arg]
    """The pairs of a JSON object, before a repeated key can hide another."""


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise SidecarMalformed("a key stands twice")
    return values


def serialize(dna: Dna) -> str:
    """Given a Dna, return the text of its sidecar: for md5 byte for byte what the original writes, else JSON."""
    if dna.alg == "md5" and dna.base is None:
        return "{'dig': '%s', 'size': %d}\n" % (dna.dig, dna.size)
    values: dict[str, object] = {"dig": dna.dig, "size": dna.size}
    if dna.alg != "md5":
        values["alg"] = dna.alg
    if dna.base is not None:
        values.update(base=dna.base, base_dig=dna.base_dig)
    return json.dumps(values) + "\n"


def read(path: str) -> Dna:
    """Given the path of a sidecar, return its Dna. Raise SidecarMalformed, or OSError where it cannot be read."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as stream:
        content = stream.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise SidecarMalformed(f"it is longer than {MAX_BYTES} bytes")
    try:
        return parse(content.decode("utf-8"))
    except UnicodeDecodeError:
        raise SidecarMalformed("it is not UTF-8 text") from None
