"""The attempts as data: role, kind and stage of each, and what must be seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from attacks.ground import Ground

ROLES = ("user", "source", "target")
"""A local user of a source or a destination; root of a source; root of a target"""
STAGES = (
    "preflight", "dump", "check", "synchronize", "purge", "heal", "undo", "mark", "drill", "rekey", "restore", "adopt", "restore.sh", "list"
)  # fmt: skip
KINDS = ("svn", "trac", "git", "folder", "sqlite")


@dataclass(frozen=True)
class Attempt:
    """One attempt: what is laid, and how it is judged."""

    name: str
    """Also the name of its item, its folder and its canaries, so it must not occur in other messages"""
    role: str
    kinds: tuple[str, ...]
    stage: str
    tried: str
    scene: str
    lay: Callable[[Ground, str], None]
    judge: Callable[[Ground, str], Iterable[str]]
    """Returns what is wrong afterwards"""
    happened: Callable[[Ground, str], str] | None = None
    """Returns the table's text on what happened; by default the first message on it"""
    quick: bool = False


@dataclass(frozen=True)
class Scene:
    """Shared by attempts: the site before they are laid, the runs after that, and the conditions for everything that was not attacked."""

    name: str
    prepare: Callable[[Ground], None]
    play: Callable[[Ground], None]
    rest: Callable[[Ground], Iterable[str]]
    """Returns what is wrong with everything that was not attacked"""


ATTEMPTS: list[Attempt] = []
SCENES: dict[str, Scene] = {}


@dataclass
class Register:
    """Adds rows of one scene."""

    scene: str
    role: str
    stage: str
    judge: Callable[[Ground, str], Iterable[str]]
    happened: Callable[[Ground, str], str] | None = None
    quick: tuple[str, ...] = field(default=())

    def add(
        self,
        name: str,
        kinds: str,
        tried: str,
        lay: Callable[[Ground, str], None],
        judge: Callable[[Ground, str], Iterable[str]] | None = None,
        stage: str = "",
    ) -> None:
        """Add a row; `kinds` are words."""
        ATTEMPTS.append(
            Attempt(
                name,
                self.role,
                tuple(kinds.split()),
                stage or self.stage,
                tried,
                self.scene,
                lay,
                judge or self.judge,
                self.happened,
                name in self.quick,
            )
        )
