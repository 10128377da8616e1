"""Lists and mappings that are given as text, as `-e NAME=TEXT` does: read as YAML, of which JSON is a part."""

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
    """Given a text, return whether it begins as a list or a mapping in YAML does, rather than as a word."""
    return _COLLECTION.match(text) is not None


def read_yaml(text: str) -> Any:
    """Given a text, return what it means in YAML, dates as text. Raise InvalidInput that says where it cannot be read."""
    try:
        return _plain(yaml.safe_load(text))
    except (yaml.YAMLError, RecursionError) as error:
        raise InvalidInput(described(error, text)) from error
    except ValueError as error:  # a date that is none
        raise InvalidInput(f"its beginning: {error}") from error


def described(error: yaml.YAMLError | RecursionError, text: str) -> str:
    """Given why a text is no YAML, return that with its line and column."""
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


def uncut(name: str, value: str, given: Iterable[str]) -> str:
    """Given a variable, its value and what options -e gave, return the value as it was given, where Ansible cut it at its first blank.

    Ansible takes `NAME=VALUE NAME=VALUE` apart at blanks, though a list or a mapping may have some.
    """
    for text in reversed(list(given)):
        for match in reversed(list(_GIVEN.finditer(text))):
            rest = text[match.end() :]
            if match[1] == name and rest.startswith(value):
                end = _end_of_collection(rest)
                return rest if end is None else rest[:end]
    return value


def _end_of_collection(text: str) -> int | None:
    """Return where the list or mapping in brackets ends with which a text begins, None if it does not."""
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
