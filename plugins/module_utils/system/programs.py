"""The programs of this node: where they are, which package has them, and in what environment they run."""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Iterator

from .errors import ToolMissing

PACKAGES = {
    "svnadmin": "subversion",
    "svnlook": "subversion",
    "git": "git",
    "hg": "mercurial",
    "mariadb": "mariadb-client",
    "mysql": "mariadb-client",
    "mariadbd": "mariadb-server-core",
    "mariadb-install-db": "mariadb-server-core",
    "mariadb-dump": "mariadb-client",
    "pg_dump": "postgresql-client",
    "pg_restore": "postgresql-client",
    "slapcat": "slapd",
    "slapadd": "slapd",
    "rsync": "rsync",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "tar": "tar",
    "zstd": "zstd",
    "age": "age",
    "age-keygen": "age",
    "gzip": "gzip",
    "pigz": "pigz",
    "setpriv": "util-linux",
    "ionice": "util-linux",
    "cp": "coreutils",
    "rclone": "rclone",
}
"""{program: its package in Debian and Ubuntu}"""
_PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/lib/postgresql*/bin", "/usr/local/pgsql/bin")
"""Where PostgreSQL's own programs lie that are not in PATH"""
_ALIKE = {"mariadb-dump": ("mysqldump",)}
"""{client of a server: programs that are to be called in its place, by the make and the age of that server}"""
_SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


def search_path() -> str:
    """Return PATH followed by the system's folders, because cron's PATH is short."""
    folders = [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if os.path.isabs(folder)]
    return os.pathsep.join(dict.fromkeys([*folders, *_SYSTEM_FOLDERS]))


def system_path() -> str:
    """Return the PATH of the system's folders alone."""
    return os.pathsep.join(_SYSTEM_FOLDERS)


def find_tool(name: str) -> str:
    """Return the path of a program. Raise ToolMissing, which names the package to install."""
    path = shutil.which(name, path=search_path())
    if path is None:
        raise _missing(name)
    return path


def postgresql_programs(name: str) -> Iterator[str]:
    """Yield the paths of a program of PostgreSQL's, in folders of its own and in PATH, but not Debian's wrapper that chooses among versions."""
    own = [folder for pattern in _PLACES for folder in sorted(glob.glob(pattern))]
    for folder in [*own, *search_path().split(os.pathsep)]:
        path = os.path.join(folder, name)
        if os.access(path, os.X_OK) and os.path.basename(os.path.realpath(path)) != "pg_wrapper":
            yield path


def find_installed(name: str) -> str:
    """Return the path of a program as whoever needs it would find it, be it in its server's own folder or another that serves. Raise ToolMissing."""
    served = (shutil.which(each, path=search_path()) for each in (name, *_ALIKE.get(name, ())))
    path: str | None = next(postgresql_programs(name) if name.startswith("pg_") else filter(None, served), None)
    if path is None:
        raise _missing(name)
    return path


def _missing(name: str) -> ToolMissing:
    return ToolMissing(f"{name} is not installed on this node: install the package {PACKAGES.get(name, name)}")


def clean_environment(**more: str) -> dict[str, str]:
    """Return the environment for children: nothing of the login shell, messages in English, names as UTF-8."""
    return {"PATH": search_path(), "LC_ALL": "C.UTF-8", "TZ": "UTC", "HOME": "/nonexistent", **more}


def inherited_environment(*names: str) -> dict[str, str]:
    """Return those of the named environment variables that are set in this process, for a child."""
    return {name: os.environ[name] for name in names if name in os.environ}
