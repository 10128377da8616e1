"""Patterns of paths as Git has them in a `.gitignore`; see gitignore(5), and dir.c and wildmatch.c of Git, whose every turn is followed.

Paths and patterns are compared as bytes, and no pattern takes longer than the square of a path's length.
"""

from __future__ import annotations

import os
import re
import string
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..system.errors import InvalidInput
from ..system.paths import is_within

_LONGEST = 4096
_SHOWN = 120
"""Most characters of a pattern that a message shows"""
_SPECIAL = re.compile(rb"[*?\[\\]")
_CLASSES: dict[bytes, Callable[[int], bool]] = {
    b"alnum": lambda byte: chr(byte) in string.ascii_letters + string.digits,
    b"alpha": lambda byte: chr(byte) in string.ascii_letters,
    b"blank": lambda byte: byte in b" \t",
    b"cntrl": lambda byte: byte < 32 or byte == 127,
    b"digit": lambda byte: chr(byte) in string.digits,
    b"graph": lambda byte: 32 < byte < 127,
    b"lower": lambda byte: chr(byte) in string.ascii_lowercase,
    b"print": lambda byte: 32 <= byte < 127,
    b"punct": lambda byte: chr(byte) in string.punctuation,
    b"space": lambda byte: byte in b" \t\n\r\f\v",
    b"upper": lambda byte: chr(byte) in string.ascii_uppercase,
    b"xdigit": lambda byte: chr(byte) in string.hexdigits,
}
_STAR, _DEEP, _DEEP_OR_NOTHING = "*", "**", "**/"
_GAPS = {_DEEP: rb".*", _DEEP_OR_NOTHING: rb"(?:.*/)?"}
_LAZY_GAPS = {_DEEP: rb".*?", _DEEP_OR_NOTHING: rb"(?:.*?/)??"}


class _Never(Exception):
    """Why a pattern matches nothing at all."""


@dataclass(frozen=True)
class Pattern:
    """One pattern."""

    text: str
    negative: bool
    """Whether it takes back what an earlier one excludes"""
    folders_only: bool
    by_name: bool
    """Whether it is compared with the last part of a path alone"""
    matches: Callable[[bytes], object]


def compile_pattern(text: str) -> Pattern:
    """Compile a pattern as it is written. Raise InvalidInput, saying why, for one that cannot be meant."""
    try:
        return _compile(text)
    except _Never as error:
        raise InvalidInput(str(error)) from None


def _compile(text: str) -> Pattern:
    try:
        written = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise _Never("it is no UTF-8 text") from None
    _require_one_line(written)
    line = _without_trailing_spaces(written)
    negative = line.startswith(b"!")
    pattern = line[1:] if negative else line
    folders_only = pattern.endswith(b"/")
    pattern = pattern[:-1] if folders_only else pattern
    if not pattern:
        raise _Never("it names nothing; what is in the folder is /*")
    by_name = b"/" not in pattern
    pattern = pattern[1:] if pattern.startswith(b"/") else pattern
    _require_sense(pattern)
    start = _SPECIAL.search(pattern)
    literal = 0 if by_name else start.start() if start else len(pattern)
    # Git compares what stands before the first wildcard by itself, so that ** behind it stands at the beginning of the rest
    expression = _expression(pattern[:literal], _tokens(pattern[literal:]))
    return Pattern(text, negative, folders_only, by_name, re.compile(expression, re.DOTALL).match)


def _require_one_line(line: bytes) -> None:
    if b"\0" in line or b"\n" in line or b"\r" in line:
        raise _Never(
            "it holds a line break or a NUL byte; give each line as a pattern of its own, and ? for a line break in a name"
        )
    if len(line) > _LONGEST:
        raise _Never(f"it has {len(line)} bytes, more than any path")
    if line.startswith(b"#"):
        raise _Never("in a .gitignore it would be a comment; write \\# for a name that begins with #")


