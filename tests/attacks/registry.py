"""The attempts as data: who tries what, against which kind and stage, and what must be seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from attacks.ground import Ground

ROLES = ("user", "source", "target")
"""A local user of a source or a destination; root of a source; root of a target"""
STAGES = (
    "preflight", "dump", "check", "synchronize", "purge", "heal", "undo", "mark", "drill", "restore", "adopt", "restore.sh", "list"
)  # fmt: skip
KINDS = ("svn", "trac", "git", "folder", "sqlite")


@dataclass(frozen=True)
class Attempt:
    """One row: what is laid, and how it is judged."""

    name: str
    """Also the name of its item, its folder and its canaries: words of its own in all that is said"""
    role: str
    kinds: tuple[str, ...]
    stage: str
    tried: str
    scene: str
    lay: Callable[[Ground, str], None]
    judge: Callable[[Ground, str], Iterable[str]]
    """Return what is not as it must be"""
    happened: Callable[[Ground, str], str] | None = None
    """Return what the table says that happened; else the first words on it"""
    quick: bool = False


@dataclass(frozen=True)
class Scene:
    """What attempts share: the site before they are laid, the runs after that, and what must be true of all the rest."""

    name: str
    prepare: Callable[[Ground], None]
    play: Callable[[Ground], None]
    rest: Callable[[Ground], Iterable[str]]
    """Return what is not as it must be with what nobody attacked"""


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
