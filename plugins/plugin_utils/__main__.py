"""What bin/altbackup starts: it makes the modules beside it importable, wherever the collection lies, and calls them."""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path

if __name__ == "__main__":
    package = types.ModuleType("altbackup")
    package.__path__ = [str(Path(__file__).resolve().parents[1])]
    sys.modules["altbackup"] = package
    sys.exit(importlib.import_module("altbackup.plugin_utils.entry_point").main(sys.argv[1:]))