def _without_trailing_spaces(line: bytes) -> bytes:
    """Return a line without the spaces at its end, but for those behind a backslash."""
    match = re.fullmatch(rb"((?:\\.|[^\\])*?(?:\\.|[^\\ ])?) *", line, re.DOTALL)
    return match.group(1) if match else line


def _require_sense(pattern: bytes) -> None:
    """Raise _Never for what somebody has written who means another kind of patterns."""
    plain = re.sub(rb"\\.|\[[^]]*\]", b"x", pattern, flags=re.DOTALL)
    if re.search(rb"\{[^{}]*,[^{}]*\}", plain):
        raise _Never(
            "braces stand for themselves; write a pattern for each of what they list, or \\{ for a name with braces"
        )
    for part in pattern.split(b"/"):
        if part in (b".", b".."):
            instead = os.fsdecode(pattern[2:]) if pattern.startswith(b"./") and pattern[2:] else "NAME"
            raise _Never(
                f"no path has a part {part.decode()!r}, since paths begin in the folder; write /{instead} for what lies there"
            )
        if not part:
            raise _Never("no path has two slashes in a row")


def _tokens(pattern: bytes) -> Iterator[bytes | str]:
    """Yield what a pattern consists of: regular expressions of single bytes, or what stands for any number. Raise _Never."""
    at = 0
    while at < len(pattern):
        byte = pattern[at : at + 1]
        if byte == b"*":
            start = at
            at += len(pattern[at:]) - len(pattern[at:].lstrip(b"*"))
            rest = pattern[at : at + 2]
            apart = start == 0 or pattern[start - 1 : start] == b"/"
            deep = at - start > 1 and apart and (not rest or rest[:1] == b"/" or rest == b"\\/")
            if deep and rest[:1] == b"/":
                at += 1
                yield _DEEP_OR_NOTHING
            else:
                yield _DEEP if deep else _STAR
            continue
        at += 1
        if byte == b"\\":
            if at == len(pattern):
                raise _Never("it ends in a backslash, behind which something belongs; write \\\\ for a backslash")
            yield re.escape(pattern[at : at + 1])
            at += 1
        elif byte == b"[":
            wanted, at = _bracket(pattern, at)
            yield b"[" + b"".join(b"\\x%02x" % value for value in sorted(wanted)) + b"]"
        else:
            yield b"[^/]" if byte == b"?" else re.escape(byte)


def _bracket(pattern: bytes, at: int) -> tuple[set[int], int]:
    """Return the bytes that a bracket expression allows, and where it ends; `at` is the place behind its bracket. Raise _Never."""
    unclosed = _Never("it has a [ without its ]; write \\[ for a bracket")
    negated = pattern[at : at + 1] in (b"!", b"^")
    at += negated
    found: set[int] = set()
    before = 0
    first = True
    while first or pattern[at : at + 1] != b"]":
        first = False
        if at >= len(pattern):
            raise unclosed
        byte = pattern[at]
        if byte == ord("-") and before and at + 1 < len(pattern) and pattern[at + 1] != ord("]"):
            at += 1 + (pattern[at + 1] == ord("\\"))
            if at >= len(pattern):
                raise unclosed
            found.update(range(before, pattern[at] + 1))
            byte = 0
        elif pattern[at : at + 2] == b"[:":
            end = pattern.find(b"]", at + 2)
            if end < 0:
                raise unclosed
            name = pattern[at + 2 : end - 1]
            if end > at + 2 and pattern[end - 1] == ord(":"):
                if name not in _CLASSES:
                    raise _Never(f"there is no class of characters [:{os.fsdecode(name)}:]")
                found.update(filter(_CLASSES[name], range(256)))
                at, byte = end, 0
            else:
                found.add(byte)
        else:
            at += byte == ord("\\")
            if at >= len(pattern):
                raise unclosed
            byte = pattern[at]
            found.add(byte)
        before = byte
        at += 1
    allowed = (set(range(1, 256)) - found if negated else found) - {0, ord("/")}
    if not allowed:
        raise _Never("what stands in its brackets is no character of a name")
    return allowed, at + 1


