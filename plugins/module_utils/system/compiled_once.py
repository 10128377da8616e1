"""Importing this makes Python compile each file of this collection once: in a module's call, and on the controller.

Ansible sends a module with its files in a zip archive. Python's importer for such archives compiles a file first to learn its name, and
again to run it, in each call: a quarter of a second for the largest. On the controller Ansible's importer compiles each file in each process,
which takes half a second, where Python's own keeps what it has compiled. Modules and plugins import this before their other files.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import zipimport


class Importer(zipimport.zipimporter):
    """Imports Python sources from a zip archive; derives their file names from those of the modules."""

    def get_filename(self, fullname: str) -> str:
        """Return the path of a module's file. Raise ZipImportError if there is none."""
        ending = "/__init__.py" if self.is_package(fullname) else ".py"
        return os.path.join(self.archive, self.prefix + fullname.rpartition(".")[2] + ending)


def _importer(path: str) -> Importer:
    """Return the importer of a folder. Raise ImportError if it is not one of this collection in the archive."""
    if not f"{path}/".startswith(f"{_FOLDER}/"):
        raise ImportError(path)
    return Importer(path)


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
if isinstance(globals().get("__loader__"), zipimport.zipimporter):
    if _importer not in sys.path_hooks:
        sys.path_hooks.insert(0, _importer)
        for _path in [path for path in sys.path_importer_cache if f"{path}/".startswith(f"{_FOLDER}/")]:
            del sys.path_importer_cache[_path]
elif type(globals().get("__loader__")).__module__.startswith("ansible.") and Finder not in sys.meta_path:
    sys.meta_path.insert(0, Finder)
