"""The versions of the software that makes a run on the controller."""

from __future__ import annotations

import json
import platform
import re
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[3]


def versions(root: Path = _ROOT) -> dict[str, str]:
    """Return the versions of this collection, ansible-core and Python."""
    from ansible.release import __version__

    return {"altbackup": collection_version(root), "ansible": __version__, "python": platform.python_version()}


def collection_version(root: Path = _ROOT) -> str:
    """Return the version of a collection, installed or a checkout, "" if neither file tells it."""
    try:
        return str(json.loads((root / "MANIFEST.json").read_text(encoding="utf-8"))["collection_info"]["version"])
    except FileNotFoundError:
        pass
    try:
        found = re.search(r"^version:\s*(\S+)", (root / "galaxy.yml").read_text(encoding="utf-8"), re.MULTILINE)
    except FileNotFoundError:
        return ""
    return found[1] if found else ""