def _expression(literal: bytes, tokens: Iterable[bytes | str]) -> bytes:
    """Return the regular expression of all that a pattern matches; `literal` stands before all tokens.

    What a `*` stands for is the shortest that lets what follows it match, and is never reconsidered, since no other one leaves
    more to the rest: (?=(...))N is that. The last one of what stands behind a `**` has to reach the end.
    """
    blocks: list[tuple[str, list[bytes]]] = [("", [re.escape(literal)])]
    for token in tokens:
        if token in (_DEEP, _DEEP_OR_NOTHING):
            blocks.append((str(token), [b""]))
        elif token == _STAR:
            blocks[-1][1].append(b"")
        else:
            blocks[-1][1][-1] += token  # type: ignore[operator]
    count = 0

    def settled(expression: bytes) -> bytes:
        nonlocal count
        count += 1
        return b"(?=(?P<s%d>%s))(?P=s%d)" % (count, expression, count)

    found = b""
    for number, (gap, chunks) in enumerate(blocks):
        last = number == len(blocks) - 1
        inner = chunks[1:-1] if last else chunks[1:]
        body = chunks[0] + b"".join(settled(b"[^/]*?" + chunk) for chunk in inner)
        if last:
            body += b"[^/]*" + chunks[-1] if len(chunks) > 1 else b""
            found += _GAPS.get(gap, b"") + body + rb"\Z"
        else:
            found += settled(_LAZY_GAPS[gap] + body) if gap else body
    return found


class Patterns:
    """A list of patterns, of which the last one that matches decides; those that matched nothing are known if they are `watched`."""

    def __init__(self, texts: Sequence[str], *, watched: bool = False) -> None:
        """Raise InvalidInput for a pattern that cannot be meant."""
        self._patterns = [compile_pattern(text) for text in texts]
        self._unseen = dict(enumerate(self._patterns)) if watched else {}

    def match(self, path: str, folder: bool) -> bool:
        """Return whether a path from the top is excluded, if the folders above it are not; `folder` tells whether it is a folder."""
        if not self._patterns:
            return False
        whole = os.fsencode(path)
        name = whole[whole.rfind(b"/") + 1 :]

        def is_matched(pattern: Pattern) -> bool:
            return (folder or not pattern.folders_only) and bool(pattern.matches(name if pattern.by_name else whole))

        for number in [number for number, pattern in self._unseen.items() if is_matched(pattern)]:
            del self._unseen[number]
        return not next((pattern.negative for pattern in reversed(self._patterns) if is_matched(pattern)), True)

    def unmatched(self) -> list[str]:
        """Return those that are watched and matched nothing so far."""
        return [pattern.text for pattern in self._unseen.values()]


def find_faults(texts: Sequence[str], top: str) -> list[str]:
    """Return a sentence for each pattern that cannot be meant; `top` is the path of the folder in which the patterns count."""
    faults = []
    for text in texts:
        try:
            compile_pattern(text)
            _require_inner(text, top)
        except InvalidInput as error:
            faults.append(f"{text[:_SHOWN]!r}{'...' * (len(text) > _SHOWN)} cannot be meant: {error}")
    return faults


def _require_inner(text: str, top: str) -> None:
    """Raise InvalidInput for a pattern that names the folder itself by its whole path."""
    path = text.lstrip("!")
    inner = path[len(top) :].strip("/")
    if top == "/" or not is_within(path, top) or not (inner or top.count("/") > 1):
        return
    if not inner:
        raise InvalidInput(
            "it is the item's own path, all of it: write what in it is to be excluded, such as /cache/, or remove the item"
        )
    raise InvalidInput(
        f"a first slash stands for the folder itself, {top}; write /{inner} for what lies there, "
        f"or {path[1:]}, without the first slash, for {top}{path}"
    )
