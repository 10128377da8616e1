"""Patterns match as Git's do, and patterns that cannot be meant are reported."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.kinds.patterns import (
    Patterns,
    compile_pattern,
    find_faults,
)
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput

NAMES = ("a", "b", "ab", "abc", "a.c", "x-y", "[a]", "a b", "a\\b", "é", "*", "!a", "#b", "A", "a,b", "{a,b}", "tail ")
ATOMS = (
    *(
        "a",
        "b",
        "c",
        "ab",
        "/",
        "/",
        "*",
        "*",
        "**",
        "**/",
        "/**",
        "?",
        "[ab]",
        "[!a]",
        "[a-c]",
        "[^b-]",
        "[]a]",
        "[[:alpha:]]",
    ),
    *(
        "[a/b]",
        "\\a",
        "\\*",
        "\\[",
        "\\/",
        "\\\\",
        " ",
        ".",
        "-",
        "é",
        "!",
        "[",
        "{",
        "}",
        ",",
        "[[:x:]]",
        "[b-a]",
        "#",
    ),
)
ONCE = 100
"""Lists of patterns in one test"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "--quiet", tmp_path / "repository"], check=True)
    return tmp_path / "repository"


def grow(top: Path, chance: random.Random, depth: int = 0) -> None:
    for name in chance.sample(NAMES, 6 if depth < 3 else 3):
        if depth < 3 and chance.random() < 0.5:
            (top / name).mkdir(exist_ok=True)
            grow(top / name, chance, depth + 1)
        elif not (top / name).exists():
            (top / name).touch()


def look_at(top: Path) -> list[tuple[str, bool]]:
    found = []
    for parent, folders, files in os.walk(top):
        if parent == str(top):
            folders.remove(".git")
        found += [(os.path.relpath(os.path.join(parent, name), top), name in folders) for name in [*folders, *files]]
    return sorted(found)


