"""Types and bounds of a module's results, whatever the node returns. Values outside them are dropped and become a failure of that node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...module_utils.tree.failures import failure
from .bounds import (
    LONGEST,
    NOTHING,
    Read,
    Refused,
    either,
    entry_of,
    list_of,
    mapping_of,
    read_code,
    read_flag,
    read_lines,
    read_number,
    read_record,
    read_relpath,
    read_stamp,
    read_whole,
    shortened,
    tarball_of,
    text_like,
    text_of,
)

SAID = "said what is no result"
_MOST_ITEMS = 10_000
_MOST_TOLD = 1000
"""Most failures or notes of one call"""
_DIGEST = text_like(r"[0-9a-f]{0,128}", "digest")
_ALGORITHM = text_like(r"[a-z0-9_]{0,16}", "name of an algorithm")
_STATE = text_like(r"[a-z]{1,16}", "state")
_NAME = text_of()
_SENTENCE = text_of(LONGEST)
_PATHS = list_of(_NAME)
_ID = text_like("(?:[0-9a-f]{32})?", "id of a base")
_SENTENCES = list_of(_SENTENCE, _MOST_TOLD)
_KEYS = list_of(text_like(r"(?:ssh|ecdsa|sk)-[A-Za-z0-9@.-]{1,64} [A-Za-z0-9+/=]{16,16384}", "public key"), 64)
_ANSWER: dict[str, Read] = {
    "address": text_like(r"[!-~]{0,256}", "address"),
    "does": text_like(r"(?:add|read)?", "thing that a key does"),
    "folder": _NAME,
    "landlock": read_whole,
    "rsync": read_flag,
    "key": text_like(r"(?:key(?:\.next)?)?", "name of a key"),
}
_MOMENT = text_like(r"(?:\d{4}-\d\d-\d\dT[0-9:.]{5,15}(?:Z|[+-]\d\d:\d\d)?)?", "time")
_TARBALL: dict[str, Read] = {
    "relpath": read_relpath,
    "path": _NAME,
    "category": _NAME,
    "name": _NAME,
    "stamp": read_stamp,
    "size": read_whole,
    "dig": _DIGEST,
    "alg": _ALGORITHM,
    "base": _NAME,
    "base_dig": _DIGEST,
    "state": _STATE,
    "problem": _SENTENCE,
    "record": read_record,
    "seconds": read_number,
    "bytes": read_whole,
    "wrong": _SENTENCE,
    "incomplete": read_flag,
    "suspect": list_of(_SENTENCE, _MOST_TOLD),
    "hold": _SENTENCE,
    "proved": _MOMENT,
}
_FOUND = ("relpath", "stamp", "size", "dig", "alg", "base", "base_dig", "state", "problem", "record")
_TARBALLS = list_of(tarball_of(entry_of(_TARBALL, ("relpath",))))
_TREE: dict[str, Read] = {
    "source": _NAME,
    "base": _NAME,
    "problem": _SENTENCE,
    "origin": entry_of({"base": _NAME, "id": _ID}),
    "keys": _PATHS,
    "accepted": mapping_of(read_stamp),
    "tarballs": list_of(tarball_of(entry_of(_TARBALL, _FOUND))),
}
_PROVED: dict[str, Read] = {
    **_TARBALL,
    "kind": _NAME,
    "when": _MOMENT,
    "versions": read_record,
    "facts": read_record,
    "notes": _SENTENCES,
    "node": _NAME,
}
_CHOSEN: dict[str, Read] = {
    **_TARBALL,
    "kind": _NAME,
    "tarballs": list_of(entry_of({**_TARBALL, "dna": either(_NAME, read_record)}, ("relpath", "size"))),
}
_APART: dict[str, Read] = {
    "relpath": read_relpath,
    **dict.fromkeys(("size", "read_size"), read_whole),
    **dict.fromkeys(("dig", "read"), _DIGEST),
    "alg": _ALGORITHM,
    "told": _NAME,
    "reason": _SENTENCE,
    "since": read_stamp,
}
_MEMBER: dict[str, Read] = {
    "relpath": read_relpath,
    **dict.fromkeys(("path", "owner", "group", "target"), _NAME),
    **dict.fromkeys(("size", "mtime", "entries", "before"), read_whole),
    "type": text_like(r"[a-z ]{1,16}", "type of a member"),
    "mode": text_like(r"[0-7]{4}", "mode"),
    "what": text_like(r"added|removed|changed", "change"),
    "differs": list_of(text_like(r"[a-z]{1,16}", "difference"), 8),
}
_FAILURE: dict[str, Read] = {
    **dict.fromkeys(("node", "delegate", "stage", "category", "name", "relpath"), _NAME),
    "reason": _SENTENCE,
    "rc": read_code,
    "stderr": _SENTENCE,
    "absent": read_flag,
    "good": read_stamp,
}
_PAIR: dict[str, Read] = {
    "id": _ID,
    "copies": read_whole,
    "purged": read_whole,
    "newest": read_stamp,
    "run": read_stamp,
}
_STEADY: dict[str, Read] = {"base": _NAME, **dict.fromkeys(("held", "needed", "free", "device"), read_whole)}
_IDENTITY: dict[str, Read] = {
    "base": _NAME,
    "role": text_like("source|target", "role of a node"),
    "name": _NAME,
    "id": _ID,
    "machine": _ID,
    "boot": text_like(r"[\w-]{0,64}", "id of a boot"),
    "device": read_whole,
    "inode": read_whole,
}

SCHEMA: dict[str, Read] = {
    **dict.fromkeys(
        ("changed", "done", "listed", "discovered", "busy", "usable", "doubted", "refilled", "marks_kept"), read_flag
    ),
    **dict.fromkeys(("bytes_read", "bytes_freed", "bytes_in_trash", "needed", "seconds"), read_number),
    **dict.fromkeys(("free", "wire"), either(read_number, mapping_of(read_number))),
    **dict.fromkeys(("sent", "counts", "totals"), mapping_of(read_whole)),
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
            "read_ahead",
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
    **dict.fromkeys(("public_keys", "host_keys"), _KEYS),
    "answer": entry_of(_ANSWER, whole=False),
    "refused": _SENTENCE,
    "sources": text_like(r"[!#-~]{0,4096}", "list of addresses"),
    "size": read_whole,
    "file_system": text_like(r"[\w.-]{0,64}", "type of a file system"),
    **dict.fromkeys(("incoming", "destination", "aside", "marked", "folder"), text_like(r"(?s:/.*)?", "absolute path")),
    "day": _NAME,
    "days": list_of(text_like(r"\d{4}/\d{2}/\d{2}", "day"), _MOST_TOLD),
    "relpaths": mapping_of(list_of(read_relpath)),
    "store": _NAME,
    "locked_until": mapping_of(_SENTENCE),
    **dict.fromkeys(("reasons", "suspects"), mapping_of(list_of(_SENTENCE, _MOST_TOLD))),
    "dnas": mapping_of(text_like(r"\w{1,16}:[0-9a-f]{1,128}:\d{1,20}", "digest and size")),
    "pair": entry_of(_PAIR),
    "pairs": mapping_of(entry_of(_PAIR, tuple(_PAIR))),
    "facts": read_record,
    "offered": read_record,
    "proof": read_record,
    "dna": either(read_record, list_of(read_record)),
    "absent": mapping_of(_SENTENCE),
    "notes": _SENTENCES,
    "failures": list_of(entry_of(_FAILURE, ("reason",), whole=False), _MOST_TOLD),
    "lacking": _SENTENCES,
    "steady": list_of(entry_of(_STEADY, tuple(_STEADY)), _MOST_TOLD),
    "identities": list_of(entry_of(_IDENTITY, tuple(name for name in _IDENTITY if name != "machine")), _MOST_TOLD),
    "diff": entry_of({"prepared": read_lines}),
    "items": list_of(entry_of(dict.fromkeys(("kind", "name", "path"), _NAME), ("kind", "name", "path")), _MOST_ITEMS),
    "tarballs": _TARBALLS,
    "wrong": _TARBALLS,
    "judged": _TARBALLS,
    "rekeyed": _TARBALLS,
    "contents": list_of(entry_of(_MEMBER, ("relpath", "path"))),
    "newest": _TARBALLS,
    "quarantined": list_of(entry_of(_APART, ("relpath", "size", "dig", "alg")), _MOST_TOLD),
    "trees": list_of(entry_of(_TREE, ("source", "base", "tarballs")), _MOST_ITEMS),
    "chosen": list_of(entry_of(_CHOSEN, ("relpath", "tarballs"))),
    "proved": list_of(tarball_of(entry_of(_PROVED, ("relpath",)))),
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
                if error.kept is not NOTHING:
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
        read_record(ended.get("invocation") or {})
    except Refused:
        del ended["invocation"]
    if "rc" in ended and not isinstance(ended["rc"], int):
        del ended["rc"]
    for key in ("failed", "timedout"):
        if key in ended and not isinstance(ended[key], Mapping):
            ended[key] = bool(ended[key])
    return read_result({**known, **ended}, stage)
