"""Module dna_verify, in process on real files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import (
    DAY,
    STAMP,
    bound_by_modes,
    link,
    marked,
    original_text,
    original_tree,
    put,
    reasons,
    run_module,
    tree_hash,
)

from ansible_collections.altbackup.core.plugins.module_utils.tree import locks

LISTS = ("match", "mismatch", "missing", "malformed", "orphan")
OTHER = "2013/05/09/104701"
CONTENT = bytes(range(256)) * 100


def verify(base: Path, day: str = DAY, *, check: bool = False, **options: Any) -> dict[str, Any]:
    """Run the module on a base."""
    return run_module("dna_verify", base=str(base), day=day, check=check, **options)


def lists(result: dict[str, Any]) -> dict[str, list[str]]:
    """Return the non-empty lists of a result."""
    return {name: result[name] for name in LISTS if result[name]}


def damage(path: Path) -> None:
    """Flip one bit of a file, leaving its size and time."""
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Return a base with one tarball of each damage, and a good one."""
    base = marked(tmp_path / "dayabay")
    put(base, f"svn/good/{STAMP}/good-1.tar", CONTENT)
    damage(put(base, f"svn/flipped/{STAMP}/flipped-1.tar", CONTENT))
    os.truncate(put(base, f"svn/truncated/{STAMP}/truncated-1.tar", CONTENT), 5000)
    put(base, f"svn/missing/{STAMP}/missing-1.tar", CONTENT, None)
    put(base, f"svn/malformed/{STAMP}/malformed-1.tar", CONTENT, "{'dig': 'x', 'size': 5}")
    put(base, f"svn/orphan/{STAMP}/orphan-1.tar", CONTENT).unlink()
    return base


EXPECTED = {
    "mismatch": ["flipped", "truncated"],
    "missing": ["missing"],
    "malformed": ["malformed"],
    "orphan": ["orphan"],
    "match": ["good"],
}
WHY = {
    "flipped": "flipped-1.tar does not match its dna: sha256 is ",
    "truncated": "truncated-1.tar has 5000 bytes, but its dna says 25600",
    "missing": "missing-1.tar has no dna: still arriving, or its transfer failed",
    "malformed": "malformed-1.tar has a malformed dna: digest 'x' is not 32 hexadecimal digits of md5",
    "orphan": "orphan-1.tar.dna is a dna without its tarball",
}


@pytest.mark.parametrize("day", [DAY, "all"])
@pytest.mark.parametrize("check", [False, True])
def test_each_damage_is_named_in_its_list_and_in_the_message(base: Path, day: str, check: bool) -> None:
    before = tree_hash(base)
    for _ in range(2):
        result = verify(base, day, check=check)
        assert result["failed"]
        assert not result.get("changed")
        for name, words in EXPECTED.items():
            suffix = ".dna" if name == "orphan" else ""
            assert result[name] == [f"svn/{word}/{STAMP}/{word}-1.tar{suffix}" for word in words]
        assert len(result["failures"]) == len(WHY)
        for name, why in WHY.items():
            entry = next(entry for entry in result["failures"] if entry["name"] == name)
            assert f"svn/{name}/{STAMP}/{why}" in entry["reason"]
            assert entry["reason"] in result["msg"]
            assert (entry["category"], entry["stage"]) == ("svn", "check")
        assert result["bytes_read"] == 2 * len(CONTENT) + 5000
        assert result["day"] == day
    assert tree_hash(base) == before


def test_paths_are_verified_one_by_one(base: Path) -> None:
    paths = {name: str(base / f"svn/{name}/{STAMP}/{name}-1.tar") for name in [*WHY, "good"]}
    result = run_module("dna_verify", path=list(paths.values()))
    assert result["failed"]
    for name, words in EXPECTED.items():
        assert sorted(result[name]) == [paths[word] for word in words]
    for name, why in WHY.items():
        assert sum(f"svn/{name}/{STAMP}/{why}" in reason for reason in reasons(result)) == 1
        assert run_module("dna_verify", path=[paths[name]], fail=False)["failures"]
    assert run_module("dna_verify", path=[paths["good"]])["match"] == [paths["good"]]
    assert run_module("dna_verify", path=[paths["good"] + ".dna"])["match"] == [paths["good"] + ".dna"]
    assert run_module("dna_verify", path=[paths["orphan"] + ".dna"])["orphan"] == [paths["orphan"] + ".dna"]


def test_path_that_is_not_there_or_no_plain_file_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "link.tar").symlink_to("/dev/zero")
    (tmp_path / "folder.tar").mkdir()
    os.mkfifo(tmp_path / "pipe.tar")
    for name in ("gone.tar", "link.tar", "folder.tar", "pipe.tar"):
        (tmp_path / "sub").mkdir(exist_ok=True)
        result = run_module("dna_verify", path=[str(tmp_path / name)])
        assert result["msg"] == f"{tmp_path / name} does not exist or is no plain file"


