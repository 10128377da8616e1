"""The options of calls that encrypt anew: what goes where, and where nothing does."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.told_runs import SVN, Told

from ansible_collections.altbackup.core.plugins.plugin_utils.calls.options import options_of


def rekeying(**more: Any) -> tuple[Told, dict[str, Any]]:
    """Return a run that encrypts anew, and a tarball that a target has for others."""
    new = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
    told = Told(altbackup_encrypt_to=[new], altbackup_single_recipient=True, **more)
    entry = {
        "relpath": f"{SVN}.age",
        "size": 7,
        "dig": "aa",
        "alg": "sha256",
        "state": "verified",
        "record": {"to": ["old"]},
    }
    return told, entry


def test_what_a_target_has_comes_to_the_source_is_encrypted_and_goes_back() -> None:
    told, entry = rekeying()
    own = told.call("tarball_rekey", "rekey", {"current": []})
    assert (own["targets"], own["names"], len(own["encrypt_to"])) == (["cms01", "sdu"], [], 1)
    cms01, sdu = told.over("rekeys")
    for node, tarballs in ((cms01, [entry]), (sdu, [])):
        told.call("tarball_list", "rekey", {"tarballs": tarballs}, node)
    assert told.nodes("rekeys_due") == ["cms01"]
    came = told.call("tarball_carry", "rekey", {"changed": True}, cms01)
    assert (came["origin"]["folder"], came["destination"]["folder"]) == (
        "/copies/dayabay",
        "/backup/.altbackup/rekey/cms01/came",
    )
    made = {**entry, "dig": "bb", "record": {"to": own["encrypt_to"]}}
    asked = told.call("tarball_rekey", "rekey", {"rekeyed": [made]}, cms01, step="target")
    assert (asked["target"], [one["relpath"] for one in asked["tarballs"]]) == ("cms01", [entry["relpath"]])
    ready = told.call("tarball_prepare", "rekey", {"send": [entry["relpath"]]}, cms01)
    assert (ready["rekeyed"], ready["carried"], ready["tarballs"], ready["pair"]) == (True, True, [made], {})
    back = told.call("tarball_carry", "rekey", {"changed": True}, cms01)
    assert back["origin"]["folder"] == "/backup/.altbackup/rekey/cms01/new"
    assert back["destination"]["folder"] == "/copies/.altbackup/incoming/dayabay/carried"
    taken = told.call("tarball_accept", "rekey", {"tarballs": [made]}, cms01)
    assert (taken["rekeyed"], taken["tarballs"]) == (True, [made])
    assert told.run.state["notes"] == ["dayabay -> cms01: 1 of its tarballs there encrypted anew"]


@pytest.mark.parametrize("step", ["prepare", "accept"])
def test_a_target_that_takes_nothing_of_what_was_made_for_it_is_a_failure(step: str) -> None:
    told, entry = rekeying()
    told.call("tarball_rekey", "rekey", {"current": [entry["relpath"]]})
    cms01, _ = told.over("rekeys")
    told.call("tarball_list", "rekey", {"tarballs": [entry]}, cms01)
    told.call("tarball_rekey", "rekey", {"rekeyed": [{**entry, "dig": "bb"}]}, cms01, step="target")
    told.call("tarball_prepare", "rekey", {"send": [entry["relpath"]] if step == "accept" else []}, cms01)
    if step == "accept":
        told.call("tarball_carry", "rekey", {"changed": True}, cms01)
        told.call("tarball_accept", "rekey", {"tarballs": []}, cms01)
    (failure,) = told.run.state["failures"]
    assert f"1 tarball of cms01 not encrypted anew, such as {entry['relpath']}" in failure["reason"]
    assert told.run.state["notes"] == []


def test_nothing_is_brought_of_what_the_source_has_and_nothing_done_where_it_cannot() -> None:
    told, entry = rekeying()
    told.call("tarball_rekey", "rekey", {"current": [entry["relpath"]]})
    cms01, _ = told.over("rekeys")
    told.call("tarball_list", "rekey", {"tarballs": [entry]}, cms01)
    assert options_of("tarball_carry", told.run, cms01, {}) is None
    told, entry = rekeying()
    told.call("tarball_rekey", "rekey", {"failed": True, "msg": "no key"})
    assert told.over("rekeys") == []
    told, entry = rekeying(altbackup_rekey=["dayabay/git/x"])
    assert told.call("tarball_rekey", "rekey", {"current": []})["names"] == ["git/x"]
    told.call("tarball_list", "rekey", {"tarballs": [entry]}, told.over("rekeys")[0])
    assert told.over("rekeys_due") == []
