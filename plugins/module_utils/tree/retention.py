"""Retention: which of an item's verified tarballs are to be kept, and how many of the others a run removes."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from .layout import Tarball
from .stamps import day_of


def retained(
    tarballs: Sequence[Tarball],
    keep: int,
    made_now: Collection[str] = (),
    late: Collection[str] = (),
    partial: Collection[str] = (),
) -> list[Tarball]:
    """Given one item's verified tarballs, a number K, the stamps made in this run and the relpaths that came late, and of
    those that are not whole, return those to keep.

    Kept are the newest of each of the last K days that have one, the newest of each of the last K distinct contents, those made in this
    run, the newest one, and the newest whole one. Late ones, and those that are not whole, have what of the K days and contents the others
    leave free, the newest first. The newest is first.
    """
    order = sorted(tarballs, key=lambda tarball: (tarball.stamp, tarball.filename), reverse=True)
    days: set[str] = set()
    contents: set[tuple[str, int, str]] = set()
    kept = {tarball.relpath for tarball in order if tarball.stamp in made_now}
    kept.update(tarball.relpath for tarball in order[:1])
    kept.update([tarball.relpath for tarball in order if tarball.relpath not in partial][:1])
    after = {*late, *partial}
    for tarball in sorted(order, key=lambda tarball: tarball.relpath in after):
        if tarball.dna is None:
            raise AssertionError(f"{tarball.relpath} is not verified")
        day, content = day_of(tarball.stamp), (tarball.dna.alg, tarball.dna.size, tarball.dna.dig)
        newest_of_day = day not in days and len(days) < keep
        newest_of_content = content not in contents and len(contents) < keep
        days.add(day)
        contents.add(content)
        if newest_of_day or newest_of_content:
            kept.add(tarball.relpath)
    return [tarball for tarball in order if tarball.relpath in kept]


def removable(added: Sequence[Tarball], late: Collection[str] = ()) -> int:
    """Given the tarballs of an item that a run added to a node, and the relpaths that came late, return how many it may remove: one more.

    Several of one day count once, and late ones, which take nobody's place, not at all: so a source that hands over many in one night
    has no more of the past removed than one that hands over what it should.
    """
    return len({day_of(tarball.stamp) for tarball in added if tarball.relpath not in late}) + 1
