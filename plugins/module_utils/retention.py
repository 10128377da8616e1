"""Retention: which of an item's verified tarballs are to be kept."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from .layout import Tarball
from .stamps import day_of


def retained(tarballs: Sequence[Tarball], keep: int, made_now: Collection[str] = ()) -> list[Tarball]:
    """Given one item's verified tarballs, a number K and the stamps made in this run, return those to keep, newest first.

    Kept are the newest of each of the last K days that have one, the newest of each of the last K distinct contents,
    and those made in this run; so the newest one always is.
    """
    days: set[str] = set()
    contents: set[tuple[str, int, str]] = set()
    kept = []
    for tarball in sorted(tarballs, key=lambda tarball: (tarball.stamp, tarball.filename), reverse=True):
        if tarball.dna is None:
            raise AssertionError(f"{tarball.relpath} is not verified")
        day, content = day_of(tarball.stamp), (tarball.dna.alg, tarball.dna.size, tarball.dna.dig)
        newest_of_day = day not in days and len(days) < keep
        newest_of_content = content not in contents and len(contents) < keep
        days.add(day)
        contents.add(content)
        if newest_of_day or newest_of_content or tarball.stamp in made_now:
            kept.append(tarball)
    return kept
