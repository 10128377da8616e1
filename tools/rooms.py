"""Check that every import goes down: the contract of the rooms, in pyproject.toml, on all that the collection runs.

import-linter leaves out what lies in folders without __init__.py and says nothing of it, and this collection has none; so a copy with empty
ones is checked, in which each file must be found, and be of a room that the contract names.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "ansible_collections.altbackup.core.plugins"
_LINKED = {"modules": "library"}
"""{folder of plugins that is a link in a checkout: its destination}"""


def main() -> int:
    """Check the contract; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout, by default this one")
    root = parser.parse_args().root.resolve()
    with tempfile.TemporaryDirectory(prefix="altbackup-rooms-") as folder:
        stage = Path(folder)
        modules = copy(root, stage)
        problems = [*unseen(stage, modules), *homeless(root, modules)]
        for problem in problems:
            print(problem, file=sys.stderr)
        return 1 if problems else lint(root, stage)


def copy(root: Path, stage: Path) -> list[str]:
    """Copy the Python files of plugins and library into a package below `stage`, an empty folder; return the names of their modules."""
    modules = []
    places = [(path, path.name) for path in (root / "plugins").iterdir() if path.is_dir() and path.name not in _LINKED]
    places += [(root / source, name) for name, source in _LINKED.items()]
    for source, name in places:
        for path in sorted(source.rglob("*.py")):
            relative = Path(name, path.relative_to(source))
            target = stage / PACKAGE.replace(".", "/") / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            modules.append(".".join([PACKAGE, *relative.with_suffix("").parts]))
    for folder in [path for path in stage.rglob("*") if path.is_dir()]:
        (folder / "__init__.py").touch()
    return modules


def unseen(stage: Path, modules: Iterable[str]) -> list[str]:
    """Return a sentence for each module that is missing from the import graph of the copy in `stage`."""
    top = PACKAGE.partition(".")[0]
    sys.path.insert(0, str(stage))
    seen = grimp.build_graph(top, cache_dir=None).modules
    return [
        f"{module} is not seen by import-linter: what it imports is not checked"
        for module in modules
        if module not in seen
    ]


def homeless(root: Path, modules: Iterable[str]) -> list[str]:
    """Return a sentence for each module that is in no room of the contract."""
    rooms = tuple(f"{PACKAGE}.{room}." for room in rooms_of(root))
    return [f"{module} is in no room that pyproject.toml names" for module in modules if not module.startswith(rooms)]


def rooms_of(root: Path) -> list[str]:
    """Return the rooms that the layer contracts in pyproject.toml name."""
    with open(root / "pyproject.toml", "rb") as stream:
        contracts = tomllib.load(stream)["tool"]["importlinter"]["contracts"]
    return [room.strip() for contract in contracts for layer in contract.get("layers", ()) for room in layer.split("|")]


def lint(root: Path, stage: Path) -> int:
    """Check the copy in `stage` against the contracts; return the exit code of lint-imports."""
    linter = Path(sys.executable).with_name("lint-imports")
    command = [str(linter), "--no-logo", "--no-cache", str(root / "pyproject.toml")]
    return subprocess.run(command, cwd=stage, stdin=subprocess.DEVNULL, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
