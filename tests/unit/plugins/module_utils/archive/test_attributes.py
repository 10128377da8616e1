"""Extended attributes that only root may set: which are read from headers, and where they are set."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.trees import needs_root

from ansible_collections.altbackup.core.plugins.module_utils.archive.attributes import Attributes

CAPABILITY = b"\1\0\0\2\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
"""cap_net_raw, permitted and effective"""


def member(name: str, **attributes: bytes) -> Any:
    """Return a member of an archive with attributes; a double underscore in a name stands for a dot."""
    headers = {f"SCHILY.xattr.{key.replace('__', '.')}": value for key, value in attributes.items()}
    return SimpleNamespace(
        name=name, pax_headers={key: os.fsdecode(value) for key, value in headers.items()} | {"mtime": "1.5"}
    )


def given(*members: Any, folder: Path, special_modes: bool = False) -> list[str]:
    """Set the attributes of members below a folder; return the refused ones."""
    with Attributes() as attributes:
        for each in members:
            attributes.add(each)
        attributes.apply(str(folder), special_modes=special_modes)
        return attributes.refused()


def attributes_of(path: Path) -> dict[str, bytes]:
    """Return the attributes of a file itself, not of a link's target."""
    names = os.listxattr(path, follow_symlinks=False)
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in names}


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A folder in which a tar has unpacked a file and a link."""
    (tmp_path / "top" / "sub").mkdir(parents=True)
    (tmp_path / "top" / "sub" / "file").write_text("x")
    (tmp_path / "top" / "link").symlink_to("sub/file")
    return tmp_path / "top"


@needs_root
@pytest.mark.parametrize("special_modes", [False, True])
def test_those_of_root_are_set_and_capabilities_only_where_asked_for(top: Path, special_modes: bool) -> None:
    both = member("sub/file", trusted__mark=b"\0\xff\n=", security__capability=CAPABILITY, user__plain=b"tar sets it")
    assert given(both, folder=top, special_modes=special_modes) == []
    capability = {"security.capability": CAPABILITY} if special_modes else {}
    assert attributes_of(top / "sub" / "file") == {"trusted.mark": b"\0\xff\n=", **capability}


@needs_root
def test_the_signs_that_tar_encodes_in_names_come_back(top: Path) -> None:
    path = top / "sub" / "file"
    encoded = SimpleNamespace(name="./sub//file", pax_headers={"SCHILY.xattr.trusted.a%3Db%253D": "1"})
    assert given(encoded, folder=top) == []
    assert attributes_of(path) == {"trusted.a=b%3D": b"1"}


@needs_root
def test_a_link_has_its_own_and_leads_nowhere(top: Path) -> None:
    (top / "away").symlink_to("sub")
    members = [member("link", trusted__mark=b"1"), member("away/file", trusted__mark=b"2"), member("gone")]
    assert given(*members, member("gone", trusted__mark=b"3"), folder=top) == []
    assert attributes_of(top / "link") == {"trusted.mark": b"1"}
    assert attributes_of(top / "sub" / "file") == {}, "no link of a path is followed"


def test_what_is_refused_is_told_once_for_each_reason(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, name: str, *_: Any, **__: Any) -> None:
        number = errno.EOPNOTSUPP if name.startswith("trusted.") else errno.EINVAL
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "setxattr", refuse)
    members = [member(name, trusted__mark=b"x", security__selinux=b"a:b:c:s0\0") for name in ("sub/file", "link")]
    assert given(members[0], folder=top) == [
        "trusted.mark of sub/file could not be set: Operation not supported",
        "security.selinux of sub/file could not be set: Invalid argument",
    ]
    assert given(*members, folder=top) == [
        "trusted.mark of sub/file and 1 more could not be set: Operation not supported",
        "security.selinux of sub/file and 1 more could not be set: Invalid argument",
    ]
