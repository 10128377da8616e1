"""Settings: the variables of users, as the argument_specs of role altbackup declare them."""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.yaml import yaml_load

from ...module_utils.system.errors import InvalidInput
from ..report.secrecy import UNQUOTED, quoted
from .setting_values import PARSERS
from .yaml_text import is_collection, read_yaml

PREFIX = "altbackup_"
SPECS = Path(__file__).parents[3] / "roles" / "altbackup" / "meta" / "argument_specs.yml"

Specs = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""{entry point: {variable: its option}}"""

_EXPECTED = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "a text",
    "list": "a list",
    "dict": "a mapping",
}


_ALWAYS_YAML = (("list", "raw"), ("dict", None))
"""(type, elements) of options whose texts are always YAML; texts of other collections only if they begin as one"""
_COLLECTIONS = (*_ALWAYS_YAML, ("list", "str"), ("raw", None))


@dataclass(frozen=True)
class Problem:
    """An error of one variable of one host."""

    variable: str
    text: str


@dataclass(frozen=True)
class Unreadable:
    """Placeholder of a value whose template could not be evaluated; the reason does not quote any value."""

    reason: str


@functools.lru_cache(maxsize=1)
def load_specs(path: Path = SPECS) -> Specs:
    """Return the options of each entry point in a file of argument_specs."""
    entries = yaml_load(path.read_text(encoding="utf-8"))["argument_specs"]
    return {entry: spec.get("options") or {} for entry, spec in entries.items()}


def names(entry: str | None = None) -> list[str]:
    """Return the variables of an entry point; without one, all variables, each once."""
    specs = load_specs()
    chosen = specs.values() if entry is None else [specs[entry]]
    return list(dict.fromkeys(name for options in chosen for name in options))


def validate(entry: str, values: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Return ({variable: usable value}, problems) of a host's variables for an entry point.

    Durations are in seconds, rates in bytes per second, paths normalized, defaults filled in; None counts as not given. A variable with a
    problem has its default, or None.
    """
    result: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, option in load_specs()[entry].items():
        value = values.get(name)
        default = copy.deepcopy(option.get("default"))
        result[name] = _parse(name, default) if default is not None else None
        if isinstance(value, Unreadable):
            problems.append(Problem(name, value.reason))
        elif value is not None:
            try:
                result[name] = _parse(name, _convert(name, option, value))
            except InvalidInput as error:
                problems.append(Problem(name, str(error)))
        elif option.get("required"):
            described = without_markup(" ".join(as_list(option["description"])))
            problems.append(Problem(name, f"is required and missing. {described}"))
    return result, problems


def without_markup(text: str) -> str:
    """Return a text of Ansible's documentation without markup such as C(x), V(x) or L(x, url), which become x."""
    plain = re.sub(r"\b(?:[LR])\(([^(),]*),[^()]*\)", r"\1", text)
    return re.sub(r"\b[BCEIMOPUV]\(([^()#]*)(?:#[^()]*)?\)", r"\1", plain)


def as_list(value: Any) -> list[Any]:
    """Return a list, or a single value as a list."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _convert(name: str, option: Mapping[str, Any], value: Any) -> Any:
    """Return a value in the type that its option declares. Raise InvalidInput."""
    kind = option["type"]
    shown = "its value (which is not shown)" if UNQUOTED.search(name) else quoted(value)
    if name == "altbackup_keep":
        return value
    value = _collection(option, value, shown)
    if (
        (kind in ("int", "float") and isinstance(value, bool))
        or (kind == "str" and isinstance(value, (dict, list)))
        or (option.get("elements") == "raw" and not isinstance(value, list))
    ):
        raise InvalidInput(f"{shown} is not {_EXPECTED[kind]}")
    if (
        option.get("elements") == "str"
        and isinstance(value, list)
        and any(isinstance(entry, (dict, list)) for entry in value)
    ):
        raise InvalidInput(f"{shown} is not a list of texts")
    try:
        outcome = ArgumentSpecValidator({name: option}).validate({name: value})
    except OverflowError:  # infinity is not an integer
        raise InvalidInput(f"{shown} is not {_EXPECTED[kind]}") from None
    if not outcome.error_messages:
        return outcome.validated_parameters[name]
    choices = option.get("choices")
    if choices:
        raise InvalidInput(f"{shown} is not one of {', '.join(choice or 'empty' for choice in choices)}")
    raise InvalidInput(f"{shown} is not {_EXPECTED[kind]}")


def _collection(option: Mapping[str, Any], value: Any, shown: str) -> Any:
    """Return the value of a YAML text if the option expects a list or a mapping. Raise InvalidInput.

    A text that is neither is returned unchanged: names separated by commas, or another form that the option allows.
    """
    kind, elements = option["type"], option.get("elements")
    if not isinstance(value, str) or (kind, elements) not in _COLLECTIONS:
        return value
    if (kind, elements) not in _ALWAYS_YAML and not is_collection(value):
        return value
    try:
        read = read_yaml(value)
    except InvalidInput as error:
        what = _EXPECTED.get(kind, "a mapping")
        raise InvalidInput(f"{shown} is not {what}: it can be read neither as JSON nor as YAML: {error}") from None
    return read if isinstance(read, (list, dict)) else value


def _parse(name: str, value: Any) -> Any:
    """Return the plan's value for one of the declared type. Raise InvalidInput."""
    parser = PARSERS.get(name)
    return parser(value) if parser else value