@pytest.mark.parametrize("day", [DAY, "all"])
def test_tree_of_the_original_verifies(tmp_path: Path, day: str) -> None:
    base = marked(tmp_path / "dayabay")
    relpaths = original_tree(base)
    result = verify(base, day)
    assert (result["match"], result["failures"]) == (relpaths, [])
    assert result["bytes_read"] == 5000
    damage(base / relpaths[0])
    result = verify(base, day)
    assert result["mismatch"] == [relpaths[0]]
    assert "md5 is" in result["msg"]


def test_of_a_day_nothing_else_is_read(tmp_path: Path) -> None:
    base = marked(tmp_path / "dayabay")
    original_tree(base)
    damage(put(base, f"svn/dybsvn/{OTHER}/dybsvn-20001.tar", CONTENT))
    (base / "svn" / "dybsvn" / "2013" / "05" / "09").chmod(0)
    with bound_by_modes():
        result = verify(base)
        assert (len(result["match"]), result["failures"], result["bytes_read"]) == (5, [], 5000)
        assert (
            "folder svn/dybsvn/2013/05/09 holds is not known: it cannot be read by uid 0: Permission denied"
            in verify(base, "all")["msg"]
        )
    (base / "svn" / "dybsvn" / "2013" / "05" / "09").chmod(0o700)
    assert verify(base, "2013/05/09")["mismatch"] == [f"svn/dybsvn/{OTHER}/dybsvn-20001.tar"]


def test_hard_links_are_read_once(tmp_path: Path) -> None:
    base = marked(tmp_path / "dayabay")
    first = f"svn/x/{OTHER}/x-1.tar"
    put(base, first, CONTENT)
    links = [f"svn/x/2013/05/{day}/104701/x-1.tar" for day in range(10, 30)]
    for relpath in links:
        link(base, first, relpath)
    result = verify(base, "all")
    assert result["match"] == sorted([first, *links])
    assert result["bytes_read"] == len(CONTENT)
    damage(base / first)
    assert len(verify(base, "all")["mismatch"]) == 21
    (base / f"{first}.dna").write_text(original_text((base / first).read_bytes()))  # another digest needs a reading
    result = verify(base, "all")
    assert (result["match"], result["bytes_read"]) == ([first], 2 * len(CONTENT))


def test_nothing_there_is_a_failure(tmp_path: Path) -> None:
    base = marked(tmp_path / "dayabay")
    assert verify(base)["msg"] == f"no tarballs of {DAY} in {base}: nothing could be verified"
    assert verify(base, "all")["msg"] == f"no tarballs in {base}: nothing could be verified"
    assert verify(base / "dybsvn")["msg"] == f"no tarballs of {DAY} in {base}/dybsvn: nothing could be verified"
    put(base, f"svn/x/{OTHER}/x-1.tar")
    assert verify(base)["failed"]
    assert run_module("dna_verify", path=[])["msg"] == "no paths are given: nothing could be verified"
    predicted = [f"svn/x/{STAMP}/x-1.tar"]
    assert verify(base, check=True, predicted=predicted)["failures"] == []


@pytest.mark.parametrize("folder", ["", "svn", "svn/bad", "svn/bad/2013/05/10", f"svn/bad/{STAMP}"])
@pytest.mark.parametrize("day", [DAY, "all"])
def test_folder_that_cannot_be_read_is_a_failure_and_hides_no_other(tmp_path: Path, folder: str, day: str) -> None:
    base = marked(tmp_path / "dayabay")
    put(base, f"svn/bad/{STAMP}/bad-1.tar")
    put(base, f"tracs/good/{STAMP}/good.tar")
    (base / folder).chmod(0o300 if not folder else 0)
    with bound_by_modes():
        result = verify(base, day)
    (base / folder).chmod(0o700)
    assert result["failed"]
    assert "by uid 0: Permission denied" in result["msg"]
    assert result["match"] == ([f"tracs/good/{STAMP}/good.tar"] if folder else [])


def test_file_that_cannot_be_read_is_a_failure(tmp_path: Path) -> None:
    base = marked(tmp_path / "dayabay")
    good, bad, dark = (put(base, f"svn/{name}/{STAMP}/{name}-1.tar") for name in ("good", "bad", "dark"))
    bad.chmod(0)
    Path(f"{dark}.dna").chmod(0)
    with bound_by_modes():
        result = verify(base)
        by_path = run_module("dna_verify", path=[str(path) for path in (good, bad, dark)])
    assert lists(result) == {
        name: [f"svn/{word}/{STAMP}/{word}-1.tar"]
        for name, word in (("match", "good"), ("mismatch", "bad"), ("malformed", "dark"))
    }
    assert f"svn/bad/{STAMP}/bad-1.tar cannot be read by uid 0: Permission denied" in result["msg"]
    assert f"svn/dark/{STAMP}/dark-1.tar has a dna that cannot be read by uid 0: Permission denied" in result["msg"]
    assert lists(by_path) == {"match": [str(good)], "mismatch": [str(bad)], "malformed": [str(dark)]}


