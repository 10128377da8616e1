"""What the doctor makes of stores."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.findings import COMMANDS

from ansible_collections.altbackup.core.plugins.plugin_utils.doctor.facts import examined_facts
from ansible_collections.altbackup.core.plugins.plugin_utils.doctor.stores import findings

STORE: dict[str, Any] = {
    "remote": "offsite:bucket/backup",
    "config": "/root/rclone.conf",
    "environment": "",
    "lock_days": 0,
    "lock_mode": "governance",
    "absent_for": 0.0,
    "trees": [{"node": "vault", "server": "cms01", "source": "dayabay"}],
}
TOLD: dict[str, Any] = {
    "name": "vault", "place": "offsite:bucket/backup", "is_disk": False, "there": True, "away": "", "problem": "", "id": "1" * 32, "other": "vault", "loose": []
}  # fmt: skip


def judged(store: dict[str, Any], told: dict[str, Any] | None) -> list[tuple[str, str, str, str]]:
    plan = {"nodes": {"cms01": {}, "dayabay": {}}, "stores": {"vault": {**STORE, **store}}}
    facts = {"user": "backup", "uid": 7, **({} if told is None else {"stores": [{**TOLD, **told}]})}
    sound, wrong = examined_facts(facts)
    assert wrong == []
    found = findings(plan, {"cms01": sound}, COMMANDS)
    assert {finding.pair for finding in found} == {"cms01 -> vault"}
    assert all(bool(finding.mend) is (finding.state == "wrong") for finding in found)
    return [(finding.what, finding.state, finding.why, finding.mend) for finding in found]


@pytest.mark.parametrize(
    ("store", "told", "what", "state", "word"),
    [
        ({}, {}, "store", "ok", "answers, as 11111111"),
        ({}, {"id": "", "other": ""}, "store", "ok", "will begin with the next night"),
        ({}, None, "store", "unknown", ""),
        ({}, {"problem": "no such host"}, "store", "wrong", "no such host"),
        ({}, {"other": "attic"}, "store", "wrong", "is the store attic, not vault"),
        ({}, {"away": "no marker."}, "store", "wrong", "no marker"),
        ({"absent_for": 86400.0}, {"away": "no marker."}, "store", "unknown", "It may be away"),
        ({}, {"loose": ["/root/rclone.conf"], "problem": "mode 0644"}, "secrets", "wrong", "/root/rclone.conf has what opens"),
        ({}, {"loose": ["/etc/shadow"]}, "store", "ok", "answers"),
    ],
)  # fmt: skip
def test_each_state_of_a_store_is_told(
    store: dict[str, Any], told: dict[str, Any] | None, what: str, state: str, word: str
) -> None:
    found = judged(store, told)[0]
    assert found[:2] == (what, state)
    assert word in found[2]


def test_secrets_are_made_their_users_alone() -> None:
    ((*_, mend),) = judged({}, {"loose": ["/root/rclone.conf"]})
    assert "path=/root/rclone.conf mode=0600 owner=backup" in mend and "--become" in mend


@pytest.mark.parametrize(
    ("days", "versioned", "lockable", "state", "word"),
    [
        (30, True, True, "ok", "for 30 days, governance"),
        (30, True, False, "wrong", "has no object lock"),
        (30, False, True, "wrong", "has no versions"),
        (0, True, True, "unknown", "locks nothing in it"),
        (0, True, False, "ok", "the bucket keeps versions"),
        (0, False, False, "ok", "keeps no versions"),
    ],
)
def test_a_lock_that_is_declared_must_be_there(
    days: int, versioned: bool, lockable: bool, state: str, word: str
) -> None:
    _, lock = judged({"lock_days": days}, {"versioned": versioned, "lockable": lockable})
    assert lock[:2] == ("object lock", state)
    assert word in lock[2]
