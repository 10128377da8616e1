"""Purging real files over random histories: nights, reruns, returning contents, clocks that jump, damage."""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import link, marked, put
from helpers.pairs import put_pairs, relpath_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.altbackup.core.plugins.module_utils.stages import purge_removal
from ansible_collections.altbackup.core.plugins.module_utils.stages.care import Safeguards
from ansible_collections.altbackup.core.plugins.module_utils.stages.purge import PurgeRequest, purge
from ansible_collections.altbackup.core.plugins.module_utils.stages.purge_plan import Reviewed
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import Tarball, open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.publish import write_record
from ansible_collections.altbackup.core.plugins.module_utils.tree.sidecar import read
from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import Moment


def at(stamp: str) -> Moment:
    """Return the moment of a run with a stamp, by a clock that is not behind any other."""
    return Moment(stamp, "2099/12/31/000000")


BROKEN = ("no dna", "malformed", "truncated")


@dataclass(frozen=True)
class Night:
    """The events of one run: its stamp as the clock has it, the content found, its damage, and the number kept."""

    stamp: str
    content: str
    state: str
    keep: int
    links: bool


nights = st.lists(
    st.builds(
        Night,
        st.builds("2013/05/{:02}/{:02}0000".format, st.integers(1, 9), st.integers(0, 2)),
        st.sampled_from("ABCD"),
        st.sampled_from(["good"] * 5 + list(BROKEN) + ["rotten"]),
        st.integers(1, 4),
        st.booleans(),
    ),
    max_size=14,
)


def relpath(stamp: str) -> str:
    """Return the relpath of a stamp's tarball."""
    return f"svn/x/{stamp}/x-1.tar"


def store(base: Path, night: Night, good: dict[str, str]) -> None:
    """Store a night's tarball; an unchanged one may be a link to an older one."""
    content = (night.content * 50).encode()
    older = [stamp for stamp, other in good.items() if other == night.content and stamp < night.stamp]
    if night.links and night.state == "good" and older:
        link(base, relpath(max(older)), relpath(night.stamp))
        return
    path = put(
        base,
        relpath(night.stamp),
        content,
        None if night.state == "no dna" else "" if night.state != "malformed" else "x",
    )
    if night.state == "truncated":
        os.truncate(path, 10)
    elif night.state == "rotten":
        path.write_bytes(b"?" * 50)


