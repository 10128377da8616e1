"""A full tarball with a link and a differential with one member that Python's tarfile and GNU tar interpret differently."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

FORMS = ("L", "xx", "sparse")


def lay_pair(item: Path, name: str, victim: Path, form: str) -> None:
    """Add the pair to the folder of an item: the full one holds NAME/link to a folder, in which the differential would write."""
    inside, outside, body = f"{name}/ok", f"{name}/link/pwned", b"written by a target\n"
    member = (
        {
            "L": _long_name(inside) + _pax({"path": outside}),
            "xx": _pax({"path": inside}) + _pax({"path": outside}),
            "sparse": _pax({"GNU.sparse.name": outside, "path": inside}),
        }[form]
        + _header(inside, b"0", len(body))
        + _padded(body)
    )
    end = bytes(10240)
    top = _header(f"{name}/", b"5", mode=0o755)
    link = _header(f"{name}/link", b"2", link=str(victim))
    full = _put(item / "2026/01/01/000000" / f"{name}.tar", top + link + end)
    more = {"base": f"2026/01/01/000000/{name}.tar", "base_dig": full}
    _put(item / "2026/01/02/000000" / f"{name}.diff.tar", _header(f"{name}/ok2") + member + end, **more)


def _put(path: Path, data: bytes, **more: Any) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    dig = hashlib.sha256(data).hexdigest()
    Path(f"{path}.dna").write_text(json.dumps({"dig": dig, "size": len(data), "alg": "sha256", **more}) + "\n")
    return dig


def _header(
    path: str, kind: bytes = b"0", size: int = 0, *, link: str = "", mode: int = 0o644, magic: bytes = b"ustar\x0000"
) -> bytes:
    block = bytearray(512)
    block[0 : len(path)] = path.encode()
    for start, value in ((100, mode), (108, 0), (116, 0)):
        block[start : start + 8] = b"%07o\0" % value
    block[124:136] = b"%011o\0" % size
    block[136:148] = b"%011o\0" % 0
    block[156:157] = kind
    block[157 : 157 + len(link)] = link.encode()
    block[257:265] = magic
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def _pax(records: dict[str, str]) -> bytes:
    data = b"".join(_record(f" {key}={value}\n".encode()) for key, value in records.items())
    return _header("PaxHeaders/x", b"x", len(data)) + _padded(data)


def _record(text: bytes) -> bytes:
    length = len(text)
    while len(str(length)) + len(text) != length:
        length = len(str(length)) + len(text)
    return str(length).encode() + text


def _long_name(path: str) -> bytes:
    return _header("././@LongLink", b"L", len(path) + 1, magic=b"ustar  \0") + _padded(path.encode() + b"\0")
