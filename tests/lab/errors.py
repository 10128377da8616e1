"""What can go wrong in a lab."""

from __future__ import annotations


class LabError(Exception):
    """A lab or one of its hosts did not do what was asked."""


class NamespacesNeeded(LabError):
    """The function needs network namespaces, and this lab runs on loopback ports."""
