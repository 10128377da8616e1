"""Run a module of the collection as one process, as it runs on a node: call_module.py NAME FILE, the file with its options as JSON."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / ".collections"))

from ansible.module_utils.testing import patch_module_args

if __name__ == "__main__":
    name, options = sys.argv[1:]
    module = importlib.import_module(f"ansible_collections.altbackup.core.plugins.modules.{name}")
    with patch_module_args(json.loads(Path(options).read_text(encoding="utf-8"))):
        module.main()
