"""What a bucket keeps from being removed, and what somebody hid in it: versions, locks and delete markers of a store that is one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..system.errors import InvalidInput, name_os_errors
from ..system.processes import Deadline
from ..tree.layout import is_relpath
from ..tree.sidecar import SUFFIX
from . import s3
from .settings import Secrets, Store, bucket_of

_DAY = 86400.0


@dataclass(frozen=True)
class Seen:
    """What a bucket has of one source."""

    latest: Mapping[str, s3.Version] = field(default_factory=dict)
    """{path from the folder of the source: the version that is read}"""
    hidden: Mapping[str, s3.Version] = field(default_factory=dict)
    """{path: the newest version below a delete marker}"""
    markers: Mapping[str, s3.Version] = field(default_factory=dict)


class Locker:
    """The bucket of a store, where it is one and its keys are known here."""

    def __init__(self, bucket: s3.Bucket, folder: str, store: Store, deadline: Deadline) -> None:
        self._bucket = bucket
        self._folder = folder
        self._store = store
        self._deadline = deadline

    def _key(self, path: str) -> str:
        return f"{self._folder}/{path}" if self._folder else path

    def seen(self, source: str) -> Seen:
        """Return what the bucket has of a source. Raise AltbackupError."""
        start = self._key(f"{source}/")
        latest: dict[str, s3.Version] = {}
        below: dict[str, s3.Version] = {}
        markers: dict[str, s3.Version] = {}
        for version in s3.versions(self._bucket, start, self._deadline):
            if not version.key.startswith(start):
                continue
            path = version.key[len(start) :]
            if version.is_latest:
                (markers if version.is_marker else latest)[path] = version
            elif not version.is_marker:
                below.setdefault(path, version)
        return Seen(latest, {path: below[path] for path in markers if path in below}, markers)

    def newest(self, path: str) -> s3.Version | None:
        """Return the version of a path (from the root of the store) that is read. Raise AltbackupError."""
        return next((one for one in self._all(path) if one.is_latest and not one.is_marker), None)

    def lock(self, path: str, *, anew: bool = True) -> float:
        """Lock what is read at a path for the days of the store, and for no less than it is; unless `anew`, only what never was. Return until when.

        Raise AltbackupError.
        """
        version = self.newest(path)
        if version is None:
            raise InvalidInput(f"{self._store.name}: {path} was put there, and is not: nothing could be locked")
        known, until = self._locked_until(version), float(int(time.time() + self._store.lock_days * _DAY))
        if known and (not anew or until <= known < float("inf")):
            return known
        s3.retain(self._bucket, version.key, version.id, until, self._store.lock_mode, self._deadline)
        return self._locked_until(version)

    def is_locked(self, path: str) -> bool:
        """Return whether a version of a path is locked. Raise AltbackupError."""
        return any(self._keeps(version) for version in self._all(path))

    def remove(self, path: str) -> None:
        """Remove what is read at a path, for good, and what lies below it, down to what is locked. Raise AltbackupError."""
        for version in self._all(path):
            if self._keeps(version):
                return
            s3.delete(self._bucket, version.key, version.id, self._deadline)

    def _all(self, path: str) -> list[s3.Version]:
        """Return all versions of a path, the newest first."""
        key = self._key(path)
        return [one for one in s3.versions(self._bucket, key, self._deadline) if one.key == key]

    def _keeps(self, version: s3.Version) -> bool:
        return not version.is_marker and self._locked_until(version) > time.time()

    def _locked_until(self, version: s3.Version) -> float:
        return s3.locked_until(self._bucket, version.key, version.id, self._deadline)

    def read(self, version: s3.Version, target: str) -> None:
        """Write a version of an object to a file. Raise AltbackupError or OSError."""
        with name_os_errors(target), open(target, "xb") as stream:
            s3.read(self._bucket, version, self._deadline, stream.write)


def locker_of(store: Store, secrets: Secrets, deadline: Deadline) -> Locker | None:
    """Return the bucket of a store, None where it is none. Raise InvalidInput where it must be one, as it is to lock."""
    found = bucket_of(store, secrets)
    if found is None:
        if store.lock_days:
            raise InvalidInput(
                f"store {store.name}: altbackup_store_lock_days locks objects of S3, but {store.remote.partition(':')[0]} is no remote of type s3 with "
                "a bucket in its path and access_key_id and secret_access_key in its configuration or environment: leave the days out, or name one"
            )
        return None
    return Locker(found[0], found[1], store, deadline)


def markers_told(seen: Seen) -> list[tuple[str, str]]:
    """Return (relpath, reason) of the tarballs in a bucket that somebody hid, or their sidecars, by delete markers."""
    told: dict[str, str] = {}
    for path, marker in sorted(seen.markers.items()):
        relpath = path[: -len(SUFFIX)] if path.endswith(SUFFIX) else path
        if not is_relpath(relpath) or relpath in told:
            continue
        below = (
            "the version below it is still there, and a restore reads it"
            if path in seen.hidden
            else "no version of it is left"
        )
        told[relpath] = (
            f"{path} was deleted in the store by somebody other than this collection ({marker.modified or 'at a time that is not known'}): a delete "
            f"marker hides it; {below}. Find out who did that; then remove the marker (version {marker.id})"
        )
    return [*told.items()]
