"""The Python interpreters of this machine that a managed node may have."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST, NEWEST = 8, 13
SHOW = "import sys; print('%d.%d' % sys.version_info[:2], sys.executable)"


def candidates(minor: int) -> list[str]:
    """Return the paths at which Python 3.`minor` may be installed."""
    name = f"python3.{minor}"
    home = Path.home()
    versions = [Path(os.environ.get("PYENV_ROOT", home / ".pyenv")) / "versions", home / ".local/share/uv/python"]
    managed = [str(path) for folder in versions for path in sorted(folder.glob(f"*3.{minor}.*/bin/{name}"))]
    return [*filter(None, [shutil.which(name)]), f"/usr/bin/{name}", f"/usr/local/bin/{name}", *managed]


@functools.cache
def pythons() -> dict[str, str]:
    """Return the real interpreter (never a shim) of each version, "3.8" to "3.13", oldest first."""
    found = {}
    for minor in range(OLDEST, NEWEST + 1):
        for path in candidates(minor):
            if os.access(path, os.X_OK):
                done = subprocess.run([path, "-c", SHOW], capture_output=True, text=True, check=False)
                version, _, real = done.stdout.strip().partition(" ")
                if done.returncode == 0 and version == f"3.{minor}":
                    found[version] = real
                    break
    return found


def own_python() -> str:
    """Return this interpreter outside of any virtual environment, as a node would have it."""
    return os.path.realpath(sys.executable)


def find_python(which: str) -> str | None:
    """Return the interpreter for "oldest", "newest", a version such as "3.9" or a path, or None if there is none."""
    if which.startswith("/"):
        return which
    known = pythons()
    if which in ("oldest", "newest"):
        return next(iter(known.values() if which == "oldest" else reversed(known.values())), None)
    return known.get(which)
