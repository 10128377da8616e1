"""Errors of a lab."""

from __future__ import annotations


class LabError(Exception):
    """A lab or one of its hosts failed to do what was requested."""


class NamespacesNeeded(LabError):
    """The function needs network namespaces, and this lab runs on loopback ports."""
