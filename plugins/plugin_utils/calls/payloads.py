"""Payloads of modules, kept from run to run.

Ansible puts a module and all that it imports into an archive in each run anew, which takes up to a second of processor time a module. Within a
run it takes what lies in a folder of that run; here earlier runs of the same versions put it there. What cannot be kept is built as ever.
In what is kept, the first of Ansible's files that a node imports brings the importer that lets the node keep what it compiles of the others.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import functools
import hashlib
import io
import os
import pickle
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import ansible
from ansible import constants
from ansible.executor import module_common
from ansible.release import __version__

from ...module_utils.system.errors import AltbackupError
from ...module_utils.system.own_state import opened_folder

_ROOT = Path(__file__).resolve().parents[3]
_OF_RUN = "ansiballz_cache"
"""Ansible's own name of the folder, in its temporary folder of the run"""
_MODULE = "ansible_collections.altbackup.core.plugins.modules."
_FIRST = "ansible/__init__.py"
_IMPORTER = "ansible_collections.altbackup.core.plugins.module_utils.system.compiled_once"
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
            _copy_missing(module, there, folder, _amend)


def _copy_missing(
    module: str, origin: Path, destination: Path, change: Callable[[Path], None] = lambda path: None
) -> None:
    """Copy the payloads of a module that only `origin` has, changed by a function. Raise OSError."""
    for path in origin.glob(f"{_MODULE}{module}-*"):
        if path.suffix in (".lock", ".part") or path.name.endswith("-part") or (destination / path.name).exists():
            continue
        with tempfile.NamedTemporaryFile(dir=destination, prefix=".", suffix=".part", delete=False) as stream:
            new = Path(stream.name)
        try:
            shutil.copyfile(path, new)
            change(new)
            new.chmod(0o600)
            new.replace(destination / path.name)
        except BaseException:
            new.unlink()
            raise


def _amend(path: Path) -> None:
    """Put the importer into a payload that is to be kept, in the form in which Ansible keeps it; if that form is unknown, leave it. Raise OSError."""
    form = getattr(module_common, "_CachedModule", None)  # from ansible-core 2.19 on; before, an archive in base64
    with contextlib.suppress(
        ValueError, KeyError, AttributeError, TypeError, EOFError, ImportError, zipfile.BadZipFile, pickle.PickleError
    ):
        if form is None:
            path.write_bytes(base64.b64encode(_with_importer(base64.b64decode(path.read_bytes(), validate=True))))
        else:
            cached = form.load(str(path))
            archive = _with_importer(base64.b64decode(cached.zip_data))
            dataclasses.replace(cached, zip_data=base64.b64encode(archive)).dump(str(path))


def _with_importer(content: bytes) -> bytes:
    """Return an archive in which Ansible's package imports the importer. Raise KeyError if it has not both, or BadZipFile."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(changed, "w") as new:
        old.getinfo(f"{_IMPORTER.replace('.', '/')}.py")
        old.getinfo(_FIRST)
        for entry in old.infolist():
            text = old.read(entry)
            new.writestr(entry, text + f"\nimport {_IMPORTER}\n".encode() if entry.filename == _FIRST else text)
    return changed.getvalue()


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
    digest.update(Path(__file__).read_bytes())
    for path in _sources(_ROOT / "plugins" / "module_utils", _ROOT / "plugins" / "modules"):
        digest.update(f"\0{path.relative_to(_ROOT)}\0".encode())
        digest.update(path.read_bytes())
    for path in _sources(Path(ansible.__file__).parent / "module_utils", Path(ansible.__file__).parent / "executor"):
        status = path.stat()  # a package's files come with the times of its build
        digest.update(f"\0{path}\0{status.st_mtime_ns}\0{status.st_size}".encode())
    return digest.hexdigest()[:32]


def _sources(*folders: Path) -> Iterable[Path]:
    return sorted(path for folder in folders for path in folder.rglob("*.py"))
