"""Lists and mappings given as text, as by `-e NAME=TEXT`, parsed as YAML, which includes JSON."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

import yaml

from ...module_utils.system.errors import InvalidInput
from ..report.secrecy import quoted

_COLLECTION = re.compile(r"\s*(?:[\[{]|- |-\n|---\s)")
_GIVEN = re.compile(r"(?:^|(?<=\s))(\w+)=(?=[\[{])")


def is_collection(text: str) -> bool:
    """Return whether a text begins as a list or a mapping in YAML, rather than as a word."""
    return _COLLECTION.match(text) is not None


def read_yaml(text: str) -> Any:
    """Return the value of a YAML text, with dates as text. Raise InvalidInput with the position of the error."""
    try:
        return _plain(yaml.safe_load(text))
    except (yaml.YAMLError, RecursionError) as error:
        raise InvalidInput(described(error, text)) from error
    except ValueError as error:  # an invalid date
        raise InvalidInput(f"its beginning: {error}") from error


def described(error: yaml.YAMLError | RecursionError, text: str) -> str:
    """Return an error in a YAML text with its line and column."""
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "its beginning"
        near = f", at {quoted(_near(text, mark.index))}" if mark and _near(text, mark.index) else ""
        return f"{where}{near}: {error.problem or error.context}"
    if isinstance(error, yaml.reader.ReaderError):
        return f"character {error.position + 1}: {error.reason}"
    return "its beginning: it is nested too deeply"


def _near(text: str, index: int) -> str:
    return text[index : index + 20].partition("\n")[0].strip()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(entry) for entry in value]
    return value.isoformat() if isinstance(value, date) else value


def whole_value(name: str, value: str, given: Iterable[str]) -> str:
    """Return the whole value of a variable in options of -e (`given`), if Ansible cut it at its first blank.

    Ansible splits `NAME=VALUE NAME=VALUE` at blanks, which lists and mappings may contain.
    """
    for text in reversed(list(given)):
        for match in reversed(list(_GIVEN.finditer(text))):
            rest = text[match.end() :]
            if match[1] == name and rest.startswith(value):
                end = _end_of_collection(rest)
                return rest if end is None else rest[:end]
    return value


def _end_of_collection(text: str) -> int | None:
    """Return the index after the list or mapping in brackets with which a text begins, None if it does not end."""
    depth = 0
    try:
        for token in yaml.scan(text, Loader=yaml.SafeLoader):
            if isinstance(token, (yaml.FlowSequenceStartToken, yaml.FlowMappingStartToken)):
                depth += 1
            elif isinstance(token, (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken)):
                depth -= 1
                if not depth:
                    return int(token.end_mark.index)
    except (yaml.YAMLError, RecursionError):
        return None
    return None
