"""Checking: recompute digests and compare; count tarballs against what should be there. Nothing is written."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from .digest import digest_file, in_parallel, new_hash
from .errors import InvalidInput
from .failures import failure
from .items import nearest
from .layout import EXTENSIONS, Scan, Tarball, Tree, is_plain_file, open_tree, parse_filename, read_state, scan
from .publish import write_sidecar
from .sidecar import SUFFIX, Dna
from .stamps import interpret_day, today_in

_STAGE = "check"


def digests(dnas: Mapping[str, Dna]) -> dict[str, tuple[str, int] | OSError]:
    """Given {path: dna}, return {path: (digest, bytes)} or the error of reading; hard links are read once, all cores work.

    The digest is taken with the dna's algorithm; a file that stands under several names or needs two algorithms is read
    once for each algorithm.
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
    return {path: result for paths, result in zip(order, in_parallel(read, order)) for path in paths}


def verify_paths(paths: Sequence[str]) -> dict[str, Any]:
    """Given paths of tarballs (or of their sidecars), return how each stands: lists of paths as given, and failures."""
    result = _empty_result()
    dnas: dict[str, Dna] = {}
    given: dict[str, str] = {}
    for path in paths:
        tarball = path[: -len(SUFFIX)] if path.endswith(SUFFIX) else path
        if not os.path.isabs(path):
            raise InvalidInput(f"path {path!r} is not absolute")
        if not is_plain_file(tarball):
            if is_plain_file(tarball + SUFFIX):
                _note(result, "orphan", path, f"{tarball + SUFFIX} is a dna without its tarball")
            else:
                _note(result, "", path, f"{tarball} does not exist or is no plain file")
            continue
        dna, problem, state = read_state(tarball, os.lstat(tarball).st_size)
        if dna is None:
            _note(result, state, path, f"{tarball} {problem}")
        else:
            dnas[tarball], given[tarball] = dna, path
    _compare(result, dnas, given)
    return result


def verify_base(base: str, day: str, predicted: Collection[str] = (), *, timezone: str = "UTC", keys: Collection[str] | None = None) -> dict[str, Any]:
    """Given a base and a day (a user's day, or `all`), read all its tarballs; return lists of relpaths, and failures.

    No tarball at all is a failure, unless some are predicted in check mode. Raise BaseUnusable or InvalidInput.
    """
    tree = open_tree(base)
    of_day = "" if day == "all" else interpret_day(day, today_in(timezone))
    found = scan(tree, of_day, keys)
    result = _empty_result()
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
    if not found.tarballs and not found.orphans and not predicted:
        _note(result, "", "", f"no tarballs {'' if day == 'all' else f'of {of_day} '}in {tree.base}: nothing could be verified")
    result["day"] = of_day or "all"
    return result


def _empty_result() -> dict[str, Any]:
    return {"match": [], "mismatch": [], "missing": [], "malformed": [], "orphan": [], "bytes_read": 0, "failures": []}


def _note(result: dict[str, Any], state: str, path: str, reason: str) -> None:
    if state:
        result[state].append(path)
    relpath = "" if os.path.isabs(path) else path
    result["failures"].append(failure(_STAGE, reason, relpath=relpath))


def _compare(result: dict[str, Any], dnas: dict[str, Dna], given: dict[str, str]) -> None:
    counted: set[tuple[int, int]] = set()
    read = digests(dnas)
    for path, dna in dnas.items():
        outcome, name = read[path], given[path]
        if isinstance(outcome, OSError):
            _note(result, "mismatch", name, f"{name} could not be read: {outcome.strerror}")
            continue
        dig, size = outcome
        status = os.lstat(path)
        if (status.st_dev, status.st_ino) not in counted:
            counted.add((status.st_dev, status.st_ino))
            result["bytes_read"] += size
        if (dig, size) == (dna.dig, dna.size):
            result["match"].append(name)
        elif size != dna.size:
            _note(result, "mismatch", name, f"{name} has {size} bytes, but its dna says {dna.size}")
        else:
            _note(result, "mismatch", name, f"{name} does not match its dna: {dna.alg} is {dig}, expected {dna.dig}")
    result["match"].sort()


def write_dnas(paths: Sequence[str], algorithm: str, force: bool, *, check_mode: bool = False) -> dict[str, Any]:
    """Given paths of tarballs, write the sidecars that are missing; return `dna`, `failures` and `changed`.

    A sidecar that does not match its tarball is left alone, unless forced: it may be the tarball that is damaged.
    """
    new_hash(algorithm)
    result: dict[str, Any] = {"changed": False, "dna": [], "failures": []}

    def look(path: str) -> tuple[Dna | None, str, bool]:
        if not os.path.isabs(path):
            return None, f"path {path!r} is not absolute", False
        if not path.endswith(EXTENSIONS):
            return None, f"{path} is no tarball: its name ends in none of {', '.join(EXTENSIONS)}", False
        if not is_plain_file(path):
            return None, f"{path} does not exist or is no plain file", False
        try:
            old, problem, state = read_state(path, os.lstat(path).st_size)
            if state == "malformed" and not force:
                return None, f"{path} {problem}; force replaces it", False
            alg = old.alg if old and not force else algorithm
            new = Dna(*digest_file(path, alg), alg)
        except OSError as error:
            return None, f"{path} could not be read: {error.strerror}", False
        if old and old.same_content(new):
            return old, "", False
        if old and not force:
            return None, f"{path} does not match its dna: {alg} is {new.dig} over {new.size} bytes, expected {old.dig} over {old.size}; force replaces the dna", False
        return new, "", True

    for path, (dna, problem, write) in zip(paths, in_parallel(look, paths)):
        if dna is None:
            result["failures"].append(failure(_STAGE, problem))
            continue
        try:
            if write and not check_mode:
                write_sidecar(path, dna)
        except OSError as error:
            result["failures"].append(failure(_STAGE, f"{path}{SUFFIX} could not be written: {error.strerror}"))
            continue
        result["changed"] = result["changed"] or write
        result["dna"].append({"path": path, "dig": dna.dig, "size": dna.size, "alg": dna.alg})
    return result


