"""Real places for stores: a folder, an account of a real sshd that has sftp alone, rclone's own WebDAV server, and a bucket with object lock."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from helpers.original_trees import marked, put, reasons, run_module
from helpers.trees import small_disk
from helpers.waiting import wait_until
from lab.lab import SSHD_NEEDS

KEY, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"
PASSWORD = "correct-horse-battery"
BUCKET = "vault"
KINDS = ("disk", "sftp", "webdav", "s3")

OLD, NEW = "2013/05/10/104701", "2013/05/11/104701"
ONE, TWO, OTHER = f"svn/x/{OLD}/x-1.tar", f"svn/x/{NEW}/x-2.tar", f"folders/y/{NEW}/y.tar"
ALL = sorted([ONE, TWO, OTHER])
ITEMS = ["folders/y", "svn/x"]
GUIDES = {"RESTORE.txt": "how to\n"}


class Way:
    """A way to a server on which things go wrong: each connection is cut after so many bytes, or silent, or refused."""

    def __init__(self, port: int, address: str = "127.0.0.1") -> None:
        self.to = port
        self.cut_after: int | None = None
        """Bytes from the client"""
        self.silent = False
        self.pausing = False
        """Whether each connection is closed at once"""
        self._open: list[socket.socket] = []
        self._listener = socket.create_server((address, 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client = self._listener.accept()[0]
            except OSError:
                return
            self._open.append(client)
            if self.pausing:
                client.close()
                continue
            if self.silent:
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                client.close()
                continue
            self._open.append(server)
            threading.Thread(target=self._pass, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, False), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket, counts: bool) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := one.recv(1 << 15):
                if self.silent:
                    return
                if counts and self.cut_after is not None and passed + len(data) > self.cut_after:
                    break
                passed += len(data)
                other.sendall(data)
        for each in (one, other):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def close(self) -> None:
        """Take no connection any more."""
        self._listener.close()
        for each in self._open:
            each.close()


@dataclass
class Place:
    """A store that is served, and what is needed to reach and to look into it."""

    kind: str
    options: dict[str, Any]
    """As store_sync takes them"""
    way: Way | None
    folder: Path | None
    """Where its files lie; None for a bucket"""
    s3: Any = None
    end: list[Callable[[], object]] = field(default_factory=list)

    def files(self) -> dict[str, bytes]:
        """Return {path: bytes} of what it has."""
        if self.folder is not None:
            return {
                str(path.relative_to(self.folder)): path.read_bytes()
                for path in self.folder.rglob("*")
                if path.is_file()
            }
        found = self.s3.list_objects_v2(Bucket=BUCKET, Prefix="backup/").get("Contents", [])
        return {entry["Key"][7:]: self.s3.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read() for entry in found}

    def all_versions(self) -> Iterator[bytes]:
        """Yield all that a bucket has of each object, in each version: its name, what is said of it, its bytes."""
        for page in self.s3.get_paginator("list_object_versions").paginate(Bucket=BUCKET):
            for entry in page.get("Versions", []):
                version = {"Bucket": BUCKET, "Key": entry["Key"], "VersionId": entry["VersionId"]}
                answer = self.s3.get_object(**version)
                yield repr((entry, answer["ResponseMetadata"], answer["Metadata"])).encode()
                yield answer["Body"].read()

    def write(self, path: str, content: bytes) -> None:
        """Put a file there, as somebody else does."""
        if self.folder is not None:
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / path).write_bytes(content)
        else:
            self.s3.put_object(Bucket=BUCKET, Key=f"backup/{path}", Body=content)

    def delete(self, path: str) -> None:
        """Remove a file, as somebody else does."""
        if self.folder is not None:
            (self.folder / path).unlink()
        else:
            self.s3.delete_object(Bucket=BUCKET, Key=f"backup/{path}")


@contextlib.contextmanager
def served(
    kind: str, folder: Path, *, lock: bool = True, mount: str = "", address: str = "127.0.0.1"
) -> Iterator[Place]:
    """Serve an empty store below a folder, at an address of this machine.

    `mount` is the size of a file system of its own for it, for root alone.
    """
    files = folder / "files"
    folder.mkdir()
    if kind != "disk" or not mount:
        files.mkdir()
    environment = {**os.environ, "HOME": str(folder), "RCLONE_CONFIG": str(folder / "none.conf")}
    with contextlib.ExitStack() as stack:
        if kind == "disk":
            if mount:
                stack.enter_context(small_disk(files, f"size={mount}"))
            (files / ".altbackup").mkdir()
            yield Place(kind, {"name": "vault", "remote": str(files)}, None, files)
            return
        port = _free_port()
        prefix = _mounting(files, mount) if mount else []
        if kind == "sftp":
            if os.geteuid() == 0:
                Path(SSHD_NEEDS).mkdir(mode=0o755, exist_ok=True)
            lines = _sftp(folder, files, port, address)
            argv = ["/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "sshd_config")]
        elif kind == "webdav":
            environment.update(RCLONE_USER="store", RCLONE_PASS=PASSWORD)
            argv = ["rclone", "serve", "webdav", str(files), "--addr", f"127.0.0.1:{port}", "--dir-cache-time", "0s"]
            lines = ["type = webdav", "vendor = other", "user = store", f"pass = {_obscured(PASSWORD)}"]
        else:
            argv = [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)]
            environment["MOTO_S3_DEFAULT_MAX_KEYS"] = "50"
            if mount:  # objects are on disk, not in memory
                environment.update(MOTO_S3_DEFAULT_KEY_BUFFER_SIZE="1024", TMPDIR=str(files))
            lines = [
                "type = s3",
                "provider = Other",
                f"access_key_id = {KEY}",
                f"secret_access_key = {SECRET}",
                "region = us-east-1",
            ]
        log = stack.enter_context(open(folder / "server.log", "wb"))
        server = subprocess.Popen(
            [*prefix, *argv], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        stack.callback(_end, server)
        assert wait_until(lambda: _answers(port), 60), (folder / "server.log").read_text()
        way = Way(port, address)
        stack.callback(way.close)
        if kind == "sftp":
            lines += [f"port = {way.port}"]
            key = " ".join((folder / "host.pub").read_text().split()[:2])
            (folder / "known_hosts").write_text(f"[{address}]:{way.port} {key}\n")
        else:
            lines += [f"{'endpoint' if kind == 's3' else 'url'} = http://{address}:{way.port}"]
        config = folder / "rclone.conf"
        config.write_text("\n".join(["[there]", *lines, ""]))
        config.chmod(0o600)
        options = {"name": "vault", "config": str(config), "connect_timeout": 5.0, "io_timeout": 10.0}
        if kind != "s3":
            root = f"there:{files}" if kind == "sftp" else "there:"
            yield Place(kind, {**options, "remote": root}, way, files)
            return
        client = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{port}",
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
            config=Config(retries={"max_attempts": 1}),
        )
        client.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=lock)
        yield Place(kind, {**options, "remote": f"there:{BUCKET}/backup"}, way, None, client)


def _sftp(folder: Path, files: Path, port: int, address: str) -> list[str]:
    """Write what sshd needs for an account that has sftp and nothing else; return the lines of rclone's configuration."""
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    user = pwd.getpwuid(os.geteuid()).pw_name
    settings = [
        f"Port {port}",
        "ListenAddress 127.0.0.1",
        f"HostKey {folder / 'host'}",
        f"AuthorizedKeysFile {folder / 'user.pub'}",
        f"PidFile {folder / 'sshd.pid'}",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "UsePAM no",
        "StrictModes no",
        "PermitRootLogin yes",
        "Subsystem sftp internal-sftp",
        "ForceCommand internal-sftp",
        "AllowTcpForwarding no",
        "PermitTTY no",
    ]
    (folder / "sshd_config").write_text("\n".join([*settings, ""]))
    return [
        "type = sftp",
        f"host = {address}",
        f"user = {user}",
        f"key_file = {folder / 'user'}",
        f"known_hosts_file = {folder / 'known_hosts'}",
    ]


