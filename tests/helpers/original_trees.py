"""Trees of tarballs as the original scripts and this collection write them, and further helpers of module tests."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import importlib
import io
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from ansible.module_utils.testing import patch_module_args

STAMP = "2013/05/10/104701"
DAY = "2013/05/10"
CAN_READ_ALL = (1, 2)
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, which exempt root from the modes of files"""


def marked(path: Path) -> Path:
    """Make a path a base with its marker and an earlier call's lock, and return it."""
    (path / ".altbackup").mkdir(parents=True)
    (path / ".altbackup" / "lock").touch(0o600)
    return path


def original_text(content: bytes) -> str:
    """Return the text of a tarball's sidecar as the original wrote it; `content` are the tarball's bytes."""
    return "{'dig': '%s', 'size': %d}\n" % (hashlib.md5(content).hexdigest(), len(content))


def modern_text(content: bytes) -> str:
    """Return the text of a tarball's sidecar as this collection writes it; `content` are the tarball's bytes."""
    digest = hashlib.sha256(content).hexdigest()
    return f'{{"dig": "{digest}", "size": {len(content)}, "alg": "sha256"}}\n'


def put(base: Path, relpath: str, content: bytes = b"a tarball", dna: str | None = "") -> Path:
    """Write a tarball and its sidecar: the right one, a given text, or with None no sidecar; return its path."""
    path = base / relpath
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    if dna is not None:
        Path(f"{path}.dna").write_text(dna or modern_text(content), encoding="utf-8")
    return path


def link(base: Path, old: str, new: str) -> Path:
    """Store a tarball again, unchanged, under another path: a hard link with its own sidecar."""
    path = base / new
    path.parent.mkdir(parents=True, exist_ok=True)
    os.link(base / old, path)
    Path(f"{path}.dna").write_bytes(Path(f"{base / old}.dna").read_bytes())
    return path


def original_tree(base: Path, stamp: str = STAMP) -> list[str]:
    """Write an example of each form that the original scripts left below a base; return the tarballs' paths."""
    text = {
        f"svn/dybsvn/{stamp}/dybsvn-20496.tar.gz": "{{'dig': '{dig}', 'size': {size}}}\n",
        f"tracs/dybsvn/{stamp}/dybsvn.tar.gz": "{{'dig': '{dig}', 'size': {size}L}}\n",
        f"repos/toysvn/{stamp}/toysvn-9-1.tar.gz": "{{'size': {size}, 'dig': '{dig}'}}\n",
        f"repos/my-repo-2/{stamp}/my-repo-2-23.tar.gz": "{{'size': {size}L, 'dig': '{dig}'}}\r\n",
        f"folders/svnsetup/{stamp}/svnsetup.tar.gz": "{{'dig': '{dig}', 'size': {size}}}",
    }
    for number, (relpath, form) in enumerate(sorted(text.items())):
        content = b"%d" % number * 1000
        put(base, relpath, content, None)
        dna = form.format(dig=hashlib.md5(content).hexdigest(), size=len(content))
        (base / f"{relpath}.dna").write_bytes(dna.encode())
        last = (base / relpath).parents[4] / "last"
        last.unlink(missing_ok=True)
        last.symlink_to(stamp)
    (base / "LOCKED").mkdir(exist_ok=True)
    (base / "LOCKED" / "2013-04-01@21:19:28").write_text("progress", encoding="utf-8")
    (base / "tracs.LOCKED").mkdir(exist_ok=True)
    return sorted(text)


def tree_hash(path: Path) -> dict[str, tuple[Any, ...]]:
    """Return everything below a folder: {path: (mode, owner, links, time, content)}."""
    found: dict[str, tuple[Any, ...]] = {}
    for folder, folders, files in os.walk(path):
        for name in [*folders, *files, "."]:
            full = os.path.join(folder, name)
            status = os.lstat(full)
            content: Any = None
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(full)
            elif stat.S_ISREG(status.st_mode):
                content = hashlib.sha256(Path(full).read_bytes()).hexdigest()
            found[full] = (status.st_mode, status.st_uid, status.st_nlink, status.st_mtime_ns, content)
    return found


def run_module(name: str, *, check: bool = False, more: Any = None, **options: Any) -> dict[str, Any]:
    """Run a module of the collection in this process, as Ansible would, in check mode or not; return its result.

    `more` are options whose names are parameters here.
    """
    module = importlib.import_module(f"ansible_collections.altbackup.core.plugins.modules.{name}")
    output = io.StringIO()
    with (
        patch_module_args({**options, **(more or {}), "_ansible_check_mode": check}),
        contextlib.redirect_stdout(output),
    ):
        with contextlib.suppress(SystemExit):
            module.main()
    result: dict[str, Any] = json.loads(output.getvalue())
    return result


def is_as_documented(name: str, result: dict[str, Any]) -> bool:
    """Return whether a result has exactly the keys that its module documents, besides those of Ansible."""
    module = importlib.import_module(f"ansible_collections.altbackup.core.plugins.modules.{name}")
    return set(result) - {"changed", "failed", "msg", "invocation"} == set(yaml.safe_load(module.RETURN))


def reasons(result: dict[str, Any]) -> list[str]:
    """Return the reasons of a result's failures."""
    return [entry["reason"] for entry in result["failures"]]


@contextlib.contextmanager
def bound_by_modes() -> Iterator[None]:
    """Make modes of files bind this thread, and those that it starts, even if tests run as root, while the block lasts."""
    library = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    before = (ctypes.c_uint32 * 6)()
    if library.capget(header, before):
        raise OSError(ctypes.get_errno(), "capget")
    without = (ctypes.c_uint32 * 6)(*before)
    for capability in CAN_READ_ALL:
        without[0] &= ~(1 << capability)
    if library.capset(header, without):
        raise OSError(ctypes.get_errno(), "capset")
    try:
        yield
    finally:
        library.capset(header, before)