def test_link_to_a_tarball_is_no_tarball(tmp_path: Path) -> None:
    base = marked(tmp_path / "dayabay")
    put(base, f"svn/good/{STAMP}/good-1.tar")
    path = put(base, f"svn/bad/{STAMP}/bad-1.tar")
    path.rename(tmp_path / "elsewhere.tar")
    path.symlink_to(tmp_path / "elsewhere.tar")
    assert verify(base)["orphan"] == [f"svn/bad/{STAMP}/bad-1.tar.dna"]


def test_empty_tarball_never_matches(tmp_path: Path) -> None:
    base = marked(tmp_path / "dayabay")
    put(base, f"svn/x/{STAMP}/x-1.tar", b"")
    assert verify(base)["malformed"] == [f"svn/x/{STAMP}/x-1.tar"]


def test_code_in_a_sidecar_does_not_run(tmp_path: Path) -> None:
    base = marked(tmp_path / "dayabay")
    put(base, f"svn/x/{STAMP}/x-1.tar", dna=f"__import__('os').system('touch {tmp_path}/ran')")
    assert verify(base)["malformed"] == [f"svn/x/{STAMP}/x-1.tar"]
    assert not (tmp_path / "ran").exists()


def test_a_few_bad_among_hundreds_are_found(tmp_path: Path) -> None:
    base = marked(tmp_path / "dayabay")
    relpaths = [f"svn/n{n:03}/{STAMP}/n{n:03}-1.tar" for n in range(300)]
    for n, relpath in enumerate(relpaths):
        put(base, relpath, b"%d" % n * (n + 1))
    for n in (0, 150, 299):
        damage(base / relpaths[n])
    result = verify(base)
    assert result["mismatch"] == [relpaths[n] for n in (0, 150, 299)]
    assert len(result["match"]) == 297
    assert result["msg"].startswith("3 failures:")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({}, "one of the following is required: path, base"),
        ({"path": ["/x.tar"], "base": "/x"}, "mutually exclusive"),
        ({"base": ""}, "base '' is not an absolute path"),
        ({"base": "{}/nowhere/x"}, "does not exist: is its disk mounted"),
        ({"base": "{}"}, "has no marker"),
        ({"base": "{}/b", "day": "today"}, "day 'today' is neither empty"),
        ({"base": "{}/b", "day": "2013-05-10"}, "day '2013-05-10' is neither empty"),
        ({"base": "{}/b", "timezone": "Mars/Crater"}, "time zone 'Mars/Crater' is not known"),
    ],
)
def test_bad_input_is_a_clear_message(tmp_path: Path, options: dict[str, Any], why: str) -> None:
    marked(tmp_path / "b")
    options = {key: value.format(tmp_path) if key == "base" else value for key, value in options.items()}
    result = run_module("dna_verify", **options)
    assert result["failed"]
    assert why in result["msg"]


def test_keys_are_the_same_when_nothing_could_be_done(tmp_path: Path) -> None:
    base = marked(tmp_path / "dayabay")
    put(base, f"svn/x/{STAMP}/x-1.tar")
    good, bad = verify(base), run_module("dna_verify", base=str(tmp_path / "nowhere/x"), fail=False)
    assert not bad.get("failed")
    assert set(good) - {"invocation", "changed"} == set(bad) - {"invocation", "changed"}


def test_reading_that_takes_longer_than_its_limit_is_a_failure_and_no_match(base: Path) -> None:
    result = verify(base, step_timeout=0)
    assert "took longer than its limit of 0 s" in result["msg"]
    assert result["match"] == []


def test_given_paths_are_read_within_the_limit_and_at_the_priority(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lowered: list[tuple[int, str]] = []
    monkeypatch.setattr(locks, "lower_priority", lambda nice, ionice: lowered.append((nice, ionice)))
    path = put(tmp_path, "x.tar", CONTENT)
    result = run_module("dna_verify", path=[str(path)], step_timeout=0, nice=7)
    assert "took longer than its limit of 0 s and was ended" in reasons(result)[0]
    assert result["match"] == []
    assert lowered == [(7, "")]


def test_damaged_tarball_says_when_there_last_was_a_good_copy(tmp_path: Path) -> None:
    base = marked(tmp_path / "dayabay")
    put(base, "svn/dybsvn/2013/05/09/104701/dybsvn-1.tar")
    damaged = put(base, f"svn/dybsvn/{STAMP}/dybsvn-2.tar")
    damaged.write_bytes(b"A TARBALL")
    result = run_module("dna_verify", base=str(base), day=DAY, fail=False)
    assert [entry["good"] for entry in result["failures"]] == ["2013/05/09/104701"]
    alone = run_module("dna_verify", path=[str(damaged)], fail=False)
    assert "good" not in alone["failures"][0]