def _mounting(files: Path, size: str) -> list[str]:
    """Return what starts a program that sees a file system of its own of so many bytes at a folder."""
    script = 'mount -t tmpfs -o "size=$1,mode=0777" none "$2" && shift 2 && exec "$@"'
    return ["unshare", "-m", "sh", "-c", script, "sh", size, str(files)]


def _obscured(password: str) -> str:
    return (
        subprocess.run(["rclone", "obscure", "-"], input=password.encode(), stdout=subprocess.PIPE, check=True)
        .stdout.decode()
        .strip()
    )


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def _end(server: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, 15)
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, 9)
        server.wait(10)


def brought(place: Place, folder: Path) -> Path:
    """Bring all of a store by rclone alone, as somebody does who has nothing else; return the folder."""
    remote = place.options["remote"]
    config = ["--config", place.options.get("config", "")]
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder.parent)}
    argv = ["rclone", *config, "copy", remote, str(folder)]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, env=environment)
    return folder


def is_installed() -> bool:
    """Return whether rclone is there."""
    return shutil.which("rclone") is not None


def three_tarballs(base: Path) -> Path:
    """Make a source's base with three tarballs; return it."""
    marked(base)
    put(base, ONE, b"one" * 30000)
    put(base, TWO, b"two" * 30000)
    put(base, OTHER, b"other" * 100)
    return base


def sync(place: Place, base: Path, stamp: str = NEW, **options: Any) -> dict[str, Any]:
    """Run store_sync as a night does."""
    store = {**place.options, **options.pop("store", {})}
    given = {
        "stamp": stamp,
        "clock": stamp,
        "day": stamp[:10],
        "expect": {"x": 1, "y": 1},
        "items": ITEMS,
        "guides": GUIDES,
        "steps": ["upload", "check", "purge"],
        "fail": False,
    }
    return run_module(
        "store_sync", check=options.pop("check", False), store=store, base=str(base), **{**given, **options}
    )


def said(result: dict[str, Any]) -> str:
    """Return all reasons of failures as one text."""
    return "\n".join(reasons(result))
