"""Run ansible-test sanity on the collection staged by make build; arguments, if any, are passed to ansible-test.

ansible-test makes a virtual environment for each of its tests, and would download get-pip.py to install pip there. It uses a file in its
cache, below HOME, instead, where this program puts tools/get_pip.py, which uses the pip that is here. So packages come from where pip is
configured to find them, and HOME is a folder inside the environment of make sanity.
"""

from __future__ import annotations

import ast
import configparser
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

from ansible_test._internal.python_requirements import get_venv_packages

ROOT = Path(__file__).resolve().parent.parent
STAGE = ROOT / "var" / "build" / "ansible_collections" / "altbackup" / "core"
HOME = Path(sys.prefix) / "home"
# Folders for pylint, which ansible-test runs without settings: tests/sanity/ignore-*.txt has the deviations of the house style with reasons.
# Tests are left to ruff: they would need such a line for nearly every file.
PYLINTED = ("plugins/", "tools/")
# Excluded, because ansible-test takes every file in bin for Python; make lint checks it with shellcheck.
EXCLUDED = ("bin/altbackup",)
PYTHON_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


def pip_settings(listed: str) -> dict[str, str]:
    """Return the settings in the output of `pip config list`; the environment takes precedence over files."""
    settings: dict[str, str] = {}
    for line in listed.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if section in ("global", "install", ":env:") and (section == ":env:" or name not in settings):
            settings[name] = str(ast.literal_eval(value))
    return settings


def write_pip_settings(path: Path) -> None:
    """Write pip's settings to a file, because ansible-test passes none from the environment on."""
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True)
    parser = configparser.RawConfigParser()
    parser["global"] = {**pip_settings(listed.stdout), "quiet": "2"}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as stream:
        parser.write(stream)
    path.chmod(0o600)


def place_get_pip(cache: Path) -> None:
    """Copy tools/get_pip.py to where ansible-test looks for a downloaded get-pip.py."""
    version = get_venv_packages(SimpleNamespace(version=PYTHON_VERSION))["pip"]
    cache.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(Path(__file__).with_name("get_pip.py"), cache / f"get_pip_{version.replace('.', '_')}.py")


def main() -> int:
    """Prepare HOME and run ansible-test there; return 0 if all tests pass."""
    if not (STAGE / "galaxy.yml").is_file():
        print(f"sanity: {STAGE.relative_to(ROOT)} is not there: run make build first", file=sys.stderr)
        return 1
    write_pip_settings(HOME / ".config" / "pip" / "pip.conf")
    place_get_pip(HOME / ".ansible" / "test" / "cache")
    environment = {**os.environ, "HOME": str(HOME), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    options = [
        "--python",
        PYTHON_VERSION,
        "--color",
        "no",
        *(word for path in EXCLUDED for word in ("--exclude", path)),
    ]
    whole = [["--skip-test", "pylint"], ["--test", "pylint", *PYLINTED]]
    codes = [
        subprocess.run(
            ["ansible-test", "sanity", *options, *words],
            check=False,
            cwd=STAGE,
            env=environment,
            stdin=subprocess.DEVNULL,
        ).returncode
        for words in ([sys.argv[1:]] if sys.argv[1:] else whole)
    ]
    return int(any(codes))


if __name__ == "__main__":
    raise SystemExit(main())
