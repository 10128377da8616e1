"""What stands where in inventory files in YAML: syntax errors, which Ansible does not always report, and the lines that set a variable."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import yaml

from .yaml_text import described

_ENDINGS = (".yml", ".yaml", ".json")
_VARIABLES = ("group_vars", "host_vars")
_VAULT = "$ANSIBLE_VAULT"
_MOST_BYTES = 4 << 20
_MOST_FILES = 2000


def syntax_errors(inventory: Sequence[str], folder: Path) -> list[str]:
    """Return `FILE: line L, column C: WHY` for each file that is not YAML, of inventories whose paths are relative to `folder`."""
    return [f"{path}: {why}" for path in _paths(inventory, folder) if (why := _error_in(path))]


def places_of(inventory: Sequence[str], folder: Path, variable: str) -> list[str]:
    """Return `FILE:LINE` of each line that sets a variable in the YAML files of inventories, whose paths are relative to `folder`."""
    key = re.compile(rf"\s*[\"']?{re.escape(variable)}[\"']?\s*:")
    return [
        f"{path}:{number}" for path in _paths(inventory, folder) for number, line in _lines_of(path) if key.match(line)
    ]


def _paths(inventory: Sequence[str], folder: Path) -> list[Path]:
    """Return the files of inventories in YAML, each once."""
    return list(dict.fromkeys(path for source in inventory for path in islice(_files_of(folder / source), _MOST_FILES)))


def _lines_of(path: Path) -> list[tuple[int, str]]:
    """Return the numbered lines of a file, none of one that is too large or cannot be read."""
    try:
        if not path.is_file() or path.stat().st_size > _MOST_BYTES:
            return []
        return list(enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1))
    except OSError:
        return []


def _files_of(source: Path) -> Iterator[Path]:
    """Yield the files of an inventory that have a YAML suffix, and those of its group_vars and host_vars."""
    if source.is_file():
        if source.suffix in _ENDINGS:
            yield source
        for name in _VARIABLES:
            yield from _below(source.parent / name, every=True)
    elif source.is_dir():
        yield from _below(source, every=False)


def _below(folder: Path, every: bool) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        in_variables = every or bool({*Path(parent).relative_to(folder).parts} & {*_VARIABLES})
        for name in sorted(names):
            path = Path(parent, name)
            if path.suffix in _ENDINGS or (in_variables and not path.suffix and not name.startswith(".")):
                yield path


def _error_in(path: Path) -> str:
    """Return why and where a file is not YAML; "" if it is, or is too large, encrypted or not a regular file."""
    try:
        if not path.is_file() or path.stat().st_size > _MOST_BYTES:
            return ""
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        return f"byte {error.start + 1}: it is no UTF-8"
    except OSError as error:
        return error.strerror or str(error)
    if text.startswith(_VAULT):
        return ""
    try:
        yaml.compose(text, Loader=yaml.SafeLoader)  # composed only, as tags such as !vault are Ansible's
    except (yaml.YAMLError, RecursionError) as error:
        return described(error, text)
    return ""
