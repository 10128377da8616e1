"""The versions of the software that makes a run on the controller."""

from __future__ import annotations

import json
import platform
import re
from contextlib import suppress
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[3]
_VERSION = re.compile(r"""^version:[ \t]*["']?([\w.+-]+)""", re.MULTILINE | re.ASCII)


def versions(root: Path = _ROOT) -> dict[str, str]:
    """Return the versions of this collection, ansible-core and Python."""
    from ansible.release import __version__

    return {"altbackup": collection_version(root), "ansible": __version__, "python": platform.python_version()}


def collection_version(root: Path = _ROOT) -> str:
    """Return the version of a collection, installed or a checkout, "" if neither file tells it."""
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        return str(json.loads((root / "MANIFEST.json").read_text(encoding="utf-8"))["collection_info"]["version"])
    with suppress(OSError, ValueError):
        found = _VERSION.search((root / "galaxy.yml").read_text(encoding="utf-8"))
        return found[1] if found else ""
    return ""
