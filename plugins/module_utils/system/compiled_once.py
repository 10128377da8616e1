"""Importing this makes Python compile each file of this collection that a module brings along once, not twice.

Ansible sends a module with its files in a zip archive. Python's importer for such archives compiles a file first to learn its name, and
again to run it, in each call: a quarter of a second for the largest. Modules import this before their other files.
"""

from __future__ import annotations

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


_FOLDER = os.path.dirname(os.path.dirname(__file__))
if isinstance(globals().get("__loader__"), zipimport.zipimporter) and _importer not in sys.path_hooks:
    sys.path_hooks.insert(0, _importer)
    for _path in [path for path in sys.path_importer_cache if f"{path}/".startswith(f"{_FOLDER}/")]:
        del sys.path_importer_cache[_path]
