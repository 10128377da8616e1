"""Conversations between a reader and its client: messages in JSON, results and errors among them."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Any

from . import errors
from .errors import AltbackupError, SourceChanged, ToolFailed
from .processes import Deadline
from .seeing import denied
from .units import told_apart

_LONGEST = 64 << 20
"""Most bytes of a message with what is known of an item, such as the rows of each of its tables"""
HEADER = struct.Struct("!I")


class NeedsPlace(AltbackupError):
    """A thing leads to a path outside itself, without which it cannot be read."""

    def __init__(self, message: str, path: str = "", optional: bool = False) -> None:
        """With `optional` it can be read without that path if nothing is there."""
        super().__init__(message)
        self.path = path
        self.optional = optional


class NeedsServer(AltbackupError):
    """A part of a thing is in a server, which a reader in a view cannot come to."""

    def __init__(self, message: str, request: Mapping[str, Any] | None = None) -> None:
        """The request is for the kind's `serve`; it may hold a password, and is shown nowhere."""
        super().__init__(message)
        self.request = request or {}


class Conversation:
    """Messages between a reader and its client: JSON, each behind its length."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message. Raise OSError if the other side is gone."""
        text = json.dumps(message).encode()
        self.connection.sendall(HEADER.pack(len(text)) + text)

    def receive(self, deadline: Deadline | None = None) -> dict[str, Any]:
        """Return the next message. Raise AltbackupError if there is none or it is invalid, DeadlineExceeded if none comes in time."""
        size = HEADER.unpack(self._read(HEADER.size, deadline))[0]
        if size > _LONGEST:
            shown, most = told_apart(size, _LONGEST)
            raise AltbackupError(f"a reader said {shown}, more than {most}: nothing of it is used")
        try:
            message = json.loads(self._read(size, deadline))
        except (ValueError, RecursionError) as error:
            raise AltbackupError(f"a reader said what is no JSON: {type(error).__name__}") from error
        if not isinstance(message, dict):
            raise AltbackupError("a reader said what is no message")
        return message

    def result(self, deadline: Deadline | None = None) -> Any:
        """Return the value of the next message. Raise the error in it, or those of `receive`."""
        message = self.receive(deadline)
        if "error" in message:
            raise _restored(message)
        return message.get("value")

    def _read(self, size: int, deadline: Deadline | None) -> bytes:
        parts: list[bytes] = []
        while size:
            left = None if deadline is None else deadline.remaining()
            self.connection.settimeout(left)
            try:
                part = self.connection.recv(min(size, 1 << 20))
            except socket.timeout:
                continue  # the next round raises DeadlineExceeded
            except ConnectionError:
                part = b""
            if not part:
                if deadline is not None:
                    deadline.remaining()
                raise AltbackupError("the process that read it was killed before it had said what it found")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


def answer(conversation: Conversation, function: Callable[[], Any]) -> None:
    """Send the value of a function, or the error that it raises."""
    try:
        message = {"value": function()}
    except AltbackupError as error:
        message = {"error": type(error).__name__, "message": str(error), **_details(error)}
    except OSError as error:
        message = {"error": "OSError", "message": error.strerror or str(error), "errno": error.errno}
        filename = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else None
        if (
            filename and error.errno == errno.EACCES
        ):  # the client is another user, and could not say which right is missing
            message["message"], filename = denied(filename), None
        message["filename"] = filename
    except Exception as error:  # noqa: BLE001 (a bug that one item meets is reported, and stops no other)
        message = {"error": "AltbackupError", "message": f"unexpected {type(error).__name__}: {error}"}
    with contextlib.suppress(OSError):
        conversation.send(message)


def _details(error: AltbackupError) -> dict[str, Any]:
    return {
        name: getattr(error, name)
        for name in ("rc", "stderr", "path", "optional", "paths", "request")
        if hasattr(error, name)
    }


def _restored(message: Mapping[str, Any]) -> Exception:
    """Return the error in a message."""
    name, text = str(message["error"]), str(message.get("message", ""))
    if name == "OSError":
        number, filename = message.get("errno"), message.get("filename")
        return OSError(number if isinstance(number, int) else 0, text, filename)
    if name == "ToolFailed":
        rc = message.get("rc")
        return ToolFailed(text, rc if isinstance(rc, int) else None, str(message.get("stderr", "")))
    if name == "NeedsPlace":
        return NeedsPlace(text, str(message.get("path", "")), bool(message.get("optional")))
    if name == "NeedsServer":
        request = message.get("request")
        return NeedsServer(text, request if isinstance(request, dict) else {})
    if name == "SourceChanged":
        paths = message.get("paths")
        return SourceChanged(text, [str(path) for path in paths] if isinstance(paths, list) else [])
    kind = getattr(errors, name, AltbackupError)
    return kind(text) if isinstance(kind, type) and issubclass(kind, AltbackupError) else AltbackupError(text)