def count(
    base: str,
    day: str,
    expect: Mapping[str, Any],
    source: str = "",
    predicted: Sequence[str] = (),
    items: Sequence[str] | None = None,
    *,
    timezone: str = "UTC",
) -> dict[str, Any]:
    """Given a base, a day and {name or category/name: expected number}, count verified tarballs, reading none.

    A name's count is the number of its items that have one that day. `items` (category/name) are those that may be there;
    without it, whatever the names expected. Raise BaseUnusable or InvalidInput.
    """
    expected = {str(key): _number(key, value) for key, value in expect.items()}
    tree = open_tree(base)
    of_day = interpret_day(day, today_in(timezone))
    found = scan(tree, of_day)
    title = source or os.path.basename(tree.base)
    result: dict[str, Any] = {"day": of_day, "counts": {}, "relpaths": {}, "without_dna": [], "unexpected": [], "failures": []}
    result["without_dna"] = [tarball.relpath for tarball in found.tarballs if not tarball.verified]
    explained: set[str] = set()
    for key, number in sorted(expected.items()):
        newest = _newest_of_each_item(found, predicted, key)
        result["counts"][key], result["relpaths"][key] = len(newest), sorted(newest.values())
        if len(newest) != number:
            lines = [_miss(key, number, title, of_day, sorted(newest.values()))]
            for tarball in found.tarballs:
                if not tarball.verified and _belongs(tarball.category, tarball.name, key):
                    lines.append(f"({tarball.relpath} {tarball.problem})")
                    explained.add(tarball.relpath)
            result["failures"].append(failure(_STAGE, "\n".join(lines), key=key if "/" in key else f"/{key}"))
    for tarball in found.tarballs:
        if not tarball.verified and tarball.relpath not in explained:
            result["failures"].append(failure(_STAGE, f"{tarball.relpath} {tarball.problem}", relpath=tarball.relpath))
    for relpath, reason in _unexpected(tree, found, expected, items):
        result["unexpected"].append(relpath)
        result["failures"].append(failure(_STAGE, f"unexpected in {title} on {of_day}: {relpath}: {reason}", relpath=relpath))
    if not expected:
        result["failures"].append(failure(_STAGE, f"nothing is expected of {title}: no items, so nothing could be checked"))
    return result


def _number(key: object, value: object) -> int:
    text = str(value)
    if isinstance(value, bool) or not text.isdecimal():
        raise InvalidInput(f"expect: {key}: {value!r} is not a whole number of tarballs")
    return int(text)


def _belongs(category: str, name: str, key: str) -> bool:
    return key in (name, f"{category}/{name}")


def _newest_of_each_item(found: Scan, predicted: Sequence[str], key: str) -> dict[str, str]:
    """Return {category/name: relpath of its newest verified tarball} of the items that a key means."""
    newest: dict[str, str] = {}
    candidates = [(tarball.category, tarball.name, tarball.relpath) for tarball in found.verified() if parse_filename(tarball.filename, tarball.name)]
    candidates += [(*relpath.split("/")[:2], relpath) for relpath in predicted]  # type: ignore[list-item]
    for category, name, relpath in sorted(candidates, key=lambda candidate: candidate[2].split("/")[2:6]):
        if _belongs(category, name, key):
            newest[f"{category}/{name}"] = relpath
    return newest


def _miss(key: str, number: int, title: str, day: str, relpaths: Sequence[str]) -> str:
    got = f": {', '.join(relpaths)}" if relpaths else ""
    return f"expecting {number} tarball{'' if number == 1 else 's'} for {key} of {title} on {day} but got {len(relpaths)}{got}"


def _unexpected(tree: Tree, found: Scan, expected: Mapping[str, int], items: Sequence[str] | None) -> list[tuple[str, str]]:
    """Return (relpath, why) of all that should not be there."""
    result = [(relpath, why) for relpath, why in found.strange]
    stamps: dict[tuple[str, str], list[Tarball]] = {}
    known = sorted(expected)
    for tarball in found.tarballs:
        mine = tarball.key in items if items is not None else any(_belongs(tarball.category, tarball.name, key) for key in expected)
        if not parse_filename(tarball.filename, tarball.name):
            result.append((tarball.relpath, f"its name does not belong to {tarball.key}"))
        elif tarball.verified and not mine:
            result.append((tarball.relpath, f"{tarball.key} is no item; {nearest(tarball.name, known) if known else 'none is'}"))
        elif tarball.verified:
            stamps.setdefault((tarball.key, tarball.stamp), []).append(tarball)
    for (key, stamp), several in stamps.items():
        if len(several) > 1:
            names = ", ".join(tarball.filename for tarball in several)
            result.append((several[-1].relpath, f"{len(several)} tarballs of {key} under one stamp {stamp}: {names}"))
    return result

