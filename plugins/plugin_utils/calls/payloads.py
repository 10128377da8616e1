"""Payloads of modules, kept from run to run.

Ansible puts a module and all that it imports into an archive in each run anew, which takes up to a second of processor time a module. Within a
run it takes what lies in a folder of that run; here earlier runs of the same versions put it there. What cannot be kept is built as ever.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import ansible
from ansible import constants
from ansible.release import __version__

from ...module_utils.system.errors import AltbackupError
from ...module_utils.system.own_state import opened_folder

_ROOT = Path(__file__).resolve().parents[3]
_OF_RUN = "ansiballz_cache"
"""Ansible's own name of the folder, in its temporary folder of the run"""
_MODULE = "ansible_collections.altbackup.core.plugins.modules."
_KEPT_SECONDS = 30 * 86400
"""After which what other versions had built is removed"""


@contextlib.contextmanager
def kept_payload(module: str) -> Iterator[None]:
    """Let a call of a module (short name) in the block use the payload of earlier runs, and keep the one that it builds."""
    folder = _folder()
    there = Path(constants.DEFAULT_LOCAL_TMP, _OF_RUN)
    if folder is not None:
        with contextlib.suppress(OSError):
            there.mkdir(exist_ok=True)
            _copy_missing(module, folder, there)
    yield
    if folder is not None:
        with contextlib.suppress(OSError):
            _copy_missing(module, there, folder)


def _copy_missing(module: str, origin: Path, destination: Path) -> None:
    """Copy the payloads of a module that only `origin` has. Raise OSError."""
    for path in origin.glob(f"{_MODULE}{module}-*"):
        if path.suffix in (".lock", ".part") or path.name.endswith("-part") or (destination / path.name).exists():
            continue
        with tempfile.NamedTemporaryFile(dir=destination, prefix=".", suffix=".part", delete=False) as stream:
            try:
                with path.open("rb") as source:
                    shutil.copyfileobj(source, stream)
                os.replace(stream.name, destination / path.name)
            except BaseException:
                os.unlink(stream.name)
                raise


def _folder() -> Path | None:
    """Return this user's folder of what these versions build, None where others can write, or it cannot be made.

    Ansible runs what lies there: the folder and all above it are this user's or root's.
    """
    if any(map(os.path.isdir, constants.DEFAULT_MODULE_UTILS_PATH or ())):  # which may replace what a module imports
        return None
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    path = Path(cache, "altbackup", "payloads", _versions())
    try:
        is_new = not path.exists()
        with opened_folder(str(path)):
            if is_new:
                _forget_others(path)
        return path
    except (AltbackupError, OSError):
        return None


def _forget_others(path: Path) -> None:
    """Remove what other versions built long ago. Raise OSError."""
    for other in path.parent.iterdir():
        if other != path and time.time() - other.lstat().st_mtime > _KEPT_SECONDS:
            shutil.rmtree(other)


@functools.cache
def _versions() -> str:
    """Return a digest of all that payloads are built of: this collection, Ansible and Python."""
    digest = hashlib.sha256(f"{__version__}\0{sys.version}".encode())
    for path in _sources(_ROOT / "plugins" / "module_utils", _ROOT / "plugins" / "modules"):
        digest.update(f"\0{path.relative_to(_ROOT)}\0".encode())
        digest.update(path.read_bytes())
    for path in _sources(Path(ansible.__file__).parent / "module_utils", Path(ansible.__file__).parent / "executor"):
        status = path.stat()  # a package's files come with the times of its build
        digest.update(f"\0{path}\0{status.st_mtime_ns}\0{status.st_size}".encode())
    return digest.hexdigest()[:32]


def _sources(*folders: Path) -> Iterable[Path]:
    return sorted(path for folder in folders for path in folder.rglob("*.py"))
