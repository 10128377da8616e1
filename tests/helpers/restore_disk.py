"""A target's disk with restore.sh on it, archives that anybody could make, and a full tarball with its differential."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from helpers.original_trees import modern_text
from helpers.repositories import run
from helpers.trees import FIRST, SECOND

from ansible_collections.altbackup.core.plugins.module_utils.archive.write import ArchiveFormat
from ansible_collections.altbackup.core.plugins.module_utils.stages.dump import dump
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline

SCRIPT = Path(__file__).resolve().parents[2] / "roles" / "synchronize" / "files" / "restore.sh"
ZSTD = ArchiveFormat()


class Disk:
    """A target's disk with restore.sh on it."""

    def __init__(self, path: Path, shell: Sequence[str] = ("sh",)) -> None:
        self.path = path
        self.shell = list(shell)
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(path)}
        (path / ".altbackup").mkdir(parents=True, mode=0o700)
        (path / ".altbackup" / "incoming" / "dayabay" / "sha256-00").mkdir(parents=True)
        shutil.copy(SCRIPT, path)

    def call(self, *words: str | Path, cwd: Path | None = None, script: str = "") -> subprocess.CompletedProcess[str]:
        """Call restore.sh and return the completed process."""
        argv = [*self.shell, script or str(self.path / "restore.sh"), *map(str, words)]
        return subprocess.run(
            argv,
            cwd=cwd,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="surrogateescape",
        )

    def well(self, *words: str | Path, **options: Any) -> str:
        """Call restore.sh, which must succeed with empty stderr, and return its stdout."""
        done = self.call(*words, **options)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    def badly(self, *words: str | Path, status: int = 1) -> str:
        """Call restore.sh, which must fail, and return its stdout and stderr."""
        done = self.call(*words)
        assert done.returncode == status, done
        return done.stdout + done.stderr

    def dump(
        self,
        *items: dict[str, Any],
        stamp: str = FIRST,
        source: str = "dayabay",
        form: ArchiveFormat = ZSTD,
        full_every: int = 1,
    ) -> list[Path]:
        """Dump items into a source's tree on this disk, and return the tarballs."""
        (self.path / source).mkdir(exist_ok=True)
        options = {"deadline": Deadline(120, "dump"), "verify_every": 7, "full_every": full_every}
        result = dump(str(self.path / source), items, stamp, form, options)
        assert not result["failures"], result["failures"]
        return [Path(tarball["path"]) for tarball in result["tarballs"]]

    def put(
        self,
        members: Iterable[tuple[str, bytes | str | None]] = (),
        *,
        key: str = "folders/thing",
        stamp: str = FIRST,
        content: bytes | None = None,
        extension: str = ".tar",
        dna: str | None = None,
        **more: Any,
    ) -> Path:
        """Add an archive of these members (a text is a link's target, None a folder) to an item, with its dna, and return it."""
        if content is None:
            content = archive(members)
        name = key.split("/")[1]
        path = self.path / "dayabay" / key / stamp / f"{name}{extension}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        text = modern_text(content) if dna is None else dna
        if more:
            text = json.dumps({**json.loads(text), **more})
        if text:
            Path(f"{path}.dna").write_text(text, encoding="utf-8")
        return path

    def lines(self, *words: str) -> list[list[str]]:
        """Return the columns of the output of list or verify, without the last line."""
        return [line.split() for line in self.call(*words).stdout.splitlines()[:-1]]


def archive(members: Iterable[tuple[str, bytes | str | None]]) -> bytes:
    """Return an archive that anybody could make, with unchecked names and links."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.mode = 0o755 if content is None else 0o644
            if content is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                info.type = tarfile.LNKTYPE if content.startswith("hard:") else tarfile.SYMTYPE
                info.linkname = content.removeprefix("hard:")
            else:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content if isinstance(content, bytes) else b""))
    return buffer.getvalue()


def put_pair(disk: Disk, tmp_path: Path, links: Sequence[str] = ()) -> Path:
    """Add a full tarball and a differential of a folder in which files vanished and were renamed; return the folder.

    Folders swap their names in a circle, and links become folders.
    """
    live = tmp_path / "pair" / "thing"
    (live / "below").mkdir(parents=True)
    for name in ("stays", "goes", "below/moves"):
        (live / name).write_text(name)
    for name in ("one", "two", "was"):
        (live / name).mkdir()
        (live / name / f"was {name}").write_text(name)
    for name in links:
        (live / name).symlink_to(tmp_path)
    snapshot = tmp_path / "snapshot"
    packed = []
    for name in ("full", "diff"):
        command = [
            "tar",
            "-C",
            live.parent,
            "--format=posix",
            "--no-check-device",
            "-g",
            snapshot,
            "-cf",
            tmp_path / name,
            "thing",
        ]
        run(*map(str, command))
        packed.append((tmp_path / name).read_bytes())
        if name == "full":
            (live / "goes").unlink()
            (live / "below" / "moves").rename(live / "moved")
            (live / "new").write_text("new")
            for link in links:
                (live / link).unlink()
                (live / link).mkdir()
                (live / link / "inside").write_text(link)
            for old, new in (("one", "aside"), ("two", "one"), ("aside", "two"), ("was", "below/is")):
                (live / old).rename(live / new)
    full, difference = packed
    disk.put(content=full)
    base = f"{FIRST}/thing.tar"
    disk.put(
        content=difference, stamp=SECOND, extension=".diff.tar", base=base, base_dig=hashlib.sha256(full).hexdigest()
    )
    return live
