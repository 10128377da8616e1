"""Install pip into a virtual environment that ansible-test makes, with the pip of make sanity's environment; see sanity.py.

It stands in for PyPA's script of the same name: the new environment's Python runs it from ENVIRONMENT/home/.ansible/test/cache.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

OPTIONS_OF_GET_PIP = ("--no-setuptools", "--no-wheel")


def main() -> int:
    """Install the packages that the arguments name; return pip's exit code."""
    installer = Path(__file__).absolute().parents[4] / "bin" / "python"
    words = [word for word in sys.argv[1:] if word not in OPTIONS_OF_GET_PIP]
    return subprocess.call([str(installer), "-m", "pip", "--python", sys.executable, "install", *words])


if __name__ == "__main__":
    raise SystemExit(main())
