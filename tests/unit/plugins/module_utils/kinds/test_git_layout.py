"""The layout of Git repositories: what is a repository of its own, what is data, and where a `.git` file leads."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.repositories import make_git

from ansible_collections.altbackup.core.plugins.module_utils.kinds.git_layout import (
    Outside,
    find_repositories,
    whereabouts,
)
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline

REPOSITORIES = ["", "modules/a", "modules/a/modules/b", "modules/libs/c", "worktrees/w/modules/a"]


def test_repositories_are_found_wherever_git_puts_them(tmp_path: Path) -> None:
    for path in REPOSITORIES:
        make_git(tmp_path / "top" / path, 0)
    make_git(tmp_path / "elsewhere" / "repository", 0)
    (tmp_path / "top" / "modules" / "link").symlink_to(tmp_path / "elsewhere" / "repository")
    (tmp_path / "top" / "modules" / "libs" / "link").symlink_to(tmp_path / "elsewhere")
    make_git(tmp_path / "top" / "hooks" / "no-submodule", 0)
    assert find_repositories(str(tmp_path / "top"), Deadline(60)) == REPOSITORIES
    (tmp_path / "top" / "modules" / "libs" / "c" / "HEAD").unlink()
    with pytest.raises(InvalidInput, match="modules/libs/c was the repository of a submodule, but is none"):
        find_repositories(str(tmp_path / "top"), Deadline(60))


@pytest.mark.parametrize(
    ("path", "outside"),
    [
        ("objects", True),
        ("refs", True),
        ("HEAD", True),
        ("packed-refs", True),
        ("index", True),
        ("index.lock", True),
        ("gitk.cache", True),
        ("sharedindex.0123", True),
        ("lfs", True),
        ("worktrees/w/index", True),
        ("worktrees/w/index.lock", True),
        ("worktrees/w/refs/bisect/bad.lock", True),
        ("logs/refs/heads/main.lock", True),
        ("modules/a", True),
        ("worktrees/w/modules/a", True),
        ("index.html", False),
        ("worktrees/w.lock", False),
        ("worktrees/w/HEAD", False),
        ("worktrees/w/refs", False),
        ("worktrees/w/locked", False),
        ("modules", False),
        ("modules/libs", False),
        ("modules/ab", False),
        ("custom_hooks/index", False),
        ("custom_hooks/Gemfile.lock", False),
        ("custom_hooks/objects", False),
        ("ORIG_HEAD", False),
        ("HEADLINE", False),
    ],
)
def test_what_is_no_data(path: str, outside: bool) -> None:
    assert Outside(REPOSITORIES, "", table=False)(path, True) is outside


def test_what_is_no_data_of_a_submodule() -> None:
    tells = Outside(REPOSITORIES, "modules/a", table=False)
    assert tells("modules/b", True) and not tells("modules/a", True) and not tells("modules", True)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("/a/.git/worktrees/w", "is not a Git repository but, as it says, a linked worktree of the repository /a: "),
        (
            "/srv/x.git/worktrees/w",
            "is not a Git repository but, as it says, a linked worktree of the repository /srv/x.git: ",
        ),
        (
            "/srv/modules/s/.git/modules/x",
            "is not a Git repository but, as it says, a checkout of a submodule of the repository /srv/modules/s: ",
        ),
        (
            "/s/.git/modules/libs/foo",
            "is not a Git repository but, as it says, a checkout of a submodule of the repository /s: ",
        ),
        (
            "/s/.git/modules/a/modules/b",
            "is not a Git repository but, as it says, a checkout of a submodule of the repository /s: ",
        ),
        (
            "/s/.git/modules/a/worktrees/w",
            "is not a Git repository but, as it says, a linked worktree of the repository /s: ",
        ),
        (
            "/s/.git/worktrees/w/modules/a",
            "is not a Git repository but, as it says, a checkout of a submodule of the repository /s: ",
        ),
        (
            "/srv/modules/repository",
            "is not a Git repository but, as it says, the working tree of /srv/modules/repository: ",
        ),
        ("../kept", "is not a Git repository but, as it says, the working tree of {}/kept: "),
        ("/a\n/b", "is not a Git repository but, as it says, the working tree of /a: "),
    ],
)
def test_where_a_file_leads(tmp_path: Path, target: str, said: str) -> None:
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / ".git").write_text(f"gitdir: {target}\n")
    assert whereabouts(str(tmp_path / "w")).startswith(said.format(tmp_path))


@pytest.mark.parametrize("text", ["", "gitdir:", "gitdir: ", "x" * 100_000, "\0"])
def test_file_that_leads_nowhere(tmp_path: Path, text: str) -> None:
    (tmp_path / ".git").write_text(text)
    assert whereabouts(str(tmp_path)) == ""
