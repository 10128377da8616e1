"""What Ansible builds of a module in one run serves the next one of the same versions, and only from a folder that is this user's alone."""

from __future__ import annotations

import base64
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from ansible import constants
from helpers.original_trees import marked
from helpers.trees import needs_root

from ansible_collections.altbackup.core.plugins.plugin_utils.calls import payloads
from ansible_collections.altbackup.core.plugins.plugin_utils.calls.payloads import kept_payload

REPOSITORY = Path(__file__).parents[5]
NAME = "ansible_collections.altbackup.core.plugins.modules.tarball_dump-ZIP_DEFLATED-none"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return this user's folder for caches."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "DEFAULT_MODULE_UTILS_PATH", [str(tmp_path / "none")])
    return tmp_path / "cache"


def run_of(folder: Path, monkeypatch: pytest.MonkeyPatch, module: str = "tarball_dump", built: str = "built") -> str:
    """Make a call in a run of its own, in which a payload is built if there is none; return the one that it used."""
    folder.mkdir(exist_ok=True)
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(folder))
    path = folder / "ansiballz_cache" / NAME.replace("tarball_dump", module)
    with kept_payload(module):
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            path.write_text(built)
    return path.read_text()


def kept(cache: Path) -> list[str]:
    """Return the names of what is kept."""
    return sorted(path.name for path in cache.glob("altbackup/payloads/*/*"))


def test_the_next_run_uses_what_the_last_one_built(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_of(tmp_path / "one", monkeypatch) == "built"
    assert run_of(tmp_path / "two", monkeypatch, built="again") == "built"
    assert run_of(tmp_path / "three", monkeypatch, module="tarball_drill", built="other") == "other"
    assert kept(cache) == [NAME.replace("dump", "drill"), NAME]
    (folder,) = cache.glob("altbackup/payloads/*")
    assert [path.stat().st_mode & 0o077 for path in (folder, folder.parent, folder / NAME)] == [0, 0, 0]


def test_another_version_builds_its_own_and_forgets_what_is_old(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_of(tmp_path / "one", monkeypatch)
    (first,) = cache.glob("altbackup/payloads/*")
    monkeypatch.setattr(payloads, "_versions", lambda: "another")
    assert run_of(tmp_path / "two", monkeypatch, built="again") == "again"
    assert first.is_dir()
    os.utime(first, (1, 1))
    monkeypatch.setattr(payloads, "_versions", lambda: "a third")
    run_of(tmp_path / "three", monkeypatch)
    assert {path.name for path in first.parent.iterdir()} == {"another", "a third"}


def test_each_file_of_a_module_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = set()
    monkeypatch.setattr(payloads, "_ROOT", tmp_path)
    for text in ("a", "b"):
        for folder in ("plugins/module_utils/tree", "plugins/modules"):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / "file.py").write_text(text)
            payloads._versions.cache_clear()
            found.add(payloads._versions())
    payloads._versions.cache_clear()
    assert len(found) == 4


@pytest.mark.parametrize(
    "who",
    [
        "all can write",
        pytest.param("another user's", marks=needs_root),
        pytest.param("a link", marks=needs_root),
        "a file",
        "paths that replace imports",
        pytest.param("a home of another user's", marks=needs_root),
    ],
)
def test_a_folder_that_is_not_this_user_s_alone_is_not_used(
    who: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_of(tmp_path / "one", monkeypatch, built="good")
    (folder,) = cache.glob("altbackup/payloads/*")
    (folder / NAME).write_text("planted")
    if who == "all can write":
        folder.chmod(0o777)
    elif who == "another user's":
        os.chown(folder.parent, 65534, 65534)
    elif who == "a link":
        folder.rename(tmp_path / "elsewhere")
        os.chown(folder.parent, 65534, 65534)
        folder.symlink_to(tmp_path / "elsewhere")
    elif who == "a file":
        folder.rename(tmp_path / "elsewhere")
        folder.write_text("x")
    elif who == "a home of another user's":
        cache.chmod(0o700)
        uid = os.geteuid()
        os.seteuid(65534)
        try:
            assert payloads._folder() is None
        finally:
            os.seteuid(uid)
        return
    else:
        monkeypatch.setattr(constants, "DEFAULT_MODULE_UTILS_PATH", [str(tmp_path)])
    assert run_of(tmp_path / "two", monkeypatch, built="built") == "built"


@pytest.mark.full
@pytest.mark.parametrize("environment", ["newest", "oldest"])
def test_a_node_keeps_what_it_compiles_of_ansible_s_files_too(environment: str, tmp_path: Path) -> None:
    base = marked(tmp_path / "base")
    programs = {"newest": Path(sys.executable).parent, "oldest": REPOSITORY / ".venv-oldest" / "bin"}[environment]
    cache, place = tmp_path / "cache", tmp_path / "home"
    place.mkdir()
    given = {"HOME": str(place), "XDG_CACHE_HOME": str(cache), "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg")}
    counts = []
    for _ in range(3):
        argv = [programs / "ansible", "localhost", "-m", "altbackup.core.tarball_list", "-a", f"base={base}"]
        done = subprocess.run(
            argv, env={**os.environ, **given}, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0 and "ok=1" in done.stdout, done.stdout + done.stderr
        counts.append(len(list(cache.glob("altbackup/bytecode/*"))))
    assert counts[0] > 20, "those of this collection"
    assert counts[1] > counts[0] + 10, "and Ansible's, once the payload is kept"
    assert counts[1:] == [counts[1]] * 2


@pytest.mark.parametrize(
    "content", [b"", b"built", pickle.dumps({}), base64.b64encode(b"no archive"), b"csys\nnothing\n"]
)
def test_a_payload_in_a_form_that_nobody_knows_is_kept_as_it_is(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "payload"
    path.write_bytes(content)
    payloads._amend(path)
    assert path.read_bytes() == content
