"""What a node finds of a store that it fills."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.stores import Place, served

from ansible_collections.altbackup.core.plugins.module_utils.stores.examine import examine_store
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline


def seen(place: Place, **more: Any) -> dict[str, Any]:
    return examine_store({**place.options, **more}, Deadline(120, "doctor"))


@pytest.mark.parametrize("kind", ["disk", "sftp"])
def test_a_store_that_answers_is_there_and_nothing_is_written(kind: str, tmp_path: Path) -> None:
    with served(kind, tmp_path / "store") as place:
        before = place.files()
        found = seen(place)
        assert (found["there"], found["problem"], found["away"], found["id"]) == (True, "", "", "")
        assert "versioned" not in found and place.files() == before
        place.write(".altbackup/store.json", b'{"id": "%s", "store": "other"}' % (b"1" * 32))
        assert (seen(place)["id"], seen(place)["other"]) == ("1" * 32, "other")


@pytest.mark.sampled(2)
@pytest.mark.parametrize("lock", [True, False])
def test_a_bucket_tells_whether_it_can_lock(lock: bool, tmp_path: Path) -> None:
    with served("s3", tmp_path / "store", lock=lock) as place:
        found = seen(place, lock_days=3)
        assert (found["there"], found["versioned"], found["lockable"]) == (True, lock, lock), found


def test_what_does_not_answer_is_a_problem_and_a_disk_that_is_not_there_is_away(tmp_path: Path) -> None:
    with served("sftp", tmp_path / "store") as place:
        assert place.way is not None
        place.way.pausing = True
        found = seen(place, connect_timeout=2.0, io_timeout=2.0)
        assert not found["there"] and found["problem"]
        wrong = seen(place, remote="their:place")
        assert "there is no remote 'their'" in wrong["problem"]
    away = examine_store({"name": "drawer", "remote": str(tmp_path / "nowhere")}, Deadline(60))
    assert "is the disk of the store drawer mounted?" in away["away"] and not away["problem"]
    assert "is no name of a folder" in examine_store({"name": "a/b", "remote": "/x"}, Deadline(60))["problem"]


def test_secrets_that_others_can_read_are_named(tmp_path: Path) -> None:
    with served("sftp", tmp_path / "store") as place:
        config = Path(place.options["config"])
        config.chmod(0o644)
        found = seen(place)
        assert found["loose"] == [str(config)] and "mode 0644" in found["problem"]
