"""Who is named by settings of mail, and that nobody is."""

from __future__ import annotations

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.planning.mailing import named, of_all


@pytest.mark.parametrize(
    ("settings", "who"),
    [
        ([], ""),
        (["", " "], ""),
        (["none"], "none"),
        (["None", ""], "none"),
        (["none", "a@example.org"], "a@example.org"),
        (["a@example.org; b", "b,a@example.org none"], "a@example.org,b"),
    ],
)
def test_of_all_settings_some_name_somebody_or_say_that_nobody_is_meant(settings: list[str], who: str) -> None:
    assert of_all(settings) == who


def test_what_begins_like_none_is_somebody() -> None:
    assert named("nonesuch, none") == ["nonesuch"]
