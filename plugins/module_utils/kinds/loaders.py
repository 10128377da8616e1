"""The loaders of the kinds that come back into servers; each file is read when it is asked for."""

from __future__ import annotations

from .into import Loader


def _postgresql() -> Loader:
    from .postgresql_load import LOADER

    return LOADER


def _mysql() -> Loader:
    from .mysql_load import LOADER

    return LOADER


def _ldap() -> Loader:
    from .ldap_load import LOADER

    return LOADER


_LOADERS = {"postgresql": _postgresql, "mysql": _mysql, "ldap": _ldap}


def loader_of(kind: str) -> Loader:
    """Return what loads the tarballs of a kind, one of into.KEYS."""
    return _LOADERS[kind]()
