"""Texts that mails and logs can hold, whatever a result contained: valid Unicode, no control characters, bounded."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ...module_utils.system.visible import visible

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")


def clean(value: Any, limit: int = 0) -> str:
    """Return any value as text without control characters, cut in its middle to about `limit` characters; 0 is no limit."""
    if isinstance(value, (bytes, bytearray)):
        value = bytes(value[: limit + 1] if limit else value).decode("utf-8", "backslashreplace")
    elif isinstance(value, (Mapping, list, tuple)):
        value = _json(value)
    text = value if isinstance(value, str) else str(value)
    if limit and len(text) > limit:
        text = cut(text, limit)
    return visible(_ESCAPES.sub("", text).replace("\r\n", "\n").replace("\r", "\n"))


def one_line(value: Any, limit: int = 300) -> str:
    """Return any value as one line of at most `limit` characters."""
    line = " ".join(clean(value, 4 * limit).split())
    return line if len(line) <= limit else f"{line[: limit - 1].rstrip()}…"


def cut(text: str, limit: int) -> str:
    """Return the text, its middle replaced by a note on how many characters are left out if it has more than `limit`."""
    if len(text) <= limit:
        return text
    head = max(limit // 3, 1)
    tail = max(limit - head, 1)
    return f"{text[:head]}\n[... {len(text) - head - tail:,} characters left out ...]\n{text[-tail:]}"


def last_lines(value: Any, limit: int, lines: int = 40) -> str:
    """Return the last lines of a program's output, at most about `limit` characters."""
    raw = value if isinstance(value, (str, bytes, bytearray)) else clean(value)
    text = clean(raw[-4 * limit :]).rstrip()
    kept = "\n".join(text.split("\n")[-lines:])[-limit:]
    left_out = len(raw) > 4 * limit or len(kept) < len(text)
    return f"[... the beginning is left out ...]\n{kept}" if left_out and kept else kept


def _json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, indent=1, default=str)
    except (TypeError, ValueError, RecursionError):
        return repr(value)
