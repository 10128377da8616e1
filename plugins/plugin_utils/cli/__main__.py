"""Program of bin/altbackup: makes the packages of this collection importable, wherever it lies, and calls the command line's `main`."""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path

if __name__ == "__main__":
    package = types.ModuleType("altbackup")
    package.__path__ = [str(Path(__file__).resolve().parents[2])]
    sys.modules["altbackup"] = package
    sys.exit(importlib.import_module("altbackup.plugin_utils.cli.main").main(sys.argv[1:]))
