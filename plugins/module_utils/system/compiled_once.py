"""Importing this makes Python compile each file of this collection once: in a module's call, and on the controller.

Ansible sends a module with its files in a zip archive. Python's importer for such archives compiles a file first to learn its name, and
again to run it, in each call: a quarter of a second for the largest. Here it is compiled once, and kept for later calls of this user, from
Python 3.10 on; so are Ansible's own files where the archive brings this first, see plugin_utils.calls.payloads. On the controller Ansible's
importer compiles each file in each process, which takes half a second, where Python's own keeps what it has compiled. Modules and plugins
import this before their other files.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import marshal
import os
import stat
import sys
import time
import types
import zipimport

_DIGEST = 32
"""Bytes of the digest before kept code, which tells whether it is whole"""
_KEPT_SECONDS = 90 * 86400
"""After which kept code is removed, once other code is; what is still in use is compiled anew"""
_swept: list[str] = []


class Importer(zipimport.zipimporter):
    """Imports Python sources from a zip archive; derives their file names from those of the modules, and keeps what it compiles."""

    def get_code(self, fullname: str) -> types.CodeType:
        """Return the code of a module, as an earlier call compiled it. Raise ZipImportError if there is none."""
        path = self.get_filename(fullname)
        source = self.get_data(path)
        inside = os.path.relpath(path, self.archive)  # the archive has another path in each call
        name = hashlib.sha256(b"\0".join((importlib.util.MAGIC_NUMBER, inside.encode(), source))).hexdigest()
        code = _kept_code(name)
        if code is None:
            code = compile(source, inside, "exec", dont_inherit=True)
            _keep_code(name, code)
        return code

    def get_filename(self, fullname: str) -> str:
        """Return the path of a module's file. Raise ZipImportError if there is none."""
        ending = "/__init__.py" if self.is_package(fullname) else ".py"
        return os.path.join(self.archive, self.prefix + fullname.rpartition(".")[2] + ending)


def _importer(path: str) -> Importer:
    """Return the importer of a folder in the archive of this call. Raise ImportError for any other."""
    if not f"{path}/".startswith(f"{_archive}/"):
        raise ImportError(path)
    return Importer(path)


@functools.lru_cache(maxsize=1)
def _kept() -> str:
    """Return the folder of compiled code, empty where anybody but this user and root could write, or there can be none."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    try:
        path = os.path.realpath(os.path.join(cache, "altbackup", "bytecode"))
        if os.path.isdir(os.path.dirname(cache)) and _is_held(path):
            os.makedirs(path, 0o700, exist_ok=True)
            if _is_held(path) and os.lstat(path).st_uid == os.geteuid():
                return path
    except (OSError, ValueError):
        pass
    return ""


def _is_held(path: str) -> bool:
    """Return whether a path without links, as far as it is there, can be changed by this user and root alone: what lies there is run. Raise OSError."""
    there = [above for above in _upwards(path) if os.path.lexists(above)]
    for above in there:
        status = os.lstat(above)
        is_sticky = status.st_mode & stat.S_ISVTX and above != path
        if status.st_uid not in (0, os.geteuid()) or (status.st_mode & 0o022 and not is_sticky):
            return False
    return os.lstat(there[0]).st_uid == os.geteuid()


def _upwards(path: str) -> list[str]:
    return [path, *(_upwards(os.path.dirname(path)) if path != os.path.dirname(path) else ())]


def _kept_code(name: str) -> types.CodeType | None:
    """Return the code that is kept under a name, None if there is none that is whole."""
    try:
        with open(os.path.join(_kept(), name), "rb") as stream:
            digest, content = stream.read(_DIGEST), stream.read()
    except OSError:
        return None
    return marshal.loads(content) if digest == hashlib.sha256(content).digest() else None


def _keep_code(name: str, code: types.CodeType) -> None:
    """Keep code under a name, if that can be done, and remove what was kept long ago."""
    folder = _kept()
    if not folder:
        return
    content = marshal.dumps(code)
    path = os.path.join(folder, f".{name}-{os.getpid()}")
    with contextlib.suppress(OSError):
        try:
            with open(path, "xb") as stream:
                stream.write(hashlib.sha256(content).digest() + content)
            os.replace(path, os.path.join(folder, name))
        except OSError:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            return
        for entry in os.scandir(folder) if not _swept else ():
            if time.time() - entry.stat(follow_symlinks=False).st_mtime > _KEPT_SECONDS:
                os.unlink(entry.path)
        _swept.append(folder)


class Finder(importlib.abc.MetaPathFinder):
    """Finds the files of this collection for Python's own loader; its folders are left to Ansible's."""

    @classmethod
    def find_spec(
        cls, fullname: str, _path: object = None, _target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the spec of a module in a file below the folders of utilities, None for all others."""
        above, _, name = fullname.partition(f"{_PACKAGE}.")
        file = os.path.join(os.path.dirname(_FOLDER), *name.split(".")) + ".py"
        is_ours = not above and name.startswith(("module_utils.", "plugin_utils.")) and os.path.isfile(file)
        return importlib.util.spec_from_file_location(fullname, file) if is_ours else None


_FOLDER = os.path.dirname(os.path.dirname(__file__))
_PACKAGE = __name__.rpartition(".module_utils.")[0]
_loader = globals().get("__loader__")
_archive = _loader.archive if isinstance(_loader, zipimport.zipimporter) else ""
if _archive:
    if _importer not in sys.path_hooks:
        sys.path_hooks.insert(0, _importer)
        for _path in [path for path in sys.path_importer_cache if f"{path}/".startswith(f"{_archive}/")]:
            del sys.path_importer_cache[_path]
elif type(_loader).__module__.startswith("ansible.") and Finder not in sys.meta_path:
    sys.meta_path.insert(0, Finder)
