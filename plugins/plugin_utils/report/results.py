"""Types and bounds of a module's results, whatever the node returns. Values outside them are dropped and become a failure of that node."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...module_utils.system.visible import one_line, visible
from ...module_utils.tree.failures import failure
from ...module_utils.tree.layout import is_relpath, split_relpath
from ...module_utils.tree.stamps import is_stamp

SAID = "said what is no result"
LONGEST = 1 << 16
"""Most characters of a sentence"""
_LONGEST_NAME = 4096
_MOST = 200_000
"""Most tarballs or paths"""
_MOST_ITEMS = 10_000
_MOST_TOLD = 1000
"""Most failures or notes of one call"""
_LARGEST = 1 << 60
_DEEPEST = 16
_MOST_VALUES = 50_000
_LONGEST_RECORD = 1 << 20
_NAMED = 3
"""Most entries of one list that a failure names"""

Read = Callable[[Any], Any]
"""Returns the checked value; raises Refused, with the acceptable part of the value, if there is one, as `kept`"""
_NOTHING = object()


def _text(longest: int = _LONGEST_NAME) -> Read:
    def read(value: Any) -> str:
        if not isinstance(value, str):
            raise Refused("is no text")
        if len(value) > longest:
            raise Refused(f"is a text of {len(value)} characters")
        return value

    return read


def _lines(value: Any) -> str:
    """Return a text that Ansible prints as it is, such as a diff, with control characters made visible."""
    return visible(_text(2 * LONGEST)(value))


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Refused("is neither true nor false")
    return value


def _number(value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise Refused("is no number")
    if not 0 <= value <= _LARGEST:
        raise Refused("is no number from 0 to 2**60")
    return value


def _whole(value: Any) -> int:
    number = _number(value)
    if not isinstance(number, int):
        raise Refused("is no whole number")
    return number


def _code(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > 1 << 32:
        raise Refused("is no exit code")
    return value


def _like(pattern: str, what: str) -> Read:
    text = _text()

    def read(value: Any) -> str:
        if not re.fullmatch(pattern, text(value), re.ASCII):
            raise Refused(f"is no {what}")
        return str(value)

    return read


def _relpath(value: Any) -> str:
    text: str = _text()(value)
    if any(part in ("", ".", "..") for part in text.split("/")) or "\0" in text:
        raise Refused("is no path below a base")
    return text


def _stamp(value: Any) -> str:
    text: str = _text()(value)
    if text and not is_stamp(text):
        raise Refused("is no stamp")
    return text


def _record(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise Refused("is no mapping")
    waiting: list[tuple[Any, int]] = [(value, 0)]
    length = count = 0
    while waiting:
        entry, depth = waiting.pop()
        count += 1
        length += len(entry) if isinstance(entry, str) else 0
        if depth > _DEEPEST or count > _MOST_VALUES or length > _LONGEST_RECORD:
            raise Refused("is larger or deeper than any record")
        if isinstance(entry, Mapping):
            waiting += [(each, depth + 1) for pair in entry.items() for each in pair]
        elif isinstance(entry, (list, tuple)):
            waiting += [(each, depth + 1) for each in entry]
        elif isinstance(entry, int) and abs(entry) > 1 << 64:
            raise Refused("has a number beyond all bounds")
    return dict(value)


def _list(read: Read, most: int = _MOST, named: str = "") -> Read:
    def read_list(value: Any) -> list[Any]:
        if not isinstance(value, (list, tuple)):
            raise Refused("is no list")
        kept, problems = _each(read, ((number, entry) for number, entry in enumerate(value[:most], 1)), "entry ")
        if len(value) > most:
            problems.append(f"has {len(value)} entries, of which the first {most} were read")
        if problems:
            raise Refused("; ".join(problems), [entry for _, entry in kept])
        return [entry for _, entry in kept]

    return read_list


def _mapping(read: Read) -> Read:
    name = _text()

    def read_mapping(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise Refused("is no mapping")
        if len(value) > _MOST:
            raise Refused(f"has {len(value)} entries")
        named, wrong = _each(name, ((key, key) for key in value), "the name ")
        kept, problems = _each(read, ((key, value[key]) for _, key in named))
        if wrong or problems:
            raise Refused("; ".join([*wrong, *problems]), dict(kept))
        return dict(kept)

    return read_mapping


def _entry(fields: Mapping[str, Read], required: Sequence[str] = (), *, whole: bool = True) -> Read:
    """Return a reader of mappings that keeps known keys only and treats None, except as exit code, as absent.

    With `whole`, one wrong value refuses the mapping; without, only that key.
    """

    def read_entry(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise Refused("is no mapping")
        given = [
            (key, value[key])
            for key, read in fields.items()
            if key in value and (value[key] is not None or read is _code)
        ]
        kept: dict[str, Any] = {}
        problems = []
        lost = False
        for key, each in given:
            try:
                kept[key] = fields[key](each)
            except Refused as error:
                if error.kept is not _NOTHING:
                    kept[key] = error.kept
                lost = lost or (whole and error.kept is _NOTHING)
                problems.append(f"{key} {error}")
        missing = [key for key in required if key not in kept]
        problems += [f"{key} is missing" for key in missing if value.get(key) is None]
        if problems:
            raise Refused(", ".join(problems), *([] if lost or missing else [kept]))
        return kept

    return read_entry


def _tarball(read: Read) -> Read:
    """Return a reader of tarballs that refuses one whose category, name or stamp differ from its path."""

    def read_tarball(value: Any) -> Any:
        entry = read(value)
        if is_relpath(entry["relpath"]):
            category, name, stamp, _ = split_relpath(entry["relpath"])
            for key, said in (("category", category), ("name", name), ("stamp", stamp)):
                if entry.get(key, said) != said:
                    raise Refused(f"has another {key} than its path {shortened(entry['relpath'])}")
        if entry.get("state") == "verified" and not ("size" in entry and entry.get("dig") and entry.get("alg")):
            raise Refused(f"{shortened(entry['relpath'])} is verified, but without size, digest and algorithm")
        return entry

    return read_tarball


def _either(*reads: Read) -> Read:
    def read(value: Any) -> Any:
        problems = []
        for each in reads:
            try:
                return each(value)
            except Refused as error:
                problems.append(str(error))
        raise Refused(" and ".join(problems))

    return read


def _each(read: Read, entries: Any, title: str = "") -> tuple[list[tuple[Any, Any]], list[str]]:
    """Return (name, read value) of the good entries, and messages on the others; `entries` are (name, value) pairs."""
    kept, problems = [], []
    for name, entry in entries:
        try:
            kept.append((name, read(entry)))
        except Refused as error:
            if error.kept is not _NOTHING:
                kept.append((name, error.kept))
            problems.append(f"{title}{shortened(name)} {error}")
    more = len(problems) - _NAMED
    return kept, [*problems[:_NAMED], *([f"{more} more"] if more > 0 else [])]


def shortened(value: Any, most: int = 160) -> str:
    """Return the value as one line of at most `most` characters."""
    text = one_line(str(value)[: most + 1])
    return text if len(text) <= most else f"{text[: most - 3]}..."


class Refused(ValueError):
    """Raised for a value that is outside its type or bounds: why, and what part of it can be kept."""

    def __init__(self, reason: str, kept: Any = _NOTHING) -> None:
        super().__init__(reason)
        self.kept = kept


_DIGEST = _like(r"[0-9a-f]{0,128}", "digest")
_ALGORITHM = _like(r"[a-z0-9_]{0,16}", "name of an algorithm")
_STATE = _like(r"[a-z]{1,16}", "state")
_NAME = _text()
_SENTENCE = _text(LONGEST)
_PATHS = _list(_NAME)
_ID = _like("(?:[0-9a-f]{32})?", "id of a base")
_SENTENCES = _list(_SENTENCE, _MOST_TOLD)
_MOMENT = _like(r"(?:\d{4}-\d\d-\d\dT[0-9:.]{5,15}(?:Z|[+-]\d\d:\d\d)?)?", "time")
_TARBALL: dict[str, Read] = {
    "relpath": _relpath,
    "path": _NAME,
    "category": _NAME,
    "name": _NAME,
    "stamp": _stamp,
    "size": _whole,
    "dig": _DIGEST,
    "alg": _ALGORITHM,
    "base": _NAME,
    "base_dig": _DIGEST,
    "state": _STATE,
    "problem": _SENTENCE,
    "record": _record,
    "seconds": _number,
    "bytes": _whole,
    "wrong": _SENTENCE,
    "incomplete": _flag,
    "suspect": _list(_SENTENCE, _MOST_TOLD),
    "hold": _SENTENCE,
    "proved": _MOMENT,
}
_FOUND = ("relpath", "stamp", "size", "dig", "alg", "base", "base_dig", "state", "problem", "record")
_TARBALLS = _list(_tarball(_entry(_TARBALL, ("relpath",))))
_TREE: dict[str, Read] = {
    "source": _NAME,
    "base": _NAME,
    "problem": _SENTENCE,
    "origin": _entry({"base": _NAME, "id": _ID}),
    "keys": _PATHS,
    "accepted": _mapping(_stamp),
    "tarballs": _list(_tarball(_entry(_TARBALL, _FOUND))),
}
_PROVED: dict[str, Read] = {
    **_TARBALL,
    "kind": _NAME,
    "when": _MOMENT,
    "versions": _record,
    "facts": _record,
    "notes": _SENTENCES,
    "node": _NAME,
}
_CHOSEN: dict[str, Read] = {
    **_TARBALL,
    "kind": _NAME,
    "tarballs": _list(_entry({**_TARBALL, "dna": _either(_NAME, _record)}, ("relpath", "size"))),
}
_APART: dict[str, Read] = {
    "relpath": _relpath,
    **dict.fromkeys(("size", "read_size"), _whole),
    **dict.fromkeys(("dig", "read"), _DIGEST),
    "alg": _ALGORITHM,
    "told": _NAME,
    "reason": _SENTENCE,
    "since": _stamp,
}
_MEMBER: dict[str, Read] = {
    "relpath": _relpath,
    **dict.fromkeys(("path", "owner", "group", "target"), _NAME),
    **dict.fromkeys(("size", "mtime", "entries", "before"), _whole),
    "type": _like(r"[a-z ]{1,16}", "type of a member"),
    "mode": _like(r"[0-7]{4}", "mode"),
    "what": _like(r"added|removed|changed", "change"),
    "differs": _list(_like(r"[a-z]{1,16}", "difference"), 8),
}
_FAILURE: dict[str, Read] = {
    **dict.fromkeys(("node", "delegate", "stage", "category", "name", "relpath"), _NAME),
    "reason": _SENTENCE,
    "rc": _code,
    "stderr": _SENTENCE,
    "absent": _flag,
    "good": _stamp,
}
_PAIR: dict[str, Read] = {"id": _ID, "copies": _whole, "purged": _whole, "newest": _stamp, "run": _stamp}
_STEADY: dict[str, Read] = {"base": _NAME, **dict.fromkeys(("held", "needed", "free", "device"), _whole)}
_IDENTITY: dict[str, Read] = {
    "base": _NAME,
    "role": _like("source|target", "role of a node"),
    "name": _NAME,
    "id": _ID,
    "machine": _ID,
    "boot": _like(r"[\w-]{0,64}", "id of a boot"),
    "device": _whole,
    "inode": _whole,
}

SCHEMA: dict[str, Read] = {
    **dict.fromkeys(
        ("changed", "done", "listed", "discovered", "busy", "usable", "doubted", "refilled", "marks_kept"), _flag
    ),
    **dict.fromkeys(("bytes_read", "bytes_freed", "bytes_in_trash", "needed", "seconds"), _number),
    **dict.fromkeys(("free", "wire"), _either(_number, _mapping(_number))),
    **dict.fromkeys(("sent", "counts", "totals"), _mapping(_whole)),
    **dict.fromkeys(
        (
            "have",
            "linked",
            "send",
            "unwanted",
            "kept",
            "waiting",
            "removed",
            "put_back",
            "current",
            "in_trash",
            "unverified",
            "match",
            "mismatch",
            "missing",
            "malformed",
            "orphan",
            "without_dna",
            "unexpected",
            "incomplete",
            "reread",
            "healed",
            "left",
            "adopted",
            "held",
            "not_now",
            "uploaded",
            "replaced",
            "unreachable_peers",
            "unusable",
        ),
        _PATHS,
    ),
    **dict.fromkeys(("incoming", "destination", "aside", "marked"), _like(r"(?s:/.*)?", "absolute path")),
    "day": _NAME,
    "days": _list(_like(r"\d{4}/\d{2}/\d{2}", "day"), _MOST_TOLD),
    "relpaths": _mapping(_list(_relpath)),
    "store": _NAME,
    "locked_until": _mapping(_SENTENCE),
    **dict.fromkeys(("reasons", "suspects"), _mapping(_list(_SENTENCE, _MOST_TOLD))),
    "dnas": _mapping(_like(r"\w{1,16}:[0-9a-f]{1,128}:\d{1,20}", "digest and size")),
    "pair": _entry(_PAIR),
    "pairs": _mapping(_entry(_PAIR, tuple(_PAIR))),
    "facts": _record,
    "offered": _record,
    "proof": _record,
    "dna": _either(_record, _list(_record)),
    "absent": _mapping(_SENTENCE),
    "notes": _SENTENCES,
    "failures": _list(_entry(_FAILURE, ("reason",), whole=False), _MOST_TOLD),
    "lacking": _SENTENCES,
    "steady": _list(_entry(_STEADY, tuple(_STEADY)), _MOST_TOLD),
    "identities": _list(_entry(_IDENTITY, tuple(name for name in _IDENTITY if name != "machine")), _MOST_TOLD),
    "diff": _entry({"prepared": _lines}),
    "items": _list(_entry(dict.fromkeys(("kind", "name", "path"), _NAME), ("kind", "name", "path")), _MOST_ITEMS),
    "tarballs": _TARBALLS,
    "wrong": _TARBALLS,
    "judged": _TARBALLS,
    "rekeyed": _TARBALLS,
    "contents": _list(_entry(_MEMBER, ("relpath", "path"))),
    "newest": _TARBALLS,
    "quarantined": _list(_entry(_APART, ("relpath", "size", "dig", "alg")), _MOST_TOLD),
    "trees": _list(_entry(_TREE, ("source", "base", "tarballs")), _MOST_ITEMS),
    "chosen": _list(_entry(_CHOSEN, ("relpath", "tarballs"))),
    "proved": _list(_tarball(_entry(_PROVED, ("relpath",)))),
}
"""{key of a module's result: its reader}; other keys are not accepted from a node"""

_ANSIBLES_TEXTS = (
    "msg",
    "stderr",
    "stdout",
    "module_stderr",
    "module_stdout",
    "exception",
)
_ANSIBLES = ("failed", "rc", "invocation", "warnings", "deprecations", "timedout", "_ansible_parsed")
"""Keys of a module's result that Ansible itself reads; any other one, such as facts or a skip, is dropped"""


def read_result(result: Mapping[str, Any], stage: str = "") -> dict[str, Any]:
    """Return a call's result with all keys of SCHEMA read, and one more failure if any value was refused.

    A refused value is left out of its list, or its key. Keys outside SCHEMA stay as they were.
    """
    problems: dict[str, str] = {}
    read: dict[str, Any] = {}
    for key, value in result.items():
        if key in SCHEMA and value is not None:
            try:
                read[key] = SCHEMA[key](value)
            except Refused as error:
                problems[key] = str(error)
                if error.kept is not _NOTHING:
                    read[key] = error.kept
        elif key not in SCHEMA:
            read[key] = value
    if problems:
        told = "; ".join(f"{key} {problem}" for key, problem in problems.items())
        entry = failure(stage, f"{SAID}: {shortened(told, 1000)}")
        read["failures"] = [*read.get("failures", []), entry]
    return read


def read_value(key: str, value: Any) -> Any:
    """Return the acceptable part of a value for a key of SCHEMA, [] if there is none."""
    return read_result({key: value}).get(key, [])


def of_module(result: Mapping[str, Any], stage: str = "") -> dict[str, Any]:
    """Return a module's result reduced to keys of SCHEMA and to Ansible's own on how it ended, each within its bounds."""
    known = {key: value for key, value in result.items() if key in SCHEMA}
    ended = {key: result[key] for key in _ANSIBLES if key in result}
    for key in _ANSIBLES_TEXTS:
        value = result.get(key)
        if isinstance(value, str):
            ended[key] = value if len(value) <= LONGEST else value[-LONGEST:]
        elif value is not None and not isinstance(value, (Mapping, list, tuple, int, float)):
            ended[key] = value
    for key in ("warnings", "deprecations"):
        if key in ended:
            ended[key] = list(ended[key])[:20] if isinstance(ended[key], (list, tuple)) else []
    try:
        _record(ended.get("invocation") or {})
    except Refused:
        del ended["invocation"]
    if "rc" in ended and not isinstance(ended["rc"], int):
        del ended["rc"]
    for key in ("failed", "timedout"):
        if key in ended and not isinstance(ended[key], Mapping):
            ended[key] = bool(ended[key])
    return read_result({**known, **ended}, stage)
