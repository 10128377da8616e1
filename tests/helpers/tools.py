"""Programs that tests need, as tools/bootstrap lists them, and the tests that failed without one."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

_BOOTSTRAP = Path(__file__).resolve().parents[2] / "tools" / "bootstrap"


def missing_tools(path: str = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin") -> dict[str, str]:
    """Return {program: package} of the programs that tests need and that are not on a PATH."""
    lists = re.findall(r"^NEEDS_(?:DEMO|TEST|SERVERS)=(.*)$", _BOOTSTRAP.read_text(encoding="utf-8"), re.MULTILINE)
    needs = dict(re.findall(r"([\w-]+):([\w-]+)", " ".join(lists)))
    return {program: package for program, package in needs.items() if not shutil.which(program, path=path)}


def told(missing: Mapping[str, str], failed: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield a line for each missing program that a failed test names; failures are (test, its message)."""
    tests = list(failed)
    for program, package in missing.items():
        naming = [test for test, text in tests if re.search(rf"(?<![\w-]){re.escape(program)}(?![\w-])", text)]
        if naming:
            more = f" and {len(naming) - 1} more" if len(naming) > 1 else ""
            yield f"{program} is not installed (package {package}): {naming[0]}{more}"