def git_ignores(repository: Path, lines: Sequence[str], paths: Sequence[tuple[str, bool]]) -> set[str]:
    (repository / ".git" / "info" / "exclude").write_text("".join(f"{line}\n" for line in lines))
    command = ["git", "-C", repository, "check-ignore", "--no-index", "-z", "--stdin"]
    done = subprocess.run(command, input="\0".join(path for path, _ in paths), capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    return set(done.stdout.split("\0")[:-1])


def are_excluded(lines: Sequence[str], paths: Sequence[tuple[str, bool]]) -> set[str]:
    patterns = Patterns(lines)
    excluded: set[str] = set()
    for path, folder in paths:
        if os.path.dirname(path) in excluded or patterns.match(path, folder):
            excluded.add(path)
    return excluded


def is_good(line: str) -> bool:
    try:
        compile_pattern(line)
        return True
    except InvalidInput:
        return False


@pytest.mark.sampled(10)
@pytest.mark.parametrize("seed", range(10))
def test_random_patterns_exclude_what_git_ignores(repository: Path, seed: int) -> None:
    chance = random.Random(seed)
    grow(repository, chance)
    paths = look_at(repository)
    tried = 0
    while tried < ONCE:
        lines = []
        for _ in range(chance.choice([1, 1, 2, 3])):
            body = "".join(chance.choice(ATOMS) for _ in range(chance.randint(1, 6)))
            lines.append(f"{'!' * (chance.random() < 0.2)}{body}{'/' * (chance.random() < 0.2)}")
        refused = [line for line in lines if not is_good(line)]
        kept = [line for line in lines if line not in refused]
        if kept:
            assert are_excluded(kept, paths) == git_ignores(repository, kept, paths), kept
            tried += 1
        silent = [line for line in refused if "//" not in line and not ("{" in line and "}" in line)]
        assert not git_ignores(repository, silent, paths), silent


@pytest.mark.parametrize(
    ("pattern", "path", "folder", "expected"),
    [
        ("*.tmp", "a/b.tmp", False, True),
        ("*.tmp", "a/b.tmpx", False, False),
        ("cache/", "deep/cache", True, True),
        ("cache/", "deep/cache", False, False),
        ("/cache", "cache", True, True),
        ("/cache", "deep/cache", True, False),
        ("a/*.tmp", "a/b/c.tmp", False, False),
        ("a/*/c", "x/a/b/c", False, False),
        ("**/tmp", "tmp", True, True),
        ("**/tmp", "a/b/tmp", True, True),
        ("a/**/c", "a/c", False, True),
        ("a/**", "a", True, False),
        ("[ab]?", "a1", False, True),
        ("A", "a", False, False),
        ("*", "new\nline", False, True),
        ("?", "é", False, False),  # Git compares bytes
        ("name ", "name", False, True),
        ("name\\ ", "name ", False, True),
    ],
)
def test_pattern(pattern: str, path: str, folder: bool, expected: bool) -> None:
    assert Patterns([pattern]).match(path, folder) is expected


def test_last_pattern_decides() -> None:
    patterns = Patterns(["*.log", "!keep.log", "/sub/keep.log"])
    asked = ("a.log", "keep.log", "sub/keep.log", "other")
    assert [patterns.match(path, False) for path in asked] == [True, False, True, False]


def test_what_matched_nothing_is_known() -> None:
    patterns = Patterns(["*.log", "!keep.log", "none", "folder/"], watched=True)
    assert patterns.unmatched() == ["*.log", "!keep.log", "none", "folder/"]
    for path in ("keep.log", "folder"):
        patterns.match(path, False)
    assert patterns.unmatched() == ["none", "folder/"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("./tmp", "write /tmp for what lies there"),
        ("a/./b", "no path has a part '.'"),
        ("../other", "no path has a part '..'"),
        (".", "no path has a part '.'"),
        ("a//b", "two slashes in a row"),
        ("/", "it names nothing"),
        ("!", "it names nothing"),
        ("   ", "it names nothing"),
        ("{a,b}", "braces stand for themselves"),
        ("/x/*.{jpg,png}", "braces stand for themselves"),
        ("#backup#", "it would be a comment; write \\#"),
        ("a\nb", "a line break"),
        ("a\0b", "a NUL byte"),
        ("[abc", "a [ without its ]"),
        ("[[:letters:]]", "no class of characters [:letters:]"),
        ("[/]", "no character of a name"),
        ("a\\", "ends in a backslash"),
        ("a\\/", "ends in a backslash"),
        ("x" * 4097, "more than any path"),
        ("\ud800", "no UTF-8 text"),
        ("/srv/site/cache", "write /cache for what lies there, or srv/site/cache, without the first slash"),
        ("!/srv/site/cache", "a first slash stands for the folder itself, /srv/site"),
        ("/srv/site", "it is the item's own path, all of it"),
        ("!/srv/site/", "it is the item's own path, all of it"),
    ],
)
def test_what_cannot_be_meant(pattern: str, expected: str) -> None:
    (fault,) = find_faults([pattern, "*.good"], "/srv/site")
    assert expected in fault
    assert "cannot be meant: " in fault


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("\\{a,b}", "{a,b}"),
        ("{guid}", "{guid}"),
        ("\\#x#", "#x#"),
        ("\\!x", "!x"),
        ("[{],}", "{,}"),
        ("srv/site/cache", "srv/site/cache"),
        ("/srv/sitemap", "srv/sitemap"),
        ("/other/cache", "other/cache"),
    ],
)
def test_what_can_be_meant(pattern: str, path: str) -> None:
    assert find_faults([pattern], "/srv/site") == []
    assert Patterns([pattern]).match(path, False)


def test_folder_of_the_same_name_in_the_folder_can_be_meant() -> None:
    assert find_faults(["/data", "/data/"], "/data") == []
    assert find_faults(["/etc/ssh"], "/") == []


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*a" * 60 + "b", "a" * 255),
        ("/" + "*a" * 60 + "b", "a" * 255),
        ("/**" + "/*a*a*a" * 10 + "/**/b", ("a" * 30 + "/") * 130 + "c"),
        ("**/" * 20 + "a*b", "a/" * 2000 + "c"),
        ("**/a*a*a*a*b", "a" * 255 + ("/" + "a" * 255) * 14),
    ],
)
def test_no_pattern_takes_for_ever(pattern: str, path: str) -> None:
    """Trying each way in which these might match would take years."""
    assert not Patterns([pattern]).match(path, False)
