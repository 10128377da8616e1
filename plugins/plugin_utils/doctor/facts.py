"""What a node tells of itself, as far as it has the form that node_examine returns: a node may say anything. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...module_utils.kinds.registry import CATEGORIES


@dataclass(frozen=True)
class Fields:
    """The form of a mapping of known keys; other keys are of no interest."""

    required: Mapping[str, Any]
    optional: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ByName:
    """The form of a mapping of any texts."""

    value: Any


_MODE = re.compile(r"[0-7]{0,4}", re.ASCII)
_TEXTS = [str]
_BASE = Fields(
    {"base": str, "role": re.compile("source|target")},
    {
        **dict.fromkeys(("there", "marker", "marker_below", "writable", "read_only", "on_root"), bool),
        **dict.fromkeys(("uid", "device", "inode", "free"), int),
        **dict.fromkeys(("problem", "taken", "owner"), str),
        "mode": _MODE,
        "above": Fields({}, {"path": str, "writable": bool}),
    },
)
_PEER = Fields(
    {"node": str, "fetch": bool},
    {
        **dict.fromkeys(("name", "port", "said"), str),
        "dialled": Fields(
            {},
            {
                **dict.fromkeys(("host", "address", "alias", "known_hosts"), str),
                "port": int,
                **dict.fromkeys(("direct", "known_hosts_folder"), bool),
            },
        ),
        "key": Fields(
            {},
            {
                **dict.fromkeys(("path", "public", "why"), str),
                **dict.fromkeys(("named", "there", "mine"), bool),
                "mode": _MODE,
            },
        ),
    },
)
_AUTHORIZED = Fields(
    {"path": str},
    {"problem": str, "user": str, "lines": _TEXTS, "loose": [Fields({"path": str})]},
)
_STORE = Fields(
    {"name": str, "there": bool, "problem": str, "away": str},
    {
        **dict.fromkeys(("place", "id", "other"), str),
        **dict.fromkeys(("is_disk", "versioned", "lockable"), bool),
        "loose": [str],
    },
)
_EXAMINED: dict[str, Any] = {
    **dict.fromkeys(("user", "python", "machine", "boot", "sendmail"), str),
    "uid": int,
    **dict.fromkeys(("asked", "began", "ended"), float),
    "system": ByName(str),
    "tools": ByName(str),
    **dict.fromkeys(("missing_compressor", "space", "host_keys"), _TEXTS),
    "bases": [_BASE],
    "items": [
        Fields(
            {"key": str, "path": str},
            {"problem": str, "denied": bool, "keys": [Fields({"path": str, "public": str})]},
        )
    ],
    "discovered": [Fields({}, {"count": int, "problems": _TEXTS})],
    "peers": [_PEER],
    "authorized": ByName(_AUTHORIZED),
    "stores": [_STORE],
    "schedules": [Fields({"where": str, "line": str})],
}
_PATH = re.compile(r"/[^\0\n]*")
_SURVEYED: dict[str, Any] = {
    "uid": int,
    "repositories": [Fields({"kind": re.compile("|".join(CATEGORIES)), "path": _PATH})],
    "folders": [_PATH],
    "unseen": _TEXTS,
    "cut": bool,
}


def examined_facts(facts: Any) -> tuple[dict[str, Any], list[str]]:
    """Return (those facts of an examined node that are as they should be, the names of the others)."""
    return _sorted_out(facts, _EXAMINED)


def surveyed_facts(facts: Any) -> dict[str, Any] | None:
    """Return what a survey found, None where any of it is missing or not as it should be."""
    sound, _ = _sorted_out(facts, _SURVEYED)
    return sound if len(sound) == len(_SURVEYED) else None


def _sorted_out(facts: Any, forms: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    if not isinstance(facts, Mapping):
        return {}, ["all"]
    given = {name: facts[name] for name in forms if facts.get(name) is not None}
    sound = {name: value for name, value in given.items() if _fits(value, forms[name])}
    return sound, [name for name in given if name not in sound]


def _fits(value: Any, form: Any) -> bool:
    """Return whether a value has a form: a type, a pattern, a list of one form, Fields or ByName. A bool is no number, an int is a float."""
    if isinstance(form, re.Pattern):
        return isinstance(value, str) and form.fullmatch(value) is not None
    if isinstance(form, list):
        return isinstance(value, (list, tuple)) and all(_fits(entry, form[0]) for entry in value)
    if isinstance(form, ByName):
        return isinstance(value, Mapping) and all(
            isinstance(name, str) and _fits(entry, form.value) for name, entry in value.items()
        )
    if isinstance(form, Fields):
        return (
            isinstance(value, Mapping)
            and all(name in value for name in form.required)
            and all(
                _fits(value[name], each) for name, each in {**form.required, **form.optional}.items() if name in value
            )
        )
    if form is bool:
        return isinstance(value, bool)
    if form is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(value, form) and not isinstance(value, bool)
