"""Errors of an inventory, each reported once with all hosts that it concerns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Errors:
    """Errors of an inventory, in the order in which they were found."""

    hosts: Sequence[str]
    general: list[str] = field(default_factory=list)
    """Sentences that do not concern a single variable of a host"""
    found: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    """{(variable, error): hosts}"""

    def add(self, host: str, variable: str, text: str) -> None:
        """Add an error of a host's variable."""
        where = self.found.setdefault((variable, text), [])
        if host not in where:
            where.append(host)

    def has(self, variable: str, host: str = "") -> bool:
        """Return whether a variable has an error, on the host if one is given."""
        return any(name == variable and (not host or host in where) for (name, _), where in self.found.items())

    def sentences(self) -> list[str]:
        """Return all errors as sentences."""
        return [
            *self.general,
            *(f"{self._where(where)}: {variable} {text}" for (variable, text), where in self.found.items()),
        ]

    def _where(self, where: Sequence[str]) -> str:
        if len(self.hosts) > 1 and len(where) == len(self.hosts):
            return "all hosts"
        return ", ".join(where)