def expected(good: dict[str, str], night: Night) -> set[str]:
    """Return the stamps that stay, of {stamp: content} of all that counts: promise 2, counted one by one."""
    past = [stamp for stamp in sorted(good, reverse=True) if stamp <= night.stamp]
    stay = {stamp for stamp in good if stamp > night.stamp or stamp == night.stamp}
    seen_days: list[str] = []
    for stamp in past:
        if stamp[:10] not in seen_days:
            seen_days.append(stamp[:10])
            if len(seen_days) <= night.keep:
                stay.add(stamp)
    seen_contents: list[str] = []
    for stamp in past:
        if good[stamp] not in seen_contents:
            seen_contents.append(good[stamp])
            if len(seen_contents) <= night.keep:
                stay.add(stamp)
    return stay


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(nights)
def test_any_history_is_purged_as_promised(tmp_path: Path, history: list[Night]) -> None:
    base = tmp_path / "dayabay"
    shutil.rmtree(base, ignore_errors=True)
    marked(base)
    good: dict[str, str] = {}
    bad: set[str] = set()
    for night in history:
        if night.stamp in good or night.stamp in bad:
            continue
        store(base, night, good)
        if night.state == "good":
            good[night.stamp] = night.content
        else:
            bad.add(night.stamp)
        newest = max((stamp for stamp in good if stamp <= night.stamp), default="")
        stay = expected(good, night)
        options = {
            "moment": at(night.stamp),
            "made_now": [night.stamp],
            "verify": True,
            "safeguards": Safeguards(confirmed=True),
        }
        predicted = purge(PurgeRequest(str(base), night.keep, check_mode=True, **options))  # type: ignore[arg-type]
        result = purge(PurgeRequest(str(base), night.keep, **options))  # type: ignore[arg-type]
        assert {key: result[key] for key in ("kept", "removed", "bytes_freed", "failures")} == {
            key: predicted[key] for key in ("kept", "removed", "bytes_freed", "failures")
        }
        there = {"/".join(path.parts[-5:-1]) for path in base.glob("svn/x/*/*/*/*/x-1.tar")}
        due = sorted(set(good) - stay)
        allowed = 2 if night.stamp in good else 1
        assert result["removed"] == [relpath(stamp) for stamp in due[:allowed]]
        assert sorted(result["waiting"]) == [relpath(stamp) for stamp in due[allowed:]]
        number = len(due) - allowed
        said = f"but {'waits' if number == 1 else 'wait'} for the next runs ({number} of svn/x): a run removes at most one more of an item than it added"
        assert sum(said in note for note in result["notes"]) == (number > 0)
        stay |= set(due[allowed:])
        assert there == stay | bad
        assert not newest or (base / relpath(newest)).read_bytes() == (good[newest] * 50).encode()
        good = {stamp: content for stamp, content in good.items() if stamp in stay}
        for stamp, content in good.items():
            assert (base / relpath(stamp)).read_bytes() == (content * 50).encode()
            assert Path(f"{base / relpath(stamp)}.dna").exists()
        if len(due) <= allowed:
            again = purge(PurgeRequest(str(base), night.keep, **options))  # type: ignore[arg-type]
            assert (again["removed"], again["changed"]) == ([], False)
        assert not [path for path in (base / "svn").rglob("*") if path.is_dir() and not any(path.iterdir())]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(1, 28), st.sampled_from("abc")), unique_by=lambda pair: pair[0]), st.integers(1, 5)
)
def test_items_do_not_influence_each_other(tmp_path: Path, history: list[tuple[int, str]], keep: int) -> None:
    base = tmp_path / "dayabay"
    shutil.rmtree(base, ignore_errors=True)
    marked(base)
    for day, name in history:
        put(base, f"svn/{name}/2013/05/{day:02}/104701/{name}-{day}.tar", b"%d" % day)
    keeps = {f"svn/{name}": keep + number for number, name in enumerate("abc")}
    for _ in history:
        purge(PurgeRequest(str(base), keeps, moment=at("2013/06/01/000000")))
    counts = Counter(name for _, name in history)
    for number, name in enumerate("abc"):
        assert len(list(base.glob(f"svn/{name}/*/*/*/*/*.tar"))) == min(counts[name], keep + number)


@pytest.mark.parametrize("number", [600])
def test_thousands_of_tarballs_are_purged_at_once(tmp_path: Path, number: int) -> None:
    base = marked(tmp_path / "dayabay")
    for n in range(number):
        put(base, f"svn/x/{2000 + n // 300:04}/{n // 25 % 12 + 1:02}/{n % 25 + 1:02}/104701/x-{n}.tar", b"%d" % n)
    start = time.process_time()
    result = purge(PurgeRequest(str(base), number - 100, moment=at("2099/01/01/000000"), check_mode=True))
    print(f"{number} tarballs judged in {time.process_time() - start:.2f} s")
    assert (len(result["removed"]), len(result["waiting"]), len(result["kept"])) == (1, 99, number - 1)


def test_nights_in_part_leave_the_last_whole_copy(tmp_path: Path) -> None:
    base = marked(tmp_path / "backup")
    for day in range(1, 8):
        stamp = f"2013/05/{day:02}/104701"
        put(base, relpath(stamp), str(day).encode())
        if day > 1:
            write_record(open_tree(str(base)), "svn/x", stamp, {"incomplete": ["x is too long"]})
        purge(PurgeRequest(str(base), 2, moment=at(stamp), made_now=[stamp]))
    left = sorted(path.parent.relative_to(base / "svn/x").as_posix()[8:10] for path in base.glob("svn/x/*/*/*/*/*.tar"))
    assert left[0] == "01" and left[-1] == "07" and len(left) <= 3


# Differentials


def words(paths: Any) -> str:
    """Return the days of tarballs, and whether each is full."""
    return " ".join(sorted(f"{path.split('/')[4]}{'D' if '.diff.' in path else 'F'}" for path in paths))


def purge_notes(base: Path, keep: int, day: str, **options: Any) -> dict[str, Any]:
    """Purge as a run of a day of May 2013 that has made its own tarball; return the notes."""
    stamp = f"2013/05/{day}/104701"
    return purge(PurgeRequest(str(base), keep, moment=at(stamp), made_now=[stamp], **options))


