"""The programs of this node: where they are, which package has them, and in what environment they run."""

from __future__ import annotations

import os
import shutil

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
        raise ToolMissing(f"{name} is not installed on this node: install the package {PACKAGES.get(name, name)}")
    return path


def clean_environment(**more: str) -> dict[str, str]:
    """Return the environment for children: nothing of the login shell, messages in English, names as UTF-8."""
    return {"PATH": search_path(), "LC_ALL": "C.UTF-8", "TZ": "UTC", "HOME": "/nonexistent", **more}


def inherited_environment(*names: str) -> dict[str, str]:
    """Return those of the named environment variables that are set in this process, for a child."""
    return {name: os.environ[name] for name in names if name in os.environ}
