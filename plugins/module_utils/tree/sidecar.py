"""The dna sidecar beside each tarball: its digest and size, on one line.

Two forms are read and written: JSON, and the mapping that the original `altbackup.py` wrote (`{'dig': '<32 hex>', 'size': 61}`, md5,
sometimes with a trailing `L`). The text is never evaluated.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from ..system.digest import DIGEST_LENGTHS, open_plain
from ..system.errors import SidecarMalformed
from ..system.units import readable

SUFFIX = ".dna"
MAX_BYTES = 4096
_KEYS = frozenset({"dig", "size", "alg", "base", "base_dig"})
_HEX = re.compile("[0-9a-fA-F]+")
_PAIR = re.compile(
    r"""\s*(?P<q>['"])(?P<key>\w+)(?P=q)\s*:\s*"""
    r"""(?:(?P<v>['"])(?P<text>[^'"\\]*)(?P=v)|(?P<number>0|[1-9]\d{0,18})L?)\s*""",
    re.ASCII,
)


@dataclass(frozen=True)
class Dna:
    """Digest (lower-case hex), size (bytes) and algorithm of a tarball; for a differential also those of its full one."""

    dig: str
    size: int
    alg: str = "sha256"
    base: str | None = None
    base_dig: str | None = None

    def same_content(self, other: Dna) -> bool:
        """Return whether both describe the same bytes."""
        return (self.dig, self.size, self.alg) == (other.dig, other.size, other.alg)


def parse(text: str) -> Dna:
    """Return the Dna in the text of a sidecar. Raise SidecarMalformed."""
    values = _mapping(text.strip())
    unknown = sorted(set(values) - _KEYS)
    if unknown:
        raise SidecarMalformed(f"unknown key {_show(unknown[0])}")
    missing = sorted({"dig", "size"} - set(values))
    if missing:
        raise SidecarMalformed(f"key {missing[0]!r} is missing")
    alg, size = values.get("alg", "md5"), values["size"]
    if not isinstance(alg, str) or alg not in DIGEST_LENGTHS:
        known = ", ".join(sorted(DIGEST_LENGTHS))
        raise SidecarMalformed(f"unknown digest algorithm {_show(alg)}, expected one of {known}")
    if isinstance(size, bool) or not isinstance(size, int) or not 0 < size < 1 << 63:
        raise SidecarMalformed(f"size {_show(size)} is not the number of bytes of a tarball")
    return Dna(_hex(values["dig"], alg), size, alg, *_base(values))


def _base(values: dict[str, object]) -> tuple[str | None, str | None]:
    """Return path and digest of the full tarball that a differential's dna names. Raise SidecarMalformed."""
    base, dig = values.get("base"), values.get("base_dig")
    if "base" not in values and "base_dig" not in values:
        return None, None
    if not isinstance(base, str) or base.startswith("/") or "\0" in base or {"", ".", ".."} & set(base.split("/")):
        raise SidecarMalformed(f"base {_show(base)} is not a path below the item's folder")
    if not isinstance(dig, str) or len(dig) not in DIGEST_LENGTHS.values() or not _HEX.fullmatch(dig):
        raise SidecarMalformed(f"base_dig {_show(dig)} is not a digest in hexadecimal digits")
    return base, dig.lower()


def _hex(value: object, alg: str) -> str:
    if not isinstance(value, str) or len(value) != DIGEST_LENGTHS[alg] or not _HEX.fullmatch(value):
        raise SidecarMalformed(f"digest {_show(value)} is not {DIGEST_LENGTHS[alg]} hexadecimal digits of {alg}")
    return value.lower()


def _show(value: object) -> str:
    """Return a value as messages show it: they are mailed, so it is cut, and nested values are left out."""
    if not isinstance(value, (str, int, float)) and value is not None:
        return "(nested)"
    text = repr(value)
    return text if len(text) <= 160 else f"{text[:160]}..."


def _mapping(text: str) -> dict[str, object]:
    """Return JSON, or the original's mapping of texts and numbers, as a dict. Raise SidecarMalformed."""
    if not text:
        raise SidecarMalformed("it is empty")
    try:
        pairs = json.loads(text, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        pairs = _original_pairs(text)
    if not isinstance(pairs, _Pairs):
        raise SidecarMalformed(f"{_show(text)} is not one mapping of dig and size")
    values = dict(pairs)
    if len(values) != len(pairs):
        raise SidecarMalformed("a key stands twice")
    return values


class _Pairs(list):  # type: ignore[type-arg]
    """The pairs of a mapping, before a repeated key can hide another."""


def _original_pairs(text: str) -> _Pairs | None:
    """Return the pairs of a mapping in Python's notation, which may end with a comma, or None if it is none."""
    pairs = _Pairs()
    rest = text[1:-1] if text.startswith("{") and text.endswith("}") else ""
    while rest.strip() or not pairs:
        match = _PAIR.match(rest)
        if not match or rest[match.end() : match.end() + 1] not in ("", ","):
            return None
        number = match.group("number")
        pairs.append((match.group("key"), int(number) if number is not None else match.group("text")))
        rest = rest[match.end() + 1 :]
    return pairs


def serialize(dna: Dna) -> str:
    """Return the text of a sidecar: for md5 byte for byte what the original writes, else JSON."""
    if dna.alg == "md5" and dna.base is None:
        return "{'dig': '%s', 'size': %d}\n" % (dna.dig, dna.size)
    values: dict[str, object] = {"dig": dna.dig, "size": dna.size}
    if dna.alg != "md5":
        values["alg"] = dna.alg
    if dna.base is not None:
        values.update(base=dna.base, base_dig=dna.base_dig)
    return json.dumps(values) + "\n"


def read(path: str) -> Dna:
    """Return the Dna in a sidecar. Raise SidecarMalformed, or OSError if it cannot be read."""
    with open_plain(path) as stream:
        content = stream.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise SidecarMalformed(f"it is longer than {readable(MAX_BYTES)}")
    try:
        return parse(content.decode("utf-8"))
    except UnicodeDecodeError:
        raise SidecarMalformed("it is not UTF-8 text") from None
