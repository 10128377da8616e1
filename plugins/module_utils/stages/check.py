"""Checking: recompute digests and compare, count tarballs against what should be there, write missing sidecars."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..kinds.items import nearest
from ..system import progress
from ..system.digest import digest_file, in_parallel, new_hash, open_plain
from ..system.errors import InvalidInput, naming
from ..tree.failures import failure
from ..tree.layout import (
    EXTENSIONS,
    Scan,
    Tarball,
    open_tree,
    parse_filename,
    plain_status,
    read_state,
    scan,
    split_relpath,
)
from ..tree.publish import write_sidecar
from ..tree.scan_failures import ahead, unreadable
from ..tree.sidecar import SUFFIX, Dna
from ..tree.stamps import Moment, day_of, interpret_day, today_in

_STAGE = "check"
_HINTS = 10


def digests(dnas: Mapping[str, Dna]) -> dict[str, tuple[str, int] | OSError]:
    """Given {path: dna}, return {path: (digest, bytes) or the error of reading}; hard links are read once, on all cores.

    The digest is taken with the dna's algorithm; a file whose names need two algorithms is read once for each. Names of
    one file share one result object.
    """
    groups: dict[tuple[object, ...], list[str]] = {}
    for path, dna in dnas.items():
        try:
            status = os.lstat(path)
            groups.setdefault((status.st_dev, status.st_ino, dna.alg), []).append(path)
        except OSError:
            groups.setdefault((path,), []).append(path)

    def read(paths: list[str]) -> tuple[str, int] | OSError:
        try:
            return digest_file(paths[0], dnas[paths[0]].alg)
        except OSError as error:
            return error

    # the largest first, so that no core is left alone with it at the end
    order = sorted(groups.values(), key=lambda paths: -dnas[paths[0]].size)
    with progress.all_of_it("read", sum(dnas[paths[0]].size for paths in order)):
        results = in_parallel(read, order)
    return {path: result for paths, result in zip(order, results) for path in paths}


def verify_paths(paths: Sequence[str]) -> dict[str, Any]:
    """Given paths of tarballs (or of their sidecars), return how each stands: lists of paths as given, and failures."""
    result = _empty_result()
    dnas: dict[str, Dna] = {}
    given: dict[str, str] = {}
    for path in paths:
        tarball = path[: -len(SUFFIX)] if path.endswith(SUFFIX) else path
        if not os.path.isabs(path):
            raise InvalidInput(f"path {path!r} is not absolute")
        status = plain_status(tarball)
        if status is None:
            if plain_status(tarball + SUFFIX):
                _note(result, "orphan", path, f"{tarball + SUFFIX} is a dna without its tarball")
            else:
                _note(result, "", path, f"{tarball} does not exist or is no plain file")
            continue
        dna, problem, state = read_state(tarball, status.st_size)
        if dna is None:
            _note(result, state, path, f"{tarball} {problem}")
        else:
            dnas[tarball], given[tarball] = dna, path
    _compare(result, dnas, given)
    if not paths:
        _note(result, "", "", "no paths are given: nothing could be verified")
    return result


def verify_base(
    base: str,
    day: str,
    predicted: Collection[str] = (),
    *,
    timezone: str = "UTC",
    keys: Collection[str] | None = None,
) -> dict[str, Any]:
    """Given a base and a day (a user's day, or `all`), read all its tarballs; return lists of relpaths, and failures.

    No tarball at all is a failure, unless some are predicted in check mode. Raise BaseUnusable or InvalidInput.
    """
    tree = open_tree(base)
    of_day = "" if day == "all" else interpret_day(day, today_in(timezone))
    found = scan(tree, of_day, keys, go_on=True)
    result = _empty_result(of_day or "all")
    dnas: dict[str, Dna] = {}
    given: dict[str, str] = {}
    for tarball in found.tarballs:
        path = tree.path(tarball.relpath)
        if tarball.dna is None:
            _note(result, tarball.state, tarball.relpath, f"{tarball.relpath} {tarball.problem}")
        else:
            dnas[path], given[path] = tarball.dna, tarball.relpath
    for relpath in found.orphans:
        _note(result, "orphan", relpath, f"{relpath} is a dna without its tarball")
    _compare(result, dnas, given)
    result["failures"] += unreadable(found)
    if not found.tarballs and not found.orphans and not predicted:
        of = "" if day == "all" else f"of {of_day} "
        reason = f"no tarballs {of}in {tree.base}: nothing could be verified"
        result["failures"].append(failure(_STAGE, reason, absent=True))
    return result


def _empty_result(day: str = "") -> dict[str, Any]:
    lists: dict[str, Any] = {"match": [], "mismatch": [], "missing": [], "malformed": [], "orphan": []}
    return {"day": day, **lists, "bytes_read": 0, "failures": []}


def _note(result: dict[str, Any], state: str, path: str, reason: str) -> None:
    if state:
        result[state].append(path)
    relpath = "" if os.path.isabs(path) else path
    result["failures"].append(failure(_STAGE, reason, relpath=relpath))


def _compare(result: dict[str, Any], dnas: dict[str, Dna], given: dict[str, str]) -> None:
    read = digests(dnas)
    for path, dna in dnas.items():
        outcome, name = read[path], given[path]
        if isinstance(outcome, OSError):
            _note(result, "mismatch", name, f"{name} could not be read: {outcome.strerror}")
            continue
        dig, size = outcome
        if (dig, size) == (dna.dig, dna.size):
            result["match"].append(name)
        elif size != dna.size:
            _note(result, "mismatch", name, f"{name} has {size} bytes, but its dna says {dna.size}")
        else:
            _note(result, "mismatch", name, f"{name} does not match its dna: {dna.alg} is {dig}, expected {dna.dig}")
    once = {id(outcome): outcome for outcome in read.values()}
    result["bytes_read"] = sum(outcome[1] for outcome in once.values() if not isinstance(outcome, OSError))
    result["match"].sort()


def write_dnas(paths: Sequence[str], algorithm: str, force: bool, *, check_mode: bool = False) -> dict[str, Any]:
    """Given paths of tarballs, write the sidecars that are missing; return `dna`, `failures` and `changed`.

    A sidecar that does not match its tarball is left alone, unless forced: it may be the tarball that is damaged.
    """
    new_hash(algorithm)
    result: dict[str, Any] = {"changed": False, "dna": [], "failures": []}
    if not paths:
        result["failures"].append(failure(_STAGE, "no paths are given: there is nothing to compute"))

    def look(path: str) -> tuple[Dna, bool] | str:
        try:
            return _dna_of(path, algorithm, force)
        except OSError as error:
            return f"{path} could not be read: {error.strerror}"

    for path, outcome in zip(paths, in_parallel(look, paths)):
        if isinstance(outcome, str):
            result["failures"].append(failure(_STAGE, outcome))
            continue
        dna, write = outcome
        try:
            if write and not check_mode:
                _flush(path)
                write_sidecar(path, dna)
        except OSError as error:
            result["failures"].append(failure(_STAGE, f"{path}{SUFFIX} could not be written: {error.strerror}"))
            continue
        result["changed"] = result["changed"] or write
        result["dna"].append({"path": path, "dig": dna.dig, "size": dna.size, "alg": dna.alg})
    return result


def _dna_of(path: str, algorithm: str, force: bool) -> tuple[Dna, bool] | str:
    """Given a tarball, return its dna and whether its sidecar is to be written, or why it gets none. Raise OSError."""
    if not os.path.isabs(path):
        return f"path {path!r} is not absolute"
    if not path.endswith(EXTENSIONS):
        return f"{path} is no tarball: its name ends in none of {', '.join(EXTENSIONS)}"
    before = plain_status(path)
    if before is None:
        return f"{path} does not exist or is no plain file"
    if not before.st_size:
        return f"{path} is empty, which no tarball is"
    old, problem, state = read_state(path, before.st_size)
    if state == "malformed" and not force:
        return f"{path} {problem}; force replaces it"
    new = Dna(*digest_file(path, old.alg if old else algorithm), old.alg if old else algorithm)
    if old and old.same_content(new):
        return old, False
    if old and not force:
        return (
            f"{path} does not match its dna: {old.alg} is {new.dig} over {new.size} bytes, "
            f"expected {old.dig} over {old.size}; force replaces the dna"
        )
    if old:
        new = replace(old, dig=digest_file(path, algorithm)[0], size=new.size, alg=algorithm)
    after = os.lstat(path)
    if (before.st_ino, before.st_size, before.st_mtime_ns) != (after.st_ino, new.size, after.st_mtime_ns):
        return f"{path} changed while it was read: is it still being written?"
    return new, True


def _flush(path: str) -> None:
    """Flush a tarball to the medium: no sidecar may survive a power cut that its tarball does not."""
    with naming(path), open_plain(path) as stream:
        os.fsync(stream.fileno())


def count(
    base: str,
    day: str,
    expect: Mapping[str, Any],
    source: str = "",
    predicted: Sequence[str] = (),
    items: Sequence[str] | None = None,
    *,
    moment: Moment,
    timezone: str = "UTC",
) -> dict[str, Any]:
    """Given a base, a day and {name or category/name: expected number}, count verified tarballs, reading none.

    A name's count is the number of its items that have one that day. `items` (category/name) are those that may be
    there; without it, whatever the names expected. Those that nothing honest can have made do not count; `dnas` is what the
    others' sidecars say, {relpath: algorithm:digest:size}. Raise BaseUnusable or InvalidInput.
    """
    expected = {str(key): _number(key, value) for key, value in expect.items()}
    tree = open_tree(base)
    of_day = interpret_day(day, today_in(timezone))
    found = scan(tree, of_day, go_on=True)
    title = source or os.path.basename(tree.base)
    counts: dict[str, int] = {}
    relpaths: dict[str, list[str]] = {}
    failures: list[dict[str, Any]] = []
    newest = _newest_of_each_item(found, predicted, of_day, moment)
    allowed = {seen.key for seen in newest} if items is None else set(items)
    counted = _by_key([seen for seen in newest if seen.key in allowed])
    unverified = [tarball for tarball in found.tarballs if not tarball.verified]
    unverified_of = _by_key(unverified)
    explained: set[str] = set()
    for key, number in sorted(expected.items()):
        relpaths[key] = sorted(tarball.relpath for tarball in counted.get(key, ()))
        counts[key] = len(relpaths[key])
        if counts[key] != number:
            lines = [_miss(key, number, title, of_day, relpaths[key])]
            for tarball in unverified_of.get(key, ()):
                lines.append(f"({tarball.relpath} {tarball.problem})")
                explained.add(tarball.relpath)
            absent = counts[key] < number
            failures.append(failure(_STAGE, "\n".join(lines), key=key if "/" in key else f"/{key}", absent=absent))
    failures += [
        failure(_STAGE, f"{tarball.relpath} {tarball.problem}", relpath=tarball.relpath)
        for tarball in unverified
        if tarball.relpath not in explained
    ]
    unexpected = _unexpected(found, expected, items)
    for relpath, reason in unexpected:
        sentence = f"unexpected in {title} on {of_day}: {relpath}: {reason}"
        failures.append(failure(_STAGE, sentence, relpath=relpath))
    failures += unreadable(found)
    failures += ahead(tree, moment)
    if not expected:
        failures.append(failure(_STAGE, f"nothing is expected of {title}: no items, so nothing could be checked"))
    return {
        "day": of_day,
        "counts": counts,
        "relpaths": relpaths,
        "dnas": {
            tarball.relpath: f"{tarball.dna.alg}:{tarball.dna.dig}:{tarball.dna.size}"
            for tarball in found.verified()
            if tarball.dna and tarball.key in allowed and not moment.is_ahead(tarball.stamp)
        },
        "without_dna": [tarball.relpath for tarball in unverified],
        "unexpected": [relpath for relpath, _ in unexpected],
        "failures": failures,
    }


def _number(key: object, value: object) -> int:
    text = str(value)
    if not re.fullmatch(r"\d{1,6}", text, re.ASCII):
        raise InvalidInput(f"expect: {key}: {value!r} is not a whole number of tarballs")
    return int(text)


@dataclass(frozen=True)
class _Seen:
    """A tarball that counts: one on disk, or one that a run in check mode would have made."""

    key: str
    name: str
    stamp: str
    relpath: str


def _by_key(tarballs: Iterable[Any]) -> dict[str, list[Any]]:
    """Given Tarballs or _Seens, return {name or category/name: those that it means}."""
    result: dict[str, list[Any]] = {}
    for tarball in tarballs:
        for key in (tarball.name, tarball.key):
            result.setdefault(key, []).append(tarball)
    return result


def _newest_of_each_item(found: Scan, predicted: Sequence[str], day: str, moment: Moment) -> list[_Seen]:
    """Return the newest verified tarball of each item on a day, of those that are not of the future."""
    seen = [
        _Seen(tarball.key, tarball.name, tarball.stamp, tarball.relpath)
        for tarball in found.verified()
        if parse_filename(tarball.filename, tarball.name) and not moment.is_ahead(tarball.stamp)
    ]
    for relpath in predicted:
        category, name, stamp, _ = split_relpath(relpath)
        seen.append(_Seen(f"{category}/{name}", name, stamp, relpath))
    newest: dict[str, _Seen] = {}
    for one in seen:
        if day_of(one.stamp) == day and (one.key not in newest or one.stamp >= newest[one.key].stamp):
            newest[one.key] = one
    return list(newest.values())


def _miss(key: str, number: int, title: str, day: str, relpaths: Sequence[str]) -> str:
    got = f": {', '.join(relpaths)}" if relpaths else ""
    plural = "" if number == 1 else "s"
    return f"expecting {number} tarball{plural} for {key} of {title} on {day} but got {len(relpaths)}{got}"


def _hint(tarball: Tarball, known: Collection[str], there: Collection[str]) -> str:
    """Return what item may have been meant by a tarball that belongs to none.

    That is one of its own category, as one of another is no likely mistake, and none that has a tarball of its own `there`.
    """
    category = tarball.key.split("/")[0]
    alike = [key.rpartition("/")[2] for key in sorted(known) if "/" not in key or key.startswith(f"{category}/")]
    right = [key.rpartition("/")[2] for key in there if key.startswith(f"{category}/")]
    return f"; {nearest(tarball.name, alike, right)}" if alike and tarball.name not in alike else ""


def _unexpected(found: Scan, expected: Collection[str], items: Collection[str] | None) -> list[tuple[str, str]]:
    """Return (relpath, why) of all that should not be there."""
    result = list(found.strange)
    stamps: dict[tuple[str, str], list[Tarball]] = {}
    known = sorted(expected)
    allowed = None if items is None else set(items)
    hints: dict[str, str] = {}

    def is_mine(tarball: Tarball) -> bool:
        return tarball.key in allowed if allowed is not None else bool({tarball.key, tarball.name} & set(expected))

    there = {tarball.key for tarball in found.verified() if is_mine(tarball)}
    for tarball in found.tarballs:
        if not parse_filename(tarball.filename, tarball.name):
            result.append((tarball.relpath, f"its name does not belong to {tarball.key}"))
        elif tarball.verified and tarball.key not in there:
            if len(hints) < _HINTS and tarball.key not in hints:
                hints[tarball.key] = _hint(tarball, known if items is None else items, there)
            result.append((tarball.relpath, f"{tarball.key} is no item{hints.get(tarball.key, '')}"))
        elif tarball.verified:
            stamps.setdefault((tarball.key, tarball.stamp), []).append(tarball)
    for (key, stamp), several in stamps.items():
        if len(several) > 1:
            names = ", ".join(tarball.filename for tarball in several)
            result.append((several[-1].relpath, f"{len(several)} tarballs of {key} under one stamp {stamp}: {names}"))
    return result
