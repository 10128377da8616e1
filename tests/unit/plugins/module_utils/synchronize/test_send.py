"""Sending: stamps in their order, and no tarball that keeps another back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers.original_trees import put
from helpers.trees import make_tool

from ansible_collections.altbackup.core.plugins.module_utils.synchronize import send
from ansible_collections.altbackup.core.plugins.module_utils.synchronize.offer import listing
from ansible_collections.altbackup.core.plugins.module_utils.synchronize.peers import Peer
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import Moment

NOW = Moment("2013/05/31/235959", "2013/05/31/235959")


def test_failure_has_the_way_the_exit_code_and_the_words_of_ssh(tmp_path: Path) -> None:
    (tmp_path / "base" / ".altbackup").mkdir(parents=True)
    put(tmp_path / "base", "folders/notes/2013/05/10/104701/notes.tar")
    tarballs = listing(str(tmp_path / "base"), moment=NOW, records=True)["tarballs"]
    peer = Peer("cms01", "/x", "127.0.0.1", 1, "backup", "/nowhere/key", connect_timeout=5)
    result = send.send(str(tmp_path / "base"), [(peer, tarballs)], Deadline(30))
    (failure,) = result["failures"]
    assert failure["delegate"] == "cms01"
    assert failure["rc"]
    for word in (
        "sending to cms01",
        "backup@127.0.0.1 port 1, key /nowhere/key",
        "rsync exit code",
        "Connection refused",
    ):
        assert word in failure["reason"]
    assert list((tmp_path / "base" / ".altbackup" / "outgoing").iterdir()) == []


def test_each_stamp_is_an_rsync_of_its_own_in_the_order_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = tmp_path / "base"
    (base / ".altbackup").mkdir(parents=True)
    days = ("10", "08", "09")
    for day in days:
        put(base, f"folders/notes/2013/05/{day}/104701/notes.tar", day.encode())
    put(base, "folders/notes/2013/05/07/104701/notes.tar", b"10")  # travelled already
    tarballs = sorted(
        listing(str(base), moment=NOW, records=True)["tarballs"],
        key=lambda entry: [*days, "07"].index(entry["stamp"][8:10]),
    )
    make_tool(tmp_path / "bin", "rsync", f"tr '\\0' ' ' >> {tmp_path}/lists; echo >> {tmp_path}/lists")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    assert send.send(str(base), [(Peer("cms01", "/x"), tarballs)], Deadline(30))["failures"] == []
    said = [line.split() for line in (tmp_path / "lists").read_text().splitlines()]
    assert said == [[f"sha256-{entry['dig']}"] for entry in tarballs[:3]]


@pytest.mark.parametrize(
    ("codes", "tried"),
    [((23, 0, 0), 3), ((24, 0, 23), 3), ((0, 12, 0), 2), ((23, 12, 0), 2)],
)
def test_files_that_cannot_be_read_keep_no_older_stamp_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codes: tuple[int, ...], tried: int
) -> None:
    base = tmp_path / "base"
    (base / ".altbackup").mkdir(parents=True)
    for day in range(len(codes)):
        put(base, f"folders/notes/2013/05/0{day + 1}/104701/notes.tar", b"%d" % day)
    (tmp_path / "codes").write_text("".join(f"{code}\n" for code in codes))
    told = f"cd {tmp_path}; echo x >> calls; number=$(wc -l < calls); code=$(sed -n ${{number}}p codes)"
    make_tool(tmp_path / "bin", "rsync", f'{told}; [ $code = 0 ] || echo "word $number" >&2; exit $code')
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    result = send.send(str(base), [(Peer("cms01", "/x"), listing(str(base), moment=NOW)["tarballs"])], Deadline(30))
    (failure,) = result["failures"]
    bad = [(number, code) for number, code in enumerate(codes[:tried], 1) if code]
    assert len((tmp_path / "calls").read_text().splitlines()) == tried
    assert failure["reason"].splitlines() == [
        f"sending to cms01 (this machine) failed: rsync exit code {code}: word {number}" for number, code in bad
    ]
    assert (failure["rc"], failure["stderr"].split()[1::2]) == (bad[-1][1], [str(number) for number, _ in bad])


@pytest.mark.parametrize("fetched", [False, True])
def test_tarball_that_cannot_be_linked_keeps_no_other_back(tmp_path: Path, fetched: bool) -> None:
    base = tmp_path / "base"
    (base / ".altbackup").mkdir(parents=True)
    (tmp_path / "incoming" / "basis").mkdir(parents=True)
    for day in ("08", "09", "10"):
        put(base, f"folders/notes/2013/05/{day}/104701/notes.tar", day.encode())
    put(base, "folders/notes/2013/05/07/104701/notes.tar", b"08")  # the same content as one that is gone
    tarballs = listing(str(base), moment=NOW)["tarballs"]
    gone = [base / f"folders/notes/2013/05/{day}/104701/notes.tar" for day in ("08", "09")]
    for path in gone:
        path.unlink()
    peer = Peer("cms01", str(tmp_path / "incoming"))
    pairs = {"deliveries": [], "offers": [("cms01", tarballs)]} if fetched else {"deliveries": [(peer, tarballs)]}
    (failure,) = send.send(str(base), deadline=Deadline(30), **pairs)["failures"]
    assert failure["reason"] == (
        "folders/notes/2013/05/09/104701/notes.tar cannot be sent: no link to it can be made: "
        f"{gone[1]}: No such file or directory"
    )
    assert (failure["delegate"], failure["category"], failure["name"]) == ("cms01", "folders", "notes")
    folder = base / ".altbackup" / "outgoing" / "cms01" if fetched else tmp_path / "incoming"
    assert sorted(path.read_text() for path in folder.iterdir() if path.is_file()) == ["08", "10"]
