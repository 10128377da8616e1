"""Identities of age and ssh for tests, and what age opens with them."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Key:
    """An identity, in a file of its own, and its recipient."""

    path: Path
    recipient: str

    @property
    def text(self) -> str:
        """What the file has."""
        return self.path.read_text()

    def opens(self, path: Path | str) -> bytes:
        """Return what is in an encrypted file."""
        return subprocess.run(["age", "-d", "-i", self.path, path], capture_output=True, check=True).stdout

    def is_for(self, path: Path | str) -> bool:
        """Return whether it opens an encrypted file."""
        return subprocess.run(["age", "-d", "-i", self.path, path], capture_output=True).returncode == 0


def age_key(folder: Path, name: str = "one") -> Key:
    """Make an identity of age in a folder."""
    path = folder / f"{name}.identity"
    subprocess.run(["age-keygen", "-o", path], capture_output=True, check=True)
    said = subprocess.run(["age-keygen", "-y", path], capture_output=True, check=True, text=True)
    return Key(path, said.stdout.strip())


def ssh_key(folder: Path, name: str = "ssh", passphrase: str = "") -> Key:
    """Make an ssh-ed25519 key in a folder."""
    path = folder / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "me", "-f", path], check=True)
    return Key(path, " ".join(path.with_name(f"{name}.pub").read_text().split()[:2]))