def test_full_tarballs_go_after_all_their_differentials(tmp_path: Path) -> None:
    base = marked(tmp_path / "b")
    put_pairs(base, "01F 02D 03D 04F 05D 06D 07F 08D 09D")
    gone = []
    for _ in range(4):
        result = purge_notes(base, 2, "09")
        assert not result["failures"]
        gone.append(words(result["removed"]))
    assert gone == ["02D 03D", "01F 05D", "06D", ""]
    result = purge_notes(base, 2, "09")
    assert words(result["kept"]) == "04F 07F 08D 09D"
    assert result["reasons"][relpath_of("07F")] == ["base of 2013/05/09/104701"]
    assert result["reasons"][relpath_of("04F")] == ["second full"]


def test_a_full_tarball_stays_where_its_differential_cannot_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = marked(tmp_path / "b")
    put_pairs(base, "01F 02D 03F 04F")
    real = purge_removal.take_out

    def stubborn(tree: Any, tarball: Tarball) -> str:
        if tarball.filename.endswith(".diff.tar"):
            raise OSError(5, "Input/output error", tarball.relpath)
        return real(tree, tarball)

    monkeypatch.setattr(purge_removal, "take_out", stubborn)
    result = purge_notes(base, 1, "04")
    assert words(result["removed"]) == "03F"
    assert words(result["kept"]) == "01F 04F"
    assert (base / relpath_of("01F")).exists() and (base / relpath_of("02D")).exists()


def test_a_reviewed_plan_may_not_leave_a_differential_alone(tmp_path: Path) -> None:
    base = marked(tmp_path / "b")
    put_pairs(base, "01F 02D 03F 04F")
    dna = read(f"{base / relpath_of('01F')}.dna")
    only = [Reviewed(relpath_of("01F"), dna.size, dna.dig, dna.alg)]
    result = purge_notes(base, 1, "04", only=only)
    assert result["removed"] == []
    assert "differentials that need it are still here" in result["failures"][0]["reason"]


def test_a_full_tarball_stays_for_a_differential_that_does_not_count_now(tmp_path: Path) -> None:
    base = marked(tmp_path / "b")
    put_pairs(base, "01F 02F 03F 20D01")
    result = purge_notes(base, 1, "03")
    assert words(result["removed"]) == "02F"
    assert result["reasons"][relpath_of("01F")] == ["base of 2013/05/20/104701"]


def test_a_differential_without_its_full_tarball_is_left_alone_and_counts_for_nothing(tmp_path: Path) -> None:
    base = marked(tmp_path / "b")
    put_pairs(base, "01F 02D 03F 04D 05D03")
    (base / relpath_of("03F")).unlink()
    (base / f"{relpath_of('03F')}.dna").unlink()
    result = purge_notes(base, 1, "05")
    assert words(result["unverified"]) == "04D 05D"
    assert words(result["kept"]) == "01F 02D"


def test_a_held_differential_keeps_its_full_tarball(tmp_path: Path) -> None:
    base = marked(tmp_path / "b")
    put_pairs(base, "01F 02D 03F 04F 05F")
    marks = {"holds": {"folders/notes/2013/05/02/104701": "court"}}
    for _ in range(3):
        result = purge_notes(base, 1, "05", marks=marks)
    assert words(result["kept"]) == "01F 02D 05F"


def test_a_differential_that_another_node_lost_keeps_its_full_tarball(tmp_path: Path) -> None:
    base = marked(tmp_path / "b")
    put_pairs(base, "01F 02D 03F 04F 05F")
    dna = read(str(next(base.glob("folders/notes/2013/05/02/*/*.dna"))))
    awaited = {"folders/notes": [{"dig": dna.dig, "size": dna.size, "alg": dna.alg}]}
    for _ in range(3):
        result = purge_notes(base, 1, "05", awaited=awaited)
    assert (words(result["kept"]), result["waiting"]) == ("01F 02D 05F", [])
    assert result["reasons"][relpath_of("01F")] == ["base of 2013/05/02/104701"]
    for _ in range(3):
        result = purge_notes(base, 1, "05")
    assert "02D" not in words(result["kept"])
