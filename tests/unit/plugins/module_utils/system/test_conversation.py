"""What readers say is read as data, and their errors are raised here."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import IO, Any

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.system.conversation import (
    Conversation,
    NeedsPlace,
    NeedsServer,
)
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import (
    AltbackupError,
    InvalidInput,
    ToolFailed,
)
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.system.readers import Identity, Readers
from ansible_collections.altbackup.core.plugins.module_utils.system.view import Place

OWNER = 54321


def ask(readers: Readers, function: Any, *arguments: Any, places: list[Place], **options: Any) -> Any:
    """Return the result of a function in a reader."""
    with readers.begin(function, *arguments, places=places, **{"owner": OWNER, **options}) as reader:
        return reader.conversation.result(Deadline(30, "test"))["value"]


def fail(identity: Identity, conversation: Conversation, stream: IO[bytes], name: str) -> None:
    """Raise an error."""
    raise {
        "InvalidInput": InvalidInput("bad"),
        "ToolFailed": ToolFailed("it failed", 3, "words"),
        "NeedsPlace": NeedsPlace("it leads out", "/elsewhere"),
        "NeedsServer": NeedsServer("it is in a server", {"password": "secret"}),
        "OSError": FileNotFoundError(2, "No such file or directory", "/a/file"),
        "KeyError": KeyError("surprise"),
    }[name]


@pytest.mark.parametrize(
    ("name", "kind", "attributes"),
    [
        ("InvalidInput", InvalidInput, {}),
        ("ToolFailed", ToolFailed, {"rc": 3, "stderr": "words"}),
        ("NeedsPlace", NeedsPlace, {"path": "/elsewhere"}),
        ("NeedsServer", NeedsServer, {"request": {"password": "secret"}, "args": ("it is in a server",)}),
        ("OSError", FileNotFoundError, {"filename": "/a/file", "errno": 2}),
        ("KeyError", AltbackupError, {}),
    ],
)
def test_error_of_a_reader_is_raised_here(
    readers: Readers, thing: Path, name: str, kind: type[Exception], attributes: dict[str, Any]
) -> None:
    with pytest.raises(kind) as caught:
        ask(readers, fail, name, places=[Place(str(thing))], owner=os.geteuid())
    assert type(caught.value) is kind
    assert {key: getattr(caught.value, key) for key in attributes} == attributes


def talk(identity: Identity, conversation: Conversation, stream: IO[bytes], text: bytes) -> None:
    """Send bytes that are not a message."""
    conversation.connection.sendall(text)
    time.sleep(30)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"\xff\xff\xff\xff", r"a reader said 4\.0 GiB, more than 64 MiB: nothing of it is used"),
        (b"\0\0\0\3[1]", "no message"),
        (b"\0\0\0\3{1}", "no JSON"),
        (b"\0\0\x40\0" + b"[" * 0x4000, "no JSON"),
    ],
)
def test_what_is_no_message_is_an_error(readers: Readers, thing: Path, text: bytes, expected: str) -> None:
    with pytest.raises(AltbackupError, match=expected):
        ask(readers, talk, text, places=[Place(str(thing))], owner=os.geteuid())
